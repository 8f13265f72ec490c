"""What is wrong with a spec: one line each, with file, line, key and what to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlobs_pipelines.errors import UserError

_LONGEST = 400
_PLAIN_KEY = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; ``line`` is None where no line is to blame, ``key`` is '' for the whole file."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return one_line(": ".join(part for part in (where, self.key, self.message) if part))


class SpecError(UserError):
    """A model's file can't be used.

    ``problems`` has them all, in the order of their lines; the text is the first of them, and how many more.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        more = len(self.problems) - 1
        return f"{self.problems[0]}{f' (and {more} more)' if more else ''}"


def one_line(text: str) -> str:
    """Text as one printable line of bounded length."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: 4 * _LONGEST])
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def key_path(path: Sequence[str | int]) -> str:
    """``segments[0]``, ``features.ranges.amount``; a key that is no plain word is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN_KEY.fullmatch(part) else repr(part))
    return text
