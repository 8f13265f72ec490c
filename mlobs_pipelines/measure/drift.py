"""Drift: how far features, outputs and labels are from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.measure.daily import chunks
from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.measure.history import History
from mlobs_pipelines.measure.layout import SPECIAL, FeatureLayout
from mlobs_pipelines.measure.reference import Reference
from mlobs_pipelines.measure.rows import MetricRows
from mlobs_pipelines.statistics import distances
from mlobs_pipelines.statistics.intervals import Estimate, Floats, estimate, share
from mlobs_pipelines.tasks.base import SQUARE_BITS, STANDARD_LIMIT, Distribution

CATEGORIES = ("psi", "jensen_shannon", "hellinger", "total_variation", "chi_squared", "cramers_v")
ORDERED = ("kolmogorov_smirnov", "wasserstein", "wasserstein_scaled")
RESERVED = ("", "score", "prediction", "label")
"""Subjects that are no feature's."""
SQUARE = 2.0**SQUARE_BITS


def subject_of(feature: str) -> str:
    """How a feature is called where outputs are subjects too."""
    return f"feature:{feature}" if feature in RESERVED else feature


def of_categories(reference: Ints, current: Ints) -> dict[str, Estimate]:
    """Every distance between counts by bin, shape (..., bins)."""
    s = distances.shares(reference, current)
    return {name: getattr(distances, name)(s) for name in CATEGORIES}


def of_numbers(
    edges: Floats,
    quantum: float,
    reference: tuple[Ints, Floats],
    current: tuple[Ints, Floats],
    spread: Floats,
    widest: Floats | None = None,
) -> dict[str, Estimate]:
    """Distances between numbers in bins: counts and sums of values in the unit of ``edges``, each (..., bins).

    ``spread`` is the reference's standard deviation, ``widest`` the largest it can be. Values that sum up to the left edge of their bin are on it.
    """
    clipped = np.clip(edges, -STANDARD_LIMIT, STANDARD_LIMIT)
    left = np.concatenate([np.full_like(edges[..., :1], np.nan), np.floor(clipped / quantum + 0.5) * quantum], axis=-1)
    marks = tuple((values == counts * left) & (counts > 0) for counts, values in (reference, current))
    ks = distances.kolmogorov_smirnov(reference[0], current[0], (marks[0], marks[1]))
    w = distances.wasserstein(edges, reference[0], current[0], reference[1], current[1], (marks[0], marks[1]))
    rounded = w._replace(bound=w.bound + quantum)
    value = share(w.value, spread)
    least = share(w.value, spread if widest is None else widest)
    slack = np.maximum(share(rounded.bound, spread), value - least) + value * share(2 * quantum, spread**2)
    scaled = estimate(value, bound=slack)
    return {"kolmogorov_smirnov": ks, "wasserstein": rounded, "wasserstein_scaled": scaled}


def enough(found: dict[str, Estimate], reference_rows: Ints, min_rows: int) -> dict[str, Estimate]:
    """The estimates, undefined where the reference has too few rows."""
    few = reference_rows < min_rows
    return {name: e._replace(value=np.where(few, np.nan, e.value)) for name, e in found.items()}


def _nothing(*shape: int) -> Estimate:
    return estimate(np.full(shape, np.nan))


def add_feature_drift(
    out: MetricRows,
    history: History,
    layout: FeatureLayout,
    reference: Reference,
    at: Ints,
    kinds: Mapping[str, str],
    *,
    frozen: bool,
) -> None:
    """Drift of every feature, for the windows ``at``; insufficient_data before the bins are frozen."""
    if not frozen:
        for metric in (*CATEGORIES, *ORDERED):
            names = [n for n, kind in kinds.items() if metric in CATEGORIES or kind != "categorical"]
            out.add(at, "drift", metric, [subject_of(n) for n in names], _nothing(len(at), len(names)), need=None)
        return
    for part in chunks(out.cells[at], layout.coarse_slots):
        mine = at[part]
        cells = out.cells[mine]
        segment = history.groups.segment[cells.group]
        current = history.coarse.over(cells, out.night)
        small = np.flatnonzero(segment != 0)
        for stack in layout.stacks:
            slots = slice(stack.first, stack.first + len(stack.features) * stack.width)

            def cut(
                sums: Ints, *, stack_shape: tuple[int, int] = (len(stack.features), stack.width), slots: slice = slots
            ) -> Ints:
                return sums[:, slots].reshape(len(sums), *stack_shape)

            names = [subject_of(layout.names[i]) for i in stack.features]
            rows, base = cut(current["rows"]), cut(reference.coarse["rows"])[segment]
            need = rows.sum(axis=-1)
            found = enough(of_categories(base, rows), base.sum(axis=-1), out.min_rows)
            for metric, e in found.items():
                out.add(mine, "drift", metric, names, e, need=need)
            numbers = np.flatnonzero(np.isin(stack.features, layout.numeric))
            if len(numbers) and len(small):
                which = stack.features[numbers]
                edges = np.stack([layout.coarse_edges[int(i)] for i in which])
                values, base_values = cut(current["value"]), cut(reference.coarse["value"])[segment[small]]
                _add_numbers(
                    out, mine[small], layout, reference, which, segment[small], edges,
                    (base[small][:, numbers, :-SPECIAL], base_values[:, numbers, :-SPECIAL]),
                    (rows[small][:, numbers, :-SPECIAL], values[small][:, numbers, :-SPECIAL]),
                )  # fmt: skip
    whole = at[history.groups.segment[out.cells.group[at]] == 0]
    if len(layout.numeric) and len(whole):
        for part in chunks(out.cells[whole], layout.fine_slots):
            mine = whole[part]
            sums = history.fine.over(out.cells[mine], out.night)
            shape = (-1, len(layout.numeric), layout.fine_width)
            base_rows, base_values = (
                np.broadcast_to(reference.fine[n][:1].reshape(shape), (len(mine), *shape[1:]))
                for n in ("rows", "value")
            )
            _add_numbers(
                out, mine, layout, reference, layout.numeric, np.zeros(len(mine), np.int64), layout.fine_edges,
                (base_rows, base_values), (sums["rows"].reshape(shape), sums["value"].reshape(shape)),
            )  # fmt: skip


