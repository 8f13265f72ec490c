"""Rows that two versions scored -> every metric of both, the paired difference with its interval, and one verdict.

How many times we look is allowed for. The interval of the deciding metric over all rows stands by itself: it is the one test
that was named before. Intervals of a metric in segments are widened so that all segments' hold together (Bonferroni), and
so are those of all gaps between groups; a guard rail therefore fails by mere chance with probability alpha at most, for
segments and for gaps each. The other metrics over all rows are shown for what they are, each at 1 - alpha by itself.

Rows of one day may be alike, so from seven days on an interval is the wider of that of independent rows and that of
independent days.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from mlobs_pipelines.act.cohorts import groups_of, segments_of
from mlobs_pipelines.act.rows import RowsError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics import paired
from mlobs_pipelines.statistics.influence import Bools, Floats, Ints
from mlobs_pipelines.statistics.paired import Paired
from mlobs_pipelines.store.tables import COMPARISONS
from mlobs_pipelines.tasks import HEADLINE

__all__ = ["DIRECTIONS", "GAP_MARGIN", "Verdict", "VerdictWord", "compare", "deciding", "verdict"]

VerdictWord = Literal["better", "worse", "non_inferior", "inconclusive"]

DIRECTIONS: Mapping[str, int] = {
    **dict.fromkeys(
        (
            "roc_auc",
            "average_precision",
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
            "specificity",
            "f1",
            "matthews_corrcoef",
            "precision_macro",
            "recall_macro",
            "f1_macro",
            "f1_micro",
            "f1_weighted",
            "roc_auc_ovr",
            "r2",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "log_loss",
            "brier_score",
            "false_positive_rate",
            "false_negative_rate",
            "mean_absolute_error",
            "root_mean_squared_error",
            "median_absolute_error",
            "mean_error",
            "demographic_parity_difference",
            "equal_opportunity_difference",
            "equalized_odds_difference",
        ),
        -1,
    ),
    "selection_rate": 0,
}
"""1: more is better; -1: less is (of ``mean_error``: nearer to 0 is); 0: neither."""

GAP_MARGIN = 0.01
"""How much wider a gap between groups may get before a challenger is worse for it: a percentage point."""


@dataclass(frozen=True)
class Verdict:
    """What a comparison says of a challenger.

    ``difference`` is challenger less champion in ``metric``, whichever is better; null limits are NaN. ``guards`` are the guard
    rails that failed, a sentence each.
    """

    verdict: VerdictWord
    metric: str
    difference: float
    lower: float
    upper: float
    margin: float
    guards: tuple[str, ...]
    sentence: str


def deciding(spec: ModelSpec) -> str:
    """The metric that decides: the policy's, else the task's main one."""
    return spec.policy.promote.metric or HEADLINE[spec.task]


def compare(
    rows: pl.DataFrame,
    spec: ModelSpec,
    champion: str,
    challenger: str,
    as_of: dt.date,
    *,
    alpha: float | None = None,
    margin: float | None = None,
    metric: str | None = None,
) -> pl.DataFrame:
    """Every metric of two versions on the same rows: overall, per segment, and how far groups are apart.

    ``verdict`` of a row: ``better`` if the whole interval is on the better side of 0, ``worse`` if it is on the other (of the
    deciding metric, and of gaps between groups: beyond its margin), ``non_inferior`` if it excludes a loss beyond the margin,
    else ``inconclusive``. A metric without a better direction is always inconclusive, one that the rows do not define is
    left out, and so are segments with fewer rows than ``monitors.min_rows``.

    Args:
        rows: ``event_date``, ``label`` (binary: 1 is positive; multiclass: the class; regression: the number),
            ``score_champion`` and ``score_challenger`` (binary: the positive class's probability; multiclass: a list in
            the spec's order of classes; regression: the number), and the columns of segments and attributes.
        spec: the model; decisions are taken at its first operating point.
        champion, challenger: the versions' names.
        as_of: the night whose knowledge of the labels this is.
        alpha, margin, metric: default: those of the spec's policy.

    Returns:
        Schema ``COMPARISONS``; ``segment`` is '' for all rows, and the attribute's name for a gap between its groups.

    Raises:
        RowsError: fewer rows than ``monitors.min_rows``, a row without label or score, scores that are no
            probabilities, or a deciding metric that this task does not have or that has no better direction.
    """
    policy = spec.policy.promote
    metric = metric or deciding(spec)
    margin = policy.non_inferiority_margin if margin is None else margin
    alpha = policy.alpha if alpha is None else alpha
    if rows.height < spec.monitors.min_rows:
        raise RowsError(f"{rows.height} labelled rows are too few to compare versions {champion} and {challenger} on")
    measured = _measured(rows, spec, {"score_champion": champion, "score_challenger": challenger})
    whole = measured(np.arange(rows.height))
    if metric not in whole or not DIRECTIONS.get(metric):
        known = ", ".join(sorted(name for name in whole if DIRECTIONS.get(name)))
        raise RowsError(f"policy.promote.metric: {metric} can't decide about a {spec.task} model; write one of {known}")
    found = [_Found("", name, p, rows.height, 1) for name, p in whole.items()]
    segments = [(segment, at, measured(at)) for segment, at in segments_of(rows, spec)]
    for name in whole:
        known_in = [(s, len(at), of[name]) for s, at, of in segments if not math.isnan(of[name].difference)]
        tests = sum(not math.isnan(p.deviation) for _, _, p in known_in)
        found += [_Found(s, name, p, n, max(tests, 1)) for s, n, p in known_in]
    found += _gaps(rows, spec)
    days = rows["event_date"]
    table = [
        {
            "model": spec.model,
            "champion": champion,
            "challenger": challenger,
            "as_of": as_of,
            "window_start": days.min(),
            "window_end": days.max(),
            **one.row(alpha, margin if one.name == metric else None),
        }
        for one in found
        if not math.isnan(one.paired.difference)
    ]
    return pl.DataFrame(table, schema=COMPARISONS)


@dataclass(frozen=True)
class _Found:
    """A metric of both versions in a segment, one of so many tests that shall hold together."""

    segment: str
    name: str
    paired: Paired
    rows: int
    tests: int

    def row(self, alpha: float, margin: float | None) -> dict[str, Any]:
        """The columns of ``COMPARISONS`` that differ between rows of one comparison."""
        level = alpha / self.tests
        lower, upper = self.paired.interval(level)
        judged = (lower, upper) if self.paired.total is None else self.paired.interval_of_sizes(level)
        if self.name.endswith("_difference"):
            margin = GAP_MARGIN
        return {
            "metric": self.name,
            "segment": self.segment,
            "champion_value": self.paired.first,
            "challenger_value": self.paired.second,
            "difference": self.paired.difference,
            "lower": None if math.isnan(lower) else lower,
            "upper": None if math.isnan(upper) else upper,
            "rows": self.rows,
            "verdict": _word(judged, DIRECTIONS[self.name], margin),
        }


def _word(interval: tuple[float, float], direction: int, margin: float | None) -> VerdictWord:
    """What an interval of challenger less champion says; without a margin, only what is exactly equal is no worse."""
    if direction == 0 or any(math.isnan(limit) for limit in interval):
        return "inconclusive"
    lower, upper = interval if direction > 0 else (-interval[1], -interval[0])
    if lower > 0:
        return "better"
    if upper < -(margin or 0):
        return "worse"
    if lower > -margin if margin else lower >= 0:
        return "non_inferior"
    return "inconclusive"


def _measured(rows: pl.DataFrame, spec: ModelSpec, versions: Mapping[str, str]) -> Callable[[Ints], dict[str, Paired]]:
    """A function from places of rows to every metric of both versions there."""
    if rows["label"].null_count():
        raise RowsError(f"{rows['label'].null_count()} rows have no label; compare on labelled rows alone")
    first, second = (_scores(rows, spec, column, version) for column, version in versions.items())
    day = _days(rows)
    if spec.task == "binary":
        positive = rows["label"].cast(pl.Int64).to_numpy() == 1
        return lambda at: paired.binary(positive[at], first[at], second[at], spec.threshold[0], block=day[at])
    if spec.task == "multiclass":
        places = {name: k for k, name in enumerate(spec.classes)}
        true = np.array([places.get(c, len(places)) for c in rows["label"].cast(pl.String)], dtype=np.int64)
        return lambda at: paired.multiclass(true[at], first[at], second[at], block=day[at])
    target = rows["label"].cast(pl.Float64).to_numpy()
    return lambda at: paired.regression(target[at], first[at], second[at], block=day[at])


def _scores(rows: pl.DataFrame, spec: ModelSpec, column: str, version: str) -> Floats:
    """What a version says of each row: shape (rows,), or (rows, classes)."""
    said = rows[column]
    if spec.task == "multiclass":
        lengths = said.list.len() if isinstance(said.dtype, pl.List) else pl.Series([len(spec.classes)])
        if said.null_count() or (lengths != len(spec.classes)).any():
            raise RowsError(f"version {version} does not give every row {len(spec.classes)} probabilities")
        scores = said.explode().cast(pl.Float64).to_numpy().astype(np.float64).reshape(rows.height, len(spec.classes))
    else:
        scores = said.cast(pl.Float64).fill_null(math.nan).to_numpy().astype(np.float64)
    finite = np.isfinite(scores).reshape(rows.height, -1).all(axis=1)
    if not finite.all():
        raise RowsError(f"version {version} gives no number for {(~finite).sum()} of {rows.height} rows")
    if spec.task != "regression" and (scores.min() < 0 or scores.max() > 1):
        raise RowsError(f"version {version} gives scores outside 0 … 1, which are no probabilities")
    return scores


def _days(rows: pl.DataFrame) -> Ints:
    """0, 1, … for each row's day."""
    day: Ints = rows["event_date"].rank("dense").cast(pl.Int64).to_numpy() - 1
    return day


def _gaps(rows: pl.DataFrame, spec: ModelSpec) -> list[_Found]:
    """Each attribute's gaps between its groups with enough rows; all are one family of tests."""
    if spec.task != "binary":
        return []
    positive: Bools = rows["label"].cast(pl.Int64).to_numpy() == 1
    first, second = (
        rows[column].cast(pl.Float64).to_numpy() >= spec.threshold[0]
        for column in ("score_champion", "score_challenger")
    )
    found = []
    for attribute in spec.fairness.attributes:
        group = groups_of(rows, attribute, spec.monitors.min_rows)
        if group is None:
            continue
        measured = paired.gaps(positive, first, second, group, block=_days(rows))
        found += [(attribute, name, p, int((group >= 0).sum())) for name, p in measured.items()]
    tests = sum(not math.isnan(p.deviation) for _, _, p, _ in found)
    return [_Found(attribute, name, p, n, max(tests, 1)) for attribute, name, p, n in found]


def verdict(comparisons: pl.DataFrame, spec: ModelSpec) -> Verdict:
    """What one comparison says of the challenger as a whole.

    The deciding metric over all rows gives the word. Guard rails fail where the challenger is clearly worse in that metric in
    a segment or group, by more than the margin, or a gap between groups is clearly wider, by more than ``GAP_MARGIN``; the
    intervals behind that hold together.

    Args:
        comparisons: what :func:`compare` gave for one champion and one challenger.
        spec: the model.
    """
    metric, margin = deciding(spec), spec.policy.promote.non_inferiority_margin
    of_metric = comparisons.filter(pl.col("metric") == metric)
    worse = comparisons.filter((pl.col("verdict") == "worse") & (pl.col("segment") != ""))
    guards = [f"worse in {_said(row)}" for row in worse.filter(pl.col("metric") == metric).iter_rows(named=True)]
    gaps = worse.filter(pl.col("metric").str.ends_with("_difference"))
    guards += [f"wider gap of {_said(row)}" for row in gaps.iter_rows(named=True)]
    overall = of_metric.filter(pl.col("segment") == "").to_dicts()
    if not overall:
        sentence = f"{metric} is not defined on these rows, so nothing can be said"
        return Verdict("inconclusive", metric, math.nan, math.nan, math.nan, margin, tuple(guards), sentence)
    row = overall[0]
    limits = [math.nan if row[limit] is None else float(row[limit]) for limit in ("lower", "upper")]
    return Verdict(
        row["verdict"], metric, row["difference"], limits[0], limits[1], margin, tuple(guards), _sentence(row, margin)
    )


def _sentence(row: Mapping[str, Any], margin: float) -> str:
    words = {
        "better": "is better than",
        "worse": "is worse than",
        "non_inferior": f"is no worse than (within {margin:g})",
        "inconclusive": "can't be told from",
    }
    return (
        f"Version {row['challenger']} {words[row['verdict']]} champion {row['champion']}: {row['metric']} {_numbers(row)}"
        f" on the same {row['rows']:,} rows of {row['window_start']} to {row['window_end']},"
        f" labels as known on {row['as_of']}"
    )


def _said(row: Mapping[str, Any]) -> str:
    place = row["segment"] if "=" in row["segment"] else f"{row['segment']}'s groups"
    return f"{place}: {row['metric']} {_numbers(row)} on {row['rows']:,} rows"


def _numbers(row: Mapping[str, Any]) -> str:
    interval = "" if row["lower"] is None else f" [{row['lower']:+.4g}, {row['upper']:+.4g}]"
    return f"{row['challenger_value']:.4g} against {row['champion_value']:.4g}, {row['difference']:+.4g}{interval}"
