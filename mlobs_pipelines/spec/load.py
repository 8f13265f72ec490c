"""A model's file, or a folder of them -> specs; a broken file takes down its own model and no other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from mlobs_pipelines.spec.document import LARGEST, Document, DocumentError, read
from mlobs_pipelines.spec.errors import Problem, SpecError, key_path
from mlobs_pipelines.spec.explain import explain
from mlobs_pipelines.spec.model import ModelSpec, SpecModel
from mlobs_pipelines.spec.schema import as_given
from mlobs_pipelines.spec.values import nearest

__all__ = ["expand_variables", "load_all", "load_spec", "nearest", "parse_spec", "resolve_source"]

Language = TypeVar("Language", bound=SpecModel)

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*(::|://)")


def parse_spec(text: str, *, file: str | Path, environment: Mapping[str, str] | None = None) -> ModelSpec:
    """The spec that a text holds.

    Args:
        text: YAML; every scalar is taken verbatim, and ``${NAME}`` in it is expanded.
        file: what errors call the text.
        environment: where ``${NAME}`` is looked up; default: the process's environment.

    Raises:
        SpecError: every problem found, each with its line and key.
    """
    return _parse(text, str(file), os.environ if environment is None else environment)[0]


def load_spec(path: Path) -> ModelSpec:
    """The spec in a file named after its model.

    Raises:
        SpecError: the file can't be read, holds no valid spec, or names another model than its own name does.
    """
    shown = shown_path(path)
    spec, document = _parse(read_text(path, shown), shown, os.environ)
    if spec.model != path.stem:
        message = (
            f"{spec.model!r} is not the file's name; write model: {path.stem}, or rename the file to {spec.model}.yaml"
        )
        raise SpecError([Problem(shown, document.line(("model",)), "model", message)])
    return spec


def load_all(folder: Path) -> tuple[dict[str, ModelSpec], dict[str, SpecError]]:
    """Every spec in a folder, and what is wrong with the others; both by model, which is the file's name without .yaml.

    Hidden files are passed over. Of two models whose names differ by upper and lower case only, the second by name
    is an error, for some file systems would keep them in one place.
    """
    specs: dict[str, ModelSpec] = {}
    errors: dict[str, SpecError] = {}
    first: dict[str, Path] = {}
    for path in _files(folder):
        if path.suffix != ".yaml":
            name = path.name if path.with_suffix(".yaml").exists() else path.stem
            errors[name] = SpecError(
                [Problem(shown_path(path), None, "", f"is not read; rename it to {path.stem}.yaml")]
            )
            continue
        try:
            spec = load_spec(path)
            other = first.setdefault(spec.model.lower(), path)
            if other != path:
                message = f"{spec.model!r} differs from the model of {other.name} by upper and lower case only"
                raise SpecError([Problem(shown_path(path), None, "model", message)])
            specs[spec.model] = spec
        except SpecError as error:
            errors[path.stem] = error
    return specs, errors


def expand_variables(spec: ModelSpec, *, file: str | Path, environment: Mapping[str, str] | None = None) -> ModelSpec:
    """A spec that was validated elsewhere, with ``${NAME}`` in its texts expanded as in a model's file.

    Raises:
        SpecError: a variable is missing, or what it holds does not fit.
    """
    try:
        return parse_spec(as_given(spec), file=file, environment=environment)
    except SpecError as error:  # its lines are those of no file
        problems = [replace(problem, line=None) for problem in error.problems]
    raise SpecError(problems)


def resolve_source(source: str | Sequence[str], root: Path) -> list[str]:
    """Where a source is: relative paths below ``root``, the home; absolute ones and URLs as they are."""
    entries = [source] if isinstance(source, str) else source
    return [entry if _URL.match(entry) else str(root / entry) for entry in entries]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in (".yaml", ".yml") and not p.name.startswith(".")),
        key=lambda p: p.name,
    )


def read_text(path: Path, shown: str) -> str:
    """A file's text; never more than a little of a file that is too large, or of one that is no file."""
    try:
        if path.exists() and not path.is_file():
            raise SpecError([Problem(shown, None, "", "is not a file")])
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise SpecError([Problem(shown, None, "", f"can't be read: {reason}")]) from None
    if len(content) > LARGEST:
        raise SpecError([Problem(shown, None, "", f"is larger than {LARGEST // 1024} KiB and so is no spec")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([Problem(shown, line, "", "is not UTF-8 text; save it as UTF-8")]) from None


def _parse(text: str, file: str, environment: Mapping[str, str]) -> tuple[ModelSpec, Document]:
    spec, document = parse_document(text, file, environment, ModelSpec)
    spec._from_environment.update(document.expanded)
    return spec, document


def parse_document(
    text: str, file: str, environment: Mapping[str, str], language: type[Language]
) -> tuple[Language, Document]:
    """What a text says in one of our languages, and where it says it.

    Raises:
        SpecError: every problem found, each with its line and key.
    """
    try:
        document = read(text, environment)
    except DocumentError as error:
        raise SpecError([Problem(file, line, key_path(path), message) for line, path, message in error.found]) from None
    try:
        return language.model_validate(document.value), document
    except ValidationError as error:
        problems = explain(error, document, file, language)
    raise SpecError(problems)  # outside of the except, whose error shows the values


def shown_path(path: Path) -> str:
    """A path as a person would type it: relative to here where it is below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
