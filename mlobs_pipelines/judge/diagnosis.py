"""What a finding is, in the words of whoever must act: its kind, how bad it is, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mlobs_pipelines.judge.findings import Finding, Signal
from mlobs_pipelines.judge.monitors import (
    DECISIONS,
    INPUT,
    INTAKE,
    LABELS,
    OUTPUT,
    PERFORMANCE,
    SERVICE,
    SMALLER_IS_WORSE,
    VOLUME,
)

UNITS = (1e6, 1000.0, 100.0, 60.0, 3600.0, 24.0, 10.0, 2.54, 1.609, 2.2046, 3.281)
"""Factors between units that get mixed up; each also the other way round."""
GREAT = 10.0
"""A factor from here on is told by its size; a smaller one must be met closely."""
ABRUPT = 0.5
"""A Jensen-Shannon distance that no drift of a population reaches overnight."""
WIDE = 0.1
"""A data fault that hits at least this share of the rows is critical."""
CONCEPT = 0.5
"""If at least this share of a loss is there at equal inputs, it is the concept that changed."""

COUNTED = {
    "missing_rate": "is missing on {value} of the rows",
    "invalid_rate": "cannot be read on {value} of the rows",
    "out_of_range_rate": "is out of its range on {value} of the rows",
    "unseen_rate": "has values never seen before on {value} of the rows",
    "duplicate_rate": "{value} of the {rows} were delivered more than once",
    "quarantined_rate": "{value} of the {rows} were refused",
}


@dataclass(frozen=True)
class Diagnosis:
    """What is said of a finding. ``title`` of an input begins after the names of the features it is about."""

    kind: str
    severity: str
    title: str
    action: str
    advice: str
    fingerprint: str | None = None


def diagnose(
    finding: Finding, metrics: pl.DataFrame, *, share_of_rows: float, at_equal_inputs: float | None, new_version: str
) -> Diagnosis:
    """Say what a finding is.

    Args:
        finding: what was found.
        metrics: the night's metrics of the first role, all versions, on the short window: means, for fingerprints.
        share_of_rows: of the model's rows, how many are in the segment.
        at_equal_inputs: of a performance's change, the share that is there at equal inputs; None if unknown.
        new_version: the version that took over when the trouble began, or ''.
    """
    return _BY_LAYER[finding.layer](finding, metrics, share_of_rows, at_equal_inputs, new_version)


def _intake(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del m, share, equal, version
    s = f.leading
    rows = "labels" if s["subject"] == "label" else "predictions"
    title = COUNTED[s["metric"]].format(value=percent(s["value"]), rows=rows) + f" (usually {percent(s['expected'])})"
    if s["metric"] == "duplicate_rate":
        advice = f"The feed of {rows} sends rows twice: mend it. Each row was counted once, so the metrics hold."
        return Diagnosis("data_fault", "warning", title, "fix_data", advice, "rows are delivered more than once")
    severity = "critical" if s["value"] >= WIDE else "warning"
    advice = "See why in the quarantine folder; rows that are delivered again, mended, are taken in."
    return Diagnosis("data_fault", severity, title, "fix_data", advice)


def _volume(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del m, share, equal, version
    s = f.leading
    fell = s["value"] < s["expected"]
    title = f"{s['value']:,.0f} predictions came, {s['expected']:,.0f} were expected"
    severity = "critical" if s["value"] < 0.5 * s["expected"] else "warning"
    advice = (
        "Find where the feed stops: the service, its log, or the delivery. Nothing was measured on what did not come."
        if fell
        else "See whether more is served, or a feed is delivered under new ids."
    )
    return Diagnosis("volume", severity, title, "fix_data", advice)


def _input(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del equal, version
    s = f.leading
    found = fingerprint(f, m)
    sign = found.text if found else None
    counted = s["family"] == "quality"
    if counted or sign or s["effect"] >= ABRUPT:
        title = _seen(s) if counted else sign or "changed abruptly"
        hit = share * (s["effect"] if counted else 1.0)
        advice = f"Mend the source of {f.subject}, or have it sent again; until then the model decides on wrong values."
        return Diagnosis("data_fault", "critical" if hit >= WIDE else "warning", title, "fix_data", advice, sign)
    title = f"is distributed differently (Jensen-Shannon distance {s['value']:.2f}, usually {s['expected']:.2f})"
    advice = "Nothing to do by itself: watch whether performance follows when the labels are in."
    return Diagnosis("input_drift", "info", title, "hold", advice)


def _seen(s: Signal) -> str:
    return COUNTED[s["metric"]].format(value=percent(s["value"])) + f" (usually {percent(s['expected'])})"


@dataclass(frozen=True)
class Fingerprint:
    """What a feature's change looks like. ``sure``: one night is enough, no calendar and no weather does that."""

    text: str
    sure: bool


