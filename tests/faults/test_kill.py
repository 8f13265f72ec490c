"""A run that is killed at any point, and run again, leaves what an undisturbed run leaves."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest

CHILD = Path(__file__).with_name("nightly_child.py")
ROOT = CHILD.parents[2]
MODEL = "card_fraud"
FIRST, BEFORE, LAST = "2026-01-01", "2026-01-03", "2026-01-05"

pytestmark = pytest.mark.slow


def start(home: Path, first: str, last: str, publish: int = 0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DAGSTER_DISABLE_TELEMETRY": "1"}
    environment.pop("DAGSTER_HOME", None)
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(home), MODEL, first, last, str(publish)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def run(home: Path, first: str, last: str) -> int:
    """Run to the end; gives the number of files published."""
    child = start(home, first, last)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err[:6000]  # where a library crashed is at the beginning
    return int(out.split()[-1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A home after three nights, the same after five, and how many files the last two nights published."""
    before = tmp_path_factory.mktemp("kill") / "before"
    write_world(Home(before), seed=3, days=8, payments_per_day=150)
    run(before, FIRST, BEFORE)
    after = before.with_name("after")
    shutil.copytree(before, after)
    published = run(after, "2026-01-04", LAST)
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
        killed = start(home, "2026-01-04", LAST, point)
        killed.communicate(timeout=300)
        assert killed.returncode == -signal.SIGKILL
        run(home, "2026-01-04", LAST)
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
    kills = 2
    for _ in range(kills):
        child = start(home, "2026-01-04", LAST)
        time.sleep(draw.uniform(2, 8))
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate(timeout=60)
    run(home, "2026-01-04", LAST)
    assert digest(Home(home), MODEL) == expected
    with capsys.disabled():
        print(f"\nkilled {kills} times in a row with its whole process group: identical")
