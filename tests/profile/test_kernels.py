"""Bins by look-up are those of a search, and sums of whole numbers are whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.profile.cells import compact
from mlobs_pipelines.profile.kernels import Binner, add_rows, add_values, folded, occurring
from mlobs_pipelines.tasks.base import OCTAVE_BINS, ZERO, octave_bin

finite = st.floats(allow_nan=False, allow_infinity=False)


def around(edges: list[float]) -> list[float]:
    below = [math.nextafter(e, -math.inf) for e in edges]
    above = [math.nextafter(e, math.inf) for e in edges]
    return [*edges, *below, *above, 0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308]


@settings(max_examples=300, deadline=None)
@given(st.lists(finite, max_size=300, unique=True), st.lists(finite, max_size=50))
def test_a_bin_is_the_count_of_edges_at_or_below_a_number(edges, values):
    edges = sorted({e + 0.0 for e in edges})
    x = np.array([*values, *around(edges)]) + 0.0
    assert Binner.of(edges)(x, -1).tolist() == np.searchsorted(edges, x, side="right").tolist()


@pytest.mark.parametrize("spread", ["normal", "heavy", "close", "ties", "tiny", "exact powers"])
def test_edges_of_any_spread_are_looked_up_exactly(spread):
    rng = np.random.default_rng(1)
    x = {
        "normal": rng.standard_normal(20_000),
        "heavy": rng.standard_cauchy(20_000) ** 3,
        "close": 1e6 + rng.random(20_000) * 1e-6,
        "ties": np.round(rng.exponential(30, 20_000), 1),
        "tiny": rng.random(20_000) * 1e-310,
        "exact powers": 2.0 ** rng.integers(-60, 60, 20_000),
    }[spread]
    edges = np.unique(np.quantile(x, np.linspace(0, 1, 256), method="inverted_cdf"))
    values = np.concatenate([x, around(edges.tolist())]) + 0.0
    assert (Binner.of(edges)(values, -1) == np.searchsorted(edges, values, side="right")).all()


def test_a_missing_number_has_the_bin_that_is_named_for_it():
    assert Binner.of([1.0, 2.0])(np.array([np.nan, 1.0, -np.nan]), 7).tolist() == [7, 1, 7]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-(2**53), 2**53), st.integers(-5, 5)), max_size=200
    )
)
def test_sums_are_exact_where_doubles_would_round(rows):
    cell = np.array([r[0] for r in rows], np.intp)
    bins = np.array([r[1] for r in rows], np.int32)
    weights = np.array([r[2:] for r in rows], np.int64).reshape(-1, 2)
    total = np.ones((3, 4, 1), np.int64)
    add_rows(total, cell, bins, weights)
    expected = [[1 + sum(w for c, b, w, _ in rows if (c, b) == (i, k)) for k in range(4)] for i in range(3)]
    assert total[:, :, 0].tolist() == expected


def test_four_sums_are_those_of_four_single_ones():
    rng = np.random.default_rng(3)
    cell, bins = rng.integers(0, 3, 500), rng.integers(0, 4, 500).astype(np.int32)
    weights = rng.integers(-(2**50), 2**50, (500, 4))
    total = np.ones((3, 4, 4), np.int64)
    add_rows(total, cell, bins, weights)
    for k in range(4):
        single = np.ones((3, 4, 1), np.int64)
        add_rows(single, cell, bins, weights[:, k : k + 1])
        assert total[:, :, k].tolist() == single[:, :, 0].tolist()


@pytest.mark.parametrize("bin_", [-1, 4])
def test_a_bin_beyond_the_sums_is_refused_and_nothing_is_added(bin_):
    total = np.zeros((3, 4, 4), np.int64)
    cell, bins = np.zeros(2, np.intp), np.array([0, bin_], np.int32)
    weights = np.ones((2, 4), np.int64)
    with pytest.raises(IndexError):
        add_rows(total, cell, bins, weights)
    with pytest.raises(IndexError):
        add_values(total, cell, bins, weights[:, :2], np.ones(2), 0.0, 1.0, 10.0, 1.0)
    assert not total.any()


def test_negative_zero_is_in_the_bin_of_zero():
    for edges in ([-1.0, 0.0, 1.0], [-1e300, -1e-300, 0.0, 1e-300, 1e300]):
        bins = Binner.of(edges)(np.array([0.0, -0.0]), 9)
        assert bins[0] == bins[1] == edges.index(0.0) + 1


@given(st.lists(st.integers(-(2**40), 2**40), max_size=50))
def test_compact_numbers_are_places_among_the_distinct_values(values):
    distinct, place = compact(np.array(values, dtype=np.int64))
    assert distinct.tolist() == sorted(set(values))
    assert distinct[place].tolist() == values


def test_fixed_point_and_standardised_are_those_of_the_sql():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.standard_normal(5000) * 1e3, [1e300, -1e300, 0.0, 0.5 / 2**20, np.nan]])
    found = np.zeros((len(x), 1, 4), np.int64)
    weights = np.column_stack([np.ones(len(x), np.int64), np.arange(len(x))])
    add_values(found, np.arange(len(x)), np.zeros(len(x), np.int32), weights, x, 0.1, 3.0, 1000.0, 2.0**20)
    with DuckDBEngine(ordered=True, threads=1) as engine:
        import pyarrow as pa

        engine.register("numbers", pa.table({"x": pa.array(x, from_pandas=True)}))
        of_sql = sql.clipped(f"(x - {sql.number(0.1)}) / {sql.number(3.0)}", 1000.0)
        of_square = f"({of_sql}) * ({of_sql})"
        expected = engine.rows(
            f"select 1, row_number() over () - 1, coalesce({sql.fixed_point(of_sql, 20)}, 0), coalesce({sql.fixed_point(of_square, 20)}, 0) from numbers"
        )
    assert found[:, 0].tolist() == [list(row) for row in expected]


def staged(stages: list[sql.Stage], column: str, values: np.ndarray) -> np.ndarray:
    import pyarrow as pa

    with DuckDBEngine(ordered=True, threads=1) as engine:
        engine.register("numbers", pa.table({"x": values}))
        return engine.table(f"select {column} from {sql.staged('numbers', stages)}").column(column).to_numpy()


def test_the_logarithm_is_right_to_the_last_bits():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.random(20_000), 2.0 ** -rng.uniform(0, 52, 20_000), 1 - 2.0 ** -rng.uniform(1, 52, 20_000)])
    x = np.clip(np.concatenate([x, 2.0 ** -np.arange(53.0)]), 2.0**-52, 1 - 2.0**-53)
    found = staged(sql.natural_log("y", "x"), "y", x)
    exact = np.log(x)
    assert np.abs(found - exact).max() <= 4 * np.spacing(np.abs(exact).max())
    assert (np.abs(found - exact) / np.abs(exact)).max() < 1e-15


def test_logarithmic_bins_begin_on_their_edges():
    k = np.arange(-640, 640)
    roots = np.exp2(np.arange(32, dtype=np.longdouble) / 32).astype(np.float64)
    edges = np.ldexp(roots[k % 32], k // 32)
    x = np.concatenate([edges, np.nextafter(edges, 0), [0.0, -1.0, 1e-300, 1e300]])
    found = staged(octave_bin("b", "x"), "b", x)
    assert found[: len(k)].tolist() == k.tolist()
    assert found[len(k) : 2 * len(k)].tolist() == (k - 1).tolist()
    assert found[-4:].tolist() == [ZERO, ZERO, OCTAVE_BINS[2], OCTAVE_BINS[-1]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32))
def test_sums_by_fewer_cells_and_bins_lose_nothing_and_only_those_that_occur_are_told(cells, width, sums, seed):
    rng = np.random.default_rng(seed)
    total = rng.integers(-1, 2, (cells, width, sums)) * rng.integers(0, 2, (cells, width, 1))
    cell, bins = rng.integers(0, 3, cells).astype(np.intp), rng.integers(0, 2, width).astype(np.int32)
    expected = np.zeros((3, 2, sums), np.int64)
    np.add.at(expected, np.ix_(cell, bins), total)
    fewer = folded(total, cell, bins, 3, 2)
    assert (fewer == expected).all()
    at, number, found = occurring(fewer)
    assert list(zip(at, number, strict=True)) == list(zip(*np.nonzero(expected.any(axis=2)), strict=True))
    assert (found == expected[at, number].T).all()