def fingerprint(f: Finding, metrics: pl.DataFrame) -> Fingerprint | None:
    """What the moments tell of a feature's change: another unit, a constant that came alive, or one that froze."""
    mine = metrics.filter(
        (pl.col("family") == "quality")
        & (pl.col("subject") == f.subject)
        & (pl.col("segment") == f.segment)
        & pl.col("metric").is_in(["mean", "standard_deviation"])
    )
    found = {row["metric"]: row for row in mine.iter_rows(named=True)}
    if len(found) < 2:
        return None
    mean, spread = found["mean"], found["standard_deviation"]
    if spread["value"] and not spread["baseline"] and mean["baseline"] is not None:
        return Fingerprint("came alive: it was constant before", sure=True)
    if spread["baseline"] and not spread["value"] and mean["value"] is not None:
        return Fingerprint("stands still: all values are the same", sure=False)
    if not spread["value"] or not spread["baseline"] or not mean["value"] or mean["lower"] is None:
        return None
    return _another_unit(mean, spread["value"] / spread["baseline"])


def _another_unit(mean: Mapping[str, float], widened: float) -> Fingerprint | None:
    """Whether a mean and a spread have grown by the factor between two units."""
    ratio = mean["value"] / mean["baseline"] if mean["baseline"] else 0.0
    if ratio <= 0:
        return None
    error = max((mean["upper"] - mean["lower"]) / 2 / abs(mean["value"]), 0.02)
    for factor in (x for unit in UNITS for x in (unit, 1 / unit)):
        great = max(factor, 1 / factor) >= GREAT
        near = abs(np.log(ratio / factor)) <= (min(2 * error + 0.05, 0.35) if great else 0.03)
        if near and abs(np.log(widened / factor)) <= 0.5 and abs(np.log(factor)) > 4 * error:
            times = f"{factor:g} times" if factor > 1 else f"1/{1 / factor:g} of"
            return Fingerprint(f"is in another unit: values are {times} what they were", sure=great)
    return None


