"""From signals to incidents: opened when it is sure, one for each cause and segment, closed when it is over."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from mlobs_pipelines.judge.findings import related
from tests.judge.series import auc, day, drift, ends, judged, missing, number, spec_of, story

USUAL = [0.01] * 10


def mean(night, value, baseline, **more):
    return number(night, "quality", "mean", value, error=value / 50, baseline=baseline, subject="amount", **more)


def spread(night, value, baseline, **more):
    return number(
        night, "quality", "standard_deviation", value, error=None, baseline=baseline, subject="amount", **more
    )


def test_a_doubtful_breach_opens_on_the_second_of_three_nights():
    judgements = story([*USUAL, 0.08, 0.01, 0.08])
    assert [j.incidents.height for j in judgements[10:]] == [0, 0, 1]
    assert judgements[-1].incidents["since"].to_list() == [day(10)]


def test_an_unmistakable_breach_opens_on_the_first_night():
    (incident,) = story([*USUAL, 0.9])[-1].incidents.iter_rows(named=True)
    assert (incident["opened_as_of"], incident["since"], incident["state"]) == (day(10), day(10), "open")
    assert (incident["kind"], incident["subject"], incident["recommended_action"]) == (
        "data_fault",
        "amount",
        "fix_data",
    )
    assert incident["baseline"] == pytest.approx(0.01)
    assert incident["value"] == pytest.approx(0.9)
    assert incident["lower"] < 0.9 < incident["upper"]
    assert incident["rows"] == 1000


def test_it_is_over_after_two_clear_nights_and_says_until_when_it_lasted():
    (incident,) = ends(story([*USUAL, 0.9, 0.9, 0.01, 0.01, 0.01])).iter_rows(named=True)
    assert (incident["state"], incident["until"], incident["resolved_as_of"]) == ("resolved", day(11), day(13))
    assert incident["nights"] == 2


def test_a_level_between_clear_and_breach_keeps_an_incident_open():
    judgements = story([*USUAL, 0.9, *[0.045] * 6])
    assert judgements[-1].incidents["state"].to_list() == ["open"]
    assert not judgements[-1].signals["breach"].any()


def test_missing_data_keep_the_state():
    judgements = story([*USUAL, 0.9, None, None, None, None])
    assert judgements[-1].incidents["state"].to_list() == ["open"]
    gone = judged([*((i, [missing(i, v)]) for i, v in enumerate([*USUAL, 0.9])), *((i, []) for i in range(11, 15))])
    assert gone[-1].incidents["state"].to_list() == ["open"]


def test_what_comes_back_within_a_week_is_the_same_incident_and_later_another():
    soon = ends(story([*USUAL, 0.9, *[0.01] * 4, 0.9]))
    late = ends(story([*USUAL, 0.9, *[0.01] * 14, 0.9]))
    assert soon.height == 1
    assert soon["state"].to_list() == ["open"]
    assert late.height == 2
    assert late["dedup_key"].n_unique() == 1


def test_trouble_in_one_segment_is_placed_there_and_its_dilution_is_no_incident_of_its_own():
    def rows(night):
        off = night >= 10
        by_country = {"NL": 0.9 if off else 0.01, "DE": 0.01, "FR": 0.01}
        whole = sum(by_country.values()) / 3
        cuts = [missing(night, v, segment=f"country={c}", rows=333) for c, v in by_country.items()]
        devices = [missing(night, whole, segment=f"device={d}", rows=500) for d in ("ios", "web")]
        return [missing(night, whole), *cuts, *devices]

    (incident,) = ends(judged([(n, rows(n)) for n in range(14)])).iter_rows(named=True)
    assert incident["segment"] == "country=NL"
    absorbed = {s["segment"] for s in json.loads(incident["evidence"])["absorbed"]}
    assert absorbed == {"", "device=ios", "device=web"}


def test_two_segments_with_troubles_of_their_own_are_two_incidents():
    def rows(night):
        nl, de = (0.9 if night >= 10 else 0.01), (0.9 if night >= 13 else 0.01)
        return [missing(night, v, segment=f"country={c}", rows=100) for c, v in (("NL", nl), ("DE", de), ("FR", 0.01))]

    found = ends(judged([(n, rows(n)) for n in range(12)]))
    assert found["segment"].to_list() == ["country=NL"]


def test_inputs_that_break_on_one_night_are_one_incident():
    def rows(night):
        return [missing(night, 0.9 if night >= 10 else 0.01, subject=s) for s in ("c", "a", "b")]

    (incident,) = ends(judged([(n, rows(n)) for n in range(12)])).iter_rows(named=True)
    assert incident["subject"] == "a, b, c"
    assert incident["title"].startswith("a, b, c is missing on 90 %")


def test_a_broken_input_silences_what_it_causes_also_when_labels_tell_of_it_weeks_later():
    def rows(night):
        broken, told = 10 <= night < 14, 17 <= night < 24
        return [
            missing(night, 0.9 if broken else 0.01),
            drift(night, 0.5 if broken else 0.05, subject="score"),
            auc(night, 0.7 if told else 0.9),
        ]

    (incident,) = ends(judged([(n, rows(n)) for n in range(28)])).iter_rows(named=True)
    assert (incident["kind"], incident["state"]) == ("data_fault", "resolved")
    absorbed = {(s["metric"], s["subject"]) for s in json.loads(incident["evidence"])["absorbed"]}
    assert absorbed == {("jensen_shannon", "score"), ("roc_auc", "")}


def test_a_broken_input_in_one_country_hides_nothing_in_another():
    def rows(night):
        off, told = night >= 10, night >= 12
        countries = [
            missing(night, 0.9 if off and c == "NL" else 0.01, segment=f"country={c}", rows=300) for c in ("NL", "ES")
        ]
        areas = [auc(night, 0.6 if told and c == "ES" else 0.9, segment=f"country={c}", rows=300) for c in ("NL", "ES")]
        return [*countries, *areas, missing(night, 0.3 if off else 0.01, rows=1000), auc(night, 0.89, rows=1000)]

    found = ends(judged([(n, rows(n)) for n in range(15)]))
    assert sorted(zip(found["kind"], found["segment"], strict=True)) == [
        ("concept_drift", "country=ES"),
        ("data_fault", "country=NL"),
    ]


@pytest.mark.parametrize(
    ("factor", "wider", "says"),
    [(100, 100, "100 times"), (0.001, 0.001, "1/1000 of"), (100, 1, None), (1.4, 1.4, None)],
)
def test_another_unit_is_told_by_mean_and_spread_together(factor, wider, says):
    def rows(night):
        off = night >= 10
        m, s = 80.0 * (factor if off else 1), 50.0 * (wider if off else 1)
        return [drift(night, 0.4 if off else 0.05), mean(night, m, 80.0), spread(night, s, 50.0)]

    (incident,) = ends(judged([(n, rows(n)) for n in range(12)])).iter_rows(named=True)
    assert (incident["kind"] == "data_fault") == (says is not None)
    assert (says in incident["title"]) if says else ("distributed differently" in incident["title"])
    assert incident["opened_as_of"] == (day(10) if says else day(11)), "another unit is sure on the first night"


def test_a_drift_that_harms_nothing_is_only_info():
    (incident,) = ends(story([0.05] * 10 + [0.3] * 3, drift)).iter_rows(named=True)
    assert (incident["kind"], incident["severity"], incident["recommended_action"]) == ("input_drift", "info", "hold")


def test_a_day_of_holiday_is_no_incident():
    assert ends(story([0.05] * 10 + [0.9] + [0.05] * 5, drift)).is_empty()


def test_a_groups_decisions_that_change_are_a_matter_of_fairness_and_no_model_mends_them():
    def rows(night):
        gap = 0.2 if night >= 10 else 0.01
        return [
            number(night, "fairness", "demographic_parity_difference", gap, subject="sex", segment="sex=F"),
            drift(night, 0.4 if night >= 10 else 0.05, subject="prediction"),
        ]

    (incident,) = ends(judged([(n, rows(n)) for n in range(13)])).iter_rows(named=True)
    assert (incident["kind"], incident["subject"], incident["segment"]) == ("fairness", "sex", "sex=F")
    assert incident["recommended_action"] == "alert"


def test_predictions_that_stop_are_critical_and_a_flood_is_a_warning():
    def count(values):
        return ends(judged([(n, [number(n, "traffic", "predictions", v, error=None)]) for n, v in enumerate(values)]))

    (silence,) = count([1000.0] * 10 + [0.0]).iter_rows(named=True)
    (flood,) = count([1000.0] * 10 + [9000.0]).iter_rows(named=True)
    assert (silence["kind"], silence["severity"]) == ("volume", "critical")
    assert (flood["kind"], flood["severity"]) == ("volume", "warning")


def test_what_began_on_the_same_day_is_named_beside_it():
    def rows(night):
        off = night >= 10
        sent_twice = number(night, "quality", "duplicate_rate", 0.5 if off else 0.0, error=0.002, baseline=None)
        return [missing(night, 1.0 if off else 0.01), sent_twice]

    found = ends(judged([(n, rows(n)) for n in range(12)]))
    (gone,) = found.filter(pl.col("subject") == "amount").iter_rows(named=True)
    beside = json.loads(gone["evidence"])["same_time"]
    assert [c["what"] for c in beside] == ["intake", "schema"]
    assert "amount is not delivered any more" in gone["diagnosis"]


def served_by(changes):
    """Profiles of days on which versions took over: {day number: version}."""

    def profile_of(first, last):
        rows = []
        for n in range(120):
            version = changes[max(start for start in changes if start <= n)]
            cell = {"role": "production", "version": version, "feature": "amount", "segment": "", "bin": n % 3}
            sums_of = {"rows": 400, "labeled": 400, "loss": 4000, "score": 400}
            rows.append({"event_date": day(n), **cell, **sums_of})
        return pl.DataFrame(rows).filter(pl.col("event_date").is_between(first, last))

    return profile_of


@pytest.mark.parametrize(
    ("took_over", "action"),
    [(40, "roll_back"), (36, "roll_back"), (20, "retrain"), (50, "retrain"), (44, "retrain")],
)
def test_only_a_version_that_took_over_when_the_trouble_began_is_rolled_back(took_over, action):
    nights = [(n, [auc(n, 0.9 if n - 7 < 40 else 0.75 - 0.002 * n)]) for n in range(80)]
    judgements = judged(nights, profile_of=served_by({0: "1", took_over: "2"}))
    said = [
        i["recommended_action"] for j in judgements for i in j.incidents.iter_rows(named=True) if i["state"] == "open"
    ]
    assert len(said) > 28
    assert set(said) == {action}


def test_severity_rises_and_never_falls():
    judgements = story([*USUAL, 0.09, 0.09, 0.9, 0.09])
    assert [j.incidents["severity"].to_list() for j in judgements[11:]] == [["warning"], ["critical"], ["critical"]]


SEGMENTS = ("", "country=NL", "country=DE", "device=ios", "country=NL & device=ios")


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("", "country=NL", True),
        ("country=NL", "country=DE", False),
        ("country=NL", "device=ios", True),
        ("country=NL & device=ios", "country=NL", True),
        ("country=NL & device=ios", "device=web", False),
    ],
)
def test_segments_are_related_unless_they_give_a_field_two_values(one, other, overlap):
    assert related(one, other) is overlap
    assert related(other, one) is overlap


level = st.sampled_from([None, 0.01, 0.012, 0.03, 0.08, 0.3, 0.95])
nights = st.lists(
    st.tuples(st.integers(1, 3), st.fixed_dictionaries({(f, s): level for f in ("amount", "age") for s in SEGMENTS})),
    min_size=3,
    max_size=12,
)


def told(sequence):
    """Random nights, some of them left out, as rows."""
    night, found = (
        9,
        [(n, [missing(n, 0.01, subject=f, segment=s) for f in ("amount", "age") for s in SEGMENTS]) for n in range(10)],
    )
    for gap, levels in sequence:
        night += gap
        found.append((night, [missing(night, v, subject=f, segment=s) for (f, s), v in levels.items()]))
    return found


@settings(max_examples=12, deadline=None, derandomize=True)
@given(nights)
def test_judging_any_nights_again_gives_the_same_incidents(sequence):
    rows = told(sequence)
    once, again = judged(rows), judged(rows)
    for one, other in zip(once, again, strict=True):
        assert one.incidents.equals(other.incidents)
        assert one.causes.equals(other.causes)
    shuffled = [(night, list(reversed(of_night))) for night, of_night in rows]
    for one, other in zip(once, judged(shuffled), strict=True):
        assert one.incidents.equals(other.incidents), "the order of rows within a night makes no difference"


@settings(max_examples=20, deadline=None, derandomize=True)
@given(nights)
def test_whatever_comes_an_incident_has_one_name_one_life_and_its_own_place(sequence):
    judgements = judged(told(sequence))
    lives: dict[str, list[dict]] = {}
    for judgement in judgements:
        rows = judgement.incidents.to_dicts()
        assert len({r["incident_id"] for r in rows}) == len(rows)
        running = [r for r in rows if r["state"] == "open"]
        assert len({r["dedup_key"] for r in running}) == len(running), "never two of one trouble at once"
        for row in rows:
            lives.setdefault(row["incident_id"], []).append(row)
    for rows in lives.values():
        for name in ("opened_as_of", "segment", "dedup_key", "since"):
            assert len({r[name] for r in rows}) == 1, f"{name} never changes"
        ranks = [("info", "warning", "critical").index(r["severity"]) for r in rows]
        assert ranks == sorted(ranks)
        for row in rows:
            assert row["since"] <= row["opened_as_of"] <= row["last_as_of"] <= row["as_of"]
            assert (row["state"] == "resolved") == (row["resolved_as_of"] is not None)
            assert json.loads(row["evidence"])["members"]


def test_the_future_changes_nothing_that_was_said():
    values = [*USUAL, 0.9, 0.9, 0.02, 0.01, 0.01, 0.4, 0.4]
    whole, part = story(values), story(values[:13])
    for one, other in zip(whole, part, strict=False):
        assert one.incidents.equals(other.incidents)


def test_hostile_names_are_told_as_they_are():
    hostile = "<script>alert(1)</script> & country='; --=x"
    judgements = judged(
        [(n, [missing(n, 0.9 if n >= 10 else 0.01, subject=hostile, segment=hostile)]) for n in range(12)], spec_of()
    )
    (incident,) = ends(judgements).iter_rows(named=True)
    assert (incident["subject"], incident["segment"]) == (hostile, hostile)
    assert pl.DataFrame([json.loads(incident["evidence"])["members"][0]])["subject"].item() == hostile
