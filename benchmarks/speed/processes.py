"""A command's seconds, its CPU seconds, and the peak memory of it and all its children together."""

from __future__ import annotations

import compileall
import functools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.environments import HERE

EVERY = 0.05
"""Seconds between two looks at the processes; longer where a look itself takes long, for it disturbs what is measured."""
GROWN = 1.02
"""How much more resident memory than ever before there is to be for it to be measured exactly. To do so stops a process that
asks for memory: done at every look it took a tenth of a run's time, and more of one with many threads."""
PAGE = os.sysconf("SC_PAGE_SIZE") / 2**30
MLOBS = (sys.executable, "-m", "mlobs_pipelines.cli")


@dataclass(frozen=True)
class Cost:
    """What a command cost: seconds, GiB of proportional set size at the worst moment, CPU seconds; and why it was
    stopped or failed, if it was."""

    seconds: float
    memory: float
    cpu: float = 0.0
    failure: str = ""

    def __add__(self, other: Cost) -> Cost:
        """What two commands, one after the other, cost."""
        return Cost(
            self.seconds + other.seconds,
            max(self.memory, other.memory),
            self.cpu + other.cpu,
            self.failure or other.failure,
        )


def cost_of(command: Sequence[str], **variables: str) -> Cost:
    """Run a command to its end; what it printed is shown if it fails."""
    cost, said = measured(command, **variables)
    if cost.failure:
        raise SystemExit(said)
    return cost


def measured(
    command: Sequence[str], *, gib: float = float("inf"), seconds: float = float("inf"), **variables: str
) -> tuple[Cost, str]:
    """What a command cost and what it printed; it is killed, with its children, beyond so many GiB or seconds.

    CPU seconds are right as long as commands are measured one at a time.
    """
    _compile()
    began, used = time.perf_counter(), _children()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    peak, failure = 0.0, ""
    over = threading.Event()

    def watch() -> None:
        nonlocal peak, failure
        pause, most = EVERY, 0.0
        while not over.wait(pause):
            looked = time.perf_counter()
            pids = _tree(process.pid)
            if (resident := sum(map(_resident, pids))) > GROWN * most:
                most = resident
                peak = max(peak, sum(map(_memory, pids)))
            now = time.perf_counter()
            pause = max(EVERY, 10 * (now - looked))
            if peak > gib:
                failure = f"killed at {gib:g} GiB"
            elif now - began > seconds:
                failure = f"killed after {seconds:g} s"
            if failure:
                os.killpg(process.pid, signal.SIGKILL)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        said, _ = process.communicate()
    except BaseException:  # interrupted: it has a session of its own, and would go on
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        over.set()
        watcher.join()
    if process.returncode and not failure:
        failure = f"failed: {(said.strip().splitlines() or ['no word'])[-1]}"
    return Cost(time.perf_counter() - began, peak, _children() - used, failure), said


@functools.cache
def _compile() -> None:
    """Compile the checkout, as pip compiles what it installs: a process would take seconds for it, and keep nothing where
    it is told to write no bytecode."""
    compileall.compile_dir(HERE / "mlobs_pipelines", quiet=1)


def _children() -> float:
    """CPU seconds of the children that have ended."""
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


def _resident(pid: int) -> float:
    """GiB of a process's resident pages, also of those that it shares."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0.0


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
