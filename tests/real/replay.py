"""Replaying a log through the whole chain, and holding every stored number against the rows."""

from __future__ import annotations

import datetime as dt
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive
from tests.real.expected import Expected, Key, Known
from tests.real.logs import Log

MANY = 200
"""Labelled rows from which on the largest errors are kept: one tie of a pair is 0.001 of the area under 50 rows' curve."""
CELL = ["segment", "window_start", "window_end"]


def replay(log: Log, nights: list[dt.date] | None = None) -> None:
    """Run the nights in one go, all steps but the snapshot for BI tools."""
    spec = load_spec(log.home.spec_file(log.model))
    wanted = nights or log.nights
    steps.ingest(log.home, spec, wanted)
    steps.join(log.home, spec, wanted)
    steps.profile(log.home, spec, wanted)
    steps.measure(log.home, spec, wanted, "run")


def once(factory: pytest.TempPathFactory, name: str, prepare: Callable[[Home], Log]) -> Log:
    """A replayed log, made by one of the test processes and read by the others."""
    base = factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / f"real-{name}"
    done = shared / "log.pickle"
    with exclusive(shared / "lock"):
        if not done.exists():
            log = prepare(Home(shared / "home"))
            replay(log)
            done.write_bytes(pickle.dumps(log))
    found: Log = pickle.loads(done.read_bytes())
    return replace(found, home=Home(shared / "home"))


def metrics(log: Log, night: dt.date) -> pl.DataFrame:
    """What the store says as of a night."""
    return pl.read_parquet(log.home.store_file("metrics", log.model, night))


@dataclass
class Comparison:
    """How many numbers were compared, by family and metric, and what disagreed."""

    compared: Counter[tuple[str, str]] = field(default_factory=Counter)
    undefined: int = 0
    wrong: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=dict)

    def row(self, row: dict[str, object], expected: Expected, least: int) -> None:
        """Compare one stored number."""
        value, bound = row["value"], row["error_bound"]
        where = " ".join(str(row[c]) for c in ("family", "metric", "subject", *CELL))
        if expected.need is not None and expected.need < least:
            expected = Expected(float("nan"))
        if value is None:
            self.undefined += 1
            if not np.isnan(expected.value):
                self.wrong.append(f"{where}: nothing stored, should be {expected.value}")
            elif row["status"] != "insufficient_data":
                self.wrong.append(f"{where}: nothing stored, yet {row['status']}")
            return
        assert isinstance(value, float) and isinstance(bound, float)
        self.compared[str(row["family"]), str(row["metric"])] += 1
        error = abs(value - expected.value)
        if not error <= bound + 1e-9 * max(1.0, abs(expected.value)):
            self.wrong.append(f"{where}: stored {value} with bound {bound}, should be {expected.value}")
        name, labelled = str(row["metric"]), row["labeled_rows"]
        assert isinstance(labelled, int)
        if labelled >= MANY:
            self.worst[name] = max(self.worst.get(name, 0.0), error)


def compare(
    log: Log, night: dt.date, *, windows_per_length: int = 2, also: tuple[dt.date, dt.date] | None = None
) -> Comparison:
    """Compare every number stored as of a night, for some windows of each length: the latest and the earliest.

    ``also`` names one more window.
    """
    known = Known(log, night)
    stored = metrics(log, night).filter((pl.col("version") == "") & (pl.col("role") == "production"))
    result = Comparison()
    windows = stored.select("window_start", "window_end").unique().sort("window_end", "window_start")
    length = (pl.col("window_end") - pl.col("window_start")).alias("length")
    few = pl.concat(
        [
            g.head(windows_per_length // 2).vstack(g.tail((windows_per_length + 1) // 2))
            for _, g in windows.group_by(length)
        ]
    )
    if also:
        few = few.vstack(windows.filter((pl.col("window_start") == also[0]) & (pl.col("window_end") == also[1])))
    few = few.unique()
    least = known.spec.monitors.min_rows
    for (start, end), of_window in stored.join(few, on=["window_start", "window_end"]).group_by(
        "window_start", "window_end"
    ):
        assert isinstance(start, dt.date) and isinstance(end, dt.date)
        for (segment,), cell in of_window.group_by("segment"):
            _compare_cell(result, known, start, end, str(segment), cell, least, whole=end == night)
    assert result.compared
    return result


def _compare_cell(
    result: Comparison,
    known: Known,
    start: dt.date,
    end: dt.date,
    segment: str,
    cell: pl.DataFrame,
    least: int,
    *,
    whole: bool,
) -> None:
    expected: dict[Key, Expected] = known.expected(start, end, segment)
    for attribute in known.spec.fairness.attributes:
        if segment == "":
            expected |= known.gaps(start, end, attribute)
        elif segment.startswith(f"{attribute}="):
            expected |= known.group_rates(start, end, segment) | known.against(start, end, segment)
    found = {}
    for row in cell.iter_rows(named=True):
        key = (row["family"], row["metric"], row["subject"])
        found[key] = row
        if key in expected:
            result.row(row, expected[key], least)
        else:
            result.wrong.append(f"{' '.join(key)} {segment} {start} {end}: stored, and not expected")
        baseline_expected(result, known, segment, row)
    if whole:
        result.wrong += [f"{' '.join(k)} {segment} {start} {end}: not stored" for k in expected if k not in found]


def baseline_expected(result: Comparison, known: Known, segment: str, row: dict[str, object]) -> None:
    """Compare a metric of performance on the reference, stated as its baseline."""
    if row["family"] != "performance" or row["baseline"] is None:
        return
    cache: dict[str, dict[Key, Expected]] = known.__dict__.setdefault("baselines", {})
    if segment not in cache:
        cache[segment] = known.performance(known.reference(segment), segment)
    expected = cache[segment][str(row["family"]), str(row["metric"]), str(row["subject"])].value
    tolerance = 1e-3 if row["metric"] in ("roc_auc", "roc_auc_ovr") else 1e-6
    if row["metric"] == "average_precision":  # of few distinct scores it depends on how ties are broken
        tolerance = 0.1
    if known.spec.task == "regression":  # in units of the labels' spread, in bins of 2 % for the median
        tolerance = 0.02 if row["metric"] == "median_absolute_error" else 1e-4
    assert isinstance(row["baseline"], float)
    if abs(row["baseline"] - expected) > tolerance * max(1.0, abs(expected)):
        where = f"{row['metric']} {row['subject']} {segment}"
        result.wrong.append(f"baseline of {where}: stored {row['baseline']}, should be {expected}")
