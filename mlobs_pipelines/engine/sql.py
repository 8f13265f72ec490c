"""The small subset of SQL that DuckDB and Spark agree on, as text."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


class Engine(Protocol):
    """What runs this SQL: the embedded engine, or a cluster's."""

    def table(self, query: str) -> pa.Table:
        """The result of a query, as Arrow."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The result of a small query, as Python values."""

    def keep(self, name: str, query: str) -> None:
        """Make the result of a query a table of this session, in place of one of the same name."""

    def register(self, view: str, data: pa.Table) -> None:
        """Make an Arrow table readable under a name."""

    def scan(self, paths: Sequence[Path]) -> str:
        """SQL for the rows of Parquet files, columns matched by name."""

    def has_key(self, document: str, key: str) -> str:
        """SQL for whether a JSON object (text, may be null) has a key."""

    def bin_number(self, expression: str, edges: Sequence[float]) -> str:
        """SQL for the count of ``edges`` (ascending) that are <= ``expression``; null stays null."""


def name(identifier: str) -> str:
    """A quoted identifier, whatever it contains."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    """A quoted string literal, whatever it contains."""
    return "'" + value.replace("'", "''") + "'"


def date(value: dt.date) -> str:
    """A date literal."""
    return f"date '{value.isoformat()}'"


def dates(values: Iterable[dt.date]) -> str:
    """Date literals, listed in ascending order."""
    return ", ".join(date(value) for value in sorted(values))


def number(value: float) -> str:
    """A double literal that reads back as the same bits."""
    return f"cast({text(repr(float(value)))} as double)"


def bin_number(expression: str, edges: Sequence[float]) -> str:
    """SQL for the count of ``edges`` (ascending) that are <= ``expression``; null stays null.

    A balanced tree of comparisons: log2(len(edges)) of them per row, no join, the same in every engine.
    """

    def tree(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        return f"case when {expression} < {number(edges[middle])} then {tree(low, middle)} else {tree(middle + 1, high)} end"

    return f"case when {expression} is null then null else {tree(0, len(edges))} end"


def fixed_point(expression: str, bits: int) -> str:
    """SQL for ``expression`` as an integer count of 2**-bits, rounded half up: sums of it are exact."""
    return f"cast(floor({expression} * {2**bits} + 0.5) as bigint)"


def clipped(expression: str, limit: float) -> str:
    """SQL for ``expression`` within +-limit; null stays null, which greatest() and least() alone would not keep."""
    bounded = f"greatest(least({expression}, {number(limit)}), {number(-limit)})"
    return f"case when {expression} is null then null else {bounded} end"


Stage = Mapping[str, str]
"""Columns, by name, that are made of those of earlier stages."""


def staged(relation: str, stages: Iterable[Stage]) -> str:
    """SQL for ``relation`` with the columns of the stages, each computed once a row and known to the stages after it."""
    for stage in stages:
        listed = ", ".join(f"{expression} as {column}" for column, expression in stage.items())
        relation = f"(select *, {listed} from {relation})"
    return relation


def needed(stages: Sequence[Stage], expressions: Iterable[str]) -> list[Stage]:
    """The stages without columns that the expressions are not made of: to plan those took longer than to compute the rest."""
    words = set(_WORD.findall(" ".join(expressions)))
    kept: list[Stage] = []
    for stage in reversed(stages):
        used = {column: expression for column, expression in stage.items() if column in words}
        if used:
            kept.append(used)
            words.update(_WORD.findall(" ".join(used.values())))
    return kept[::-1]


_WORD = re.compile(r"\w+")
_ODD = range(21, 1, -2)


def octave(column: str, x: str, lowest: float = 1.0, most: int | None = None) -> list[Stage]:
    """Stages that give ``column`` the whole k with x = m 2**k and m in [lowest, 2 lowest), and ``<column>_m`` that m.

    For x above 0, and 1/2 < lowest <= 1; k is kept within +-``most``. The engine's logarithm is right but for its last bits: which k
    it must be is told by comparisons, which are exact, and so are products with powers of two.
    """
    guess, near = f"{column}_guess", f"{column}_near"
    low, high = number(lowest), number(2 * lowest)

    def kept(k: str) -> str:
        return k if most is None else f"greatest(least({k}, {number(most)}), {number(-most)})"

    return [
        {guess: kept(f"floor(log2({x}))")},
        {near: f"({x}) * power({number(2)}, -{guess})"},
        {
            column: f"cast({kept(f'{guess} + case when {near} >= {high} then 1 when {near} < {low} then -1 else 0 end')} "
            "as bigint)"
        },
        {
            f"{column}_m": f"{near} * case when {column} > {guess} then {number(0.5)} when {column} < {guess} then {number(2)} else {number(1)} end"
        },
    ]


def natural_log(column: str, x: str) -> list[Stage]:
    """Stages that give ``column`` the natural logarithm of ``x`` in [2**-52, 1], to the last few bits of a double.

    Engines' own logarithms differ in the last bit, and then now and then in a sum of rounded values. This one is made of
    operations that IEEE 754 defines: x = m 2**k with m in [sqrt(1/2), sqrt(2)), and log(m) = 2 artanh((m - 1) / (m + 1)).
    """
    k, s, z = (f"{column}_{part}" for part in "ksz")
    m = f"{k}_m"
    series = number(2 / _ODD[0])
    for odd in _ODD[1:]:
        series = f"({number(2 / odd)} + {z} * {series})"
    return [
        *octave(k, x, math.sqrt(0.5)),
        {s: f"({m} - {number(1)}) / ({m} + {number(1)})"},
        {z: f"{s} * {s}"},
        {column: f"{k} * {number(math.log(2))} + {s} * ({number(2)} + {z} * {series})"},
    ]
