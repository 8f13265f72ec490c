"""Binary classification: a probability, a decision at a threshold, a label that is one of two classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics import calibration, confusion, roc
from mlobs_pipelines.statistics.intervals import Estimate, mean, proportion, share
from mlobs_pipelines.tasks.base import (
    SQUARE_BITS,
    UNIT_BITS,
    Distribution,
    Ints,
    Metric,
    Output,
    RowSums,
    Seen,
    View,
    bins_from,
    edges_of,
    exact_to,
    score_bins,
)

LOSS_CLIP = 2.0**-52
"""Probabilities are clipped here before the logarithm, as scikit-learn's log_loss does for doubles."""

UNIT, SQUARE = 2.0**UNIT_BITS, 2.0**SQUARE_BITS

TOTALS = (
    "rows",
    "selected",
    "labeled",
    "labeled_selected",
    "positives",
    "positives_selected",
    "labeled_score",
    "loss",
    "loss_sq",
    "brier",
    "brier_sq",
)


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

    def stages(self, bins: Mapping[str, Any]) -> list[sql.Stage]:
        """What the sums are made of: the log loss and the squared error of a row."""
        p = f"greatest(least(score, {sql.number(1 - LOSS_CLIP)}), {sql.number(LOSS_CLIP)})"
        return [
            {
                "share": f"case when {self._positive} then {p} else {sql.number(1)} - {p} end",
                "error": f"score - case when {self._positive} then 1 else 0 end",
            },
            *sql.natural_log("log_share", "share"),
            {"log_loss": "-log_share", "brier": "error * error"},
        ]

    def row_sums(self, bins: Mapping[str, Any]) -> RowSums:
        """The score, whether the label is positive, and the log loss."""
        return RowSums(
            score=sql.fixed_point("score", UNIT_BITS),
            label=_count(self._positive),
            loss=sql.fixed_point("log_loss", UNIT_BITS),
            loss_sq=sql.fixed_point("log_loss * log_loss", SQUARE_BITS),
        )

    def outputs(self, bins: Mapping[str, Any]) -> list[Output]:
        """One output, the score, which carries every metric of a binary model."""
        sums = self.row_sums(bins)
        return [
            Output(
                name="score",
                of="score",
                edges=edges_of(bins, "score"),
                at_prediction={"rows": "1", "selected": _count(self._selected), "score": sums.score},
                at_label={
                    "labeled": "1",
                    "labeled_selected": _count(self._selected),
                    "positives": sums.label,
                    "positives_selected": _count(f"{self._positive} and {self._selected}"),
                    "labeled_score": sums.score,
                    "loss": sums.loss,
                    "loss_sq": sums.loss_sq,
                    "brier": sql.fixed_point("brier", UNIT_BITS),
                    "brier_sq": sql.fixed_point("brier * brier", UNIT_BITS),
                },
            )
        ]

    def views(self, bins: Mapping[str, Any]) -> dict[str, View]:
        """The sums that the metrics need: totals, bins of the score, its tenths, and between operating points."""
        edges = edges_of(bins, "score")
        tenths = bins_from(edges, [k / 10 for k in range(1, 10)])
        size = len(edges) + 1
        points = bins_from(edges, sorted(self.spec.threshold[1:]))
        outcomes = ("labeled", "positives")
        return {
            "totals": View("score", TOTALS),
            "scores": View("score", outcomes, size, lambda b: b),
            "tenths": View("score", (*outcomes, "labeled_score"), 10, lambda b: tenths[b]),
            "points": View("score", ("rows", *outcomes), len(self.spec.threshold), lambda b: points[b]),
            "predicted": View("score", ("rows", "score"), size, lambda b: b, labels=False),
        }

    def metrics(self, seen: Mapping[str, Seen], bins: Mapping[str, Any]) -> list[Metric]:
        """Performance at every operating point, ranking, and calibration."""
        total = {name: seen["totals"].total(name) for name in TOTALS}
        n, positives = total["labeled"], total["positives"]
        scores = seen["scores"]
        negatives = scores["labeled"] - scores["positives"]
        tenths = seen["tenths"]
        score = tenths["labeled_score"] / UNIT
        ece = calibration.expected_calibration_error(tenths["labeled"], tenths["positives"], score)
        gap = calibration.calibration_error(n, positives, total["labeled_score"] / UNIT, total["brier"] / UNIT)
        rounding = 0.5 / UNIT

        def performance(name: str, estimate: Estimate) -> Metric:
            return Metric("performance", name, "", estimate, n)

        found = [
            performance("roc_auc", roc.roc_auc(scores["positives"], negatives)),
            performance("average_precision", roc.average_precision(scores["positives"], negatives)),
            performance("log_loss", exact_to(mean(total["loss"] / UNIT, total["loss_sq"] / SQUARE, n), rounding)),
            performance("brier_score", exact_to(mean(total["brier"] / UNIT, total["brier_sq"] / UNIT, n), rounding)),
            performance("expected_calibration_error", exact_to(ece, rounding)),
            performance("base_rate", proportion(positives, n)),
            Metric("calibration", "calibration_error", "", exact_to(gap, rounding), n),
        ]
        for k in range(10):
            rows = tenths["labeled"][..., k]
            rate = calibration.reliability(rows, tenths["positives"][..., k])
            subject = f"[{k / 10}, {(k + 1) / 10}{')' if k < 9 else ']'}"
            said = share(score[..., k], rows)
            found.append(Metric("calibration", "reliability", subject, rate, rows, baseline=said, overall=True))
        found += self._at_point(
            "", total["rows"], total["selected"], n, positives, total["labeled_selected"], total["positives_selected"]
        )
        points = {name: seen["points"][name] for name in ("rows", "labeled", "positives")}
        for k, threshold in enumerate(sorted(self.spec.threshold[1:]), start=1):
            above = {name: x[..., k:].sum(axis=-1) for name, x in points.items()}
            found += self._at_point(
                f"threshold={threshold!r}",
                total["rows"],
                above["rows"],
                n,
                positives,
                above["labeled"],
                above["positives"],
            )
        return found

    @staticmethod
    def _at_point(
        subject: str, rows: Ints, selected: Ints, n: Ints, positives: Ints, said: Ints, hit: Ints
    ) -> list[Metric]:
        table = confusion.binary_metrics(hit, said - hit, positives - hit, n - said - positives + hit)
        chosen = Metric("performance", "selection_rate", subject, proportion(selected, rows), rows, labels=False)
        return [chosen, *(Metric("performance", name, subject, e, n) for name, e in table.items())]

    def distributions(self, seen: Mapping[str, Seen], bins: Mapping[str, Any], *, labels: bool) -> list[Distribution]:
        """The label, or the score and the decision."""
        totals = seen["totals"]

        def split(part: str, whole: str) -> Ints:
            return np.stack([totals.total(whole) - totals.total(part), totals.total(part)], axis=-1)

        if labels:
            return [Distribution("label", True, split("positives", "labeled"))]
        predicted = seen["predicted"]
        edges = np.asarray(edges_of(bins, "score"))
        return [
            Distribution(
                "score",
                False,
                predicted["rows"],
                deciles=True,
                edges=edges,
                values=predicted["score"] / UNIT,
                quantum=1 / UNIT,
            ),
            Distribution("prediction", False, split("selected", "rows")),
        ]


def _count(condition: str) -> str:
    return f"case when {condition} then 1 else 0 end"
