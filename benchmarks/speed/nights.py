"""Whole nights, from delivered files to metrics, incidents and the snapshot, by the command that cron would call.

`python -m benchmarks.speed.nights whole --rows 10000000`: one night of predictions and all their labels, with its pages,
beside DuckDB's raw scan of the delivered files.
`python -m benchmarks.speed.nights history --nights 365 --rows 20000`: labels come over 45 days; the first nights and the
last ones are run one by one, the year between in one backfill, so that one can be held against the other. To the first
nights of a model fewer labels come, about fewer days. So the last ones are held against those of a second model, too, whose
predictions were logged for 45 days before its first night: to it as much comes on the 5th night as on the 365th.
`python -m benchmarks.speed.nights sizes --rows 20000`: what a night leaves on the disk, with so many rows and ten times as many.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from benchmarks.speed.processes import MLOBS, Cost, cost_of
from benchmarks.speed.workload import FIRST, MODEL, Workload, write
from mlobs_pipelines.store.layout import LAKE_TABLES, STORE_TABLES, Home

ALONE = 7
"""Nights that are run one by one, at the beginning and at the end of a history."""
SIZED = 3
"""Nights of the homes whose sizes are told."""
DELAY, LATEST = 12.0, 45
"""Days that labels of a history come late: on average, and at most."""


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
    log = Workload(rows, nights, columns, delay=DELAY, latest=LATEST)
    last, between = log.dates[-ALONE:], log.dates[ALONE:-ALONE]
    print(f"{nights} nights of {rows:,} rows x {columns} features, labels over {LATEST} days, {os.cpu_count()} cores")
    early = one_by_one(made(root / "history", log), log.dates[:ALONE])
    told(f"nights 3 to {ALONE}", early)
    known = replace(log, nights=ALONE, backlog=LATEST)
    alike = one_by_one(made(root / "backlog", known), known.dates)
    told(f"nights 3 to {ALONE} after {LATEST} days of backlog", alike)
    backfill = run(root / "history", between[0], between[-1])
    late = one_by_one(root / "history", last)
    told(f"nights {nights - ALONE + 3} to {nights}", late)
    for name, others in (("the early nights", early), ("the early nights after a backlog", alike)):
        seconds, cpu = (middle(late, what) / middle(others, what) for what in ("seconds", "cpu"))
        print(f"the last nights: {seconds:.2f} x the seconds and {cpu:.2f} x the CPU seconds of {name}")
    each = Cost(backfill.seconds / len(between), backfill.memory, backfill.cpu / len(between))
    print(
        f"nights {ALONE + 1} to {nights - ALONE} in one backfill: {backfill.seconds:.0f} s, {backfill.cpu:.0f} CPU s, peak "
        f"{backfill.memory:.2f} GiB; a night {each.seconds:.2f} s and {each.cpu:.2f} CPU s, "
        f"{each.seconds / middle(late, 'seconds'):.2f} x and {each.cpu / middle(late, 'cpu'):.2f} x one of the last alone"
    )
    for day in (log.dates[ALONE], log.dates[nights // 2], log.dates[-1]):
        print(f"{day}: {left(Home(root / 'history'), day)}")


def sizes(root: Path, rows: int, columns: int) -> None:
    """What the last of some nights leaves, of a model with few rows and of one with many."""
    for n in (rows, 10 * rows):
        log = Workload(n, SIZED, columns, delay=DELAY, latest=LATEST)
        folder = made(root / f"rows-{n}", log)
        run(folder, log.dates[0], log.dates[-1])
        print(f"{n:,} rows a night, night {SIZED}: {left(Home(folder), log.dates[-1])}")


def made(root: Path, log: Workload) -> Path:
    if not (root / "data").exists():
        write(root, log)
    return root


def one_by_one(root: Path, days: Sequence[dt.date]) -> list[Cost]:
    return [run(root, day, day) for day in days]


def left(home: Home, day: dt.date) -> str:
    """What a night left: rows, numbers that are sums of them, and what was concluded."""
    profiles = [name for name in LAKE_TABLES if name.endswith("_profile")]
    rows = [name for name in LAKE_TABLES if name not in profiles]
    groups = {
        "store": [home.store_file(name, MODEL, day) for name in STORE_TABLES],
        "profiles": [home.lake_file(MODEL, name, day) for name in profiles],
        "rows": [home.lake_file(MODEL, name, day) for name in rows],
    }
    return ", ".join(
        f"{name} {sum(file.stat().st_size for file in files if file.exists()) / 1e6:.2f} MB"
        for name, files in groups.items()
    )


def told(name: str, costs: Sequence[Cost]) -> None:
    print(
        f"{name}, one by one: median {middle(costs, 'seconds'):.2f} s, {middle(costs, 'cpu'):.2f} CPU s, "
        f"peak {peak(costs):.2f} GiB",
        flush=True,
    )


def middle(costs: Sequence[Cost], what: str) -> float:
    """The median, without the first two nights, on which files are read for the first time."""
    return statistics.median(getattr(cost, what) for cost in costs[2:])


def peak(costs: Sequence[Cost]) -> float:
    """The most memory, without those two nights as well."""
    return max(cost.memory for cost in costs[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("whole", "history", "sizes"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.folder or Path(scratch)
        if given.what == "whole":
            whole(root, given.rows or 1_000_000, given.columns)
        elif given.what == "history":
            history(root, given.rows or 20_000, given.nights, given.columns)
        else:
            sizes(root, given.rows or 20_000, given.columns)


if __name__ == "__main__":
    main()
