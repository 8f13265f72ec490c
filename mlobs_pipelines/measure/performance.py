"""Performance, calibration, and drift of outputs and labels: what the task's sums say of each window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlobs_pipelines.measure.daily import chunks
from mlobs_pipelines.measure.drift import add_output_drift
from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.measure.history import History, seen_of
from mlobs_pipelines.measure.reference import Reference
from mlobs_pipelines.measure.rows import MetricRows
from mlobs_pipelines.measure.windows import FAIR_LABELS, FAIR_ROWS, LABELS, ROWS
from mlobs_pipelines.statistics.intervals import Estimate, Floats
from mlobs_pipelines.tasks.base import Metric, Seen

MEASURED = ROWS | LABELS | FAIR_ROWS | FAIR_LABELS


@dataclass(frozen=True)
class Measured:
    """The task's metrics of the night's windows, by family, name and subject, and their totals.

    Arrays run over ``at``, the places of the windows that were measured.
    """

    at: Ints
    metrics: Mapping[tuple[str, str, str], Metric]
    totals: Mapping[str, Ints]


def measure(out: MetricRows, history: History, reference: Reference, *, labeled: bool, frozen: bool) -> Measured:
    """Measure every window that needs the task's sums; drift of outputs is added on the way, where bins are at hand."""
    at = out.cells.having(MEASURED)
    bins: Mapping[str, Any] = reference.bins or {}
    parts: list[list[Metric]] = []
    totals: list[dict[str, Ints]] = []
    order: list[Ints] = []
    of_labels = [name for name, view in history.views.items() if view.labels]
    if of_labels:
        width = max(len(history.outputs[name].slots) for name in of_labels)
        for part in chunks(out.cells[at], width):
            mine = at[part]
            seen = _seen(history, out, mine, of_labels)
            parts.append(history.task.metrics(seen, bins))
            totals.append({name: seen["totals"].total(name) for name in seen["totals"].sums})
            order.append(mine)
            stated = np.flatnonzero(out.cells.flags[mine] & (ROWS | LABELS))
            if labeled:
                _add_drift(out, history, reference, mine, stated, seen, labels=True, frozen=frozen)
        predicted = out.cells.having(ROWS)
        names = [name for name in history.views if name in ("totals", "predicted")]
        for part in chunks(out.cells[predicted], max(len(history.outputs[name].slots) for name in names)):
            mine = predicted[part]
            seen = _seen(history, out, mine, names)
            _add_drift(out, history, reference, mine, np.arange(len(mine)), seen, labels=False, frozen=frozen)
    if not order:
        return Measured(np.zeros(0, np.int64), {}, {})
    places = np.concatenate(order)
    by_place = np.argsort(places)
    joined = [_joined([part[i] for part in parts], by_place) for i in range(len(parts[0]))]
    return Measured(
        places[by_place],
        {(m.family, m.name, m.subject): m for m in joined},
        {name: np.concatenate([t[name] for t in totals])[by_place] for name in totals[0]},
    )


def _seen(history: History, out: MetricRows, at: Ints, names: list[str]) -> dict[str, Seen]:
    cells = out.cells[at]
    return seen_of(history.outputs, {name: history.outputs[name].over(cells, out.night) for name in names})


def _joined(parts: list[Metric], order: Ints) -> Metric:
    """One metric of all chunks' windows."""
    first = parts[0]
    estimate = Estimate(*(np.concatenate([p.estimate[i] for p in parts])[order] for i in range(4)))
    baselines = [p.baseline for p in parts if p.baseline is not None]
    return Metric(
        first.family,
        first.name,
        first.subject,
        estimate,
        np.concatenate([p.rows for p in parts])[order],
        first.labels,
        np.concatenate(baselines)[order] if baselines else None,
        first.overall,
    )


def _add_drift(
    out: MetricRows,
    history: History,
    reference: Reference,
    at: Ints,
    stated: Ints,
    seen: Mapping[str, Seen],
    *,
    labels: bool,
    frozen: bool,
) -> None:
    if not len(stated):
        return
    bins = reference.bins or {}
    kept = {name: Seen({n: x[stated] for n, x in view.sums.items()}, view.bins) for name, view in seen.items()}
    now = history.task.distributions(kept, bins, labels=labels)
    base = history.task.distributions(reference.seen, bins, labels=labels)
    segment = history.groups.segment[out.cells.group[at[stated]]]
    add_output_drift(out, at[stated], segment, base, now, frozen=frozen)


def baseline_of(
    reference: Reference, key: tuple[str, str, str], segment: Ints, min_rows: int, *, frozen: bool
) -> Floats | None:
    """A metric's value on the reference's part in each segment; NaN where that rests on too few rows."""
    found = reference.metrics.get(key) if frozen else None
    if found is None:
        return None
    return np.where(found.rows >= min_rows, found.estimate.value, np.nan)[segment]


def add_performance(
    out: MetricRows, history: History, reference: Reference, measured: Measured, *, labeled: bool, frozen: bool
) -> None:
    """Rows of performance and calibration; without labels in the spec, of what needs none."""
    flags = out.cells.flags[measured.at]
    group = out.cells.group[measured.at]
    whole = history.groups.segment[group] == 0
    for key, m in measured.metrics.items():
        if m.labels and not labeled:
            continue
        stated = np.flatnonzero(
            ((flags & (ROWS | LABELS if m.labels else ROWS)) > 0) & (whole if m.overall else np.True_)
        )
        at = measured.at[stated]
        if m.baseline is not None:
            baseline: Floats | None = m.baseline[stated]
        else:
            baseline = baseline_of(reference, key, history.groups.segment[group[stated]], out.min_rows, frozen=frozen)
        out.add(
            at,
            m.family,
            m.name,
            m.subject,
            Estimate(*(x[stated] for x in m.estimate)),
            need=m.rows[stated],
            labels=m.labels,
            baseline=baseline,
        )
