"""Traffic and service: how much came, how fast it was answered, and how often not at all."""

from __future__ import annotations

import numpy as np

from mlobs_pipelines.measure.daily import chunks
from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.measure.history import History
from mlobs_pipelines.measure.rows import MetricRows
from mlobs_pipelines.measure.windows import ROWS, SHARE
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.statistics.intervals import estimate, proportion, share
from mlobs_pipelines.statistics.quantiles import quantile
from mlobs_pipelines.tasks.base import octave_edges

LATENCIES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}


def add_traffic(out: MetricRows, history: History, spec: ModelSpec, rows: Ints, failed: Ints, overall: Ints) -> None:
    """Counts and shares of predictions, error rate, latency.

    Args:
        rows, failed: predictions of each of the night's windows, failed ones among them.
        overall: for each window the place of the one it is a share of, or -1.
    """
    at = out.cells.having(ROWS)
    out.add(at, "traffic", "predictions", "", estimate(rows[at].astype(np.float64)), need=None, rows=rows[at])
    shared = out.cells.having(ROWS | SHARE)
    shared = shared[overall[shared] >= 0]
    whole = rows[overall[shared]]
    out.add(shared, "traffic", "traffic_share", "", estimate(share(rows[shared], whole)), need=whole, rows=rows[shared])
    for role, only in enumerate(history.groups.single):
        # the only version of a role has all of it
        group = out.cells.group[at]
        alone = at[(history.groups.role[group] == role) & (history.groups.segment[group] == 0) & out.aliased[at]]
        if only >= 0 and len(alone):
            one = estimate(share(rows[alone], rows[alone]))
            out.add(alone, "traffic", "traffic_share", "", one, need=rows[alone], rows=rows[alone], version=only)
    if spec.predictions.status is not None:
        out.add(at, "service", "error_rate", "", proportion(failed[at], rows[at]), need=rows[at], rows=rows[at])
    if spec.predictions.latency_ms is not None:
        low, high = octave_edges(history.latency.slots)
        for part in chunks(out.cells[at], len(low)):
            mine = at[part]
            counts = history.latency.over(out.cells[mine], out.night)["rows"]
            logged = counts.sum(axis=-1)
            for metric, p in LATENCIES.items():
                out.add(mine, "service", metric, "", quantile(counts, low, high, p), need=logged, rows=logged)
