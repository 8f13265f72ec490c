"""A night's numbers depend on what had arrived by its end, and on nothing else."""

from __future__ import annotations

import dataclasses
import datetime as dt
from functools import cache
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mlobs_pipelines.measure.night import measure_night, measure_nights
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.tables import METRICS, METRICS_KEY
from tests.measure.world import SCHEMA, day, label_facts, make_bins, make_profiles, make_rows, make_spec

KEY = [c for c in METRICS_KEY if c != "as_of"]
EVENTS = ("features", "outputs", "quality", "traffic", "intake")


@cache
def world(task: str = "binary") -> tuple[ModelSpec, pl.DataFrame, pl.DataFrame, dict[str, Any], Profiles]:
    spec, rows = make_spec(task), make_rows(task, days=34, per_day=50, seed=3)
    reference = make_rows(task, days=8, per_day=60, seed=1, reference=True)
    bins = make_bins(task, reference, spec)
    return spec, rows, reference, bins, make_profiles(spec, rows, label_facts(rows), reference, bins)


def changed(profiles: Profiles, condition: pl.Expr) -> Profiles:
    kept = {name: getattr(profiles, name).filter(condition) for name in EVENTS}
    return dataclasses.replace(profiles, **kept)


def few_groups(profiles: Profiles) -> Profiles:
    kept = pl.col("segment").is_in(["", "country=DE", "sex=F", "sex=M"]) & (pl.col("role") == "production")
    names = ("features", "outputs", "quality", "traffic")
    return dataclasses.replace(profiles, **{n: getattr(profiles, n).filter(kept) for n in names})


def night(profiles: Profiles, i: int, **spec_changes: Any) -> pl.DataFrame:
    spec, _, _, bins, _ = world()
    spec = spec.model_copy(update=spec_changes)
    return measure_night(profiles, spec, SCHEMA, bins, day(i), "run")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_several_nights_together_give_the_rows_of_each_alone(task: str) -> None:
    spec, _, _, bins, profiles = world(task)
    profiles = few_groups(profiles)
    dates = [day(i) for i in range(21, 29)]
    together = dict(measure_nights(profiles, spec, SCHEMA, bins, dates, "run"))
    assert list(together) == dates
    for i in (21, 22, 28):
        alone = measure_night(profiles, spec, SCHEMA, bins, day(i), "run")
        assert_frame_equal(together[day(i)], alone, check_exact=True)


def test_what_arrived_later_changes_nothing() -> None:
    *_, profiles = world()
    seen = changed(profiles, pl.col("arrival_date") <= day(25))
    assert_frame_equal(night(profiles, 25), night(seen, 25), check_exact=True)


def test_rows_may_come_in_any_order_and_in_pieces() -> None:
    *_, profiles = world()
    mixed = {}
    for name in EVENTS:
        frame = getattr(profiles, name).sample(fraction=1, shuffle=True, seed=5)
        mixed[name] = frame
    assert_frame_equal(night(profiles, 25), night(dataclasses.replace(profiles, **mixed), 25), check_exact=True)


def test_rows_about_days_of_no_window_are_not_needed() -> None:
    *_, profiles = world()
    tonight = pl.concat(
        [getattr(profiles, n).filter(pl.col("arrival_date") == day(33))["event_date"] for n in ("traffic", "outputs")]
    )
    spec = world()[0]
    first = min(tonight.min(), day(33 - spec.maturity_days))  # type: ignore[type-var]
    earliest = first - dt.timedelta(days=max(spec.monitors.window_days))  # type: ignore[operator]
    assert earliest < day(20)
    recent = changed(profiles, pl.col("event_date") >= earliest)
    assert_frame_equal(night(profiles, 33), night(recent, 33), check_exact=True)


def test_a_night_writes_the_windows_that_end_on_it_and_those_about_which_something_arrived() -> None:
    spec, rows, *_, profiles = world()
    production = pl.col("role") == "production"
    late_nights = rows.filter(production & (pl.col("arrival") > pl.col("event")) & (pl.col("arrival") > 24))["arrival"]
    tonight = int(late_nights.min())  # type: ignore[arg-type]
    frame = night(profiles, tonight)
    arrived = rows.filter((pl.col("arrival") == tonight) & (pl.col("event") < tonight))
    told = rows.filter(pl.col("labeled") & ~pl.col("failed") & (pl.col("label_arrival") == tonight))

    def windows(days: pl.Series) -> set[tuple[int, int]]:
        ends = {
            (e - length + 1, e)
            for length in spec.monitors.window_days
            for d in days
            for e in range(d, min(d + length, tonight))
        }
        return ends | {(tonight - length + 1, tonight) for length in spec.monitors.window_days}

    def stated(family: str, metric: str, **group: str) -> set[tuple[int, int]]:
        mine = frame.filter((pl.col("family") == family) & (pl.col("metric") == metric) & (pl.col("subject") == ""))
        for column, value in {"version": "", "role": "production", "segment": "", **group}.items():
            mine = mine.filter(pl.col(column) == value)
        pairs = mine.select("window_start", "window_end").iter_rows()
        return {((a - day(0)).days, (b - day(0)).days) for a, b in pairs}

    late, labels = arrived.filter(production)["event"], told.filter(production)["event"]
    assert late.len() > 0
    assert stated("traffic", "predictions") == windows(late)
    matured = {
        (tonight - spec.maturity_days - length + 1, tonight - spec.maturity_days)
        for length in spec.monitors.window_days
    }
    assert stated("performance", "roc_auc") == windows(pl.concat([late, labels])) | matured
    assert stated("performance", "selection_rate") == windows(late)
    assert stated("labels", "label_coverage") == windows(pl.concat([late, labels])) | matured
    french = production & (pl.col("country") == "FR") & (pl.col("version") == "2")
    both = pl.concat([arrived.filter(french)["event"], told.filter(french)["event"]])
    assert rows.filter(french & (pl.col("event") <= tonight - spec.maturity_days)).is_empty(), "nothing of it to mature"
    assert stated("performance", "recall", version="2", segment="country=FR") == windows(both)
    assert frame["as_of"].unique().to_list() == [day(tonight)]


