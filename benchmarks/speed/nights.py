"""Whole nights, from delivered files to metrics, incidents and the snapshot, by the command that cron would call.

`python -m benchmarks.speed.nights whole --rows 10000000`: one night of predictions and all their labels, with its pages,
beside DuckDB's raw scan of the delivered files.
`python -m benchmarks.speed.nights history --nights 365 --rows 20000`: labels come over 45 days; the first nights and the
last ones are run one by one, the year between in one backfill, so that one can be held against the other.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

from benchmarks.speed.processes import MLOBS, Cost, cost_of
from benchmarks.speed.workload import FIRST, MODEL, Workload, write
from mlobs_pipelines.store.layout import STORE_TABLES, Home

ALONE = 7
"""Nights that are run one by one, at the beginning and at the end of a history."""


def run(root: Path, first: dt.date, last: dt.date) -> Cost:
    return cost_of([*MLOBS, "--home", str(root), "run", MODEL, "--from", str(first), "--to", str(last)])


def raw_scan(root: Path) -> Cost:
    """What it costs to read every column of the delivered files once; of its memory nothing is said."""
    began, used = time.perf_counter(), time.process_time()
    with duckdb.connect(config={"preserve_insertion_order": False}) as engine:
        engine.execute("set enable_progress_bar = false")
        for table in ("predictions", "labels"):
            files = f"read_parquet('{root}/data/{table}/*.parquet')"
            described = engine.execute(f"describe select * from {files}").fetchall()
            sums = ", ".join(f'{"sum" if kind == "DOUBLE" else "max"}("{name}")' for name, kind, *_ in described)
            engine.execute(f"select {sums} from {files}").fetchall()
    return Cost(time.perf_counter() - began, 0.0, time.process_time() - used)


def whole(root: Path, rows: int, columns: int) -> None:
    """A night of predictions with labels that came the same day, on which the bins are frozen from a reference, too."""
    if not (root / "data").exists():
        write(root, Workload(rows, 1, columns, delay=0.0))
    before = raw_scan(root)
    night = run(root, FIRST, FIRST)
    after = raw_scan(root)
    pages = cost_of([*MLOBS, "--home", str(root), "report", MODEL])
    scan = Cost((before.seconds + after.seconds) / 2, 0.0, (before.cpu + after.cpu) / 2)
    print(f"{rows:,} predictions and as many labels x {columns} features, {os.cpu_count()} cores")
    said("raw scan of the delivered files", scan, scan)
    said("the night: mlobs run", night, scan)
    said("its pages: mlobs report", pages, scan)
    both = Cost(night.seconds + pages.seconds, max(night.memory, pages.memory), night.cpu + pages.cpu)
    said("the whole night", both, scan)


def said(name: str, cost: Cost, scan: Cost) -> None:
    memory = f"   peak {cost.memory:5.2f} GiB" if cost.memory else ""
    print(
        f"{name:36} {cost.seconds:8.1f} s {cost.seconds / scan.seconds:7.2f} x the scan   "
        f"{cost.cpu:8.1f} CPU s {cost.cpu / scan.cpu:7.2f} x{memory}"
    )


def history(root: Path, rows: int, nights: int, columns: int) -> None:
    if not (root / "data").exists():
        write(root, Workload(rows, nights, columns, delay=12.0, latest=45))
    days = [FIRST + dt.timedelta(days=i) for i in range(nights)]
    early = [run(root, day, day) for day in days[:ALONE]]
    between = days[ALONE:-ALONE]
    backfill = run(root, between[0], between[-1])
    late = [run(root, day, day) for day in days[-ALONE:]]
    fifth, last = (statistics.median(c.seconds for c in costs) for costs in (early[2:], late[2:]))
    fifth_cpu, last_cpu = (statistics.median(c.cpu for c in costs) for costs in (early[2:], late[2:]))
    print(f"{nights} nights of {rows:,} rows x {columns} features, labels over 45 days, {os.cpu_count()} cores")
    print(f"nights 3 to {ALONE}, one by one: median {fifth:.2f} s, {fifth_cpu:.2f} CPU s, peak {peak(early):.2f} GiB")
    print(
        f"the last {ALONE - 2} nights, one by one: median {last:.2f} s, {last / fifth:.2f} x, {last_cpu:.2f} CPU s, "
        f"{last_cpu / fifth_cpu:.2f} x, peak {peak(late):.2f} GiB"
    )
    each = backfill.seconds / len(between)
    print(
        f"{len(between)} nights in one backfill: {backfill.seconds:.0f} s, {each:.2f} s a night, "
        f"{each / statistics.mean([fifth, last]):.2f} x single nights, peak {backfill.memory:.2f} GiB"
    )
    home = Home(root)
    for day in (days[ALONE], days[len(days) // 2], days[-1]):
        size = sum(
            home.store_file(table, MODEL, day).stat().st_size
            for table in STORE_TABLES
            if home.store_file(table, MODEL, day).exists()
        )
        print(f"store, files of {day}: {size / 1e6:.2f} MB")


def peak(costs: Sequence[Cost]) -> float:
    return max(cost.memory for cost in costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("whole", "history"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.folder or Path(scratch)
        if given.what == "whole":
            whole(root, given.rows or 1_000_000, given.columns)
        else:
            history(root, given.rows or 20_000, given.nights, given.columns)


if __name__ == "__main__":
    main()
