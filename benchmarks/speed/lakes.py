"""A lake as ingest and the join would leave it, made straight from a workload's files: to measure profiles by themselves."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import duckdb

from benchmarks.speed.workload import FIRST, MODEL, Workload, write
from mlobs_pipelines.engine.duckdb import FOR_IDS
from mlobs_pipelines.ingest.accepted import COMPRESSION
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

SMALL, PREDICTIONS, LABELS = FIRST, FIRST + dt.timedelta(days=1), FIRST + dt.timedelta(days=2)
"""Nights: a small one on which bins are frozen, one of predictions alone, and one of their labels alone."""


def lake_of(root: Path, rows: int, columns: int) -> tuple[Home, ModelSpec]:
    """The lake of a model with a night of so many predictions and one of as many labels."""
    home = Home(root)
    work = Workload(rows, 1, columns, delay=0.0)
    if not home.bins_file(MODEL).exists():
        write(root, work)
        _write_lake(home, work)
        profile_nights(home, load_spec(home.spec_file(MODEL)), [SMALL])
    return home, load_spec(home.spec_file(MODEL))


def _write_lake(home: Home, work: Workload) -> None:
    fields = dict.fromkeys(work.numeric, "numeric")
    fields |= dict.fromkeys([*work.categorical, "device", "region"], "categorical")
    features = {name: kind for name, kind in fields.items() if name not in ("device", "region")}
    home.schema_file(MODEL).parent.mkdir(parents=True, exist_ok=True)
    content = {"features": features, "fields": fields, "decided_on": SMALL.isoformat()}
    home.schema_file(MODEL).write_text(json.dumps(content))
    data = home.root / "data"
    delivered = f"read_parquet('{data}/predictions/*.parquet')"
    listed = ", ".join(f'{name} as "f_{name}"' for name in fields)
    keys = "prediction_id, model_version as version, 'production' as role"
    with duckdb.connect(config={"preserve_insertion_order": False, "memory_limit": "8GB"}) as engine:

        def copy(table: str, night: dt.date, query: str) -> None:
            path = home.lake_file(MODEL, table, night)
            path.parent.mkdir(parents=True, exist_ok=True)
            compression = FOR_IDS if table == "label_facts" else COMPRESSION
            engine.execute(f"copy ({query}) to '{path}' (format parquet, compression {compression})")

        values = "select * from (values ('device', 'd'), ('region', 'r')) v(field, letter), range({n}) r(i)"
        admitted = values.format(n=6)
        for night in (SMALL, PREDICTIONS, LABELS):
            that = f"date '{night}'"
            limit = {SMALL: 1000, LABELS: 0}.get(night, work.rows)
            copy(
                "predictions",
                night,
                f"select {keys}, event_time, {that} as event_date, event_time as arrived_at, {that} as arrival_date, score, "
                "cast(null as varchar) as prediction, cast(null as double) as latency_ms, cast(null as varchar) as status, "
                f"false as failed, cast(null as varchar) as subject, cast(null as varchar) as invalid_fields, {listed} "
                f"from {delivered} limit {limit}",
            )
            labels = (
                f"select * from read_parquet('{data}/labels/*.parquet') limit {work.rows if night == LABELS else 0}"
            )
            copy(
                "label_facts",
                night,
                f"select p.prediction_id, p.version, p.role, p.event_date, p.arrival_date as prediction_arrival_date, "
                f"{that} as arrival_date, cast(1 as tinyint) as sign, cast(l.label as varchar) as label, l.known_at as available_at, "
                f"'label' as kind from ({labels}) l join read_parquet('{home.lake_file(MODEL, 'predictions', PREDICTIONS)}') p "
                "on p.prediction_id = l.prediction_id"
                if night == LABELS
                else "select cast(null as varchar) as prediction_id, cast(null as varchar) as version, cast(null as varchar) as role, "
                "cast(null as date) as event_date, cast(null as date) as prediction_arrival_date, cast(null as date) as arrival_date, "
                "cast(null as tinyint) as sign, cast(null as varchar) as label, cast(null as timestamp) as available_at, "
                "cast(null as varchar) as kind where false",
            )
            copy(
                "segment_values",
                night,
                f"select field, letter || i as value, {that} as arrival_date from ({admitted}) "
                f"where {'true' if night == SMALL else 'false'} and not (field = 'device' and i > 3)",
            )
