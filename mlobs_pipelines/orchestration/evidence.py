"""What a night did, as small tables and plots for Dagster's pages: counts only, never a row's content."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.nights import Nights
from mlobs_pipelines.tasks import HEADLINE

SHOWN_NIGHTS, SHOWN_ROWS = 60, 10

_WIDTH, _HEIGHT, _PAD = 640, 120, 22


@dataclass(frozen=True)
class Intake:
    """What arrived on one night from one source."""

    delivered: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0

    @property
    def refused_share(self) -> float:
        """Quarantined rows per row that counts, 0 where nothing came."""
        counted = self.accepted + self.quarantined
        return self.quarantined / counted if counted else 0.0

    def __add__(self, other: Intake) -> Intake:
        return Intake(
            self.delivered + other.delivered,
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.quarantined + other.quarantined,
        )


@dataclass(frozen=True)
class Point:
    """One night of a plot."""

    night: dt.date
    value: float | None
    lower: float | None = None
    upper: float | None = None


def intake(home: Home, model: str, wanted: Sequence[dt.date]) -> dict[tuple[dt.date, str], Intake]:
    """Counts by night and source ('predictions' or 'labels'); a night that brought nothing is absent."""
    found = _rows(
        home.lake_nights(model, "intake"),
        wanted,
        "select arrival_date, source, sum(delivered)::bigint, sum(accepted)::bigint, sum(duplicates)::bigint, "
        "sum(quarantined)::bigint from {files} group by all",
    )
    return {(night, source): Intake(*counts) for night, source, *counts in found}  # type: ignore[arg-type, misc]


def refusals(home: Home, model: str, wanted: Sequence[dt.date]) -> list[tuple[object, ...]]:
    """Reason, source and number of the rows that the nights refused, the most frequent first."""
    return _rows(
        home.quarantine_nights(model),
        wanted,
        "select reason, source, count(*) from {files} group by all order by 3 desc, 1, 2 limit 20",
    )


def row_counts(home: Home, model: str, table: str, wanted: Sequence[dt.date]) -> dict[dt.date, int]:
    """Rows of a lake table by night, from the files' footers; a night without a file is absent."""
    return home.lake_nights(model, table).rows(wanted)


def store_counts(home: Home, model: str, table: str, wanted: Sequence[dt.date]) -> dict[dt.date, int]:
    """Rows of a table of the store by the night that wrote them."""
    return home.store_nights(table, model).rows(wanted)


def open_incidents(home: Home, model: str, night: dt.date) -> list[tuple[object, ...]]:
    """Of a night's open incidents: severity, kind, title, segment, since, recommended action, id; the worst first."""
    return _rows(
        home.store_nights("incidents", model),
        [night],
        "select severity, kind, title, segment, since, recommended_action, incident_id from {files} "
        "where resolved_as_of is null order by case severity when 'critical' then 0 when 'warning' then 1 else 2 end, "
        "since, incident_id",
    )


def recent(home: Home, model: str, last: dt.date, table: str = "intake") -> list[dt.date]:
    """The last nights up to ``last`` that a lake table has, at most ``SHOWN_NIGHTS``."""
    return home.lake_nights(model, table).between(dt.date.min, last)[-SHOWN_NIGHTS:]


def headline(home: Home, spec: ModelSpec, last: dt.date) -> list[Point]:
    """The model's headline metric over the longest window, by its last day, as known on ``last``."""
    written = home.store_nights("metrics", spec.model)
    days = max(spec.monitors.window_days)
    found = _rows(
        written,
        # in which all that was said of the windows that are shown is
        written.between(dt.date.min, last)[-SHOWN_NIGHTS:],
        "select window_end, arg_max_null(value, as_of), arg_max_null(lower, as_of), arg_max_null(upper, as_of) "
        f"from {{files}} where metric = '{HEADLINE[spec.task]}' and subject = '' and segment = '' and version = '' "
        f"and role = 'production' and window_end - window_start = {days - 1} group by 1 order by 1",
    )
    return [Point(*row) for row in found[-SHOWN_NIGHTS:]]  # type: ignore[arg-type]


def mart(home: Home, model: str, name: str) -> tuple[int, str]:
    """A model's rows in one of the snapshot's marts: how many, and the first of them as a Markdown table."""
    from mlobs_pipelines.store.read import query

    mine = f"from {name} where model = '{model}'"
    # One query, for the snapshot is opened for each.
    found = query(home, f"select * exclude (model), (select count(*) {mine}) as of_model {mine} limit {SHOWN_ROWS}")
    rows = found.drop("of_model")
    return (found["of_model"][0] if found.height else 0), markdown_table(rows.columns, rows.rows())


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A small Markdown table, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(headers) + " |", "| --- |" + " ---: |" * (len(headers) - 1)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def plot(title: str, points: Sequence[Point], *, bars: bool = False) -> str:
    """A small plot over nights as a Markdown image, with the interval as a band; a night without a value is left open."""
    shown = [p for p in points if p.value is not None]
    if not shown:
        return f"*{title}: nothing to show yet*"
    ends = [v for p in shown for v in (p.value, p.lower, p.upper) if v is not None]
    low, high = (0.0, max(ends)) if bars else (min(ends), max(ends))
    span = (high - low) or abs(high) or 1.0
    step = (_WIDTH - 2 * _PAD) / len(points)

    def x(index: int) -> float:
        return _PAD + (index + 0.5) * step

    def y(value: float) -> float:
        return _HEIGHT - _PAD - (value - low) / span * (_HEIGHT - 2 * _PAD)

    band, marks = [], []
    for index, point in enumerate(points):
        if point.value is None:
            continue
        if bars:
            top = y(point.value)
            marks.append(_box(x(index) - 0.4 * step, top, 0.8 * step, _HEIGHT - _PAD - top, "#4f6bed"))
            continue
        if point.lower is not None and point.upper is not None:
            band.append(_box(x(index) - step / 2, y(point.upper), step, y(point.lower) - y(point.upper), "#dbe2fb"))
        marks.append(f'<circle cx="{x(index):.1f}" cy="{y(point.value):.1f}" r="2" fill="#4f6bed"/>')
    label = 'font-family="sans-serif" font-size="11" fill="#666"'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        f'<text x="{_PAD}" y="14" {label}>{escape(title)}</text>'
        f'<text x="{_WIDTH - _PAD}" y="14" text-anchor="end" {label}>{low:.4g} to {high:.4g}</text>'
        f'<text x="{_PAD}" y="{_HEIGHT - 6}" {label}>{points[0].night}</text>'
        f'<text x="{_WIDTH - _PAD}" y="{_HEIGHT - 6}" text-anchor="end" {label}>{points[-1].night}</text>'
        f"{''.join(band)}{''.join(marks)}</svg>"
    )
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _box(left: float, top: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def columns(path: Path) -> list[tuple[str, str]]:
    """Names and types of a Parquet file's columns; empty where there is no file."""
    import pyarrow.parquet as pq

    return [(field.name, str(field.type)) for field in pq.read_schema(path)] if path.exists() else []


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return escape(" ".join(str(value).split())[:200]).replace("|", "\\|").replace("`", "'")
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _rows(nights: Nights, wanted: Sequence[dt.date], query: str) -> list[tuple[object, ...]]:
    from mlobs_pipelines.engine.duckdb import DuckDBEngine

    relation = nights.relation(wanted)
    if relation is None:
        return []
    with DuckDBEngine() as engine:
        return engine.rows(query.format(files=relation))
