"""Nights at an S3 server: killed while they are written, read while they are written, gone on with elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import mlobs_pipelines.store as store
from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest
from tests.objects.conftest import Place, bucket

CHILD = Path(__file__).with_name("nightly_child.py")
ROOT = CHILD.parents[2]
MODEL = "card_fraud"
BEFORE, LAST = ("2026-01-01", "2026-01-02"), ("2026-01-03", "2026-01-04")

pytestmark = pytest.mark.slow


def start(home: Home, nights: tuple[str, str], step: int = 0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment |= {"MLOBS_HASH_KEY": "the same on all machines", "DAGSTER_DISABLE_TELEMETRY": "1"}
    environment.pop("DAGSTER_HOME", None)
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(home.root), MODEL, *nights, str(step)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def run(home: Home, nights: tuple[str, str]) -> int:
    """Run to the end; gives how many objects were written."""
    child = start(home, nights)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err[-2000:]
    return int(out.split()[-1])


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """What was logged, in a home without storage; and what four nights of it give there."""
    home = Home(tmp_path_factory.mktemp("logged") / "home")
    write_world(home, seed=3, days=6, payments_per_day=100)
    data = home.root.with_name("data")
    shutil.copytree(home.root, data)
    run(home, BEFORE)
    run(home, LAST)
    return data, digest(home, MODEL)


@pytest.fixture(scope="module")
def published(logged, s3_address, tmp_path_factory):
    """A place that two nights were published to, by a home that is gone since; what comes next is done to copies of it."""
    place = Place(*bucket(s3_address), tmp_path_factory.mktemp("published"))
    home = begin(place, "first", logged[0], with_model=True)
    run(home, BEFORE)
    return place


def begin(place: Place, name: str, data: Path, *, with_model: bool = False) -> Home:
    """An empty home where the logs are within reach; the model's file is at the object store."""
    home = place.home(name)
    (home.root / "data").symlink_to(data / "data")
    if with_model:
        shutil.copytree(data / "models", home.models)
    return home


@pytest.fixture
def place(published, tmp_path):
    """The same objects in a bucket of their own, so that each test goes on from there."""
    import s3fs

    url, options = bucket(published.options["client_kwargs"]["endpoint_url"])
    system = s3fs.S3FileSystem(**options)
    before, after = published.url.removeprefix("s3://"), url.removeprefix("s3://")
    for key in system.find(before):
        system.copy(key, after + key.removeprefix(before))
    return Place(url, options, tmp_path)


def test_a_home_that_is_empty_goes_on_where_another_one_left_off(logged, place, capsys):
    data, expected = logged
    home = begin(place, "second", data)
    written = run(home, LAST)
    assert digest(home, MODEL) == expected
    reader = place.home("reader")
    storage.refresh(reader, rows=False)
    asked = "select metric, as_of, value from metrics order by all"
    assert store.query(reader, asked).equals(store.query(home, asked))
    assert store.query(reader, "select count(*) from runs").item() == 4
    with capsys.disabled():
        print(f"\n{written} objects written by two nights")


def points(written: int) -> list[int]:
    """Before, in and after each object where MLOBS_EVERY_KILL_POINT is set, else some spread over the run."""
    every = [n * sign for n in range(1, written + 1) for sign in (1, -1)]
    if os.environ.get("MLOBS_EVERY_KILL_POINT"):
        return every
    return [3, -written // 2, written]  # a first file, in the midst, and the manifest


def test_killed_while_writing_any_object_then_run_again_here_or_elsewhere_gives_the_same_digest(logged, place, capsys):
    data, expected = logged
    reader = place.home("reader")
    storage.refresh(reader, rows=True)
    nights = nights_of(reader)
    same = 0
    chosen = points(int(os.environ.get("MLOBS_OBJECTS", "40")))
    for i, point in enumerate(chosen):
        home = begin(place, f"at{point}", data)
        killed = start(home, LAST, point)
        _, err = killed.communicate(timeout=300)
        assert killed.returncode == -signal.SIGKILL, err[-2000:]
        storage.refresh(reader, rows=True)
        assert nights_of(reader) == nights, f"killed at object {point}: half a night is seen"
        if i == len(chosen) - 1:
            run(home, LAST)
            assert digest(home, MODEL) == expected, f"killed at object {point}, run again there"
        same += 1
    storage.refresh(reader, rows=True)
    assert digest(reader, MODEL) == expected
    with capsys.disabled():
        print(f"\nkilled at objects {chosen}: nothing of it seen, then identical")


def nights_of(home: Home) -> dict[str, list[str]]:
    """The nights of each table that a home has."""
    folders = [*home.lake(MODEL).glob("*/"), *(home.root / "store").glob(f"*/{MODEL}/")]
    return {str(folder.relative_to(home.root)): sorted(f.name for f in folder.glob("2026-*")) for folder in folders}
