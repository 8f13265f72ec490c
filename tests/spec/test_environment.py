"""Variables of the environment are expanded in any text, and what they hold is told to nobody."""

from __future__ import annotations

import traceback

import pytest

from mlobs_pipelines.spec import ModelSpec, SpecError, expand_variables, parse_spec, to_yaml
from tests.spec.language import BINARY, MULTICLASS, keys, parse, problems

SECRET = "s3cr3t'\"\\value"


def test_a_variable_is_expanded_in_any_text() -> None:
    spec = parse(
        BINARY.replace("data/p.parquet", "[a, 's3://${BUCKET}/${DAY}/*.parquet']") + "owner: ${WHO}\nthreshold: ${T}\n",
        BUCKET="b", DAY="d", WHO="a: [b", T="0.25",
    )  # fmt: skip
    assert spec.predictions.source == ["a", "s3://b/d/*.parquet"]
    assert spec.owner == "a: [b", "what a variable holds is text, never YAML"
    assert spec.threshold == [0.25]


def test_a_variable_is_expanded_in_a_key_too() -> None:
    assert parse(MULTICLASS.replace("{cat:", "{'${C}':"), C="bird").classes == ("bird", "dog")


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOBS_TEST_OWNER", "me")
    assert parse_spec(BINARY + "owner: ${MLOBS_TEST_OWNER}\n", file="m.yaml").owner == "me"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$${X}", "${X}"),
        ("$$${X}", "$${X}"),
        ("$X", "$X"),
        ("a$", "a$"),
        ("$$", "$$"),
        ("'$${'", "${"),
        ("a}${X}{", "a}x{"),
    ],
)
def test_two_dollars_are_a_literal(written: str, meant: str) -> None:
    assert parse(f"{BINARY}owner: {written}\n", X="x").owner == meant


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    assert parse(BINARY + "owner: ${A}\n", A="${B}", B="b").owner == "${B}"


def test_every_missing_variable_is_named() -> None:
    assert problems(BINARY + "owner: ${WHO}\nalerts: [{to: '${URL}'}]\n") == [
        "m.yaml:13: owner: environment variable WHO is not set",
        "m.yaml:14: alerts[0].to: environment variable URL is not set",
    ]


@pytest.mark.parametrize("written", ["${A B}", "${}", "${X:-y}", "${", "${1}"])
def test_what_names_no_variable_is_refused(written: str) -> None:
    (problem,) = problems(f"{BINARY}owner: '{written}'\n", X="x")
    assert problem.startswith("m.yaml:13: owner: ")
    assert "names no environment variable; $${ is a plain ${" in problem


@pytest.mark.parametrize(
    "text",
    [
        BINARY.replace("binary", "${S}"),
        BINARY + "threshold: ${S}\n",
        BINARY + "timezone: ${S}\n",
        BINARY + "timezone: pre-${S}\n",
        BINARY + "schedule: ${S}\n",
        BINARY + "  maturity: ${S}\n",
        BINARY + "'${S}': 1\n",
        BINARY + "features: {numeric: ['${S}', '${S}']}\n",
        BINARY + "features: {numeric: ['${S}', 'S3${S}']}\n".replace("S3", ""),
        BINARY + "fairness: {reference_groups: {'${S}': 1}}\n",
        BINARY + "policy: {retrain: {entrypoint: '${S}'}}\n",
        BINARY + "monitors: {min_rows: '${S}'}\n",
        BINARY + "predictions: ${S}\n",
        BINARY + "segments: {a: '${S}'}\n",
        BINARY.replace("fraud\n", "${S}\n", 1),
    ],
)
def test_no_error_shows_what_a_variable_holds(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, S=SECRET)
    shown = str(caught.value) + repr(caught.value) + "".join(traceback.format_exception(caught.value))
    for spelling in (SECRET, repr(SECRET)[1:-1], "s3cr3t"):
        assert spelling not in shown.split("test_environment.py")[-1] + str(caught.value)
    assert "${S}" in str(caught.value) or "given twice" in str(caught.value) or "needed" in str(caught.value)


def test_a_printed_spec_has_the_variable_and_not_the_secret() -> None:
    spec = parse(
        BINARY + "alerts: [{to: 'https://x/${S}'}]\nregistry: {tracking_uri: '${S}'}\nowner: $${S}\n", S=SECRET
    )
    for show_defaults in (True, False):
        text = to_yaml(spec, show_defaults=show_defaults)
        assert "s3cr3t" not in text
        assert parse(text, S=SECRET) == spec
        assert parse(text, S="other").registry.tracking_uri == "other"


def test_a_printed_copy_of_a_spec_has_the_variable_and_not_the_secret() -> None:
    spec = parse(BINARY + "owner: ${S}\nregistry: {tracking_uri: '${S}'}\n", S=SECRET)
    copy = spec.model_copy(update={"owner": "someone", "threshold": [0.1]})
    text = to_yaml(copy, show_defaults=False)
    assert "owner: someone" in text
    assert "tracking_uri: ${S}" in text
    assert "s3cr3t" not in text


def test_a_spec_that_another_reader_made_is_expanded_too() -> None:
    made = ModelSpec.model_validate(keys(BINARY, owner="${A} $${B}", alerts=[{"to": "${S}"}]))
    spec = expand_variables(made, file="defs.yaml", environment={"A": "a", "S": SECRET})
    assert (spec.owner, spec.alerts[0].to) == ("a ${B}", SECRET)
    assert spec.positive_class == made.positive_class
    assert "s3cr3t" not in to_yaml(spec, show_defaults=True)
    with pytest.raises(SpecError) as caught:
        expand_variables(made, file="defs.yaml", environment={"A": "a"})
    assert str(caught.value) == "defs.yaml: alerts[0].to: environment variable S is not set"
