"""A model's partitions: one for every arrival date."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

import dagster as dg

from mlobs_pipelines.ingest import cache
from mlobs_pipelines.ingest.sources import list_delivered
from mlobs_pipelines.orchestration.due import first_unfinished, nights_between
from mlobs_pipelines.spec.model import LabelsSpec, ModelSpec, PredictionsSpec
from mlobs_pipelines.store.layout import Home

UNKNOWN_START = dt.date(2020, 1, 1)
"""First partition of a model of which nothing is known yet: a constant, so that partitions never vanish."""

MOST_FOOTERS = 1000
"""Files whose footers are read for the first arrival; logs beyond that have been run before."""


def partitions(first: dt.date, spec: ModelSpec) -> dg.DailyPartitionsDefinition:
    """A partition for every night from ``first`` to yesterday, in the model's timezone."""
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone=spec.timezone)


def first_night(home: Home, spec: ModelSpec) -> dt.date:
    """The night from which a model has partitions, without reading a row.

    It is the earlier of the first night in the lake and the first arrival that is known: from what earlier runs
    remember of the files, or before any run from the footers of local Parquet files. Of a log of other files (CSV,
    JSON lines, URLs) nothing is known before the first run; a constant is taken.
    """
    known = [*home.lake_nights(spec.model, "predictions").all()[:1], *_first_arrivals(home, spec)]
    return min(known, default=UNKNOWN_START)


def unfinished(home: Home, spec: ModelSpec, last: dt.date) -> list[dt.date]:
    """Nights up to ``last``, in order, from the first one that a run left without metrics, or that was not run.

    Looks at names of files alone. Always ends with ``last``; with nothing in the lake it begins at the first known
    arrival, and where that is not known, it is ``last`` alone.
    """
    first = first_unfinished(home, spec.model) or min(_first_arrivals(home, spec), default=last)
    return nights_between(min(first, last), last)


def ran_before(home: Home, model: str) -> bool:
    """Whether any night of the model is in the lake."""
    return bool(home.lake_nights(model, "predictions").all())


def partition_tags(wanted: Sequence[dt.date]) -> dict[str, str]:
    """Tags of a run that covers consecutive nights in one go."""
    return {
        "dagster/asset_partition_range_start": wanted[0].isoformat(),
        "dagster/asset_partition_range_end": wanted[-1].isoformat(),
    }


def nights_of(context: dg.AssetExecutionContext) -> list[dt.date]:
    """The nights that a run covers, ascending."""
    return sorted(dt.date.fromisoformat(key) for key in context.partition_keys)


def _first_arrivals(home: Home, spec: ModelSpec) -> Iterator[dt.date]:
    remembered = (day for facts in cache.load(home, spec).values() for day in facts.rows if day != cache.UNKNOWN)
    if found := min((day for day in map(dt.date.fromisoformat, remembered) if _plausible(day)), default=None):
        yield found
        return
    if found := _first_arrival(home, spec.predictions, spec.timezone):
        yield found
    if spec.labels and (found := _first_arrival(home, spec.labels, spec.timezone)):
        yield found


def _first_arrival(home: Home, source: PredictionsSpec | LabelsSpec, timezone: str) -> dt.date | None:
    column = source.available_at if isinstance(source, LabelsSpec) else source.arrived_at or source.time
    entries = [source.source] if isinstance(source.source, str) else source.source
    local = [entry for entry in entries if "://" not in entry]
    files = [file for file in list_delivered(home, local).files if file.kind == "parquet"]
    found = (_earliest(f.location, f.fingerprint, column, timezone) for f in files[:MOST_FOOTERS])
    return min((f for f in found if f), default=None)


@functools.lru_cache(maxsize=100_000)
def _earliest(path: str, _fingerprint: str, column: str, timezone: str) -> dt.date | None:
    """The smallest value of a time column by the file's own statistics, as a date in ``timezone``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return None
    lowest: list[dt.date] = []
    for group in range(footer.num_row_groups):
        chunks = footer.row_group(group)
        for index in range(chunks.num_columns):
            chunk = chunks.column(index)
            if chunk.path_in_schema == column and chunk.is_stats_set and chunk.statistics.has_min_max:
                if (day := _date(chunk.statistics.min, timezone)) is None:
                    return None
                lowest.append(day)
    return min(lowest, default=None)


def _date(value: object, timezone: str) -> dt.date | None:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        value = aware.astimezone(ZoneInfo(timezone)).date() if aware.year > 1 else dt.date.min
    return value if isinstance(value, dt.date) and _plausible(value) else None


def _plausible(day: dt.date) -> bool:
    """Whether a date is more than a time that was never filled in."""
    return day.year >= 1900 and (day.year, day.month) != (1970, 1)
