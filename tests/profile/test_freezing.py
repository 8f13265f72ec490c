"""What later nights are held against is frozen once, from the reference that was given."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.ingest.sources import IngestError
from mlobs_pipelines.profile import bins as profile_bins
from mlobs_pipelines.profile import reference as profile_reference
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.profile.freezing import freeze_given
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.spec.model import ModelSpec, ReferenceSpec
from mlobs_pipelines.store.layout import Home
from tests.profile.lake import night, write_lake

ROWS = 3_000
"""More than a batch of 2,048, as small as the engine gives them."""


@pytest.fixture
def given(tmp_path: Path) -> tuple[Home, ModelSpec]:
    """A lake of two nights that nobody has profiled, and a reference."""
    home, spec, _, _ = write_lake(tmp_path / "home", "binary", 2)
    file = home.root / "reference.parquet"
    amount = pl.Series([None if i % 50 == 0 else (i * 7 % 997) / 10 for i in range(ROWS)], dtype=pl.Float64)
    pl.DataFrame(
        {
            "amount": amount,
            "country": ["DE" if i % 3 else "FR" for i in range(ROWS)],
            "s": [(i * 37 % 1009) / 1009 for i in range(ROWS)],
            "y": [None if i % 10 == 0 else i % 4 // 3 for i in range(ROWS)],
        }
    ).write_parquet(file)
    return home, spec.model_copy(update={"reference": ReferenceSpec(source=str(file))})


def counted(home: Home) -> dict[str, pl.DataFrame]:
    return {path.stem: pl.read_parquet(path) for path in sorted((home.lake("m") / "reference").glob("*.parquet"))}


def test_a_given_reference_is_frozen_before_any_night_is_counted_and_nights_leave_it(given: tuple[Home, ModelSpec]):
    home, spec = given
    freeze_given(home, spec)
    frozen, reference = home.bins_file("m").read_bytes(), counted(home)
    found = read_bins(home.bins_file("m"))
    assert found is not None
    assert (found["reference"], found["frozen_on"]) == ("training", "2026-01-01")
    outputs = reference["output_profile"].filter(pl.col("segment") == "", pl.col("output") == "score")
    assert (outputs["rows"].sum(), outputs["labeled"].sum()) == (ROWS, ROWS - ROWS // 10)
    (home.root / "reference.parquet").unlink()  # nobody reads it again
    profile_nights(home, spec, [night(0), night(1)])
    assert home.bins_file("m").read_bytes() == frozen
    assert all(counted(home)[name].equals(rows) for name, rows in reference.items())
    assert set(pl.read_parquet(home.lake("m") / "feature_profile" / "*.parquet")["feature"]) >= {"amount", "country"}


def test_a_reference_is_counted_the_same_in_one_batch_and_in_several(
    given: tuple[Home, ModelSpec], monkeypatch: pytest.MonkeyPatch
):
    home, spec = given
    freeze_given(home, spec)
    frozen, together = home.bins_file("m").read_bytes(), counted(home)
    home.bins_file("m").unlink()
    monkeypatch.setattr(profile_reference, "COUNTED_ROWS", 2_048)
    monkeypatch.setattr(profile_bins, "HELD_COLUMNS", 1)
    freeze_given(home, spec)
    assert home.bins_file("m").read_bytes() == frozen
    assert all(counted(home)[name].equals(rows) for name, rows in together.items())


def test_bins_of_a_reference_too_long_to_be_held_come_of_an_even_part_of_it(
    given: tuple[Home, ModelSpec], monkeypatch: pytest.MonkeyPatch
):
    home, spec = given
    freeze_given(home, spec)
    whole = read_bins(home.bins_file("m"))
    home.bins_file("m").unlink()
    monkeypatch.setattr(profile_bins, "SAMPLE", ROWS // 4)
    freeze_given(home, spec)
    part = read_bins(home.bins_file("m"))
    assert whole is not None
    assert part is not None
    deciles, of_part = (found["features"]["amount"]["coarse"] for found in (whole, part))
    assert len(of_part) == len(deciles)
    assert max(abs(a - b) for a, b in zip(deciles, of_part, strict=True)) < 0.5  # of a range of 99.7
    assert part["features"]["country"] == whole["features"]["country"]


def test_without_a_reference_nothing_is_frozen_before_nights_are_counted(tmp_path: Path):
    home, spec, _, _ = write_lake(tmp_path, "binary", 1)
    freeze_given(home, spec)
    assert not home.bins_file("m").exists()


def test_before_the_first_accepted_row_nothing_is_frozen(given: tuple[Home, ModelSpec]):
    home, spec = given
    home.schema_file("m").unlink()
    freeze_given(home, spec)
    assert not home.bins_file("m").exists()


def test_a_reference_that_is_not_there_is_an_error_and_freezes_nothing(given: tuple[Home, ModelSpec]):
    home, spec = given
    (home.root / "reference.parquet").unlink()
    with pytest.raises(IngestError, match=r"reference\.source"):
        freeze_given(home, spec)
    assert not home.bins_file("m").exists()
