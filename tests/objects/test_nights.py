"""Nights at an S3 server: killed while they are written, read while they are written, gone on with elsewhere."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import time

import pytest
from click.testing import CliRunner

import mlobs_pipelines.store as store
from mlobs_pipelines.cli import main
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest
from mlobs_pipelines.store.working_copy import bring
from tests.faults.nights import run
from tests.objects import nightly_child
from tests.objects.conftest import Place
from tests.orchestration.conftest import SPEC, write_day
from tests.processes import Child

MODEL = "card_fraud"
FIRST, LAST = "2026-01-01", "2026-01-02"

pytestmark = pytest.mark.slow


def start(home: Home, first: str, last: str, when: str = "0") -> Child:
    return Child(nightly_child.main, str(home.root), MODEL, first, last, when, environment=os.environ)


def begin(place: Place, name: str, logs: Home) -> Home:
    """An empty home where the logs are within reach; the model's file is at the object store."""
    home = place.home(name)
    (home.root / "data").symlink_to(logs.root / "data")
    return home


def nights_of(home: Home) -> dict[str, list[str]]:
    """The nights of each table that a home has."""
    folders = [*home.lake(MODEL).glob("*/"), *(home.root / "store").glob(f"*/{MODEL}/")]
    found = {
        str(folder.relative_to(home.root)): sorted(file.name for file in folder.glob("2026-*")) for folder in folders
    }
    return {table: nights for table, nights in sorted(found.items()) if nights}


@pytest.fixture(scope="module")
def logs(s3_address: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """What was logged, in a home without storage that has run both nights; where there is an S3 server to compare with."""
    home = Home(tmp_path_factory.mktemp("logs") / "home")
    home.models.mkdir(parents=True)
    home.spec_file(MODEL).write_text(SPEC, encoding="utf-8")
    for i in range(3):
        write_day(home, dt.date(2026, 1, 1 + i), rows=90)
    run(home.root, FIRST, LAST, MODEL)
    return home


def test_killed_while_writing_objects_then_run_again_the_digest_is_the_same_and_no_half_night_is_ever_seen(
    logs, at_s3, capsys
):
    expected = digest(logs, MODEL)
    first = begin(at_s3, "first", logs)
    first.models.mkdir()
    first.spec_file(MODEL).write_text(SPEC, encoding="utf-8")
    written = start(first, FIRST, FIRST).answer()
    reader = at_s3.home("reader")
    storage.refresh(reader, rows=True)
    before = nights_of(reader)
    assert {tuple(nights) for nights in before.values()} == {(f"{FIRST}.parquet",)}

    every = [str(n * sign) for n in range(1, written - 3) for sign in (1, -1)] + ["manifest"]
    chosen = every if os.environ.get("MLOBS_EVERY_KILL_POINT") else [str(written // 2), "manifest"]
    for when in chosen:
        home = begin(at_s3, f"killed at {when}", logs)  # each on a machine of its own, which takes the last one over
        killed = start(home, LAST, LAST, when)
        assert killed.wait() == -signal.SIGKILL, killed.said
        storage.refresh(reader, rows=True)
        assert nights_of(reader) == before, f"killed at {when}"

    again, seen = start(home, LAST, LAST), []
    while not again.over:
        bring(storage.of(reader).store, reader, MODEL, rows=True)
        seen.append(nights_of(reader))
        time.sleep(0.2)
    again.answer()
    storage.refresh(reader, rows=True)
    after = nights_of(reader)
    assert digest(home, MODEL) == expected
    assert digest(reader, MODEL) == expected, "the copy of another machine, too"
    assert all(nights in (before, after) for nights in seen), "a reader saw half a night"
    answer = CliRunner().invoke(main, ["--home", str(reader.root), "--json", "status"])
    (row,) = json.loads(answer.stdout)
    assert str(row["last_night"]) == LAST
    numbers = "select metric, subject, segment, as_of, value from metrics order by all"
    assert store.query(reader, numbers).equals(store.query(logs, numbers))
    with capsys.disabled():
        print(f"\nkilled at {', '.join(chosen)} of {written} objects: identical; read {len(seen)} times meanwhile")
