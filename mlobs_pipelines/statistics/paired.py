"""Two versions on the same rows: the difference of every metric, with an interval that knows that the rows are the same.

The variance of a difference is the mean square of the rows' differences of influence (:mod:`.influence`), over n: for
means that is the paired t-test, for the area under the ROC curve the paired test of DeLong et al. (1988). Where rows come in
clusters, such as several of one person, their influences are summed by cluster first (Obuchowski 1997 for the area).
Rows of one day may be alike without anybody's knowing: given ``block``, the interval is the wider of that of independent rows
and that of independent days, so that it is not too sure of a series of half hours and little wider where rows are independent.

Two versions that decide alike on all of few rows need not do so on the next: metrics of decisions get imagined rows, for
each class one that only the first version has right and one that only the second has, which widen the interval and do not
move it (after Bonett & Price 2012). Where both versions say exactly the same, the difference is 0 [0, 0].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlobs_pipelines.statistics import influence
from mlobs_pipelines.statistics.influence import Bools, Floats, Influence, Ints

__all__ = ["LEAST_BLOCKS", "Paired", "binary", "gaps", "multiclass", "regression"]

LEAST_BLOCKS = 7
"""Days from which on their scatter is looked at."""


@dataclass(frozen=True)
class Paired:
    """A metric of two versions on the same rows.

    Attributes:
        first, second: its value for each; NaN where undefined.
        deviation: standard deviation of the difference.
        freedom: degrees of freedom of that: the rows that the metric rests on, less one.
        choices: among how many differences this one was chosen for being the largest.
        total: of a metric that is best at 0: the sum of both values, as a difference to minus the first.
    """

    first: float
    second: float
    deviation: float
    freedom: float
    choices: int = 1
    total: Paired | None = None

    @property
    def difference(self) -> float:
        """Second less first."""
        return self.second - self.first

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Limits that the true difference lies between with probability 1 - ``alpha`` (Student's t); NaN if unknown.

        >>> [round(x, 3) for x in Paired(0.5, 0.7, 0.1, 1e9).interval()]
        [0.004, 0.396]
        """
        if self.deviation == 0:
            return self.difference, self.difference
        if not self.freedom >= 1 or math.isnan(self.deviation):
            return math.nan, math.nan
        from scipy.special import stdtrit  # takes a third of a second to import

        half = float(stdtrit(self.freedom, 1 - alpha / self.choices / 2)) * self.deviation
        return self.difference - half, self.difference + half

    def interval_of_sizes(self, alpha: float = 0.05) -> tuple[float, float]:
        """Limits of |second| - |first|, of a metric that is best at 0.

        That is the larger of +-second less the larger of +-first: limits of second - first and second + first that hold
        together (Bonferroni) give its own, whatever the signs are, also where the rows do not tell them.
        """
        if self.total is None:
            raise ValueError("a metric of which only the difference is known")
        (low, high), (lowest, highest) = self.interval(alpha / 2), self.total.interval(alpha / 2)
        if math.isnan(low + lowest):
            return math.nan, math.nan
        return max(min(low, lowest), min(-highest, -high)), max(min(high, highest), min(-lowest, -low))


