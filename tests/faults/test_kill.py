"""A run that is killed at any point, and run again, leaves what an undisturbed run leaves."""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import signal
import time

import pytest

from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest
from tests.faults.nights import FIRST, LAST, MODEL, run, start

BEFORE, NEXT = "2026-01-03", "2026-01-04"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(delivered, tmp_path_factory):
    """A home after three nights, the same after five, and how many files the last two nights published."""
    before = tmp_path_factory.mktemp("kill") / "before"
    shutil.copytree(delivered, before)
    run(before, FIRST, BEFORE)
    after = before.with_name("after")
    shutil.copytree(before, after)
    published = start(after, NEXT, LAST).answer()
    return before, digest(Home(after), MODEL), published


def points(published: int) -> list[int]:
    """Every publish before and after where MLOBS_EVERY_KILL_POINT is set, else three spread over the run."""
    every = [n * sign for n in range(1, published + 1) for sign in (1, -1)]
    if os.environ.get("MLOBS_EVERY_KILL_POINT"):
        return every
    return [every[i * (len(every) - 1) // 2] for i in range(3)]


def test_killed_while_publishing_any_file_then_run_again_gives_the_same_digest(undisturbed, tmp_path, capsys):
    before, expected, published = undisturbed
    same = 0
    for point in points(published):
        home = tmp_path / f"at{point}"
        shutil.copytree(before, home)
        killed = start(home, NEXT, LAST, point)
        assert killed.wait() == -signal.SIGKILL, killed.said
        run(home, NEXT, LAST)
        assert digest(Home(home), MODEL) == expected, f"killed at publish {point} of {published}"
        assert not list(home.rglob("*.draft")), "the next run sweeps what the killed one left"
        same += 1
        shutil.rmtree(home)
    with capsys.disabled():
        print(f"\nkill points: {same} of {len(points(published))} identical, {published} files published in the run")


def test_killed_with_its_dbt_at_random_moments_then_run_again_gives_the_same_digest(undisturbed, tmp_path, capsys):
    before, expected, _ = undisturbed
    draw = random.Random(5)
    home = tmp_path / "random"
    shutil.copytree(before, home)
    taken_in = Home(home).lake_file(MODEL, "labels", dt.date.fromisoformat(LAST))
    kills = 2
    for _ in range(kills):
        child = start(home, NEXT, LAST)
        while not (taken_in.exists() or child.over):  # from then on its dbt has something to do
            time.sleep(0.01)
        time.sleep(draw.uniform(0.5, 2))
        child.kill()
        assert child.wait() == -signal.SIGKILL, child.said
    run(home, NEXT, LAST)
    assert digest(Home(home), MODEL) == expected
    with capsys.disabled():
        print(f"\nkilled {kills} times in a row with its whole process group: identical")
