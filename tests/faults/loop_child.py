"""The loop in a process of its own that may be told to die: `python loop_child.py HOME CALL WHEN`.

The process kills itself (SIGKILL) just before, or just after, its first call of a method of MLflow's client.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from mlobs_pipelines.act.loop import advance
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store import results
from mlobs_pipelines.store.layout import Home


def main(home: str, call: str = "", when: str = "") -> None:
    if call:
        real = getattr(MlflowClient, call)

        def die(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
            if when == "after":
                real(self, *args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(MlflowClient, call, die)
    results.publish = lambda home, specs=(): None  # another room's, and slow
    place = Home(Path(home))
    advance(place, load_spec(place.spec_file("m")))


if __name__ == "__main__":
    main(*sys.argv[1:])
