"""SQL that reads one delivered value, whatever its type: as text, a number, a time, a class, a vector."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mlobs_pipelines.engine import sql
from mlobs_pipelines.ingest.readers import Column, Opened
from mlobs_pipelines.spec.model import ModelSpec

LONGEST_TEXT = 1024
"""Characters of the longest category, id or version that is stored."""
LONGEST_SHOWN = 80
"""Characters of a value that a reason quotes."""
LONGEST_INVALID = 200
"""Characters of an invalid value that is kept beside its row."""
FIRST_YEAR, LAST_YEAR = 1970, 2262
_MISSING_WORDS = " *(|nan|null|none|na|n/a) *"
"""Spellings of a missing number in text, as a pattern."""

_INTEGER = re.compile(r"^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$")


def type_class(column_type: str) -> str:
    """integer, float, bool, text, time, list or other, for one of the engine's types."""
    upper = column_type.upper()
    if upper.endswith("]"):
        element = upper[: upper.rindex("[")]
        return "list" if type_class(element) in ("integer", "float") else "other"
    if _INTEGER.match(upper):
        return "integer"
    if upper in ("FLOAT", "DOUBLE") or upper.startswith("DECIMAL"):
        return "float"
    if upper == "BOOLEAN":
        return "bool"
    if upper in ("VARCHAR", "UUID") or upper.startswith("ENUM"):
        return "text"
    return "time" if upper == "DATE" or upper.startswith("TIMESTAMP") else "other"


@dataclass(frozen=True)
class Value:
    """SQL for a conformed value, and SQL that is true where something was there but could not be conformed.

    ``doubt`` is true wherever ``bad`` is, may be true elsewhere, and is cheap: it is asked of every row.
    """

    value: str
    bad: str
    doubt: str


def raw_text(column: Column) -> str:
    """SQL for the value as text, as delivered."""
    return column.at if column.type == "VARCHAR" else f"cast({column.at} as varchar)"


def as_text(column: Column) -> str:
    """SQL for the value's one spelling: true/false, 1 for 1.0, text unchanged; NaN is null."""
    kind, c = type_class(column.type), column.at
    if kind != "float":
        return raw_text(column)
    x = f"cast({c} as double)"
    whole = f"cast(cast({x} as bigint) as varchar)"
    text = raw_text(column) if column.type != "FLOAT" else f"cast({c} as varchar)"
    if column.type.startswith("DECIMAL"):
        return f"case when {c} = trunc({c}) then cast(cast({c} as hugeint) as varchar) else cast({x} as varchar) end"
    return f"case when isnan({c}) then null when abs({x}) < 1e15 and {x} = trunc({x}) then {whole} else {text} end"


def as_category(column: Column) -> Value:
    """A category: text of bounded length."""
    text = as_text(column)
    doubt = f"strlen({text}) > {LONGEST_TEXT}"
    long = f"{doubt} and length({text}) > {LONGEST_TEXT}"  # bytes are counted faster than characters
    return Value(f"case when {long} then null else {text} end", f"coalesce({long}, false)", doubt)


def as_number(column: Column) -> Value:
    """A finite double, -0.0 as 0.0; NaN and the usual words for it are null, infinity and anything else are bad."""
    kind, c = type_class(column.type), column.at
    if kind == "integer" or column.type.upper().startswith("DECIMAL"):
        return Value(f"cast({c} as double)", "false", "false")
    if kind == "bool":
        return Value(f"cast(cast({c} as integer) as double)", "false", "false")
    if kind == "float":
        bad = f"coalesce(isinf({c}), false)"
        return Value(f"case when isfinite({c}) then {c} + 0.0::double end", bad, f"isinf({c})")
    if kind == "text":
        text = raw_text(column)
        x = column.number or _finite(f"try_cast({text} as double)")
        words = missing_word(text)
        doubt = f"({c} is not null and {x} is null)"
        return Value(x, f"({doubt} and not {words})", doubt)
    return Value("cast(null as double)", f"({c} is not null)", f"({c} is not null)")


def missing_word(text: str) -> str:
    """SQL that is true where text is a word for a missing number.

    A pattern, not a list: the engine makes a join of a long list, for every column and row.
    """
    return f"regexp_full_match({text}, {sql.text(_MISSING_WORDS)}, 'i')"


def _finite(number: str) -> str:
    return f"case when isfinite({number}) then {number} + 0.0::double end"


def as_time(column: Column) -> str:
    """SQL for a UTC timestamp, or null: naive times are UTC, zoned ones converted, numbers since 1970 by magnitude."""
    t = column.time or _moment(column)
    return f"case when year({t}) between {FIRST_YEAR} and {LAST_YEAR} then {t} end"


def parsed_once(opened: Opened, *, numbers: Iterable[str], times: Iterable[str]) -> Opened:
    """The same file with these columns read as numbers and times once a row, however often that is asked for."""
    asked, moments = {n.lower() for n in numbers}, {n.lower() for n in times}
    columns, added, checked = [], [], []
    for column in opened.columns:
        if column.name.lower() in asked and type_class(column.type) == "text":
            column = replace(column, number=f"n_{column.at}")  # noqa: PLW2901 - the same column, better known
            added.append(f"try_cast({raw_text(column)} as double) as r_{column.at}")
            checked.append(f"{_finite(f'r_{column.at}')} as n_{column.at}")
        if column.name.lower() in moments:
            added.append(f"{_moment(column)} as t_{column.at}")
            column = replace(column, time=f"t_{column.at}")  # noqa: PLW2901
        columns.append(column)
    if not added:
        return opened
    relation = f"(select *, {', '.join(added)} from {opened.relation})"
    if checked:
        relation = f"(select *, {', '.join(checked)} from {relation})"
    return replace(opened, columns=tuple(columns), relation=relation)


