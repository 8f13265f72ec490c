"""A validation error -> problems a person can act on: where, what, and the nearest valid spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlobs_pipelines.spec.document import Document, Path
from mlobs_pipelines.spec.errors import Problem, key_path
from mlobs_pipelines.spec.model import ModelSpec, SpecModel
from mlobs_pipelines.spec.values import did_you_mean

MOST = 100
"""Problems of one file that are told; whoever has more starts again anyway."""

_GUESSED = 20
_SHORTEST_SECRET = 8
_EXPECTED = {
    "string_type": "text",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "list_type": "a list",
    "tuple_type": "a pair [low, high]",
    "dict_type": "a mapping",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}


def explain(
    error: ValidationError, document: Document, file: str, language: type[SpecModel] = ModelSpec
) -> list[Problem]:
    """Every problem of a file, in the order of its lines. Values from the environment are not shown."""
    found: list[tuple[int, bool, Path, str]] = []
    for number, detail in enumerate(error.errors(include_url=False)[:MOST]):
        for path, message in _read(detail, document, language, guess=number < _GUESSED):
            found.append((document.line(path), detail["type"] == "missing", path, message))
    found.sort(key=lambda f: f[:2])  # a misspelt key before the one that is missing for it
    return [
        Problem(file, line, key_path(document.spelled(path)), redacted(message, document.secrets))
        for line, _, path, message in found
    ]


def redacted(message: str, secrets: Mapping[str, str]) -> str:
    """The message with every text that came from the environment spelled as in the file."""
    for value in sorted(secrets, key=len, reverse=True):
        message = message.replace(repr(value), repr(secrets[value]))
        # A short text, or a word of the language, is no secret and may well be part of the sentence.
        if len(value) >= _SHORTEST_SECRET and value not in _WORDS:
            message = message.replace(value, secrets[value]).replace(repr(value)[1:-1], secrets[value])
    return message


def _read(
    detail: ErrorDetails, document: Document, language: type[SpecModel], *, guess: bool
) -> Iterator[tuple[Path, str]]:
    path = _as_written(detail["loc"], document.value)
    context: dict[str, Any] = detail.get("ctx") or {}
    kind = detail["type"]
    written = document.written.get(path)
    shown = repr(written) if written is not None else _described(_at(document.value, path))
    if kind == "inconsistent":
        yield from context["found"]
    elif kind == "value_error":
        yield path, str(context["error"])
    elif kind == "missing":
        yield path, "is missing" + (f" ({about})" if (about := _about(language, path)) else "")
    elif kind == "extra_forbidden":
        suggestion = _suggestion(language, path) if guess else ""
        yield path, f"is no key of {key_path(path[:-1]) or language.called}{suggestion}"
    elif kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        yield path, f"{shown} is not one of {', '.join(known)}{did_you_mean(written or '', known)}"
    elif kind in ("too_long", "too_short"):
        bound = f"at most {context['max_length']}" if kind == "too_long" else f"at least {context['min_length']}"
        yield path, f"has {context['actual_length']} entries, where {bound} must be"
    elif kind in _EXPECTED:
        yield path, f"{shown}, where {_EXPECTED[kind]} is needed"
    else:  # pydantic's own words, about a value and not about an input
        yield path, f"{shown} {re.sub('^Input should ', 'must ', detail['msg'])}"


def _as_written(place: Sequence[str | int], value: Any) -> Path:
    """The key path of a place: without what stands for a key itself, or for the list that a short form leaves out."""
    path: list[str | int] = []
    for part in place:
        if part == "[key]" or not isinstance(value, (dict, list)):
            break
        path.append(part)
        value = _at(value, (part,))
    return tuple(path)


def _described(value: Any) -> str:
    if value is None:
        return "nothing is given"
    return f"a {'mapping' if isinstance(value, dict) else 'list'} is given"


def _at(value: Any, path: Path) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _model_of(annotation: Any) -> type[SpecModel] | None:
    """The part of the language that an annotation holds, alone, as an option or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, SpecModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_of(inner))), None)


def _model_at(language: type[SpecModel], path: Path) -> type[SpecModel] | None:
    model: type[SpecModel] | None = language
    for part in path:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model_of(field.annotation) if field else None
    return model


def _about(language: type[SpecModel], path: Path) -> str:
    model, name = _model_at(language, path[:-1]), path[-1]
    field = model.model_fields.get(str(name)) if model else None
    return (field.description or "").rstrip(".") if field else ""


def _suggestion(language: type[SpecModel], path: Path) -> str:
    """The mapping where a key belongs, or the nearest key of the one where it stands."""
    model, name = _model_at(language, path[:-1]), str(path[-1])
    homes = [home for home, words in _parts(language, ()) if name in words]
    if homes:
        return f"; it belongs {' or '.join(homes)}"
    return did_you_mean(name, model.model_fields) if model else ""


def _parts(model: type[SpecModel], path: Path) -> Iterator[tuple[str, set[str]]]:
    """Every mapping of the language, by its key path, with its keys."""
    yield f"in {key_path(path)}" if path else "at the top level", set(model.model_fields)
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if inner is not None:
            yield from _parts(inner, (*path, name))


_WORDS = {word for _, words in _parts(ModelSpec, ()) for word in words}
