"""Census incomes: a tree's rates by group, and published figures of the set."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from tests.real.logs import Log, prepare_adult
from tests.real.replay import compare, metrics, once

pytestmark = pytest.mark.slow

ALL = (pl.col("window_start") == dt.date(2026, 3, 2)) & (pl.col("window_end") == dt.date(2026, 3, 6))


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return once(tmp_path_factory, "adult", prepare_adult)


def test_rates_of_all_rows_and_of_each_sex_are_those_published(log: Log) -> None:
    last = metrics(log, log.nights[-1]).filter(ALL & (pl.col("version") == ""))
    before = metrics(log, log.nights[-2]).filter(ALL & (pl.col("version") == ""))

    def rate(of: pl.DataFrame, metric: str, group: str = "") -> float:
        family = "fairness" if group else "performance"
        rows = of.filter((pl.col("metric") == metric) & (pl.col("family") == family) & (pl.col("segment") == group))
        return round(float(rows["value"].item()), 5)

    assert rate(last, "accuracy") == 0.84436
    assert rate(last, "accuracy", "sex=Female") == 0.92515
    assert rate(last, "accuracy", "sex=Male") == 0.80429
    assert rate(before, "selection_rate") == 0.16385
    assert rate(before, "selection_rate", "sex=Female") == 0.06355
    assert rate(before, "selection_rate", "sex=Male") == 0.21360


def test_drift_between_parts_of_the_set_is_that_published(log: Log) -> None:
    """The first 10,000 rows against the second and the third, as in alibi-detect's example."""
    for day, age, workclass in ((dt.date(2026, 3, 3), 0.012, 8.487), (dt.date(2026, 3, 4), 0.007, None)):
        rows = metrics(log, day).filter(
            (pl.col("window_start") == day)
            & (pl.col("window_end") == day)
            & (pl.col("segment") == "")
            & (pl.col("version") == "")
        )
        found = {(r["metric"], r["subject"]): r for r in rows.iter_rows(named=True)}
        ks = found["kolmogorov_smirnov", "age"]
        assert (round(ks["value"], 3), ks["error_bound"]) == (age, 0)
        if workclass:
            assert round(found["chi_squared", "workclass"]["value"], 3) == workclass


def test_every_stored_number_is_that_of_the_rows(log: Log) -> None:
    found = compare(log, log.nights[3], windows_per_length=1)
    assert found.wrong == []
    assert {m for f, m in found.compared if f == "fairness"} >= {"demographic_parity_difference", "disparate_impact"}
