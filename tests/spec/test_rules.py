"""What a spec may say: each rule by itself, and what keys demand of each other."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlobs_pipelines.spec.model import ModelSpec
from tests.spec.language import BINARY, MULTICLASS, REGRESSION, keys, parse, problems


@pytest.mark.parametrize(
    "schedule", ["0 2 * * *", "*/15 0-6,22 1,15 jan-mar MON-FRI", "59 23 31 12 7", "0 0 29 2 *", "0 0 31 2 mon"]
)
def test_a_cron_schedule_is_taken(schedule: str) -> None:
    assert parse(f"{BINARY}schedule: '{schedule}'\n").schedule == schedule


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("@daily", "has 1 of a schedule's 5 fields"),
        ("0 2 * *", "has 4 of a schedule's 5 fields"),
        ("0 0 2 * * *", "has 6 of a schedule's 5 fields"),
        ("60 2 * * *", "'60' is not a minute of a schedule: it is from 0 to 59"),
        ("0 24 * * *", "'24' is not a hour"),
        ("0 2 0 * *", "'0' is not a day of the month"),
        ("0 2 * 13 *", "'13' is not a month"),
        ("0 2 * * 8", "'8' is not a day of the week"),
        ("0 2 * * feb", "'feb' is not a day of the week"),
        ("0 5-2 * * *", "'5-2' is not a hour of a schedule: the range runs backwards"),
        ("*/0 2 * * *", "a step is from 1 to 59"),
        ("5/10 2 * * *", "a step needs a range"),
        ("0 2 , * *", "'' is not a day of the month"),
        ("0 2 30 2 *", "is never due"),
        ("0 2 31 4,6 *", "is never due"),
    ],
)
def test_what_is_no_cron_schedule_is_refused(schedule: str, said: str) -> None:
    (problem,) = problems(f"{BINARY}schedule: '{schedule}'\n")
    assert problem.startswith("m.yaml:13: schedule: ")
    assert said in problem


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"])
def test_a_timezone_is_taken(timezone: str) -> None:
    assert parse(f"{BINARY}timezone: {timezone}\n").timezone == timezone


@pytest.mark.parametrize(
    "timezone", ["Berlin", "utc ", "../../etc/passwd", "/etc/localtime", "America", "CEST", "'a\\0b'", "x" * 5000]
)
def test_what_is_no_timezone_is_refused(timezone: str) -> None:
    (problem,) = problems(f'{BINARY}timezone: "{timezone}"\n')
    assert problem.startswith("m.yaml:13: timezone: ")


@pytest.mark.parametrize("name", ["1a", "a-b", "a b", "ä", "../x", "a.b", "a" * 64, "_a"])
def test_what_is_no_name_of_a_model_is_refused(name: str) -> None:
    (problem,) = problems(BINARY.replace("model: fraud", f"model: '{name}'"))
    assert problem.startswith("m.yaml:1: model: ")
    assert "letters, digits and underscores" in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # operating points
        (BINARY + "threshold: 0\n", "m.yaml:13: threshold: an operating point lies between 0 and 1"),
        (BINARY + "threshold: [0.5, 1]\n", "m.yaml:13: threshold: an operating point lies between 0 and 1"),
        (BINARY + "threshold: [0.5, 0.2]\n", "m.yaml:13: threshold: operating points must ascend"),
        (BINARY + "threshold: [0.5, 0.50]\n", "m.yaml:13: threshold: operating points must ascend, each given once"),
        (BINARY + "threshold: []\n", "m.yaml:13: threshold: has 0 entries, where at least 1 must be"),
        (REGRESSION + "threshold: 0.5\n", "m.yaml:8: threshold: is for task binary only; the task is regression"),
        (MULTICLASS + "positive_class: cat\n", "m.yaml:8: positive_class: is for task binary only"),
        # outputs and tasks
        (BINARY.replace("score:", "prediction:"), "m.yaml:3: predictions.score: is missing: task binary needs it"),
        (REGRESSION + "  score: s\n", "m.yaml:8: predictions.score: is for task binary only; task regression takes predictions.prediction"),
        (BINARY.replace("labels:", "  scores: {a: b, c: d}\nlabels:"), "m.yaml:8: predictions.scores: is for task multiclass only"),
        (MULTICLASS.replace(", dog: p_dog", ""), "m.yaml:7: predictions.scores: names 1 class; a multiclass model has 2 or more"),
        (MULTICLASS.replace("p_dog", "P_CAT"), "m.yaml:7: predictions.scores.dog: 'P_CAT' differs from 'p_cat' in predictions.scores.cat by upper"),
        (MULTICLASS.replace("p_dog", "p_cat"), "m.yaml:7: predictions.scores.dog: 'p_cat' is given twice"),
        (MULTICLASS.replace("dog:", "1.0:"), "'1.0': whole numbers are compared without a fraction; write 1"),
        (BINARY + "positive_class: True\n", "m.yaml:13: positive_class: 'True': booleans are compared in lower case; write true"),
        (BINARY.replace("event_time", "Prediction_ID"), "m.yaml:6: predictions.time: 'Prediction_ID' is predictions.id already"),
        # labels
        (BINARY + "  mode: positives_only\n", "m.yaml:8: labels.maturity: must be above 0 where mode is positives_only"),
        (REGRESSION + BINARY[BINARY.index("labels:") :] + "  mode: positives_only\n  maturity: 1d\n",
         "m.yaml:13: labels.mode: positives_only is for task binary only; the task is regression"),
        (BINARY.replace("value: is_fraud", "value: prediction_id"), "m.yaml:11: labels.value: 'prediction_id' is given twice, first in labels.id"),
        # features
        (BINARY + "features: {numeric: [a, b, a]}\n", "m.yaml:13: features.numeric[2]: 'a' is given twice, first in features.numeric"),
        (BINARY + "features:\n  numeric: [a]\n  categorical: [a]\n", "m.yaml:15: features.categorical[0]: 'a' is given twice, first in features.numeric"),
        (BINARY + "features: {numeric: [amount], embedding: [Amount]}\n",
         "features.embedding[0]: 'Amount' differs from 'amount' in features.numeric by upper and lower case only"),
        (BINARY + "features: {numeric: [Fraud_Score]}\n", "features.numeric[0]: 'Fraud_Score' is predictions.score and so can't be a feature"),
        (BINARY + "features: {categorical: [is_fraud]}\n", "features.categorical[0]: 'is_fraud' is labels.value and so can't be a feature"),
        # ranges
        (BINARY + "features: {numeric: [amount], ranges: {amuont: [0, 1]}}\n", "'amuont' is no numeric feature; only numeric features have a range; did you mean 'amount'?"),
        (BINARY + "features: {categorical: [c], ranges: {c: [0, 1]}}\n", "features.ranges.c: 'c' is not numeric"),
        (BINARY + "features:\n  ranges:\n    a: [1, 0]\n", "m.yaml:15: features.ranges.a: runs backwards: 1 is above 0"),
        (BINARY + "features: {ranges: {a: [null, null]}}\n", "features.ranges.a: limits nothing"),
        # segments
        (BINARY + "segments: [[a, b, c, d]]\n", "m.yaml:13: segments[0]: has 4 entries, where at most 3 must be"),
        (BINARY + "segments: [[]]\n", "m.yaml:13: segments[0]: has 0 entries, where at least 1"),
        (BINARY + "segments: [a, b, a]\n", "m.yaml:13: segments[2]: 'a' is given twice, first in segments[0]"),
        (BINARY + "segments:\n  - [a, b]\n  - [b, a]\n", "m.yaml:15: segments[1]: 'b' & 'a' is given twice, first in segments[0]"),
        (BINARY + "segments: [[a, a]]\n", "m.yaml:13: segments[0][1]: 'a' is given twice"),
        (BINARY + "features: {embedding: [e]}\nsegments: [e]\n", "m.yaml:14: segments[0][0]: 'e' is an embedding and so can't be a segment"),
        # fairness
        (BINARY + "fairness: {attributes: [sex], reference_groups: {sexe: M}}\n",
         "fairness.reference_groups.sexe: 'sexe' is not in fairness.attributes; did you mean 'sex'?"),
        (BINARY + "fairness: {attributes: [sex, sex]}\n", "fairness.attributes[1]: 'sex' is given twice"),
        (BINARY + "fairness: {favorable_outcome: 2}\n", "fairness.favorable_outcome: '2' is none of the classes '1', '0'"),
        (MULTICLASS + "fairness: {favorable_outcome: catt}\n", "'catt' is none of the classes 'cat', 'dog'; did you mean 'cat'?"),
        # drop and hash
        *[(text.replace("  id: prediction_id", f"  drop: [x, {column}]\n  id: prediction_id", 1), f"m.yaml:5: predictions.drop[1]: {column!r} is {use} and so can't be dropped")
          for text, column, use in [
            (BINARY, "prediction_id", "predictions.id"),
            (BINARY, "EVENT_TIME", "predictions.time"),
            (BINARY, "fraud_score", "predictions.score"),
            (MULTICLASS, "p_cat", "predictions.scores.cat"),
            (REGRESSION, "predicted", "predictions.prediction"),
            (BINARY + "features: {numeric: [n]}\n", "n", "a numeric feature"),
            (BINARY + "features: {categorical: [n]}\n", "n", "a categorical feature"),
            (BINARY + "features: {embedding: [n]}\n", "n", "an embedding"),
            (BINARY + "segments: [[m, n]]\n", "n", "a segment"),
            (BINARY + "fairness: {attributes: [n]}\n", "n", "a fairness attribute"),
        ]],
        (BINARY.replace("labels:", "  drop: [a]\n  hash: [A]\nlabels:"), "m.yaml:8: predictions.drop[0]: 'a' is in predictions.hash too; keep one"),
        (BINARY.replace("labels:", "  hash: [n]\nlabels:") + "features: {numeric: [n]}\n", "m.yaml:8: predictions.hash[0]: 'n' is a numeric feature, whose values are needed"),
        (BINARY.replace("labels:", "  hash: [event_time]\nlabels:"), "m.yaml:8: predictions.hash[0]: 'event_time' is predictions.time, whose values"),
        (BINARY.replace("labels:", "  drop: [a, a]\nlabels:"), "m.yaml:8: predictions.drop[1]: 'a' is given twice"),
        # monitors and policy
        (BINARY + "monitors: {windows: [12h]}\n", "m.yaml:13: monitors.windows[0]: 12h is not a whole number of days, at least 1d"),
        (BINARY + "monitors: {windows: [36h]}\n", "m.yaml:13: monitors.windows[0]: 36h is not a whole number of days"),
        (BINARY + "monitors: {windows: [7d, 1w]}\n", "m.yaml:13: monitors.windows[1]: 7d is given twice"),
        (BINARY + "monitors: {windows: []}\n", "monitors.windows: has 0 entries"),
        (BINARY + "monitors: {false_alarms_per_month: 0}\n", "monitors.false_alarms_per_month: '0' must be greater than 0"),
        (BINARY + "monitors: {overrides: [{metric: psi}]}\n", "monitors.overrides[0]: changes nothing; give warn or alert"),
        (BINARY + "monitors: {overrides: [{metric: psi, warn: 1}, {metric: psi, alert: 2}]}\n", "monitors.overrides[1]: is for the same metric"),
        (BINARY + "policy: {retrain: {mode: auto}}\n", "m.yaml:13: policy.retrain.entrypoint: is missing: mode auto needs"),
        (BINARY + "policy: {retrain: {entrypoint: os.system}}\n", "policy.retrain.entrypoint: 'os.system' is not of the form package.module:function"),
        (BINARY + "policy: {promote: {alpha: 1}}\n", "policy.promote.alpha: '1' must be less than 1"),
        (BINARY + "policy: {promote: {non_inferiority_margin: -1}}\n", "policy.promote.non_inferiority_margin: '-1' must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_a_contradiction_is_one_problem_at_its_place(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert said in problem


@pytest.mark.parametrize(
    "text",
    [
        BINARY.replace("labels:", "  subject: who\n  hash: [who, prediction_id, card]\n  drop: [note]\nlabels:"),
        BINARY.replace("labels:", "  hash: [city]\nlabels:") + "segments: [city]\n",
        BINARY.replace("labels:", "  arrived_at: event_time\nlabels:"),
        BINARY + "  mode: positives_only\n  maturity: 1h\n",
        BINARY + "features: {ranges: {amount: [0, null]}}\n",
        BINARY + "features: {numeric: [], ranges: {}}\n",
        BINARY + "segments: [a, [a, b], [b, c], [a, b, c]]\nfairness: {attributes: [a]}\n",
        BINARY + "policy: {retrain: {mode: auto, entrypoint: 'my_models.fraud:train'}}\n",
        BINARY + "monitors: {overrides: [{metric: psi, warn: 1}, {metric: psi, subject: a, warn: 1}]}\n",
        BINARY + "positive_class: fraud\nfairness: {favorable_outcome: genuine}\n",
        MULTICLASS + "fairness: {attributes: [sex]}\n",
    ],
)
def test_what_is_sensible_is_taken(text: str) -> None:
    assert problems(text) == []


def test_the_positive_class_is_favorable_unless_said_otherwise() -> None:
    assert parse(BINARY).fairness.favorable_outcome == "1"
    spec = parse(BINARY + "positive_class: repaid\nfairness: {attributes: [sex]}\n")
    assert spec.fairness.favorable_outcome == "repaid"
    assert spec.fairness.model_fields_set == {"attributes"}
    assert (
        parse(BINARY + "positive_class: repaid\nfairness: {favorable_outcome: other}\n").fairness.favorable_outcome
        == "other"
    )


def test_typed_values_of_another_reader_of_yaml_are_taken_where_they_are_safe() -> None:
    spec = ModelSpec.model_validate(
        keys(BINARY, positive_class=1, threshold=0.3, fairness={"attributes": ["s"], "reference_groups": {"s": 2}})
    )
    assert (spec.positive_class, spec.threshold, spec.fairness.reference_groups) == ("1", [0.3], {"s": "2"})
    assert ModelSpec.model_validate(keys(BINARY, positive_class=True)).positive_class == "true"
    scores = {0: "a", 1: "b"}
    assert ModelSpec.model_validate(keys(MULTICLASS, predictions={"scores": scores})).classes == ("0", "1")


@pytest.mark.parametrize(
    "more",
    [
        {"fairness": {"attributes": ["s"], "reference_groups": {"s": False}}},  # it was NO, perhaps
        {"labels": {"maturity": 45}},
        {"monitors": {"windows": [7]}},
        {"owner": 3},
    ],
)
def test_typed_values_that_may_have_meant_something_else_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(keys(BINARY, **more))


def test_a_contradiction_in_python_values_names_the_keys() -> None:
    with pytest.raises(ValidationError, match=r"predictions\.scores: is missing: task multiclass needs it"):
        ModelSpec.model_validate(keys(BINARY, task="multiclass"))


def test_a_spec_can_not_be_changed() -> None:
    spec = parse(BINARY)
    with pytest.raises(ValidationError):
        spec.model = "other"  # type: ignore[misc]
