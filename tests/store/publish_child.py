"""Publishes copies of a home, and dies at another step in each: `python publish_child.py HOME FOLDER`.

A step is a file renamed, linked, removed, copied, stamped or synced, or a statement run in the database. Before the
first of them the first process is killed, before the second the second one, and so on, until one comes to its end. The
copies lie in FOLDER, by number. Of statements every fifth counts, or every one where MLOBS_EVERY_KILL_POINT is set.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish

STEPS = [
    *((Path, "replace"), (Path, "unlink"), (os, "link"), (os, "utime"), (os, "fsync"), (shutil, "copy2")),
    (DuckDBEngine, "close"),
]
EVERY = 1 if os.environ.get("MLOBS_EVERY_KILL_POINT") else 5


def counted(deed, step):
    def do(*args, **options):
        step()
        return deed(*args, **options)

    return do


def die_before(last: int) -> None:
    steps = itertools.count(1)

    def step() -> None:
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    for owner, name in STEPS:
        setattr(owner, name, counted(getattr(owner, name), step))
    statements = itertools.count(1)
    run = DuckDBEngine.run

    def run_counted(self: DuckDBEngine, statement: str) -> None:
        if next(statements) % EVERY == 0 or statement.startswith("checkpoint"):
            step()
        run(self, statement)

    DuckDBEngine.run = run_counted


def main(home: Path, folder: Path) -> None:
    for n in itertools.count(1):
        copy = folder / str(n)
        shutil.copytree(home, copy)
        child = os.fork()
        if not child:
            die_before(n)
            publish(Home(copy))
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
