"""Shapley values are those of their definition, of shap, and of the closed form where there is one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.explain.attribution import additive, is_additive, mixed, permutation


def frame(values: Any) -> pl.DataFrame:
    return pl.DataFrame({f"x{j}": values[:, j] for j in range(values.shape[1])})


def on_numbers(function: Any) -> Any:
    return lambda rows: np.asarray(function(rows.to_numpy()), float).reshape(rows.height, -1)


def by_definition(function: Any, background: Any, row: Any) -> Any:
    """The weighted mean over all coalitions of what a feature adds to the mean over the background."""
    count = len(row)

    def worth(coalition: tuple[int, ...]) -> float:
        hybrid = background.copy()
        hybrid[:, list(coalition)] = row[list(coalition)]
        return float(function(hybrid).mean())

    found = np.zeros(count)
    for j in range(count):
        others = [k for k in range(count) if k != j]
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for coalition in itertools.combinations(others, size):
                found[j] += weight * (worth((*coalition, j)) - worth(coalition))
    return found


RNG = np.random.default_rng(3)
BACKGROUND, ROWS = RNG.normal(size=(100, 4)), RNG.normal(size=(20, 4)) + 1
WEIGHTS = np.array([2.0, -1.0, 0.0, 0.5])


def linear(x: Any) -> Any:
    return x @ WEIGHTS + 3


def wavy(x: Any) -> Any:
    return np.sin(x[:, 0]) + np.abs(x[:, 1]) - (x[:, 2] > 0) * 2


def tangled(x: Any) -> Any:
    return x[:, 0] * x[:, 1] + np.maximum(x[:, 2], x[:, 3]) + x[:, 0]


def test_a_linear_function_is_explained_by_its_closed_form_and_as_shap_explains_it() -> None:
    import shap

    phi, base = additive(on_numbers(linear), frame(BACKGROUND), frame(ROWS))
    np.testing.assert_allclose(phi[:, :, 0], (ROWS - BACKGROUND.mean(axis=0)) * WEIGHTS, atol=1e-12)
    explainer = shap.LinearExplainer((WEIGHTS, 3.0), shap.maskers.Independent(BACKGROUND, max_samples=100))
    np.testing.assert_allclose(phi[:, :, 0], explainer.shap_values(ROWS), atol=1e-12)
    np.testing.assert_allclose(base, [explainer.expected_value], atol=1e-12)


def test_terms_of_any_shape_are_explained_exactly() -> None:
    phi, base = additive(on_numbers(wavy), frame(BACKGROUND), frame(ROWS))
    for i in range(3):
        np.testing.assert_allclose(phi[i, :, 0], by_definition(wavy, BACKGROUND, ROWS[i]), atol=1e-12)
    np.testing.assert_allclose(base, wavy(BACKGROUND).mean(), atol=1e-12)


def test_permutations_add_up_exactly_and_come_near_the_definition() -> None:
    phi, base = permutation(on_numbers(tangled), frame(BACKGROUND), frame(ROWS))
    np.testing.assert_allclose(base + phi.sum(axis=1)[:, 0], tangled(ROWS), atol=1e-12)
    exact = np.array([by_definition(tangled, BACKGROUND, row) for row in ROWS])
    assert np.abs(phi[:, :, 0] - exact).mean() < 0.15
    assert np.corrcoef(phi[:, :, 0].ravel(), exact.ravel())[0, 1] > 0.98


def test_permutations_of_an_additive_function_are_exact() -> None:
    sampled = permutation(on_numbers(wavy), frame(BACKGROUND), frame(ROWS))
    exact = additive(on_numbers(wavy), frame(BACKGROUND), frame(ROWS))
    np.testing.assert_allclose(sampled[0], exact[0], atol=1e-12)
    np.testing.assert_allclose(sampled[1], exact[1], atol=1e-12)


@pytest.mark.parametrize("method", [additive, permutation])
def test_a_feature_that_does_nothing_gets_nothing(method: Any) -> None:
    phi, _ = method(on_numbers(wavy), frame(BACKGROUND), frame(ROWS))
    assert (phi[:, 3] == 0).all()


@pytest.mark.parametrize("method", [additive, permutation])
def test_a_row_gets_the_same_values_whatever_rows_are_beside_it(method: Any) -> None:
    together, _ = method(on_numbers(wavy), frame(BACKGROUND), frame(ROWS))
    alone, _ = method(on_numbers(wavy), frame(BACKGROUND), frame(ROWS[7:8]))
    assert np.array_equal(together[7], alone[0])
    assert np.array_equal(together, method(on_numbers(wavy), frame(BACKGROUND), frame(ROWS))[0])


def test_several_outputs_are_explained_at_once() -> None:
    both = on_numbers(lambda x: np.column_stack([wavy(x), linear(x)]))
    phi, base = permutation(both, frame(BACKGROUND), frame(ROWS))
    for k, one in enumerate((wavy, linear)):
        alone = permutation(on_numbers(one), frame(BACKGROUND), frame(ROWS))
        np.testing.assert_allclose(phi[:, :, k], alone[0][:, :, 0], atol=1e-12)
        np.testing.assert_allclose(base[k], alone[1][0], atol=1e-12)


def test_a_single_feature_gets_all() -> None:
    one = on_numbers(lambda x: x[:, 0] ** 2)
    phi, base = permutation(one, frame(BACKGROUND[:, :1]), frame(ROWS[:, :1]))
    np.testing.assert_allclose(phi[:, 0, 0], ROWS[:, 0] ** 2 - base[0], atol=1e-12)


@pytest.mark.parametrize(("function", "is_a_sum"), [(linear, True), (wavy, True), (tangled, False)])
def test_additivity_is_told_apart(function: Any, is_a_sum: bool) -> None:
    assert is_additive(on_numbers(function), frame(BACKGROUND), frame(ROWS), 1e-6) is is_a_sum


def test_an_interaction_in_one_row_of_a_hundred_is_seen() -> None:
    def rare(x: Any) -> Any:
        return linear(x) + 5.0 * ((x[:, 0] > 1.2) & (x[:, 1] > 1.2))

    assert not is_additive(on_numbers(rare), frame(BACKGROUND), frame(ROWS), 1e-6)


def test_a_mixture_takes_each_feature_from_the_row_it_names_and_keeps_types() -> None:
    pool = pl.DataFrame({"n": [1.0, None, 3.0], "t": ["x", "y", None]})
    found = mixed(pool, np.array([[2, 0], [1, 2]]))
    assert found.equals(pl.DataFrame({"n": [3.0, None], "t": ["x", None]}, schema=pool.schema))
