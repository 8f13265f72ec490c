"""Publishes a night of a home at an object store, and dies when it writes its n-th object: `commit_child.py HOME NIGHT CONTENT N`."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
from pathlib import Path

from mlobs_pipelines.store import storage
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.objects import ObjectStore

MODEL = "card_fraud"


def main(home: Home, night: dt.date, content: str, fatal: int) -> None:
    written = 0

    def counted(call):
        def run(*arguments):
            nonlocal written
            written += 1
            if written == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)

        return run

    for name in ("upload", "create"):
        setattr(ObjectStore, name, counted(getattr(ObjectStore, name)))
    with storage.turn(home, MODEL):
        storage.begin(home, MODEL, [night])
        for table in ("labels", "predictions"):
            write_text(home.lake_file(MODEL, table, night), f"{table} {content}")
        for table in ("metrics", "incidents"):
            write_text(home.store_file(table, MODEL, night), f"{table} {content}")
        storage.end(home, MODEL, [night])
        storage.commit(home, MODEL)


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])), dt.date.fromisoformat(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
