"""Explanation metrics are means over the sampled rows of their window, with intervals, beside the reference's."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import ndcg_score

from mlobs_pipelines.measure.explanation import by_day, measure_explanation, ndcg
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.tables import METRICS, METRICS_KEY

NIGHT = dt.date(2026, 3, 10)
FEATURES = ("amount", "hour", "score")


def spec_of(task: str = "binary", **more: Any) -> ModelSpec:
    output = {"score": "s"} if task == "binary" else {"prediction": "p"}
    return ModelSpec.model_validate(
        {
            "model": "m",
            "task": task,
            "predictions": {"source": "a", "id": "i", "time": "t", **output},
            "monitors": {"windows": ["1d", "7d"], "min_rows": 30},
            **more,
        }
    )


def rows_of(days: int = 10, each: int = 50, version: str = "1", scale: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Attributions of so many rows of each night, some about the day before."""
    rng = np.random.default_rng([seed, int(version)])
    parts = []
    for i in range(days):
        arrival = NIGHT - dt.timedelta(days=i)
        late = rng.random(each) < 0.1
        parts.append(
            pl.DataFrame(
                {
                    "arrival_date": [arrival] * each,
                    "event_date": [arrival - dt.timedelta(days=int(x)) for x in late],
                    "version": version,
                    "country": rng.choice(["DE", "FR"], each),
                    **{name: rng.normal(0.1, scale * (3 - k), each) for k, name in enumerate(FEATURES)},
                }
            )
        )
    return pl.concat(parts)


def fixed(x: Any) -> Any:
    return np.floor(np.asarray(x) * 2**20 + 0.5).astype(np.int64)


def profile_of(rows: pl.DataFrame, output: str = "log_odds") -> pl.DataFrame:
    """As the lake has it, in two bins."""
    parts = []
    for segment in (pl.lit(""), pl.format("country={}", "country")):
        for name in FEATURES:
            phi = rows[name].to_numpy()
            parts.append(
                rows.select(
                    "arrival_date",
                    "event_date",
                    "version",
                    role=pl.lit("production"),
                    segment=segment,
                    feature=pl.lit(name),
                    bin=pl.Series(np.arange(rows.height) % 2),
                    output=pl.lit(output),
                    method=pl.lit("additive"),
                    rows=1,
                    phi=fixed(phi),
                    phi_abs=fixed(np.abs(phi)),
                    phi_sq=fixed(phi**2),
                    base=fixed(np.full(rows.height, -2.0)),
                )
            )
    return pl.concat(parts)


def measured(
    rows: pl.DataFrame, reference: pl.DataFrame | None = None, night: dt.date = NIGHT, **more: Any
) -> pl.DataFrame:
    spec = more.pop("spec", spec_of())
    base = rows_of(seed=9) if reference is None else reference
    bins = {"reference": "training", "outputs": {"error": {"unit": 4.0}}}
    return measure_explanation(by_day(profile_of(rows, **more)), profile_of(base, **more), spec, bins, night, "run")


def number(found: pl.DataFrame, metric: str, subject: str = "", **where: Any) -> dict[str, Any]:
    asked = {"version": "", "segment": "", "window_start": NIGHT - dt.timedelta(days=6), "window_end": NIGHT} | where
    rows = found.filter(metric=metric, subject=subject, **asked)
    assert rows.height == 1, rows
    return rows.row(0, named=True)


def test_the_table_is_one_of_metrics() -> None:
    found = measured(rows_of())
    assert found.schema == METRICS
    assert found.equals(found.sort(METRICS_KEY))
    assert found.select(METRICS_KEY).is_unique().all()
    assert found["family"].unique().to_list() == ["explanation"]
    assert set(found["metric"]) == {"mean_abs_shap", "attribution_ndcg", "shap_base_value"}
    assert set(found["reference"]) == {"training"}
    assert found["as_of"].unique().to_list() == [NIGHT]


@pytest.mark.parametrize("segment", ["", "country=DE"])
def test_importance_is_the_mean_of_absolute_attributions_with_its_interval(segment: str) -> None:
    rows, base = rows_of(), rows_of(seed=9)
    found = number(measured(rows, base), "mean_abs_shap", "amount", segment=segment)
    week = rows.filter(
        (pl.col("event_date") > NIGHT - dt.timedelta(days=7)) & (segment == "" or pl.col("country") == "DE")
    )
    exact = np.abs(week["amount"].to_numpy())
    assert found["value"] == pytest.approx(exact.mean(), abs=found["error_bound"])
    half = stats.norm.ppf(0.975) * exact.std(ddof=1) / np.sqrt(len(exact))
    assert found["lower"] == pytest.approx(exact.mean() - half, abs=1e-5)
    assert found["upper"] == pytest.approx(exact.mean() + half, abs=1e-5)
    assert (found["rows"], found["status"]) == (len(exact), "ok")
    of_base = base.filter(segment == "" or pl.col("country") == "DE")["amount"].abs().mean()
    assert found["baseline"] == pytest.approx(of_base, abs=1e-6)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    truth = 3 * np.sqrt(2 / np.pi) * np.exp(-((0.1 / 3) ** 2) / 2) + 0.1 * (1 - 2 * stats.norm.cdf(-0.1 / 3))
    covered = []
    for seed in range(300):
        found = number(measured(rows_of(days=7, each=30, seed=seed)), "mean_abs_shap", "amount")
        covered.append(found["lower"] <= truth <= found["upper"])
    assert 0.92 <= np.mean(covered) <= 0.98


