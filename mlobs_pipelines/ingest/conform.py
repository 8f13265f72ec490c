"""SQL that conforms a delivered file to the standard schema, and says of each row that can't be why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlobs_pipelines.engine import sql
from mlobs_pipelines.ingest.columns import column_of, labels_of, prediction_columns, score_columns
from mlobs_pipelines.ingest.readers import Column, Opened
from mlobs_pipelines.ingest.reasons import first_of, id_reasons, missing, raw_row, said, time_reasons
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.ingest.values import (
    LONGEST_INVALID,
    LONGEST_TEXT,
    Value,
    as_category,
    as_class,
    as_number,
    as_text,
    as_time,
    as_vector,
    day,
    norm,
    parsed_once,
    raw_text,
    type_class,
)
from mlobs_pipelines.spec.model import ModelSpec

MISSING_VERSION = "(missing)"
SUM_TOLERANCE = 0.01
"""How far from 1 the scores of a multiclass row may sum."""


def dates(spec: ModelSpec, source: str, opened: Opened) -> str:
    """SQL for (arrival date or null, rows) of a file."""
    arrived = (
        spec.labels.available_at
        if source == "labels" and spec.labels
        else (spec.predictions.arrived_at or spec.predictions.time)
    )
    column = column_of(opened, arrived)
    return f"select {day(as_time(column), spec.timezone)} as d, count(*) from {opened.relation} group by 1"


def _raw(opened: Opened) -> str:
    return raw_row((c.name, c.at, c.type) for c in opened.columns)


def _failed(column: Column | None) -> str:
    """SQL for whether the request failed: status 400 and above, or text that is none of ok's spellings."""
    if column is None:
        return "false"
    kind, c = type_class(column.type), column.at
    if kind in ("integer", "float"):
        return f"coalesce({c} >= 400, false)"
    if kind == "bool":
        return f"coalesce(not {c}, false)"
    text = f"lower(trim({raw_text(column)}))"
    number = f"try_cast({text} as double)"
    fine = f"regexp_full_match({text}, '|ok|success|succeeded|true|2(xx|[0-9][0-9])')"
    return f"case when {c} is null then false when {number} is not null then {number} >= 400 else not ({fine}) end"


def _scores(spec: ModelSpec, opened: Opened) -> tuple[dict[str, str], list[tuple[str, str]], list[Invalid]]:
    """Of a row's outputs: {lake column: SQL}, reasons to refuse it, and what may be invalid of failed rows."""
    values: dict[str, str] = {}
    reasons: list[tuple[str, str]] = []
    invalid: list[Invalid] = []
    parsed: list[str] = []
    for i, (_, name) in enumerate(score_columns(spec)):
        column = column_of(opened, name)
        number = as_number(column)
        v = number.value
        refused = [
            (f"not p_failed and {number.bad}", said(column, "is not a finite number")),
            (f"not p_failed and {v} is null", missing(column)),
        ]
        if spec.task == "regression":
            values["prediction"] = v
            invalid.append(Invalid(name, column, f"p_failed and {number.bad}", f"p_failed and {number.doubt}"))
        else:
            outside = f"({v}) not between 0 and 1"
            refused.append((f"not p_failed and {outside}", said(column, "is not between 0 and 1")))
            values["score" if spec.task == "binary" else f"score_{i}"] = f"case when ({v}) between 0 and 1 then {v} end"
            invalid.append(
                Invalid(name, column, f"p_failed and ({number.bad} or coalesce({outside}, false))", "p_failed")
            )
        reasons += refused
        parsed.append(f"({v})")
    if spec.task == "multiclass":
        total = " + ".join(parsed)
        far = f"not p_failed and abs({total} - 1) > {SUM_TOLERANCE}"
        reasons.append(
            (far, f"'the scores of all classes sum to ' || cast(round({total}, 6) as varchar) || ', not to 1'")
        )
        # A failed row has all of its scores or none: half a distribution is no prediction.
        whole = (
            f"not p_failed or coalesce(abs({total} - 1) <= {SUM_TOLERANCE} and "
            + " and ".join(f"{v} between 0 and 1" for v in parsed)
            + ", false)"
        )
        values = {k: f"case when {whole} then {v} end" for k, v in values.items()}
    return values, reasons, invalid


