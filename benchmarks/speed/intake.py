"""What it takes to take a night in: seconds (and CPU seconds) and peak memory of ingest and of join, beside a bare scan of the same files.

`python -m benchmarks.speed.intake --rows 100000 1000000` measures one night of each size with as many labels;
`--history 5 60 365` measures those nights of a model of 20,000 rows a night, the nights before being there. Every
figure is of a process of its own, dbt's included.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed import workload

STEPS = ("scan", "ingest", "join")
USUAL_ROWS = 20_000
MIB = 1024


def scan(root: Path, first: dt.date, last: dt.date) -> None:
    """Read every value of the nights' delivered files with the engine: what no intake can do without."""
    from mlobs_pipelines.engine.duckdb import DuckDBEngine
    from mlobs_pipelines.engine.duckdb import scan as files_of

    with DuckDBEngine() as engine:
        for table in ("predictions", "labels"):
            files = [f for f in sorted((root / "data" / table).iterdir()) if str(first) <= f.stem <= str(last)]
            engine.rows(f"select bit_xor(hash(columns(*))) from {files_of(files)}")


def ingest(root: Path, first: dt.date, last: dt.date) -> None:
    """Take the nights in."""
    from mlobs_pipelines.ingest.night import ingest_nights
    from mlobs_pipelines.spec.load import load_spec
    from mlobs_pipelines.store.layout import Home

    home = Home(root)
    ingest_nights(home, load_spec(home.spec_file(workload.MODEL)), _dates(first, last))


def join(root: Path, first: dt.date, last: dt.date) -> None:
    """Join the nights' labels."""
    from mlobs_pipelines.join import night
    from mlobs_pipelines.spec.load import load_spec
    from mlobs_pipelines.store.layout import Home

    home = Home(root)
    spec = load_spec(home.spec_file(workload.MODEL))
    night.build(night.prepare(home, spec, _dates(first, last)))
    night.export(home, spec, _dates(first, last))


def _dates(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def measured(step: str, root: Path, first: dt.date, last: dt.date) -> tuple[float, float, float]:
    """(seconds, CPU seconds, peak MiB) of one step in a process of its own; the seconds are those after its imports."""
    command = [sys.executable, "-m", "benchmarks.speed.intake", "--step", step, str(root), str(first), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, cpu, peak = json.loads(done.stdout)
    return seconds, cpu, peak


def step(name: str, root: Path, first: dt.date, last: dt.date) -> None:
    """Do one step in this process and print its seconds and peak memory, that of its largest child included."""
    import mlobs_pipelines.ingest.night
    import mlobs_pipelines.join.night
    import mlobs_pipelines.spec.load  # noqa: F401 - imports are not what is measured

    began, cpu = time.perf_counter(), _cpu()
    {"scan": scan, "ingest": ingest, "join": join}[name](root, first, last)
    seconds, cpu = time.perf_counter() - began, _cpu() - cpu
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps([seconds, cpu, peak / MIB]))


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def sizes(folder: Path, rows: list[int], repeats: int) -> None:
    """One night of each size."""
    for n in rows:
        root = folder / f"rows{n}"
        if not root.exists():
            workload.write(root, workload.Workload(n, 1, delay=0.0))
        runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in STEPS}
        for _ in range(repeats):
            for made in ("lake", "warehouse", "quarantine"):
                shutil.rmtree(root / made, ignore_errors=True)
            for name in STEPS:
                runs[name].append(measured(name, root, workload.FIRST, workload.FIRST))
        _say(f"{n:>11,} rows", runs)


def history(folder: Path, nights: list[int], rows: int, repeats: int) -> None:
    """Some nights of a long history; the nights between them are taken in at once."""
    root = folder / f"nights{max(nights)}"
    if not root.exists():
        workload.write(root, workload.Workload(rows, max(nights)))
    for made in ("lake", "warehouse", "quarantine"):
        shutil.rmtree(root / made, ignore_errors=True)
    done = 0
    for wanted in sorted(nights):
        dates = [workload.FIRST + dt.timedelta(days=i) for i in range(done, wanted)]
        if dates[:-1]:
            between = {name: [measured(name, root, dates[0], dates[-2])] for name in STEPS}
            _say(f"to night {wanted - 1:>4}", between)
        # The latest night may be run again: each time as if for the first.
        runs = {name: [measured(name, root, dates[-1], dates[-1]) for _ in range(repeats)] for name in STEPS}
        _say(f"   night {wanted:>4}", runs)
        done = wanted


def _say(what: str, runs: dict[str, list[tuple[float, float, float]]]) -> None:
    parts = []
    for name, found in runs.items():
        seconds, cpu, peak = (statistics.median(run[i] for run in found) for i in range(3))
        parts.append(f"{name} {seconds:7.2f} s ({cpu:.2f} CPU) {peak:5.0f} MiB")
    print(f"{what}: {'   '.join(parts)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    parser.add_argument("--history", type=int, nargs="*", default=[])
    parser.add_argument("--usual-rows", type=int, default=USUAL_ROWS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the homes are kept; default: a temporary one")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        name, root, first, last = given.step
        step(name, Path(root), dt.date.fromisoformat(first), dt.date.fromisoformat(last))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        sizes(folder, given.rows, given.repeats)
        if given.history:
            history(folder, given.history, given.usual_rows, given.repeats)


if __name__ == "__main__":
    main()
