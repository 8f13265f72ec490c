"""Which of the rows that say the same thing is kept: within a file, across files, across nights.

``candidates`` is a table of conformed rows (see ``batch``) with the night each belongs to, ``contested`` one of the
numbers of keys that more than one row may claim. What ``settle`` writes is ``fates(candidate, fate)``: the row ids of
candidates that are not accepted, as 'duplicate' or a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.columns import label_columns, labels_of, prediction_columns, score_columns
from mlobs_pipelines.ingest.keys import KEYS, number
from mlobs_pipelines.ingest.reasons import raw_row
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.spec.model import ModelSpec

CONFLICT = "conflicts with an earlier row of the same id: another content under one id, version and role"
LATER_LABEL = "conflicts with an earlier label of the same id and time: another value"
TWO_LABELS = "two labels at once: different values for the same id at the same time"
CONFLICTS = {"predictions": (CONFLICT,), "labels": (LATER_LABEL, TWO_LABELS)}
"""Reasons, by source, that a row is refused for because of other rows."""


def settle(
    engine: DuckDBEngine, source: str, contents: Sequence[str], lake: str | None, let_go: Collection[date] = ()
) -> None:
    """Write ``fates`` of the candidates; ``lake`` is SQL for rows of other nights that may have the same keys.

    Two rows are the same if their ``contents`` are; what ``let_go`` nights held is not known any more, and was the same.
    Of predictions the first by (night, arrived_at, content) wins, and what another night holds wins over all. Equal
    labels count once, different ones at one time are all refused unless one was in before.
    """
    engine.run("create or replace temp table fates (candidate bigint, fate varchar)")
    if not engine.rows("select 1 from contested limit 1"):
        return
    listed = ", ".join(KEYS[source])
    if source == "labels":
        engine.run(
            "insert into fates select candidate, case "
            f"when held is not null then case when content = held then 'duplicate' else {sql.text(LATER_LABEL)} end "
            f"when lowest != highest then {sql.text(TWO_LABELS)} when place > 1 then 'duplicate' end from ("
            "select candidate, content, min(content) filter (where candidate is null) over w as held, "
            "min(content) over w as lowest, max(content) over w as highest, "
            f"row_number() over (partition by {listed} order by night, candidate) as place "
            f"from ({_rivals(source, [], contents, lake, let_go)}) window w as (partition by {listed})"
            ") where candidate is not null and (held is not null or lowest != highest or place > 1)"
        )
    else:
        engine.run(
            f"insert into fates select candidate, case when winner is null or content = winner then 'duplicate' else {sql.text(CONFLICT)} end from ("
            f"select candidate, content, first_value(content) over w as winner, row_number() over w as place "
            f"from ({_rivals(source, ['arrived_at'], contents, lake, let_go)}) "
            f"window w as (partition by {listed} order by candidate is not null, night, arrived_at, content, candidate)"
            ") where candidate is not null and place > 1"
        )


def _rivals(
    source: str, order: Sequence[str], contents: Sequence[str], lake: str | None, let_go: Collection[date]
) -> str:
    """SQL for every row whose key has a contested number; candidate is null for rows that other nights hold."""
    listed = ", ".join((*KEYS[source], *order))
    content = f"md5(cast(json_array({', '.join(sql.name(c) for c in contents)}) as varchar))"
    contested = f"{number(source)} in (select number from contested)"
    here = f"select rowid as candidate, night, {listed}, {content} as content from candidates where reason is null and {contested}"
    if lake is None:
        return here
    nobody = "cast(null as bigint) as candidate, cast(null as date) as night"
    if let_go:
        content = f"case when arrival_date not in ({sql.dates(let_go)}) then {content} end"
    return f"{here} union all select {nobody}, {listed}, {content} as content from {lake} where {contested}"


def raw(spec: ModelSpec, schema: Schema | None, source: str) -> str:
    """SQL for the text of a conformed row, under the names the spec gives its columns."""
    if source == "labels":
        labels = labels_of(spec)
        value = label_columns(spec)["label"]
        return raw_row(
            [
                (labels.id, "prediction_id", "VARCHAR"),
                (labels.value, "label", value),
                (labels.available_at, "available_at", "TIMESTAMP"),
            ]
        )
    p = spec.predictions
    columns = [(p.id, "prediction_id", "VARCHAR"), (p.time, "event_time", "TIMESTAMP")]
    standard = [
        (p.arrived_at, "arrived_at", "TIMESTAMP"),
        (p.version, "version", "VARCHAR"),
        (p.role, "role", "VARCHAR"),
    ]
    if spec.task != "regression":
        scores = ["score"] if spec.task == "binary" else [f"score_{i}" for i in range(len(spec.classes))]
        standard += [(name, s, "DOUBLE") for (_, name), s in zip(score_columns(spec), scores, strict=True)]
    standard += [
        (p.prediction, "prediction", prediction_columns(spec, None)["prediction"]),
        (p.latency_ms, "latency_ms", "DOUBLE"),
    ]
    standard += [(p.status, "status", "VARCHAR"), (p.subject, "subject", "VARCHAR")]
    columns += [(name, at, t) for name, at, t in standard if name]
    kinds = {"numeric": "DOUBLE", "categorical": "VARCHAR", "embedding": "DOUBLE[]"}
    columns += [(n, sql.name(f"f_{n}"), kinds[k]) for n, k in (schema.fields if schema else {}).items()]
    return raw_row(
        [
            *{name: (name, at, t) for name, at, t in columns}.values(),
            ("invalid_fields", "invalid_fields", "VARCHAR"),
        ]
    )
