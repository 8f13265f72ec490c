"""Metrics of decisions equal scikit-learn's, and their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from mlobs_pipelines.statistics.confusion import binary_metrics, class_metrics, multiclass_metrics


def test_binary_metrics_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y, said = rng.integers(0, 2, 300), rng.random(300)
    said = ((said + y) > 0.9).astype(int)
    tn, fp, fn, tp = metrics.confusion_matrix(y, said).ravel()
    found = {k: float(e.value) for k, e in binary_metrics(tp, fp, fn, tn).items()}
    expected = {
        "accuracy": metrics.accuracy_score(y, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, said),
        "precision": metrics.precision_score(y, said),
        "recall": metrics.recall_score(y, said),
        "specificity": metrics.recall_score(y, said, pos_label=0),
        "f1": metrics.f1_score(y, said),
        "matthews_corrcoef": metrics.matthews_corrcoef(y, said),
        "false_positive_rate": fp / (fp + tn),
        "false_negative_rate": fn / (fn + tp),
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_metric_without_a_denominator_is_undefined() -> None:
    found = binary_metrics(0, 0, 0, 9)
    assert np.isnan([found[k].value for k in ("precision", "recall", "f1", "matthews_corrcoef")]).all()
    assert float(found["specificity"].value) == 1.0


@pytest.mark.parametrize("absent", [False, True])
def test_multiclass_metrics_are_scikit_learns(absent: bool) -> None:
    rng = np.random.default_rng(1)
    y = rng.choice(4, 200, p=[0.5, 0.3, 0.2, 0.0] if absent else [0.4, 0.3, 0.2, 0.1])
    said = np.where(rng.random(200) < 0.6, y, rng.integers(0, 3, 200))
    table = metrics.confusion_matrix(y, said, labels=range(4))
    found = {k: float(e.value) for k, e in multiclass_metrics(table).items()}
    expected = {"accuracy": metrics.accuracy_score(y, said), "f1_micro": metrics.f1_score(y, said, average="micro")}
    for average in ("macro", "weighted"):
        expected[f"f1_{average}"] = metrics.f1_score(y, said, average=average, zero_division=0)
    expected["precision_macro"] = metrics.precision_score(y, said, average="macro", zero_division=0)
    expected["recall_macro"] = metrics.recall_score(y, said, average="macro", zero_division=0)
    assert found == pytest.approx(expected, abs=1e-12)
    per_class = class_metrics(table)
    scores = metrics.precision_recall_fscore_support(y, said, labels=range(3), zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), scores, strict=False):
        assert per_class[name].value[:3] == pytest.approx(values)


@pytest.mark.parametrize(
    ("n", "cells"), [(150, [0.2, 0.1, 0.1, 0.6]), (400, [0.03, 0.02, 0.03, 0.92]), (80, [0.4, 0.1, 0.1, 0.4])]
)
def test_intervals_of_binary_metrics_cover(n: int, cells: list[float]) -> None:
    rng = np.random.default_rng(2)
    tp, fp, fn, tn = rng.multinomial(n, cells, 4000).T
    truth = {k: float(e.value) for k, e in binary_metrics(*(np.array(c) * 1e9 for c in cells)).items()}
    for name, e in binary_metrics(tp, fp, fn, tn).items():
        known = np.isfinite(e.lower)
        rate = np.mean((e.lower[known] <= truth[name]) & (truth[name] <= e.upper[known]))
        print(f"n={n} {name}: {rate:.3f}")
        assert 0.925 < rate < 0.985, name


def test_intervals_of_multiclass_averages_cover() -> None:
    rng = np.random.default_rng(3)
    cells = np.array([[0.3, 0.05, 0.02], [0.04, 0.25, 0.03], [0.05, 0.06, 0.2]])
    truth = {k: float(e.value) for k, e in multiclass_metrics(cells * 1e9).items()}
    for n in (100, 600):
        tables = rng.multinomial(n, cells.ravel(), 4000).reshape(-1, 3, 3)
        for name, e in multiclass_metrics(tables).items():
            rate = np.mean((e.lower <= truth[name]) & (truth[name] <= e.upper))
            print(f"n={n} {name}: {rate:.3f}")
            assert 0.925 < rate < 0.975, name
