"""A nightly run in a process of its own that may be told to die while it writes to the home's object store."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.objects import ObjectStore
from tests.faults.nights import run


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(home: str, model: str, first: str, last: str, when: str = "0") -> int:
    """Run the nights; gives how many objects were written.

    With ``when`` = n the process kills itself (SIGKILL) in the middle of writing its n-th object; with -n, just after it
    did; with ``manifest``, when all files are there and it is about to let them count.
    """
    written, lock = 0, threading.Lock()

    def counted(call):
        def run(store, *arguments):
            nonlocal written
            with lock:
                written += 1
                mine = written
            if when == "manifest" and call.__name__ == "create" and "/manifest/" in arguments[0]:
                die()
            if str(mine) == when:
                threading.Thread(target=call, args=(store, *arguments), daemon=True).start()
                time.sleep(0.003)
                die()
            done = call(store, *arguments)
            if str(-mine) == when:
                die()
            return done

        return run

    for name in ("upload", "create"):
        setattr(ObjectStore, name, counted(getattr(ObjectStore, name)))
    place = Home(Path(home))
    storage.refresh(place, rows=True)
    run(place.root, first, last, model)
    return written
