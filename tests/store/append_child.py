"""Appends to the log, and dies at a given step of the disk's: ``append_child.py HOME ID [STEP HALF]``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from mlobs_pipelines.store import journal
from mlobs_pipelines.store.layout import Home


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    home, name = Home(Path(sys.argv[1])), sys.argv[2]
    fatal, bytes_written = (int(sys.argv[3]), int(sys.argv[4])) if len(sys.argv) > 3 else (-1, 0)
    steps: list[str] = []

    def counted(call):
        def run(*arguments):
            steps.append(call.__name__)
            if len(steps) == fatal:
                if call is write:
                    write(arguments[0], bytes(arguments[1])[:bytes_written])
                die()
            return call(*arguments)

        return run

    write = os.write
    for call in ("write", "fsync", "replace", "ftruncate", "open"):
        setattr(os, call, counted(getattr(os, call)))
    journal.append(home, decision_id=name, model="m", action="retrain", status="pending", reason="Because")
    print(*steps)


if __name__ == "__main__":
    main()
