"""How a version is explained: chosen once, on its background, and kept, for another way would look like drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.explain.attribution import Floats, additive, is_additive, permutation
from mlobs_pipelines.explain.model import Explained, Output, gaps
from mlobs_pipelines.explain.trees import NotTreesError, Trees

Method = Literal["additive", "tree", "permutation"]

TOLERANCE = 1e-4
"""How far attributions may be off the prediction that they add up to, in log-odds, probability or spreads of the label."""

EVALUATIONS = 500_000
"""Predictions that explaining the rows of one night by permutations may take."""
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

    @staticmethod
    def of(
        explained: Explained, background: pl.DataFrame, sample: pl.DataFrame, choice: Choice | None = None
    ) -> Explainer:
        """Take the way chosen earlier, or choose: trees by shap, sums of terms exactly, all else by permutations.

        Args:
            explained: the model.
            background: rows that stand for features left out, fixed for the version.
            sample: other rows of the reference, on which a way is tried.
            choice: the way chosen earlier.

        Raises:
            ExplainError: the model changed so that the way chosen earlier is none for it.
        """
        probe = pl.concat([background, sample])
        if choice is None or choice.method == "tree":
            try:
                trees = Trees.of(explained, background)
                output = trees.output(probe, TOLERANCE)
                return Explainer(explained, background, Choice("tree", output), trees.attributions)
            except NotTreesError as error:
                if choice is not None:
                    raise ExplainError(f"it was explained as trees before, and is none now ({error})") from error
        if choice is None or choice.method == "additive":
            output = "value" if explained.task == "regression" else "log_odds"
            function = explained.on(output, probe)
            if function is not None and (choice or is_additive(function, background, sample, TOLERANCE)):
                used = function
                return Explainer(
                    explained, background, Choice("additive", output), lambda rows: additive(used, background, rows)
                )
            if choice is not None:
                raise ExplainError("it was explained in log-odds before, and has none now")
        few = background.head(within_budget(sample.height, background.width, background.height)[1])
        return Explainer(
            explained,
            background,
            Choice("permutation", "value" if explained.task == "regression" else "probability"),
            lambda rows: permutation(explained.predicted, few, rows),
        )

    def most_rows(self, wanted: int) -> int:
        """How many of a night's sampled rows are explained within the budget."""
        if self.choice.method != "permutation":
            return wanted
        return within_budget(wanted, self.background.width, self.background.height)[0]

    def attributions(self, rows: pl.DataFrame) -> Attributions:
        """Explain rows of features under their names; each row's values depend on that row alone."""
        predicted = self.explained.predicted(rows)
        phi, base = self._attribute(rows)
        off = gaps(base + phi.sum(axis=1), self.choice.output, predicted)
        of = predicted.argmax(axis=1)
        row = np.arange(rows.height)
        whole = off[row, of] <= TOLERANCE
        return Attributions(phi[row, :, of], np.broadcast_to(base, predicted.shape)[row, of], whole)


def within_budget(rows: int, features: int, background: int) -> tuple[int, int]:
    """Rows and background rows for which permutations stay within ``EVALUATIONS`` where that is possible at all.

    >>> within_budget(500, 11, 100), within_budget(500, 51, 100), within_budget(500, 1001, 100)
    ((500, 100), (100, 100), (100, 20))
    """
    each = max(features - 1, 1)
    rows = min(rows, max(EVALUATIONS // (each * background), FEWEST_ROWS))
    return rows, min(background, max(EVALUATIONS // (each * rows), FEWEST_BACKGROUND))
