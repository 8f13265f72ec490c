"""Maintenance makes fewer files, and changes nothing that anybody can ask: killed at any point, run twice at once, gone on with."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

import mlobs_pipelines.store as store
from mlobs_pipelines.cli import main
from mlobs_pipelines.orchestration.due import first_unfinished, nights_due
from mlobs_pipelines.orchestration.home import build_home
from mlobs_pipelines.orchestration.maintain import maintain_model
from mlobs_pipelines.orchestration.partitions import first_night
from mlobs_pipelines.orchestration.run import rebuild_model, run_model
from mlobs_pipelines.report.read import Results
from mlobs_pipelines.store.compaction import LAKE_TABLES as COMPACTED
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive
from mlobs_pipelines.store.read import digest
from mlobs_pipelines.store.results import publish
from tests.orchestration.conftest import SPEC, write_day
from tests.orchestration.maintenance import MODEL, answers, copied, maintain, spec_of
from tests.processes import Child

NIGHTS = [dt.date(2026, 1, 26) + dt.timedelta(days=i) for i in range(14)]
GAP = NIGHTS[1]
JANUARY, FEBRUARY = [n for n in NIGHTS if n.month == 1], [n for n in NIGHTS if n.month == 2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after the nights of a month's end and of the next one's beginning; the fourth brought nothing, the second was
    left out."""
    home = Home(tmp_path_factory.mktemp("maintain") / "ran")
    home.models.mkdir(parents=True)
    home.spec_file(MODEL).write_text(f"{SPEC}reference: {{source: data/reference.parquet}}\n", encoding="utf-8")
    home.settings_file.write_text("compact_after: 7d\n", encoding="utf-8")
    for i in range(16):
        if i != 3:
            write_day(home, NIGHTS[0] + dt.timedelta(days=i), rows=40 + i)
    data = home.root / "data"
    rows, labels = (pl.read_parquet(data / table / f"{NIGHTS[0]}.parquet") for table in ("predictions", "labels"))
    rows.join(labels.drop("reported_at"), on="prediction_id").write_parquet(data / "reference.parquet")
    run_model(home, spec_of(home), NIGHTS[:1])
    run_model(home, spec_of(home), NIGHTS[2:])
    return home


@pytest.fixture
def home(ran: Home, tmp_path: Path) -> Home:
    """The same, in a place of its own, whose snapshot knows its files."""
    return copied(ran, tmp_path / "home")


def own_files(home: Home, nights: list[dt.date]) -> dict[str, int]:
    """By table, how many of the nights have a file of their own."""
    folders = [home.lake(MODEL) / table for table in ("predictions", "labels", "label_facts", *COMPACTED)]
    folders += [home.store_folder(table, MODEL) for table in ("metrics", "signals", "incidents", "causes", "runs")]
    return {
        folder.name if folder.parent.name == MODEL else folder.parent.name: sum(
            (folder / f"{night}.parquet").exists() for night in nights
        )
        for folder in folders
    }


def test_a_compacted_month_has_the_same_digest_and_every_question_the_same_answer(home: Home) -> None:
    before, asked, snapshot = digest(home, MODEL), answers(home), home.results.stat().st_ino
    numbers, profile = store.metrics(home), store.lake(home, MODEL, "feature_profile")
    found = maintain_model(home, spec_of(home))
    assert {done.table: (done.nights, done.months) for done in found.compacted}.items() >= {
        "metrics": (5, 1),
        "feature_profile": (5, 1),
        "intake": (5, 1),
    }.items()
    kept = own_files(home, JANUARY)
    rows = ("predictions", "labels", "label_facts")
    assert kept == {table: 5 if table in rows else 0 for table in kept}
    assert set(own_files(home, FEBRUARY).values()) <= {8, 0}
    assert digest(home, MODEL) == before
    assert home.results.stat().st_ino == snapshot, "it has all rows already"
    assert answers(home) == asked
    assert store.metrics(home).equals(numbers)
    assert store.lake(home, MODEL, "feature_profile").equals(profile)
    home.results.unlink()
    publish(home)
    assert answers(home) == asked, "made from nothing"
    assert not maintain_model(home, spec_of(home)).compacted


def test_after_a_compaction_no_other_night_is_due_and_partitions_begin_where_they_did(home: Home) -> None:
    spec, now = spec_of(home), dt.datetime(2026, 2, 12, 12, tzinfo=dt.UTC)
    before = nights_due(home, spec, now), first_unfinished(home, MODEL), first_night(home, spec)
    maintain_model(home, spec)
    assert (nights_due(home, spec, now), first_unfinished(home, MODEL), first_night(home, spec)) == before


