"""Maintaining a home in a test: what is asked of it before and after, and a maintenance that dies on the way."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import mlobs_pipelines.store as store
from mlobs_pipelines.orchestration.maintain import maintain_model
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish

MODEL = "card_fraud"
TABLES = ("metrics", "known_metrics", "latest_metrics", "model_health", "signals", "incidents", "causes", "runs")


def spec_of(home: Home) -> ModelSpec:
    return load_spec(home.spec_file(MODEL))


def copied(home: Home, root: Path) -> Home:
    """The same home in another place, whose snapshot knows its files."""
    copy = Home(Path(shutil.copytree(home.root, root)))
    publish(copy)
    return copy


def answers(home: Home) -> dict[str, str]:
    return {table: store.query(home, f"select * from {table} order by all").write_json() for table in TABLES}


def maintain(root: Path, dies_at: int = 0) -> int:
    """Maintain a home, and die at the n-th rename or removal of a file; gives how many there were."""
    deeds = 0

    def counted(deed):
        def do(self, *given, **more):
            nonlocal deeds
            deeds += self.suffix in (".parquet", ".draft") and (deed.__name__ != "unlink" or self.exists())
            if deeds == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return deed(self, *given, **more)

        return do

    for name in ("replace", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    maintain_model(Home(root), spec_of(Home(root)))
    return deeds
