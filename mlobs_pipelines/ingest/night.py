"""The nights' intake: delivered files -> the lake's predictions, labels, intake and segment_values, and the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.ingest.batch import Batch
from mlobs_pipelines.ingest.deliveries import Deliveries, remember, sources_of
from mlobs_pipelines.ingest.values import day
from mlobs_pipelines.ingest.workspace import EngineFactory, Workspace
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

MOST_NIGHTS = 31
"""Nights of a backfill that are taken in together at most."""
MOST_CELLS = 150_000_000
"""Rows times columns that are taken in together, unless one night alone has more."""


@dataclass(frozen=True)
class NightIntake:
    """What a night took in. Rows are counted as delivered; ``closed``: it was taken in before and stays as it is."""

    night: date
    rows_in: int
    labels_in: int
    rows_quarantined: int
    duplicates: int
    closed: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntakeReport:
    """What each night took in, in order."""

    nights: tuple[NightIntake, ...]

    @property
    def rows_in(self) -> int:
        return sum(n.rows_in for n in self.nights)

    @property
    def labels_in(self) -> int:
        return sum(n.labels_in for n in self.nights)

    @property
    def rows_quarantined(self) -> int:
        return sum(n.rows_quarantined for n in self.nights)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for n in self.nights for note in n.notes))


def ingest_nights(
    home: Home,
    spec: ModelSpec,
    nights: Sequence[date],
    *,
    engine_factory: EngineFactory = DuckDBEngine,
    progress: Callable[[str], None] | None = None,
) -> IntakeReport:
    """Take in what arrived on ``nights`` (dates in the model's timezone), and what came late for nights before.

    Nights that are closed (a later one is in the lake) are left as they are; the latest may be run again. Each
    night's files are published whole, that of predictions last: where it exists, the night was taken in. The result
    is that of running the nights one by one.

    Raises:
        IngestError: a source matches nothing, or none of its files can be used; one line says which and why.
    """
    asked = sorted(set(nights))
    lake = home.lake_nights(spec.model, "predictions").all()
    to_run = [n for n in asked if n not in lake or n == max(lake)]
    notes: dict[date, tuple[str, ...]] = {}
    if to_run:
        with Workspace(home, spec.model, engine_factory) as work:
            sources = sources_of(home, spec, work)
            for source in sources:
                source.scan(may_be_empty=source.source == "labels" or bool(lake), progress=progress)
            remember(home, spec, sources)
            if lake and max(lake) in to_run and _rotated(home, spec, work.engine, sources, max(lake)):
                to_run.remove(max(lake))
                notes[max(lake)] = (f"{max(lake)}: its files were taken away since, in part; it stays as taken in",)
            for chunk in _chunks(to_run, lake, sources):
                if progress:
                    progress(f"taking in {chunk[0]}" + (f" to {chunk[-1]}" if len(chunk) > 1 else ""))
                notes |= Batch(home, spec, work, sources, chunk).take_in()
                remember(home, spec, sources)
    with DuckDBEngine() as engine:
        return IntakeReport(tuple(_report(engine, home, spec.model, n, notes, closed=n not in to_run) for n in asked))


def _chunks(nights: Sequence[date], lake: Sequence[date], sources: Sequence[Deliveries]) -> list[list[date]]:
    """Nights to take in together. One that fills a gap is taken in alone, for later nights may hold its rows."""
    chunks: list[list[date]] = []
    held = 0
    for night in nights:
        rows = sum(f.rows.get(night.isoformat(), 0) * max(len(f.columns), 1) for s in sources for f in s.facts.values())
        gap = bool(lake) and night < max(lake)
        if (
            not chunks
            or gap
            or held + rows > MOST_CELLS
            or len(chunks[-1]) == MOST_NIGHTS
            or (lake and chunks[-1][-1] < max(lake))
        ):
            chunks.append([])
            held = 0
        chunks[-1].append(night)
        held += rows
    return chunks


def _rotated(home: Home, spec: ModelSpec, engine: DuckDBEngine, sources: Sequence[Deliveries], night: date) -> bool:
    """Whether the delivered files hold fewer rows of a night than the lake accepted: to take it in again would lose some."""
    for source in sources:
        told = "available_at" if source.source == "labels" else "arrived_at"
        rows = scan([home.lake_file(spec.model, source.source, night)])
        own = f"{day(told, spec.timezone)} = {sql.date(night)}"
        ((accepted,),) = engine.rows(f"select count(*) from {rows} where {own}")
        if sum(source.fact(f).rows.get(night.isoformat(), 0) for f in source.files) < accepted:
            return True
    return False


def _report(
    engine: DuckDBEngine, home: Home, model: str, night: date, notes: dict[date, tuple[str, ...]], *, closed: bool
) -> NightIntake:
    ((rows_in, labels_in, refused, duplicates),) = engine.rows(
        "select coalesce(sum(delivered) filter (where source = 'predictions'), 0), "
        "coalesce(sum(delivered) filter (where source = 'labels'), 0), "
        "coalesce(sum(quarantined), 0), coalesce(sum(duplicates), 0) "
        f"from {home.lake_nights(model, 'intake').relation([night])}"
    )
    return NightIntake(night, int(rows_in), int(labels_in), int(refused), int(duplicates), closed, notes.get(night, ()))
