"""What values a feature had before and has now, by the bins that drift is measured over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from mlobs_pipelines.profile.bins import INVALID, MISSING, UNSEEN, read_bins
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.bars import pair
from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.read import Results
from mlobs_pipelines.tasks.base import bins_from

BEFORE = 14
"""Days before a trouble that it is compared with."""
NOW = 7
"""Of a long trouble, its last so many days."""
LATE = 7
"""Days that rows of a day may still arrive and be counted here."""
MOST = 14
"""Bins that are shown; rarer categories are one together."""
SPECIAL = {MISSING: "missing", INVALID: "cannot be read", UNSEEN: "never seen before"}


@dataclass(frozen=True)
class Bin:
    """A bin: its name, and its share before and now."""

    name: str
    before: str
    now: str
    bars: Markup
    moved: bool


@dataclass(frozen=True)
class Distribution:
    """A feature before and now."""

    feature: str
    segment: str
    summary: str
    before: str
    now: str
    bins: Sequence[Bin]


def distribution(
    results: Results, model: str, role: str, feature: str, segment: str, since: dt.date, until: dt.date
) -> Distribution | None:
    """The shares of a feature's bins in the days before ``since`` and in the last days up to ``until``.

    None where the feature has no bins, or one of the periods no rows.
    """
    frozen = (read_bins(results.home.bins_file(model)) or {}).get("features", {}).get(feature)
    if frozen is None:
        return None
    periods = (
        (since - dt.timedelta(days=BEFORE), since - dt.timedelta(days=1)),
        (max(since, until - dt.timedelta(days=NOW - 1)), until),
    )
    counts = []
    for first, last in periods:
        rows = results.profile(model, feature, segment, role, first, last + dt.timedelta(days=LATE))
        rows = rows.filter(pl.col("event_date").is_between(first, last))
        counts.append(_named(rows, frozen, fine=segment == ""))
    before, now = counts
    total = sum(before.values()), sum(now.values())
    if not all(total):
        return None
    names = _order({*before, *now}, frozen, before)
    shares = [(name, before.get(name, 0) / total[0], now.get(name, 0) / total[1]) for name in names]
    scale = Scale(0.0, max(max(b, n) for _, b, n in shares), 0)
    moved = max(shares, key=lambda s: abs(s[2] - s[1]))
    summary = f"{moved[0]}: {words.percent(moved[1])} of the rows before, {words.percent(moved[2])} since."
    bins = [Bin(n, words.percent(b), words.percent(a), pair(b, a, scale), abs(a - b) >= 0.05) for n, b, a in shares]
    return Distribution(feature, segment, summary, words.days(*periods[0]), words.days(*periods[1]), bins)


def _named(rows: pl.DataFrame, frozen: Mapping[str, Any], *, fine: bool) -> dict[str, int]:
    """Rows of each bin by its name; bins of numbers over all rows are fine ones, and are put together."""
    found: dict[str, int] = {}
    coarse = _coarse(frozen) if fine and frozen["kind"] != "categorical" else None
    for number, n in rows.group_by("bin").agg(pl.col("rows").sum()).iter_rows():
        at = number if number < 0 or coarse is None else int(coarse[min(number, len(coarse) - 1)])
        name = SPECIAL.get(at) or _name(at, frozen)
        found[name] = found.get(name, 0) + n
    return found


def _coarse(frozen: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return bins_from(frozen["edges"], frozen["coarse"])


def _name(number: int, frozen: Mapping[str, Any]) -> str:
    if frozen["kind"] == "categorical":
        known = [*frozen["vocabulary"], *frozen.get("rare", ())]
        return str(known[number]) if number < len(known) else f"value {number}"
    edges = frozen["coarse"]
    if number <= 0:
        return f"below {words.edge(edges[0])}"
    if number >= len(edges):
        return f"{words.edge(edges[-1])} and more"
    return f"{words.edge(edges[number - 1])} to {words.edge(edges[number])}"


def _order(names: set[str], frozen: Mapping[str, Any], before: Mapping[str, int]) -> list[str]:
    """Numbers ascending, categories by how frequent they were; what is no value comes last."""
    special = [name for name in SPECIAL.values() if name in names]
    if frozen["kind"] == "categorical":
        values = sorted(names - set(special), key=lambda name: (-before.get(name, 0), name))[:MOST]
    else:
        values = [name for i in range(len(frozen["coarse"]) + 1) if (name := _name(i, frozen)) in names]
    return [*values, *special]
