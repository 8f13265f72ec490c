"""A publish that is killed at any step leaves a whole snapshot, and the next one goes on from there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

import mlobs_pipelines.store as store
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from tests.store.world import back, conclude, number, spec_of, trouble

CHILD = Path(__file__).with_name("publish_child.py")
ROOT = CHILD.parents[2]

pytestmark = pytest.mark.slow


def shown(home):
    return store.query(home, "select * from known_metrics order by all")


@pytest.mark.parametrize("both", [True, False], ids=["both files are there", "one has to be copied"])
def test_killed_at_any_step_the_snapshot_is_the_old_or_the_new_one_and_the_next_publish_mends_it(home, tmp_path, both):
    for i in range(3):
        conclude(home, [number(end=i), number(end=i, days=7, value=i / 9)])
        trouble(home, "m", "warning", as_of=i)
        publish(home, [spec_of()])
    if not both:
        back(home).unlink()
    old = shown(home)
    conclude(home, [number(end=2, value=0.9, as_of=3), number(end=3)])
    copies = tmp_path / "copies"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(CHILD), str(home.root), str(copies)], check=True, env=environment)
    publish(home)
    new = shown(home)
    assert old.height < new.height
    found = [Home(folder) for folder in copies.iterdir()]
    assert len(found) > 12
    for copy in found:
        assert copy.results.exists()
        left = shown(copy)
        assert left.equals(old) or left.equals(new)
        publish(copy)
        assert_frame_equal(shown(copy), new)
        assert set(copy.root.glob(".*")) <= {back(copy)}
        conclude(copy, [number(end=4)])
        publish(copy)
        assert shown(copy).height == new.height + 1
