"""A profile with fewer rows: those that nothing that is measured can tell apart are one.

Where labels come over weeks, a day's rows are spread over the nights on which some came, and of most of those nights the
measured ones only know that they are over.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from mlobs_pipelines.measure.daily import summed
from mlobs_pipelines.measure.groups import Ints, run_starts

ARRIVAL = "arrival_date"


def united(frame: pl.DataFrame, first: int, by: str) -> pl.DataFrame:
    """A profile in which all that arrived before a night has one row for each event date and key.

    Args:
        frame: a profile; columns of 64-bit whole numbers are sums, the others keys.
        first: the night, in days since 1970-01-01.
        by: the key that changes from row to row, a whole number, as bins do; the others stay the same over many rows.

    Returns:
        The same columns, in another order of rows; what was united arrived on the night before ``first``.
    """
    before = frame[ARRIVAL].to_physical() < first if frame.height else pl.Series([], dtype=pl.Boolean)
    if not before.any():
        return frame
    early = frame if before.all() else frame.filter(before)
    sums = _sums(early)
    number, heads = _numbered(early, [name for name in early.columns if name not in {*sums, ARRIVAL, by}])
    bins = early[by].to_numpy().astype(np.int64)
    low, width = int(bins.min()), int(bins.max() - bins.min()) + 1
    columns = {name: early[name].fill_null(0).to_numpy() for name in sums}
    found, totals = summed(number * width + (bins - low), heads.height * width, columns)
    keys = heads[found // width].with_columns(
        pl.Series(by, found % width + low).cast(early.schema[by]),
        pl.lit(first - 1, pl.Int32).cast(pl.Date).alias(ARRIVAL),
        **{name: pl.Series(total) for name, total in totals.items()},
    )
    return pl.concat([keys.select(frame.columns), frame.filter(~before)])


def without(frame: pl.DataFrame, by: str) -> pl.DataFrame:
    """A profile added up over a key: rows that follow each other and differ in nothing else are one."""
    if frame.height == 0:
        return frame
    sums = _sums(frame)
    keys = [name for name in frame.columns if name not in {*sums, by}]
    starts = run_starts(frame, keys)
    totals = {name: pl.Series(np.add.reduceat(frame[name].fill_null(0).to_numpy(), starts)) for name in sums}
    return frame.select(keys)[starts].with_columns(**totals)


def _sums(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if kind == pl.Int64]


def _numbered(frame: pl.DataFrame, keys: list[str]) -> tuple[Ints, pl.DataFrame]:
    """Each row's number, by the order of its keys, and the keys that have the numbers."""
    starts = run_starts(frame, keys)
    runs = frame.select(keys)[starts].with_row_index("run")
    heads = runs.drop("run").unique().sort(keys).with_row_index("number")
    number = runs.join(heads, on=keys, nulls_equal=True).sort("run")["number"].to_numpy().astype(np.int64)
    return np.repeat(number, np.diff(np.append(starts, frame.height))), heads.drop("number")