def test_a_window_is_stated_once_more_on_the_night_its_labels_become_final() -> None:
    spec, *_, profiles = world()
    told = pl.col("arrival_date") < day(25)
    silent = changed(profiles, told)  # nothing arrives from then on
    frame = night(silent, 30)
    assert 30 - spec.maturity_days < 25
    matured = frame.filter(pl.col("window_end") == day(30 - spec.maturity_days))
    assert set(matured["family"]) >= {"performance", "calibration", "fairness", "labels"}
    assert "traffic" not in set(matured["family"])
    known = matured.filter((pl.col("metric") == "accuracy") & (pl.col("segment") == "") & pl.col("value").is_not_null())
    assert known.height > 0
    assert known["status"].unique().to_list() == ["ok"]


def test_the_last_word_on_a_window_is_what_measuring_it_at_the_end_gives() -> None:
    spec, _, _, bins, profiles = world()
    profiles = few_groups(profiles)
    frames = [f for _, f in measure_nights(profiles, spec, SCHEMA, bins, [day(i) for i in range(27, 42)], "run")]
    last = pl.concat(frames).sort("as_of").group_by(KEY, maintain_order=True).last()
    everything = dataclasses.replace(
        profiles,
        **{n: getattr(profiles, n).with_columns(arrival_date=pl.lit(day(27))) for n in EVENTS if n != "intake"},
    )
    final = night(everything, 27)
    told = pl.col("family").is_in(["performance", "calibration", "fairness", "drift", "traffic"])
    wanted = final.filter(told & (pl.col("window_end") == day(27)) & pl.col("value").is_not_null())
    both = wanted.join(last, on=KEY, how="left", suffix="_last")
    assert wanted.height > 300
    assert both.filter(pl.col("value_last").is_null() | (pl.col("value") != pl.col("value_last"))).is_empty()


def test_a_corrected_label_changes_exactly_what_it_should() -> None:
    spec, rows, reference, bins, profiles = world()
    facts = label_facts(rows)
    wanted = (pl.col("event") == 20) & pl.col("labeled") & ~pl.col("failed") & (pl.col("label_arrival") < 26)
    listed = rows.with_row_index("place").filter(wanted & (pl.col("role") == "production") & (pl.col("label") == "1"))
    place, version, country, device, sex = listed.select("place", "version", "country", "device", "sex").row(0)
    correction = [(place, 29, -1, "1"), (place, 29, 1, "0")]
    corrected = make_profiles(spec, rows, facts + correction, reference, bins)
    for i in (26, 28):
        assert_frame_equal(night(profiles, i), night(corrected, i), check_exact=True)
    before, after = night(profiles, 29), night(corrected, 29)
    columns = ["value", "lower", "upper", "rows", "labeled_rows", "status", "error_bound"]
    both = after.join(before, on=KEY, how="full", suffix="_before", coalesce=True)
    assert both.filter(pl.col("run_id").is_null()).is_empty(), "nothing is left unsaid"
    differs = pl.any_horizontal(~pl.col(c).eq_missing(pl.col(f"{c}_before")) for c in columns)
    touched = both.filter(differs & pl.col("run_id_before").is_not_null())
    assert set(touched["family"]) <= {"performance", "calibration", "fairness", "drift"}
    assert set(touched.filter(pl.col("family") == "drift")["subject"]) == {"label"}
    assert touched.filter((pl.col("window_start") > day(20)) | (pl.col("window_end") < day(20))).is_empty()
    assert set(touched["version"]) <= {"", version} and set(touched["role"]) == {"production"}
    mine = {"", f"country={country}", f"country={country} & device={device}", f"sex={sex}"}
    # a gap between groups is also the other group's: nothing else of it changes
    assert set(touched["segment"]) <= mine
    assert not touched.filter(
        pl.col("metric").is_in(["selection_rate", "demographic_parity_difference", "disparate_impact"])
    ).height
    base = touched.filter((pl.col("metric") == "base_rate") & (pl.col("segment") == "") & (pl.col("version") == ""))
    assert base.height > 0
    for row in base.iter_rows(named=True):
        assert row["value_before"] - row["value"] == pytest.approx(1 / row["labeled_rows"])
        assert row["labeled_rows"] == row["labeled_rows_before"]
    again = measure_night(corrected, spec, SCHEMA, bins, day(30), "run")
    plain = measure_night(profiles, spec, SCHEMA, bins, day(30), "run")
    changed_rows = again.join(plain, on=KEY, suffix="_before").filter(
        ~pl.col("value").eq_missing(pl.col("value_before"))
    )
    assert changed_rows.height > 0 and (changed_rows["window_start"] <= day(20)).all()


