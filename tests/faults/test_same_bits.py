"""The same input gives the same lake and store, to the bit, however it is delivered and run."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mlobs_pipelines.measure.night import measure_night
from mlobs_pipelines.orchestration.profiles import ProfileReader
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest
from tests.faults.nights import FIRST, LAST, MODEL, run, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def at_once(delivered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five nights in one backfill, in another process than all that is compared with it."""
    home = tmp_path_factory.mktemp("bits") / "at_once"
    shutil.copytree(delivered, home)
    start(home, FIRST, LAST).answer()
    return home


def test_one_by_one_with_a_night_twice(at_once, fresh):
    home = fresh("home")
    for first, last in (
        (FIRST, FIRST),
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02", "2026-01-02"),
        ("2026-01-03", LAST),
    ):
        run(home, first, last)
    run(home, "2026-01-03", "2026-01-03")
    assert digest(Home(home), MODEL) == digest(Home(at_once), MODEL)


def test_files_delivered_twice_under_other_names_in_another_order_on_one_thread(at_once, fresh, monkeypatch):
    home = fresh("home")
    for folder in ("predictions", "labels"):
        files = sorted((home / "data" / folder).iterdir())
        for number, path in enumerate(reversed(files)):
            ending = "".join(path.suffixes)
            shutil.copy(path, path.with_name(f"again-{number:03}{ending}"))
            path.rename(path.with_name(f"z{number:03}{ending}"))
    monkeypatch.setenv("MLOBS_THREADS", "1")
    run(home, FIRST, LAST)
    assert digest(Home(home), MODEL) == digest(Home(at_once), MODEL)


def test_a_night_that_fills_a_gap_brings_the_later_nights_up_to_date(fresh):
    home = fresh("home")
    run(home, FIRST, "2026-01-02")
    run(home, "2026-01-04", LAST)
    run(home, "2026-01-03", "2026-01-03")
    assert_as_of(home)


def test_every_earlier_night_measured_now_is_what_was_stored_then(at_once):
    assert_as_of(at_once)


def assert_as_of(root: Path) -> None:
    home = Home(root)
    spec = load_spec(home.spec_file(MODEL))
    nights = [dt.date(2026, 1, day) for day in range(1, 6)]
    inputs = ProfileReader(home, spec).load(nights)
    for night in nights:
        stored = pl.read_parquet(home.store_file("metrics", MODEL, night))
        run_id = stored["run_id"][0]
        now = measure_night(inputs.profiles, spec, inputs.schema, inputs.bins, night, run_id)
        verdicts = pl.col("status").replace({"warn": "ok", "alert": "ok"})  # which rest on earlier nights
        assert_frame_equal(now, stored.with_columns(verdicts), check_exact=True)
        assert (stored["as_of"] == night).all()