@dataclass(frozen=True)
class _Rows:
    """Which rows belong together, and whether the versions say the same on all of them."""

    count: int
    same: bool
    cluster: Ints | None = None
    block: Ints | None = None

    def paired(
        self, first: Influence, second: Influence, basis: float, imagined: float = 1.0, strata: Bools | None = None
    ) -> Paired:
        """The difference of a metric.

        Args:
            first, second: the metric of each version; rows beyond ``count`` are imagined.
            basis: rows that the metric rests on.
            imagined: what an imagined row counts.
            strata: two kinds of rows whose variances are estimated apart; default: one.
        """
        unknown = Paired(first.value, second.value, math.nan, math.nan)
        if math.isnan(first.value + second.value):
            return unknown
        if self.same:
            return replace(unknown, deviation=0.0, freedom=math.inf)
        d = second.rows - first.rows
        real: Floats = d[: self.count]
        extra = imagined * float((d[self.count :] ** 2).sum())
        square = np.square(real)
        kinds = [np.ones(self.count, dtype=np.bool_)] if strata is None else [strata, ~strata]
        sizes = [basis] if strata is None else [float(kind.sum()) for kind in kinds]
        if self.cluster is not None:
            square, basis = _summed(real, self.cluster, basis)
            kinds, sizes = [np.ones(len(square), dtype=np.bool_)], [basis]
        if basis < 2:
            return unknown
        variance = sum(m / (m - 1) * float(square[kind].sum()) for kind, m in zip(kinds, sizes, strict=True))
        freedom = basis - 1
        if self.block is not None:
            by_block, blocks = _summed(real, self.block, basis)
            wide = blocks / (blocks - 1) * float(by_block.sum()) if blocks >= LEAST_BLOCKS else 0.0
            if wide > variance:
                variance, freedom = wide, blocks - 1
        return replace(unknown, deviation=math.sqrt(variance + extra) / self.count, freedom=freedom)

    def all(
        self,
        first: Mapping[str, Influence],
        second: Mapping[str, Influence],
        basis: Mapping[str, float] | None = None,
        imagined: Mapping[str, float] | None = None,
    ) -> dict[str, Paired]:
        """The difference of each metric; ``basis`` and ``imagined`` where they are not all rows and 1."""
        return {
            name: self.paired(
                first[name],
                second[name],
                (basis or {}).get(name, float(self.count)),
                (imagined or {}).get(name, 1.0),
            )
            for name in first
        }


def _summed(rows: Floats, member: Ints, basis: float) -> tuple[Floats, float]:
    """The squared sum of each cluster that occurs, and how many there are, or of ``basis`` if that is fewer."""
    sums = np.asarray(np.bincount(member, weights=rows), dtype=np.float64)[np.bincount(member) > 0]
    return np.square(sums), min(basis, float(len(sums)))


def binary(
    positive: Bools,
    first: Floats,
    second: Floats,
    threshold: float = 0.5,
    cluster: Ints | None = None,
    block: Ints | None = None,
) -> dict[str, Paired]:
    """Every metric of a binary model, under scikit-learn's names; decisions are ``score >= threshold``.

    Args:
        positive: whether each row's label is the positive class, shape (rows,).
        first, second: the probability of it that each version gives.
        threshold: the operating point.
        cluster: 0, 1, … per row, the same for rows that are not independent; default: all are.
        block: 0, 1, … per row, the same for rows that may not be independent, such as those of a day; fewer than
            ``LEAST_BLOCKS`` tell nothing.

    >>> y, s = np.array([True, False, True, False]), np.array([0.9, 0.2, 0.4, 0.6])
    >>> binary(y, s, s)["roc_auc"].interval()
    (0.0, 0.0)
    """
    rows = _Rows(len(positive), bool(np.array_equal(first, second)), cluster, block)
    p = float(positive.sum())
    n = len(positive) - p
    less = min(p, n)

    def loss(score: Floats) -> Influence:
        return influence.log_loss(np.where(positive, score, 1 - score))

    def brier(score: Floats) -> Influence:
        return influence.mean((score - positive) ** 2)

    found = {
        "roc_auc": _area(rows, positive, first, second),
        "average_precision": _precision(rows, positive, first, second),
        "log_loss": rows.paired(loss(first), loss(second), len(positive)),
        "brier_score": rows.paired(brier(first), brier(second), len(positive)),
    }
    one, two = first >= threshold, second >= threshold
    named = min(float(one.sum()), float(two.sum()))
    imagined = np.array([[True, True, False], [True, False, True], [False, True, False], [False, False, True]])
    truth, one, two = (np.concatenate([x, imagined[:, i]]) for i, x in enumerate((positive, one, two)))
    basis = {
        "balanced_accuracy": less,
        "precision": named,
        "recall": p,
        "specificity": n,
        "f1": p,
        "matthews_corrcoef": less,
        "false_positive_rate": n,
        "false_negative_rate": p,
    }
    tables = influence.decisions(truth, one, len(positive)), influence.decisions(truth, two, len(positive))
    return found | rows.all(*tables, basis, {"accuracy": 0.5, "selection_rate": 0.5})


