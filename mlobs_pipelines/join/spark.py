"""The same join where Spark is the engine: dbt reads the lake and a folder of this run, and keeps nothing of it.

The embedded engine keeps indexes of all nights in the warehouse, so that a night costs what arrived. Spark has none: it reads the
narrow columns of all nights, many files at once, and there is no state that could be behind the lake.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path

from mlobs_pipelines.engine import dbt, sql
from mlobs_pipelines.engine.duckdb import FOR_IDS, DuckDBEngine, scan
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home

BUILT = "_SUCCESS"
"""What Spark leaves beside the files of a table when it has written all of them."""


def prepare(
    home: Home, spec: ModelSpec, nights: Sequence[dt.date], parameters: str, working: Path, silence: str
) -> dict[str, str]:
    """Write what dbt reads beside the lake; gives the environment to run dbt with.

    Args:
        home: the installation.
        spec: the model.
        nights: the nights to build.
        parameters: SQL for the row of ``run_parameters``.
        working: dbt's own folder.
        silence: what a missing label means, to be compared by the runs to come.
    """
    folder = join_folder(working)
    shutil.rmtree(folder, ignore_errors=True)
    told = home.lake_nights(spec.model, "label_facts").all()
    with DuckDBEngine(working / "spill") as engine:
        for name, query in (
            ("run_nights", f"select arrival_date, '' as files from ({_dates(nights)})"),
            ("run_stored_label_facts", _dates(told)),
            ("run_parameters", parameters),
        ):
            engine.write(query, folder / name / "rows.parquet")
    write_text(silence_file(working), silence)
    return dbt.spark_environment(working, f"mlobs_{spec.model}") | {
        "MLOBS_JOIN": str(folder),
        "MLOBS_LAKE": str(home.lake(spec.model)),
    }


def export(home: Home, spec: ModelSpec, nights: Sequence[dt.date], working: Path) -> dt.date | None:
    """Publish the nights' label facts in the lake; gives a night that dbt has not built, and then publishes none."""
    folder = join_folder(working)
    facts = folder / "label_facts"
    with DuckDBEngine(working / "spill") as engine:
        built = set()
        if (facts / BUILT).exists():
            asked = engine.scan([folder / "run_nights" / "rows.parquet"])
            built = {row[0] for row in engine.rows(f"select arrival_date from {asked}")}
        if missing := sorted(set(nights) - built):
            return missing[0]
        rows = scan(sorted(facts.glob("*.parquet")))
        for night in nights:
            engine.write(
                f"select * from {rows} where arrival_date = {sql.date(night)}",
                home.lake_file(spec.model, "label_facts", night),
                compression=FOR_IDS,
            )
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _dates(nights: Sequence[dt.date]) -> str:
    """SQL for the nights, a row each."""
    return f"select unnest(cast([{sql.dates(nights)}] as date[])) as arrival_date"


def join_folder(working: Path) -> Path:
    """What dbt on Spark reads and writes in one run; the cluster must see it under the same path."""
    return working / "join"


def silence_file(working: Path) -> Path:
    """What silence meant on the last run."""
    return working / "silence"
