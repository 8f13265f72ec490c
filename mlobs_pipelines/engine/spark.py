"""Spark: the same SQL as the embedded engine's, on as many machines as there are; what comes back is small.

Needs the extra ``[spark]``, and Java unless the session is remote. Where Spark is, the environment says: ``SPARK_REMOTE`` (Spark
Connect), ``MLOBS_SPARK_MASTER``, ``spark-defaults.conf``; else it runs in this machine's memory. Files are named by their paths, so
drivers and executors must see the home under the same path.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import math
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from mlobs_pipelines.engine import sql
from mlobs_pipelines.errors import UserError

if TYPE_CHECKING:
    from types import TracebackType

    from pyspark.sql import DataFrame, SparkSession

DIALECT = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "false",
}
"""Settings with which Spark reads texts, times and overflows as the embedded engine does."""

LOCAL = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
"""Settings of a session that lives in this machine's memory, where the environment says nothing else."""

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


def spoken(query: str) -> str:
    """A statement with its quoted names and texts as Spark quotes them, whatever they contain."""

    def quoted(found: re.Match[str]) -> str:
        text = found[0]
        if text[0] == '"':
            return "`" + text[1:-1].replace('""', '"').replace("`", "``") + "`"
        return "'" + text[1:-1].replace("''", "'").replace("\\", "\\\\").replace("'", "\\'") + "'"

    return _QUOTED.sub(quoted, query)


class SparkError(UserError):
    """There is no Spark to work with."""


def check() -> None:
    """See that this process can have a session, without starting one.

    Raises:
        SparkError: PySpark or Java is missing.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise SparkError("engine: spark needs PySpark; install it with: pip install 'mlobs_pipelines[spark]'")
    if not (os.environ.get("SPARK_REMOTE") or os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise SparkError(
            "engine: spark needs Java 17 or newer; install a Java runtime, or set JAVA_HOME or SPARK_REMOTE"
        )


def session() -> SparkSession:
    """The process's Spark session: one that is there already, else a new one, where the environment says.

    Raises:
        SparkError: PySpark or Java is missing, or Spark cannot be reached.
    """
    check()
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    remote, master = os.environ.get("SPARK_REMOTE"), os.environ.get("MLOBS_SPARK_MASTER")
    settings: dict[str, str] = {}
    if not (remote or os.environ.get("SPARK_HOME") or os.environ.get("SPARK_CONF_DIR")):
        # Spark makes this folder whether or not anything is put there, by default where the process happens to be.
        settings["spark.sql.warehouse.dir"] = _scratch()
        if not master:
            settings |= {**LOCAL, "spark.master": "local[*]", "spark.sql.shuffle.partitions": str(os.cpu_count() or 1)}
    if master and not remote:
        settings["spark.master"] = master
    builder = SparkSession.builder.appName("mlobs_pipelines")
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except (PySparkException, OSError, RuntimeError) as error:
        raise SparkError(f"Spark at {remote or master or 'local[*]'} does not answer: {_line(error)}") from error


@functools.cache
def _scratch() -> str:
    """A folder for as long as this process lives."""
    folder = tempfile.mkdtemp(prefix="mlobs-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


class SparkEngine:
    """A part of a Spark session with names and settings of its own (those of ``DIALECT``) that runs the SQL of ``engine.sql``."""

    def __init__(self, session: SparkSession) -> None:
        # A remote session of PySpark before 4.3 cannot make another, and is its owner's alone already.
        self._session = session.newSession() if hasattr(session, "newSession") else session
        self._kept: dict[str, DataFrame] = {}
        self._views = 0
        for key, value in DIALECT.items():
            self._session.conf.set(key, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up what was kept; the session that it was given stays."""
        for frame in self._kept.values():
            frame.unpersist()
        self._kept.clear()

    def table(self, query: str) -> pa.Table:
        """The result of a query, as Arrow."""
        return self._session.sql(spoken(query)).toArrow()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The result of a small query, as Python values."""
        return [tuple(row) for row in self._session.sql(spoken(query)).collect()]

    def keep(self, name: str, query: str) -> None:
        """Make the result of a query a table of this session, in place of one of the same name."""
        frame = self._session.sql(spoken(query)).persist()
        frame.createOrReplaceTempView(name)
        before = self._kept.pop(name, None)
        if before is not None:
            before.unpersist()
        self._kept[name] = frame

    def register(self, view: str, data: pa.Table) -> None:
        """Make an Arrow table readable under a name."""
        self._session.createDataFrame(data).createOrReplaceTempView(view)

    def scan(self, paths: Sequence[Path]) -> str:
        """SQL for the rows of Parquet files, columns matched by name."""
        self._views += 1
        view = f"files_{self._views}"
        reader = self._session.read.option("mergeSchema", "true")
        reader.parquet(*(str(path) for path in paths)).createOrReplaceTempView(view)
        return view

    @staticmethod
    def bin_number(expression: str, edges: Sequence[float]) -> str:
        """SQL for the count of ``edges`` (ascending) that are <= ``expression``; null stays null.

        A binary search: a tree of comparisons outgrows what the JVM compiles, and takes a minute to plan at 2,000 edges.
        """
        steps = [2**power for power in reversed(range(len(edges).bit_length()))]
        if not steps:
            return f"case when {expression} is null then null else 0 end"
        padded = [*edges, *[math.inf] * (2 * steps[0] - 1 - len(edges))]
        array = f"cast(split({sql.text(','.join(repr(float(edge)) for edge in padded))}, ',') as array<double>)"
        search = f"(b, s) -> case when {array}[b + s - 1] <= {expression} then b + s else b end"
        found = f"aggregate(array({', '.join(map(str, steps))}), 0, {search})"
        return f"case when {expression} is null then null else {found} end"

    @staticmethod
    def has_key(document: str, key: str) -> str:
        """SQL for whether a JSON object (text, may be null) has a key."""
        return f"({document} is not null and array_contains(json_object_keys({document}), {sql.text(key)}))"