def _area(rows: _Rows, positive: Bools, first: Floats, second: Floats) -> Paired:
    """The area under the ROC curve, with DeLong's variance: the mean squares of positives and negatives apart."""
    one, two = influence.roc_auc(positive, first), influence.roc_auc(positive, second)
    p = float(positive.sum())
    basis = min(p, len(positive) - p)
    return _not_too_sure(rows.paired(one, two, basis, strata=positive), basis)


def _precision(rows: _Rows, positive: Bools, first: Floats, second: Floats) -> Paired:
    one, two = influence.average_precision(positive, first), influence.average_precision(positive, second)
    return _not_too_sure(rows.paired(one, two, float(positive.sum())), float(positive.sum()))


def _not_too_sure(found: Paired, basis: float) -> Paired:
    """Two rankings without a fault in so many rows are not known to be equally good: as two proportions of 1."""
    if found.deviation == 0 and found.freedom < math.inf and found.first == 1.0:
        return replace(found, deviation=math.sqrt(2) / (basis + 2))
    return found


def multiclass(
    true: Ints, first: Floats, second: Floats, cluster: Ints | None = None, block: Ints | None = None
) -> dict[str, Paired]:
    """Every metric of a multiclass model, under scikit-learn's names; the decision is the likeliest class.

    Args:
        true: each row's class, 0 … classes - 1, or ``classes`` for one that the model does not know, shape (rows,).
        first, second: the probabilities that each version gives, shape (rows, classes).
        cluster, block: as in :func:`binary`.
    """
    rows = _Rows(len(true), bool(np.array_equal(first, second)), cluster, block)
    count, size = first.shape
    said = [s.argmax(axis=1).astype(np.int64) if count else np.zeros(0, np.int64) for s in (first, second)]
    present = [k for k in range(size) if (true == k).any()]
    wrong = {k: _likeliest_error(true, said, k, size) for k in present}
    imagined = np.array([(k, *pair) for k in present for pair in ((k, wrong[k]), (wrong[k], k))], np.int64).reshape(
        -1, 3
    )
    truth, one, two = (np.concatenate([x, imagined[:, i]]) for i, x in enumerate((true, *said)))
    tables = influence.classes(truth, one, size + 1, count), influence.classes(truth, two, size + 1, count)
    each = 1 / max(len(present), 1)
    found = rows.all(*tables, None, {"accuracy": each, "f1_micro": each})
    losses = [influence.log_loss(_chance(true, scores)) for scores in (first, second)]
    found["log_loss"] = rows.paired(losses[0], losses[1], count)
    areas = [
        influence.average([influence.roc_auc(true == k, scores[:, k]) for k in range(size)])
        for scores in (first, second)
    ]
    least = min(float(min((true == k).sum(), (true != k).sum())) for k in range(size))
    found["roc_auc_ovr"] = _not_too_sure(rows.paired(areas[0], areas[1], least), least)
    return found


def _likeliest_error(true: Ints, said: Iterable[Ints], k: int, size: int) -> int:
    """What a row of a class is most often taken for, by both versions."""
    taken = sum(np.bincount(s[true == k], minlength=size) for s in said)
    errors = np.array(taken, np.float64)
    errors[k] = -1
    return int(errors.argmax())


