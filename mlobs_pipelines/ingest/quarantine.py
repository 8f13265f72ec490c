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


def with_text(home: Home, model: str, before: date) -> list[date]:
    """Nights before a date of whose refused rows the text is kept, ascending."""
    stored = home.quarantine_nights(model)
    return [night for night in stored.all() if night < before and text_bytes(home, model, night)]


def text_bytes(home: Home, model: str, night: date) -> int:
    """Bytes that the text of a night's refused rows takes; 0 where it was let go of, or nothing was refused."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(home.quarantine_file(model, night))
    at = list(COLUMNS).index("raw")
    columns = [metadata.row_group(i).column(at) for i in range(metadata.num_row_groups)]
    texts = [c for c in columns if c.statistics is None or c.statistics.null_count != c.num_values]
    return sum(column.total_compressed_size for column in texts)


def let_go(home: Home, model: str, nights: Sequence[date]) -> None:
    """Let go of the text of some nights' refused rows. That they were refused, why, and their digests stay: a row that is
    delivered once more is known."""
    with DuckDBEngine(ordered=True) as engine:
        for night in nights:
            file = home.quarantine_file(model, night)
            engine.write(f"select * replace (cast(null as varchar) as raw) from {scan([file])}", file)
