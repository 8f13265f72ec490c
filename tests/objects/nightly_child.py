"""A nightly run in a process of its own that may be told to die: `python nightly_child.py HOME MODEL FROM TO [STEP]`.

With STEP = n the process kills itself (SIGKILL) when it is about to write its n-th object at the home's object store, and in
the middle of it where that is a file; with STEP = -n, just after it did. Prints how many objects were written.
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


def main(home: str, model: str, first: str, last: str, step: int = 0) -> None:
    written, lock = 0, threading.Lock()

    def counted(call):
        def run(store, *arguments):
            nonlocal written
            with lock:
                written += 1
                mine = written
            if mine == step:
                if call.__name__ == "upload":
                    threading.Thread(target=call, args=(store, *arguments), daemon=True).start()
                    time.sleep(0.002 * (step % 7))
                die()
            done = call(store, *arguments)
            if mine == -step:
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
    main(*sys.argv[1:5], *(int(n) for n in sys.argv[5:6]))
