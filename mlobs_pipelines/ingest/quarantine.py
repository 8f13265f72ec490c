"""Rows that were refused, each with its reason; what was refused before is not refused again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.ingest.duplicates import CONFLICTS
from mlobs_pipelines.store.layout import Home

COLUMNS = {
    "arrival_date": "DATE",
    "source": "VARCHAR",
    "file": "VARCHAR",
    "line": "BIGINT",
    "reason": "VARCHAR",
    "raw": "VARCHAR",
    "digest": "VARCHAR",
}
"""Columns of a quarantine file and their types, in order."""

_SEPARATOR = "chr(31)"


def digest(source: str, *, file: str, reason: str = "reason") -> str:
    """SQL for what identifies a refused row over the nights: its text and reason; where and why, if no text is kept."""
    place = f"{file} || {_SEPARATOR} || coalesce(cast(line as varchar), '')"
    return f"md5({sql.text(source)} || {_SEPARATOR} || coalesce(raw, {place}) || {_SEPARATOR} || {reason})"


def refused_before(engine: DuckDBEngine, home: Home, model: str, running: Sequence[date]) -> None:
    """Write ``refused_before``: the digest and reason of every row that nights other than those running refused."""
    stored = home.quarantine_nights(model)
    others = [stored.own(night) for night in stored.all() if night not in set(running)]
    held = (
        f"select distinct digest from {scan(others)}"
        if others
        else "select cast(null as varchar) as digest where false"
    )
    engine.run(f"create or replace temp table refused_before as {held}")


def forget_refused_stragglers(engine: DuckDBEngine, source: str, raw: str) -> None:
    """Move late rows from ``candidates`` to ``excluded_<source>`` that an earlier night refused for conflicting with others.

    They fit the schema, so only that night's quarantine knows of them; taken again they might pass, their rivals
    being elsewhere. ``raw`` is SQL for their text.
    """
    late = "reason is null and own_date is distinct from night"
    if not engine.rows(f"select 1 from candidates where {late} limit 1"):
        return
    for reason in CONFLICTS[source]:
        said = f"(select *, rowid as candidate from (select rowid, line, {sql.text(reason)} as reason, {raw} as raw from candidates where {late}))"
        known = f"select candidate from {said} where {digest(source, file=sql.text(''))} in (select digest from refused_before)"
        engine.run(f"insert into excluded_{source} select file, ordinal from candidates where rowid in ({known})")
        engine.run(f"delete from candidates where rowid in ({known})")
