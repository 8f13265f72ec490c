"""Labels: how many of the predictions have one, and how long they take."""

from __future__ import annotations

import numpy as np

from mlobs_pipelines.measure.daily import chunks
from mlobs_pipelines.measure.history import History
from mlobs_pipelines.measure.rows import MetricRows
from mlobs_pipelines.measure.windows import LABELS, ROWS
from mlobs_pipelines.statistics.intervals import proportion
from mlobs_pipelines.statistics.quantiles import quantile


def add_labels(out: MetricRows, history: History) -> None:
    """Coverage, and the median delay in days from event date to arrival, of the labels that are there."""
    at = out.cells.having(ROWS | LABELS)
    rows, labeled = out.rows_of[at], out.labeled_of[at]
    out.add(at, "labels", "label_coverage", "", proportion(labeled, rows), need=rows, labels=True)
    for part in chunks(out.cells[at], 64):
        mine = at[part]
        delays, counts = history.delays.over_used(out.cells[mine], out.night, "labeled")
        median = quantile(counts, delays.astype(np.float64), delays.astype(np.float64), 0.5)
        out.add(mine, "labels", "label_delay_days", "", median, need=out.labeled_of[mine], labels=True)
