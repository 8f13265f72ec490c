"""A command's seconds, and the peak memory of it and all its children together."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.05
"""Seconds between two looks at the processes."""
MLOBS = (sys.executable, "-m", "mlobs_pipelines.cli")


@dataclass(frozen=True)
class Cost:
    """What a command cost: seconds, GiB of proportional set size at the worst moment, seconds of all cores together."""

    seconds: float
    memory: float
    cpu: float


def cost_of(command: Sequence[str], **variables: str) -> Cost:
    """Run a command to its end; what it printed is shown if it fails."""
    began, used = time.perf_counter(), _cpu()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **variables}
    )
    peak = 0.0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(EVERY):
            peak = max(peak, sum(_memory(pid) for pid in _tree(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = process.communicate()
    over.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(said)
    return Cost(time.perf_counter() - began, peak, _cpu() - used)


def _cpu() -> float:
    """CPU seconds of all processes that this one waited for, and of those that they did."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(root: int) -> list[int]:
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _memory(pid: int) -> float:
    """GiB of a process: pages that are shared count by their share; where that is not told, resident pages."""
    for file, name in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        except OSError:
            continue
        found = [int(line.split()[1]) for line in lines if line.startswith(name)]
        if found:
            return found[0] / 2**20
    return 0.0
