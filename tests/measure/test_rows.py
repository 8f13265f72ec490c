"""What is measured from profiles equals what scikit-learn, SciPy and Fairlearn compute from the rows."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from fairlearn import metrics as fair
from scipy import stats
from sklearn import metrics

from mlobs_pipelines.measure.night import measure_night
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.tables import METRICS, METRICS_KEY
from tests.measure.world import CLASSES, SCHEMA, day, label_facts, make_bins, make_profiles, make_rows, make_spec

NIGHT = 33


@cache
def world(task: str) -> tuple[ModelSpec, pl.DataFrame, pl.DataFrame, dict[str, Any], Profiles, pl.DataFrame]:
    spec, rows = make_spec(task), make_rows(task, days=36, per_day=100)
    reference = make_rows(task, days=10, per_day=120, seed=1, reference=True)
    bins = make_bins(task, reference, spec)
    profiles = make_profiles(spec, rows, label_facts(rows), reference, bins)
    return spec, rows, reference, bins, profiles, measure_night(profiles, spec, SCHEMA, bins, day(NIGHT), "run-1")


def known(rows: pl.DataFrame, first: int, last: int, *, labels: bool = False) -> pl.DataFrame:
    """Rows of a window as known on the night."""
    mine = rows.filter(pl.col("event").is_between(first, last) & (pl.col("arrival") <= NIGHT) & ~pl.col("failed"))
    return mine.filter(pl.col("labeled") & (pl.col("label_arrival") <= NIGHT)) if labels else mine


def number(
    frame: pl.DataFrame,
    metric: str,
    subject: str = "",
    *,
    family: str | None = None,
    segment: str = "",
    version: str = "",
    role: str = "production",
    window: tuple[int, int] = (6, 33),
) -> dict[str, Any]:
    found = frame.filter(
        (pl.col("metric") == metric)
        & (pl.col("subject") == subject)
        & (pl.col("segment") == segment)
        & (pl.col("version") == version)
        & (pl.col("role") == role)
        & (pl.col("window_start") == day(window[0]))
        & (pl.col("window_end") == day(window[1]))
    )
    if family:
        found = found.filter(pl.col("family") == family)
    assert found.height == 1, (metric, subject, segment, found.height)
    return found.row(0, named=True)


def agrees(found: dict[str, Any], exact: float) -> bool:
    slack = 1e-9 * max(1.0, abs(exact))
    return found["value"] is not None and abs(found["value"] - exact) <= found["error_bound"] + slack


GROUPS = [
    {"version": "", "role": "production", "segment": ""},
    {"version": "2", "role": "production", "segment": ""},
    {"version": "1", "role": "production", "segment": "country=FR"},
    {"version": "", "role": "production", "segment": "country=DE & device=ios"},
    {"version": "", "role": "shadow", "segment": ""},
]


def of_group(rows: pl.DataFrame, group: dict[str, str]) -> pl.DataFrame:
    rows = rows.filter(pl.col("role") == group["role"])
    if group["version"]:
        rows = rows.filter(pl.col("version") == group["version"])
    for part in filter(None, group["segment"].split(" & ")):
        field, value = part.split("=")
        rows = rows.filter(pl.col(field) == value)
    return rows


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_table_has_the_stores_columns_sorted_distinct_and_finite(task: str) -> None:
    frame = world(task)[5]
    assert frame.schema == METRICS
    assert frame.equals(frame.sort(METRICS_KEY))
    assert frame.select(METRICS_KEY).is_unique().all()
    for column in ("value", "lower", "upper", "baseline", "error_bound"):
        values = frame[column].drop_nulls()
        assert values.is_finite().all(), column
    assert frame.filter(pl.col("value").is_null())["status"].unique().to_list() == ["insufficient_data"]
    assert frame.filter(pl.col("value").is_not_null() & (pl.col("status") == "insufficient_data")).is_empty()
    kept = frame.filter(pl.col("value").is_not_null() & pl.col("lower").is_not_null() & pl.col("upper").is_not_null())
    inside = (kept["lower"] <= kept["value"] + 1e-12) & (kept["value"] <= kept["upper"] + 1e-12)
    assert inside.all(), kept.filter(~inside)
    assert frame["error_bound"].is_null().equals(frame["value"].is_null())
    assert frame["rows"].null_count() == frame["labeled_rows"].null_count() == 0


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: "/".join(g.values()))
def test_binary_performance_is_scikit_learns(group: dict[str, str]) -> None:
    _, rows, _, _, _, frame = world("binary")
    mine = of_group(known(rows, 6, 33, labels=True), group)
    y, s = (mine["label"] == "1").cast(int).to_numpy(), mine["score"].to_numpy()
    expected: dict[str, float] = {
        "roc_auc": metrics.roc_auc_score(y, s),
        "average_precision": metrics.average_precision_score(y, s),
        "log_loss": metrics.log_loss(y, s),
        "brier_score": metrics.brier_score_loss(y, s),
        "base_rate": y.mean(),
    }
    for name, exact in expected.items():
        found = number(frame, name, family="performance", **group)
        assert agrees(found, float(exact)), (name, found, exact)
        assert found["labeled_rows"] == len(y) and found["status"] == "provisional"
    assert number(frame, "roc_auc", family="performance", **group)["error_bound"] < 0.002
    for subject, threshold in (("", 0.5), ("threshold=0.7", 0.7)):
        said = (s >= threshold).astype(int)
        exactly = {
            "accuracy": metrics.accuracy_score(y, said),
            "balanced_accuracy": metrics.balanced_accuracy_score(y, said),
            "precision": metrics.precision_score(y, said),
            "recall": metrics.recall_score(y, said),
            "specificity": metrics.recall_score(y, said, pos_label=0),
            "f1": metrics.f1_score(y, said),
            "matthews_corrcoef": metrics.matthews_corrcoef(y, said),
        }
        for name, exact in exactly.items():
            found = number(frame, name, subject, family="performance", **group)
            assert found["error_bound"] == 0 and found["value"] == pytest.approx(exact, abs=1e-12), name
    everyone = of_group(known(rows, 6, 33), group)
    chosen = number(frame, "selection_rate", family="performance", **group)
    assert chosen["value"] == pytest.approx((everyone["score"] >= 0.5).mean()) and chosen["status"] == "ok"
    assert chosen["rows"] == everyone.height


def test_calibration_is_that_of_ten_equal_bins() -> None:
    _, rows, _, _, _, frame = world("binary")
    mine = of_group(known(rows, 6, 33, labels=True), GROUPS[0])
    y, s = (mine["label"] == "1").to_numpy(), mine["score"].to_numpy()
    assert agrees(number(frame, "calibration_error"), float(s.mean() - y.mean()))
    tenth = np.minimum((s * 10).astype(int), 9)
    error = sum(abs(y[tenth == k].mean() - s[tenth == k].mean()) * (tenth == k).mean() for k in range(10))
    assert agrees(number(frame, "expected_calibration_error"), float(error))
    row = number(frame, "reliability", "[0.3, 0.4)")
    assert row["value"] == pytest.approx(y[tenth == 3].mean())
    assert row["baseline"] == pytest.approx(s[tenth == 3].mean(), abs=1e-8)
    assert frame.filter((pl.col("metric") == "reliability") & (pl.col("segment") != "")).is_empty()


def test_fairness_is_fairlearns() -> None:
    _, rows, _, _, _, frame = world("binary")
    everyone, mine = (of_group(known(rows, 6, 33, labels=x), GROUPS[0]) for x in (False, True))
    said, who = (everyone["score"] >= 0.5).cast(int).to_numpy(), everyone["sex"].to_numpy()
    y, told, sex = (
        (mine["label"] == "1").cast(int).to_numpy(),
        (mine["score"] >= 0.5).cast(int).to_numpy(),
        mine["sex"].to_numpy(),
    )
    dp = {
        "demographic_parity_difference": fair.demographic_parity_difference,
        "demographic_parity_ratio": fair.demographic_parity_ratio,
    }
    for name, f in dp.items():
        found = number(frame, name, "sex")
        assert found["value"] == pytest.approx(f(said, said, sensitive_features=who)) and found["status"] == "ok"
    labeled = {
        "equal_opportunity_difference": fair.equal_opportunity_difference,
        "equalized_odds_difference": fair.equalized_odds_difference,
    }
    for name, f in labeled.items():
        found = number(frame, name, "sex")
        assert found["value"] == pytest.approx(f(y, told, sensitive_features=sex)) and found["status"] == "provisional"
    precision = [metrics.precision_score(y[sex == g], told[sex == g]) for g in "FM"]
    assert number(frame, "predictive_parity_difference", "sex")["value"] == pytest.approx(
        abs(precision[0] - precision[1])
    )
    rates = {g: said[who == g].mean() for g in "FM"}
    assert number(frame, "disparate_impact", "sex")["value"] == pytest.approx(rates["F"] / rates["M"])
    assert number(frame, "disparate_impact", "sex", segment="sex=F")["value"] == pytest.approx(rates["F"] / rates["M"])
    of_women = number(frame, "demographic_parity_difference", "sex", segment="sex=F")
    assert of_women["value"] == pytest.approx(rates["F"] - rates["M"])
    for g in "FM":
        assert number(frame, "selection_rate", "sex", segment=f"sex={g}")["value"] == pytest.approx(rates[g])
        recall = number(frame, "recall", "sex", segment=f"sex={g}")
        assert recall["value"] == pytest.approx(metrics.recall_score(y[sex == g], told[sex == g]))
        assert recall["value"] == number(frame, "recall", family="performance", segment=f"sex={g}")["value"]


def test_drift_of_features_is_scipys_within_the_bound() -> None:
    _, rows, reference, bins, _, frame = world("binary")
    mine = of_group(known(rows, 6, 33), GROUPS[0])
    x, y = reference["amount"].drop_nans().to_numpy(), mine["amount"].drop_nans().to_numpy()
    ks, w = stats.ks_2samp(x, y).statistic, stats.wasserstein_distance(x, y)
    found = number(frame, "kolmogorov_smirnov", "amount")
    assert found["value"] - 1e-12 <= ks <= found["value"] + found["error_bound"] + 1e-12 and found["error_bound"] < 0.02
    assert agrees(number(frame, "wasserstein", "amount"), w)
    assert agrees(number(frame, "wasserstein_scaled", "amount"), w / x.std())
    coarse = bins["features"]["amount"]["coarse"]
    counts = [np.bincount(np.searchsorted(coarse, v, side="right"), minlength=len(coarse) + 1) for v in (x, y)]
    special = (
        [((r["amount"].is_nan()) & ~r["invalid_amount"]).sum() for r in (reference, mine)],
        [r["invalid_amount"].sum() for r in (reference, mine)],
    )
    a, b = (np.append(c, [special[0][i], special[1][i]]).astype(float) for i, c in enumerate(counts))
    p, q = a / a.sum(), b / b.sum()
    assert number(frame, "psi", "amount")["value"] == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert number(frame, "chi_squared", "amount")["value"] == pytest.approx(
        stats.chi2_contingency([a, b], correction=False).statistic
    )
    device = [
        np.array([(r["device"] == v).sum() for v in ("ios", "android", "web", "fridge")]) for r in (reference, mine)
    ]
    tv = np.abs(device[0] / device[0].sum() - device[1] / device[1].sum()).sum() / 2
    assert number(frame, "total_variation", "device")["value"] == pytest.approx(tv)
    small = number(frame, "kolmogorov_smirnov", "feature:score")
    assert small["error_bound"] == 0
    assert small["value"] == pytest.approx(stats.ks_2samp(reference["score_feature"], mine["score_feature"]).statistic)
    assert frame.filter((pl.col("family") == "drift") & pl.col("baseline").is_not_null()).is_empty()


def test_drift_in_a_segment_is_against_the_references_part_in_it() -> None:
    _, rows, reference, _, _, frame = world("binary")
    group = GROUPS[2]
    mine, theirs = of_group(known(rows, 6, 33), group), reference.filter(pl.col("country") == "FR")
    x, y = (r["amount"].drop_nans().to_numpy() for r in (theirs, mine))
    found = number(frame, "kolmogorov_smirnov", "amount", **group)
    ks = stats.ks_2samp(x, y).statistic
    assert found["value"] - 1e-12 <= ks <= found["value"] + found["error_bound"] + 1e-12
    assert agrees(number(frame, "wasserstein", "amount", **group), stats.wasserstein_distance(x, y))


def test_drift_of_score_decision_and_label_is_that_of_the_rows() -> None:
    _, rows, reference, _, _, frame = world("binary")
    mine, labeled = (of_group(known(rows, 6, 33, labels=x), GROUPS[0]) for x in (False, True))
    found = number(frame, "kolmogorov_smirnov", "score")
    ks = stats.ks_2samp(reference["score"], mine["score"]).statistic
    assert found["value"] - 1e-12 <= ks <= found["value"] + found["error_bound"] + 1e-12 and found["error_bound"] < 0.01
    w = stats.wasserstein_distance(reference["score"], mine["score"])
    assert agrees(number(frame, "wasserstein", "score"), w)
    assert agrees(number(frame, "wasserstein_scaled", "score"), w / reference["score"].std(ddof=0))
    shift = (mine["score"] >= 0.5).mean() - (reference["score"] >= 0.5).mean()
    assert number(frame, "total_variation", "prediction")["value"] == pytest.approx(abs(shift))
    label = number(frame, "total_variation", "label")
    assert label["value"] == pytest.approx(abs((labeled["label"] == "1").mean() - (reference["label"] == "1").mean()))
    assert label["status"] == "provisional"


def test_quality_traffic_and_service_count_the_rows() -> None:
    _, rows, reference, _, _, frame = world("binary")
    arrived = rows.filter(
        pl.col("event").is_between(6, 33) & (pl.col("arrival") <= NIGHT) & (pl.col("role") == "production")
    )
    mine = arrived.filter(~pl.col("failed"))
    missing = (mine["amount"].is_nan() & ~mine["invalid_amount"]).mean()
    assert number(frame, "missing_rate", "amount")["value"] == pytest.approx(missing)
    assert number(frame, "invalid_rate", "amount")["value"] == pytest.approx(mine["invalid_amount"].mean())
    assert number(frame, "invalid_rate", "amount")["baseline"] == pytest.approx(reference["invalid_amount"].mean())
    assert number(frame, "out_of_range_rate", "amount")["value"] == pytest.approx(
        (mine["amount"].fill_nan(0) > 400).mean()
    )
    assert number(frame, "unseen_rate", "device")["value"] == pytest.approx((mine["device"] == "fridge").mean())
    amount = mine["amount"].drop_nans()
    assert agrees(number(frame, "mean", "amount"), amount.mean())  # type: ignore[arg-type]
    assert agrees(number(frame, "standard_deviation", "amount"), float(amount.to_numpy().std()))
    assert number(frame, "predictions")["value"] == arrived.height
    share = number(frame, "traffic_share", version="2")["value"]
    assert share == pytest.approx((arrived["version"] == "2").mean())
    of_country = number(frame, "traffic_share", segment="country=DE")["value"]
    assert of_country == pytest.approx((arrived["country"] == "DE").mean())
    assert number(frame, "error_rate")["value"] == pytest.approx(arrived["failed"].mean())
    latency = arrived["latency_ms"].drop_nans().to_numpy()
    for name, p in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
        found = number(frame, name)
        assert agrees(found, float(np.quantile(latency, p))) and found["error_bound"] < 0.02 * found["value"]
    accepted = arrived.height
    groups = arrived.group_by("arrival", "event", "version").len()["len"]
    duplicates, refused = (groups // 20).sum(), (groups // 30).sum()
    assert number(frame, "duplicate_rate")["value"] == pytest.approx(duplicates / (accepted + duplicates + refused))
    assert number(frame, "freshness_hours")["value"] == 3.0


def test_labels_say_how_many_came_and_how_long_they_took() -> None:
    _, rows, _, _, _, frame = world("binary")
    mine, labeled = (of_group(known(rows, 6, 33, labels=x), GROUPS[0]) for x in (False, True))
    assert number(frame, "label_coverage")["value"] == pytest.approx(labeled.height / mine.height)
    delay = (labeled["label_arrival"] - labeled["event"]).median()
    assert number(frame, "label_delay_days")["value"] == delay


@pytest.mark.parametrize("group", [GROUPS[0], GROUPS[2]], ids=lambda g: "/".join(g.values()))
def test_multiclass_performance_is_scikit_learns(group: dict[str, str]) -> None:
    _, rows, _, _, _, frame = world("multiclass")
    mine = of_group(known(rows, 6, 33, labels=True), group)
    y, said = mine["label"].to_numpy(), mine["prediction"].to_numpy()
    for average in ("macro", "weighted", "micro"):
        f1 = metrics.f1_score(y, said, average=average, zero_division=0)
        assert number(frame, f"f1_{average}", family="performance", **group)["value"] == pytest.approx(f1)
    for name, f in (("precision_macro", metrics.precision_score), ("recall_macro", metrics.recall_score)):
        found = number(frame, name, family="performance", **group)
        assert found["value"] == pytest.approx(f(y, said, average="macro", zero_division=0))
    areas = [metrics.roc_auc_score(y == c, mine[f"p_{c}"]) for c in CLASSES]
    assert agrees(number(frame, "roc_auc_ovr", family="performance", **group), float(np.mean(areas)))
    for c, area in zip(CLASSES, areas, strict=True):
        assert agrees(number(frame, "roc_auc", c, family="performance", **group), area)
        recall = metrics.recall_score(y == c, said == c)
        assert number(frame, "recall", c, family="performance", **group)["value"] == pytest.approx(recall)
    assert number(frame, "accuracy", "sex", segment="sex=F")["family"] == "fairness"


@pytest.mark.parametrize("group", [GROUPS[0], GROUPS[2]], ids=lambda g: "/".join(g.values()))
def test_regression_performance_is_scikit_learns(group: dict[str, str]) -> None:
    _, rows, reference, _, _, frame = world("regression")
    mine = of_group(known(rows, 6, 33, labels=True), group)
    y, said = mine["label"].to_numpy(), mine["prediction"].to_numpy()
    expected = {
        "mean_absolute_error": metrics.mean_absolute_error(y, said),
        "root_mean_squared_error": metrics.root_mean_squared_error(y, said),
        "r2": metrics.r2_score(y, said),
        "mean_error": (said - y).mean(),
        "median_absolute_error": metrics.median_absolute_error(y, said),
    }
    for name, exact in expected.items():
        found = number(frame, name, family="performance", **group)
        assert agrees(found, float(exact)), (name, found["value"], exact, found["error_bound"])
        assert found["baseline"] is not None
    predictions = of_group(known(rows, 6, 33), group)["prediction"]
    theirs = reference if not group["segment"] else reference.filter(pl.col("country") == "FR")
    w = stats.wasserstein_distance(theirs["prediction"], predictions)
    assert agrees(number(frame, "wasserstein", "prediction", **group), w)
    ks = stats.ks_2samp(theirs["label"], y).statistic
    found = number(frame, "kolmogorov_smirnov", "label", **group)
    assert found["value"] - 1e-12 <= ks <= found["value"] + found["error_bound"] + 1e-12


def test_the_baseline_is_the_metric_on_the_references_rows() -> None:
    _, _, reference, _, _, frame = world("binary")
    y, s = (reference["label"] == "1").cast(int).to_numpy(), reference["score"].to_numpy()
    found = number(frame, "brier_score", family="performance")
    assert found["baseline"] == pytest.approx(metrics.brier_score_loss(y, s), abs=1e-8)
    assert found["reference"] == "training" and found["as_of"] == day(NIGHT) and found["run_id"] == "run-1"
    women = reference.filter(pl.col("sex") == "F")
    recall = number(frame, "recall", "sex", segment="sex=F")
    assert recall["baseline"] == pytest.approx(metrics.recall_score(women["label"] == "1", women["score"] >= 0.5))
    assert number(frame, "predictions")["baseline"] is None


def test_few_rows_give_no_number_and_say_so() -> None:
    frame = world("binary")[5]
    tiny = frame.filter(
        (pl.col("labeled_rows") < 30) & (pl.col("family") == "performance") & (pl.col("metric") != "selection_rate")
    )
    assert tiny.height > 0 and tiny["value"].null_count() == tiny.height
    assert tiny["status"].unique().to_list() == ["insufficient_data"]


def test_young_windows_are_provisional_and_old_ones_are_not() -> None:
    frame = world("binary")[5]
    stated = frame.filter((pl.col("metric") == "roc_auc") & (pl.col("status") != "insufficient_data"))
    young = pl.col("window_end") + dt.timedelta(days=12) > day(NIGHT)
    assert stated.filter(young)["status"].unique().to_list() == ["provisional"]
    assert stated.filter(~young).is_empty() or stated.filter(~young)["status"].unique().to_list() == ["ok"]
    unlabeled = frame.filter(pl.col("family").is_in(["drift", "quality", "traffic"]) & (pl.col("subject") != "label"))
    assert set(unlabeled["status"].unique()) == {"ok", "insufficient_data"}
