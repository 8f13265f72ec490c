"""Profiles are the rows, counted."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss

from mlobs_pipelines.profile import night as profile_night
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.store.layout import Home
from tests.profile.lake import HOSTILE, night, write_lake

TABLES = ("feature_profile", "output_profile", "quality_profile", "traffic_profile")
TASKS = ("binary", "multiclass", "regression")
NIGHTS = 29


def profiles(home: Home) -> dict[str, pl.DataFrame]:
    return {t: pl.read_parquet(home.lake("m") / t / "*.parquet") for t in TABLES}


def contents(home: Home) -> dict[str, list[tuple[object, ...]]]:
    found = {t: sorted(map(repr, f.iter_rows())) for t, f in profiles(home).items()}
    for path in sorted((home.lake("m") / "reference").glob("*.parquet")):
        found[path.name] = sorted(map(repr, pl.read_parquet(path).iter_rows()))
    found["bins"] = [home.bins_file("m").read_text()]
    return found


@pytest.fixture(scope="module", params=TASKS)
def world(request, tmp_path_factory):
    home, spec, rows, facts = write_lake(tmp_path_factory.mktemp("lake"), request.param, NIGHTS)
    profile_nights(home, spec, [night(i) for i in range(NIGHTS)])
    return home, spec, rows, facts


def whole(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("segment") == "")


def test_every_accepted_row_and_every_label_fact_is_counted_once_per_feature_and_output(world):
    home, spec, rows, facts = world
    served = rows.filter(~pl.col("failed"))
    features = whole(profiles(home)["feature_profile"]).group_by("feature").agg(pl.col("rows", "labeled").sum())
    assert features.height == 3
    assert features["rows"].unique().to_list() == [served.height]
    assert features["labeled"].unique().to_list() == [facts["sign"].sum()]
    main = {"binary": "score", "multiclass": "prediction", "regression": "prediction"}[spec.task]
    output = whole(profiles(home)["output_profile"]).filter(pl.col("output") == main)
    assert output["rows"].sum() == served.height
    assert output["labeled"].sum() == facts["sign"].sum()
    assert whole(profiles(home)["traffic_profile"])["rows"].sum() == rows.height
    assert whole(profiles(home)["traffic_profile"])["failed"].sum() == rows["failed"].sum()


def test_numeric_bins_count_the_edges_at_or_below_a_value_and_keep_the_sums_of_values(world):
    home, _, rows, _ = world
    frozen = json.loads(home.bins_file("m").read_text())["features"]["amount"]
    served = rows.filter(~pl.col("failed"))
    values = served["f_amount"].drop_nulls().to_numpy()
    expected = np.bincount(np.searchsorted(frozen["edges"], values, side="right"), minlength=len(frozen["edges"]) + 1)
    profile = whole(profiles(home)["feature_profile"]).filter(pl.col("feature") == "amount")
    counted = dict(profile.group_by("bin").agg(pl.col("rows").sum()).iter_rows())
    for number, count in enumerate(expected):
        assert counted.get(number, 0) == count
    invalid = served["invalid_fields"].is_not_null().sum()
    assert counted[-2] == invalid
    assert counted[-1] == served["f_amount"].is_null().sum() - invalid
    total = profile["value"].sum() / 2**20 * frozen["unit"] + frozen["center"] * len(values)
    assert total == pytest.approx(values.sum(), rel=1e-6)


def test_segments_sum_to_the_whole_and_name_missing_and_unadmitted_values(world):
    home, _, rows, _ = world
    for table in TABLES:
        frame = profiles(home)[table]
        one = frame.filter(pl.col("segment").str.starts_with("country=") & ~pl.col("segment").str.contains(" & "))
        crossed = frame.filter(pl.col("segment").str.contains(" & "))
        assert one["rows"].sum() == crossed["rows"].sum() == whole(frame)["rows"].sum()
    traffic = profiles(home)["traffic_profile"]
    by_segment = dict(traffic.group_by("segment").agg(pl.col("rows").sum()).iter_rows())
    assert by_segment["country=(missing)"] == rows["f_country"].is_null().sum()
    assert by_segment["country=(other)"] == (rows["f_country"] == "IT").sum()
    inside = (rows["f_country"] == "DE") & (rows[f"f_{HOSTILE}"] == "O'Brien")
    assert by_segment[f"country=DE & {HOSTILE}=O'Brien"] == inside.sum()


def test_losses_are_exact_to_the_fixed_point(world):
    home, spec, rows, facts = world
    keys = ["prediction_id", "version", "role"]
    labelled = facts.drop("event_date", "arrival_date").join(rows, on=keys)
    sign = labelled["sign"].to_numpy()
    output = whole(profiles(home)["output_profile"])
    if spec.task == "binary":
        y, p = (labelled["label"] == "1").to_numpy(), labelled["score"].to_numpy()
        gained, withdrawn = (log_loss(y[sign == s], p[sign == s], normalize=False) for s in (1, -1))
        loss = gained - withdrawn
        assert output["loss"].sum() / 2**30 == pytest.approx(loss, abs=1e-5)
        assert output["brier"].sum() / 2**30 == pytest.approx((sign * (p - y) ** 2).sum(), abs=1e-5)
        selected = p >= 0.5
        assert output["positives_selected"].sum() == (sign * (y & selected)).sum()
    elif spec.task == "multiclass":
        right = (labelled["label"] == labelled["prediction"]).to_numpy()
        assert output["correct"].sum() == (sign * right).sum()
        confusion = output.filter(pl.col("output") == "confusion")
        unknown = confusion.filter(pl.col("bin") // 4 == 3)["labeled"].sum()
        assert unknown == (sign * (labelled["label"] == "yak").to_numpy()).sum()
        share = np.select(
            [(labelled["label"] == c).to_numpy() for c in spec.classes],
            [labelled[f"score_{k}"].to_numpy() for k in range(3)],
            0.0,
        )
        loss = (sign * -np.log(np.clip(share, 2.0**-52, 1))).sum()
        assert output["loss"].sum() / 2**30 == pytest.approx(loss, abs=1e-4)
    else:
        unit = json.loads(home.bins_file("m").read_text())["outputs"]["error"]["unit"]
        error = (labelled["prediction"] - labelled["label"].cast(pl.Float64)).to_numpy()
        assert output["error_sq"].sum() / 2**20 * unit**2 == pytest.approx((sign * error**2).sum(), rel=1e-5)
        assert output["error_abs"].sum() / 2**20 * unit == pytest.approx((sign * abs(error)).sum(), rel=1e-5)


def test_quality_counts_missing_invalid_and_out_of_range_apart(world):
    home, _, rows, _ = world
    served = rows.filter(~pl.col("failed"))
    quality = whole(profiles(home)["quality_profile"]).filter(pl.col("feature") == "amount")
    outside = (served["f_amount"] < 1) | (served["f_amount"] > 100)
    assert quality["out_of_range"].sum() == outside.sum()
    assert quality["missing"].sum() + quality["invalid"].sum() == served["f_amount"].is_null().sum()
    assert quality["invalid"].sum() == served["invalid_fields"].is_not_null().sum()


def test_nights_in_any_parts_again_and_on_one_thread_give_the_same_bits(world, tmp_path: Path, monkeypatch):
    home, spec, _, _ = world
    other = Home(tmp_path / "other")
    shutil.copytree(home.root, other.root, ignore=shutil.ignore_patterns(*TABLES, "reference", "bins.json"))
    monkeypatch.setenv("MLOBS_THREADS", "1")
    for part in (range(1), range(1, 20), range(20, 27), range(27, 28), range(28, 29)):
        profile_nights(other, spec, [night(i) for i in part])
    profile_nights(other, spec, [night(NIGHTS - 1)])
    assert contents(other) == contents(home)


@pytest.mark.parametrize(("most", "of"), [("BATCH_ROWS", "facts"), ("BATCH_DAYS", "days")])
def test_nights_are_profiled_together_up_to_a_number_of_facts_and_of_days_that_they_are_about(
    world, monkeypatch, most, of
):
    home, spec, rows, facts = world
    nights = [night(i) for i in range(NIGHTS)]

    def size(some):
        told = facts.filter(pl.col("arrival_date").is_in(some))
        if of == "facts":
            return told.height + rows.filter(pl.col("arrival_date").is_in(some)).height
        return len(some) + told.select("arrival_date", "event_date").n_unique()

    limit = 3 * max(size([one]) for one in nights)
    monkeypatch.setattr(profile_night, "BATCH_ROWS", 10**9)
    monkeypatch.setattr(profile_night, "BATCH_DAYS", 10**9)
    assert list(profile_night.together(home, spec, nights)) == [nights]
    monkeypatch.setattr(profile_night, most, limit)
    found = list(profile_night.together(home, spec, nights))
    assert [one for some in found for one in some] == nights
    assert all(size(some) <= limit for some in found)
    assert all(size([*some, then[0]]) > limit for some, then in itertools.pairwise(found))
    monkeypatch.setattr(profile_night, most, 1)
    assert list(profile_night.together(home, spec, nights)) == [[one] for one in nights]


def test_features_wait_for_the_reference_and_outputs_do_not(tmp_path: Path):
    home, spec, _, _ = write_lake(tmp_path, "binary", 28)
    profile_nights(home, spec, [night(i) for i in range(27)])
    early = read_bins(home.bins_file("m"))
    assert early is not None
    assert early["frozen_on"] is None
    assert profiles(home)["feature_profile"].height == 0
    assert profiles(home)["output_profile"]["labeled"].sum() > 0
    profile_nights(home, spec, [night(27)])
    frozen = read_bins(home.bins_file("m"))
    assert frozen is not None
    assert frozen["frozen_on"] == "2026-01-28"
    assert frozen["reference"] == "onboarding"
    assert profiles(home)["feature_profile"]["arrival_date"].n_unique() == 28


def test_killed_on_the_night_that_freezes_the_bins_and_run_again_profiles_the_nights_before_it_too(
    tmp_path: Path, monkeypatch
):
    home, spec, _, _ = write_lake(tmp_path / "home", "binary", 28)
    profile_nights(home, spec, [night(i) for i in range(27)])
    killed = Home(tmp_path / "killed")
    shutil.copytree(home.root, killed.root)
    profile_nights(home, spec, [night(27)])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(profile_night, "count", die)
        with pytest.raises(KeyboardInterrupt):
            profile_nights(killed, spec, [night(27)])
    profile_nights(killed, spec, [night(27)])
    assert contents(killed) == contents(home)


def test_a_model_without_rows_has_empty_profiles(tmp_path: Path):
    home, spec, _, _ = write_lake(tmp_path, "binary", 1)
    home.schema_file("m").unlink()
    profile_nights(home, spec, [night(0)])
    assert all(frame.height == 0 for frame in profiles(home).values())
    assert profiles(home)["traffic_profile"].schema["arrival_date"] == pl.Date
    assert isinstance(night(0), dt.date)
