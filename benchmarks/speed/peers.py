"""Ours beside the raw scan and the peers, on the same files in the same run: `make bench-peers`.

`python -m benchmarks.speed.peers --sizes 100000x40 1000000x40 --repeat 3 --write` measures logs of so many rows over ten
days and so many features, and writes the tables into `docs/benchmarks.md`. Every measurement is of whole processes, start
and reading included; contestants take turns, so that what else the machine does meets them all alike. What was measured
of other sizes stays.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.speed import comparison
from benchmarks.speed.environments import HERE, PEERS, PLACE, interpreter, missing
from benchmarks.speed.processes import MLOBS, Cost, measured
from benchmarks.speed.workload import MODEL, Workload, write

DAYS = 10
SIZES = [(100_000, 40), (1_000_000, 40), (10_000_000, 40), (100_000, 400)]
CONTESTANTS = ("scan", "mlobs", *PEERS)
UNTRACKED = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "1"}
"""Peers would tell their makers that they run, and wait for the answer."""
MEASURED = PLACE / "measured.json"
PAGE = HERE / "docs" / "benchmarks.md"


def commands(name: str, home: Path, work: Workload) -> list[list[str]]:
    """What a contestant runs, one after the other."""
    first, last = str(work.dates[0]), str(work.dates[-1])
    if name == "mlobs":
        mlobs = [*MLOBS, "--home", str(home)]
        return [[*mlobs, "run", MODEL, "--from", first, "--to", last], [*mlobs, "report", MODEL]]
    python = sys.executable if name == "scan" else str(interpreter(name))
    return [[python, "-m", f"benchmarks.peers.{name}", str(home), last]]


def run(name: str, root: Path, work: Workload, gib: float, seconds: float) -> Cost:
    """One measurement, in a home that has seen nothing yet."""
    total = Cost(0.0, 0.0)
    with tempfile.TemporaryDirectory(dir=root.parent) as fresh:
        home = Path(fresh)
        for part in ("data", "models"):
            (home / part).symlink_to(root / part)
        for command in commands(name, home, work):
            cost, said = measured(command, gib=gib, seconds=seconds, **UNTRACKED)
            total += cost
            if cost.failure:
                print(said[-2000:], file=sys.stderr)
                break
    return total


def compare(rows: int, columns: int, names: Sequence[str], repeat: int, gib: float, seconds: float) -> dict[str, Any]:
    """Measure all contestants on one log."""
    work = Workload(rows // DAYS, DAYS, columns)
    load = os.getloadavg()[0]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    absent = {name: missing(name) for name in names if name in PEERS and missing(name)}
    with tempfile.TemporaryDirectory(dir=PLACE) as scratch:
        root = Path(scratch) / "log"
        write(root, work)
        run("scan", root, work, gib, seconds)  # from now on the files are in memory
        for turn in range(repeat):
            for name in names:
                if name in absent or any(cost.failure for cost in costs[name]):
                    continue
                cost = run(name, root, work, gib, seconds)
                costs[name].append(cost)
                print(
                    f"{rows:,} x {columns}, turn {turn + 1}: {name:10} {cost.seconds:8.1f} s {cost.cpu:8.1f} CPU s "
                    f"{cost.memory:6.2f} GiB {cost.failure}",
                    flush=True,
                )
    return {
        "rows": rows,
        "columns": columns,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "load": load,
        "machine": machine(),
        "versions": {name: version_of(name) for name in names if name not in absent},
        "absent": absent,
        "costs": {name: [asdict(cost) for cost in runs] for name, runs in costs.items() if runs},
    }


def machine() -> str:
    """Cores, processor, memory and Python of this machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def version_of(name: str) -> str:
    """The version that is measured."""
    if name in PEERS:
        code = f"from importlib.metadata import version; print(version('{name}'))"
        return subprocess.run(
            [interpreter(name), "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
    return version("duckdb" if name == "scan" else "mlobs_pipelines")


def medians(found: Mapping[str, Any]) -> dict[str, Cost]:
    """The median cost of each contestant; its memory is the worst of its runs."""
    told = {}
    for name, runs in found["costs"].items():
        costs = [Cost(**cost) for cost in runs]
        failure = next((cost.failure for cost in costs if cost.failure), "")
        told[name] = Cost(
            statistics.median(cost.seconds for cost in costs),
            max(cost.memory for cost in costs),
            statistics.median(cost.cpu for cost in costs),
            failure,
        )
    return told


def size(text: str) -> tuple[int, int]:
    """``1000000x40``: rows and features."""
    rows, columns = text.split("x")
    return int(rows), int(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=size, nargs="*", default=SIZES, metavar="ROWSxFEATURES")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--gib", type=float, default=12, help="beyond this memory a contestant is killed")
    parser.add_argument("--seconds", type=float, default=3600, help="beyond this time a contestant is killed")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.relative_to(HERE)}")
    given = parser.parse_args()
    PLACE.mkdir(exist_ok=True)
    kept = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    for rows, columns in given.sizes:
        kept[f"{rows}x{columns}"] = compare(rows, columns, given.only, given.repeat, given.gib, given.seconds)
        MEASURED.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    told = comparison.tables([(found, medians(found)) for found in kept.values()])
    print(told)
    if given.write:
        comparison.put(PAGE, told)


if __name__ == "__main__":
    main()
