"""Loans approved in 2004: defaults are known within years, repayments in a decade."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from tests.real.logs import Log, prepare_sba_loans
from tests.real.replay import compare, metrics, once

pytestmark = pytest.mark.slow

YEAR = (pl.col("window_start") == dt.date(2004, 1, 1)) & (pl.col("window_end") == dt.date(2004, 12, 31))


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return once(tmp_path_factory, "sba", prepare_sba_loans)


def said(log: Log, night: dt.date, metric: str) -> dict[str, object]:
    rows = metrics(log, night).filter(YEAR & (pl.col("version") == "") & (pl.col("metric") == metric))
    return rows.row(0, named=True)


def test_four_years_on_an_eighth_is_labelled_and_half_of_that_are_defaults(log: Log) -> None:
    night = dt.date(2008, 1, 1)
    coverage, rate = said(log, night, "label_coverage"), said(log, night, "base_rate")
    assert coverage["rows"] == 11_370
    assert round(100 * float(str(coverage["value"])), 1) == 12.8
    assert round(100 * float(str(rate["value"])), 1) == 49.6
    assert rate["status"] == "provisional"


def test_in_the_end_a_quarter_defaulted(log: Log) -> None:
    night = log.nights[-1]
    assert said(log, night, "label_coverage")["value"] == 1
    assert round(100 * float(str(said(log, night, "base_rate")["value"])), 1) == 25.5


@pytest.mark.parametrize("night", [dt.date(2004, 12, 31), dt.date(2008, 1, 1), dt.date(2015, 1, 1)])
def test_every_stored_number_is_that_of_the_rows(log: Log, night: dt.date) -> None:
    found = compare(log, night, also=(dt.date(2004, 1, 1), dt.date(2004, 12, 31)))
    assert found.wrong == []
    assert found.worst.get("roc_auc", 0) < 0.001
