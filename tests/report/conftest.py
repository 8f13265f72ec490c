"""One synthetic home for all tests of pages, and one whose every name is hostile."""

from __future__ import annotations

import pytest

from tests.report.hostile import hostile_home
from tests.report.synthetic import synthetic_home


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return synthetic_home(tmp_path_factory.mktemp("pages") / "home")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    return hostile_home(tmp_path_factory.mktemp("hostile") / "home")
