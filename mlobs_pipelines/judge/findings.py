"""Signals -> findings: what belongs together as one trouble, and in which segment it sits."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from mlobs_pipelines.judge.monitors import DECISIONS, INPUT, INTAKE, LAYERS, SERVICE

Signal = Mapping[str, Any]

NIGHTS, OF = 2, 3
"""A trouble is confirmed by breaches on 2 of the last 3 nights on which the number was known …"""
UNMISTAKABLE, BEYOND_CHANCE = 4.0, 2.0
"""… or on the first night, by an effect 4 times the practical one and twice what chance gives."""
RARE = 0.6
"""A segment is where a trouble sits if no more than this share of the rows is in it …"""
OTHERS = 0.5
"""… the effect in the cut's other segments is at most this share of its own …"""
HELD = 0.3
"""… and, where all rows together are off as well, its rows account for at least this share of that."""


@dataclass(frozen=True)
class Finding:
    """One trouble of one night: the breaches that belong together, at the place where they are strongest."""

    topic: tuple[str, str, str]
    """Layer, and of those layers that tell them apart, metric and subject."""
    segment: str
    leading: Signal
    here: tuple[Signal, ...]
    """Breaches in the segment itself, the strongest first."""
    elsewhere: tuple[Signal, ...]
    """Breaches of the same topic in other segments, which this one explains."""
    places: tuple[Signal, ...]
    """The leading metric in every segment, breach or not."""
    confirmed: bool
    since: dt.date

    @property
    def layer(self) -> str:
        return self.topic[0]

    @property
    def subject(self) -> str:
        return str(self.leading["subject"])


def moved(finding: Finding, segment: str) -> Finding:
    """The finding with its place in another segment, if its leading metric is known there."""
    place = next((p for p in finding.places if p["segment"] == segment and p["effect"] is not None), None)
    if place is None:
        return finding
    everything = (*finding.here, *finding.elsewhere)
    return replace(
        finding,
        segment=segment,
        leading=place,
        here=tuple(s for s in everything if s["segment"] == segment) or (place,),
        elsewhere=tuple(s for s in everything if s["segment"] != segment),
    )


def topic_of(signal: Signal) -> tuple[str, str, str]:
    """What a signal is about; signals of one topic are one trouble."""
    layer, metric, subject = str(signal["layer"]), str(signal["metric"]), str(signal["subject"])
    if layer == INPUT:
        return layer, "", subject
    if layer in (INTAKE, DECISIONS):
        return layer, metric, subject
    if layer == SERVICE:
        return layer, metric, ""
    return layer, "", ""


def magnitude(signal: Signal) -> float:
    """How many times the effect is what it takes for a breach."""
    return float(signal["effect"]) / max(float(signal["practical"]), float(signal["chance"]), 1e-12)


def findings_of(signals: pl.DataFrame) -> list[Finding]:
    """The night's findings in the order of their layers, the causes first; schema as from ``signals_of``."""
    # Thousands of signals a night, each with its past: only numbers that are a breach somewhere become Python objects.
    rows = signals.filter(pl.col("breach").any().over("layer", "metric", "subject")).to_dicts()
    by_topic: dict[tuple[str, str, str], list[Signal]] = {}
    for row in rows:
        by_topic.setdefault(topic_of(row), []).append(row)
    found = [_finding(topic, of_topic) for topic, of_topic in by_topic.items()]
    return sorted(found, key=lambda f: (LAYERS.index(f.layer), -magnitude(f.leading), f.topic))


def _finding(topic: tuple[str, str, str], rows: Sequence[Signal]) -> Finding:
    breaches = sorted((r for r in rows if r["breach"]), key=magnitude, reverse=True)
    strongest = _by_rank(breaches)
    of_metric = [r for r in rows if r["metric"] == strongest["metric"] and r["subject"] == strongest["subject"]]
    segment = located(of_metric)
    here = tuple(r for r in breaches if r["segment"] == segment)
    leading = _by_rank(here)
    return Finding(
        topic=topic,
        segment=segment,
        leading=leading,
        here=here,
        elsewhere=tuple(r for r in breaches if r["segment"] != segment),
        places=tuple(of_metric),
        confirmed=any(map(confirmed, here)),
        since=min(map(began, here)),
    )


def _by_rank(breaches: Sequence[Signal]) -> Signal:
    """The signal that says most: counts of what is missing or broken before distances, overall before segments."""
    return max(breaches, key=lambda r: (r["family"] == "quality", magnitude(r), r["segment"] == ""))


def confirmed(signal: Signal) -> bool:
    """Whether a breach is more than one bad night."""
    past = signal["past"] or []
    seen = 1 + sum(bool(night["breach"]) for night in past[-(OF - 1) :])
    if signal["family"] == "drift":
        return seen >= NIGHTS  # a single day may be a holiday
    clear_cut = (
        signal["effect"] >= UNMISTAKABLE * signal["practical"] and signal["effect"] >= BEYOND_CHANCE * signal["chance"]
    )
    return seen >= NIGHTS or clear_cut


def began(signal: Signal) -> dt.date:
    """The last day of the first window of the breaches that reach up to this one, a single good night forgiven."""
    first: dt.date = signal["window_end"]
    gap = 0
    for night in reversed(signal["past"] or []):
        if night["breach"]:
            first, gap = night["window_end"], 0
        else:
            gap += 1
            if gap > 1:
                break
    return first


def located(rows: Sequence[Signal]) -> str:
    """The segment in which a metric's trouble sits; '' if it is everywhere.

    Args:
        rows: signals of one metric and subject, overall and in every segment.

    A cut tells where the trouble is if one of its segments breaches and the others are clear or too small to know.
    Of several cuts that do, the one counts in which the effect is largest: the least diluted.
    """
    overall = next((r for r in rows if r["segment"] == ""), None)
    total = overall["rows"] if overall else None
    places = [r for r in rows if r["segment"]]
    candidates = []
    for _, group in itertools.groupby(sorted(places, key=_cut), key=_cut):
        cut = list(group)
        breaching = [r for r in cut if r["breach"]]
        if len(breaching) != 1:
            continue
        place, others = breaching[0], [r for r in cut if not r["breach"] and r["effect"] is not None]
        alone = all(r["clear"] and r["effect"] <= OTHERS * place["effect"] for r in others)
        if alone and (others or overall is None) and (total is None or place["rows"] <= RARE * total):
            candidates.append(place)
    breaching = [r for r in rows if r["breach"]]
    if candidates:
        best = max(candidates, key=lambda r: (float(r["effect"]), -str(r["segment"]).count(" & ")))
        if overall is None or not overall["breach"] or _held(best, overall) >= HELD:
            return str(best["segment"])
    if overall is not None and overall["breach"]:
        return ""
    return str(max(breaching, key=magnitude)["segment"])


def _held(place: Signal, overall: Signal) -> float:
    """About which share of the overall effect a segment's rows account for; of a distance, its square adds up."""
    power = 2 if place["family"] == "drift" else 1
    return float((place["effect"] / overall["effect"]) ** power * place["rows"] / overall["rows"])


def _cut(signal: Signal) -> str:
    return " & ".join(part.split("=", 1)[0] for part in str(signal["segment"]).split(" & "))


def related(one: str, other: str) -> bool:
    """Whether rows may be in both segments: not if they give one field different values."""
    fields = dict(part.split("=", 1) for part in one.split(" & ") if "=" in part)
    return all(
        fields.get(name, value) == value for name, value in (p.split("=", 1) for p in other.split(" & ") if "=" in p)
    )
