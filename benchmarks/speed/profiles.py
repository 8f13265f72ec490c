"""Profiles beside the raw scan of the same file: `python -m benchmarks.speed.profiles [--rows N] [--columns N] [--folder DIR]`.

A night of predictions, 256 bins a numeric column with sums of scores and values, and a night of their labels with sums of
labels and losses by bin; each is a process of its own, and its seconds are those of the work without imports. The scan
is DuckDB's, of all columns that the profile reads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from benchmarks.speed.lakes import LABELS, PREDICTIONS, lake_of
from benchmarks.speed.workload import MODEL
from mlobs_pipelines.profile import kernels
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.store.layout import Home

TASKS = ("scan", "predictions", "labels")
RUNS = 3


def scan(home: Home) -> None:
    import duckdb

    file = home.lake_file(MODEL, "predictions", PREDICTIONS)
    with duckdb.connect(config={"preserve_insertion_order": False}) as engine:
        described = engine.execute(f"describe select * from read_parquet('{file}')").fetchall()
        sums = ", ".join(f'{"sum" if kind == "DOUBLE" else "max"}("{name}")' for name, kind, *_ in described)
        engine.execute(f"select {sums} from read_parquet('{file}')").fetchall()


def measure(task: str, root: Path, rows: int, columns: int) -> None:
    home, spec = lake_of(root, rows, columns)
    kernels.start().join()
    pa.array([0])  # the first one imports pandas, where there is one
    began = time.perf_counter()
    if task == "scan":
        scan(home)
    else:
        profile_nights(home, spec, [PREDICTIONS if task == "predictions" else LABELS])
    print(time.perf_counter() - began, peak_memory())


def peak_memory() -> float:
    """GiB of this process's peak resident memory. What getrusage tells begins with the parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--task", choices=TASKS)
    given = parser.parse_args()
    if given.task:
        measure(given.task, given.folder, given.rows, given.columns)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = given.folder or Path(scratch)
        lake_of(root, given.rows, given.columns)
        found: dict[str, list[tuple[float, float]]] = {task: [] for task in TASKS}
        for _ in range(RUNS):
            for task in TASKS:
                command = [sys.executable, "-m", "benchmarks.speed.profiles", "--task", task, "--folder", str(root)]
                command += ["--rows", str(given.rows), "--columns", str(given.columns)]
                said = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
                seconds, memory = map(float, said.split())
                found[task].append((seconds, memory))
    raw = statistics.median(seconds for seconds, _ in found["scan"])
    print(f"{given.rows:,} rows x {given.columns} features, median of {RUNS}, {os.cpu_count()} cores")
    for task, runs in found.items():
        seconds = statistics.median(seconds for seconds, _ in runs)
        print(f"{task:12} {seconds:7.2f} s   {seconds / raw:5.2f} x the scan   peak {max(m for _, m in runs):5.2f} GiB")


if __name__ == "__main__":
    main()
