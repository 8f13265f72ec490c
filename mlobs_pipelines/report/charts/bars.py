"""Lengths side by side: ranked shares with intervals, differences about zero, and two distributions."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.markup import element

HEIGHT = 18.0


def bar(
    value: float | None, scale: Scale, *, lower: float | None = None, upper: float | None = None, kind: str = ""
) -> Markup:
    """A bar from zero to a value, with its interval as a whisker; for one cell of a table, which says the numbers."""
    zero = scale.x(0.0)
    marks: list[Markup | None] = [element("line", x1=f"{zero:.2f}%", x2=f"{zero:.2f}%", y1=0, y2=HEIGHT, class_="axis")]
    if value is not None:
        end = scale.x(value)
        left, width = min(zero, end), abs(end - zero)
        marks.append(
            element(
                "rect",
                x=f"{left:.2f}%",
                y=4,
                width=f"{max(width, 0.4):.2f}%",
                height=HEIGHT - 8,
                class_=f"bar {kind}".strip(),
            )
        )
    marks += _whisker(lower, upper, scale)
    return _cell(*marks)


def point(
    value: float | None,
    scale: Scale,
    *,
    lower: float | None = None,
    upper: float | None = None,
    kind: str = "",
    at: float | None = 0.0,
) -> Markup:
    """A value as a dot with its interval, and a line ``at`` what it is compared with: a row of a forest plot."""
    marks: list[Markup | None] = []
    if at is not None:
        x = f"{scale.x(at):.2f}%"
        marks.append(element("line", x1=x, x2=x, y1=0, y2=HEIGHT, class_="axis"))
    marks += _whisker(lower, upper, scale)
    if value is not None:
        marks.append(element("circle", cx=f"{scale.x(value):.2f}%", cy=HEIGHT / 2, r=4, class_=f"dot {kind}".strip()))
    return _cell(*marks)


def pair(before: float, now: float, scale: Scale) -> Markup:
    """Two bars, one above the other: a share before, and now."""
    return _cell(
        element("rect", x="0", y=1, width=f"{scale.x(before):.2f}%", height=6, class_="bar before"),
        element("rect", x="0", y=9, width=f"{scale.x(now):.2f}%", height=7, class_="bar"),
    )


def strip(title: str, cells: Sequence[tuple[str, str]]) -> Markup:
    """Nights side by side; each is a kind and what it says. The worse, the taller."""
    tall = {"ok": 4.0, "none": 4.0, "off": 9.0, "info": 12.0, "warning": 15.0, "critical": HEIGHT}
    width = 100 / max(len(cells), 1)
    marks = [
        element(
            "rect",
            element("title", text),
            x=f"{i * width + width * 0.08:.2f}%",
            y=HEIGHT - tall.get(kind, 4.0),
            width=f"{width * 0.84:.2f}%",
            height=tall.get(kind, 4.0),
            class_=f"night {kind}",
        )
        for i, (kind, text) in enumerate(cells)
    ]
    return element("svg", element("title", title), *marks, class_="cell", role="img", width="100%", height=HEIGHT)


def _whisker(lower: float | None, upper: float | None, scale: Scale) -> list[Markup]:
    if lower is None or upper is None:
        return []
    left, right, y = f"{scale.x(lower):.2f}%", f"{scale.x(upper):.2f}%", HEIGHT / 2
    return [
        element("line", x1=left, x2=right, y1=y, y2=y, class_="whisker"),
        element("line", x1=left, x2=left, y1=y - 3, y2=y + 3, class_="whisker"),
        element("line", x1=right, x2=right, y1=y - 3, y2=y + 3, class_="whisker"),
    ]


def _cell(*marks: Markup | None) -> Markup:
    """The numbers are said in the cells beside it, so it is hidden from those who hear the page."""
    return element("svg", *marks, class_="cell", aria_hidden="true", width="100%", height=HEIGHT)
