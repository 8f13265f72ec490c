"""The small subset of SQL that DuckDB and Spark agree on, as text."""

from __future__ import annotations

from collections.abc import Sequence


def name(identifier: str) -> str:
    """A quoted identifier, whatever it contains."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    """A quoted string literal, whatever it contains."""
    return "'" + value.replace("'", "''") + "'"


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
        return f"case when {expression} < {float(edges[middle])!r}::double then {tree(low, middle)} else {tree(middle + 1, high)} end"

    return f"case when {expression} is null then null else {tree(0, len(edges))} end"


def fixed_point(expression: str, bits: int) -> str:
    """SQL for ``expression`` as an integer count of 2**-bits, rounded half up: sums of it are exact."""
    return f"cast(floor({expression} * {2**bits} + 0.5) as bigint)"


def clipped(expression: str, limit: float) -> str:
    """SQL for ``expression`` within +-limit; null stays null, which greatest() and least() alone would not keep."""
    bounded = f"greatest(least({expression}, {number(limit)}), {number(-limit)})"
    return f"case when {expression} is null then null else {bounded} end"
