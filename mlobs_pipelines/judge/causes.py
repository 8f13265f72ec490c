"""First suspects: the change of a mean, split exactly into shares of segments and features (Kitagawa 1955, Oaxaca 1973).

With rows in cells (bins of a feature, or values of a segment), p their shares and m their means, before and after:

    change = sum (p' - p) (m + m') / 2   [mix: other rows came]  +  sum (m' - m) (p + p') / 2   [rate: like rows fare otherwise]

which is an identity. Intervals come of resampling days, on both sides.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.judge.findings import RARE, Finding
from mlobs_pipelines.spec.model import ModelSpec

Floats = npt.NDArray[np.float64]

RESAMPLES = 400
SHOWN = 5
OVERLAP = 0.3
"""With less in common, a feature tells the periods apart (a date, a counter) and explains nothing."""
ALIKE = 0.7
"""With less in common, a cut follows the calendar, and its segments are but other days."""


@dataclass(frozen=True)
class Split:
    """The change of a mean over cells: mix and rate of each cell, and resampled totals of both, shape (resamples, cells)."""

    change: float
    mix: Floats
    rate: Floats
    changes: Floats
    mixes: Floats
    rates: Floats
    overlap: float
    """Share of the rows that lie in cells which both periods have, as far as both have them: sum min(p, p')."""

    @property
    def sure(self) -> bool:
        """Whether the change is more than days differ among themselves."""
        drawn = self.changes[np.isfinite(self.changes)]
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (-1.0, 1.0)
        return bool(low > 0 or high < 0)

    def share(self, part: Floats, parts: Floats) -> tuple[float, float, float]:
        """A part's share of the change with its 95 % interval; the parts are summed over the cells given."""
        value = float(part.sum() / self.change) if self.change else float("nan")
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = parts.sum(axis=-1) / self.changes
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn) < RESAMPLES / 2:
            return value, float("nan"), float("nan")
        low, high = np.quantile(drawn, [0.025, 0.975])
        return value, float(low), float(high)


