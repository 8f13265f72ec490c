"""What is watched: which metrics, which direction is harmful, and from where on a change matters.

The one place where thresholds are decided. A spec's ``monitors.overrides`` replace them by metric, subject or segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks import HEADLINE

INTAKE, VOLUME, INPUT, DECISIONS, PERFORMANCE, OUTPUT, SERVICE, LABELS = (
    "intake",
    "volume",
    "input",
    "decisions",
    "performance",
    "output",
    "service",
    "labels",
)
"""Layers of trouble, those first that cause the later ones."""

LAYERS = (INTAKE, VOLUME, INPUT, LABELS, DECISIONS, PERFORMANCE, OUTPUT, SERVICE)


@dataclass(frozen=True)
class Monitor:
    """One metric that is watched.

    ``worse``: 1 where larger is harmful, -1 where smaller is, 0 where any change is. ``practical``: the change that
    matters, in the metric's unit, or of its logarithm if ``relative``. ``mature``: judged on the window whose labels
    became final tonight. ``segments``: also within segments; ``overall``: of all rows.
    """

    layer: str
    family: str
    metric: str
    worse: int
    practical: float
    relative: bool = False
    mature: bool = False
    segments: bool = True
    overall: bool = True


QUALITY = (
    Monitor(INTAKE, "quality", "duplicate_rate", 1, 0.05, segments=False),
    Monitor(INTAKE, "quality", "quarantined_rate", 1, 0.02, segments=False),
    Monitor(VOLUME, "traffic", "predictions", 0, 0.4, relative=True, segments=False),
    Monitor(INPUT, "quality", "missing_rate", 1, 0.05),
    Monitor(INPUT, "quality", "invalid_rate", 1, 0.02),
    Monitor(INPUT, "quality", "out_of_range_rate", 1, 0.02),
    Monitor(INPUT, "quality", "unseen_rate", 1, 0.05),
    Monitor(SERVICE, "service", "error_rate", 1, 0.02),
    Monitor(SERVICE, "service", "latency_p95", 1, 0.4, relative=True),
)
DRIFT = Monitor(INPUT, "drift", "jensen_shannon", 1, 0.1)
OUTPUT_DRIFT = Monitor(OUTPUT, "drift", "jensen_shannon", 1, 0.1)
FAIRNESS = (
    Monitor(DECISIONS, "fairness", "demographic_parity_difference", 0, 0.05, overall=False),
    Monitor(DECISIONS, "fairness", "equal_opportunity_difference", 1, 0.1, mature=True),
)
COVERAGE = Monitor(LABELS, "labels", "label_coverage", -1, 0.1, mature=True)

SMALLER_IS_WORSE = frozenset(
    {"roc_auc", "average_precision", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1"}
    | {
        "matthews_corrcoef",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "f1_micro",
        "f1_weighted",
        "roc_auc_ovr",
        "r2",
    }
)
PERFORMANCE_PRACTICAL = {True: 0.03, False: 0.1}
"""For metrics in [0, 1] where more is better: points. For losses and errors: their logarithm, about a tenth."""

OUTPUTS = ("score", "prediction")


def monitors_of(spec: ModelSpec) -> list[Monitor]:
    """Every metric that is watched for a model, but drift, whose layer depends on the subject."""
    found = list(QUALITY)
    if spec.fairness.attributes:
        found += FAIRNESS
    if spec.labels:
        found.append(COVERAGE)
        losses = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mean_absolute_error"}
        for metric in dict.fromkeys([deciding_metric(spec), losses[spec.task]]):
            better = metric in SMALLER_IS_WORSE
            found.append(
                Monitor(
                    PERFORMANCE,
                    "performance",
                    metric,
                    -1 if better else 1,
                    PERFORMANCE_PRACTICAL[better],
                    relative=not better,
                    mature=True,
                )
            )
    return found


def deciding_metric(spec: ModelSpec) -> str:
    """The metric on which a model is judged: the policy's, else the task's main one."""
    return spec.policy.promote.metric or HEADLINE[spec.task]


def windows_of(spec: ModelSpec) -> tuple[int, int]:
    """Lengths in days of the window in which sudden trouble shows, and of that on which performance is judged."""
    lengths = spec.monitors.window_days
    return lengths[0], next((days for days in lengths if days >= 7), lengths[-1])


def critical_z(spec: ModelSpec, series: int) -> float:
    """How many standard errors chance must be outdone by, so that ``series`` numbers, each judged every night of a
    month in which nothing is wrong, give ``false_alarms_per_month`` breaches (Bonferroni)."""
    tests = 30 * max(series, 1)
    return -NormalDist().inv_cdf(min(spec.monitors.false_alarms_per_month / tests, 0.05))
