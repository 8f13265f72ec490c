"""A nightly run in a process of its own that may be told to die: `python nightly_child.py HOME MODEL FROM TO [WHEN]`.

WHEN = n: the process kills itself (SIGKILL) in the middle of writing its n-th object at the home's object store; -n: just
after it did; manifest: when all files are there and it is about to let them count. Prints how many objects were written.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import threading
import time
from pathlib import Path

from mlobs_pipelines.orchestration.due import nights_between
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.objects import ObjectStore


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(home: str, model: str, first: str, last: str, when: str = "0") -> None:
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
    spec = load_spec(place.spec_file(model))
    run_model(place, spec, nights_between(dt.date.fromisoformat(first), dt.date.fromisoformat(last)))
    print(written)


if __name__ == "__main__":
    main(*sys.argv[1:])
