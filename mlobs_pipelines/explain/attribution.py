"""Shapley values of a function of features against a fixed background: exact where it is additive, else by permutations.

The game is the interventional one: features outside a coalition are those of a background row. The players are the
logged features, never a model's encoded columns. All work over several outputs at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Function = Callable[[pl.DataFrame], Floats]
"""Rows of features -> outputs, shape (rows, outputs)."""

SEED = 20260101
PROBES = 512
"""Rows mixed of others on which additivity is tried."""


def mixed(pool: pl.DataFrame, index: Ints) -> pl.DataFrame:
    """Rows whose feature j is that of row ``index[:, j]`` of the pool."""
    return pl.DataFrame([column.gather(index[:, j]) for j, column in enumerate(pool.get_columns())])


def one_at_a_time(pool: pl.DataFrame, origin: int = 0) -> tuple[Ints, list[slice], list[Ints]]:
    """One row of the pool with each distinct value of each feature in turn.

    Returns:
        Rows to mix, the first of which is the origin itself; where those of each feature are; and for each feature
        which of its own every row of the pool is.
    """
    tried, own = [], []
    for column in pool.get_columns():
        numbered = pl.DataFrame({"value": column, "place": np.arange(pool.height)})
        nested = isinstance(column.dtype, pl.List | pl.Array)
        same = pl.col("place") if nested else pl.col("place").first().over("value")
        first, place = np.unique(numbered.select(same).to_series().to_numpy(), return_inverse=True)
        tried.append(first)
        own.append(place)
    ends = np.cumsum([1, *map(len, tried)])
    parts = [slice(int(start), int(end)) for start, end in itertools.pairwise(ends)]
    index = np.full((int(ends[-1]), pool.width), origin, np.int64)
    for j, part in enumerate(parts):
        index[part, j] = tried[j]
    return index, parts, own


def effects(function: Function, pool: pl.DataFrame) -> tuple[Floats, Floats]:
    """What each feature's value does to the pool's first row, all else left as it is there.

    Returns:
        Shape (rows, features, outputs): function of row 0 with one feature of each row, less that of row 0; and the
        function of row 0, shape (outputs,).
    """
    index, parts, own = one_at_a_time(pool)
    outputs = function(mixed(pool, index))
    found = np.stack([outputs[part][place] for part, place in zip(parts, own, strict=True)], axis=1) - outputs[0]
    return found, outputs[0]


def is_additive(function: Function, background: pl.DataFrame, rows: pl.DataFrame, tolerance: float) -> bool:
    """Whether the function is a sum of one term a feature, tried on rows mixed at random of all those given.

    Such mixtures are what the Shapley values' coalitions are made of, so a function that passes is explained exactly
    by its terms.
    """
    pool = pl.concat([background, rows])
    index = np.random.default_rng(SEED).integers(0, pool.height, (PROBES, pool.width))
    terms, origin = effects(function, pool)
    together = origin + terms[index, np.arange(pool.width)].sum(axis=1)
    with np.errstate(invalid="ignore"):
        return bool((np.abs(together - function(mixed(pool, index))) <= tolerance).all())


def additive(function: Function, background: pl.DataFrame, rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """Exact Shapley values of an additive function: each feature's term less its mean over the background.

    For a linear model that is w (x - E x), as in Lundberg & Lee 2017, corollary 1.

    Returns:
        Attributions, shape (rows, features, outputs), and the mean output of the background, shape (outputs,).
    """
    terms, origin = effects(function, pl.concat([background, rows]))
    center = terms[: background.height].mean(axis=0)
    return terms[background.height :] - center, origin + center.sum(axis=0)


def permutation(function: Function, background: pl.DataFrame, rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """Shapley values by sampled orders of the features (Štrumbelj & Kononenko 2014).

    From each background row the features of the explained row are taken over in one order, in every second row in the
    reverse of the order before. The orders are fixed, so a row always gets the same values, which always add up.

    Returns:
        As :func:`additive`.
    """
    count, features = rows.height, rows.width
    pool = pl.concat([background, rows])
    own = background.height + np.arange(count)
    first, last = function(background), function(rows)
    rng = np.random.default_rng(SEED)
    found = np.zeros((count, features, first.shape[1]))
    order = np.arange(features)
    for b in range(background.height):
        order = order[::-1] if b % 2 else rng.permutation(features)
        index = np.full((features - 1, count, features), b, np.int64)
        for step in range(features - 1):
            index[step:, :, order[step]] = own
        between = function(mixed(pool, index.reshape(-1, features))) if features > 1 else np.zeros((0, first.shape[1]))
        path = np.concatenate(
            [np.broadcast_to(first[b], last.shape)[None], between.reshape(-1, *last.shape), last[None]]
        )
        found[:, order] += np.diff(path, axis=0).transpose(1, 0, 2)
    return found / background.height, first.mean(axis=0)
