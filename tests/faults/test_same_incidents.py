"""Incidents are what the data say, in whatever order and however often the nights are run."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.simulate.faults import BrokenUnit, VanishedFeature
from mlobs_pipelines.simulate.world import FIRST_DAY
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import table

pytestmark = pytest.mark.slow

MODEL, DAYS = "card_fraud", 13


def day(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(days=number)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("incidents") / "delivered"
    faults = (BrokenUnit(start=day(8), end=day(9)), VanishedFeature(start=day(11)))
    write_world(Home(root), seed=3, days=DAYS, payments_per_day=600, faults=faults)
    Home(root).hash_key.write_text("5e" * 32)
    return root


def ran(delivered: Path, place: Path, runs: Iterable[Sequence[int]]) -> Home:
    home = Home(place)
    shutil.copytree(delivered, place)
    for numbers in runs:
        nights = [day(n) for n in numbers]
        steps.ingest(home, load_spec(home.spec_file(MODEL)), nights)
        spec = load_spec(home.spec_file(MODEL))
        steps.join(home, spec, nights)
        steps.profile(home, spec, nights)
        steps.measure(home, spec, nights, "run")
    return home


@pytest.fixture(scope="module")
def at_once(delivered: Path) -> Home:
    return ran(delivered, delivered.with_name("at_once"), [range(DAYS)])


def concluded(home: Home) -> dict[str, pl.DataFrame]:
    return {name: table(home, name, MODEL).sort(pl.all()) for name in ("signals", "incidents", "causes")}


def test_the_world_has_something_to_say(at_once: Home) -> None:
    found = table(at_once, "incidents", MODEL).unique("incident_id").sort("opened_as_of")
    assert found.select("subject", "segment", "since").rows() == [
        ("amount", "country=NL", day(8)),
        ("distance_km", "", day(11)),
    ]


def test_nights_run_again_and_old_ones_give_the_same_incidents(delivered: Path, at_once: Home, tmp_path: Path) -> None:
    home = ran(delivered, tmp_path / "home", [range(9), [8], range(9, DAYS), [DAYS - 1], [4, 5]])
    for name, expected in concluded(at_once).items():
        assert concluded(home)[name].equals(expected), name


def test_a_gap_filled_later_gives_the_same_incidents(delivered: Path, at_once: Home, tmp_path: Path) -> None:
    """A row that was sent twice counts for the night that took it in first, so numbers may differ in their last rows."""
    identity = ["as_of", "incident_id", "kind", "subject", "segment", "severity", "since", "opened_as_of", "state"]
    home = ran(delivered, tmp_path / "home", [range(8), range(10, DAYS), [8, 9]])
    found, expected = (concluded(place)["incidents"].select(identity).sort(pl.all()) for place in (home, at_once))
    assert found.equals(expected)
