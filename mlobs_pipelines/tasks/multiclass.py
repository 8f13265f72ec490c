"""Multiclass classification: a probability per class, a predicted class, a label that should be one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks.base import SQUARE_BITS, UNIT_BITS, Output, RowSums, edges_of, score_bins
from mlobs_pipelines.tasks.binary import LOSS_CLIP


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

    @property
    def _log_loss(self) -> str:
        """Minus the log of the true class's share of the row's probabilities, as scikit-learn normalises them."""
        total = " + ".join(f"score_{i}" for i in range(len(self.spec.classes)))
        cases = " ".join(f"when {sql.text(c)} then score_{i}" for i, c in enumerate(self.spec.classes))
        share = f"(case label {cases} else cast(0 as double) end) / ({total})"
        return f"(-ln(greatest(least({share}, {sql.number(1 - LOSS_CLIP)}), {sql.number(LOSS_CLIP)})))"

    def row_sums(self, bins: Mapping[str, Any]) -> RowSums:
        """The probability of the predicted class, whether the prediction was right, and the log loss."""
        columns = ", ".join(f"score_{i}" for i in range(len(self.spec.classes)))
        return RowSums(
            score=sql.fixed_point(f"greatest({columns})", UNIT_BITS),
            label="case when prediction = label then 1 else 0 end",
            loss=sql.fixed_point(self._log_loss, UNIT_BITS),
            loss_sq=sql.fixed_point(f"{self._log_loss} * {self._log_loss}", SQUARE_BITS),
        )

    def outputs(self, bins: Mapping[str, Any]) -> list[Output]:
        """The predicted class, the confusion table, and each class's probability."""
        sums = self.row_sums(bins)
        size = len(self.spec.classes) + 1
        outputs = [
            Output(
                name="prediction",
                bin=self._index("prediction"),
                at_prediction={"rows": "1"},
                at_label={"labeled": "1", "correct": sums.label, "loss": sums.loss, "loss_sq": sums.loss_sq},
            ),
            Output(
                name="confusion",
                bin=f"({self._index('label')} * {size} + {self._index('prediction')})",
                at_label={"labeled": "1"},
            ),
        ]
        for i, name in enumerate(self.spec.classes):
            score = sql.fixed_point(f"score_{i}", UNIT_BITS)
            outputs.append(
                Output(
                    name=f"class:{name}",
                    bin=sql.bin_number(f"score_{i}", edges_of(bins, f"class:{name}")),
                    at_prediction={"rows": "1", "score": score},
                    at_label={
                        "labeled": "1",
                        "positives": f"case when label = {sql.text(name)} then 1 else 0 end",
                        "labeled_score": score,
                    },
                )
            )
        return outputs
