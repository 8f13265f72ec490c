"""YAML text -> plain values, every scalar as the text that was written, and the line and key path of each.

YAML's own guesses are not made: ``NO``, ``010``, ``1e3`` and ``2024-01-01`` stay as they are, and the typed models
decide what is a number. What a spec has no use for and an attacker would have (aliases, anchors, tags, several documents,
great depth and size) is refused before anything is built from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

LARGEST = 256 * 1024
"""Bytes of the largest spec that is read."""

DEEPEST = 16
"""Levels of the deepest nesting that is read."""

NULLS = ("", "~", "null")
"""What is null if it stands unquoted; every other spelling is text."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Path = tuple[str | int, ...]


class DocumentError(Exception):
    """The text can't be read as a spec at all: (line or None, key path, what is wrong), one or several."""

    def __init__(self, *found: tuple[int | None, Path, str]) -> None:
        super().__init__(*found)
        self.found = found


@dataclass
class Document:
    """Plain values of a text, and what was written where."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    expanded: dict[Path, tuple[str, str]] = field(default_factory=dict)
    """Values that hold environment variables: (as written, as expanded)."""
    keys: dict[Path, str] = field(default_factory=dict)
    """Keys that hold environment variables, as written, by their whole path."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Every text that came from the environment, and how it is spelled in the file."""

    def line(self, path: Path) -> int:
        """Line of a key path, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def spelled(self, path: Path) -> Path:
        """A key path as it is written, where its keys hold environment variables."""
        return tuple(self.keys.get(path[: i + 1], part) for i, part in enumerate(path))


def read(text: str, environment: Mapping[str, str]) -> Document:
    """Parse a spec's text and expand ``${NAME}`` in its keys and values.

    Raises:
        DocumentError: it is no YAML mapping, is too large or deep, gives a key twice, uses what is refused here,
            or an environment variable is missing.
    """
    text = text.removeprefix("\N{BYTE ORDER MARK}")
    if len(text) > LARGEST or len(text.encode(errors="replace")) > LARGEST:
        raise DocumentError((None, (), f"is larger than {LARGEST // 1024} KiB and so is no spec"))
    odd = _UNPRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        raise DocumentError((line, (), f"holds the character {odd[0]!r}, which no YAML file may have"))
    try:
        return _Reader(text, environment).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DocumentError((line, (), f"is no valid YAML: {_hint(error, text, line)}")) from None
    except yaml.YAMLError as error:
        raise DocumentError((None, (), f"is no valid YAML: {error}")) from None


def _hint(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """What the parser says, and what to do where that is known."""
    problem = error.problem or "it can't be parsed"
    shown = text.split("\n")[line - 1] if line <= text.count("\n") + 1 else ""
    before = shown[: len(shown) - len(shown.lstrip())]
    if "\t" in before or "\\t" in problem:
        return "a tab; indent with spaces"
    if "alias" in f"{error.context} {problem}" or "anchor" in f"{error.context} {problem}":
        return "text that begins with * or & must be in quotes"
    if "cannot start any token" in problem:
        return f"{problem}; text that begins with @, ` or % must be in quotes"
    if "mapping values are not allowed" in problem:
        return f"{problem}; text with a colon and a space must be in quotes"
    if "${" in shown:
        return f"{problem}; inside [ ] and {{ }} a ${{NAME}} must be in quotes"
    return problem


class _Reader:
    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._environment = environment
        self._found: list[tuple[int | None, Path, str]] = []
        self._out = Document()

    def document(self) -> Document:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise DocumentError((None, (), "is empty"))
        top = next(self._events)
        if not isinstance(top, yaml.MappingStartEvent):
            empty = isinstance(top, yaml.ScalarEvent) and not top.style and top.value in NULLS
            what = "is empty" if empty else "is not a mapping of keys, such as model: my_model"
            raise DocumentError((top.start_mark.line + 1, (), what))
        self._out.value = self._node(top, ())
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise DocumentError((after.start_mark.line + 1, (), "holds a second document; write one file a model"))
        if self._found:
            raise DocumentError(*((line, self._out.spelled(path), message) for line, path, message in self._found))
        return self._out

    def _node(self, event: Any, path: Path) -> Any:
        line = event.start_mark.line + 1
        self._out.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            message = (
                f"{sign}{event.anchor}: aliases and anchors are refused; text that begins with {sign} must be in quotes"
            )
            raise DocumentError((line, path, message))
        if event.tag is not None:
            raise DocumentError(
                (line, path, f"{event.tag}: tags are refused; text that begins with ! must be in quotes")
            )
        if len(path) >= DEEPEST:
            raise DocumentError((line, (), f"is nested more than {DEEPEST} levels deep"))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        return self._mapping(path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(path)

    def _scalar(self, event: Any, path: Path) -> str | None:
        if not event.style and event.value in NULLS:
            return None
        self._out.written[path] = event.value
        value = self._expand(event.value, event.start_mark.line + 1, path)
        if value != event.value and "${" in event.value.replace("$${", ""):
            self._out.expanded[path] = (event.value, value)
        return value

    def _sequence(self, path: Path) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, (*path, len(values))))
        return values

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent) and event.anchor is None and event.tag is None:
                key = self._expand(event.value, line, path)
            else:
                raise DocumentError((line, path, "a key must be plain text: no list, mapping, alias, anchor or tag"))
            if not key and not event.style:
                raise DocumentError((line, path, "a key is missing before the colon"))
            below = (*path, key)
            if key in values:
                self._found.append((line, below, f"is given twice, first in line {self._out.lines[below]}"))
            self._out.lines.setdefault(below, line)
            if key != event.value:
                self._out.keys[below] = event.value
            values[key] = self._node(next(self._events), below)
        return values

    def _expand(self, text: str, line: int, path: Path) -> str:
        def value(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name = match[1]
            if name is None or not _VARIABLE_NAME.fullmatch(name):
                shown = match[0] if name is not None else "${ without an end"
                self._found.append((line, path, f"{shown} names no environment variable; $${{ is a plain ${{"))
            elif name not in self._environment:
                self._found.append((line, path, f"environment variable {name} is not set"))
            else:
                self._out.secrets[self._environment[name]] = match[0]
                return self._environment[name]
            return match[0]

        expanded = _VARIABLE.sub(value, text) if "${" in text else text
        if expanded != text and self._out.secrets:
            self._out.secrets.setdefault(expanded, text)
        return expanded