def _argmax(spec: ModelSpec) -> str:
    """SQL for the most probable class, ties to the first; null where there are no scores."""
    scores = [f"score_{i}" for i in range(len(spec.classes))]
    cases = " ".join(
        f"when {' and '.join(f'{s} >= {other}' for other in scores)} then {sql.text(name)}"
        for s, name in zip(scores, spec.classes, strict=True)
    )
    return f"case {cases} end"


def _field(opened: Opened, name: str) -> Column | None:
    folded = [c for c in opened.columns if c.name.lower() == name.lower()]
    return opened.column(name) or (folded[0] if folded else None)


def _fields(opened: Opened, schema: Schema | None) -> tuple[dict[str, str], list[Invalid]]:
    """{lake column: SQL} of the stored fields, and what may be invalid of them."""
    values: dict[str, str] = {}
    invalid: list[Invalid] = []
    for name, kind in (schema.fields if schema else {}).items():
        column = _field(opened, name)
        if column is None:
            nothing = {"numeric": "double", "categorical": "varchar", "embedding": "double[]"}[kind]
            values[f"f_{name}"] = f"cast(null as {nothing})"
            if kind == "embedding":
                values[f"n_{name}"] = "cast(null as double)"
            continue
        if kind == "embedding":
            found = as_vector(column, (schema.sizes if schema else {}).get(name) or None)
            values[f"n_{name}"] = norm(found.value)
        else:
            found = as_number(column) if kind == "numeric" else as_category(column)
        values = values | {f"f_{name}": found.value} if kind != "embedding" else _vector_first(values, name, found)
        if found.bad != "false":
            invalid.append(Invalid(name, column, found.bad, found.doubt))
    return values, invalid


def _vector_first(values: dict[str, str], name: str, found: Value) -> dict[str, str]:
    length = values.pop(f"n_{name}")
    return values | {f"f_{name}": found.value, f"n_{name}": length}


@dataclass(frozen=True)
class Invalid:
    """A field whose delivered value is noted where ``bad`` holds, which it can only where the cheap ``doubt`` does."""

    name: str
    column: Column
    bad: str
    doubt: str


def _invalid_fields(invalid: Sequence[Invalid]) -> str:
    """SQL for null, or the JSON object of the fields that could not be conformed and what stood there."""
    if not invalid:
        return "cast(null as varchar)"
    entries = ", ".join(
        f"{{'k': {sql.text(i.name)}, 'v': case when {i.bad} then left({raw_text(i.column)}, {LONGEST_INVALID}) end}}"
        for i in invalid
    )
    found = f"to_json(map_from_entries(list_filter([{entries}], lambda e: e.v is not null)))"
    doubts = " or ".join(f"({i.doubt})" for i in invalid)
    return f"case when {doubts} then nullif(cast({found} as varchar), '{{}}') end"


