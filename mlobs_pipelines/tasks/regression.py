"""Regression: a predicted number and a label that is a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics.intervals import Estimate, mean
from mlobs_pipelines.statistics.quantiles import quantile
from mlobs_pipelines.statistics.regression import r2, root_mean_squared_error
from mlobs_pipelines.tasks.base import (
    OCTAVE_BINS,
    SQUARE_BITS,
    Distribution,
    Metric,
    Output,
    RowSums,
    Seen,
    View,
    bins_from,
    edges_of,
    exact_to,
    octave_bin,
    octave_edges,
    standardised,
)

MOMENT_LIMIT = 1_000_000.0
"""Moments are clipped here, in units of the labels' spread: a bigint sum of them holds for millions of rows."""

SQUARE = 2.0**SQUARE_BITS

MOMENTS = (
    "error_sq",
    "error_4",
    "target",
    "target_sq",
    "target_3",
    "target_4",
    "error_sq_target",
    "error_sq_target_sq",
)


@dataclass(frozen=True)
class Regression:
    """The task of one regression model. Sums are kept in units of the labels' spread, so that any scale fits."""

    spec: ModelSpec

    def output_bins(self) -> dict[str, Any] | None:
        """None: predictions have no natural scale, so their bins come from data."""
        return None

    def stages(self, bins: Mapping[str, Any]) -> list[sql.Stage]:
        """What the sums are made of: prediction, label and error in units of the labels' spread."""
        outputs = bins["outputs"]
        unit = outputs["error"]["unit"]

        def z(column: str) -> str:
            return standardised(column, outputs[column]["center"], outputs[column]["unit"])

        return [
            {
                "forecast": z("prediction"),
                "target": z("label"),
                "error": standardised("prediction - label", 0.0, unit),
                "size": f"abs(prediction - label) / {sql.number(unit)}",
            },
            {"error_sq": "error * error", "target_sq": "target * target"},
            *octave_bin("size_bin", "size"),
        ]

    def row_sums(self, bins: Mapping[str, Any]) -> RowSums:
        """The standardised prediction and label, and the squared error in squared units."""
        return RowSums(
            score=sql.fixed_point("forecast", SQUARE_BITS),
            label=sql.fixed_point("target", SQUARE_BITS),
            loss=sql.fixed_point("error_sq", SQUARE_BITS),
            loss_sq=sql.fixed_point(sql.clipped("error_sq * error_sq", MOMENT_LIMIT), SQUARE_BITS),
        )

    def outputs(self, bins: Mapping[str, Any]) -> list[Output]:
        """Predictions with every sum a metric needs, labels and absolute errors for their distributions."""
        sums = self.row_sums(bins)

        def fixed(expression: str) -> str:
            return sql.fixed_point(sql.clipped(expression, MOMENT_LIMIT), SQUARE_BITS)

        return [
            Output(
                name="prediction",
                of="prediction",
                edges=edges_of(bins, "prediction"),
                at_prediction={"rows": "1", "value": sums.score},
                at_label={
                    "labeled": "1",
                    "error": fixed("error"),
                    "error_abs": fixed("abs(error)"),
                    "error_sq": sums.loss,
                    "error_4": sums.loss_sq,
                    "target": sums.label,
                    "target_sq": fixed("target_sq"),
                    "target_3": fixed("target_sq * target"),
                    "target_4": fixed("target_sq * target_sq"),
                    "error_sq_target": fixed("error_sq * target"),
                    "error_sq_target_sq": fixed("error_sq * target_sq"),
                },
            ),
            Output(
                name="label",
                of="label",
                edges=edges_of(bins, "label"),
                at_label={"labeled": "1", "value": sums.label},
            ),
            Output(
                name="error",
                of="size_bin",
                numbers=OCTAVE_BINS,
                at_label={"labeled": "1"},
            ),
        ]

    def views(self, bins: Mapping[str, Any]) -> dict[str, View]:
        """The sums that the metrics need: totals, sizes of the error, and the bins of predictions and labels."""
        predictions, labels = (len(edges_of(bins, output)) + 1 for output in ("prediction", "label"))
        return {
            "totals": View("prediction", ("rows", "labeled", "error", "error_abs", *MOMENTS)),
            "sizes": View("error", ("labeled",), slot=None),
            "labels": View("label", ("labeled", "value"), labels, lambda b: b),
            "predicted": View("prediction", ("rows", "value"), predictions, lambda b: b, labels=False),
        }

    def metrics(self, seen: Mapping[str, Seen], bins: Mapping[str, Any]) -> list[Metric]:
        """The errors, in the unit of the labels; mean_error is prediction minus label."""
        totals, sizes = seen["totals"], seen["sizes"]
        n = totals.total("labeled")
        unit = float(bins["outputs"]["error"]["unit"])
        total = {name: totals.total(name) / SQUARE for name in ("error", "error_abs", *MOMENTS)}
        rounding = 0.5 / SQUARE
        squared = root_mean_squared_error(n, total["error_sq"], total["error_4"])
        low, high = octave_edges(sizes.bins)
        median = quantile(sizes["labeled"], low, high, 0.5)
        explained = r2(n, *(total[name] for name in MOMENTS))
        average = total["target"] / np.maximum(n, 1)
        slack = rounding * (1 + 2 * np.abs(average))
        least = total["target_sq"] / np.maximum(n, 1) - average**2 - slack
        r2_bound = (rounding + (1 - explained.value) * slack) / np.where(least > 0, least, np.nan)
        rmse_bound = np.sqrt(squared.value**2 + rounding) - squared.value
        found = {
            "mean_absolute_error": exact_to(mean(total["error_abs"], total["error_sq"], n), rounding),
            "mean_error": exact_to(mean(total["error"], total["error_sq"], n), rounding),
            "root_mean_squared_error": squared._replace(bound=np.maximum(rmse_bound, rounding)),
            "median_absolute_error": median,
        }
        scaled = {name: Estimate(*(x * unit for x in e)) for name, e in found.items()}
        scaled["r2"] = explained._replace(bound=r2_bound)
        return [Metric("performance", name, "", e, n) for name, e in scaled.items()]

    def distributions(self, seen: Mapping[str, Seen], bins: Mapping[str, Any], *, labels: bool) -> list[Distribution]:
        """The label or the prediction, as numbers."""
        view, output, rows = ("labels", "label", "labeled") if labels else ("predicted", "prediction", "rows")
        frozen = bins["outputs"][output]
        return [
            Distribution(
                output,
                labels,
                seen[view][rows],
                coarse=bins_from(frozen["edges"], frozen["coarse"]),
                edges=np.asarray(frozen["edges"], dtype=np.float64),
                values=seen[view]["value"] / SQUARE,
                center=frozen["center"],
                unit=frozen["unit"],
            )
        ]