def _add_numbers(
    out: MetricRows,
    at: Ints,
    layout: FeatureLayout,
    reference: Reference,
    features: Ints,
    segment: Ints,
    edges: Floats,
    base: tuple[Ints, Ints],
    current: tuple[Ints, Ints],
) -> None:
    """Kolmogorov-Smirnov and Wasserstein of numeric features, shape (windows, features, bins)."""
    moments = {name: sums[segment][:, features] for name, sums in reference.moments.items()}
    spread = standard_deviation(moments["rows"], moments["value"] / SQUARE, moments["value_sq"] / SQUARE)
    found = of_numbers(edges, 1 / SQUARE, (base[0], base[1] / SQUARE), (current[0], current[1] / SQUARE), spread)
    found = enough(found, base[0].sum(axis=-1), out.min_rows)
    unit = layout.unit[features]
    w = found["wasserstein"]
    found["wasserstein"] = w._replace(value=w.value * unit, bound=w.bound * unit)
    names = [subject_of(layout.names[i]) for i in features]
    for metric, e in found.items():
        out.add(at, "drift", metric, names, e, need=current[0].sum(axis=-1))


def standard_deviation(rows: npt.ArrayLike, total: npt.ArrayLike, total_sq: npt.ArrayLike) -> Floats:
    """Of all rows (divided by n); NaN where they are all alike."""
    variance = share(total_sq, rows) - share(total, rows) ** 2
    found: Floats = np.sqrt(np.where(variance > 2.0**-SQUARE_BITS * 4, variance, np.nan))
    return found


def add_output_drift(
    out: MetricRows,
    at: Ints,
    segment: Ints,
    reference: Sequence[Distribution],
    current: Sequence[Distribution],
    *,
    frozen: bool,
) -> None:
    """Drift of outputs or labels for the windows ``at``, whose segments in the reference are ``segment``."""
    for base, now in zip(reference, current, strict=True):
        need = now.counts.sum(axis=-1)
        shape = (len(at),)
        if not frozen:
            for metric in (*CATEGORIES, *(ORDERED if now.edges is not None else ())):
                out.add(at, "drift", metric, now.subject, _nothing(*shape), need=None, labels=now.labels)
            continue
        coarse = deciles(base.counts[0]) if now.deciles else now.coarse
        counts = base.counts[segment]
        found = enough(
            of_categories(_coarse(counts, coarse), _coarse(now.counts, coarse)), counts.sum(axis=-1), out.min_rows
        )
        if now.edges is not None and now.values is not None and base.values is not None:
            edges = (now.edges - now.center) / now.unit
            spread, widest = _binned_deviation(edges, base.counts, base.values)
            numbers = of_numbers(
                edges,
                now.quantum,
                (counts, base.values[segment]),
                (now.counts, now.values),
                spread[segment],
                widest[segment],
            )
            w = numbers["wasserstein"]
            numbers["wasserstein"] = w._replace(value=w.value * now.unit, bound=w.bound * now.unit)
            found |= enough(numbers, counts.sum(axis=-1), out.min_rows)
        for metric, e in found.items():
            out.add(at, "drift", metric, now.subject, e, need=need, labels=now.labels)


def _binned_deviation(edges: Floats, counts: Ints, values: Floats) -> tuple[Floats, Floats]:
    """Standard deviation of binned values taken at their bin's mean, and the largest it can be.

    Inside [a, b) values with mean m have a variance of at most (m - a)(b - m) (Bhatia & Davis 2000).
    """
    means = np.divide(values, counts, out=np.zeros(counts.shape), where=counts > 0)
    low, high = np.concatenate([edges[:1], edges]), np.concatenate([edges, edges[-1:]])
    within = np.where(counts > 0, counts * np.abs((means - low) * (high - means)), 0.0)
    rows, total, squares = counts.sum(axis=-1), values.sum(axis=-1), (means * values).sum(axis=-1)
    return (
        standard_deviation(rows, total, squares),
        standard_deviation(rows, total, squares + within.sum(axis=-1)),
    )


def deciles(counts: Ints) -> Ints:
    """For each bin its tenth of the distribution; bins are not split, so tenths may be uneven or missing."""
    before = np.cumsum(counts) - counts
    total = max(int(counts.sum()), 1)
    tenth: Ints = np.minimum(before * 10 // total, 9)
    return tenth


def _coarse(counts: Ints, coarse: Ints | None) -> Ints:
    """Counts by coarse bin; ``coarse`` is ascending."""
    if coarse is None:
        return counts
    starts = np.flatnonzero(np.concatenate([[True], coarse[1:] != coarse[:-1]]))
    found: Ints = np.add.reduceat(counts, starts, axis=-1)
    return found
