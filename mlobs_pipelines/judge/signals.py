"""A night's metrics and what was usual -> signals: which numbers are off, by more than chance and by enough to matter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from mlobs_pipelines.judge.monitors import (
    DRIFT,
    OUTPUT_DRIFT,
    OUTPUTS,
    Monitor,
    critical_z,
    monitors_of,
    windows_of,
)
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics.intervals import Z
from mlobs_pipelines.store.tables import SIGNALS

SERIES = ("role", "family", "metric", "subject", "segment")
"""What identifies a number that is followed from night to night."""

MEMORY = 28
"""Nights that make up what is usual."""
LEAST = 7
"""Fewer usual nights than this, and the reference's value is what is expected."""
FROM_REFERENCE = 2.0
"""A slow decline is told from the reference: performance this many practical changes away from it is a breach."""


def signals_of(metrics: pl.DataFrame, history: pl.DataFrame, spec: ModelSpec, night: dt.date) -> pl.DataFrame:
    """The night's signals.

    A number is expected at the median of the last 28 nights on which it was no breach, or of those on the same
    weekday, whichever it is closer to. With fewer than 7 such nights the reference's value is expected; of drift, the
    median of all 28: what has drifted for three weeks is the new level. Drift, performance and what has no
    reference are judged from the eighth night on, when a week is known. A breach is an effect in the harmful direction that is both at least the monitor's practical change and more
    than chance gives: ``z`` times the larger of the number's own standard error and the nights' usual spread (by
    their median deviation or their outer deciles, whichever is wider). A number with neither interval nor history is not judged.

    Args:
        metrics: the night's rows, schema ``METRICS``.
        history: signals of earlier nights, schema ``SIGNALS``; those of the last 28 are used.
        spec: the model.
        night: the night.

    Returns:
        Columns of ``SIGNALS`` and, for what follows, ``layer``, ``worse``, ``relative`` and ``past``: of each
        earlier night on which the number was known, oldest first, a struct of breach, clear and window_end.
    """
    watched = _watched(metrics, spec, night)
    z = critical_z(spec, watched.height)
    first = night - dt.timedelta(days=MEMORY)
    past = history.filter((pl.col("as_of") >= first) & (pl.col("as_of") < night) & pl.col("value").is_not_null())
    rows = watched.join(_usual(past, watched), on=SERIES, how="left", maintain_order="left")
    rows = _expected(rows)
    value = _scaled(pl.col("value"))
    own = (
        pl.when(pl.col("worse") < 0)
        .then(pl.col("upper") - pl.col("value"))
        .otherwise(pl.col("value") - pl.col("lower"))
    )
    own = pl.when("relative").then(own / pl.col("value").abs().clip(1e-12)).otherwise(own) / Z
    counted = pl.when(pl.col("metric") == "predictions").then((1 / pl.col("value").clip(0.5)).sqrt()).otherwise(own)
    rows = rows.with_columns(
        off=value - pl.col("level"),
        # A spread of few nights, or none at all, is no measure of chance.
        error=pl.when(counted.is_not_null() | (pl.col("spread") > 0)).then(pl.max_horizontal(counted, "spread")),
    ).with_columns(
        effect=pl.when(pl.col("worse") == 0).then(pl.col("off").abs()).otherwise(pl.col("off") * pl.col("worse")),
        chance=z * pl.col("error") * (1 + 1 / pl.col("nights").clip(1)).sqrt(),
    )
    known = pl.col("effect").is_not_null() & pl.col("chance").is_not_null()
    limit = pl.max_horizontal("practical", "chance")
    return (
        rows.with_columns(
            expected=pl.when("relative").then(pl.col("level").exp()).otherwise("level"),
            breach=known & (pl.col("effect") >= limit),
            clear=known & (pl.col("effect") < limit / 2),
        )
        .select(*SIGNALS, "layer", "worse", "relative", "past")
        .sort(SERIES)
    )


def _watched(metrics: pl.DataFrame, spec: ModelSpec, night: dt.date) -> pl.DataFrame:
    """The rows that monitors watch: of the first role, all versions together, on the window that each is judged on."""
    short, long = windows_of(spec)
    ended = night - dt.timedelta(days=spec.maturity_days)
    rows = metrics.filter((pl.col("version") == "") & (pl.col("role") == first_role(metrics)))

    def window(end: dt.date, days: int) -> pl.Expr:
        return (pl.col("window_end") == end) & (pl.col("window_start") == end - dt.timedelta(days=days - 1))

    fresh = rows.filter(window(night, short))
    mature = rows.filter(window(ended, long) & (pl.col("status") != "provisional"))
    listed = monitors_of(spec)
    drift = fresh.filter(
        (pl.col("family") == "drift") & (pl.col("metric") == DRIFT.metric) & (pl.col("subject") != "label")
    )
    outputs = pl.col("subject").is_in(OUTPUTS)
    parts = [
        *(_rows_of([m for m in listed if not m.mature], fresh), _rows_of([m for m in listed if m.mature], mature)),
        _rows_of([DRIFT], drift.filter(~outputs)),
        _rows_of([OUTPUT_DRIFT], drift.filter(outputs)),
    ]
    found = pl.concat(parts).with_columns(
        value=pl.when(pl.col("status") != "insufficient_data").then("value"), floor=pl.lit(None, pl.Float64)
    )
    return _overridden(found, spec)


