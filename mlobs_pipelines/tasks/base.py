"""What a task must say: which outputs to profile, as SQL sums over rows, and which metrics come of the sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.engine import sql
from mlobs_pipelines.statistics.intervals import Estimate, Floats

Ints = npt.NDArray[np.int64]

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
FAR_OCTAVE = 64
"""Logarithmic bins reach from 2**-64 to 2**65."""
OCTAVE_BINS = (ABSENT, ZERO, *range(-FAR_OCTAVE * OCTAVE, (FAR_OCTAVE + 1) * OCTAVE))
"""All logarithmic bins there are."""


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

    ``of`` is SQL for the number that is binned by ``edges``, or for the bin itself, one of ``numbers``. It and the sums are over a row of
    accepted predictions with the task's ``stages``, those of ``at_label`` also over ``label``; sums are bigint
    expressions that are added over rows, those of ``at_label`` times the fact's sign.
    """

    name: str
    of: str
    edges: tuple[float, ...] | None = None
    numbers: tuple[int, ...] = ()
    at_prediction: Mapping[str, str] = field(default_factory=dict)
    at_label: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """The part of an output's profile that some metrics need: some of its sums, by slots of its bins.

    ``slot`` gives the slots 0 … ``slots`` - 1 of bin numbers; without it each bin that occurs is a slot of its own.
    ``labels`` says whether metrics that rest on labels need it; the others are needed for predictions alone.
    """

    output: str
    sums: tuple[str, ...]
    slots: int = 1
    slot: Callable[[Ints], Ints] | None = field(default=np.zeros_like)
    labels: bool = True


@dataclass(frozen=True)
class Seen:
    """A view of some windows: each sum, shape (windows, slots), and the bins of slots that were made as they occurred."""

    sums: Mapping[str, Ints]
    bins: Ints

    def __getitem__(self, name: str) -> Ints:
        return self.sums[name]

    def total(self, name: str) -> Ints:
        """A sum over all slots, shape (windows,)."""
        total: Ints = self.sums[name].sum(axis=-1)
        return total


@dataclass(frozen=True)
class Metric:
    """One metric of some windows.

    ``rows`` is what it rests on (fewer than ``min_rows``: insufficient_data); ``labels`` whether these are labelled
    rows; ``baseline`` replaces the value on the reference; ``overall`` keeps it to segment ``''``.
    """

    family: str
    name: str
    subject: str
    estimate: Estimate
    rows: Ints
    labels: bool = True
    baseline: Floats | None = None
    overall: bool = False


@dataclass(frozen=True)
class Distribution:
    """What drift compares: counts by bin, shape (windows, bins).

    ``coarse`` gives each bin's coarse bin for distances of categories; ``deciles`` asks for coarse bins that hold a
    tenth of the reference each. Numbers also have ``edges`` and ``values``, the sums of (x - center) / unit per bin, each
    value rounded to ``quantum``.
    """

    subject: str
    labels: bool
    counts: Ints
    coarse: Ints | None = None
    deciles: bool = False
    edges: Floats | None = None
    values: Floats | None = None
    center: float = 0.0
    unit: float = 1.0
    quantum: float = 2.0**-SQUARE_BITS


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


def octave_bin(column: str, x: str) -> list[sql.Stage]:
    """Stages that give ``column`` the logarithmic bin of a non-negative number: k means [2**(k/32), 2**((k+1)/32)).

    Made of comparisons with powers of two and their 32nd roots alone, so that engines agree also on the edges. Numbers
    below 2**-64 or from 2**65 on share the first or last octave's bins.
    """
    octave = f"{column}_octave"
    roots = [float(Decimal(2) ** (Decimal(k) / OCTAVE)) for k in range(1, OCTAVE)]  # pow() differs between machines
    return [
        *sql.octave(octave, f"case when {x} > 0 then {x} end", most=FAR_OCTAVE),
        {
            column: f"case when {x} is null then null when {x} <= 0 then {ZERO} "
            f"else {octave} * {OCTAVE} + {sql.bin_number(f'{octave}_m', roots)} end"
        },
    ]


def edges_of(bins: Mapping[str, Any], output: str) -> tuple[float, ...]:
    """The frozen edges of an output."""
    return tuple(bins["outputs"][output]["edges"])


def octave_edges(bins: Ints) -> tuple[Floats, Floats]:
    """Lower and upper edges of logarithmic bins; of ``ZERO`` both are 0."""
    exponents = bins.astype(np.float64)
    zero = bins == ZERO
    low = np.where(zero, 0.0, np.exp2(np.where(zero, 0, exponents) / OCTAVE))
    high = np.where(zero, 0.0, np.exp2(np.where(zero, 0, exponents + 1) / OCTAVE))
    return low, high


def bins_from(edges: Sequence[float], cuts: Sequence[float]) -> Ints:
    """For each bin of ``edges`` how many of ``cuts``, which are among the edges, are at or below its lower edge."""
    lower = np.concatenate([[-np.inf], np.asarray(edges, dtype=np.float64)])
    return np.searchsorted(np.asarray(cuts, dtype=np.float64), lower, side="right").astype(np.int64)


def exact_to(estimate: Estimate, bound: float) -> Estimate:
    """The estimate with the rounding of its fixed-point sums as its bound."""
    return estimate._replace(bound=np.full_like(estimate.value, bound))
