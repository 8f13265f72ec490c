"""Shapley values of trees, as shap's TreeExplainer computes them, put together by logged feature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.explain.attribution import Floats, Ints, mixed, one_at_a_time
from mlobs_pipelines.explain.model import Explained, Output, gaps

MADE_OF_TREES = ("sklearn.tree.", "sklearn.ensemble.", "xgboost.", "lightgbm.")
OUTPUTS: tuple[Output, ...] = ("log_odds", "probability", "value")


AT_ONCE = 50
"""Rows that shap is given at once."""


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
    cuts: tuple[Floats, ...]
    """Thresholds of each encoded column."""

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
        cuts = _numbered(explainer)
        return Trees(explained, background, explainer, _classes(explained, last, background), cuts)

    @property
    def nodes(self) -> int:
        """Splits of all trees: what explaining a row beside one of the background takes time for."""
        return int((self.explainer.model.children_left >= 0).sum())

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
        places = _places(self.explainer, _encoded(self.explained, rows), self.cuts)
        # In parts, for shap draws a progress bar when a call takes long.
        parts = [places[first : first + AT_ONCE] for first in range(0, max(len(places), 1), AT_ONCE)]
        by_column = np.concatenate([self.explainer.shap_values(part, check_additivity=False) for part in parts])
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
        """For each feature the encoded columns that change with its values, tried in a few rows of the background."""
        pool = pl.concat([self.background, rows])
        changed: list[npt.NDArray[np.bool_]] = [np.zeros(len(self.cuts), np.bool_) for _ in rows.columns]
        for origin in {0, self.background.height // 3, 2 * self.background.height // 3}:
            index, parts, _ = one_at_a_time(pool, origin)
            encoded = _encoded(self.explained, mixed(pool, index))
            other = (encoded != encoded[0]) & ~(np.isnan(encoded) & np.isnan(encoded[0]))
            for j, part in enumerate(parts):
                changed[j] |= other[part].any(axis=0)
        return (np.flatnonzero(columns) for columns in changed)


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


def _numbered(explainer: Any) -> tuple[Floats, ...]:
    """Put numbers in place of the trees' thresholds, and of the background's values how many of them they exceed.

    shap rounds thresholds to single precision, which sends a value that all but equals one another way than the model
    does; whole numbers it keeps.
    """
    trees = explainer.model
    inner = trees.children_left >= 0
    numbers = np.zeros(trees.thresholds.shape)
    cuts = []
    for column in range(explainer.data.shape[1]):
        mine = inner & (trees.features == column)
        of_column, place = np.unique(trees.thresholds[mine], return_inverse=True)
        numbers[mine] = place
        cuts.append(np.asarray(of_column, np.float64))
    explainer.data = _places(explainer, explainer.data, cuts)
    trees.thresholds = numbers
    return tuple(cuts)


def _places(explainer: Any, encoded: Floats, cuts: Sequence[Floats]) -> Floats:
    """How many thresholds of its column each value exceeds; missing stays missing."""
    values = encoded.astype(explainer.model.input_dtype).astype(np.float64)
    places = [np.searchsorted(of_column, values[:, k], side="left") for k, of_column in enumerate(cuts)]
    found: Floats = np.where(np.isnan(values), np.nan, np.column_stack(places).astype(np.float64))
    return found


def _classes(explained: Explained, last: Any, background: pl.DataFrame) -> Ints:
    """Of the classes of the trees, those that the model's predictions are of, by their probabilities."""
    if explained.task == "regression" or not hasattr(last, "predict_proba"):
        return np.zeros(1, np.int64)
    own = np.asarray(last.predict_proba(_encoded(explained, background)), np.float64)
    predicted = explained.predicted(background)
    return np.array([np.abs(own - predicted[:, [k]]).sum(axis=0).argmin() for k in range(predicted.shape[1])])
