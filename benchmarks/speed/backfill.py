"""A long backfill in one command beside single nights: time, peak memory, and that both leave the same.

`python -m benchmarks.speed.backfill --nights 365`: one home is filled by one `mlobs run`. In another, single nights are run
at several points of history, and the nights between in backfills; what all nights would take one by one is extrapolated
from those that were. Labels come over 45 days. Processor time is told beside seconds, for other work on the machine
changes it less.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import os
import resource
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.processes import MLOBS, cost_of
from benchmarks.speed.workload import MODEL, Workload, write
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest

POINTS = 4
"""Places in history at which single nights are run, the first night's and the last one's among them."""


@dataclass(frozen=True)
class Taken:
    """What some nights in one command took: seconds, seconds of the processor, and GiB at the worst moment."""

    seconds: float
    processor: float
    memory: float


def run(root: Path, nights: Sequence[dt.date]) -> Taken:
    before = _processor()
    cost = cost_of([*MLOBS, "--home", str(root), "run", MODEL, "--from", str(nights[0]), "--to", str(nights[-1])])
    taken = Taken(cost.seconds, _processor() - before, cost.memory)
    print(
        f"{nights[0]}, nights in one command: {len(nights)}, {taken.seconds:.1f} s, processor {taken.processor:.1f} s, "
        f"peak {taken.memory:.2f} GiB",
        flush=True,
    )
    return taken


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sampled(root: Path, nights: Sequence[dt.date], alone: int) -> dict[int, list[Taken]]:
    """Run ``alone`` single nights at each of the points, and the nights between together; what each single one took."""
    last = len(nights) - alone
    points = sorted({round(last * i / (POINTS - 1)) for i in range(POINTS)})
    found: dict[int, list[Taken]] = {}
    done = 0
    for point in points:
        if point > done:
            run(root, nights[done:point])
        found[point] = [run(root, [night]) for night in nights[max(point, done) : point + alone]]
        done = point + alone
    return {point: takes for point, takes in found.items() if takes}


def extrapolated(medians: dict[int, float], nights: int) -> float:
    """The sum over all nights, straight lines between the points."""
    known = sorted(medians.items())
    total = 0.0
    for night in range(nights):
        left, right = next(
            (pair for pair in itertools.pairwise(known) if pair[0][0] <= night <= pair[1][0]), (known[-1], known[-1])
        )
        share = (night - left[0]) / (right[0] - left[0]) if right[0] > left[0] else 0.0
        total += left[1] + (right[1] - left[1]) * share
    return total


def compare(folder: Path, work: Workload, alone: int) -> None:
    delivered, together, singly = folder / "delivered", folder / "together", folder / "singly"
    if not delivered.exists():
        write(delivered, work)
    for home in (together, singly):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(delivered, home, copy_function=os.link)
    nights = work.dates
    takes = sampled(singly, nights, alone)
    whole = run(together, nights)

    print(f"{len(nights)} nights of {work.rows:,} rows x {work.columns} features, {os.cpu_count()} cores")
    for point, some in takes.items():
        print(
            f"nights {point + 1} to {point + len(some)}, one by one: median {_median(some, 'seconds'):.1f} s, "
            f"processor {_median(some, 'processor'):.1f} s, peak {_peak(some):.2f} GiB"
        )
    for name in ("seconds", "processor"):
        one_by_one = extrapolated({point: _median(some, name) for point, some in takes.items()}, len(nights))
        together_took = getattr(whole, name)
        print(
            f"{name}: {len(nights)} single runs {one_by_one:,.0f} s (extrapolated from {sum(map(len, takes.values()))}), "
            f"one backfill {together_took:,.0f} s: {together_took / one_by_one:.2f} x"
        )
    alone_peak = max(map(_peak, takes.values()))
    print(
        f"peak memory: one backfill {whole.memory:.2f} GiB, {whole.memory / alone_peak:.2f} x the largest single night's"
    )
    same = digest(Home(together), MODEL) == digest(Home(singly), MODEL)
    print(f"digest of both homes: {'the same' if same else 'NOT THE SAME'}")
    if not same:
        raise SystemExit(1)


def _median(some: Sequence[Taken], name: str) -> float:
    return statistics.median(getattr(taken, name) for taken in some)


def _peak(some: Sequence[Taken]) -> float:
    return max(taken.memory for taken in some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--alone", type=int, default=3, help="single nights at each of the points")
    parser.add_argument("--folder", type=Path, help="keep the homes here; data that are there are used")
    given = parser.parse_args()
    work = Workload(given.rows, given.nights, given.columns, delay=12.0, latest=45)
    with tempfile.TemporaryDirectory() as scratch:
        compare(given.folder or Path(scratch), work, given.alone)


if __name__ == "__main__":
    main()
