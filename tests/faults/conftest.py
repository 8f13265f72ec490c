"""One small world, delivered once for all tests of a worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.store.layout import Home


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of which no night was run. Each home makes a key of its own, and hashes differ with it: this one has it."""
    root = tmp_path_factory.mktemp("world") / "delivered"
    write_world(Home(root), seed=3, days=9, payments_per_day=150)
    Home(root).hash_key.write_text("5e" * 32)
    return root


@pytest.fixture
def fresh(delivered: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a home of which no night was run."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(delivered, tmp_path / name))

    return make