def _chance(true: Ints, scores: Floats) -> Floats:
    """The share of each row's probabilities that its class was given; 0 for a class that the model does not know."""
    total = scores.sum(axis=1)
    known = true < scores.shape[1]
    given = np.where(known, scores[np.arange(len(true)), np.where(known, true, 0)], 0.0)
    chance: Floats = np.divide(given, total, out=np.zeros(len(true)), where=total > 0)
    return chance


def regression(
    target: Floats, first: Floats, second: Floats, cluster: Ints | None = None, block: Ints | None = None
) -> dict[str, Paired]:
    """Every metric of predicted numbers, in the unit of the labels; that of ``mean_error`` knows of its size too.

    Args:
        target: the label of each row, shape (rows,), one at the least.
        first, second: what each version predicts.
        cluster, block: as in :func:`binary`.
    """
    rows = _Rows(len(target), bool(np.array_equal(first, second)), cluster, block)
    one, two = influence.errors(target, first), influence.errors(target, second)
    found = rows.all(one, two)
    opposite = Influence(-one["mean_error"].value, -one["mean_error"].rows)
    total = rows.paired(opposite, two["mean_error"], len(target))
    return found | {"mean_error": replace(found["mean_error"], total=total)}


def gaps(
    positive: Bools, first: Bools, second: Bools, group: Ints, cluster: Ints | None = None, block: Ints | None = None
) -> dict[str, Paired]:
    """How far apart the groups of an attribute are (highest less lowest rate), for each version and as a difference.

    ``demographic_parity_difference`` is of the rate of being selected, ``equal_opportunity_difference`` of recall,
    ``equalized_odds_difference`` the larger of that and of the false positive rate's. Each version's gap is between its own
    extreme groups; the interval allows for their having been chosen among all pairs (Bonferroni).

    Args:
        positive: whether each row's label is positive, shape (rows,).
        first, second: whether each version selects the row.
        group: 0, 1, … per row; below 0: of no group.
        cluster, block: as in :func:`binary`.
    """
    rows = _Rows(len(positive), bool(np.array_equal(first, second)), cluster, block)
    groups = [int(g) for g in np.unique(group[group >= 0])]
    truth = np.concatenate([positive, np.tile([True, True, False, False], len(groups))])
    member = np.concatenate([group, np.repeat(groups, 4)]).astype(np.int64)
    one = np.concatenate([first, np.tile([True, False, True, False], len(groups))])
    two = np.concatenate([second, np.tile([False, True, False, True], len(groups))])
    count = len(positive)
    pairs = len(groups) * (len(groups) - 1) // 2

    def gap(said: Bools, among: Bools) -> tuple[Influence, float]:
        """The gap of the rate of being selected, and the rows of the smaller of the two groups."""
        base = {g: among & (member == g) for g in groups}
        rates = {g: influence.ratio(said & of, of, count) for g, of in base.items() if of[:count].any()}
        if len(rates) < 2:
            return influence.undefined(len(said)), math.nan
        high, low = influence.extremes(rates)
        found = Influence(rates[high].value - rates[low].value, rates[high].rows - rates[low].rows)
        return found, float(min(base[g][:count].sum() for g in (high, low)))

    def wider(said: Bools) -> tuple[Influence, float]:
        options = gap(said, truth), gap(said, ~truth)
        if any(math.isnan(g.value) for g, _ in options):
            return influence.undefined(len(said)), math.nan
        return max(options, key=lambda option: option[0].value)

    def paired(a: tuple[Influence, float], b: tuple[Influence, float], imagined: float, choices: int) -> Paired:
        return replace(rows.paired(a[0], b[0], min(a[1], b[1]), imagined), choices=max(choices, 1))

    everyone = np.ones_like(truth)
    return {
        "demographic_parity_difference": paired(gap(one, everyone), gap(two, everyone), 0.5, pairs),
        "equal_opportunity_difference": paired(gap(one, truth), gap(two, truth), 1.0, pairs),
        "equalized_odds_difference": paired(wider(one), wider(two), 1.0, 2 * pairs),
    }
