"""Snapshots to begin with."""

from __future__ import annotations

import pytest

from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from tests.store.world import begun, conclude, number, spec_of


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A home whose snapshot dbt has already set up: dbt takes seconds, and is asked once per version only."""
    home = Home(tmp_path_factory.mktemp("built"))
    conclude(home, [number()])
    publish(home, [spec_of()])
    return home


@pytest.fixture
def home(built, tmp_path):
    return begun(built, tmp_path / "it's a home")
