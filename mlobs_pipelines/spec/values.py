"""The atoms of the language: durations, columns, classes, timezones, schedules. Each check says what to write."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(s|m|h|d|w)$"

_DURATION = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(s|m|h|d|w)\s*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MICRO = timedelta(microseconds=1)
_WHOLE_WITH_FRACTION = re.compile(r"[-+]?[0-9]+\.0*")
_LONGEST_NAME = 1024
_LONGEST_GUESSED = 100
_MOST_GUESSED = 2000


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known spelling nearest to a word, whatever its case, or None if none is near."""
    if len(word) > _LONGEST_GUESSED:
        return None
    folded: dict[str, str] = {}
    for name in sorted(known):
        folded.setdefault(name.casefold(), name)
    if len(folded) > _MOST_GUESSED:
        return folded.get(word.casefold())
    close = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest spelling, or an empty string."""
    guess = nearest(word, known)
    return f"; did you mean {guess!r}?" if guess is not None else ""


def parse_duration(value: object) -> object:
    """Read ``45d``, ``12h``, ``30m``, ``90s`` or ``2w`` as a timedelta, exact to the microsecond."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{value!r} is not a duration; write for example 45d, 12h or 30m")
    micros = int(Decimal(match[1]) * _SECONDS[match[2]] * 1_000_000)
    try:
        return timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError(f"{value!r} is too long a duration") from None


def format_duration(duration: timedelta) -> str:
    """The shortest spelling in days, hours, minutes or seconds that reads back as the same duration."""
    micros = duration // _MICRO
    for unit in ("d", "h", "m"):
        count, rest = divmod(micros, _SECONDS[unit] * 1_000_000)
        if rest == 0:
            return f"{count}{unit}"
    seconds, rest = divmod(micros, 1_000_000)
    return f"{seconds}.{rest:06d}".rstrip("0").rstrip(".") + "s"


def _not_negative(duration: timedelta) -> timedelta:
    if duration < timedelta(0):
        raise ValueError("a duration can't be negative")
    return duration


def _whole_days_only(duration: timedelta) -> timedelta:
    if duration < timedelta(days=1) or duration % timedelta(days=1):
        raise ValueError(f"{format_duration(duration)} is not a whole number of days, at least 1d")
    return duration


def whole_days(duration: timedelta) -> int:
    """Days until a duration that begins at the end of a day has surely passed, rounded up."""
    return math.ceil(duration / timedelta(days=1))


def canonical_class(value: Any) -> Any:
    """One spelling for one class: true -> 'true', 1 and 1.0 -> '1', text unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value


def _unresolved(value: Any) -> Any:
    """A group as text; a boolean may once have been ``NO``, and so can't be trusted."""
    if isinstance(value, bool):
        raise ValueError("YAML made a boolean of it; write it in quotes")
    return canonical_class(value)


def _plain_text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("holds a character that no text may have (NUL or half of a surrogate pair)")
    return value


def _column_name(value: str) -> str:
    _plain_text(value)
    if len(value.splitlines()) > 1 or value.endswith(("\n", "\r")):
        raise ValueError("a column's name can't hold a line break")
    if len(value) > _LONGEST_NAME:
        raise ValueError(f"a column's name can't be longer than {_LONGEST_NAME} characters")
    return value


def _matchable(value: str) -> str:
    """A class in the spelling that delivered labels are given, or it would match none of them."""
    if _WHOLE_WITH_FRACTION.fullmatch(value):
        raise ValueError(f"{value!r}: whole numbers are compared without a fraction; write {value.partition('.')[0]}")
    if value != value.lower() and value.lower() in ("true", "false"):
        raise ValueError(f"{value!r}: booleans are compared in lower case; write {value.lower()}")
    return value


def _known_timezone(value: str) -> str:
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        guess = did_you_mean(value, available_timezones())
        raise ValueError(f"{value!r} is not a timezone{guess or '; write for example UTC or Europe/Berlin'}") from None
    return value


def _entrypoint(value: str) -> str:
    module, colon, function = value.partition(":")
    if not (colon and all(part.isidentifier() for part in module.split(".")) and function.isidentifier()):
        raise ValueError(f"{value!r} is not of the form package.module:function")
    return value


def _one_or_several(value: Any) -> Any:
    """Text or a list of texts, checked here so that an error names one type and not each of a union."""
    several = value if isinstance(value, list) else [value]
    if not several:
        raise ValueError("is an empty list; name a file, glob or folder")
    for entry in several:
        if not isinstance(entry, str):
            raise ValueError("must be text or a list of texts: files, globs or folders")
        _plain_text(entry)
    return value


Text = Annotated[str, AfterValidator(_plain_text)]
"""Any text that is not blank."""

Column = Annotated[str, AfterValidator(_column_name)]
"""A column's name, whatever it holds: quotes, spaces, any script; no line break."""

Source = Annotated[str | list[str], BeforeValidator(_one_or_several)]
"""A file, glob, folder or table, local or a URL; or a list of them. Relative ones are relative to the home."""

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_not_negative),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
"""``45d``, ``12h``, ``30m``, ``90s`` or ``2w``."""

WholeDays = Annotated[Duration, AfterValidator(_whole_days_only)]
"""A duration of one day or several."""

Verbatim = Annotated[
    str,
    BeforeValidator(canonical_class),
    AfterValidator(_plain_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""A value as it is written: ``1`` is the text 1."""

ClassName = Annotated[Verbatim, AfterValidator(_matchable)]
"""One of a classifier's classes."""

Group = Annotated[
    str, BeforeValidator(_unresolved), AfterValidator(_plain_text), WithJsonSchema({"type": ["string", "number"]})
]
"""A value of a fairness attribute."""

Timezone = Annotated[str, AfterValidator(_known_timezone)]

Entrypoint = Annotated[
    str,
    AfterValidator(_entrypoint),
    WithJsonSchema({"type": "string", "pattern": r"^[^\W0-9][\w.]*:[^\W0-9]\w*$"}),
]

Finite = Annotated[float, Field(allow_inf_nan=False)]
