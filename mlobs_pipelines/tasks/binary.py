"""Binary classification: a probability, a decision at a threshold, a label that is one of two classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks.base import SQUARE_BITS, UNIT_BITS, Output, RowSums, edges_of, score_bins

LOSS_CLIP = 2.0**-52
"""Probabilities are clipped here before the logarithm, as scikit-learn's log_loss does for doubles."""


@dataclass(frozen=True)
class Binary:
    """The task of one binary model."""

    spec: ModelSpec

    def output_bins(self) -> dict[str, Any]:
        """Frozen bins of the outputs; they need no data."""
        return {"score": {"edges": score_bins(self.spec.threshold)}}

    @property
    def _positive(self) -> str:
        return f"(label = {sql.text(self.spec.positive_class)})"

    @property
    def _selected(self) -> str:
        by_score = f"score >= {sql.number(self.spec.threshold[0])}"
        if self.spec.predictions.prediction is None:
            return f"({by_score})"
        return (
            f"(case when prediction is null then {by_score} else prediction = {sql.text(self.spec.positive_class)} end)"
        )

    @property
    def _log_loss(self) -> str:
        p = f"greatest(least(score, {sql.number(1 - LOSS_CLIP)}), {sql.number(LOSS_CLIP)})"
        return f"(-ln(case when {self._positive} then {p} else 1 - {p} end))"

    @property
    def _brier(self) -> str:
        error = f"(score - case when {self._positive} then 1 else 0 end)"
        return f"({error} * {error})"

    def row_sums(self, bins: Mapping[str, Any]) -> RowSums:
        """The score, whether the label is positive, and the log loss."""
        return RowSums(
            score=sql.fixed_point("score", UNIT_BITS),
            label=_count(self._positive),
            loss=sql.fixed_point(self._log_loss, UNIT_BITS),
            loss_sq=sql.fixed_point(f"{self._log_loss} * {self._log_loss}", SQUARE_BITS),
        )

    def outputs(self, bins: Mapping[str, Any]) -> list[Output]:
        """One output, the score, which carries every metric of a binary model."""
        sums = self.row_sums(bins)
        return [
            Output(
                name="score",
                bin=sql.bin_number("score", edges_of(bins, "score")),
                at_prediction={"rows": "1", "selected": _count(self._selected), "score": sums.score},
                at_label={
                    "labeled": "1",
                    "labeled_selected": _count(self._selected),
                    "positives": sums.label,
                    "positives_selected": _count(f"{self._positive} and {self._selected}"),
                    "labeled_score": sums.score,
                    "loss": sums.loss,
                    "loss_sq": sums.loss_sq,
                    "brier": sql.fixed_point(self._brier, UNIT_BITS),
                    "brier_sq": sql.fixed_point(f"{self._brier} * {self._brier}", UNIT_BITS),
                },
            )
        ]


def _count(condition: str) -> str:
    return f"case when {condition} then 1 else 0 end"
