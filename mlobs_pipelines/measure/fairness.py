"""Fairness: the groups of an attribute side by side, and how far apart they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.measure.history import History
from mlobs_pipelines.measure.performance import Measured, baseline_of
from mlobs_pipelines.measure.reference import Reference
from mlobs_pipelines.measure.rows import MetricRows
from mlobs_pipelines.measure.windows import FAIR_LABELS, FAIR_ROWS, LABELS, ROWS, Cells, members
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics.gaps import difference_to, largest_difference, ratio_to, smallest_ratio
from mlobs_pipelines.statistics.intervals import Estimate, Floats, estimate

OF_GROUPS = {
    "binary": (
        "selection_rate",
        "base_rate",
        "recall",
        "false_positive_rate",
        "false_negative_rate",
        "precision",
        "accuracy",
        "roc_auc",
    ),
    "multiclass": ("accuracy", "f1_macro", "log_loss", "roc_auc_ovr"),
    "regression": ("mean_absolute_error", "root_mean_squared_error", "mean_error", "r2"),
}
"""Metrics of performance that are stated per group of an attribute."""

NO_GROUP = ("(missing)", "(other)")
"""Values that are no group of people: they have rates, but are not compared."""


@dataclass(frozen=True)
class Gaps:
    """Gaps between groups, shape (windows,), and each group against the reference group, shape (windows, groups)."""

    between: Mapping[str, tuple[Estimate, bool]]
    """By metric; and whether it rests on labels."""
    against: Mapping[str, Estimate]


def compare(counts: Mapping[str, Ints], base: Ints, min_rows: int, *, favorable: bool) -> Gaps:
    """Every gap between groups with at least ``min_rows`` rows (labelled rows, where labels matter).

    Args:
        counts: rows, selected, labeled, labeled_selected, positives, positives_selected, shape (windows, groups).
        base: the reference group of each window, -1 for none.
        favorable: whether being selected is the favourable outcome.
    """
    rows, labeled = counts["rows"], counts["labeled"]
    shown = rows >= min_rows
    judged = labeled >= min_rows
    n = np.where(shown, rows, 0)
    selected = np.where(shown, counts["selected"], 0)
    positives = np.where(judged, counts["positives"], 0)
    negatives = np.where(judged, labeled, 0) - positives
    hits = np.where(judged, counts["positives_selected"], 0)
    chosen = np.where(judged, counts["labeled_selected"], 0)
    tpr, fpr = largest_difference(hits, positives, 2), largest_difference(chosen - hits, negatives, 2)
    odds = Estimate(*(np.maximum(a, b) for a, b in zip(tpr, fpr, strict=True)))

    window = np.arange(len(rows))
    reference = np.maximum(base, 0)
    known = (base >= 0) & shown[window, reference]
    good = selected if favorable else n - selected
    others = shown & (np.arange(rows.shape[1]) != base[:, None]) & known[:, None]
    comparisons = others.sum(axis=-1)[:, None]
    base_n, base_good, base_selected = (x[window, reference][:, None] for x in (n, good, selected))
    trials = np.where(others, n, 0)
    impact = ratio_to(np.where(others, good, 0), trials, base_good, base_n, comparisons)
    difference = difference_to(np.where(others, selected, 0), trials, base_selected, base_n, comparisons)
    lowest = estimate(_least(impact.value), (_least(impact.lower), _least(impact.upper)))
    return Gaps(
        {
            "demographic_parity_difference": (largest_difference(selected, n), False),
            "demographic_parity_ratio": (smallest_ratio(selected, n), False),
            "disparate_impact": (lowest, False),
            "equal_opportunity_difference": (largest_difference(hits, positives), True),
            "equalized_odds_difference": (odds, True),
            "predictive_parity_difference": (largest_difference(hits, chosen), True),
        },
        {"disparate_impact": impact, "demographic_parity_difference": difference},
    )


def _least(x: Floats) -> Floats:
    """The smallest over groups, undefined ones left out."""
    smallest = np.where(np.isnan(x), np.inf, x).min(axis=-1, initial=np.inf)
    return np.where(np.isinf(smallest), np.nan, smallest)


def add_fairness(
    out: MetricRows,
    history: History,
    reference: Reference,
    measured: Measured,
    spec: ModelSpec,
    *,
    labeled: bool,
    frozen: bool,
) -> None:
    """Rows of every attribute: its groups' metrics and, for a binary model, their comparison."""
    belongs = members(history.groups, spec.fairness.attributes, spec.segments)
    for attribute, of_segment in belongs.items():
        segments = np.flatnonzero(of_segment)
        if not len(segments):
            continue
        _add_groups(out, history, reference, measured, spec, attribute, of_segment, labeled=labeled, frozen=frozen)
        if spec.task == "binary":
            compared = [s for s in segments if history.groups.segments[s] not in {f"{attribute}={x}" for x in NO_GROUP}]
            _add_gaps(
                out, history, reference, measured, spec, attribute, np.array(compared, np.int64), labeled=labeled, frozen=frozen
            )  # fmt: skip


