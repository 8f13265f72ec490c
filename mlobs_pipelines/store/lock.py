"""One writer per model: an advisory lock that dies with its process."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def exclusive(path: Path, *, timeout: float = 3600.0, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock at ``path``; wait for another holder, calling ``waiting`` once if there is one.

    Raises:
        TimeoutError: another process held it for longer than ``timeout`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        deadline = time.monotonic() + timeout
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told and waiting:
                    waiting()
                told = True
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another run has held {path} for {timeout:.0f} s") from None
                time.sleep(0.1)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