def first_role(metrics: pl.DataFrame) -> str:
    """Production, where anything is in that role; else the first by name."""
    roles = metrics["role"].unique().sort().to_list()
    return "production" if "production" in roles or not roles else str(roles[0])


def _rows_of(monitors: Sequence[Monitor], rows: pl.DataFrame) -> pl.DataFrame:
    fields = ("layer", "family", "metric", "worse", "practical", "relative", "mature", "segments", "overall")
    listed = pl.DataFrame(
        [[getattr(m, f) for f in fields] for m in monitors],
        schema=pl.Schema(
            zip(
                fields,
                [*[pl.String()] * 3, pl.Int64(), pl.Float64(), *[pl.Boolean()] * 4],
                strict=True,
            )
        ),
        orient="row",
    )
    joined = rows.join(listed, on=("family", "metric"), how="inner", maintain_order="left")
    return joined.filter(pl.when(pl.col("segment") == "").then("overall").otherwise("segments"))


def _overridden(rows: pl.DataFrame, spec: ModelSpec) -> pl.DataFrame:
    """Where the spec names a threshold (``warn``, else ``alert``), a breach is what lies beyond it, whatever is usual."""
    for override in spec.monitors.overrides:
        limit = override.warn if override.warn is not None else override.alert
        if limit is None:
            continue
        named = pl.col("metric") == override.metric
        for name, wanted in (("subject", override.subject), ("segment", override.segment)):
            if wanted is not None:
                named &= pl.col(name) == wanted
        rows = rows.with_columns(
            floor=pl.when(named).then(pl.lit(float(limit))).otherwise("floor"),
            practical=pl.when(named).then(0.0).otherwise("practical"),
        )
    return rows


def _usual(past: pl.DataFrame, watched: pl.DataFrame) -> pl.DataFrame:
    """Of each series what the remembered nights say: medians and spreads of usual and of all nights, and its past."""
    kinds = watched.select(*SERIES, "relative", weekday=pl.col("window_end").dt.weekday())
    rows = past.join(kinds, on=SERIES, how="inner").sort("as_of").with_columns(x=_scaled(pl.col("value")))
    usual, calm = pl.col("x").filter(~pl.col("breach")), ~pl.col("breach")
    same_day = pl.col("x").filter(calm & (pl.col("window_end").dt.weekday() == pl.col("weekday")))

    def spread(x: pl.Expr) -> pl.Expr:
        deviation = 1.4826 * (x - x.median()).abs().median()
        return pl.max_horizontal(deviation, (x.quantile(0.9) - x.quantile(0.1)) / 2.563)

    return rows.group_by(SERIES).agg(
        usual=usual.median(),
        usual_spread=spread(usual),
        usual_nights=usual.len(),
        same_day=same_day.median(),
        every=pl.col("x").median(),
        every_spread=spread(pl.col("x")),
        every_nights=pl.col("x").len(),
        past=pl.struct("breach", "clear", "window_end").tail(MEMORY),
    )


def _expected(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``level`` (on the scale of effects), ``spread`` and ``nights``: how many nights the level rests on."""
    drift = pl.col("family") == "drift"
    base = _scaled(pl.col("baseline"))
    rows = rows.with_columns(pl.col("usual_nights", "every_nights").fill_null(0))
    remembered = pl.col("usual_nights") >= LEAST
    accepted = ~remembered & drift & (pl.col("every_nights") >= LEAST)
    week = pl.col("every_nights") >= LEAST
    from_base = ~remembered & ~drift & base.is_not_null() & (week | (pl.col("layer") != "performance"))
    some = ~remembered & ~drift & base.is_null() & (pl.col("usual_nights") >= 3) & week
    value = _scaled(pl.col("value"))
    weekday = (value - pl.col("same_day")).abs() < (value - pl.col("usual")).abs()
    nearer = pl.when(weekday).then("same_day").otherwise("usual")
    level = (
        pl.when(pl.col("floor").is_not_null())
        .then(_scaled(pl.col("floor")))
        .when(remembered | some)
        .then(nearer)
        .when(accepted)
        .then("every")
        .when(from_base)
        .then(base)
    )
    rows = rows.with_columns(
        level=level,
        spread=pl.when(pl.col("floor").is_not_null())
        .then(0.0)
        .when(remembered | some)
        .then("usual_spread")
        .when(accepted)
        .then("every_spread")
        .otherwise(0.0)
        .fill_null(0.0),
        nights=pl.when(remembered | some).then("usual_nights").when(accepted).then("every_nights").otherwise(MEMORY),
    )
    # What declines slowly takes its usual level along: a performance well below the reference's is off, too.
    worse = pl.col("worse")
    slow = (
        (pl.col("layer") == "performance")
        & pl.col("floor").is_null()
        & base.is_not_null()
        & ((_scaled(pl.col("value")) - base) * worse >= FROM_REFERENCE * pl.col("practical"))
        & ((pl.col("level") - base) * worse > 0)
    )
    return rows.with_columns(
        level=pl.when(slow).then(base).otherwise("level"), spread=pl.when(slow).then(0.0).otherwise("spread")
    )


def _scaled(x: pl.Expr) -> pl.Expr:
    """A value on the scale on which its effect is counted: its logarithm where the monitor is relative.

    Half a row stands for none.
    """
    least = pl.when(pl.col("metric") == "predictions").then(0.5).otherwise(1e-12)
    logarithm = pl.when(x.is_not_null()).then(pl.max_horizontal(x, least).log())
    return pl.when("relative").then(logarithm).otherwise(x)
