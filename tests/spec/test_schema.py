"""What editors are told is what the parser takes, and every key is described."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from mlobs_pipelines.spec import SpecError, defaults, json_schema, parse_spec
from tests.spec.language import BINARY, MULTICLASS, REGRESSION
from tests.spec.test_contract import SHORTEST, whole_language

SCHEMA = json_schema()


def valid(text: str) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", [SHORTEST, whole_language(), BINARY, MULTICLASS, REGRESSION])
def test_an_editor_takes_what_the_parser_takes(text: str) -> None:
    assert valid(text)


@pytest.mark.parametrize(
    ("more", "taken"),
    [
        ("threshold: 0.5", True),
        ("threshold: [0.2, 0.5]", True),
        ("threshold: 1", False),
        ("threshold: []", False),
        ("segments: [a, [b, c]]", True),
        ("segments: a", False),
        ("segments: [[a, b, c, d]]", False),
        ("positive_class: 1", True),
        ("positive_class: fraud", True),
        ("monitors: {windows: [1d, 7d]}", True),
        ("monitors: {windows: [7]}", False),
        ("monitors: {windows: [seven]}", False),
        ("features: {ranges: {amount: [0, null]}}", True),
        ("features: {ranges: {amount: [0]}}", False),
        ("treshold: 0.5", False),
        ("task: other", False),
        ("model: a-b", False),
        ("policy: {retrain: {entrypoint: 'a.b:c', cooldown: 12h}}", True),
        ("policy: {retrain: {entrypoint: a.b}}", False),
        ("fairness: {attributes: [sex], reference_groups: {sex: 1}}", True),
    ],
)
def test_an_editor_and_the_parser_agree(more: str, taken: bool) -> None:
    name = more.split(":", maxsplit=1)[0]
    text = "".join(line for line in BINARY.splitlines(keepends=True) if not line.startswith(f"{name}:")) + more + "\n"
    assert valid(text) is taken
    if taken:
        parse_spec(text, file="m.yaml", environment={})
    else:
        with pytest.raises(SpecError):
            parse_spec(text, file="m.yaml", environment={})


def undescribed(node: Any, path: str = "") -> list[str]:
    """Keys of the language without a description."""
    if not isinstance(node, dict):
        return []
    found = [f"{path}.{name}" for name, key in node.get("properties", {}).items() if not key.get("description")]
    for name, inner in node.get("$defs", {}).items():
        found += [name] if not inner.get("description") else []
        found += undescribed(inner, name)
    return found


def test_every_part_and_every_key_is_described() -> None:
    assert undescribed(SCHEMA) == []


def test_the_schema_shows_the_defaults() -> None:
    parts = SCHEMA["$defs"]
    assert SCHEMA["properties"]["threshold"]["default"] == [0.5]
    assert parts["MonitorsSpec"]["properties"]["windows"]["default"] == ["1d", "7d", "28d"]
    assert parts["RetrainPolicy"]["properties"]["cooldown"]["default"] == "7d"


def test_the_defaults_are_what_the_file_does_not_say() -> None:
    left = defaults(parse_spec(BINARY + "monitors: {min_rows: 50}\nthreshold: 0.5\n", file="m.yaml", environment={}))
    assert left["timezone"] == "UTC"
    assert left["monitors"] == {"false_alarms_per_month": 1.0, "windows": ["1d", "7d", "28d"], "overrides": []}
    assert left["labels"] == {"format": "standard", "mode": "explicit", "maturity": "0d"}
    assert "threshold" not in left
    assert "model" not in left
    assert "scores" not in left["predictions"], "a binary model has no use for it"
