"""Months that were compacted, at an object store: other machines see the same nights, whatever was cut off."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import mlobs_pipelines.store as store
from mlobs_pipelines.orchestration.maintain import maintain_model
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest
from mlobs_pipelines.store.tables import METRICS
from tests.objects.conftest import Place
from tests.store.world import number, run, spec_of

MODEL = "m"
NIGHTS = [dt.date(2026, 1, 25) + dt.timedelta(days=i) for i in range(18)]
JANUARY = NIGHTS[:7]
NUMBERS = "select metric, window_end, as_of, value from metrics order by all"

pytestmark = pytest.mark.slow


def conclude(home: Home, nights: list[dt.date], value: float = 0.5) -> None:
    """What nights leave, in so far as it matters here."""
    storage.begin(home, MODEL, nights)
    for night in nights:
        numbers = [number(end=(night - dt.date(2026, 1, 1)).days, subject=f"x{i}", value=value) for i in range(3)]
        tables = {
            home.store_file("metrics", MODEL, night): pl.DataFrame(numbers, schema=METRICS),
            home.store_file("runs", MODEL, night): run(MODEL, night),
            home.lake_file(MODEL, "intake", night): pl.DataFrame({"arrival_date": [night], "accepted": [7]}),
            home.lake_file(MODEL, "predictions", night): pl.DataFrame({"arrival_date": [night], "score": [value]}),
        }
        for path, rows in tables.items():
            with published(path) as draft:
                rows.write_parquet(draft)


def machine(place: Place, name: str) -> Home:
    home = place.home(name)
    with home.settings_file.open("a", encoding="utf-8") as settings:
        settings.write("compact_after: 7d\n")
    return home


def write(home: Home, nights: list[dt.date], value: float = 0.5) -> None:
    with storage.turn(home, MODEL):
        conclude(home, nights, value)
        storage.end(home, MODEL, nights)
        storage.commit(home, MODEL)


def files(home: Home, table: str = "metrics") -> set[str]:
    return {path.name for path in home.store_folder(table, MODEL).glob("2026-*")}


@pytest.fixture
def first(place: Place) -> Home:
    """A machine that has run all nights."""
    home = machine(place, "first")
    write(home, NIGHTS)
    return home


@pytest.fixture
def reader(place: Place, first: Home) -> Home:
    """Another one that has them all."""
    home = machine(place, "reader")
    storage.refresh(home, rows=True)
    return home


def test_another_machine_has_the_months_file_and_the_same_rows(first: Home, reader: Home) -> None:
    expected, numbers = digest(first, MODEL), store.query(reader, NUMBERS)
    assert len(files(reader)) == 18
    maintain_model(first, spec_of(MODEL))
    storage.refresh(reader, rows=True)
    assert files(first) == files(reader) == {"2026-01.parquet", *(f"{n}.parquet" for n in NIGHTS[7:])}
    assert digest(first, MODEL) == digest(reader, MODEL) == expected
    assert store.query(reader, NUMBERS).equals(numbers)
    assert reader.lake_nights(MODEL, "predictions").all() == reader.lake_nights(MODEL, "intake").all() == NIGHTS


def test_a_compaction_that_did_not_come_to_count_is_nobodys_concern_and_is_done_again(
    first: Home, reader: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest(first, MODEL)

    def gone(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(storage, "commit", gone)
        with pytest.raises(KeyboardInterrupt):
            maintain_model(first, spec_of(MODEL))
    storage.refresh(reader, rows=True)
    assert len(files(reader)) == 18
    storage.refresh(first, rows=True)
    assert digest(first, MODEL) == digest(reader, MODEL) == expected
    maintain_model(first, spec_of(MODEL))
    storage.refresh(reader, rows=True)
    assert len(files(first)) == len(files(reader)) == 12
    assert digest(first, MODEL) == digest(reader, MODEL) == expected


def test_a_machine_that_takes_over_writes_an_old_night_again_and_compacts_it(first: Home, place: Place) -> None:
    maintain_model(first, spec_of(MODEL))
    second = machine(place, "second")
    write(second, [JANUARY[2]], value=0.25)
    assert f"{JANUARY[2]}.parquet" in files(second)
    maintain_model(second, spec_of(MODEL))
    storage.refresh(first, rows=True)
    assert files(first) == files(second) == {"2026-01.parquet", *(f"{n}.parquet" for n in NIGHTS[7:])}
    assert digest(first, MODEL) == digest(second, MODEL)
    old = store.query(first, f"select distinct value from metrics where as_of = date '{JANUARY[2]}'")
    assert old["value"].to_list() == [0.25]


def test_a_night_that_is_not_whole_is_not_compacted_and_does_not_count(first: Home, reader: Home) -> None:
    numbers = store.query(reader, NUMBERS)
    with storage.turn(first, MODEL):
        conclude(first, [JANUARY[2]], value=0.25)  # and is killed
    maintain_model(first, spec_of(MODEL))
    assert {f"{JANUARY[2]}.parquet", "2026-01.parquet"} <= files(first)
    storage.refresh(reader, rows=True)
    assert store.query(reader, NUMBERS).equals(numbers)
