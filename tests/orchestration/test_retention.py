"""Rows whose time is up are let go of; that there was such a night stays known, and nothing later says anything else."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import mlobs_pipelines.store as store
from mlobs_pipelines.cli import main
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.due import first_unfinished, nights_due
from mlobs_pipelines.orchestration.maintain import maintain_model
from mlobs_pipelines.orchestration.run import rebuild_model, run_model
from mlobs_pipelines.report.read import Results
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest
from mlobs_pipelines.store.results import publish
from tests.orchestration.conftest import SPEC, write_day
from tests.orchestration.maintenance import MODEL, answers, copied, maintain, spec_of
from tests.processes import Child

NIGHTS = [dt.date(2026, 1, 26) + dt.timedelta(days=i) for i in range(8)]
NEWEST = dt.date(2026, 3, 20)
SINCE = dt.date(2026, 1, 30)
"""The first night whose metrics are kept."""
DAYS = (NEWEST - SINCE).days + 1

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after some nights, each of which refused rows, and one long after them."""
    home = Home(tmp_path_factory.mktemp("retention") / "ran")
    home.models.mkdir(parents=True)
    labels = "  available_at: reported_at\n"
    home.spec_file(MODEL).write_text(SPEC.replace(labels, f"{labels}  maturity: 2d\n"), encoding="utf-8")
    home.settings_file.write_text(
        f"compact_after: 7d\nretention: {{metrics: {DAYS}d, runs: {DAYS}d, quarantine: 49d}}\n", encoding="utf-8"
    )
    for i, night in enumerate((*NIGHTS, NEWEST, NEWEST + dt.timedelta(days=1))):
        write_day(home, night, rows=60 + i, bad=2)
    run_model(home, spec_of(home), NIGHTS)
    run_model(home, spec_of(home), [NEWEST])
    return home


@pytest.fixture
def home(ran: Home, tmp_path: Path) -> Home:
    return copied(ran, tmp_path / "home")


def told_on(home: Home, night: dt.date) -> int:
    """How many numbers the night is known to have told."""
    return int(store.query(home, f"select count(*) from metrics where as_of = date '{night}'").item())


def test_numbers_of_old_nights_are_gone_and_all_others_are_as_they_were(home: Home) -> None:
    kept = f"select * from metrics where as_of >= date '{SINCE}' order by all"
    before, numbers = digest(home, MODEL), store.query(home, kept)
    found = maintain_model(home, spec_of(home))
    lost = {one.table: one for one in found.let_go}
    assert {table: one.nights for table, one in lost.items()} == {"metrics": 4, "runs": 4, "quarantine": 5}
    assert all(one.bytes > 0 for one in lost.values())
    assert [told_on(home, night) > 0 for night in NIGHTS] == [False] * 4 + [True] * 4
    assert store.query(home, kept).equals(numbers)
    assert store.metrics(home).height == numbers.height
    after = digest(home, MODEL)
    assert {table for table in before if before[table] != after[table]} == {"store/metrics", "store/runs"}
    brought = answers(home)
    home.results.unlink()
    publish(home)
    assert answers(home) == brought, "made from nothing, it says the same"
    again = maintain_model(home, spec_of(home))
    assert not again.compacted
    assert not again.let_go


def test_a_night_whose_numbers_are_gone_is_not_due(home: Home) -> None:
    spec, now = spec_of(home), dt.datetime(2026, 3, 22, 12, tzinfo=dt.UTC)
    before = nights_due(home, spec, now), first_unfinished(home, MODEL)
    maintain_model(home, spec)
    assert (nights_due(home, spec, now), first_unfinished(home, MODEL)) == before


def test_a_rebuild_tells_them_again_and_the_next_maintenance_lets_them_go_again(home: Home) -> None:
    maintain_model(home, spec_of(home))
    expected = digest(home, MODEL)
    rebuild_model(home, spec_of(home))
    assert told_on(home, NIGHTS[0]) > 0
    maintain_model(home, spec_of(home))
    assert told_on(home, NIGHTS[0]) == 0
    assert digest(home, MODEL) == expected


