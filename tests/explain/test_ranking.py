"""Features that changed and matter come first."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from mlobs_pipelines.explain.ranking import SCHEMA, ranking
from mlobs_pipelines.store.tables import METRICS

LAST = dt.date(2026, 2, 1)


def metrics(
    metric: str, values: dict[str, float | None], *, days: int = 7, ago: int = 0, as_of: int = 0
) -> pl.DataFrame:
    end = LAST - dt.timedelta(days=ago)
    rows: list[dict[str, Any]] = [
        {
            "metric": metric,
            "subject": subject,
            "value": value,
            "window_start": end - dt.timedelta(days=days - 1),
            "window_end": end,
            "as_of": LAST + dt.timedelta(days=as_of),
        }
        for subject, value in values.items()
    ]
    return pl.DataFrame(rows, schema=METRICS)


def test_the_score_is_drift_times_the_share_of_all_attributions() -> None:
    drift = metrics("jensen_shannon", {"a": 0.5, "b": 0.1, "c": 0.4})
    found = ranking(drift, metrics("mean_abs_shap", {"a": 0.1, "b": 0.7, "c": 0.2}))
    expected = pl.DataFrame(
        [("c", 0.4, 0.2, 0.08, 1), ("b", 0.1, 0.7, 0.07, 2), ("a", 0.5, 0.1, 0.05, 3)], schema=SCHEMA, orient="row"
    )
    assert_frame_equal(found, expected)


def test_what_is_not_known_comes_last_and_outputs_are_no_features() -> None:
    drift = metrics("jensen_shannon", {"a": 0.0, "new": 0.9, "score": 0.9, "label": 0.9, "gone": None})
    found = ranking(drift, metrics("mean_abs_shap", {"a": 3.0, "gone": 1.0}))
    assert found["feature"].to_list() == ["a", "gone", "new"]
    assert found["score"].to_list() == [0.0, None, None]
    assert found["importance"].to_list() == [0.75, 0.25, None]
    assert found["drift"].to_list() == [0.0, None, 0.9]


def test_the_newest_longest_window_counts_as_it_is_known_last() -> None:
    drift = pl.concat(
        [
            metrics("jensen_shannon", {"a": 0.9}, ago=1),
            metrics("jensen_shannon", {"a": 0.8}, days=1),
            metrics("jensen_shannon", {"a": 0.7}),
            metrics("jensen_shannon", {"a": 0.6}, as_of=2),
            metrics("psi", {"a": 5.0}),
        ]
    )
    matter = metrics("mean_abs_shap", {"a": 1.0})
    assert ranking(drift, matter)["drift"].to_list() == [0.6]
    assert ranking(drift, matter, metric="psi")["drift"].to_list() == [5.0]


def test_features_that_all_do_nothing_have_no_importance() -> None:
    found = ranking(metrics("jensen_shannon", {"b": 0.1, "a": 0.1}), metrics("mean_abs_shap", {"a": 0.0, "b": 0.0}))
    assert found["importance"].to_list() == [None, None]
    assert found["feature"].to_list() == ["a", "b"]


def test_nothing_known_is_an_empty_table() -> None:
    assert ranking(pl.DataFrame(schema=METRICS), pl.DataFrame(schema=METRICS)).equals(pl.DataFrame(schema=SCHEMA))
