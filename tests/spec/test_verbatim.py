"""What is written is what is meant: no YAML guess changes a group, a class, a column or a version."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.spec.language import BINARY, MULTICLASS, parse, problems

GUESSES = ["NO", "no", "yes", "on", "y", "None", "010", "0x1F", "1e3", "1_000", "12:30:45", "2024-01-01", "3", "1.10", ".5",
           "true", "NULL", "nan", ".inf", "=", "0o7", "+1", "1.0"]  # fmt: skip


@pytest.mark.parametrize("written", GUESSES)
def test_a_group_stays_as_written(written: str) -> None:
    spec = parse(f"{BINARY}fairness: {{attributes: [sex], reference_groups: {{sex: {written}}}}}\n")
    assert spec.fairness.reference_groups == {"sex": written}


@pytest.mark.parametrize("written", GUESSES)
def test_a_column_stays_as_written(written: str) -> None:
    assert parse(BINARY + f"segments: [{written}]\n").segments == [[written]]
    assert parse(BINARY.replace("event_time", written)).predictions.time == written


@pytest.mark.parametrize("written", ["1", "NO", "yes", "010", "1e3", "2024-01-01", "true", "None"])
def test_a_class_stays_as_written(written: str) -> None:
    assert parse(f"{BINARY}positive_class: {written}\n").positive_class == written
    assert parse(MULTICLASS.replace("cat", written)).classes == (written, "dog")


def test_classes_keep_the_order_of_the_file() -> None:
    assert parse(MULTICLASS.replace("{cat: p_cat, dog: p_dog}", "{b: x, 10: y, a: z, 2: w}")).classes == (
        "b",
        "10",
        "a",
        "2",
    )


@pytest.mark.parametrize("written", ["null", "~", ""])
def test_an_explicit_null_is_null(written: str) -> None:
    assert parse(f"{BINARY}owner: {written}\n").owner is None


@pytest.mark.parametrize("written", ["'null'", '"~"', "NULL", "Null", "None"])
def test_quoted_or_otherwise_spelled_it_is_text(written: str) -> None:
    assert parse(f"{BINARY}owner: {written}\n").owner == written.strip("'\"")


def test_numbers_are_read_where_numbers_are_meant() -> None:
    spec = parse(BINARY + "threshold: [1e-3, .5]\nmonitors: {min_rows: 010, false_alarms_per_month: 2}\n")
    assert spec.threshold == [0.001, 0.5]
    assert (spec.monitors.min_rows, spec.monitors.false_alarms_per_month) == (10, 2.0)
    limits = parse(BINARY + "features: {numeric: [a], ranges: {a: [-1e6, null]}}\n").features.ranges
    assert limits == {"a": (-1_000_000.0, None)}


@pytest.mark.parametrize("written", ["yes", "nan", ".inf", "inf", "0x1F", "five"])
def test_what_is_no_finite_number_is_refused_where_a_number_is_meant(written: str) -> None:
    (problem,) = problems(f"{BINARY}monitors: {{false_alarms_per_month: {written}}}\n")
    assert problem.startswith("m.yaml:13: monitors.false_alarms_per_month: ")
    assert repr(written) in problem


@pytest.mark.parametrize(
    ("written", "duration"),
    [
        ("45d", dt.timedelta(days=45)),
        ("12h", dt.timedelta(hours=12)),
        ("1.5h", dt.timedelta(minutes=90)),
        ("30m", dt.timedelta(minutes=30)),
        ("90s", dt.timedelta(seconds=90)),
        ("2w", dt.timedelta(weeks=2)),
        ("0d", dt.timedelta(0)),
        ("0.000001s", dt.timedelta(microseconds=1)),
    ],
)
def test_durations_are_read(written: str, duration: dt.timedelta) -> None:
    labels = parse(BINARY + f"  maturity: {written}\n").labels
    assert labels is not None
    assert labels.maturity == duration


@pytest.mark.parametrize("written", ["45", "45 days", "P45D", "-1d", "1d12h", "d", "٤٥d", "999999999w", "1e3d"])
def test_other_durations_are_refused_with_an_example(written: str) -> None:
    (problem,) = problems(BINARY + f"  maturity: {written}\n")
    assert problem.startswith("m.yaml:13: labels.maturity: ")
    assert "write for example 45d" in problem or "too long" in problem


@pytest.mark.parametrize(
    "name", ['a"b', "it's", "; DROP TABLE x", "a b", "größe", "列", "../x", "<b>", "a.b", "a: b", "#x", " a"]
)
def test_a_column_may_be_named_anything(name: str) -> None:
    quoted = name.replace("'", "''")
    spec = parse(
        f"{BINARY}segments: ['{quoted}']\nfeatures: {{numeric: ['{quoted}'], ranges: {{'{quoted}': [0, 1]}}}}\n"
    )
    assert spec.segments == [[name]]
    assert spec.features.numeric == [name]
    assert spec.features.ranges == {name: (0, 1)}
