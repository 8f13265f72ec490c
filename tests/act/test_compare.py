"""Every metric of two versions on the same rows, the words for it, and one verdict with its guard rails."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from mlobs_pipelines.act.cohorts import groups_of, rows_in
from mlobs_pipelines.act.compare import DIRECTIONS, compare, verdict
from mlobs_pipelines.act.rows import RowsError
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics import paired
from mlobs_pipelines.store.tables import COMPARISONS

NIGHT = dt.date(2026, 3, 1)
FIRST = dt.date(2026, 2, 1)


def spec_of(task: str = "binary", margin: float = 0.005, metric: str | None = None, **more: Any) -> ModelSpec:
    says: dict[str, Mapping[str, Any]] = {
        "binary": {"score": "s"},
        "multiclass": {"scores": {"cat": "c", "dog": "d", "eel": "e"}},
        "regression": {"prediction": "p"},
    }
    return ModelSpec.model_validate(
        {
            "model": "m",
            "task": task,
            "predictions": {"source": "p", "id": "id", "time": "t", **says[task]},
            "labels": {"source": "l", "id": "id", "value": "y", "available_at": "at"},
            "policy": {"promote": {"non_inferiority_margin": margin, "metric": metric}},
            **more,
        }
    )


def rows_of(
    n: int = 3000,
    first: float = 0.5,
    second: float = 0.5,
    seed: int = 0,
    worse_in: str = "",
    favour: float = 0.0,
) -> pl.DataFrame:
    """Scored rows of a binary model; ``first`` and ``second`` are the noise in each version's score.

    In the country ``worse_in`` the second version knows nothing; ``favour`` is what it adds for men.
    """
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.3
    country, sex = rng.choice(["DE", "ES", "NL"], n), rng.choice(["F", "M"], n)
    known = rng.normal(size=n) + 1.5 * y
    one, two = (known + noise * rng.normal(size=n) for noise in (first, second))
    two = np.where(country == worse_in, rng.normal(size=n), two) + favour * (sex == "M")
    return pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "event_date": [FIRST + dt.timedelta(days=i * 14 // n) for i in range(n)],
            "label": y.astype(np.int8),
            "score_champion": 1 / (1 + np.exp(1 - one)),
            "score_challenger": 1 / (1 + np.exp(1 - two)),
            "country": country,
            "sex": sex,
            "risk": rng.choice([1.0, 2.0, 2.5], n),
        }
    )


def of(found: pl.DataFrame, metric: str, segment: str = "") -> dict[str, Any]:
    """One row of a comparison."""
    return found.filter((pl.col("metric") == metric) & (pl.col("segment") == segment)).row(0, named=True)


SEGMENTED: dict[str, Any] = {"segments": ["country", ["country", "risk"]], "fairness": {"attributes": ["sex"]}}


def test_a_row_says_which_versions_when_on_what_and_what_each_has() -> None:
    rows = rows_of()
    found = compare(rows, spec_of(), "3", "7", NIGHT)
    row = of(found, "roc_auc")
    y, one, two = (rows[c].to_numpy() for c in ("label", "score_champion", "score_challenger"))
    assert found.schema == COMPARISONS
    assert (row["model"], row["champion"], row["challenger"], row["as_of"]) == ("m", "3", "7", NIGHT)
    assert (row["window_start"], row["window_end"], row["rows"]) == (FIRST, FIRST + dt.timedelta(days=13), 3000)
    assert row["champion_value"] == pytest.approx(sk.roc_auc_score(y, one))
    assert row["challenger_value"] == pytest.approx(sk.roc_auc_score(y, two))
    assert row["difference"] == pytest.approx(row["challenger_value"] - row["champion_value"])
    assert row["lower"] < row["difference"] < row["upper"]
    assert set(found["metric"]) == set(paired.binary(y == 1, one, two))


def test_every_metric_of_every_task_has_a_direction() -> None:
    rng = np.random.default_rng(1)
    y, s, p = rng.random(40) < 0.5, rng.random(40), rng.random((40, 3))
    group = rng.integers(0, 2, 40)
    measured = paired.binary(y, s, s[::-1]) | paired.gaps(y, s > 0.5, s > 0.4, group)
    measured |= paired.multiclass(rng.integers(0, 3, 40), p, p[::-1]) | paired.regression(s, s[::-1], s)
    assert set(DIRECTIONS) == set(measured)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_what_is_truly_better_is_called_better_whatever_the_metrics_direction(task: str) -> None:
    """The champion errs more; every metric with a direction must say better, and worse the other way round."""
    rng = np.random.default_rng(2)
    n = 4000
    days = pl.Series("event_date", [FIRST] * n)
    if task == "binary":
        rows = rows_of(n, first=1.5, second=0.1)
    elif task == "multiclass":
        true = rng.choice(3, n, p=[0.5, 0.3, 0.2])
        logits = [2 * np.eye(3)[true] + noise * rng.normal(size=(n, 3)) for noise in (1.5, 0.7)]
        one, two = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in logits)
        label = pl.Series("label", np.array(["cat", "dog", "eel"])[true])
        rows = pl.DataFrame([days, label]).with_columns(
            score_champion=pl.Series(one, dtype=pl.Array(pl.Float64, 3)),
            score_challenger=pl.Series(two.tolist(), dtype=pl.List(pl.Float64)),
        )
    else:
        target = rng.normal(size=n)
        one, two = target + 0.3 + rng.normal(size=n), target - 0.1 + 0.5 * rng.normal(size=n)
        rows = pl.DataFrame({"event_date": days, "label": target, "score_champion": one, "score_challenger": two})
    found = compare(rows, spec_of(task), "1", "2", NIGHT)
    swapped = rows.rename({"score_champion": "score_challenger", "score_challenger": "score_champion"})
    back = compare(swapped, spec_of(task), "2", "1", NIGHT)
    for metric in set(found["metric"]) - {"selection_rate"}:
        assert of(found, metric)["verdict"] == "better", metric
        assert of(back, metric)["verdict"] == "worse", metric
    assert set(found.filter(pl.col("metric") == "selection_rate")["verdict"]) <= {"inconclusive"}


def test_a_mean_error_is_better_where_it_is_nearer_to_nothing() -> None:
    rng = np.random.default_rng(3)
    e = rng.normal(size=500)
    rows = pl.DataFrame(
        {"event_date": [FIRST] * 500, "label": np.zeros(500), "score_champion": e - 1.0, "score_challenger": e + 0.1}
    )
    row = of(compare(rows, spec_of("regression"), "1", "2", NIGHT), "mean_error")
    assert row["difference"] == pytest.approx(1.1)
    assert row["verdict"] == "better"


@pytest.mark.parametrize(
    ("noise", "margin", "word"),
    [(0.1, 0.005, "better"), (1.5, 0.005, "worse"), (0.55, 0.05, "non_inferior"), (0.55, 0.0001, "inconclusive")],
)
def test_the_word_follows_from_interval_and_margin(noise: float, margin: float, word: str) -> None:
    spec = spec_of(margin=margin)
    found = compare(rows_of(first=0.5, second=noise), spec, "1", "2", NIGHT)
    row, said = of(found, "roc_auc"), verdict(found, spec)
    assert (row["verdict"], said.verdict) == (word, word)
    assert (said.metric, said.margin, said.guards) == ("roc_auc", margin, ())
    assert (said.difference, said.lower, said.upper) == (row["difference"], row["lower"], row["upper"])
    holds = {
        "better": row["lower"] > 0,
        "worse": row["upper"] < -margin,
        "non_inferior": -margin < row["lower"] <= 0,
        "inconclusive": row["lower"] <= -margin <= row["upper"],
    }
    assert holds[word]


def test_the_margin_is_of_the_deciding_metric_alone() -> None:
    found = compare(rows_of(first=0.5, second=0.55), spec_of(margin=0.2), "1", "2", NIGHT)
    assert of(found, "roc_auc")["verdict"] == "non_inferior"
    assert of(found, "accuracy")["verdict"] == "inconclusive"


def test_the_same_scores_are_no_worse_by_nothing() -> None:
    rows = rows_of().with_columns(score_challenger=pl.col("score_champion"))
    spec = spec_of(margin=0, **SEGMENTED)
    found = compare(rows, spec, "1", "2", NIGHT)
    assert set(found.select("difference", "lower", "upper").unique().rows()) == {(0, 0, 0)}
    assert set(found.filter(pl.col("metric") != "selection_rate")["verdict"]) == {"non_inferior"}
    assert verdict(found, spec).guards == ()


def test_segments_are_named_and_counted_as_the_store_does() -> None:
    rows = rows_of().with_columns(country=pl.when(pl.col("country") == "NL").then(None).otherwise(pl.col("country")))
    found = compare(rows.rename({"country": "Country"}), spec_of(**SEGMENTED), "1", "2", NIGHT)
    names = set(found.filter(pl.col("metric") == "accuracy")["segment"])
    countries = {"country=DE", "country=ES", "country=(missing)"}
    crossed = {f"{country} & risk={risk}" for country in countries for risk in ("1", "2", "2.5")}
    assert names == {"", *countries, *crossed, "sex=F", "sex=M"}
    assert of(found, "accuracy", "country=(missing)")["rows"] == rows["country"].null_count()


def test_intervals_in_segments_are_wider_so_that_all_hold_together() -> None:
    rows = rows_of()
    found = compare(rows, spec_of(segments=["country"], monitors={"min_rows": 30}), "1", "2", NIGHT)

    def interval(of_rows: pl.DataFrame, alpha: float) -> tuple[float, float]:
        y, one, two = (of_rows[c].to_numpy() for c in ("label", "score_champion", "score_challenger"))
        day = (of_rows["event_date"] - FIRST).dt.total_days().to_numpy()
        return paired.binary(y == 1, one, two, block=day)["log_loss"].interval(alpha)

    row, whole = of(found, "log_loss", "country=ES"), of(found, "log_loss")
    assert (row["lower"], row["upper"]) == pytest.approx(interval(rows.filter(pl.col("country") == "ES"), 0.05 / 3))
    assert (whole["lower"], whole["upper"]) == pytest.approx(interval(rows, 0.05))


def test_a_small_segment_or_one_class_is_left_out_and_makes_the_others_no_wider() -> None:
    rows = rows_of()
    few = pl.when(pl.arange(0, pl.len()) < 20).then(pl.lit("XX")).otherwise(pl.col("country"))
    spec = spec_of(segments=["country"])
    found = compare(rows.with_columns(country=few), spec, "1", "2", NIGHT)
    assert "country=XX" not in set(found["segment"])
    single = rows.with_columns(label=pl.when(pl.col("country") == "DE").then(0).otherwise(pl.col("label")))
    found = compare(single, spec, "1", "2", NIGHT)
    metrics = set(found.filter(pl.col("segment") == "country=DE")["metric"])
    assert "accuracy" in metrics
    assert "roc_auc" not in metrics
    assert found["difference"].is_finite().all()


def test_a_challenger_that_is_blind_in_one_segment_fails_a_guard_rail_though_it_is_better_on_the_whole() -> None:
    spec = spec_of(**SEGMENTED)
    found = compare(rows_of(6000, first=2.5, second=0.0, worse_in="ES"), spec, "1", "2", NIGHT)
    said = verdict(found, spec)
    assert said.verdict == "better"
    assert said.guards[0].startswith("worse in country=ES: roc_auc 0.")
    assert all("country=ES" in guard for guard in said.guards)


def test_a_challenger_that_treats_groups_less_alike_fails_a_guard_rail() -> None:
    spec = spec_of(**SEGMENTED)
    found = compare(rows_of(favour=0.8), spec, "1", "2", NIGHT)
    row = of(found, "demographic_parity_difference", "sex")
    assert (row["verdict"], row["rows"]) == ("worse", 3000)
    assert row["challenger_value"] > row["champion_value"] + 0.05
    guards = verdict(found, spec).guards
    assert any(guard.startswith("wider gap of sex's groups: demographic_parity_difference") for guard in guards)
    back = compare(rows_of(favour=0.8, seed=4), spec_of(), "1", "2", NIGHT)
    assert back.filter(pl.col("metric").str.ends_with("_difference")).is_empty(), "nothing was to be compared"


def test_a_gap_that_widens_by_less_than_a_percentage_point_is_not_held_against_it() -> None:
    """So many rows that the smallest difference is sure."""
    n = 200_000
    rows = pl.DataFrame(
        {
            "event_date": [FIRST] * n,
            "label": np.arange(n) % 2,
            "sex": np.where(np.arange(n) % 4 < 2, "F", "M"),
            "score_champion": np.where(np.arange(n) % 10 < 5, 0.9, 0.1),
        }
    )
    more = (pl.arange(0, n) % 250 == 2) & (pl.col("sex") == "M")
    rows = rows.with_columns(score_challenger=pl.when(more).then(0.8).otherwise(pl.col("score_champion")))
    spec = spec_of(fairness={"attributes": ["sex"]})
    found = compare(rows, spec, "1", "2", NIGHT)
    assert of(found, "demographic_parity_difference", "sex")["verdict"] in ("non_inferior", "better")
    assert not any("demographic_parity" in guard for guard in verdict(found, spec).guards)


def test_guard_rails_seldom_fail_for_a_challenger_that_is_as_good() -> None:
    spec = spec_of(margin=0, **SEGMENTED)
    failed = better = 0
    for seed in range(100):
        found = compare(rows_of(2000, 0.6, 0.6, seed), spec, "1", "2", NIGHT)
        said = verdict(found, spec)
        failed += any(guard.startswith("worse") for guard in said.guards)
        better += said.verdict == "better"
    assert failed <= 8, "at most 2.5 in 100, for this side of the interval"
    assert better <= 8


def test_the_policys_metric_decides_and_says_so_in_a_sentence() -> None:
    spec = spec_of(metric="log_loss")
    found = compare(rows_of(first=1.0, second=0.2), spec, "1", "2", NIGHT)
    said = verdict(found, spec)
    assert (said.verdict, said.metric) == ("better", "log_loss")
    assert said.difference < 0
    assert said.sentence.startswith("Version 2 is better than champion 1: log_loss 0.")
    assert "on the same 3,000 rows of 2026-02-01 to 2026-02-14, labels as known on 2026-03-01" in said.sentence


def test_a_metric_that_can_not_decide_is_refused() -> None:
    for metric in ("selection_rate", "r2", "auc"):
        with pytest.raises(RowsError, match=f"{metric} can't decide about a binary model; write one of accuracy, "):
            compare(rows_of(100), spec_of(metric=metric), "1", "2", NIGHT)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"score_challenger": pl.lit(None, pl.Float64)}, "version 2 gives no number for 100 of 100 rows"),
        ({"score_champion": pl.lit(math.inf)}, "version 1 gives no number for 100 of 100 rows"),
        ({"score_challenger": pl.lit(1.5)}, "version 2 gives scores outside 0 … 1"),
        ({"label": pl.lit(None, pl.Int8)}, "100 rows have no label"),
    ],
)
def test_rows_that_can_not_be_compared_are_refused_with_the_reason(change: dict[str, pl.Expr], complaint: str) -> None:
    with pytest.raises(RowsError, match=complaint):
        compare(rows_of(100).with_columns(**change), spec_of(), "1", "2", NIGHT)


def test_few_rows_and_too_few_probabilities_are_refused() -> None:
    with pytest.raises(RowsError, match="29 labelled rows are too few to compare versions 1 and 2 on"):
        compare(rows_of(29), spec_of(), "1", "2", NIGHT)
    short = rows_of(50).with_columns(
        label=pl.lit("cat"), score_champion=pl.lit([0.1, 0.9]), score_challenger=pl.lit([0.1, 0.2, 0.7])
    )
    with pytest.raises(RowsError, match="version 1 does not give every row 3 probabilities"):
        compare(short, spec_of("multiclass"), "1", "2", NIGHT)


def test_a_metric_that_the_rows_do_not_define_leaves_the_verdict_open() -> None:
    spec = spec_of()
    found = compare(rows_of().with_columns(label=pl.lit(0)), spec, "1", "2", NIGHT)
    said = verdict(found, spec)
    assert said.verdict == "inconclusive"
    assert math.isnan(said.difference)
    assert said.sentence == "roc_auc is not defined on these rows, so nothing can be said"


def test_the_order_of_rows_makes_no_difference() -> None:
    rows, spec = rows_of(), spec_of(**SEGMENTED)
    there = compare(rows, spec, "1", "2", NIGHT)
    moved = compare(rows.sample(fraction=1, shuffle=True, seed=1), spec, "1", "2", NIGHT)
    numbers = ["champion_value", "challenger_value", "difference", "lower", "upper"]
    assert there.drop(numbers).equals(moved.drop(numbers))
    assert there.select(numbers).to_numpy() == pytest.approx(moved.select(numbers).to_numpy(), abs=1e-9, nan_ok=True)


def names(rows: pl.DataFrame) -> Sequence[str]:
    return rows["prediction_id"].to_list()


def test_rows_of_a_segment_are_found_by_its_name() -> None:
    rows = rows_of(300).with_columns(sex=pl.when(pl.col("sex") == "M").then(pl.col("sex")))
    assert names(rows_in(rows, "")) == names(rows)
    picked = rows_in(rows, "Country=DE & risk=2 & sex=(missing)")
    expected = rows.filter((pl.col("country") == "DE") & (pl.col("risk") == 2) & pl.col("sex").is_null())
    assert names(picked) == names(expected) != []
    for wrong in ("country", "planet=Earth", "country=DE & risk"):
        with pytest.raises(UserError, match="write field=value, joined by ' & '"):
            rows_in(rows, wrong)


def test_groups_leave_out_the_missing_and_the_small() -> None:
    rows = pl.DataFrame({"Age": ["old"] * 3 + ["young"] * 4 + [None] * 5 + ["middle"]})
    group = groups_of(rows, "age", 3)
    assert group is not None
    assert group.tolist() == [0] * 3 + [1] * 4 + [-1] * 6
    assert groups_of(rows, "sex", 3) is None
