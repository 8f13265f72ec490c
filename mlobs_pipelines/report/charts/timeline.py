"""A number over days: its interval, what was expected, what is not final yet, and what happened."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.figure import Key, Numbers, drawing, figure, stretched
from mlobs_pipelines.report.charts.scale import Days, Scale, written
from mlobs_pipelines.report.markup import element, joined

AXIS = 22.0
LANE = 7.0


@dataclass(frozen=True)
class Point:
    """One window: its last day, its value with interval, what it rests on, and what was expected of it.

    ``low`` and ``high``: what chance gives, or does not matter. ``final``: whether its labels are all in.
    """

    first: dt.date
    last: dt.date
    value: float | None
    lower: float | None = None
    upper: float | None = None
    rows: int | None = None
    final: bool = True
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    breach: bool = False


@dataclass(frozen=True)
class Span:
    """An incident: the days it is about, how severe it is, and what it says."""

    first: dt.date
    last: dt.date
    severity: str
    text: str


@dataclass(frozen=True)
class Event:
    """Something that happened on a day, such as a new version."""

    day: dt.date
    text: str


def timeline(
    title: str,
    metric: str,
    points: Sequence[Point],
    *,
    spans: Sequence[Span] = (),
    events: Sequence[Event] = (),
    height: float = 170.0,
    zero: bool = False,
    counted: str = "rows",
    days: Days | None = None,
) -> Markup:
    """The chart of a metric over days with all its marks.

    Args:
        title: what it shows.
        metric: for units.
        points: in order of their last day.
        spans: incidents, each drawn in a lane of its own below the plot.
        events: drawn as a vertical line.
        height: of the plot, in pixels.
        zero: whether the scale begins at zero.
        counted: what ``rows`` of the points are.
        days: the days shown; default: those of the points.
    """
    known = [p for p in points if p.value is not None]
    if not points or not known:
        nothing = element("p", "Not measured yet.", class_="nothing")
        return figure(title, "No value is known.", nothing)
    days = days or Days(points[0].last, points[-1].last)
    spans = [s for s in spans if s.last >= days.first and s.first <= days.last]
    share = metric in words.RATES
    scale = Scale.of(_extent(points), height, zero=zero or share, most=1.0 if share else float("inf"))
    lanes = LANE * len(spans) + (4 if spans else 0)
    summary = _summary(metric, known)
    svg = drawing(
        title,
        summary,
        height + lanes + AXIS,
        *_grid(scale, metric),
        _unfinal(points, days, height),
        stretched(height, _area("usual", points, scale, days, "low", "high"), _line("expected", points, scale, days)),
        *(_event(e, days, height) for e in events if days.first <= e.day <= days.last),
        stretched(height, _area("interval", points, scale, days, "lower", "upper"), *_value_lines(points, scale, days)),
        *_dots(points, scale, days),
        *(_lane(s, i, days, height + 4) for i, s in enumerate(spans)),
        *_dates(days, height + lanes),
        *(_hit(p, days, height, metric, counted) for p in points),
    )
    return figure(title, summary, svg, _keys(points, spans, events), _numbers(points, metric, counted))


def spark(title: str, values: Sequence[float | None], height: float = 28.0) -> Markup:
    """A line without axes, and where it ends."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return element("span", words.NOTHING, class_="nothing")
    scale = Scale(min(known), max(known) if max(known) > min(known) else min(known) + 1, height - 6)
    step = 980 / max(len(values) - 1, 1)
    pieces, pen = [], "M"
    for i, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        pieces.append(f"{pen}{10 + i * step:.0f} {3 + scale.y(value):.1f}")
        pen = "L"
    end = max(i for i, v in enumerate(values) if v is not None)
    last = values[end]
    path = element("path", d="".join(pieces), class_="value")
    dot = element(
        "circle",
        cx=f"{1 + end * step / 10:.1f}%",
        cy=3 + scale.y(last if last is not None else 0.0),
        r=2.5,
        class_="dot",
    )
    return drawing(title, "", height, stretched(height, path), dot, class_="spark")


