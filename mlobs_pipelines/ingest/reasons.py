"""Why a row is refused, as SQL: one clear sentence that names the column and the value; and the row's own text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlobs_pipelines.engine import sql
from mlobs_pipelines.ingest.readers import Column
from mlobs_pipelines.ingest.values import LONGEST_TEXT, quoted, type_class

LONGEST_RAW_VALUE = 10_000
"""Characters of one value of a refused row that are kept."""


def raw_row(columns: Iterable[tuple[str, str, str]]) -> str:
    """SQL for a JSON object of (name, SQL, type): numbers and truth as such, all else as text of bounded length."""
    pairs = []
    for name, value, column_type in columns:
        text = f"cast({value} as varchar)"
        cut = f"case when length({text}) > {LONGEST_RAW_VALUE} then left({text}, {LONGEST_RAW_VALUE}) || '…' else {text} end"
        kind = type_class(column_type)
        if kind in ("integer", "bool"):
            json = f"to_json({value})"
        elif kind == "float" and not column_type.upper().startswith("DECIMAL"):
            json = f"case when isfinite({value}) then to_json({value}) else to_json({text}) end"
        else:
            json = f"to_json({cut})"
        pairs.append(f"{sql.text(name)}, {json}")
    return f"cast(json_object({', '.join(pairs)}) as varchar)"


def first_of(reasons: Sequence[tuple[str, str]]) -> str:
    """SQL for the first reason whose condition holds; null where the row is fine."""
    cases = " ".join(
        f"when {condition} then coalesce({reason}, 'the row can''t be read')" for condition, reason in reasons
    )
    return f"case {cases} end"


def said(column: Column, tail: str) -> str:
    """SQL for a sentence about a column's value."""
    return f"{quoted(column)} || {sql.text(' ' + tail)}"


def missing(column: Column) -> str:
    """SQL for the sentence that a column's value is missing."""
    return sql.text(f"column {column.name[:80]!r}: the value is missing")


def time_reasons(column: Column, parsed: str) -> list[tuple[str, str]]:
    """(condition, reason) for which a time is refused."""
    return [
        (f"{column.at} is null", missing(column)),
        (f"{parsed} is null", said(column, "is not a time between the years 1970 and 2262")),
    ]


def id_reasons(column: Column, parsed: str) -> list[tuple[str, str]]:
    """(condition, reason) for which an id is refused."""
    return [
        (f"{parsed} is null or {parsed} = ''", missing(column)),
        (f"length({parsed}) > {LONGEST_TEXT}", said(column, f"is longer than {LONGEST_TEXT} characters")),
    ]