def test_nights_that_follow_run_again_or_are_rebuilt_say_what_they_would_have_said(home: Home, tmp_path: Path) -> None:
    untouched = Home(tmp_path / "untouched")
    shutil.copytree(home.root, untouched.root)
    maintain_model(home, spec_of(home))
    for place in (home, untouched):
        run_model(place, spec_of(place), [NIGHTS[-1] + dt.timedelta(days=1)])
        run_model(place, spec_of(place), JANUARY[2:4])
    assert own_files(home, JANUARY)["metrics"] == 2
    expected = digest(untouched, MODEL)
    assert digest(home, MODEL) == expected
    assert {done.table: done.nights for done in maintain_model(home, spec_of(home)).compacted}["metrics"] == 2
    assert digest(home, MODEL) == expected
    rebuild_model(home, spec_of(home))
    assert digest(home, MODEL) == expected
    maintain_model(home, spec_of(home))
    assert digest(home, MODEL) == expected
    numbers = "select * exclude (run_id) from metrics order by all"
    assert store.query(home, numbers).equals(store.query(untouched, numbers))


def test_a_night_that_fills_a_gap_in_a_compacted_month_is_taken_in(home: Home, tmp_path: Path) -> None:
    untouched = Home(tmp_path / "untouched")
    shutil.copytree(home.root, untouched.root)
    maintain_model(home, spec_of(home))
    for place in (home, untouched):
        run_model(place, spec_of(place), [GAP])
    maintain_model(home, spec_of(home))
    assert digest(home, MODEL) == digest(untouched, MODEL)
    assert own_files(home, JANUARY)["metrics"] == 0
    assert GAP in home.store_nights("metrics", MODEL)


def test_pages_count_the_same_rows_of_a_feature(home: Home) -> None:
    def counted() -> pl.DataFrame:
        with Results(home) as results:
            return results.profile(MODEL, "amount", "", "production", NIGHTS[0], NIGHTS[-1]).sort("event_date", "bin")

    before = counted()
    maintain_model(home, spec_of(home))
    assert before.height
    assert counted().equals(before)


def test_killed_at_any_rename_or_removal_nothing_is_lost_or_twice_and_the_next_maintenance_finishes(
    home: Home, tmp_path: Path
) -> None:
    expected, asked = digest(home, MODEL), answers(home)
    whole = Home(tmp_path / "whole")
    shutil.copytree(home.root, whole.root)
    deeds = Child(maintain, whole.root, environment=os.environ).answer()
    every = range(1, deeds + 1)
    points = every if os.environ.get("MLOBS_EVERY_KILL_POINT") else every[1 :: deeds // 2]
    for point in points:
        copy = Home(tmp_path / f"at{point}")
        shutil.copytree(home.root, copy.root)
        killed = Child(maintain, copy.root, point, environment=os.environ)
        assert killed.wait() == -signal.SIGKILL, killed.said
        assert digest(copy, MODEL) == expected, f"killed at {point} of {deeds}"
        maintain_model(copy, spec_of(copy))
        assert digest(copy, MODEL) == expected
        assert answers(copy) == asked
        assert own_files(copy, JANUARY)["metrics"] == 0
        assert not list(copy.root.rglob("*.draft"))
        shutil.rmtree(copy.root)


def test_two_maintenances_at_once_take_turns(home: Home) -> None:
    before = digest(home, MODEL)
    with exclusive(home.lock_file(MODEL)):
        both = [Child(maintain, home.root, environment=os.environ) for _ in range(2)]
    assert sorted(child.answer() > 0 for child in both) == [False, True]
    assert digest(home, MODEL) == before


def test_a_dry_run_tells_what_it_would_do_and_does_not(home: Home) -> None:
    before = sorted(str(path) for path in home.root.rglob("*.parquet"))
    answer = CliRunner().invoke(main, ["--home", str(home.root), "maintain", MODEL, "--dry-run", "--json"])
    ((said,), status) = json.loads(answer.stdout), answer.exit_code
    assert status == 0
    (metrics,) = (done for done in said["compacted"] if done["table"] == "metrics")
    assert (metrics["nights"], metrics["months"], metrics["bytes_after"]) == (5, 1, None)
    assert sorted(str(path) for path in home.root.rglob("*.parquet")) == before


def test_one_models_trouble_does_not_hold_up_the_others(home: Home) -> None:
    other = SPEC.replace("model: card_fraud", "model: another") + "retention: {runs: 30d}\n"
    home.spec_file("another").write_text(other, encoding="utf-8")
    answer = CliRunner().invoke(main, ["--home", str(home.root), "maintain"])
    assert answer.exit_code == 1
    assert "mlobs: another.yaml: retention.runs: 30d is too short for another" in answer.stderr
    assert own_files(home, JANUARY)["metrics"] == 0


def test_the_weekly_job_does_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    job = build_home(home).resolve_job_def(f"{MODEL}_maintain")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
    assert own_files(home, JANUARY)["metrics"] == 0
