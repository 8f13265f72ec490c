"""A run's own scratch folder and engine below the home; gone when the run ends, swept when a run was killed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error
from mlobs_pipelines.store.layout import Home

EngineFactory = Callable[[Path], DuckDBEngine]
"""Folder to spill to -> engine."""


class Workspace:
    """Scratch space of one run: ``engine`` (started when first used), ``stage`` for files of the run.

    ``generation`` counts engines: what was opened in one is unknown to the next.
    """

    def __init__(self, home: Home, model: str, engine_factory: EngineFactory = DuckDBEngine) -> None:
        self._factory = engine_factory
        folder = home.root / "tmp"
        _sweep(folder)
        self.root = folder / f"{model}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.stage = self.root / "stage"
        self.generation = 0
        self._engine: DuckDBEngine | None = None

    def __enter__(self) -> Self:
        self.stage.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        shutil.rmtree(self.root, ignore_errors=True)
        if self.root.parent.exists() and not any(self.root.parent.iterdir()):
            self.root.parent.rmdir()

    @property
    def engine(self) -> DuckDBEngine:
        """The run's engine."""
        if self._engine is None:
            self._engine = self._factory(self.root / "spill")
            self.generation += 1
        return self._engine

    def alive(self) -> bool:
        """Whether the engine still answers: an internal error in a hostile file ends it, though not the process."""
        if self._engine is None:
            return True
        try:
            self._engine.rows("select 1")
        except Error:
            self._close()
            return False
        return True

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def _sweep(folder: Path) -> None:
    """Remove scratch folders whose process is gone."""
    for old in folder.glob("*-*-*") if folder.exists() else ():
        pid = old.name.rsplit("-", 2)[1]
        if pid.isdigit() and int(pid) != os.getpid() and not _running(int(pid)):
            shutil.rmtree(old, ignore_errors=True)


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
