"""Numbers, dates and codes as people say them."""

from __future__ import annotations

import datetime as dt
import math
import shlex
from collections.abc import Sequence

NOTHING = "–"
"""What stands where nothing was measured."""

RATES = frozenset(
    {
        "label_coverage", "quarantined_rate", "missing_rate", "invalid_rate", "out_of_range_rate", "unseen_rate",
        "duplicate_rate", "error_rate", "base_rate", "selection_rate", "traffic_share", "accuracy", "precision",
        "recall", "specificity", "balanced_accuracy", "false_positive_rate", "false_negative_rate",
    }
)  # fmt: skip
"""Metrics that are shares and are said in per cent."""
GAPS = frozenset(
    {
        "demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference",
        "predictive_parity_difference",
    }
)  # fmt: skip
"""Differences of shares, said in points of a hundred."""
UNITS = {
    "freshness_hours": "h",
    "label_delay_days": "days",
    "latency_p50": "ms",
    "latency_p95": "ms",
    "latency_p99": "ms",
}

NAMES = {
    "roc_auc": "ROC AUC",
    "roc_auc_ovr": "ROC AUC, one against the rest",
    "f1": "F1",
    "f1_macro": "F1, macro",
    "f1_micro": "F1, micro",
    "f1_weighted": "F1, weighted",
    "r2": "R²",
    "psi": "PSI",
    "log_loss": "log loss",
    "jensen_shannon": "Jensen-Shannon distance",
    "kolmogorov_smirnov": "Kolmogorov-Smirnov",
    "wasserstein": "Wasserstein distance",
    "cramers_v": "Cramér's V",
    "mean_abs_shap": "mean |SHAP|",
    "attribution_ndcg": "attribution NDCG",
    "latency_p50": "latency, median",
    "latency_p95": "latency, 95 %",
    "latency_p99": "latency, 99 %",
    "label_delay_days": "label delay",
    "base_rate": "share of positives",
    "matthews_corrcoef": "Matthews correlation",
    "predictions": "predictions a day",
}
KINDS = {
    "data_fault": "broken data",
    "input_drift": "drift of inputs",
    "concept_drift": "changed concept",
    "performance": "performance",
    "fairness": "fairness",
    "service": "service",
    "volume": "volume",
    "labels": "labels",
    "monitoring": "monitoring itself",
}
ACTIONS = {
    "fix_data": "mend the data",
    "retrain": "retrain",
    "roll_back": "roll back",
    "hold": "watch, do nothing",
    "alert": "a person must look",
    "validate": "validate",
    "promote": "promote",
    "acknowledge": "acknowledged",
    "silence": "silenced",
    "resolve": "resolved",
}


def kind_name(kind: str) -> str:
    """What kind of trouble an incident is."""
    return KINDS.get(kind, kind)


def action_name(action: str) -> str:
    """What a decision is to do, or what a person did."""
    return ACTIONS.get(action, action)


def metric_name(metric: str) -> str:
    """How a metric is called in a sentence."""
    return NAMES.get(metric, metric.replace("_", " "))


def number(value: float | None, metric: str = "") -> str:
    """A metric's value with the digits that matter, in its unit.

    >>> number(0.9084, "roc_auc"), number(0.0264, "missing_rate"), number(2175, "predictions")
    ('0.908', '2.6 %', '2,175')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if metric == "predictions":
        return count(round(value))
    if metric in RATES:
        return percent(value)
    if metric in GAPS:
        return f"{round(100 * value, 1) + 0.0:+.1f} points"
    return _with_unit(value, UNITS[metric]) if metric in UNITS else plain(value)


def _with_unit(value: float, unit: str) -> str:
    if unit == "h" and 0 <= value < 1:
        return f"{60 * value:.0f} min"
    return f"{value:,.0f} {unit}" if abs(value) >= 20 else f"{value:.2g} {unit}"


def plain(value: float) -> str:
    """A measured number with three digits that matter; thousands apart."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if size >= 0.01 or size == 0 else f"{value:.2g}"


def edge(value: float) -> str:
    """A value as it is, without noughts that say nothing.

    >>> edge(20.0), edge(12.38), edge(1500000.0)
    ('20', '12.38', '1,500,000')
    """
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def percent(share: float | None) -> str:
    """A share; small ones with a second digit, and never 100 % of what is not all.

    >>> percent(0.0022), percent(0.9997), percent(1.0), percent(0.5)
    ('0.22 %', '99.97 %', '100 %', '50.0 %')
    """
    if share is None or not math.isfinite(share):
        return NOTHING
    size = 100 * abs(share)
    if size in (0, 100):
        return f"{100 * share:.0f} %"
    digits = 2 if size < 1 or size > 99.9 else 1
    return f"{100 * share:.{digits}f} %"


def interval(lower: float | None, upper: float | None, metric: str = "") -> str:
    """An interval in brackets, its unit once, or nothing where none is defined.

    >>> interval(0.131, 0.221, "demographic_parity_difference"), interval(0.05, 0.07, "recall"), interval(None, 1.0)
    ('[+13.1, +22.1] points', '[5.0, 7.0] %', '')
    """
    if lower is None or upper is None or not (math.isfinite(lower) and math.isfinite(upper)):
        return ""
    ends = number(lower, metric), number(upper, metric)
    unit = "points" if metric in GAPS else "%" if metric in RATES else UNITS.get(metric, "")
    bare = [end.removesuffix(unit).rstrip() if unit else end for end in ends]
    return f"[{bare[0]}, {bare[1]}] {unit}".rstrip()


def count(n: int | None) -> str:
    """A count with its thousands apart."""
    return NOTHING if n is None else f"{n:,}"


def counted(n: int, what: str, plural: str = "") -> str:
    """A count with its noun.

    >>> counted(1, "incident"), counted(3, "incident"), counted(0, "person", "people")
    ('1 incident', '3 incidents', 'no people')
    """
    noun = what if n == 1 else plural or f"{what}s"
    return f"{n:,} {noun}" if n else f"no {noun}"


def day(date: dt.date | None) -> str:
    """A date."""
    return NOTHING if date is None else date.isoformat()


def days(first: dt.date, last: dt.date) -> str:
    """A window of days, both ends included.

    >>> days(dt.date(2026, 2, 9), dt.date(2026, 2, 15)), days(dt.date(2026, 2, 9), dt.date(2026, 2, 9))
    ('2026-02-09 … 02-15', '2026-02-09')
    """
    if first == last:
        return day(last)
    end = f"{last:%m-%d}" if first.year == last.year else day(last)
    return f"{day(first)} … {end}"


def ago(then: dt.date, today: dt.date) -> str:
    """How long ago a day is."""
    past = (today - then).days
    if past <= 0:
        return "today"
    return "yesterday" if past == 1 else f"{past:,} days ago"


def listed(items: Sequence[str], most: int = 3) -> str:
    """Items in a sentence, the first few by name.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
    ('a and b', 'a, b, c and 2 more')
    """
    shown = [*items[:most], *([f"{len(items) - most} more"] if len(items) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def shell(text: str) -> str:
    r"""A word of a command line that is safe to copy, whatever a name holds.

    >>> shell("country=DE"), shell("a'; rm -rf ~ #")
    ('country=DE', '\'a\'"\'"\'; rm -rf ~ #\'')
    """
    return shlex.quote(text)


def sentence(text: str) -> str:
    """A text with a capital and a full stop; a name that begins it stays as it is."""
    text = text.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."