def test_only_what_had_arrived_by_the_night_counts() -> None:
    before = NIGHT - dt.timedelta(days=3)
    found = measured(rows_of(), night=before)
    kept = rows_of().filter(pl.col("arrival_date") <= before)
    assert found.equals(measured(kept, night=before))


def test_a_window_is_stated_again_when_rows_about_it_arrive() -> None:
    rows = rows_of()
    late = rows.filter((pl.col("arrival_date") == NIGHT) & (pl.col("event_date") < NIGHT)).height
    assert late
    found = measured(rows)
    ends = {(row[0], row[1]) for row in found.select("window_start", "window_end").iter_rows()}
    day = dt.timedelta(days=1)
    yesterday = NIGHT - day
    assert ends == {
        (NIGHT, NIGHT),
        (yesterday, yesterday),
        (NIGHT - 6 * day, NIGHT),
        (yesterday - 6 * day, yesterday),
    }
    again = number(found, "shap_base_value", "log_odds", window_start=yesterday, window_end=yesterday)
    assert again["rows"] == rows.filter(pl.col("event_date") == yesterday).height


def test_few_rows_have_no_value_and_say_so() -> None:
    found = measured(rows_of(each=20))
    day = found.filter((pl.col("window_start") == NIGHT) & (pl.col("window_end") == NIGHT))
    assert day["status"].unique().to_list() == ["insufficient_data"]
    assert day["value"].null_count() == day.height
    assert day["lower"].null_count() == day["error_bound"].null_count() == day.height


def test_versions_together_are_their_rows_together_and_so_is_their_baseline() -> None:
    one, two = rows_of(each=40), rows_of(each=60, version="2", scale=2.0)
    base = pl.concat([rows_of(seed=9), rows_of(seed=9, version="2", scale=2.0)])
    found = measured(pl.concat([one, two]), base)
    both, first, second = (number(found, "mean_abs_shap", "amount", version=v) for v in ("", "1", "2"))
    assert both["rows"] == first["rows"] + second["rows"]
    for column in ("value", "baseline"):
        mixture = (first[column] * first["rows"] + second[column] * second["rows"]) / both["rows"]
        assert both[column] == pytest.approx(mixture)


def test_versions_explained_on_different_scales_are_not_added() -> None:
    days = pl.concat([by_day(profile_of(rows_of())), by_day(profile_of(rows_of(version="2"), "probability"))])
    found = measure_explanation(days, profile_of(rows_of(seed=9)), spec_of(), {"reference": "training"}, NIGHT, "")
    assert set(found["version"]) == {"1", "2"}


def test_a_version_without_a_reference_has_importance_but_no_baseline() -> None:
    found = measured(rows_of(version="2"))
    assert number(found, "mean_abs_shap", "amount", version="2")["baseline"] is None
    assert number(found, "mean_abs_shap", "amount", version="2")["status"] == "ok"
    agreement = number(found, "attribution_ndcg", version="2")
    assert (agreement["value"], agreement["status"]) == (None, "insufficient_data")


def test_a_regression_is_explained_in_the_unit_of_its_predictions() -> None:
    in_spreads = number(measured(rows_of()), "mean_abs_shap", "amount")
    found = measured(rows_of(), spec=spec_of("regression"), output="value")
    in_units = number(found, "mean_abs_shap", "amount")
    for column in ("value", "lower", "upper", "baseline", "error_bound"):
        assert in_units[column] == pytest.approx(4 * in_spreads[column])
    assert number(found, "shap_base_value", "value")["value"] == pytest.approx(-8.0)


def test_a_feature_called_like_an_output_is_told_apart() -> None:
    assert number(measured(rows_of()), "mean_abs_shap", "feature:score")["value"] > 0


def test_agreement_is_one_where_the_order_is_the_references_and_less_where_it_is_not() -> None:
    assert number(measured(rows_of()), "attribution_ndcg")["value"] == pytest.approx(1.0)
    turned = rows_of().rename({"amount": "score", "score": "amount"}).select(rows_of().columns)
    base = np.array([rows_of(seed=9)[name].abs().mean() for name in FEATURES])
    week = turned.filter(pl.col("event_date") > NIGHT - dt.timedelta(days=7))
    live = np.array([week[name].abs().mean() for name in FEATURES])
    found = number(measured(turned), "attribution_ndcg")
    assert found["value"] == pytest.approx(ndcg_score([base], [live]), abs=1e-6)
    assert found["value"] < 0.95


def test_ndcg_is_that_of_sagemaker_clarify_and_of_scikit_learn() -> None:
    # Gains of SAT, GPA and class rank on the reference, in the order of their live attributions.
    assert round(float(ndcg(np.array([0.1, 0.2, 0.7]), np.array([0.7, 0.5, 0.05]))), 5) == 0.68764
    rng = np.random.default_rng(0)
    live, base = rng.random((40, 6)), rng.random((40, 6))
    expected = [ndcg_score([b], [a]) for a, b in zip(live, base, strict=True)]
    np.testing.assert_allclose(ndcg(live, base), expected)
    np.testing.assert_allclose(ndcg(base * 3, base), 1.0)
    assert np.isnan(ndcg(live[0], np.zeros(6)))


def test_no_rows_no_metrics_and_rows_about_other_days_alone_either() -> None:
    nothing = by_day(profile_of(rows_of())).clear()
    found = measure_explanation(nothing, profile_of(rows_of()), spec_of(), {"reference": "training"}, NIGHT, "")
    assert found.equals(pl.DataFrame(schema=METRICS))
