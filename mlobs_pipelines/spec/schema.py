"""A spec, or the whole language -> text: YAML that reads back as the same spec, and a JSON Schema for editors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from mlobs_pipelines.spec.model import ModelSpec

_OF_OTHER_TASKS = {"binary": ("scores",), "multiclass": ("score",), "regression": ("score", "scores")}
_WIDTH = 110
_MISREAD = re.compile(
    r"[-+]?(0[xob][0-9a-f_]+|[0-9][0-9_:]*\.?[0-9_]*(e[-+]?[0-9]+)?|\.[0-9_]+(e[-+]?[0-9]+)?|\.inf)"
    r"|\.nan|~|null|true|false|yes|no|on|off|y|n|[0-9]{4}-[0-9]{1,2}-[0-9].*",
    re.IGNORECASE,
)
"""Text that some reader of YAML takes for something else, if it stands unquoted."""


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a model's file, for editors that complete and check as one types."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ModelSpec.model_json_schema(mode="validation"),
        "title": "A monitored model of mlobs_pipelines",
    }


def defaults(spec: ModelSpec) -> dict[str, Any]:
    """What applies to a spec's model though its file does not say so: keys left out, with their defaults."""
    result: dict[str, Any] = _without(_plain(spec, exclude_unset=False), _plain(spec, exclude_unset=True))
    return result


def to_yaml(spec: ModelSpec, *, show_defaults: bool) -> str:
    """A spec as the YAML of a model's file; ``parse_spec`` of it gives an equal spec.

    What the file took from the environment is printed as it was written, so that no secret is.

    Args:
        spec: any spec.
        show_defaults: print every key that applies to the task; else only those that were given.
    """
    keys = _plain(spec, exclude_unset=not show_defaults)
    return _dump(_escaped(keys, (), spec._from_environment))


def as_given(spec: ModelSpec) -> str:
    """The keys that were given as YAML in which ``${NAME}`` is a variable, though the spec has it as plain text."""
    return _dump(_plain(spec, exclude_unset=True))


def _dump(keys: Mapping[str, Any]) -> str:
    text: str = yaml.dump(
        keys,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH,
        default_flow_style=False,
    )
    return text


def _plain(spec: ModelSpec, *, exclude_unset: bool) -> dict[str, Any]:
    """The keys that apply, in the order of the language, in their short forms."""
    keys = spec.model_dump(mode="json", exclude_unset=exclude_unset)
    for name in _OF_OTHER_TASKS[spec.task]:
        keys["predictions"].pop(name, None)
    if spec.task != "binary":
        keys.pop("positive_class", None)
        keys.pop("threshold", None)
        if "favorable_outcome" not in spec.fairness.model_fields_set:
            keys.get("fairness", {}).pop("favorable_outcome", None)
    if len(keys.get("threshold", ())) == 1:
        keys["threshold"] = keys["threshold"][0]
    if "segments" in keys:
        keys["segments"] = [cut[0] if len(cut) == 1 else cut for cut in keys["segments"]]
    return keys


def _without(keys: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    left: dict[str, Any] = {}
    for name, value in keys.items():
        if name not in given:
            left[name] = value
        elif isinstance(value, dict) and isinstance(given[name], dict) and (inner := _without(value, given[name])):
            left[name] = inner
    return left


def _escaped(value: Any, path: tuple[str | int, ...], written: Mapping[tuple[str | int, ...], tuple[str, str]]) -> Any:
    """Values as they have to be written: variables as such, and a ``${`` that is none as ``$${``."""
    if isinstance(value, str):
        as_written, expanded = written.get(path, ("", None))
        return as_written if expanded == value else _literal(value)
    if isinstance(value, dict):
        return {_literal(k): _escaped(v, (*path, k), written) for k, v in value.items()}
    if isinstance(value, list):
        return [_escaped(v, (*path, i), written) for i, v in enumerate(value)]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _literal(text: str) -> str:
    return text.replace("${", "$${")


class _Dumper(yaml.SafeDumper):
    """Lists on one line, mappings on several; quotes around whatever any reader could take for a number or the like."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = '"' if _MISREAD.fullmatch(text) or not text.isprintable() else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_values(self, values: list[Any]) -> yaml.SequenceNode:
        flow = not any(isinstance(value, dict) for value in values)
        return self.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flow)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_values)
