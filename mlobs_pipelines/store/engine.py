"""Which engine reads a model's rows in the lake: the one that its file names, else its home's settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.engine.spark import SparkEngine, session
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.spec.settings import load_settings
from mlobs_pipelines.store.layout import Home


def on_spark(home: Home, spec: ModelSpec) -> bool:
    """Whether Spark joins, counts and samples the model's rows."""
    return load_settings(home.root).engine_of(spec) == "spark"


@contextlib.contextmanager
def rows_engine(home: Home, spec: ModelSpec, spill: Path) -> Iterator[sql.Engine]:
    """The model's engine, for as long as the block lasts; ``spill`` is where the embedded one puts what memory does not hold.

    Raises:
        SparkError: it is Spark, and there is none.
    """
    with SparkEngine(session()) if on_spark(home, spec) else DuckDBEngine(spill) as engine:
        yield engine
