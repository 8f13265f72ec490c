"""Whether a schedule is one: five fields, each within its range, and a day on which it is ever due."""

from __future__ import annotations

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: i for i, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {name: i for i, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?:(\*)|([0-9a-z]{1,3})(?:-([0-9a-z]{1,3}))?)(?:/([0-9]{1,3}))?", re.ASCII)
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def check_cron(schedule: str) -> str:
    """Return a cron schedule of five fields unchanged.

    Raises:
        ValueError: it is none, or never due, with the field that is wrong.
    """
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{schedule!r} has {len(fields)} of a schedule's 5 fields (minute hour day month weekday); "
            'write for example "0 2 * * *", every night at two'
        )
    _, _, days, months, _ = (_values(text.lower(), *field) for text, field in zip(fields, _FIELDS, strict=True))
    if fields[4] == "*" and not any(min(days) <= _LONGEST_MONTH.get(month, 31) for month in months):
        raise ValueError(f"{schedule!r} is never due: no such day in that month")
    return schedule


def _values(text: str, field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """What one field matches."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if not match:
            raise ValueError(f"{part!r} is not a {field} of a schedule")
        star, first, last, step = match.groups()
        start = low if star else _number(first, field, low, high, names)
        end = high if star else _number(last, field, low, high, names) if last else start
        if step and not star and not last:
            raise ValueError(f"{part!r}: a step needs a range, as in */{step} or {first}-{high}/{step}")
        if start > end:
            raise ValueError(f"{part!r} is not a {field} of a schedule: the range runs backwards")
        width = int(step or 1)
        if not 1 <= width <= high:
            raise ValueError(f"{part!r} is not a {field} of a schedule: a step is from 1 to {high}")
        found.update(range(start, end + 1, width))
    return found


def _number(text: str, field: str, low: int, high: int, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"{text!r} is not a {field} of a schedule: it is from {low} to {high}")
    return int(text)
