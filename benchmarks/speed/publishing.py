"""What publishing one night costs, with ever more nights behind it: `python -m benchmarks.speed.publishing`.

Stores as nights leave them are written straight away: new numbers, labelled ones restated until their labels are mature,
signals, incidents with evidence, runs. All nights but the last few are published at once; then each of these comes and
is published, as a nightly run would. Prints the median seconds of such a publish, and of one while somebody has the
snapshot open, which then has to be copied.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from mlobs_pipelines.engine.duckdb import ReadOnlyDuckDB
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import INCIDENTS, METRICS, METRICS_KEY, RUNS, SIGNALS

FIRST = dt.date(2025, 1, 1)
MATURITY = 14
RESTATED = 0.4
"""Share of a night's rows that are about earlier windows."""
MEASURED = 7


def day(n: int) -> dt.date:
    return FIRST + dt.timedelta(days=n)


def spec_of(model: str) -> ModelSpec:
    predictions = {"source": "a", "id": "i", "time": "t", "score": "s"}
    return ModelSpec.model_validate({"model": model, "task": "binary", "predictions": predictions})


def write_night(home: Home, model: str, n: int, rows: int) -> None:
    """The files of one night of a model, ``rows`` of them in ``metrics``."""
    rng = np.random.default_rng(n)
    labelled = max(int(rows * RESTATED / MATURITY), 1)
    parts = [_windows(rng, n, n, rows - labelled * min(n + 1, MATURITY), "drift", "psi")]
    parts += [_windows(rng, e, n, labelled, "performance", "roc_auc") for e in range(max(n - MATURITY + 1, 0), n + 1)]
    metrics = pl.concat(parts).with_columns(model=pl.lit(model))
    _write(home, "metrics", model, n, _full(metrics, METRICS).sort(METRICS_KEY))
    _write(home, "signals", model, n, _full(metrics.head(rows // 4), SIGNALS))
    ids = [f"{model}-{n // 30 * 30 + i}" for i in range(3)]
    incidents = pl.DataFrame({"incident_id": ids, "model": model, "as_of": day(n), "since": day(n), "state": "open"})
    incidents = incidents.with_columns(
        severity=pl.lit("warning"), evidence=pl.lit("{" + '"what": 1, ' * 200 + '"a": 1}')
    )
    _write(home, "incidents", model, n, _full(incidents, INCIDENTS))
    at = dt.datetime.combine(day(n), dt.time(2))
    run = pl.DataFrame({"model": model, "arrival_date": day(n), "finished_at": at, "status": "done"})
    _write(home, "runs", model, n, _full(run, RUNS))


def _windows(rng: np.random.Generator, end: int, as_of: int, rows: int, family: str, metric: str) -> pl.DataFrame:
    """Numbers about one day: half of the model's features, half of its segments."""
    names = [f"{i:05d}" for i in range(rows)]
    mature = family == "drift" or as_of - end >= MATURITY - 1
    return pl.DataFrame(
        {
            "version": "",
            "role": "production",
            "family": family,
            "metric": metric,
            "subject": [f"x{name}" if i % 2 else "" for i, name in enumerate(names)],
            "segment": ["" if i % 2 else f"segment={name}" for i, name in enumerate(names)],
            "window_start": day(end),
            "window_end": day(end),
            "as_of": day(as_of),
            "value": rng.random(rows),
            "rows": rng.integers(1, 10_000, rows),
            "status": "ok" if mature else "provisional",
            "run_id": f"r{as_of}",
        }
    )


def _full(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """The frame with every column of a schema, null where it has none."""
    return pl.concat(
        [pl.DataFrame(schema=schema), frame.select(name for name in frame.columns if name in schema)],
        how="diagonal_relaxed",
    )


def _write(home: Home, table: str, model: str, n: int, rows: pl.DataFrame) -> None:
    with published(home.store_file(table, model, day(n))) as draft:
        rows.write_parquet(draft)


def measure(models: int, nights: int, rows: int) -> float:
    """Publish the last nights of the first model one by one; print and give the median seconds."""
    names = [f"model_{i:03d}" for i in range(models)]
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        for n in range(nights - 1):
            for name in names:
                write_night(home, name, n, rows)
        began = time.perf_counter()
        publish(home)
        whole = time.perf_counter() - began
        last = nights - 1
        for _ in range(2):  # until both files that take turns are there
            last = _next(home, names[0], last, rows)[1]
        quiet, held = [], []
        for _ in range(MEASURED):
            seconds, last = _next(home, names[0], last, rows)
            quiet.append(seconds)
        for _ in range(3):
            with ReadOnlyDuckDB(home.results):
                last = _next(home, names[0], last, rows)[1]
                seconds, last = _next(home, names[0], last, rows)
                held.append(seconds)
        began = time.perf_counter()
        publish(home, [spec_of(names[0])])
        nothing = time.perf_counter() - began
        size = home.results.stat().st_size / 1e6
    median = statistics.median(quiet)
    print(
        f"{models:>6} {nights:>6} {rows:>6} {whole:>8.1f} {median:>8.2f} {min(quiet):>8.2f} {max(quiet):>8.2f} "
        f"{statistics.median(held):>8.2f} {nothing:>8.2f} {size:>8.0f}",
        flush=True,
    )
    return median


def _next(home: Home, model: str, n: int, rows: int) -> tuple[float, int]:
    write_night(home, model, n, rows)
    began = time.perf_counter()
    publish(home, [spec_of(model)])
    return time.perf_counter() - began, n + 1


def compare(models: int, nights: Sequence[int], rows: int) -> None:
    found = [measure(models, n, rows) for n in nights]
    print(f"night {nights[-1]} : night {nights[0]} = {found[-1] / found[0]:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 5000], help="rows of metrics a night")
    parser.add_argument("--nights", type=int, nargs="*", default=[5, 50, 365])
    parser.add_argument(
        "--models", type=int, default=100, help="how many beside the measured one, at 50 nights and 1,000 rows"
    )
    given = parser.parse_args()
    print("models nights   rows  all at once   night  quickest  slowest  held open  nothing new  MB")
    for rows in given.rows:
        compare(1, given.nights, rows)
    if given.models:
        compare(given.models, [5, 50], 1000)


if __name__ == "__main__":
    main()
