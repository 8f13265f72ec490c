"""How a version is explained: chosen once, on its background, and kept, for another way would look like drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.explain.attribution import Floats, Function, additive, is_additive, permutation
from mlobs_pipelines.explain.model import Explained, Output, gaps
from mlobs_pipelines.explain.trees import NotTreesError, Trees

Method = Literal["additive", "tree", "permutation"]

TOLERANCE = 1e-4
"""How far attributions may be off the prediction that they add up to, in log-odds, probability or spreads of the label."""

EVALUATIONS = 500_000
"""Predictions that explaining the rows of one night by permutations may take."""
NODES = 200_000_000
"""Rows times background rows times nodes of the trees: some two seconds."""
FEWEST_ROWS, FEWEST_BACKGROUND = 100, 20


class ExplainError(UserError):
    """A version can't be explained; the night's numbers do not depend on it."""


@dataclass(frozen=True)
class Choice:
    """Method and scale of a version's explanation."""

    method: Method
    output: Output


@dataclass(frozen=True)
class Attributions:
    """What each feature adds to the explained output of each row, which is ``base`` without any.

    ``phi`` has shape (rows, features), ``base`` (rows,). Of several classes it is the predicted one's. Where ``whole``
    is false, they do not add up to the model's prediction.
    """

    phi: Floats
    base: Floats
    whole: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Explainer:
    """One version's model, its background and the way chosen for it."""

    explained: Explained
    background: pl.DataFrame
    choice: Choice
    _attribute: Callable[[pl.DataFrame], tuple[Floats, Floats]]
    _cost: float = 0.0
    """Share of a night's budget that one row takes beside one row of the background."""

    @staticmethod
    def of(explained: Explained, background: pl.DataFrame, sample: pl.DataFrame) -> Explainer:
        """Choose a way: trees by shap, sums of terms exactly, all else by permutations.

        Args:
            explained: the model.
            background: rows that stand for features left out; as many of them as the budget allows are kept.
            sample: other rows of the reference, on which a way is tried.
        """
        try:
            trees = Trees.of(explained, background)
            few, rows = within_budget(trees.nodes / NODES, background, sample)
            if few.height < background.height:
                trees = Trees.of(explained, few)
            choice = Choice("tree", trees.output(rows, TOLERANCE))
            return Explainer(explained, few, choice, trees.attributions, trees.nodes / NODES)
        except NotTreesError:
            pass
        output: Output = "value" if explained.task == "regression" else "log_odds"
        function = explained.on(output, pl.concat([background, sample]))
        if function is not None and is_additive(function, background, sample, TOLERANCE):
            return Explainer._additive(explained, background, function, output)
        few, _ = within_budget(_steps(background) / EVALUATIONS, background, sample)
        return Explainer._permutation(explained, few)

    @staticmethod
    def again(explained: Explained, background: pl.DataFrame, choice: Choice) -> Explainer:
        """The way chosen earlier, with the background kept then.

        Raises:
            ExplainError: the model changed so that it is none now.
        """
        if choice.method == "tree":
            try:
                trees = Trees.of(explained, background)
            except NotTreesError as error:
                raise ExplainError(f"it was explained as trees before, and is none now ({error})") from error
            return Explainer(explained, background, choice, trees.attributions, trees.nodes / NODES)
        if choice.method == "additive":
            function = explained.on(choice.output, background)
            if function is None:
                raise ExplainError("it was explained in log-odds before, and has none now")
            return Explainer._additive(explained, background, function, choice.output)
        return Explainer._permutation(explained, background)

    @staticmethod
    def _additive(explained: Explained, background: pl.DataFrame, function: Function, output: Output) -> Explainer:
        return Explainer(
            explained, background, Choice("additive", output), lambda rows: additive(function, background, rows)
        )

    @staticmethod
    def _permutation(explained: Explained, background: pl.DataFrame) -> Explainer:
        output: Output = "value" if explained.task == "regression" else "probability"
        return Explainer(
            explained,
            background,
            Choice("permutation", output),
            lambda rows: permutation(explained.predicted, background, rows),
            _steps(background) / EVALUATIONS,
        )

    def most_rows(self, wanted: int) -> int:
        """How many of a night's sampled rows are explained within the budget."""
        return affordable(self._cost * self.background.height, wanted, FEWEST_ROWS)

    def attributions(self, rows: pl.DataFrame) -> Attributions:
        """Explain rows of features under their names; each row's values depend on that row alone.

        Raises:
            ExplainError: a column of the model mixes features, which it did not before.
        """
        predicted = self.explained.predicted(rows)
        try:
            phi, base = self._attribute(rows)
        except NotTreesError as error:
            raise ExplainError(str(error)) from error
        off = gaps(base + phi.sum(axis=1), self.choice.output, predicted)
        of = predicted.argmax(axis=1)
        row = np.arange(rows.height)
        whole = off[row, of] <= TOLERANCE
        return Attributions(phi[row, :, of], np.broadcast_to(base, predicted.shape)[row, of], whole)


def within_budget(cost: float, background: pl.DataFrame, sample: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first rows of both that a night's budget allows; the background is cut only after the sample."""
    rows = affordable(cost * background.height, sample.height, FEWEST_ROWS)
    return background[: affordable(cost * rows, background.height, FEWEST_BACKGROUND)], sample[:rows]


def affordable(cost: float, wanted: int, fewest: int) -> int:
    """How many of the wanted rows fit when each takes ``cost`` of the budget, but not fewer than ``fewest``.

    >>> [affordable(cost, 500, 100) for cost in (0.0, 0.001, 0.005, 0.1)]
    [500, 500, 200, 100]
    """
    return wanted if cost * wanted <= 1 else min(wanted, max(int(1 / cost), fewest))


def _steps(background: pl.DataFrame) -> int:
    """Predictions that one row takes beside one of the background."""
    return max(background.width - 1, 1)
