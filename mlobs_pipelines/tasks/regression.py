"""Regression: a predicted number and a label that is a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks.base import SQUARE_BITS, Output, RowSums, edges_of, octave_bin, standardised

MOMENT_LIMIT = 1_000_000.0
"""Moments are clipped here, in units of the labels' spread: a bigint sum of them holds for millions of rows."""


@dataclass(frozen=True)
class Regression:
    """The task of one regression model. Sums are kept in units of the labels' spread, so that any scale fits."""

    spec: ModelSpec

    def output_bins(self) -> dict[str, Any] | None:
        """None: predictions have no natural scale, so their bins come from data."""
        return None

    @staticmethod
    def _error(bins: Mapping[str, Any]) -> str:
        """SQL for prediction - label in units of the labels' spread."""
        return f"({standardised('prediction - label', 0.0, bins['outputs']['error']['unit'])})"

    @staticmethod
    def _z(bins: Mapping[str, Any], output: str, column: str) -> str:
        frozen = bins["outputs"][output]
        return f"({standardised(column, frozen['center'], frozen['unit'])})"

    def row_sums(self, bins: Mapping[str, Any]) -> RowSums:
        """The standardised prediction and label, and the squared error in squared units."""
        error = self._error(bins)
        return RowSums(
            score=sql.fixed_point(self._z(bins, "prediction", "prediction"), SQUARE_BITS),
            label=sql.fixed_point(self._z(bins, "label", "label"), SQUARE_BITS),
            loss=sql.fixed_point(f"{error} * {error}", SQUARE_BITS),
            loss_sq=sql.fixed_point(sql.clipped(f"{error} * {error} * {error} * {error}", MOMENT_LIMIT), SQUARE_BITS),
        )

    def outputs(self, bins: Mapping[str, Any]) -> list[Output]:
        """Predictions with every sum a metric needs, labels and absolute errors for their distributions."""
        sums = self.row_sums(bins)
        error = self._error(bins)
        y = self._z(bins, "label", "label")

        def fixed(expression: str) -> str:
            return sql.fixed_point(sql.clipped(expression, MOMENT_LIMIT), SQUARE_BITS)

        return [
            Output(
                name="prediction",
                bin=sql.bin_number("prediction", edges_of(bins, "prediction")),
                at_prediction={"rows": "1", "value": sums.score},
                at_label={
                    "labeled": "1",
                    "error": fixed(error),
                    "error_abs": fixed(f"abs({error})"),
                    "error_sq": sums.loss,
                    "error_4": sums.loss_sq,
                    "target": sums.label,
                    "target_sq": fixed(f"{y} * {y}"),
                    "target_3": fixed(f"{y} * {y} * {y}"),
                    "target_4": fixed(f"{y} * {y} * {y} * {y}"),
                    "error_sq_target": fixed(f"{error} * {error} * {y}"),
                    "error_sq_target_sq": fixed(f"{error} * {error} * {y} * {y}"),
                },
            ),
            Output(
                name="label",
                bin=sql.bin_number("label", edges_of(bins, "label")),
                at_label={"labeled": "1", "value": sums.label},
            ),
            Output(
                name="error",
                bin=octave_bin(f"abs(prediction - label) / {sql.number(bins['outputs']['error']['unit'])}"),
                at_label={"labeled": "1"},
            ),
        ]
