"""Shapley values of trees, as shap's TreeExplainer computes them, put together by logged feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.explain.attribution import Floats, Ints, mixed
from mlobs_pipelines.explain.model import Explained, Output, gaps

MADE_OF_TREES = ("sklearn.tree.", "sklearn.ensemble.", "xgboost.", "lightgbm.")
OUTPUTS: tuple[Output, ...] = ("log_odds", "probability", "value")


class NotTreesError(Exception):
    """The model has no trees that shap knows, or what it gives for them can't be told by logged feature."""


@dataclass(frozen=True)
class Trees:
    """A tree model whose encoded columns each come of one logged feature.

    A feature's attribution is the sum over its encoded columns; with that, base and attributions still add up to the
    model's output. The background is that of the interventional game, in encoded columns.
    """

    explained: Explained
    background: pl.DataFrame
    explainer: Any
    classes: Ints
    """Place of each output among those that shap gives."""

    @staticmethod
    def of(explained: Explained, background: pl.DataFrame) -> Trees:
        """Prepare a model for explanation.

        Raises:
            NotTreesError: it is of another kind.
        """
        last = _steps(explained.loaded.model)[1]
        if not f"{type(last).__module__}.".startswith(MADE_OF_TREES):
            raise NotTreesError(type(last).__name__)
        import shap

        try:
            explainer = shap.TreeExplainer(
                last, data=_encoded(explained, background), feature_perturbation="interventional", model_output="raw"
            )
        except Exception as error:  # shap raises what it likes for the many models that it does not know
            raise NotTreesError(f"{type(last).__name__}: {' '.join(str(error).split())[:200]}") from error
        return Trees(explained, background, explainer, _classes(explained, last, background))

    def output(self, rows: pl.DataFrame, tolerance: float) -> Output:
        """The scale on which base and attributions add up to the model's predictions.

        Raises:
            NotTreesError: on none.
        """
        phi, base = self.attributions(rows)
        together = base + phi.sum(axis=1)
        predicted = self.explained.predicted(rows)
        for output in OUTPUTS:
            allowed = (output == "value") == (self.explained.task == "regression")
            if allowed and together.shape == predicted.shape and (gaps(together, output, predicted) <= tolerance).all():
                return output
        raise NotTreesError("attributions do not add up to the predictions")

    def attributions(self, rows: pl.DataFrame) -> tuple[Floats, Floats]:
        """Shape (rows, features, outputs), and the mean output of the background, shape (outputs,).

        Raises:
            NotTreesError: a column that matters is made of several features.
        """
        by_column = np.asarray(self.explainer.shap_values(_encoded(self.explained, rows), check_additivity=False))
        by_column = by_column.reshape(*by_column.shape[:2], -1)
        base = np.atleast_1d(np.asarray(self.explainer.expected_value, np.float64))
        if by_column.shape[2] > 1:
            by_column, base = by_column[:, :, self.classes], base[self.classes]
        found = np.zeros((rows.height, rows.width, by_column.shape[2]))
        touched = np.zeros(by_column.shape[1], np.int64)
        for j, columns in enumerate(self._columns(rows)):
            found[:, j] = by_column[:, columns].sum(axis=1)
            touched[columns] += 1
        if np.abs(by_column[:, touched != 1]).max(initial=0.0) > 0:
            raise NotTreesError("its encoded columns mix features")
        if self.explained.task == "multiclass" and base.min() < 0:  # margins: as log-odds, each less their mean
            found, base = found - found.mean(axis=2, keepdims=True), base - base.mean()
        return found / self.explained.unit, base / self.explained.unit

    def _columns(self, rows: pl.DataFrame) -> Iterator[Ints]:
        """For each feature the encoded columns that change when it takes its values in the background."""
        pool = pl.concat([rows, self.background])
        own = np.arange(rows.height)
        before = _encoded(self.explained, rows)
        for j in range(rows.width):
            changed = np.zeros(before.shape[1], np.bool_)
            for shift in {0, self.background.height // 3, 2 * self.background.height // 3}:
                index = np.repeat(own[:, None], rows.width, axis=1)
                index[:, j] = rows.height + (own + shift) % self.background.height
                after = _encoded(self.explained, mixed(pool, index))
                changed |= ((after != before) & ~(np.isnan(after) & np.isnan(before))).any(axis=0)
            yield np.flatnonzero(changed)


def _steps(model: Any) -> tuple[Any | None, Any]:
    """A pipeline's encoder (None: no pipeline) and its last step."""
    if hasattr(model, "steps") and len(model.steps) > 1:
        return model[:-1], model.steps[-1][1]
    return None, model.steps[-1][1] if hasattr(model, "steps") else model


def _encoded(explained: Explained, rows: pl.DataFrame) -> Floats:
    """The rows as the trees see them, shape (rows, columns)."""
    encoder, _ = _steps(explained.loaded.model)
    inputs = explained.loaded.inputs(rows)
    found = encoder.transform(inputs) if encoder is not None else inputs
    found = found.toarray() if hasattr(found, "toarray") else found
    try:
        return np.asarray(found, np.float64)
    except (TypeError, ValueError) as error:
        raise NotTreesError("it takes categories as they are") from error


def _classes(explained: Explained, last: Any, background: pl.DataFrame) -> Ints:
    """Of the classes of the trees, those that the model's predictions are of, by their probabilities."""
    if explained.task == "regression" or not hasattr(last, "predict_proba"):
        return np.zeros(1, np.int64)
    own = np.asarray(last.predict_proba(_encoded(explained, background)), np.float64)
    predicted = explained.predicted(background)
    return np.array([np.abs(own - predicted[:, [k]]).sum(axis=0).argmin() for k in range(predicted.shape[1])])
