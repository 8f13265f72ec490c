"""Which numbers are off: by more than chance gives, and by enough to matter."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from mlobs_pipelines.judge.monitors import critical_z
from tests.judge.series import auc, drift, judged, missing, number, spec_of, story


def last(judgements, **where):
    rows = judgements[-1].signals
    for name, value in where.items():
        rows = rows.filter(pl.col(name) == value)
    return rows.row(0, named=True)


def test_a_rate_is_expected_where_it_usually_is():
    signal = last(story([0.01, 0.02, 0.015] * 4))
    assert signal["expected"] == pytest.approx(0.015)
    assert not signal["breach"]


def test_without_a_week_of_history_the_references_value_is_expected():
    assert last(story([0.03]))["expected"] == pytest.approx(0.01)


def test_a_breach_needs_both_an_effect_that_matters_and_more_than_chance():
    usual = [0.01] * 10
    assert last(story([*usual, 0.2]))["breach"]
    assert not last(story([*usual, 0.04]))["breach"], "beyond chance, but of no matter"
    noisy = [missing(i, 0.01) for i in range(10)] + [missing(10, 0.2, lower=0.0, upper=0.6)]
    assert not last(judged([(i, [row]) for i, row in enumerate(noisy)]))["breach"], "large, but so is chance"


def test_what_varies_from_night_to_night_needs_a_larger_effect_than_its_interval_says():
    calm = story([0.05] * 14 + [0.13], baseline=None)
    restless = story([0.02, 0.08, 0.1, 0.01, 0.05, 0.03, 0.09] * 2 + [0.13], baseline=None)
    assert last(calm)["breach"]
    assert not last(restless)["breach"]


def test_a_number_is_compared_with_its_own_weekday_if_that_is_closer():
    weekly = [5000.0 if i % 7 < 5 else 500.0 for i in range(27)]
    nights = [(i, [number(i, "traffic", "predictions", v, error=None)]) for i, v in enumerate(weekly)]
    assert not any(j.signals["breach"].any() for j in judged(nights))
    quiet = [*nights, (27, [number(27, "traffic", "predictions", 60.0, error=None)])]
    assert last(judged(quiet))["breach"]


def test_nights_that_were_off_are_no_part_of_what_is_usual():
    judgements = story([0.01] * 10 + [0.5] * 10)
    assert all(last(judgements[: n + 1])["breach"] for n in range(10, 20))
    assert last(judgements)["expected"] == pytest.approx(0.01)


def test_a_drift_that_has_lasted_three_weeks_is_the_new_level():
    judgements = story([0.05] * 10 + [0.4] * 24, drift)
    breaches = [last(judgements[: n + 1])["breach"] for n in range(10, 34)]
    assert all(breaches[:20])
    assert not any(breaches[22:])


def test_drift_is_not_judged_before_a_week_is_known():
    assert not any(j.signals["breach"].any() for j in story([0.5] * 7, drift))


def test_performance_that_declines_too_slowly_to_notice_is_told_from_the_reference():
    slow = [0.9 - 0.002 * i for i in range(60)]
    judgements = story(slow, auc)
    breached = next(i for i, j in enumerate(judgements) if j.signals["breach"].any())
    assert 0.9 - slow[breached] == pytest.approx(0.06, abs=0.03)


def test_provisional_windows_are_not_judged():
    assert not story([0.9] * 10, auc, status="provisional")[-1].signals.height


def test_an_override_judges_by_its_own_threshold():
    spec = spec_of(
        monitors={"windows": ["1d", "7d"], "overrides": [{"metric": "missing_rate", "subject": "amount", "warn": 0.3}]}
    )
    nights = [(i, [missing(i, 0.01 if i < 10 else 0.25)]) for i in range(12)]
    assert not any(j.signals["breach"].any() for j in judged(nights, spec))
    over = [(i, [missing(i, 0.01 if i < 10 else 0.35)]) for i in range(12)]
    assert last(judged(over, spec))["breach"]


def test_a_smaller_budget_of_false_alarms_asks_for_more_than_a_larger_one():
    strict, loose = (spec_of(monitors={"false_alarms_per_month": b}) for b in (0.1, 10))
    assert critical_z(strict, 100) > critical_z(loose, 100)
    assert norm.sf(critical_z(strict, 100)) * 30 * 100 == pytest.approx(0.1)


def test_numbers_that_never_change_raise_no_more_false_breaches_than_the_budget():
    """500 rates that are binomial, 60 nights: with a budget of 1 a month, about 2 breaches are due beyond chance alone."""
    rng = np.random.default_rng(5)
    n, rate, series, nights = 400, 0.2, 500, 60
    spec = spec_of(monitors={"windows": ["1d", "7d"]})
    counts = rng.binomial(n, rate, (nights, series)) / n
    error = np.sqrt(counts * (1 - counts) / n)
    rows = [
        (
            night,
            [
                missing(
                    night,
                    float(v),
                    subject=f"f{i}",
                    baseline=rate,
                    lower=float(v - 1.96 * e),
                    upper=float(v + 1.96 * e),
                    rows=n,
                )
                for i, (v, e) in enumerate(zip(counts[night], error[night], strict=True))
            ],
        )
        for night in range(nights)
    ]
    judgements = judged(rows, spec)
    beyond = sum(int((j.signals["effect"] >= j.signals["chance"]).sum()) for j in judgements)
    assert beyond <= 8
    assert all(j.incidents.is_empty() for j in judgements)


def test_verdicts_stand_in_the_metrics():
    judgements = story([0.01] * 10 + [0.5] * 2)
    assert judgements[9].metrics["status"].to_list() == ["ok"]
    assert judgements[-1].metrics["status"].to_list() == ["alert"]
    doubtful = story([0.01] * 10 + [0.08])
    assert doubtful[-1].metrics["status"].to_list() == ["warn"]
    assert dt.date(2026, 1, 15) == doubtful[-1].metrics["as_of"][0]
