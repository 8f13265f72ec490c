"""What becomes of an animal: five classes, one of them rare, labels days late, names with hundreds of values."""

from __future__ import annotations

import polars as pl
import pytest

from tests.real.logs import SHELTER_CLASSES, Log, prepare_shelter_outcomes
from tests.real.replay import compare, metrics, once

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return once(tmp_path_factory, "shelter", prepare_shelter_outcomes)


@pytest.mark.parametrize("place", [3, 15, -1])
def test_every_stored_number_is_that_of_the_rows(log: Log, place: int) -> None:
    found = compare(log, log.nights[place])
    assert found.wrong == []
    assert found.worst.get("roc_auc", 0) < 0.001


def test_every_class_is_measured(log: Log) -> None:
    rows = metrics(log, log.nights[-1]).filter((pl.col("metric") == "recall") & (pl.col("family") == "performance"))
    assert set(rows["subject"]) == set(SHELTER_CLASSES)


def test_young_windows_are_provisional_and_their_labels_incomplete(log: Log) -> None:
    night = log.nights[-1]
    week = metrics(log, night).filter(
        (pl.col("window_end") == night) & (pl.col("segment") == "") & (pl.col("metric") == "label_coverage")
    )
    assert set(week["status"]) == {"provisional"}
    assert 0.3 < week["value"].min() < week["value"].max() < 0.95
