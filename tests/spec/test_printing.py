"""A printed spec reads back as the same spec, whatever it holds."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlobs_pipelines.spec import ModelSpec, defaults, parse_spec, to_yaml
from mlobs_pipelines.spec.values import format_duration, parse_duration
from tests.spec.language import BINARY, MULTICLASS, REGRESSION, parse
from tests.spec.test_contract import SHORTEST
from tests.spec.test_verbatim import GUESSES

hostile = st.sampled_from([*GUESSES, "${X}", "$${X}", "${", "a${b}c$", "null", "~", "- a", "a: b", "# c", "'", '"', "\\", " a ", "a\tb", "[", "{", "|", ">", "@", "%", "*a", "&a", "!a", "\u2028x", "\x85x", "\ufeffa", "\x07", "ñ", "😀", "y" * 200, "two words " * 30])  # fmt: skip
texts = (hostile | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)).filter(
    str.strip
)
names = texts.filter(lambda t: len(t.splitlines()) == 1 and t.splitlines()[0] == t)
classes = names.filter(lambda t: t.lower() not in ("true", "false") and not t.replace("0", "").endswith("."))
durations = st.timedeltas(min_value=dt.timedelta(0), max_value=dt.timedelta(days=5000))
days = st.integers(1, 400).map(lambda n: dt.timedelta(days=n))
numbers = st.floats(allow_nan=False, allow_infinity=False)
limits = st.tuples(st.none() | numbers, st.none() | numbers).filter(
    lambda r: r != (None, None) and (None in r or r[0] <= r[1])
)


def maybe(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    """Any spec of any task: column names are all different, as the rules want them."""
    pool = iter(draw(st.lists(names, min_size=30, max_size=30, unique_by=str.lower)))

    def take(n: int = 3) -> list[str]:
        return [next(pool) for _ in range(draw(st.integers(0, n)))]

    task = draw(st.sampled_from(["binary", "multiclass", "regression"]))
    outputs: dict[str, Any] = {
        "binary": {"score": next(pool)},
        "multiclass": {"scores": {c: next(pool) for c in draw(st.lists(classes, min_size=2, max_size=4, unique=True))}},
        "regression": {"prediction": next(pool)},
    }[task]
    numeric, attributes = take(), take()
    keys: dict[str, Any] = {
        "model": draw(st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]{0,62}\Z")),
        "task": task,
        "predictions": {"source": draw(texts | st.lists(texts, min_size=1)), "id": next(pool), "time": next(pool), **outputs, "drop": take()},
        "features": {"numeric": numeric, "categorical": take(), "ranges": {n: draw(limits) for n in numeric}},
        "segments": [[name] for name in take()],
        "fairness": {"attributes": attributes, "reference_groups": {a: draw(texts) for a in attributes}},
        "monitors": draw(maybe(windows=st.lists(days, min_size=1, max_size=4, unique=True), false_alarms_per_month=st.floats(1e-9, 1e9), min_rows=st.integers(2, 10**9))),
        "policy": {"retrain": draw(maybe(cooldown=durations, mode=st.sampled_from(["off", "approve"]))), "promote": draw(maybe(metric=texts, alpha=st.floats(1e-9, 0.999)))},
        "registry": draw(maybe(name=texts, tracking_uri=texts)),
        "alerts": draw(st.lists(st.builds(dict, to=texts), max_size=2)),
        **draw(maybe(owner=texts, timezone=st.sampled_from(["UTC", "Asia/Kathmandu"]))),
    }  # fmt: skip
    if draw(st.booleans()):
        keys["labels"] = {"source": draw(texts), "id": next(pool), "value": next(pool), "available_at": next(pool), "maturity": draw(durations)}  # fmt: skip
    if task == "binary":
        keys |= draw(maybe(positive_class=classes, threshold=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=3, unique=True).map(sorted)))  # fmt: skip
    return ModelSpec.model_validate(keys)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(specs(), st.booleans())
def test_a_printed_spec_reads_back_the_same(spec: ModelSpec, show_defaults: bool) -> None:
    text = to_yaml(spec, show_defaults=show_defaults)
    again = parse_spec(text, file="m.yaml", environment={})
    assert again == spec
    assert to_yaml(again, show_defaults=show_defaults) == text


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(specs())
def test_any_other_reader_of_yaml_reads_the_same_spec(spec: ModelSpec) -> None:
    keys = yaml.safe_load(to_yaml(spec, show_defaults=False).replace("$${", "${"))
    assert ModelSpec.model_validate(keys) == spec


@given(durations)
def test_a_printed_duration_reads_back_the_same(duration: dt.timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("written", "printed"),
    [("45d", "45d"), ("2w", "14d"), ("36h", "36h"), ("90m", "90m"), ("1.5s", "1.5s"), ("0s", "0d")],
)
def test_durations_are_printed_short(written: str, printed: str) -> None:
    assert format_duration(parse_duration(written)) == printed  # type: ignore[arg-type]


def test_without_defaults_it_is_what_the_file_said() -> None:
    spec = parse(SHORTEST + "threshold: 0.5\nsegments: [country, [country, device]]\nmonitors: {windows: [1d, 2w]}\n")
    assert (
        to_yaml(spec, show_defaults=False)
        == """\
model: card_fraud
task: binary
predictions:
  source: data/predictions/*.parquet
  id: prediction_id
  time: event_time
  score: fraud_score
labels:
  source: data/labels/*.parquet
  id: prediction_id
  value: is_fraud
  available_at: reported_at
threshold: 0.5
segments: [country, [country, device]]
monitors:
  windows: [1d, 14d]
"""
    )


@pytest.mark.parametrize("text", [BINARY, MULTICLASS, REGRESSION])
def test_with_defaults_every_key_of_the_task_is_there_and_no_other(text: str) -> None:
    spec = parse(text)
    printed = to_yaml(spec, show_defaults=True)
    assert parse(printed) == spec
    assert defaults(parse(printed)) == {}
    for key in (
        "timezone: UTC",
        "maturity: 0d",
        "windows: [1d, 7d, 28d]",
        "min_rows: 30",
        "non_inferiority_margin: 0.005",
    ):
        assert (key in printed) is (spec.labels is not None or "maturity" not in key)
    assert ("threshold: 0.5" in printed) is (spec.task == "binary")
