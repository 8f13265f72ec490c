"""Multiclass classification: a probability per class, a predicted class, a label that should be one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics import confusion, roc
from mlobs_pipelines.statistics.intervals import Estimate, Floats, estimate, logit, mean, proportion
from mlobs_pipelines.tasks.base import (
    SQUARE_BITS,
    UNIT_BITS,
    Distribution,
    Metric,
    Output,
    RowSums,
    Seen,
    View,
    edges_of,
    exact_to,
    score_bins,
)
from mlobs_pipelines.tasks.binary import LOSS_CLIP, SQUARE, UNIT


@dataclass(frozen=True)
class Multiclass:
    """The task of one multiclass model with K classes; index K stands for any other class."""

    spec: ModelSpec

    def output_bins(self) -> dict[str, Any]:
        """Frozen bins of the outputs; they need no data."""
        return {f"class:{name}": {"edges": score_bins()} for name in self.spec.classes}

    def _index(self, column: str) -> str:
        cases = " ".join(f"when {sql.text(c)} then {i}" for i, c in enumerate(self.spec.classes))
        return f"(case {column} {cases} else {len(self.spec.classes)} end)"

    def stages(self, bins: Mapping[str, Any]) -> list[sql.Stage]:
        """What the sums are made of: minus the log of the true class's share of the row's probabilities, as
        scikit-learn normalises them."""
        total = " + ".join(f"score_{i}" for i in range(len(self.spec.classes)))
        cases = " ".join(f"when {sql.text(c)} then score_{i}" for i, c in enumerate(self.spec.classes))
        share = f"(case label {cases} else {sql.number(0)} end) / ({total})"
        return [
            {"share": f"greatest(least({share}, {sql.number(1 - LOSS_CLIP)}), {sql.number(LOSS_CLIP)})"},
            *sql.natural_log("log_share", "share"),
            {"log_loss": "-log_share"},
        ]

    def row_sums(self, bins: Mapping[str, Any]) -> RowSums:
        """The probability of the predicted class, whether the prediction was right, and the log loss."""
        columns = ", ".join(f"score_{i}" for i in range(len(self.spec.classes)))
        return RowSums(
            score=sql.fixed_point(f"greatest({columns})", UNIT_BITS),
            label="case when prediction = label then 1 else 0 end",
            loss=sql.fixed_point("log_loss", UNIT_BITS),
            loss_sq=sql.fixed_point("log_loss * log_loss", SQUARE_BITS),
        )

    def outputs(self, bins: Mapping[str, Any]) -> list[Output]:
        """The predicted class, the confusion table, and each class's probability."""
        sums = self.row_sums(bins)
        size = len(self.spec.classes) + 1
        outputs = [
            Output(
                name="prediction",
                of=self._index("prediction"),
                numbers=tuple(range(size)),
                at_prediction={"rows": "1"},
                at_label={"labeled": "1", "correct": sums.label, "loss": sums.loss, "loss_sq": sums.loss_sq},
            ),
            Output(
                name="confusion",
                of=f"({self._index('label')} * {size} + {self._index('prediction')})",
                numbers=tuple(range(size * size)),
                at_label={"labeled": "1"},
            ),
        ]
        for i, name in enumerate(self.spec.classes):
            score = sql.fixed_point(f"score_{i}", UNIT_BITS)
            outputs.append(
                Output(
                    name=f"class:{name}",
                    of=f"score_{i}",
                    edges=edges_of(bins, f"class:{name}"),
                    at_prediction={"rows": "1", "score": score},
                    at_label={
                        "labeled": "1",
                        "positives": f"case when label = {sql.text(name)} then 1 else 0 end",
                        "labeled_score": score,
                    },
                )
            )
        return outputs

    def views(self, bins: Mapping[str, Any]) -> dict[str, View]:
        """The sums that the metrics need: totals, the confusion table, and bins of each class's probability."""
        size = len(self.spec.classes) + 1
        found = {
            "totals": View("prediction", ("rows", "labeled", "loss", "loss_sq")),
            "confusion": View("confusion", ("labeled",), size * size, lambda b: b),
            "predicted": View("prediction", ("rows",), size, lambda b: b),
        }
        for name in self.spec.classes:
            width = len(edges_of(bins, f"class:{name}")) + 1
            found[f"class:{name}"] = View(f"class:{name}", ("labeled", "positives"), width, lambda b: b)
        return found

    def metrics(self, seen: Mapping[str, Seen], bins: Mapping[str, Any]) -> list[Metric]:
        """Performance overall and, with the class as subject, per class."""
        totals, size = seen["totals"], len(self.spec.classes) + 1
        n = totals.total("labeled")
        cells = seen["confusion"]["labeled"]
        table = cells.reshape(*cells.shape[:-1], size, size)
        loss = exact_to(mean(totals.total("loss") / UNIT, totals.total("loss_sq") / SQUARE, n), 0.5 / UNIT)
        found = [Metric("performance", "log_loss", "", loss, n)]
        found += [Metric("performance", name, "", e, n) for name, e in confusion.multiclass_metrics(table).items()]
        predicted, rows = seen["predicted"]["rows"], totals.total("rows")
        per_class = confusion.class_metrics(table)
        areas = []
        for k, name in enumerate(self.spec.classes):
            scores = seen[f"class:{name}"]
            areas.append(roc.roc_auc(scores["positives"], scores["labeled"] - scores["positives"]))
            found.append(Metric("performance", "roc_auc", name, areas[-1], n))
            found += [
                Metric("performance", metric, name, Estimate(*(x[..., k] for x in e)), n)
                for metric, e in per_class.items()
            ]
            chosen = proportion(predicted[..., k], rows)
            found.append(Metric("performance", "selection_rate", name, chosen, rows, labels=False))
        found.append(Metric("performance", "roc_auc_ovr", "", _average(areas), n))
        return found

    def distributions(self, seen: Mapping[str, Seen], bins: Mapping[str, Any], *, labels: bool) -> list[Distribution]:
        """The label or the predicted class."""
        if not labels:
            return [Distribution("prediction", False, seen["predicted"]["rows"])]
        cells, size = seen["confusion"]["labeled"], len(self.spec.classes) + 1
        return [Distribution("label", True, cells.reshape(*cells.shape[:-1], size, size).sum(axis=-1))]


def _average(areas: list[Estimate]) -> Estimate:
    """The mean of the classes' areas; NaN where a class has none.

    Its deviation is at most the mean of theirs, whatever their correlation: the interval is at least as wide as needed.
    """
    value, lower, upper, bound = (np.mean([area[i] for area in areas], axis=0) for i in range(4))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.mean([_logit_spread(area) for area in areas], axis=0)
    below, above = logit(value, spread, 1.0)
    flat = np.isnan(below)
    return estimate(value, (np.where(flat, lower, below), np.where(flat, upper, above)), bound)


def _logit_spread(area: Estimate) -> Floats:
    """Half the interval's width on the logit scale, brought back to the scale of the area."""
    half = (np.log(area.upper / (1 - area.upper)) - np.log(area.lower / (1 - area.lower))) / 2
    return half * area.value * (1 - area.value)
