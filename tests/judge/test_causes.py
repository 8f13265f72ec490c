"""Shares of a change: an identity, with intervals that hold what they promise."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.judge.causes import Period, of_a_mean, split, versions
from tests.judge.series import day, spec_of


def sums(rng, days, shares, means, rows=2000):
    n = rng.multinomial(rows, shares, size=days).astype(float)
    return n, rng.binomial(n.astype(int), means).astype(float)


def test_mix_and_rate_add_up_to_the_change_whatever_the_cells():
    rng = np.random.default_rng(1)
    for cells in (1, 2, 7, 40):
        before = sums(rng, 9, rng.dirichlet(np.ones(cells)), rng.random(cells))
        after = sums(rng, 4, rng.dirichlet(np.ones(cells)), rng.random(cells))
        found = split(before, after)
        plain = after[1].sum() / after[0].sum() - before[1].sum() / before[0].sum()
        assert found.change == pytest.approx(plain)
        assert (found.mix + found.rate).sum() == pytest.approx(plain)
        np.testing.assert_allclose((found.mixes + found.rates).sum(axis=1), found.changes)


def test_the_split_is_that_of_a_hand_calculation():
    # half of the rows at 0.1 and half at 0.3, then a quarter at 0.2 and three quarters at 0.3
    found = split(
        (np.array([[50.0, 50.0]]), np.array([[5.0, 15.0]])), (np.array([[25.0, 75.0]]), np.array([[5.0, 22.5]]))
    )
    np.testing.assert_allclose(found.mix, [-0.25 * 0.15, 0.25 * 0.3])
    np.testing.assert_allclose(found.rate, [0.1 * 0.375, 0.0])


def test_a_cell_that_only_one_side_has_is_all_mix():
    found = split((np.array([[10.0, 0.0]]), np.array([[1.0, 0.0]])), (np.array([[5.0, 5.0]]), np.array([[0.5, 4.5]])))
    assert found.rate.sum() == 0
    assert found.overlap == pytest.approx(0.5)


def test_intervals_of_a_share_hold_it_as_often_as_they_say():
    rng = np.random.default_rng(7)
    p0, p1, m0, m1 = [0.5, 0.5], [0.3, 0.7], np.array([0.1, 0.3]), np.array([0.1, 0.45])
    truth = split((np.array([p0]) * 1e6, np.array([p0 * m0]) * 1e6), (np.array([p1]) * 1e6, np.array([p1 * m1]) * 1e6))
    true_share = truth.share(truth.mix, truth.mixes)[0]
    held = 0
    for trial in range(300):
        found = split(sums(rng, 28, p0, m0), sums(rng, 14, p1, m1), seed=trial)
        _, low, high = found.share(found.mix, found.mixes)
        held += low <= true_share <= high
    assert held / 300 == pytest.approx(0.95, abs=0.04)


def profile(after_loss, after_rows=None):
    """Two countries and one feature of two bins, 28 days before and 7 after, 100 labelled rows a day, bin and country."""
    rows = []
    for n in range(35):
        late = n >= 28
        for country in ("ES", "DE"):
            for bin_ in (0, 1):
                loss = (after_loss if late else {}).get((country, bin_), 10 + bin_)
                count = (after_rows if late and after_rows else {}).get((country, bin_), 100)
                common = {"event_date": day(n), "version": "2" if late else "1", "feature": "amount", "bin": bin_}
                wobble = 1 + 0.02 * ((n * 7 + bin_) % 5 - 2)
                sums_of = {"rows": count, "labeled": count, "loss": round(loss * count * wobble), "score": count}
                rows.append({**common, "segment": f"country={country}", **sums_of})
                rows.append({**common, "segment": "", **sums_of})
    return pl.DataFrame(rows).group_by("event_date", "version", "feature", "bin", "segment").sum()


BEFORE, AFTER = Period(day(0), day(27)), Period(day(28), day(34))


def test_a_loss_that_rises_in_one_country_at_equal_inputs_is_traced_there():
    suspects, rest = of_a_mean(profile({("ES", 0): 40, ("ES", 1): 40}), spec_of(), "", BEFORE, AFTER, labeled=True)
    first = next(s for s in suspects if s["kind"] == "segment")
    assert (first["segment"], first["share"]) == ("country=ES", pytest.approx(1.0, abs=0.02))
    assert rest == pytest.approx(1.0, abs=0.02)


def test_a_loss_that_rises_because_other_rows_came_is_not_laid_on_the_model():
    moved = {("ES", 0): 20, ("ES", 1): 180, ("DE", 0): 20, ("DE", 1): 180}
    suspects, rest = of_a_mean(
        profile({(c, b): 10 + b for c in ("ES", "DE") for b in (0, 1)}, moved),
        spec_of(),
        "",
        BEFORE,
        AFTER,
        labeled=True,
    )
    assert suspects[0]["kind"] == "feature"
    assert suspects[0]["share"] == pytest.approx(1.0, abs=0.15)
    assert rest == pytest.approx(0.0, abs=0.15)


def test_nothing_is_said_where_days_differ_as_much_as_the_periods():
    assert of_a_mean(profile({}), spec_of(), "", BEFORE, AFTER, labeled=True) == ([], None)


def test_the_version_of_a_day_is_that_of_most_rows():
    served = versions(profile({}), Period(day(27), day(28)))
    assert served == {day(27): "1", day(28): "2"}
    assert dt.date(2026, 2, 1) == day(27)
