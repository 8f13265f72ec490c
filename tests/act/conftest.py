"""A home with matured rows and an empty log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlobs_pipelines.store.layout import Home


@pytest.fixture(scope="session")
def lake_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.act.small_home import write_lake

    root = tmp_path_factory.mktemp("act") / "home"
    write_lake(Home(root))
    return root


@pytest.fixture
def small(lake_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home of its own, with forty days of rows; publishing is another room's and is left out."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("mlobs_pipelines.store.results.publish", lambda home, specs=(): None)
    shutil.copytree(lake_home, tmp_path / "home")
    return Home(tmp_path / "home")
