"""dbt in a process of its own that can be started before there is work for it: importing dbt takes seconds."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

WORKER = Path(__file__).with_name("dbt_worker.py")

PATIENCE = 25.0
"""Seconds that an interrupted dbt has to take its work back."""


@dataclass(frozen=True)
class NodeResult:
    """What became of one node: ``status`` is dbt's word; ``failures`` are the rows that broke a test's promise."""

    node: str
    status: str
    message: str
    failures: int | None
    seconds: float

    @property
    def name(self) -> str:
        """The node's own name, without its kind and project."""
        return self.node.split(".")[2]

    @property
    def failed(self) -> bool:
        return self.status in {"error", "fail", "runtime error"}


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what dbt said if it came to no node."""

    success: bool
    said: str
    results: tuple[NodeResult, ...]


class DbtProcess:
    """A dbt that gets ready at once and then does one command after the other.

    It ends by itself when this process does, at the latest after the command it is at.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the process may print
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, arguments as a list
            # -P: beside the worker are modules of the names of libraries
            [sys.executable, "-P", str(WORKER)],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            encoding="utf-8",
            errors="replace",
        )
        self._commands, self._answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        self.get_ready(environment)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def get_ready(self, environment: Mapping[str, str]) -> None:
        """Let it load the project, while nobody waits."""
        self._tell({"environment": dict(environment)})

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Outcome:
        """Run a command to its end. Interrupted, it is interrupted too, and has ended before this raises."""
        printed = os.fstat(self._printed.fileno()).st_size
        try:
            self._tell({"environment": dict(environment), "arguments": list(arguments)})
            line = self._answers.readline()
        except BaseException:
            self._process.send_signal(signal.SIGINT)
            self.end(PATIENCE)
            raise
        if not line:
            status = self._process.wait()
            return Outcome(False, self._last_words(printed) or f"exit status {status}", ())
        answer: dict[str, Any] = json.loads(line)
        results = tuple(NodeResult(**result) for result in answer["results"])
        return Outcome(answer["success"], answer["said"] or self._last_words(printed), results)

    def end(self, patience: float | None = None) -> None:
        """Wait until it has ended, by force after so many seconds."""
        with contextlib.suppress(OSError):
            self._commands.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._printed.close()

    def _tell(self, request: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died: the missing answer tells
            self._commands.write(json.dumps(request) + "\n")
            self._commands.flush()

    def _last_words(self, since: int) -> str:
        text = os.pread(self._printed.fileno(), 100_000, since).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return " ".join(lines[-6:])[-500:]


class Waiting:
    """The dbt processes of this one that are ready, or getting ready, for a command."""

    def __init__(self) -> None:
        self._idle: list[DbtProcess] = []
        self._keepers = 0
        self._lock = threading.Lock()

    def start(self, environment: Mapping[str, str]) -> None:
        """See that one is there."""
        with self._lock:
            self._idle = [process for process in self._idle if process.alive]
            if not self._idle:
                self._idle.append(DbtProcess(environment))

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Outcome:
        """Run a command in one that waits, else in a new one. Commands of several threads run side by side."""
        process = self._take() or DbtProcess(environment)
        outcome = process.run(arguments, environment)
        with self._lock:
            kept = self._keepers > 0 and process.alive
            if kept:
                process.get_ready(environment)
                self._idle.append(process)
        if not kept:
            process.end()
        return outcome

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Within the block a process that has done its work waits for more, for a hundred megabytes of memory."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1
            while not self._keepers and (process := self._take()):
                process.end()

    def _take(self) -> DbtProcess | None:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
                process.end()
        return None
