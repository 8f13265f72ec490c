"""Which of the rows that say the same thing is kept: within a file, across files, across nights.

``candidates`` is a table of conformed rows (see ``night``) with the night each belongs to. What these functions
write is ``fates(candidate, fate)``: the row ids of candidates that are not accepted, as 'duplicate' or a reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine

CONFLICT = "conflicts with an earlier row of the same id: another content under one id, version and role"
LATER_LABEL = "conflicts with an earlier label of the same id and time: another value"
TWO_LABELS = "two labels at once: different values for the same id at the same time"
CONFLICTS = {"predictions": (CONFLICT,), "labels": (LATER_LABEL, TWO_LABELS)}
"""Reasons, by source, that a row is refused for because of other rows."""


def content(columns: Sequence[str]) -> str:
    """SQL for a digest of a row's content that orders and compares the same in every run."""
    return f"md5(cast(json_array({', '.join(sql.name(c) for c in columns)}) as varchar))"


def contested(engine: DuckDBEngine, keys: Sequence[str], lake: str | None) -> bool:
    """Write ``contested``: keys that more than one row claims, here or in other nights' ``lake``; say if there are any."""
    listed = ", ".join(sql.name(k) for k in keys)
    here = f"select {listed} from candidates where reason is null group by all having count(*) > 1"
    engine.run("drop table if exists contested")
    if lake is None:
        engine.run(f"create temp table contested as {here}")
    else:
        same = " and ".join(f"l.{sql.name(k)} = c.{sql.name(k)}" for k in keys)
        there = f"select {listed} from {lake} l semi join (select {listed} from candidates where reason is null) c on {same}"
        engine.run(f"create temp table contested as {here} union {there}")
    return bool(engine.rows("select 1 from contested limit 1"))


def _rivals(keys: Sequence[str], order: Sequence[str], contents: Sequence[str], lake: str | None) -> str:
    """SQL for every row that claims a contested key; candidate is null for rows that other nights hold."""
    listed = ", ".join(f"x.{sql.name(k)}" for k in (*keys, *order))
    same = " and ".join(f"x.{sql.name(k)} = c.{sql.name(k)}" for k in keys)
    here = (
        f"select x.rowid as candidate, x.night, {listed}, {content(contents)} as content "
        f"from candidates x semi join contested c on {same} where x.reason is null"
    )
    if lake is None:
        return here
    there = (
        f"select cast(null as bigint) as candidate, cast(null as date) as night, {listed}, {content(contents)} as content "
        f"from {lake} x semi join contested c on {same}"
    )
    return f"{here} union all {there}"


def settle_predictions(engine: DuckDBEngine, keys: Sequence[str], contents: Sequence[str], lake: str | None) -> None:
    """Write ``fates``: the first by (night, arrived_at, content) wins, and what another night holds wins over all."""
    engine.run("drop table if exists fates")
    engine.run("create temp table fates (candidate bigint, fate varchar)")
    if not contested(engine, keys, lake):
        return
    listed = ", ".join(sql.name(k) for k in keys)
    engine.run(
        f"insert into fates select candidate, case when content = winner then 'duplicate' else {sql.text(CONFLICT)} end from ("
        f"select candidate, content, first_value(content) over w as winner, row_number() over w as place "
        f"from ({_rivals(keys, ['arrived_at'], contents, lake)}) "
        f"window w as (partition by {listed} order by candidate is not null, night, arrived_at, content, candidate)"
        ") where candidate is not null and place > 1"
    )


def settle_labels(engine: DuckDBEngine, lake: str | None) -> None:
    """Write ``fates``: equal labels count once, different ones at one time are all refused unless one was in before."""
    engine.run("drop table if exists fates")
    engine.run("create temp table fates (candidate bigint, fate varchar)")
    keys = ["prediction_id", "available_at"]
    if not contested(engine, keys, lake):
        return
    listed = ", ".join(sql.name(k) for k in keys)
    engine.run(
        "insert into fates select candidate, case "
        f"when held is not null then case when content = held then 'duplicate' else {sql.text(LATER_LABEL)} end "
        f"when lowest != highest then {sql.text(TWO_LABELS)} when place > 1 then 'duplicate' end from ("
        "select candidate, content, min(content) filter (where candidate is null) over w as held, "
        "min(content) over w as lowest, max(content) over w as highest, "
        f"row_number() over (partition by {listed} order by night, candidate) as place "
        f"from ({_rivals(keys, [], ['label'], lake)}) window w as (partition by {listed})"
        ") where candidate is not null and (held is not null or lowest != highest or place > 1)"
    )
