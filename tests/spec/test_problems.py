"""Each error is one line that names file, line and key, and says what to write."""

from __future__ import annotations

import pytest

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec import SpecError
from tests.spec.language import BINARY, MULTICLASS, REGRESSION, parse, problems

GOLDEN = [
    # misspelt and misplaced keys
    (BINARY.replace("score:", "scroe:"), [
        "m.yaml:7: predictions.scroe: is no key of predictions; did you mean 'score'?",
    ]),
    (BINARY + "treshold: 0.5\n", ["m.yaml:13: treshold: is no key of a spec; did you mean 'threshold'?"]),
    (BINARY + "maturity: 45d\n", ["m.yaml:13: maturity: is no key of a spec; it belongs in labels"]),
    (BINARY + "  matuirty: 45d\n", ["m.yaml:13: labels.matuirty: is no key of labels; did you mean 'maturity'?"]),
    (BINARY + "  task: binary\n", ["m.yaml:13: labels.task: is no key of labels; it belongs at the top level"]),
    (BINARY + "monitors:\n  overrides:\n    - metric: psi\n      warm: 1\n      alert: 1\n", [
        "m.yaml:16: monitors.overrides[0].warm: is no key of monitors.overrides[0]; did you mean 'warn'?",
    ]),
    (BINARY + "zzz: 1\n", ["m.yaml:13: zzz: is no key of a spec"]),
    (BINARY + '"a.b c": 1\n', ["m.yaml:13: 'a.b c': is no key of a spec"]),
    # missing keys
    (BINARY.replace("  id: prediction_id\n", "", 1), [
        "m.yaml:3: predictions.id: is missing (Column with the id that labels refer to)",
    ]),
    (BINARY.replace("task: binary\n", ""), [
        "m.yaml:1: task: is missing (What the model predicts: one of two classes, of several, or a number)",
    ]),
    # values of a wrong kind
    (BINARY.replace("binary", "binray"), [
        "m.yaml:2: task: 'binray' is not one of binary, multiclass, regression; did you mean 'binary'?",
    ]),
    (BINARY.replace("binary", "[binary]"), [
        "m.yaml:2: task: a list is given is not one of binary, multiclass, regression",
    ]),
    (BINARY.replace("id: prediction_id", "id:", 1), ["m.yaml:5: predictions.id: nothing is given, where text is needed"]),
    (BINARY.replace("id: prediction_id", "id: [a]", 1), ["m.yaml:5: predictions.id: a list is given, where text is needed"]),
    (BINARY.replace("id: prediction_id", "id: ' '", 1), ["m.yaml:5: predictions.id: is empty"]),
    (BINARY.replace("id: prediction_id", 'id: "a\\nb"', 1), [
        "m.yaml:5: predictions.id: a column's name can't hold a line break",
    ]),
    (BINARY.replace("data/p.parquet", "[]"), [
        "m.yaml:4: predictions.source: is an empty list; name a file, glob or folder",
    ]),
    (BINARY.replace("data/p.parquet", "{a: b}"), [
        "m.yaml:4: predictions.source: must be text or a list of texts: files, globs or folders",
    ]),
    (BINARY + "features: {numeric: amount}\n", [
        "m.yaml:13: features.numeric: 'amount', where a list is needed",
    ]),
    (BINARY + "features: {ranges: {a: [1, 2, 3]}}\n", [
        "m.yaml:13: features.ranges.a: has 3 entries, where at most 2 must be",
    ]),
    (BINARY + "threshold: high\n", ["m.yaml:13: threshold: 'high', where a number is needed"]),
    (BINARY + "monitors: {min_rows: 1}\n", [
        "m.yaml:13: monitors.min_rows: '1' must be greater than or equal to 2",
    ]),
    (BINARY + "policy: off\n", ["m.yaml:13: policy: 'off', where a mapping of keys is needed"]),
    (BINARY + "policy: {retrain: {mode: atuo}}\n", [
        "m.yaml:13: policy.retrain.mode: 'atuo' is not one of off, approve, auto; did you mean 'auto'?",
    ]),
    (BINARY + "timezone: Europe/Berln\n", [
        "m.yaml:13: timezone: 'Europe/Berln' is not a timezone; did you mean 'Europe/Berlin'?",
    ]),
    (BINARY.replace("model: fraud", "model: card-fraud"), [
        "m.yaml:1: model: 'card-fraud' can't be a model's name; write up to 63 letters, digits and underscores, a letter first",
    ]),
    # YAML itself
    (BINARY + "model: fraud\n", ["m.yaml:13: model: is given twice, first in line 1"]),
    (BINARY + "features:\n\tnumeric: [a]\n", ["m.yaml:14: is no valid YAML: a tab; indent with spaces"]),
    (BINARY + "owner: a: b\n", [
        "m.yaml:13: is no valid YAML: mapping values are not allowed in this context; text with a colon and a space must be in quotes",
    ]),
    (BINARY.replace("data/p.parquet", "*.parquet"), [
        "m.yaml:4: is no valid YAML: text that begins with * or & must be in quotes",
    ]),
    (BINARY + "owner: @me\n", [
        "m.yaml:13: is no valid YAML: found character that cannot start any token; text that begins with @, ` or % must be in quotes",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), GOLDEN)
def test_an_error_says_where_and_what(text: str, said: list[str]) -> None:
    found = problems(text)
    assert found[-len(said) :] == said


def test_a_misspelt_key_that_is_needed_is_told_as_both() -> None:
    assert problems(BINARY.replace("  time:", "  tiem:")) == [
        "m.yaml:3: predictions.time: is missing (Column with the time the prediction was made for)",
        "m.yaml:6: predictions.tiem: is no key of predictions; did you mean 'time'?",
    ]


def test_several_problems_come_in_the_order_of_their_lines() -> None:
    with pytest.raises(SpecError) as caught:
        parse(BINARY.replace("binary", "binray") + "threshold: x\nowner: [1]\n")
    assert [p.line for p in caught.value.problems] == [2, 13, 14]
    assert [p.key for p in caught.value.problems] == ["task", "threshold", "owner"]
    assert str(caught.value) == f"{caught.value.problems[0]} (and 2 more)"


def test_an_error_is_for_users() -> None:
    with pytest.raises(UserError):
        parse("model: x")


@pytest.mark.parametrize("text", [BINARY, MULTICLASS, REGRESSION])
def test_the_shortest_specs_have_no_problem(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        BINARY + '"a\\nb\\x1b[31m": 1\n',
        BINARY + 'owner: "\\0"\n',
        BINARY + 'timezone: "a\\nb"\n',
        BINARY + f"{'k' * 100_000}: 1\n",
        BINARY + f"timezone: {'z' * 100_000}\n",
        BINARY + f"segments: [{'z' * 2000}]\n",
    ],
)
def test_an_error_is_one_short_printable_line_whatever_the_file_holds(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 450
    assert str(caught.value).startswith("m.yaml:13: ")
