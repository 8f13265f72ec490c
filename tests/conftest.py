"""What all tests share: their order, and a dbt that stays ready from one night to the next."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mlobs_pipelines.engine import dbt

# A child that is killed by a fault of a library says where.
os.environ["PYTHONFAULTHANDLER"] = "1"

# A person's own Dagster is no place for the runs of tests.
os.environ.pop("DAGSTER_HOME", None)


@pytest.fixture(scope="session", autouse=True)
def _dbt_stays_ready() -> Iterator[None]:
    with dbt.kept():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no worker is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
