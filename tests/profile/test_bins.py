"""Frozen bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.profile.bins import numeric_bins, score_edges
from mlobs_pipelines.tasks.base import SCORE_EDGES, score_bins

finite = st.floats(allow_nan=False, allow_infinity=False, width=64).filter(lambda x: abs(x) < 1e300)


@given(st.lists(finite, min_size=1, max_size=400))
@settings(max_examples=100, deadline=None)
def test_edges_ascend_hold_every_reference_value_and_leave_open_tails(values):
    bins = numeric_bins(np.array(values))
    edges = np.array(bins["edges"])
    assert (np.diff(edges) > 0).all()
    assert set(bins["coarse"]) <= set(bins["edges"])
    numbers = np.searchsorted(edges, values, side="right")
    assert numbers.min() >= 1
    assert numbers.max() < len(edges)
    assert bins["unit"] > 0


def test_few_distinct_values_each_have_a_bin_of_their_own():
    bins = numeric_bins(np.repeat([0.0, 1.0, 5.0], [50, 30, 20]))
    assert bins["edges"][:3] == bins["coarse"][:3] == [0.0, 1.0, 5.0]


def test_a_constant_column_tells_below_and_above_apart_from_itself():
    edges = numeric_bins(np.full(100, 3.5))["coarse"]
    assert list(np.searchsorted(edges, [3.4, 3.5, 3.6], side="right")) == [0, 1, 2]


def test_a_value_that_holds_a_tenth_of_the_rows_is_alone_in_its_coarse_bin():
    rng = np.random.default_rng(0)
    values = np.r_[np.zeros(600), rng.uniform(1, 2, 400)]
    coarse = numeric_bins(values)["coarse"]
    assert np.searchsorted(coarse, 0.0, side="right") != np.searchsorted(coarse, values[values > 0].min(), side="right")


def test_coarse_bins_of_a_continuous_column_hold_about_a_tenth_each():
    values = np.random.default_rng(1).normal(size=50_000)
    shares = np.bincount(np.searchsorted(numeric_bins(values)["coarse"], values, side="right")) / len(values)
    assert len(shares) == 10
    assert abs(shares - 0.1).max() < 0.005


@given(st.lists(finite, min_size=1, max_size=60), st.lists(finite, min_size=1, max_size=40, unique=True))
@settings(max_examples=40, deadline=None)
def test_the_engine_bins_as_numpy_does(values, edges):
    edges = sorted(edges)
    with DuckDBEngine() as engine:
        listed = ", ".join(f"({i}, {sql.number(v)})" for i, v in enumerate(values))
        rows = engine.rows(f"select {sql.bin_number('x', edges)} from (values {listed}) t(i, x) order by i")
    assert [r[0] for r in rows] == list(np.searchsorted(edges, values, side="right"))


def test_thresholds_are_edges_of_the_score():
    assert 0.123456 in score_bins([0.123456])
    assert {i / 10 for i in range(1, 10)} <= set(SCORE_EDGES)


@pytest.mark.parametrize("value", [0.5, -0.5, 1.25e-9, 0.9999999999])
def test_fixed_point_rounds_half_up_to_the_unit(value):
    with DuckDBEngine() as engine:
        ((got,),) = engine.rows(f"select {sql.fixed_point(sql.number(value), 30)}")
    assert got == int(np.floor(value * 2**30 + 0.5))


def test_scores_that_lie_close_together_have_bins_of_their_own():
    few = np.linspace(0.0101, 0.0102, 500)
    edges = score_edges(score_bins(), np.repeat(few, 3))
    assert set(few) | set(SCORE_EDGES) == set(edges)
    many = np.random.default_rng(0).uniform(0.01, 0.0101, 50_000)
    rows = np.bincount(np.searchsorted(score_edges(score_bins(), many), many, side="right"))
    assert rows.max() <= 2 * len(many) / 1024


def test_the_spread_of_a_constant_column_is_not_its_rounding():
    bins = numeric_bins(np.full(10_000, 0.414912))
    assert (bins["center"], bins["unit"]) == (0.414912, 1.0)
