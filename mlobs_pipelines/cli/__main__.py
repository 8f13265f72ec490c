"""The process of `mlobs`, which is also `python -m mlobs_pipelines.cli`."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys

from mlobs_pipelines.cli import main


def enter() -> None:
    """Do what the command line asks for, and end the process at once.

    Python would look for garbage in all that was imported, and take it apart: a second, after a run. Whatever has to
    be done at the end is done before: threads have ended, and what asked to be called has been.
    """
    ended: list[int] = []

    def leave() -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more: Python ends as it does then
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            if ended:
                os._exit(*ended)

    atexit.register(leave)  # the first, and so the last to be called
    try:
        main(prog_name="mlobs")
    except SystemExit as end:
        if isinstance(end.code, int):
            ended.append(end.code)
        raise


if __name__ == "__main__":
    enter()
