"""Processes of their own for what may be killed, forked from one that has imported what they need.

Importing Dagster is a third of what a small run costs; here it is done once for all of a worker's tests.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "mlobs_pipelines.orchestration.run", "mlobs_pipelines.orchestration.steps"])


class Child:
    """``function(*arguments)`` in a process and a process group of its own, which has begun."""

    def __init__(self, function: Callable[..., object], *arguments: object, environment: Mapping[str, str]) -> None:
        self._said = tempfile.NamedTemporaryFile()  # noqa: SIM115 - for as long as this may be asked what was said
        self._answer, answer = _CONTEXT.Pipe(duplex=False)
        given = (function, arguments, dict(environment), self._said.name, answer)
        self._process = _CONTEXT.Process(target=_begin, args=given)
        self._process.start()
        answer.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """End it and all that it has started at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def over(self) -> bool:
        return not self._process.is_alive()

    def wait(self, seconds: float = 300) -> int:
        """Wait for its end; gives its exit status, or the signal that killed it as a negative number."""
        self._process.join(seconds)
        status = self._process.exitcode
        assert status is not None, f"it has not ended within {seconds} s"
        return status

    def answer(self, seconds: float = 300) -> Any:
        """Wait for its end; gives what the function returned."""
        status = self.wait(seconds)
        assert status == 0, self.said
        return self._answer.recv()

    @property
    def said(self) -> str:
        """What was written to its standard error: of a crash in a library, where it was is at the beginning."""
        return Path(self._said.name).read_text(encoding="utf-8", errors="replace")[:6000]


def die_at_rename(point: int) -> Callable[[], int]:
    """Let this process kill itself (SIGKILL) when it is about to rename its n-th finished file into place.

    Args:
        point: n; with -n it dies just after it did, with 0 never.

    Returns:
        What tells how many files were renamed so far.
    """
    renamed = 0
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += 1
        if renamed == point:
            os.kill(os.getpid(), signal.SIGKILL)
        done = rename(self, target)
        if renamed == -point:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Path.replace = replace  # type: ignore[method-assign, assignment]
    return lambda: renamed


def _begin(
    function: Callable[..., object], arguments: tuple[object, ...], environment: dict[str, str], said: str, answer: Any
) -> None:
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), 2)
    answer.send(function(*arguments))
