"""Progress for a person at a terminal; silence for everybody else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self


class Progress:
    """A spinner with the latest message and the time gone by; plain lines where there is no terminal."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._terminal = sys.stderr.isatty() and not quiet
        self._shown: object = None
        self._started = time.monotonic()
        self._last = 0.0

    def __enter__(self) -> Self:
        if self._terminal:
            from rich.console import Console
            from rich.progress import Progress as Bar
            from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

            self._bar = Bar(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._bar.stop()

    def say(self, message: str) -> None:
        """Show what is being done now. Without a terminal, at most a line every five seconds."""
        if self._quiet:
            return
        if self._terminal:
            self._bar.update(self._task, description=f"{self._title}: {message}")
            return
        now = time.monotonic()
        if now - self._last >= 5:
            self._last = now
            sys.stderr.write(f"{self._title}: {message} ({now - self._started:.0f} s)\n")
            sys.stderr.flush()
