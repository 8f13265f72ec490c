"""What a task must say: which outputs to profile, as SQL sums over rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlobs_pipelines.engine import sql

UNIT_BITS = 30
"""Sums of scores, probabilities and losses are integer counts of 2**-30."""
SQUARE_BITS = 20
"""Sums of squared losses and of standardised values are integer counts of 2**-20."""
STANDARD_LIMIT = 1000.0
"""Standardised values are clipped here, so that a wild value cannot overflow a sum."""
ZERO = -100_000
"""Bin of a value of zero or less where bins are logarithmic: below every other."""
ABSENT = -1_000_000
"""Bin of a value that was not logged where bins are logarithmic."""
OCTAVE = 32
"""Logarithmic bins per doubling: each is 2.2 % wide."""


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


SCORE_EDGES: tuple[float, ...] = tuple(
    sorted({i / 500 for i in range(1, 500)} | {_logistic(i / 16) for i in range(-256, 257)})
)
"""Edges of the score's bins, the same for every model: steps of 1/500, and of 1/16 on the logit scale for
scores near 0 and 1. They need no reference, so a model is measured from its first night on."""


@dataclass(frozen=True)
class Output:
    """One binned output of a model and the sums kept per bin.

    ``bin`` and the sums are SQL over a row of accepted predictions, ``at_label`` also over ``label``; sums are
    bigint expressions that are added over rows, those of ``at_label`` times the fact's sign.
    """

    name: str
    bin: str
    at_prediction: Mapping[str, str] = field(default_factory=dict)
    at_label: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RowSums:
    """SQL for what every feature's bin keeps about a row: its score, and at the label its label and loss."""

    score: str
    label: str
    loss: str
    loss_sq: str


def score_bins(thresholds: Sequence[float] = ()) -> list[float]:
    """Edges of a probability's bins; operating points are edges, so metrics there are exact."""
    return sorted({*SCORE_EDGES, *thresholds})


def standardised(expression: str, center: float, unit: float) -> str:
    """SQL for (x - center) / unit, clipped to +-STANDARD_LIMIT."""
    z = f"(({expression}) - {sql.number(center)}) / {sql.number(unit)}"
    return sql.clipped(z, STANDARD_LIMIT)


def octave_bin(expression: str) -> str:
    """SQL for the logarithmic bin of a non-negative number: k means [2**(k/32), 2**((k+1)/32))."""
    return (
        f"case when {expression} is null then null when {expression} <= 0 then {ZERO} "
        f"else cast(floor(log2({expression}) * {OCTAVE}) as integer) end"
    )


def edges_of(bins: Mapping[str, Any], output: str) -> list[float]:
    """The frozen edges of an output."""
    return list(bins["outputs"][output]["edges"])
