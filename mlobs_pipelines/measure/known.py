"""A profile with fewer rows: those that nothing that is measured can tell apart are one.

Where labels come over weeks, a day's rows are spread over the nights on which some came, and of most of those nights the
measured ones only know that they are over.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from mlobs_pipelines.measure.daily import adding_up
from mlobs_pipelines.measure.groups import Ints, run_starts

ARRIVAL = "arrival_date"

LEAST = 500_000
"""Rows that wait to be added up together."""


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
    found, total = adding_up(number * width + (bins - low), heads.height * width)
    known = heads[found // width].with_columns(
        pl.Series(by, found % width + low).cast(early.schema[by]),
        pl.lit(first - 1, pl.Int32).cast(pl.Date).alias(ARRIVAL),
        # column by column: what is copied of one is gone before the next
        **{name: pl.Series(total(early[name].fill_null(0).to_numpy())) for name in sums},
    )
    known = known.select(frame.columns)
    return known if before.all() else pl.concat([known, frame.filter(~before)])


def folded(frames: Iterable[pl.DataFrame], first: int, by: str) -> pl.DataFrame:
    """Parts of a profile that arrived before a night, one after the other, as ``united`` makes them one.

    No more is held at once than what they come to and as much again.
    """
    held: list[pl.DataFrame] = []
    waiting = 0
    for frame in frames:
        held.append(frame)
        waiting += frame.height if len(held) > 1 else 0
        if waiting > max(held[0].height, LEAST):
            held, waiting = [united(pl.concat(held, how="diagonal"), first, by)], 0
    return united(pl.concat(held, how="diagonal"), first, by) if held else pl.DataFrame()


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