def conform_predictions(spec: ModelSpec, schema: Schema | None, opened: Opened) -> str:
    """SQL for every row of a file: the lake's prediction columns (no arrival_date), own_date, file, line, ordinal, reason, raw.

    ``opened`` has a column ``file`` besides. ``reason`` is null where the row is fine; ``own_date`` is its arrival date, null where that can't be known;
    ``raw`` is null where the row is fine.
    """
    p = spec.predictions
    numeric = [name for name, kind in (schema.fields if schema else {}).items() if kind == "numeric"]
    opened = parsed_once(
        opened,
        numbers=[*numeric, *(name for _, name in score_columns(spec)), p.latency_ms or ""],
        times=[p.time, p.arrived_at or ""],
    )
    id_, time = column_of(opened, p.id), column_of(opened, p.time)
    arrived = column_of(opened, p.arrived_at) if p.arrived_at else None
    version, role = (column_of(opened, n) if n else None for n in (p.version, p.role))
    latency, status, subject = (opened.column(n) if n else None for n in (p.latency_ms, p.status, p.subject))
    acted = opened.column(p.prediction) if p.prediction and spec.task != "regression" else None

    parsed = {
        "p_id": as_text(id_),
        "event_time": as_time(time),
        "arrived_at": as_time(arrived or time),
        "version": f"coalesce(nullif({as_text(version)}, ''), {sql.text(MISSING_VERSION)})" if version else "'1'",
        "role": f"coalesce(nullif({as_text(role)}, ''), 'production')" if role else "'production'",
        "p_failed": _failed(status),
    }
    scores, score_reasons, invalid = _scores(spec, opened)
    fields, invalid_fields = _fields(opened, schema)
    if latency:
        number = as_number(latency)
        negative = f"coalesce(({number.value}) < 0, false)"
        invalid.append(
            Invalid(latency.name, latency, f"({number.bad} or {negative})", f"({number.doubt} or {negative})")
        )
        parsed["latency_ms"] = f"case when ({number.value}) >= 0 then {number.value} end"
    if acted:
        parsed["p_acted"] = as_class(acted, spec)
        unknown = f"({acted.at} is not null and {as_text(acted)} is not null and coalesce(p_acted is null or length(p_acted) > {LONGEST_TEXT}, true))"
        invalid.append(Invalid(acted.name, acted, unknown, unknown))
    taken = {entry.name for entry in invalid}
    invalid += [entry for entry in invalid_fields if entry.name not in taken]

    reasons = [*id_reasons(id_, "p_id"), *time_reasons(time, "event_time")]
    if arrived:
        reasons += time_reasons(arrived, "arrived_at")
        early = "event_time > arrived_at + interval 1 day"
        reasons.append((early, said(time, "is more than a day after the row arrived")))
    for column, name in ((version, "version"), (role, "role")):
        if column:
            reasons.append(
                (f"length({name}) > {LONGEST_TEXT}", said(column, f"is longer than {LONGEST_TEXT} characters"))
            )
    if subject:
        reasons.append(
            (
                f"length({as_text(subject)}) > {LONGEST_TEXT}",
                said(subject, f"is longer than {LONGEST_TEXT} characters"),
            )
        )
    reasons += score_reasons

    outputs = dict(scores)
    logged = f"case when length(p_acted) <= {LONGEST_TEXT} then p_acted end" if acted else "cast(null as varchar)"
    if spec.task == "binary":
        outputs["prediction"] = logged
    elif spec.task == "multiclass":
        outputs["prediction"] = f"coalesce({logged}, {_argmax(spec)})"
    inner = ", ".join(f"{s} as {n}" for n, s in parsed.items())
    rest = {
        "latency_ms": "latency_ms" if latency else "cast(null as double)",
        "status": f"left({as_text(status)}, {LONGEST_TEXT})" if status else "cast(null as varchar)",
        "failed": "p_failed",
        "subject": as_text(subject) if subject else "cast(null as varchar)",
        "invalid_fields": _invalid_fields(invalid),
        **fields,
    }
    # Scores are read before the class, which may be the most probable one.
    scored = ", ".join(f"{s} as {n}" for n, s in scores.items() if n != "prediction")
    first = f"select *, {inner} from {opened.relation}"
    second = f"select *, {scored} from ({first})" if scored else first
    chosen = {
        "prediction_id": "p_id",
        "version": "version",
        "role": "role",
        "event_time": "event_time",
        "event_date": day("event_time", spec.timezone),
        "arrived_at": "arrived_at",
        **{n: (n if n.startswith("score") else s) for n, s in outputs.items()},
        **rest,
    }
    listed = ", ".join(f"{s} as {sql.name(n)}" for n, s in chosen.items())
    third = f"select *, {first_of(reasons)} as reason from ({second})"
    return (
        f"select {listed}, {day('arrived_at', spec.timezone)} as own_date, file, line, ordinal, reason, "
        f"case when reason is not null then {_raw(opened)} end as raw from ({third})"
    )