def _extent(points: Sequence[Point]) -> list[float | None]:
    """Values, what was expected of them, and intervals as far as they are of use: a few wide ones would flatten all else."""
    values = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
    widths = [p.upper - p.lower for p in points if p.lower is not None and p.upper is not None]
    room = max(0.6 * (max(values) - min(values)), statistics.median(widths) if widths else 0.0)
    low, high = min(values) - room, max(values) + room
    bounds = [max(p.lower, low) for p in points if p.lower is not None]
    bounds += [min(p.upper, high) for p in points if p.upper is not None]
    return [*values, *bounds]


def _grid(scale: Scale, metric: str) -> list[Markup]:
    ticks = scale.ticks()
    found = []
    for tick, text in zip(
        ticks, written(ticks, 100 if metric in words.RATES or metric in words.GAPS else 1), strict=True
    ):
        y = scale.y(tick)
        unit = " %" if metric in words.RATES else ""
        found.append(element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"))
        found.append(element("text", f"{text}{unit}", x=-8, y=y + 4, class_="tick end"))
    return found


def _runs(points: Sequence[Point], *names: str) -> list[list[Point]]:
    """Stretches of points that have all of these values, without gaps."""
    runs: list[list[Point]] = [[]]
    for p in points:
        if all(getattr(p, name) is not None for name in names):
            if runs[-1] and (p.last - runs[-1][-1].last).days > 3:
                runs.append([])
            runs[-1].append(p)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _area(kind: str, points: Sequence[Point], scale: Scale, days: Days, low: str, high: str) -> Markup | None:
    pieces = []
    for run in _runs(points, low, high):
        xs = _edges(run, days)
        up = [f"{x:.1f} {scale.y(getattr(p, high)):.1f}" for x, p in xs]
        down = [f"{x:.1f} {scale.y(getattr(p, low)):.1f}" for x, p in reversed(xs)]
        pieces.append(f"M{'L'.join(up)}L{'L'.join(down)}Z")
    return element("path", d="".join(pieces), class_=kind) if pieces else None


def _edges(run: Sequence[Point], days: Days) -> list[tuple[float, Point]]:
    """Middles of the days; a day alone is as wide as it is."""
    if len(run) == 1:
        left = 10 * days.left(run[0].last)
        return [(left, run[0]), (left + 10 * days.width, run[0])]
    return [(10 * days.middle(p.last), p) for p in run]


def _line(kind: str, points: Sequence[Point], scale: Scale, days: Days) -> Markup | None:
    name = "expected" if kind == "expected" else "value"
    pieces = [
        "M" + "L".join(f"{x:.1f} {scale.y(getattr(p, name)):.1f}" for x, p in _edges(run, days))
        for run in _runs(points, name)
    ]
    return element("path", d="".join(pieces), class_=kind) if pieces else None


def _value_lines(points: Sequence[Point], scale: Scale, days: Days) -> list[Markup | None]:
    """What is final as a line, what is not as a dashed one that goes on from it."""
    cut = next((i for i, p in enumerate(points) if not p.final), len(points))
    settled, open_ = points[:cut], points[max(cut - 1, 0) :] if cut < len(points) else []
    return [
        element("path", d=_path(settled, scale, days), class_="value"),
        element("path", d=_path(open_, scale, days), class_="value open") if open_ else None,
    ]


def _path(points: Sequence[Point], scale: Scale, days: Days) -> str:
    runs = [run for run in _runs(points, "value") if len(run) > 1]
    return "".join(
        "M" + "L".join(f"{10 * days.middle(p.last):.1f} {scale.y(p.value or 0.0):.1f}" for p in run) for run in runs
    )


def _dots(points: Sequence[Point], scale: Scale, days: Days) -> list[Markup]:
    """Breaches as diamonds, single days as dots, and the newest value."""
    found = []
    alone = {run[0].last for run in _runs(points, "value") if len(run) == 1}
    last = [p for p in points if p.value is not None][-1]
    for p in points:
        if p.value is None:
            continue
        x, y = f"{days.middle(p.last):.2f}%", scale.y(p.value)
        if p.breach:
            found.append(element("svg", element("use", href="#m-breach"), x=x, y=y, overflow="visible"))
        elif p.last in alone or p is last:
            found.append(element("circle", cx=x, cy=y, r=3, class_="dot"))
    return found


def _unfinal(points: Sequence[Point], days: Days, height: float) -> Markup | None:
    first = next((p for p in points if not p.final), None)
    if first is None:
        return None
    left = days.left(first.last)
    return joined(
        element("rect", x=f"{left:.2f}%", y=0, width=f"{100 - left:.2f}%", height=height, class_="unfinal"),
        element("rect", x=f"{left:.2f}%", y=0, width=f"{100 - left:.2f}%", height=height, fill="url(#hatch)"),
    )


def _event(event: Event, days: Days, height: float) -> Markup:
    x = f"{days.left(event.day):.2f}%"
    near_end = days.left(event.day) > 80
    text = element("text", event.text, x=x, y=11, dx=-5 if near_end else 5, class_="event end" if near_end else "event")
    return joined(element("line", x1=x, x2=x, y1=0, y2=height, class_="event"), text)


def _lane(span: Span, lane: int, days: Days, top: float) -> Markup:
    left = days.left(span.first)
    right = min(days.left(span.last) + days.width, 100)
    return element(
        "rect",
        element("title", f"{span.text}, {words.days(span.first, span.last)}"),
        x=f"{left:.2f}%",
        y=top + lane * LANE,
        width=f"{max(right - left, 0.6):.2f}%",
        height=LANE - 2,
        rx=2,
        class_=f"span {span.severity}",
    )


def _dates(days: Days, y: float) -> list[Markup]:
    found = [element("line", x1="0", x2="100%", y1=y + 2, y2=y + 2, class_="axis")]
    for day, text in days.ticks():
        at = days.middle(day)
        place = "tick" if at < 6 else "tick end" if at > 94 else "tick middle"
        found.append(element("line", x1=f"{at:.2f}%", x2=f"{at:.2f}%", y1=y + 2, y2=y + 6, class_="axis"))
        found.append(element("text", text, x=f"{at:.2f}%", y=y + 18, class_=place))
    return found


def _hit(p: Point, days: Days, height: float, metric: str, counted: str) -> Markup:
    """What a pointer that rests on a day is told."""
    said = f"{words.days(p.first, p.last)}: {words.number(p.value, metric)} {words.interval(p.lower, p.upper, metric)}"
    if p.rows is not None:
        said += f" on {words.count(p.rows)} {counted}"
    if not p.final:
        said += ", not final"
    return element(
        "rect",
        element("title", said),
        x=f"{days.left(p.last):.2f}%",
        y=0,
        width=f"{days.width:.2f}%",
        height=height,
        class_="hit",
    )


def _summary(metric: str, known: Sequence[Point]) -> str:
    final = [p for p in known if p.final]
    shown = final or known
    last = shown[-1]
    text = f"{words.number(last.value, metric)} {words.interval(last.lower, last.upper, metric)}".strip()
    if last.expected is not None:
        text += f", {words.number(last.expected, metric)} expected"
    state = "" if final else ", not final"
    off = sum(p.breach for p in known)
    times = f"; off on {off} of {len(known)}" if off else ""
    return f"{text} for {words.days(last.first, last.last)}{state}{times}."


def _keys(points: Sequence[Point], spans: Sequence[Span], events: Sequence[Event]) -> Key:
    found = [("line", "value, with its 95 % interval" if any(p.lower is not None for p in points) else "value")]
    if any(p.low is not None for p in points):
        found.append(("usual", "expected, and what chance gives or does not matter"))
    if any(p.breach for p in points):
        found.append(("breach", "off"))
    if any(not p.final for p in points):
        found.append(("unfinal", "labels not final"))
    found += [
        (f"span {s}", f"{s} incident") for s in ("critical", "warning", "info") if any(x.severity == s for x in spans)
    ]
    if events:
        found.append(("event", "version took over"))
    return found


def _numbers(points: Sequence[Point], metric: str, counted: str) -> Numbers:
    rows = [
        (
            words.days(p.first, p.last),
            words.number(p.value, metric),
            words.interval(p.lower, p.upper, metric),
            words.number(p.expected, metric),
            words.count(p.rows),
            "off" if p.breach else "" if p.final else "not final",
        )
        for p in reversed(points)
    ]
    return Numbers(("days", words.metric_name(metric), "95 % interval", "expected", counted, "verdict"), rows, (0, 5))