def _moment(column: Column) -> str:
    kind, c = type_class(column.type), column.at
    if kind == "time":
        zoned = "WITH TIME ZONE" in column.type.upper() or column.type.upper() == "TIMESTAMPTZ"
        t = f"timezone('UTC', {c})" if zoned else f"cast({c} as timestamp)"
    elif kind in ("integer", "float"):
        t = _since_1970(
            f"cast({c} as double)" if kind == "float" else f"try_cast({c} as bigint)", whole=kind == "integer"
        )
    elif kind == "text":
        text = f"trim({raw_text(column)})"
        digits = f"regexp_full_match({text}, '-?[0-9]+(\\.[0-9]+)?')"
        number = _since_1970(f"try_cast({text} as double)", whole=False)
        exact = _since_1970(f"try_cast({text} as bigint)", whole=True)
        compact = f"cast(try_strptime({text}, '%Y%m%d') as timestamp)"
        t = (
            f"case when {digits} then case when length({text}) = 8 then {compact} "
            f"when contains({text}, '.') then {number} else {exact} end "
            f"else timezone('UTC', try_cast({text} as timestamptz)) end"
        )
    else:
        return "cast(null as timestamp)"
    return t


def _since_1970(x: str, *, whole: bool) -> str:
    """SQL for seconds, milli-, micro- or nanoseconds since 1970 by magnitude: each scale covers 1973 to 2262 and beyond."""
    if whole:
        micros = (
            f"case when {x} = -9223372036854775808 then null when abs({x}) < 100000000000 then {x} * 1000000 when abs({x}) < 100000000000000 then {x} * 1000 "
            f"when abs({x}) < 100000000000000000 then {x} else {x} // 1000 end"
        )
        return f"make_timestamp({micros})"
    micros = (
        f"case when not isfinite({x}) or abs({x}) >= 1e19 then null when abs({x}) < 1e11 then {x} * 1e6 "
        f"when abs({x}) < 1e14 then {x} * 1e3 when abs({x}) < 1e17 then {x} else {x} / 1e3 end"
    )
    return f"make_timestamp(cast(round({micros}) as bigint))"


def as_class(column: Column, spec: ModelSpec) -> str:
    """SQL for a class in the one spelling that ``canonical_class`` gives it; null where it is none of a closed pair."""
    text = as_text(column)
    kind = type_class(column.type)
    plain = f"regexp_replace(trim({text}), '^(-?[0-9]+)\\.0+$', '\\1')" if kind == "text" else text
    if spec.task == "binary" and spec.positive_class in ("0", "1"):
        folded = f"lower({plain})"
        return f"case when {folded} in ('1', 'true') then '1' when {folded} in ('0', 'false') then '0' end"
    if spec.task == "binary" and spec.positive_class in ("true", "false"):
        return f"case when lower(trim({text})) in ('true', 'false') then lower(trim({text})) end"
    known = spec.classes if spec.task == "multiclass" else (spec.positive_class,)
    whole = [k for k in known if re.fullmatch(r"-?[0-9]+", k)]
    if kind != "text" or not whole:
        return text
    # Text files know no types: 1.0 there is class 1 where the spec says so.
    return f"case when {' or '.join(f'{plain} = {sql.text(k)}' for k in whole)} then {plain} else {text} end"


def as_vector(column: Column, size: int | None) -> Value:
    """A list of finite doubles of one size."""
    kind, c = type_class(column.type), column.at
    if kind not in ("list", "text"):
        return Value("cast(null as double[])", f"({c} is not null)", f"({c} is not null)")
    vector = f"try_cast({c} as double[])"
    wrong = f"len(list_filter({vector}, lambda x: x is null or not isfinite(x))) > 0 or len({vector}) = 0"
    if size is not None:
        wrong += f" or len({vector}) != {size}"
    bad = f"({c} is not null and coalesce({vector} is null or {wrong}, true))"
    return Value(f"case when not {bad} then {vector} end", bad, bad)


def norm(vector: str) -> str:
    """SQL for a vector's Euclidean length."""
    return f"sqrt(list_sum(list_transform({vector}, lambda x: x * x)))"


def day(timestamp: str, timezone: str) -> str:
    """SQL for the date of a UTC timestamp in a timezone."""
    if timezone in ("UTC", "Etc/UTC"):
        return f"cast({timestamp} as date)"
    return f"cast(timezone({sql.text(timezone)}, timezone('UTC', {timestamp})) as date)"


def quoted(column: Column) -> str:
    """SQL for ``column 'x': 'its value'``, the value shortened, or not shown where the column is hidden."""
    named = sql.text(f"column {column.name[:LONGEST_SHOWN]!r}: ")
    if column.hidden:
        return f"{named} || 'the value'"
    return f"{named} || '''' || left({raw_text(column)}, {LONGEST_SHOWN}) || ''''"