def conform_labels(spec: ModelSpec, opened: Opened) -> str:
    """SQL for every row of a file of labels: prediction_id, label, available_at, own_date, file, line, ordinal, reason, raw."""
    labels = labels_of(spec)
    opened = parsed_once(opened, numbers=[labels.value], times=[labels.available_at])
    id_, value, available = (column_of(opened, n) for n in (labels.id, labels.value, labels.available_at))
    parsed = {"p_id": as_text(id_), "available_at": as_time(available)}
    reasons = [*id_reasons(id_, "p_id"), *time_reasons(available, "available_at")]
    if spec.task == "regression":
        number = as_number(value)
        parsed["label"] = number.value
        reasons += [(number.bad, said(value, "is not a finite number")), ("label is null", missing(value))]
    else:
        parsed["label"] = as_class(value, spec)
        reasons += [
            (f"{as_text(value)} is null", missing(value)),
            ("label is null", said(value, f"is neither the positive class {spec.positive_class!r} nor its opposite")),
            (f"length(label) > {LONGEST_TEXT}", said(value, f"is longer than {LONGEST_TEXT} characters")),
        ]
    inner = ", ".join(f"{s} as {n}" for n, s in parsed.items())
    # In a wide log the label's columns stay empty until it is known: such a row tells of no label yet.
    told = f"not ({as_text(value)} is null and {as_text(available)} is null)"
    second = f"select *, {first_of(reasons)} as reason from (select *, {inner} from {opened.relation} where {told})"
    return (
        f"select p_id as prediction_id, label, available_at, {day('available_at', spec.timezone)} as own_date, file, line, ordinal, reason, "
        f"case when reason is not null then {_raw(opened)} end as raw from ({second})"
    )


def conform_reference(spec: ModelSpec, schema: Schema, opened: Opened) -> str:
    """SQL for every row of a file of reference data: outputs, failed, invalid_fields, fields, label; null where absent."""
    opened = parsed_once(opened, numbers=[n for n, kind in schema.fields.items() if kind == "numeric"], times=[])
    fields, invalid = _fields(opened, schema)
    columns = {
        n: f"cast(null as {t})"
        for n, t in prediction_columns(spec, None).items()
        if n.startswith("score") or n == "prediction"
    }
    for i, (_, name) in enumerate(score_columns(spec)):
        column = opened.column(name)
        if column is None:
            continue
        v = as_number(column).value
        if spec.task == "regression":
            columns["prediction"] = v
        else:
            columns["score" if spec.task == "binary" else f"score_{i}"] = (
                f"case when ({v}) between 0 and 1 then {v} end"
            )
    acted = opened.column(spec.predictions.prediction or "") if spec.task != "regression" else None
    if acted:
        columns["prediction"] = as_class(acted, spec)
    elif spec.task == "multiclass":
        columns["prediction"] = _argmax(spec)
    value = opened.column(spec.labels.value) if spec.labels else None
    label = "cast(null as double)" if spec.task == "regression" else "cast(null as varchar)"
    if value:
        label = as_number(value).value if spec.task == "regression" else as_class(value, spec)
    scores = ", ".join(f"{s} as {n}" for n, s in columns.items() if n.startswith("score"))
    inner = f"select *, {scores} from {opened.relation}" if scores else f"select * from {opened.relation}"
    chosen = {
        **{n: (n if n.startswith("score") else s) for n, s in columns.items()},
        "failed": "false",
        "invalid_fields": _invalid_fields(invalid),
        **fields,
        "label": label,
    }
    return f"select {', '.join(f'{s} as {sql.name(n)}' for n, s in chosen.items())} from ({inner})"