def _performance(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del m
    s = f.leading
    moved = "fell" if s["metric"] in SMALLER_IS_WORSE else "rose"
    title = f"{s['metric']} {moved} to {interval(s)} from {s['expected']:.3f}"
    severity = "critical" if f.segment == "" or share >= WIDE or s["effect"] >= 3 * s["practical"] else "warning"
    concept = equal is None or equal >= CONCEPT
    if version:
        advice = f"It began with version {version}: roll back to the version before, then look into the new one."
        return Diagnosis("performance", severity, title, "roll_back", advice)
    if concept:
        known = f"{percent(min(equal, 1.0))} of the change is there" if equal is not None else "the change is there"
        advice = f"The inputs look as before, but labels follow them otherwise ({known} at equal inputs): retrain on recent labels."
        return Diagnosis("concept_drift", severity, title, "retrain", advice)
    advice = "Most of it comes of other inputs than before: retrain on recent rows if these inputs are here to stay."
    return Diagnosis("performance", severity, title, "retrain", advice)


def _decisions(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del m, share, equal
    s = f.leading
    group = f.segment or s["subject"]
    names = {
        "demographic_parity_difference": "the rate of favorable decisions",
        "equal_opportunity_difference": "the rate of favorable decisions among those who deserve one",
    }
    title = (
        f"{group}: {names.get(s['metric'], s['metric'])} differs by {points(s['value'])} from the reference group's "
        f"(usually {points(s['expected'])})"
    )
    severity = "critical" if s["effect"] >= 2 * s["practical"] else "warning"
    if version:
        advice = f"It began with version {version}: roll back to the version before, then look into the new one."
        return Diagnosis("fairness", severity, title, "roll_back", advice)
    advice = (
        "Look at how scores become decisions for this group: thresholds, rules and overrides that changed on that day, "
        "and put back the common rule. A new model would not mend it."
    )
    return Diagnosis("fairness", severity, title, "alert", advice)


def _output(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del m, share, equal
    s = f.leading
    what = "Scores" if s["subject"] == "score" else "Predictions"
    title = (
        f"{what} are distributed differently (Jensen-Shannon distance {s['value']:.2f}, usually {s['expected']:.2f})"
    )
    if version:
        advice = f"It began with version {version}, which scores on its own scale. Nothing to do by itself."
        return Diagnosis("input_drift", "info", title, "hold", advice)
    advice = "No input explains it: look for a change in the serving code or in a model that was replaced in place."
    return Diagnosis("input_drift", "warning", title, "alert", advice)


def _service(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del m, share, equal
    s = f.leading
    rate = s["metric"].endswith("_rate")
    shown = (
        (percent(s["value"]), percent(s["expected"])) if rate else (f"{s['value']:.0f} ms", f"{s['expected']:.0f} ms")
    )
    title = f"{s['metric']} is {shown[0]} (usually {shown[1]})"
    if version:
        advice = f"It began with version {version}: see whether it is slower or fails by itself, else roll it back."
        return Diagnosis("service", "warning", title, "roll_back", advice)
    return Diagnosis("service", "warning", title, "alert", "Look at the serving system on that day.")


def _labels(f: Finding, m: pl.DataFrame, share: float, equal: float | None, version: str) -> Diagnosis:
    del m, share, equal, version
    s = f.leading
    title = (
        f"only {percent(s['value'])} of the rows have their label when they should (usually {percent(s['expected'])})"
    )
    advice = "Find where labels are held up. Until they come, performance is measured on those that did."
    return Diagnosis("labels", "warning", title, "fix_data", advice)


_BY_LAYER = {
    INTAKE: _intake,
    VOLUME: _volume,
    INPUT: _input,
    PERFORMANCE: _performance,
    DECISIONS: _decisions,
    OUTPUT: _output,
    SERVICE: _service,
    LABELS: _labels,
}


def percent(x: float) -> str:
    """A share for a sentence."""
    return f"{100 * x:.0f} %" if x >= 0.095 or x == 0 else f"{100 * x:.2g} %"


def points(x: float) -> str:
    """A difference of shares for a sentence."""
    return f"{100 * x:.1f} points"


def interval(s: Signal) -> str:
    """A value with its interval."""
    if s["lower"] is None or s["upper"] is None:
        return f"{s['value']:.3f}"
    return f"{s['value']:.3f} [{s['lower']:.3f}, {s['upper']:.3f}]"


def sentence(
    title: str,
    incident: Mapping[str, object],
    finding: Finding,
    suspects: Sequence[Mapping[str, object]],
    changes: Sequence[str],
) -> str:
    """The diagnosis as a paragraph: what, where, since when, on how much, and the first suspect."""
    s = finding.leading
    where = f"in {finding.segment}" if finding.segment else "in all rows"
    counted = f"{s['labeled_rows']:,} labelled rows" if finding.layer == PERFORMANCE else f"{s['rows']:,} rows"
    said = [f"{title}, {where}, since {incident['since']}, on {counted} up to {s['window_end']}."]
    said.append(
        f"The effect is {s['effect']:.3g}; chance gives up to {s['chance']:.2g} here, and from {s['practical']:.2g} on it matters."
    )
    if suspects:
        first = suspects[0]
        name = first["segment"] or first["subject"]
        said.append(f"First suspect: {name}: {first['detail']}." if name else f"First suspect: {first['detail']}.")
    if changes:
        said.append(f"At the same time: {'; '.join(changes)}.")
    return " ".join(said)
