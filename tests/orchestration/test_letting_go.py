"""Predictions whose contents were let go of: every later night says what it would have said, and nothing is taken in twice."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from mlobs_pipelines.act.rows import matured_days, matured_rows
from mlobs_pipelines.cli import main
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.let_go import KEPT
from mlobs_pipelines.orchestration import behind
from mlobs_pipelines.orchestration.maintain import maintain_model
from mlobs_pipelines.orchestration.run import rebuild_model, run_model
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest, lake
from tests.orchestration.conftest import SPEC, write_day
from tests.orchestration.maintenance import MODEL, copied, maintain, spec_of
from tests.processes import Child

NIGHTS = [dt.date(2026, 1, 26) + dt.timedelta(days=i) for i in range(9)]
NEWEST = dt.date(2026, 3, 20)
NEXT = NEWEST + dt.timedelta(days=1)
GONE, KEPT_NIGHTS = NIGHTS[:5], [*NIGHTS[5:], NEWEST]
CORRECTED, CORRECTED_LATE = NIGHTS[1], NIGHTS[2]
"""Days of which labels are corrected: on the eighth night, and on the night after the newest."""

pytestmark = pytest.mark.slow


def correct(home: Home, day: dt.date, at: dt.date) -> None:
    """Deliver other labels of some of a day's predictions."""
    labels = pl.read_parquet(home.root / "data" / "labels" / f"{day}.parquet").head(9)
    noon = dt.datetime.combine(at, dt.time(12))
    others = labels.with_columns(is_fraud=1 - pl.col("is_fraud"), reported_at=pl.lit(noon))
    others.write_parquet(home.root / "data" / "labels" / f"corrections of {day}.parquet")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after some nights, and one long after them."""
    home = Home(tmp_path_factory.mktemp("letting_go") / "ran")
    home.models.mkdir(parents=True)
    labels = "  available_at: reported_at\n"
    more = "monitors: {windows: [1d, 7d]}\nreference: {source: data/reference.parquet}\nretention: {predictions: 49d}\n"
    home.spec_file(MODEL).write_text(SPEC.replace(labels, f"{labels}  maturity: 2d\n") + more, encoding="utf-8")
    for i, night in enumerate((*NIGHTS, NEWEST, NEXT)):
        write_day(home, night, rows=50 + i)
    data = home.root / "data"
    rows, told = (pl.read_parquet(data / table / f"{NIGHTS[0]}.parquet") for table in ("predictions", "labels"))
    rows.join(told.drop("reported_at"), on="prediction_id").write_parquet(data / "reference.parquet")
    correct(home, CORRECTED, NIGHTS[7])
    run_model(home, spec_of(home), NIGHTS)
    run_model(home, spec_of(home), [NEWEST])
    return home


@pytest.fixture
def home(ran: Home, tmp_path: Path) -> Home:
    return copied(ran, tmp_path / "home")


@pytest.fixture
def untouched(ran: Home, tmp_path: Path) -> Home:
    return copied(ran, tmp_path / "untouched")


def rows_of(home: Home, night: dt.date) -> pl.DataFrame:
    return pl.read_parquet(home.lake_file(MODEL, "predictions", night))


def but_predictions(home: Home) -> dict[str, str]:
    return {table: said for table, said in digest(home, MODEL).items() if table != "lake/predictions"}


def test_of_old_predictions_only_what_tells_them_apart_stays_and_nothing_else_changes(
    home: Home, untouched: Home
) -> None:
    before = but_predictions(home)
    (found,) = maintain_model(home, spec_of(home)).let_go
    assert (found.table, found.nights) == ("predictions", 5)
    assert found.bytes > 0
    for night in GONE:
        rows, were = rows_of(home, night), rows_of(untouched, night)
        assert rows.select(KEPT).equals(were.select(KEPT))
        assert rows.schema == were.schema
        assert not rows.drop(KEPT).select(pl.all().count()).row(0) > (0,) * (rows.width - len(KEPT))
    for night in KEPT_NIGHTS:
        assert rows_of(home, night).equals(rows_of(untouched, night))
    assert but_predictions(home) == before
    assert not maintain_model(home, spec_of(home)).let_go


def test_rows_delivered_again_are_known_and_the_next_night_joins_and_counts_what_is_left(
    home: Home, untouched: Home
) -> None:
    maintain_model(home, spec_of(home))
    for place in (home, untouched):
        data = place.root / "data" / "predictions"
        pl.read_parquet(data / f"{GONE[3]}.parquet").reverse().write_parquet(data / "delivered again.parquet")
        correct(place, CORRECTED_LATE, NEXT)
        run_model(place, spec_of(place), [NEXT])
    ours, theirs = digest(home, MODEL), digest(untouched, MODEL)
    for table in ("intake", "labels", "label_facts", "quality_profile", "traffic_profile"):
        assert ours[f"lake/{table}"] == theirs[f"lake/{table}"], table
    assert rows_of(home, NEXT).equals(rows_of(untouched, NEXT))
    assert pl.read_parquet(home.quarantine_file(MODEL, NEXT)).height == 0
    with DuckDBEngine() as engine:
        engine.attach(home.warehouse_file(MODEL), "warehouse")
        assert engine.rows("select arrival_date from warehouse.run_nights") == [(NEXT,)], (
            "no other night is joined again"
        )

    def counted(place: Home) -> set[dt.date]:
        return set(pl.read_parquet(place.lake_file(MODEL, "output_profile", NEXT))["event_date"])

    assert counted(untouched) - counted(home) == {CORRECTED_LATE}


def test_a_rebuild_gives_the_same_and_says_which_nights_it_left_as_they_were(home: Home) -> None:
    maintain_model(home, spec_of(home))
    correct(home, CORRECTED_LATE, NEXT)
    run_model(home, spec_of(home), [NEXT])
    before = digest(home, MODEL)
    nights, left = rebuild_model(home, spec_of(home))
    assert nights == [*NIGHTS, NEWEST, NEXT]
    assert left == [*GONE, NIGHTS[5], NIGHTS[7]], (
        "labels of the fifth came on the sixth, and a correction on the eighth"
    )
    assert digest(home, MODEL) == before
    said = CliRunner().invoke(main, ["--home", str(home.root), "rebuild", MODEL]).stdout
    assert "the profiles of 7 of them stay as they were" in said


def test_training_comparing_and_exporting_pass_over_them(home: Home, tmp_path: Path) -> None:
    maintain_model(home, spec_of(home))
    spec = spec_of(home)
    assert matured_days(home, spec, NEWEST) == NIGHTS[5:]
    rows = matured_rows(home, spec, NIGHTS[0], NEWEST, NEWEST)
    assert set(rows["event_date"]) == set(NIGHTS[5:8])
    assert rows["amount"].null_count() == 0
    out = tmp_path / "cohort.parquet"
    assert CliRunner().invoke(main, ["--home", str(home.root), "export", MODEL, "--out", str(out)]).exit_code == 0
    assert set(pl.read_parquet(out)["arrival_date"]) == set(KEPT_NIGHTS)
    assert set(lake(home, MODEL, "predictions")["arrival_date"]) == {*GONE, *KEPT_NIGHTS}


def test_nothing_is_let_go_while_nights_are_to_be_derived_again_or_are_not_finished(home: Home) -> None:
    behind.mark(home, MODEL, [NIGHTS[-1] + dt.timedelta(days=1)])
    assert not maintain_model(home, spec_of(home), dry_run=True).let_go
    behind.clear(home, MODEL)
    assert maintain_model(home, spec_of(home), dry_run=True).let_go
    home.store_file("metrics", MODEL, NEWEST).unlink()
    assert not maintain_model(home, spec_of(home), dry_run=True).let_go


def test_a_night_that_the_newest_has_labels_for_waits_until_the_newest_is_past(home: Home) -> None:
    correct(home, GONE[2], NEXT)
    run_model(home, spec_of(home), [NEXT])
    maintain_model(home, spec_of(home))
    stored = home.lake_nights(MODEL, "predictions")
    assert set(stored.let_go(stored.all())) == {*GONE, NIGHTS[5]} - {GONE[2]}


def test_first_days_that_stand_for_reference_data_stay(home: Home) -> None:
    bins = home.bins_file(MODEL)
    bins.write_text(bins.read_text(encoding="utf-8").replace('"training"', '"onboarding"'), encoding="utf-8")
    assert not maintain_model(home, spec_of(home)).let_go


def test_killed_at_any_point_the_next_maintenance_goes_on(home: Home, untouched: Home, tmp_path: Path) -> None:
    deeds = Child(maintain, untouched.root, environment=os.environ).answer()
    expected = digest(untouched, MODEL)
    every = range(1, deeds + 1)
    for point in every if os.environ.get("MLOBS_EVERY_KILL_POINT") else (2, deeds):
        copy = Home(Path(shutil.copytree(home.root, tmp_path / f"at{point}")))
        killed = Child(maintain, copy.root, point, environment=os.environ)
        assert killed.wait() == -signal.SIGKILL, killed.said
        maintain_model(copy, spec_of(copy))
        assert digest(copy, MODEL) == expected, f"killed at {point} of {deeds}"
        run_model(copy, spec_of(copy), [NEXT])