def test_a_single_version_is_written_as_all_versions_and_as_itself() -> None:
    *_, profiles = world()
    frame = night(profiles, 15)
    numbers = [c for c in METRICS.names() if c not in ("version", "value")]
    whole, own = (
        frame.filter((pl.col("version") == v) & (pl.col("subject") != "label")).select(
            KEY[0], *KEY[2:], "value", *numbers[8:]
        )
        for v in ("", "1")
    )
    assert own.height > 500
    matched = own.join(whole, on=[k for k in KEY if k != "version"], how="left", suffix="_whole")
    alike = matched.filter(pl.col("metric") != "traffic_share")
    assert alike.filter(~pl.col("value").eq_missing(pl.col("value_whole"))).is_empty()
    share = frame.filter((pl.col("metric") == "traffic_share") & (pl.col("segment") == "") & (pl.col("version") == "1"))
    assert share["value"].drop_nulls().unique().to_list() == [1.0]


def test_before_the_bins_are_frozen_drift_is_unknown_and_all_else_works() -> None:
    spec, _, _, bins, profiles = world()
    later = {**bins, "frozen_on": day(30).isoformat(), "reference": "onboarding"}
    frame = measure_night(profiles, spec, SCHEMA, later, day(25), "run")
    drift = frame.filter(pl.col("family") == "drift")
    assert drift.height > 0 and drift["status"].unique().to_list() == ["insufficient_data"]
    unseen = frame.filter(pl.col("metric") == "unseen_rate")
    assert unseen.height > 0 and unseen["value"].null_count() == unseen.height
    assert (
        frame["baseline"].null_count()
        == frame.filter(pl.col("metric") != "reliability").height
        + frame.filter((pl.col("metric") == "reliability") & pl.col("baseline").is_null()).height
    )
    assert frame["reference"].unique().to_list() == [""]
    assert frame.filter((pl.col("metric") == "roc_auc") & pl.col("value").is_not_null()).height > 0
    both = dict(measure_nights(profiles, spec, SCHEMA, later, [day(25), day(30)], "run"))
    assert_frame_equal(both[day(25)], frame, check_exact=True)
    assert both[day(30)]["reference"].unique().to_list() == ["onboarding"]
    assert both[day(30)].filter((pl.col("family") == "drift") & (pl.col("status") == "ok")).height > 0


def test_a_night_on_which_nothing_came_says_so() -> None:
    spec, _, _, bins, profiles = world()
    empty = Profiles(*(pl.DataFrame() for _ in range(8)))
    for frozen in (bins, None):
        frame = measure_night(empty, spec, SCHEMA, frozen, day(5), "run")
        assert frame.schema == METRICS
        counts = frame.filter(pl.col("metric") == "predictions")
        assert counts["value"].to_list() == [0.0] * 3 and counts["role"].unique().to_list() == ["production"]
        others = frame.filter(pl.col("metric") != "predictions")
        assert others["status"].unique().to_list() == ["insufficient_data"]
    silent = changed(profiles, pl.col("arrival_date") < day(30))
    frame = night(silent, 31)
    zero = frame.filter(
        (pl.col("metric") == "predictions") & (pl.col("window_start") == day(31)) & (pl.col("segment") == "")
    )
    assert set(zero["value"]) == {0.0} and {"", "1", "2"} <= set(zero["version"])


def test_a_model_without_labels_has_no_rows_that_rest_on_them() -> None:
    spec, _, _, bins, profiles = world()
    frame = measure_night(profiles, spec.model_copy(update={"labels": None}), SCHEMA, bins, day(30), "run")
    assert set(frame["family"]) == {"traffic", "service", "quality", "drift", "performance", "fairness"}
    assert set(frame.filter(pl.col("family") == "performance")["metric"]) == {"selection_rate"}
    assert "label" not in set(frame["subject"])


def test_hostile_names_of_segments_are_only_text() -> None:
    *_, profiles = world()
    name = "country=D\"E'; DROP TABLE x; -- <b> & device=\u2603"
    renamed = {
        n: getattr(profiles, n).with_columns(segment=pl.col("segment").replace("country=DE", name))
        for n in ("features", "outputs", "quality", "traffic")
    }
    frame = night(dataclasses.replace(profiles, **renamed), 30)
    plain = night(profiles, 30)
    assert frame.filter(pl.col("segment") == name).height == plain.filter(pl.col("segment") == "country=DE").height > 0
