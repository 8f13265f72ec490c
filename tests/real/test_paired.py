"""Two models on the same real rows: paired intervals against a bootstrap over rows and DeLong's test."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.act.compare import compare, verdict
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics import paired
from tests.real.logs import ADULT_CATEGORICAL, ADULT_NUMERIC, ELEC2_NUMERIC, read
from tests.statistics.plain_metrics import delong, of_binary, of_groups

NIGHT = dt.date(2026, 3, 9)


def spec_of(name: str, **more: Any) -> ModelSpec:
    says = {"predictions": {"source": "p", "id": "id", "time": "t", "score": "s"}, "threshold": 0.4}
    labels = {"source": "l", "id": "id", "value": "y", "available_at": "at"}
    return ModelSpec.model_validate({"model": name, "task": "binary", **says, "labels": labels, **more})


@pytest.fixture(scope="module")
def adult() -> pl.DataFrame:
    """Incomes of 4,000 people that neither model saw, scored by a small tree and by boosted ones."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier

    rows = read("adult").sample(14_000, seed=1, shuffle=True)
    matrix = pd.get_dummies(rows.select(*ADULT_NUMERIC, *ADULT_CATEGORICAL).to_pandas())
    income = (rows["income"] == ">50K").to_numpy().astype(int)
    known, new = slice(0, 10_000), slice(10_000, None)
    tree = DecisionTreeClassifier(min_samples_leaf=10, max_depth=4, random_state=0)
    boosted = HistGradientBoostingClassifier(max_iter=40, random_state=0)
    scores = [model.fit(matrix[known], income[known]).predict_proba(matrix[new])[:, 1] for model in (tree, boosted)]
    return rows[new].with_columns(
        event_date=pl.lit(dt.date(2026, 3, 2)),
        label=pl.Series(income[new]),
        score_champion=pl.Series(scores[0]),
        score_challenger=pl.Series(scores[1]),
    )


def test_intervals_on_adult_are_those_of_2000_resamples_and_the_area_is_delongs(adult: pl.DataFrame) -> None:
    y = adult["label"].to_numpy() == 1
    one, two = (adult[f"score_{which}"].to_numpy() for which in ("champion", "challenger"))
    found = paired.binary(y, one, two, 0.4)
    assert (found["roc_auc"].difference, found["roc_auc"].deviation) == pytest.approx(delong(y, one, two), abs=1e-13)
    rng = np.random.default_rng(1)
    resampled: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(2000):
        at = rng.integers(0, len(y), len(y))
        first, second = of_binary(y[at], one[at]), of_binary(y[at], two[at])
        for name in found:
            resampled[name].append(second[name] - first[name])
    for name, p in found.items():
        spread = float(np.std(resampled[name]))
        assert p.deviation == pytest.approx(spread, rel=0.06), name
        assert p.interval() == pytest.approx(tuple(np.quantile(resampled[name], [0.025, 0.975])), abs=0.3 * spread), (
            name
        )


def test_on_adult_the_boosted_model_is_better_and_its_gaps_are_stated(adult: pl.DataFrame) -> None:
    spec = spec_of("adult", fairness={"attributes": ["sex", "race"]})
    found = compare(adult, spec, "tree", "boosted", NIGHT)
    said = verdict(found, spec)
    assert (said.verdict, said.metric) == ("better", "roc_auc")
    assert 0.02 < said.lower < said.upper < 0.08
    groups = set(found.filter(pl.col("metric") == "roc_auc")["segment"])
    assert {"", "sex=Female", "sex=Male", "race=White", "race=Black"} <= groups
    y, group = adult["label"].to_numpy() == 1, (adult["sex"] == "Male").to_numpy().astype(int)
    for which in ("champion", "challenger"):
        expected = of_groups(y, adult[f"score_{which}"].to_numpy() >= 0.4, group)
        stated = found.filter((pl.col("segment") == "sex") & pl.col("metric").str.ends_with("_difference"))
        assert dict(stated.select("metric", f"{which}_value").iter_rows()) == pytest.approx(expected)


def test_on_elec2_repeating_the_last_label_beats_a_model_that_is_half_a_year_old() -> None:
    """Half hours of one day are alike: by day the difference is less sure than the rows alone let it seem."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = read("elec2").with_columns(last=pl.col("label_up").shift(1, fill_value=0).cast(pl.Float64))
    day = pl.col("event_time").dt.date()
    first = dt.date(1998, 6, 1)
    known = rows.filter(day.is_between(dt.date(1997, 6, 1), dt.date(1997, 12, 1)))
    live = rows.filter(day.is_between(first, first + dt.timedelta(days=90)))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(known.select(ELEC2_NUMERIC), known["label_up"])
    scored = live.with_columns(
        event_date=day,
        label=pl.col("label_up"),
        score_champion=pl.Series(model.predict_proba(live.select(ELEC2_NUMERIC))[:, 1]),
        score_challenger=pl.col("last"),
    )
    spec = spec_of("elec2", threshold=0.5, segments=["day"], policy={"promote": {"metric": "accuracy"}})
    found = compare(scored, spec, "old", "last", NIGHT)
    said = verdict(found, spec)
    assert said.verdict == "better"
    assert not said.guards, "nor is any weekday worse"
    assert set(found["segment"]) == {"", *(f"day={n}" for n in range(1, 8))}

    y, one, two = (scored[c].to_numpy() for c in ("label", "score_champion", "score_challenger"))
    days = scored["event_date"].rle_id().to_numpy().astype(np.int64)
    by_row, by_day = (paired.binary(y == 1, one, two, 0.5, block=block)["accuracy"] for block in (None, days))
    assert 2 < by_day.deviation / by_row.deviation < 3
    assert (said.lower, said.upper) == pytest.approx(by_day.interval())