def split(before: tuple[Floats, Floats], after: tuple[Floats, Floats], seed: int = 0) -> Split | None:
    """Split the change of a mean between two periods.

    Args:
        before: rows and sums, each shape (days, cells).
        after: the same for the later period.
        seed: of the resampling.

    Returns:
        None where either period has no rows.
    """
    if not before[0].sum() or not after[0].sum():
        return None
    rng = np.random.default_rng(seed)

    def drawn(period: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        days = len(period[0])
        weights = rng.multinomial(days, np.full(days, 1 / days), size=RESAMPLES).astype(np.float64)
        return weights @ period[0], weights @ period[1]

    change, mix, rate = _parts(*(x.sum(axis=0)[None, :] for x in (*before, *after)))
    changes, mixes, rates = _parts(*drawn(before), *drawn(after))
    p0, p1 = (x[0].sum(axis=0) / x[0].sum() for x in (before, after))
    return Split(float(change[0]), mix[0], rate[0], changes, mixes, rates, float(np.minimum(p0, p1).sum()))


def _parts(n0: Floats, s0: Floats, n1: Floats, s1: Floats) -> tuple[Floats, Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        p0, p1 = n0 / n0.sum(axis=-1, keepdims=True), n1 / n1.sum(axis=-1, keepdims=True)
        m0, m1 = s0 / n0, s1 / n1
        # Cells that one side lacks have no rate there: all of their change is mix.
        m0, m1 = np.where(n0 > 0, m0, m1), np.where(n1 > 0, m1, m0)
        m0, m1 = np.nan_to_num(m0), np.nan_to_num(m1)
        mix, rate = (p1 - p0) * (m0 + m1) / 2, (m1 - m0) * (p0 + p1) / 2
        change = s1.sum(axis=-1) / n1.sum(axis=-1) - s0.sum(axis=-1) / n0.sum(axis=-1)
    return change, mix, rate


@dataclass(frozen=True)
class Period:
    """Event dates, both included."""

    first: dt.date
    last: dt.date

    def days(self) -> list[dt.date]:
        return [self.first + dt.timedelta(days=i) for i in range((self.last - self.first).days + 1)]


def by_cell(
    frame: pl.DataFrame, cell: str, cells: Sequence[object], period: Period, rows: str, total: str
) -> tuple[Floats, Floats]:
    """Sums by event date and cell, each shape (days, cells); days without rows are left out."""
    mine = frame.filter(pl.col("event_date").is_between(period.first, period.last))
    days = mine["event_date"].unique().sort()
    place = {value: i for i, value in enumerate(cells)}
    at = {day: i for i, day in enumerate(days)}
    n, s = np.zeros((max(len(days), 1), len(cells))), np.zeros((max(len(days), 1), len(cells)))
    for day, value, count, amount in (
        mine.group_by("event_date", cell).agg(pl.col(rows).sum(), pl.col(total).sum()).iter_rows()
    ):
        if value in place:
            n[at[day], place[value]] += count
            s[at[day], place[value]] += amount
    return n, s


Suspect = dict[str, object]


def suspect(kind: str, subject: str, segment: str, share: tuple[float, float, float] | None, detail: str) -> Suspect:
    """One row of ``causes``, without its incident and rank."""
    value, lower, upper = share or (None, None, None)
    keep = [None if x is None or not np.isfinite(x) else round(x, 4) for x in (value, lower, upper)]
    return {
        "kind": kind,
        "subject": subject,
        "segment": segment,
        "share": keep[0],
        "lower": keep[1],
        "upper": keep[2],
        "detail": detail,
    }


def of_a_mean(
    profile: pl.DataFrame, spec: ModelSpec, segment: str, before: Period, after: Period, *, labeled: bool
) -> tuple[list[Suspect], float | None]:
    """Suspects for a change of the mean loss (``labeled``) or of the mean score, and the rate's share of it.

    The rate's share is what is left when the feature whose mix explains most has had its part: with like inputs the
    model fares otherwise. Nothing is said where days differ among themselves as much as the periods do, and no suspect is named whose share may be none.

    Args:
        profile: rows of ``feature_profile`` about both periods, in one role, all versions.
        spec: the model; its single cuts are looked at.
        segment: where the change is; suspects among segments are searched in all rows.
        before: the period compared with.
        after: the period of the trouble.
        labeled: whether the mean is of losses of labelled rows, else of scores.
    """
    rows, total = ("labeled", "loss") if labeled else ("rows", "score")
    what = "loss" if labeled else "score"
    found: list[Suspect] = []
    features = sorted(profile["feature"].unique().to_list())
    inside = profile.filter(pl.col("segment") == segment)
    best: tuple[float, str, Split] | None = None
    for feature in features:
        mine = inside.filter(pl.col("feature") == feature)
        bins = sorted(mine["bin"].unique().to_list())
        made = split(by_cell(mine, "bin", bins, before, rows, total), by_cell(mine, "bin", bins, after, rows, total))
        if made is None or not made.sure or made.overlap < OVERLAP:
            continue
        share = made.share(made.mix, made.mixes)
        if best is None or share[0] > best[0]:
            best = share[0], feature, made
        if not share[1] > 0:
            continue
        found.append(
            suspect(
                "feature", feature, segment, share, f"its values moved: {_percent(share[0])} of the change in {what}"
            )
        )
    found.sort(key=lambda s: -abs(float(str(s["share"] or 0))))
    found = found[:SHOWN]
    rest: float | None = None
    if best is not None:
        left = best[2].share(best[2].rate, best[2].rates)
        rest = left[0]
        detail = (
            f"like inputs fare otherwise: {_percent(left[0])} of the change in {what} is there at equal inputs "
            f"(by {best[1]}, the feature that explains most)"
        )
        found.append(suspect("rate", "", segment, left, detail))
    found += _segments(profile, spec, features[:1], before, after, rows, total, what)
    return sorted(found, key=lambda s: -abs(float(str(s["share"] or 0)))), rest


def _segments(
    profile: pl.DataFrame,
    spec: ModelSpec,
    feature: Sequence[str],
    before: Period,
    after: Period,
    rows: str,
    total: str,
    what: str,
) -> list[Suspect]:
    """Of the cut that concentrates the change most, the segments with their shares of the overall change."""
    best: list[Suspect] = []
    of_one = profile.filter(pl.col("feature").is_in(list(feature)))
    for cut in spec.segment_fields:
        if len(cut) > 1:
            continue
        mine = of_one.filter(
            pl.col("segment").str.starts_with(f"{cut[0]}=") & ~pl.col("segment").str.contains(" & ", literal=True)
        )
        values = sorted(mine["segment"].unique().to_list())
        earlier, later = (by_cell(mine, "segment", values, period, rows, total) for period in (before, after))
        made = split(earlier, later)
        if made is None or not made.sure or made.overlap < ALIKE:
            continue
        listed = []
        present = later[0].sum(axis=0) / later[0].sum()
        for i, value in enumerate(values):
            if present[i] > RARE:
                continue  # that most rows are there is no news
            part, parts = (made.mix + made.rate)[[i]], (made.mixes + made.rates)[:, [i]]
            share = made.share(part, parts)
            if share[0] >= 0.2 and share[1] > 0:
                listed.append(
                    suspect("segment", cut[0], value, share, f"holds {_percent(share[0])} of the change in {what}")
                )
        listed.sort(key=lambda s: -float(str(s["share"])))
        if listed and (not best or float(str(listed[0]["share"])) > float(str(best[0]["share"]))):
            best = listed[:3]
    return best


def of_places(finding: Finding) -> list[Suspect]:
    """Suspects of a change that rows show themselves: the subjects, and the segments by their part of the hit rows."""
    found: list[Suspect] = []
    weights: dict[str, dict[str, float]] = {}
    for place in finding.places:
        segment = str(place["segment"])
        if segment and " & " not in segment and place["effect"] is not None:
            cut = segment.split("=", 1)[0]
            weights.setdefault(cut, {})[segment] = max(float(place["effect"]), 0.0) * float(place["rows"] or 0)
    ranked = []
    for cut, by_segment in weights.items():
        whole = sum(by_segment.values())
        if whole > 0 and len(by_segment) > 1:
            ranked.append((max(by_segment.values()) / whole, cut, by_segment, whole))
    if ranked:
        _, cut, by_segment, whole = max(ranked)
        for segment, weight in sorted(by_segment.items(), key=lambda item: -item[1])[:3]:
            if weight / whole >= 0.2:
                share = (weight / whole, float("nan"), float("nan"))
                found.append(
                    suspect("segment", cut, segment, share, f"holds {_percent(weight / whole)} of it, weighted by rows")
                )
    return found


def versions(profile: pl.DataFrame, days: Period) -> dict[dt.date, str]:
    """The version that served most rows of each day; ``profile`` as in ``of_a_mean``, with ``version``."""
    if not profile.height:
        return {}
    mine = profile.filter((pl.col("segment") == "") & pl.col("event_date").is_between(days.first, days.last))
    if mine.height:
        mine = mine.filter(pl.col("feature") == mine["feature"].min())
    counted = mine.group_by("event_date", "version").agg(pl.col("rows").sum()).sort("event_date", "rows", "version")
    return {day: str(version) for day, version, _ in counted.iter_rows()}


def _percent(share: float) -> str:
    return f"{share:.0%}" if np.isfinite(share) else "an unknown part"