def test_of_refused_rows_the_reason_stays_and_what_was_refused_is_not_refused_again(home: Home, tmp_path: Path) -> None:
    def reasons(of: Home) -> pl.DataFrame:
        with Results(of) as results:
            return results.refused(MODEL, since=NIGHTS[0]).sort("night", "source", "reason")

    def texts(of: Home) -> dict[dt.date, int]:
        kept = {n: pl.read_parquet(of.quarantine_file(MODEL, n)) for n in of.quarantine_nights(MODEL).all()}
        return {night: rows["raw"].count() for night, rows in kept.items()}

    untouched = Home(tmp_path / "untouched")
    shutil.copytree(home.root, untouched.root)
    before = reasons(home)
    assert set(texts(home).values()) == {2}
    maintain_model(home, spec_of(home))
    assert [texts(home)[night] for night in (*NIGHTS, NEWEST)] == [0] * 5 + [2] * 4
    assert reasons(home).equals(before)
    for place in (home, untouched):
        data = place.root / "data" / "predictions"
        pl.read_parquet(data / f"{NIGHTS[0]}.parquet").reverse().write_parquet(data / "delivered again.parquet")
        run_model(place, spec_of(place), [NEWEST + dt.timedelta(days=1)])
        assert texts(place)[NEWEST + dt.timedelta(days=1)] == 2, "its own alone"
    tables = ("lake/intake", "lake/predictions", "lake/output_profile", "store/signals")
    ours, theirs = digest(home, MODEL), digest(untouched, MODEL)
    assert {table: ours[table] for table in tables} == {table: theirs[table] for table in tables}


def test_killed_at_any_point_the_next_maintenance_lets_go_of_the_same(home: Home, tmp_path: Path) -> None:
    whole = Home(tmp_path / "whole")
    shutil.copytree(home.root, whole.root)
    deeds = Child(maintain, whole.root, environment=os.environ).answer()
    expected = digest(whole, MODEL)
    every = range(1, deeds + 1)
    for point in every if os.environ.get("MLOBS_EVERY_KILL_POINT") else every[3 :: deeds // 2]:
        copy = Home(tmp_path / f"at{point}")
        shutil.copytree(home.root, copy.root)
        killed = Child(maintain, copy.root, point, environment=os.environ)
        assert killed.wait() == -signal.SIGKILL, killed.said
        assert set(copy.store_nights("metrics", MODEL).all()) == {*NIGHTS, NEWEST}
        maintain_model(copy, spec_of(copy))
        assert digest(copy, MODEL) == expected, f"killed at {point} of {deeds}"
        assert answers(copy)["latest_metrics"] == answers(home)["latest_metrics"]
        assert not list(copy.root.rglob("*.draft"))
        shutil.rmtree(copy.root)


def test_a_dry_run_tells_what_would_go(home: Home) -> None:
    before = digest(home, MODEL)
    told = CliRunner().invoke(main, ["--home", str(home.root), "maintain", "--dry-run"]).stdout
    assert "card_fraud: metrics: rows of 4 nights let go" in told
    assert "card_fraud: quarantine: rows of 5 nights let go" in told
    assert digest(home, MODEL) == before
    assert told_on(home, NIGHTS[0]) > 0


def test_a_retention_that_later_nights_cannot_live_with_is_refused_and_nothing_is_let_go(home: Home) -> None:
    with home.spec_file(MODEL).open("a", encoding="utf-8") as file:
        file.write("retention: {runs: 30d}\n")
    with pytest.raises(
        UserError, match=r"card_fraud\.yaml: retention\.runs: 30d is too short for card_fraud; give 38d"
    ):
        maintain_model(home, spec_of(home))
    assert told_on(home, NIGHTS[0]) > 0
    said = CliRunner().invoke(main, ["--home", str(home.root), "validate", MODEL])
    assert said.exit_code == 1
    assert "retention.runs: 30d is too short" in said.stdout