def _add_groups(
    out: MetricRows,
    history: History,
    reference: Reference,
    measured: Measured,
    spec: ModelSpec,
    attribute: str,
    of_segment: np.typing.NDArray[np.bool_],
    *,
    labeled: bool,
    frozen: bool,
) -> None:
    segment = history.groups.segment[out.cells.group[measured.at]]
    flags = out.cells.flags[measured.at]
    for name in OF_GROUPS[spec.task]:
        m = measured.metrics[("performance", name, "")]
        if m.labels and not labeled:
            continue
        wanted = FAIR_ROWS | FAIR_LABELS if m.labels else FAIR_ROWS
        stated = np.flatnonzero(of_segment[segment] & ((flags & wanted) > 0))
        base = baseline_of(reference, ("performance", name, ""), segment[stated], out.min_rows, frozen=frozen)
        out.add(
            measured.at[stated],
            "fairness",
            name,
            attribute,
            Estimate(*(x[stated] for x in m.estimate)),
            need=m.rows[stated],
            labels=m.labels,
            baseline=base,
        )


def _add_gaps(
    out: MetricRows,
    history: History,
    reference: Reference,
    measured: Measured,
    spec: ModelSpec,
    attribute: str,
    segments: Ints,
    *,
    labeled: bool,
    frozen: bool,
) -> None:
    groups, cells = history.groups, out.cells
    whole = np.flatnonzero((groups.segment[cells.group] == 0) & ((cells.flags & (ROWS | LABELS)) > 0))
    if not len(whole) or not len(segments):
        return
    of_group = groups.number[groups.version[cells.group[whole]], groups.role[cells.group[whole]]][:, segments]
    wanted = Cells(
        of_group.reshape(-1),
        np.repeat(cells.start[whole], len(segments)),
        np.repeat(cells.end[whole], len(segments)),
        np.zeros(of_group.size, np.int64),
    )
    place = cells[measured.at].place(wanted).reshape(of_group.shape)
    place = np.where(of_group >= 0, place, -1)
    counts = {name: np.where(place >= 0, x[np.maximum(place, 0)], 0) for name, x in measured.totals.items()}
    favorable = spec.fairness.favorable_outcome == spec.positive_class
    on_reference = (
        {name: x.sum(axis=-1)[segments][None] for name, x in reference.seen["totals"].sums.items()} if frozen else None
    )
    base = _reference_group(spec, attribute, [groups.segments[s] for s in segments], counts["rows"], on_reference)
    gaps = compare(counts, base, out.min_rows, favorable=favorable)
    before = None
    if on_reference is not None:
        before = compare(
            on_reference, base[:1] if _fixed(base) else base[:1] * 0 - 1, out.min_rows, favorable=favorable
        )
    for metric, (e, labels) in gaps.between.items():
        if labels and not labeled:
            continue
        stated = np.flatnonzero(cells.flags[whole] & (ROWS | LABELS if labels else ROWS))
        baseline = None if before is None else np.full(len(stated), before.between[metric][0].value[0])
        need = out.labeled_of if labels else out.rows_of
        out.add(
            whole[stated],
            "fairness",
            metric,
            attribute,
            Estimate(*(x[stated] for x in e)),
            need=need[whole[stated]],
            labels=labels,
            baseline=baseline,
        )
    for metric, e in gaps.against.items():
        window, group = np.nonzero((place >= 0) & (np.arange(len(segments)) != base[:, None]))
        at = measured.at[place[window, group]]
        stated = np.flatnonzero(cells.flags[at] & FAIR_ROWS)
        window, group, at = window[stated], group[stated], at[stated]
        baseline = None if before is None else before.against[metric].value[0, group]
        out.add(
            at,
            "fairness",
            metric,
            attribute,
            Estimate(*(x[window, group] for x in e)),
            need=out.rows_of[at],
            baseline=baseline,
        )


def _fixed(base: Ints) -> bool:
    return bool(len(base)) and bool((base == base[0]).all())


def _reference_group(
    spec: ModelSpec, attribute: str, segments: list[str], rows: Ints, on_reference: Mapping[str, Ints] | None
) -> Ints:
    """For each window which group the others are held against: the named one, else the reference's largest, else the window's."""
    named = spec.fairness.reference_groups.get(attribute)
    if named is not None:
        segment = f"{attribute}={named}"
        return np.full(len(rows), segments.index(segment) if segment in segments else -1)
    if on_reference is not None and on_reference["rows"].max(initial=0) > 0:
        return np.full(len(rows), int(on_reference["rows"][0].argmax()))
    largest = rows.argmax(axis=-1)
    return np.where(rows.max(axis=-1, initial=0) > 0, largest, -1)
