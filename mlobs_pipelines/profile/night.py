"""Profiles of the nights: what arrived is counted once, and once more when its label comes."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.engine.spark import SparkEngine, session
from mlobs_pipelines.engine.threads import workers
from mlobs_pipelines.ingest.schema import Schema, read_schema
from mlobs_pipelines.profile.bins import read_bins, write_bins
from mlobs_pipelines.profile.counting import by_arrival
from mlobs_pipelines.profile.embedded import count
from mlobs_pipelines.profile.freezing import freeze_given, frozen_after
from mlobs_pipelines.profile.plan import Plan
from mlobs_pipelines.profile.rows import admitted, load_facts
from mlobs_pipelines.profile.sums import summed
from mlobs_pipelines.profile.tables import COLUMNS, counted, schema_of, totalled, write
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.engine import on_spark
from mlobs_pipelines.store.layout import Home

BATCH_ROWS = 1_000_000
"""Nights are profiled together up to about so many facts."""

BATCH_DAYS = 140
"""And of the embedded engine up to so many days that each night's facts are about: each leaves a profile, held till all are."""

CLUSTER_ROWS = 100_000_000
"""The same where Spark counts: it holds them on many machines, and each statement takes its time to begin."""

TablesOf = Callable[[dt.date], dict[str, pa.Table]]
"""The profile tables of a night."""


def profile_nights(home: Home, spec: ModelSpec, wanted: Sequence[dt.date]) -> None:
    """Write every profile table of the nights, freezing the bins on the night that completes the reference.

    Needs the nights' accepted rows and label facts in the lake. The result depends on the lake and the frozen
    bins alone: profiling nights together, one by one or again gives the same rows. What can't be counted again, for rows
    were let go of since, stays as it is.
    """
    freeze_given(home, spec)
    schema, frozen = read_schema(home, spec.model), read_bins(home.bins_file(spec.model))
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(DuckDBEngine(home.root / "tmp" / f"{spec.model}.profile"))
        spark = stack.enter_context(SparkEngine(session())) if on_spark(home, spec) else None
        bins, todo = frozen, list(wanted)
        if schema is not None:
            bins, backlog = frozen_after(engine, home, spec, schema, frozen, wanted)
            todo = sorted({*wanted, *backlog})
        left = counted_for_good(engine, home, spec.model, todo)
        todo = [night for night in todo if night not in left]
        tables_of = _counting(engine, spark, home, spec, schema, bins)
        for batch in together(home, spec, todo):
            _publish(home, spec.model, batch, tables_of(batch))
        # Last, for frozen bins say that all nights before were counted with them.
        if bins is not None and bins != frozen:
            write_bins(home.bins_file(spec.model), bins)


def counted_for_good(engine: DuckDBEngine, home: Home, model: str, nights: Sequence[dt.date]) -> list[dt.date]:
    """Those of some nights that were counted with rows that were let go of since: their profiles stay as they are."""
    counted, told = home.lake_nights(model, "traffic_profile"), home.lake_nights(model, "label_facts")
    facts = told.relation(night for night in nights if night in counted)
    about = engine.rows(f"select distinct arrival_date, prediction_arrival_date from {facts}") if facts else []
    gone = home.lake_nights(model, "predictions").let_go({*nights, *(night for _, night in about)})
    rested = {night for night, of in about if of in gone and night <= gone[of]}
    return [night for night in nights if night in gone or night in rested]


def together(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> Iterator[list[dt.date]]:
    """The nights, those that are profiled together as one list: as many as memory and the engine are made for."""
    if len(nights) < 2:  # nothing to weigh, and to ask takes as long as to read a column
        yield from ([night] for night in nights)
        return
    cluster = on_spark(home, spec)
    rows, days = (CLUSTER_ROWS, math.inf) if cluster else (BATCH_ROWS, BATCH_DAYS)
    files = [home.lake_nights(spec.model, table) for table in ("predictions", "label_facts")]
    batch: list[dt.date] = []
    held, about = 0, 0
    for night in nights:
        facts = sum(pq.read_metadata(table.own(night)).num_rows for table in files)
        of = 1 if cluster else 1 + _days(files[1].frames([night]))
        if batch and (held + facts > rows or about + of > days):
            yield batch
            batch, held, about = [], 0, 0
        batch.append(night)
        held, about = held + facts, about + of
    if batch:
        yield batch


def _days(rows: Sequence[pl.LazyFrame]) -> int:
    return sum(part.select(pl.col("event_date").n_unique()).collect().item() for part in rows)


def _counting(
    engine: DuckDBEngine,
    spark: SparkEngine | None,
    home: Home,
    spec: ModelSpec,
    schema: Schema | None,
    bins: dict[str, Any] | None,
) -> Callable[[Sequence[dt.date]], TablesOf]:
    """What counts the facts of some nights; whichever engine does, they give the same rows in the same order."""
    if schema is None:
        empty = {name: schema_of(None, name).empty_table() for name in COLUMNS}
        return lambda _: lambda _: empty
    plan = Plan(spec, schema, bins, admitted(home, spec, schema))

    def embedded(nights: Sequence[dt.date]) -> TablesOf:
        found = by_arrival(count(engine, home, plan, nights))
        return lambda night: counted(plan, found(night))

    def on(cluster: SparkEngine, nights: Sequence[dt.date]) -> TablesOf:
        load_facts(cluster, home, plan, nights)
        tables = {name: totalled(rows, schema_of(plan, name)) for name, rows in summed(cluster, plan).items()}
        return lambda night: {name: _on(rows, night) for name, rows in tables.items()}

    return embedded if spark is None else functools.partial(on, spark)


def _publish(home: Home, model: str, nights: Sequence[dt.date], tables_of: TablesOf) -> None:
    """Write the profiles of some nights."""

    def publish(night: dt.date) -> None:
        for table, rows in tables_of(night).items():
            write(rows, home.lake_file(model, table, night))

    # To add rows up takes several times their memory: one night's for each worker.
    with ThreadPoolExecutor(workers()) as pool:
        list(pool.map(publish, nights))


def _on(rows: pa.Table, night: dt.date) -> pa.Table:
    """Those of a night, of rows by arrival."""
    arrival = rows["arrival_date"].to_numpy()
    first, after = np.searchsorted(arrival, np.array([night, night + dt.timedelta(days=1)], arrival.dtype))
    return rows.slice(first, after - first)
