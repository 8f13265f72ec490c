"""Features by how much they drifted and how much they matter: what is up on the right is looked at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.figure import Numbers, drawing, figure
from mlobs_pipelines.report.charts.scale import Scale, written
from mlobs_pipelines.report.markup import element

HEIGHT = 280.0
LABEL = 15.0
"""Pixels between two labels that are not to touch."""


@dataclass(frozen=True)
class Feature:
    """One feature: its drift and its importance."""

    name: str
    drift: float
    importance: float


def quadrant(
    title: str, features: Sequence[Feature], *, matters: float, drift_name: str, importance_name: str
) -> Markup:
    """The chart; ``matters`` is the drift from which it counts."""
    if not features:
        return figure(
            title, "No feature has both a drift and an importance.", element("p", "Not measured yet.", class_="nothing")
        )
    across = Scale.of([*(f.drift for f in features), matters * 1.3], 0, zero=True)
    up = Scale.of([f.importance for f in features], HEIGHT, zero=True)
    half = up.high / 2
    line, middle = f"{across.x(matters):.2f}%", up.y(half)
    ranked = sorted(features, key=lambda f: -f.drift * f.importance)
    first = [f for f in ranked if f.drift >= matters and f.importance >= half / 2]
    summary = (
        f"{words.listed([f.name for f in first])} drifted and matter{'s' if len(first) == 1 else ''}."
        if first
        else "No feature that matters has drifted."
    )
    names = _labels(ranked, across, up)
    svg = drawing(
        title,
        summary,
        HEIGHT + 40,
        element("rect", x=line, y=0, width=f"{100 - across.x(matters):.2f}%", height=middle, class_="hot"),
        *(element("line", x1="0", x2="100%", y1=up.y(t), y2=up.y(t), class_="grid") for t in up.ticks()),
        *(
            element("text", text, x=-8, y=up.y(t) + 4, class_="tick end")
            for t, text in zip(up.ticks(), written(up.ticks()), strict=True)
        ),
        *(
            element("text", text, x=f"{across.x(t):.2f}%", y=HEIGHT + 16, class_=_place(across.x(t)))
            for t, text in zip(across.ticks(), written(across.ticks()), strict=True)
        ),
        element("line", x1=line, x2=line, y1=0, y2=HEIGHT, class_="event"),
        element("text", "look here first", x="100%", y=14, dx=-6, class_="event end"),
        element("text", f"{drift_name} →", x="100%", y=HEIGHT + 34, class_="tick end"),
        element("text", f"↑ {importance_name}", x=-30, y=-8, class_="tick"),
        *(
            element(
                "circle",
                element("title", f"{f.name}: {words.plain(f.drift)}, {words.plain(f.importance)}"),
                cx=f"{across.x(f.drift):.2f}%",
                cy=up.y(f.importance),
                r=5,
                class_="dot off" if f in first else "dot",
            )
            for f in ranked
        ),
        *names,
        class_="chart headed",
    )
    numbers = Numbers(
        ("feature", drift_name, importance_name),
        [(f.name, words.plain(f.drift), words.plain(f.importance)) for f in ranked],
    )
    return figure(title, summary, svg, (), numbers)


def _labels(features: Sequence[Feature], across: Scale, up: Scale) -> list[Markup]:
    """Names beside their dots, those of the important ones first; where two would touch the later one moves down.

    One that would land far from its dot, or outside, is left out: pointing at the dot tells it, and so do the numbers.
    """
    taken: list[tuple[float, float]] = []
    found = []
    for f in features:
        x, y = across.x(f.drift), up.y(f.importance)
        while any(abs(y - other) < LABEL and abs(x - beside) < 30 for beside, other in taken):
            y += 3
        if y - up.y(f.importance) > 1.5 * LABEL or y + 4 > HEIGHT:
            continue
        taken.append((x, y))
        right = x > 70
        name = f.name if len(f.name) <= 28 else f"{f.name[:27]}…"
        found.append(
            element(
                "text", name, x=f"{x:.2f}%", y=y + 4, dx=-9 if right else 9, class_="label end" if right else "label"
            )
        )
    return found


def _place(x: float) -> str:
    return "tick" if x < 4 else "tick end" if x > 96 else "tick middle"
