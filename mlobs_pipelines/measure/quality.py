"""Data quality of features: missing, invalid, out of range, unseen; and their mean and spread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlobs_pipelines.measure.daily import chunks
from mlobs_pipelines.measure.drift import SQUARE, subject_of
from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.measure.history import History
from mlobs_pipelines.measure.layout import FeatureLayout
from mlobs_pipelines.measure.reference import Reference
from mlobs_pipelines.measure.rows import MetricRows
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics.intervals import Estimate, Floats, estimate, mean, proportion, share

RATES = {"missing_rate": "missing", "invalid_rate": "invalid", "out_of_range_rate": "out_of_range"}


def add_quality(
    out: MetricRows,
    history: History,
    layout: FeatureLayout,
    reference: Reference,
    spec: ModelSpec,
    kinds: Mapping[str, str],
    at: Ints,
    *,
    frozen: bool,
) -> None:
    """The quality of every feature for the windows ``at``, beside the reference's."""
    names = list(kinds)
    segment = history.groups.segment[out.cells.group]

    def baseline(part: Ints, whole: Ints, mine: Ints, which: Ints) -> Floats:
        rate = np.where(whole >= out.min_rows, share(part, whole), np.nan)
        return rate[segment[mine]][:, which]

    for part in chunks(out.cells[at], len(names)):
        mine = at[part]
        sums = history.quality.over(out.cells[mine], out.night)
        for metric, sum_ in RATES.items():
            which = np.array(
                [i for i, n in enumerate(names) if sum_ != "out_of_range" or n in spec.features.ranges], dtype=np.int64
            )
            rows = sums["rows"][:, which]
            base = baseline(reference.quality[sum_], reference.quality["rows"], mine, which) if frozen else None
            out.add(
                mine,
                "quality",
                metric,
                [subject_of(names[i]) for i in which],
                proportion(sums[sum_][:, which], rows),
                need=rows,
                rows=rows,
                baseline=base,
            )
    if not frozen:
        categories = [subject_of(n) for n, kind in kinds.items() if kind == "categorical"]
        numbers = [subject_of(n) for n, kind in kinds.items() if kind != "categorical"]
        for metric, subjects in (("unseen_rate", categories), ("mean", numbers), ("standard_deviation", numbers)):
            out.add(at, "quality", metric, subjects, estimate(np.full((len(at), len(subjects)), np.nan)), need=None)
        return
    for part in chunks(out.cells[at], layout.coarse_slots):
        mine = at[part]
        slots = history.coarse.over(out.cells[mine], out.night, ["rows"])["rows"]
        for stack in layout.stacks:
            which = np.flatnonzero(np.isin(stack.features, layout.categorical))
            cut = slice(stack.first, stack.first + len(stack.features) * stack.width)
            now, before = (
                x[:, cut].reshape(len(x), len(stack.features), stack.width)[:, which]
                for x in (slots, reference.coarse["rows"])
            )
            rows = now.sum(axis=-1)
            out.add(
                mine,
                "quality",
                "unseen_rate",
                [subject_of(layout.names[i]) for i in stack.features[which]],
                proportion(now[..., -3], rows),
                need=rows,
                rows=rows,
                baseline=baseline(before[..., -3], before.sum(axis=-1), mine, np.arange(len(which))),
            )
    _add_moments(out, history, layout, reference, at)


def _add_moments(out: MetricRows, history: History, layout: FeatureLayout, reference: Reference, at: Ints) -> None:
    """Mean and standard deviation of every number, in its unit."""
    which = layout.numeric
    if not len(which):
        return
    segment = history.groups.segment[out.cells.group]
    names = [subject_of(layout.names[i]) for i in which]
    unit, center = layout.unit[which], layout.center[which]

    def moments(rows: Ints, value: Ints, value_sq: Ints) -> tuple[Estimate, Estimate]:
        z = mean(value / SQUARE, value_sq / SQUARE, rows)
        rounding = 0.5 / SQUARE
        average = estimate(z.value * unit + center, (z.lower * unit + center, z.upper * unit + center), rounding * unit)
        variance = np.maximum(share(value_sq / SQUARE, rows) - z.value**2, 0)
        slack = rounding * (1 + 2 * np.abs(z.value))
        deviation = np.sqrt(variance)
        bound = np.maximum(np.sqrt(variance + slack) - deviation, deviation - np.sqrt(np.maximum(variance - slack, 0)))
        return average, estimate(deviation * unit, bound=bound * unit)

    base = moments(*(reference.moments[n][:, which] for n in ("rows", "value", "value_sq")))
    enough = reference.moments["rows"][:, which] >= out.min_rows
    for part in chunks(out.cells[at], len(layout.names)):
        mine = at[part]
        sums = history.moments.over(out.cells[mine], out.night)
        rows = sums["rows"][:, which]
        now = moments(rows, sums["value"][:, which], sums["value_sq"][:, which])
        for metric, e, b in zip(("mean", "standard_deviation"), now, base, strict=True):
            before = np.where(enough, b.value, np.nan)[segment[mine]]
            out.add(mine, "quality", metric, names, e, need=rows, rows=rows, baseline=before)
