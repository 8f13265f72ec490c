"""Spark: the same SQL as the embedded engine's, on as many machines as there are; what comes back is small.

Needs the extra ``[spark]`` and Java. The session is the caller's, or one that the environment describes (``SPARK_REMOTE``,
``spark-defaults.conf``), else a local one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlobs_pipelines.engine import sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DIALECT = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "false",
}
"""Settings with which Spark reads texts, times and overflows as the embedded engine does."""

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


def spoken(query: str) -> str:
    """A statement with its quoted names and texts as Spark quotes them, whatever they contain."""

    def quoted(found: re.Match[str]) -> str:
        text = found[0]
        if text[0] == '"':
            return "`" + text[1:-1].replace('""', '"').replace("`", "``") + "`"
        return "'" + text[1:-1].replace("''", "'").replace("\\", "\\\\").replace("'", "\\'") + "'"

    return _QUOTED.sub(quoted, query)


class SparkEngine:
    """A Spark session that runs the SQL of ``engine.sql``; its settings of the dialect are those of ``DIALECT`` meanwhile."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._kept: dict[str, DataFrame] = {}
        self._before = {key: session.conf.get(key, None) for key in DIALECT}
        for key, value in DIALECT.items():
            session.conf.set(key, value)

    def close(self) -> None:
        """Give up what was kept, and the settings; the session stays."""
        for frame in self._kept.values():
            frame.unpersist()
        for key, value in self._before.items():
            if value is None:
                self._session.conf.unset(key)
            else:
                self._session.conf.set(key, value)

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
        view = f"files_{abs(hash(tuple(paths))):x}"
        reader = self._session.read.option("mergeSchema", "true")
        reader.parquet(*(str(path) for path in paths)).createOrReplaceTempView(view)
        return view

    @staticmethod
    def has_key(document: str, key: str) -> str:
        """SQL for whether a JSON object (text, may be null) has a key."""
        return f"({document} is not null and array_contains(json_object_keys({document}), {sql.text(key)}))"
