"""Sums of attributions -> how much each feature matters to the predictions, and whether that is as it was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.measure.drift import subject_of
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics.intervals import Floats, mean
from mlobs_pipelines.store.tables import METRICS, METRICS_KEY
from mlobs_pipelines.tasks.base import SQUARE_BITS

SUMS = ("rows", "phi_abs", "phi_sq", "base")
GROUP = ["version", "role", "segment"]
WINDOW = ["window_start", "window_end"]
ROUNDING = 2.0 ** -(SQUARE_BITS + 1)
"""Largest error of one row's attribution in fixed point."""


def by_day(profile: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``shap_profile`` added up over the bins of each feature: all that measuring needs."""
    keys = ["arrival_date", "event_date", *GROUP, "feature", "output"]
    return profile.group_by(keys).agg([pl.col(name).sum() for name in SUMS])


def measure_explanation(
    days: pl.DataFrame,
    reference: pl.DataFrame,
    spec: ModelSpec,
    bins: Mapping[str, Any],
    night: dt.date,
    run_id: str,
) -> pl.DataFrame:
    """Rows of ``metrics``, family explanation, that a night states.

    A window is stated on the night that it ends, and again on a night on which sampled rows about it arrived.

    - ``mean_abs_shap`` of each feature: mean of the absolute attributions, with its normal interval; the baseline is
      that of the same version on the reference.
    - ``attribution_ndcg``: how alike features rank now and on the reference, see :func:`ndcg`.
    - ``shap_base_value``, with what is explained (``log_odds``, ``probability`` or ``value``) as subject: what would
      be predicted if nothing were known, which is the mean over the background.

    In a window of all versions each version counts by its rows; there is none where versions are explained on
    different scales.

    Args:
        days: see :func:`by_day`, of nights up to this one.
        reference: rows of ``shap_profile`` on the reference, of all versions.
        spec: the model.
        bins: the frozen bins.
        night: the night.
        run_id: the run that writes it.
    """
    windows = _windows(days, spec, night)
    if not windows.height:
        return pl.DataFrame(schema=METRICS)
    unit = float(bins["outputs"]["error"]["unit"]) if spec.task == "regression" else 1.0
    baseline = _baseline(reference, spec.monitors.min_rows)
    found = windows.join(days.filter(pl.col("arrival_date") <= night), on="event_date")
    keys = [*WINDOW, *GROUP, "feature", "output"]
    own = found.group_by(keys).agg([pl.col(name).sum() for name in SUMS])
    own = own.join(baseline, on=[*GROUP, "feature", "output"], how="left")
    # The baseline of several versions together is that of each by its rows; unknown for one, unknown for all.
    weighted = pl.col("baseline") * pl.col("rows")
    together = (
        own.group_by([*WINDOW, "role", "segment", "feature"])
        .agg(
            [pl.col(name).sum() for name in SUMS],
            scales=pl.col("output").n_unique(),
            output=pl.col("output").first(),
            baseline=pl.when(pl.col("baseline").null_count() == 0).then(weighted.sum() / pl.col("rows").sum()),
        )
        .filter(pl.col("scales") == 1)
        .with_columns(version=pl.lit(""))
    )
    sums = pl.concat([own, together.select(own.columns)]).sort([*WINDOW, *GROUP, "feature"])
    parts = [_importance(sums, unit), _agreement(sums), _base(sums, unit)]
    enough = (pl.col("rows") >= spec.monitors.min_rows) & pl.col("value").is_finite()
    rows = pl.concat(parts).with_columns(
        [pl.when(enough).then(pl.col(name).fill_nan(None)).alias(name) for name in ("value", "lower", "upper")],
        status=pl.when(enough).then(pl.lit("ok")).otherwise(pl.lit("insufficient_data")),
        error_bound=pl.when(enough).then("error_bound"),
        model=pl.lit(spec.model),
        family=pl.lit("explanation"),
        as_of=pl.lit(night),
        reference=pl.lit(str(bins["reference"])),
        run_id=pl.lit(run_id),
        labeled_rows=pl.lit(0, pl.Int64),
    )
    return rows.select([pl.col(name).cast(kind) for name, kind in METRICS.items()]).sort(METRICS_KEY)


def ndcg(live: Floats, baseline: Floats) -> Floats:
    """Normalised discounted cumulative gain of the features' order, over the last axis; NaN where nothing mattered.

    DCG = sum_i a_i / log2(i + 1), a the baseline's attributions in the live order, over that in the baseline's own
    order (Järvelin & Kekäläinen 2002; as SageMaker Clarify monitors attributions, with an alarm below 0.90).

    >>> float(ndcg(np.array([0.1, 0.2, 0.7]), np.array([0.7, 0.5, 0.05])).round(5))
    0.68764
    """
    discount = 1 / np.log2(np.arange(live.shape[-1]) + 2)
    order = np.argsort(-live, axis=-1, kind="stable")
    gained = (np.take_along_axis(baseline, order, axis=-1) * discount).sum(axis=-1)
    ideal = (-np.sort(-baseline, axis=-1) * discount).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(ideal > 0, gained / ideal, np.nan)
    return found


def _windows(days: pl.DataFrame, spec: ModelSpec, night: dt.date) -> pl.DataFrame:
    """Windows that a night states and the event dates in each."""
    tonight = days.filter(pl.col("arrival_date") == night)["event_date"].unique().to_list()
    stated = []
    for length in spec.monitors.window_days:
        ends = {day + dt.timedelta(days=k) for day in tonight for k in range(length)}
        for end in sorted({end for end in ends if end <= night} | {night}):
            start = end - dt.timedelta(days=length - 1)
            stated += [(start, end, start + dt.timedelta(days=k)) for k in range(length)]
    return pl.DataFrame(stated, schema=dict.fromkeys([*WINDOW, "event_date"], pl.Date()), orient="row")


def _baseline(reference: pl.DataFrame, min_rows: int) -> pl.DataFrame:
    """Mean absolute attribution on the reference, by version, segment and feature, in units."""
    return (
        reference.group_by([*GROUP, "feature", "output"])
        .agg(pl.col("rows").sum(), pl.col("phi_abs").sum())
        .filter(pl.col("rows") >= min_rows)
        .select(*GROUP, "feature", "output", baseline=pl.col("phi_abs") / pl.col("rows") / 2**SQUARE_BITS)
    )


def _importance(sums: pl.DataFrame, unit: float) -> pl.DataFrame:
    scale = 2.0**SQUARE_BITS
    found = mean(sums["phi_abs"].to_numpy() / scale, sums["phi_sq"].to_numpy() / scale, sums["rows"].to_numpy())
    return sums.select(
        *WINDOW,
        *GROUP,
        "rows",
        metric=pl.lit("mean_abs_shap"),
        subject=pl.col("feature").replace({name: subject_of(name) for name in sums["feature"].unique()}),
        value=pl.Series(found.value * unit),
        lower=pl.Series(np.maximum(found.lower, 0) * unit),
        upper=pl.Series(found.upper * unit),
        baseline=pl.col("baseline") * unit,
        error_bound=pl.lit(ROUNDING * unit),
    )


def _agreement(sums: pl.DataFrame) -> pl.DataFrame:
    """One row a window; the order of equal features is that of their names."""
    by_window = sums.group_by([*WINDOW, *GROUP], maintain_order=True).agg("feature", "phi_abs", "baseline", "rows")
    values = []
    for row in by_window.select("phi_abs", "baseline").iter_rows():
        known = row[1] and None not in row[1]
        values.append(float(ndcg(np.asarray(row[0], float), np.asarray(row[1], float))) if known else float("nan"))
    nothing = pl.lit(None, pl.Float64)
    return by_window.select(
        *WINDOW,
        *GROUP,
        pl.col("rows").list.max(),
        metric=pl.lit("attribution_ndcg"),
        subject=pl.lit(""),
        value=pl.Series(values, dtype=pl.Float64),
        lower=nothing,
        upper=nothing,
        baseline=pl.lit(1.0),
        error_bound=nothing,
    )


def _base(sums: pl.DataFrame, unit: float) -> pl.DataFrame:
    first = sums.filter(pl.col("segment") == "").unique([*WINDOW, *GROUP], keep="first", maintain_order=True)
    nothing = pl.lit(None, pl.Float64)
    return first.select(
        *WINDOW,
        *GROUP,
        "rows",
        metric=pl.lit("shap_base_value"),
        subject=pl.col("output"),
        value=pl.col("base") / pl.col("rows") / 2**SQUARE_BITS * unit,
        lower=nothing,
        upper=nothing,
        baseline=nothing,
        error_bound=pl.lit(ROUNDING * unit),
    )
