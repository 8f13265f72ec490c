"""The world goes through the nights, and the last one's metrics say of it what was planted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.measure.night import measure_night
from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.orchestration.profiles import ProfileReader
from mlobs_pipelines.simulate.delivery import WorldFacts, write_world
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home

pytestmark = pytest.mark.slow

MODEL = "card_fraud"


@dataclass(frozen=True)
class Replayed:
    home: Home
    facts: WorldFacts
    served: pl.DataFrame
    """Rows as delivered, each once."""
    measured: pl.DataFrame
    """The metrics of the last night."""

    def said(
        self, metric: str, version: str, role: str, days: int, segment: str = "", family: str = ""
    ) -> dict[str, object]:
        """The row of the window that ends on the last night."""
        rows = self.measured.filter(
            (pl.col("metric") == metric)
            & (pl.col("version") == version)
            & (pl.col("role") == role)
            & (pl.col("segment") == segment)
            & (pl.col("subject") == "")
            & (pl.col("window_end") == self.facts.last_day)
            & ((pl.col("window_end") - pl.col("window_start")) == pl.duration(days=days - 1))
            & ((pl.col("family") == family) if family else True)
        )
        return rows.row(0, named=True)

    def rows(self, version: str, role: str, days: int) -> pl.DataFrame:
        since = pl.lit(self.facts.last_day) - pl.duration(days=days - 1)
        mine = (pl.col("role") == role) & ((pl.col("model_version") == version) if version else True)
        return self.served.filter(mine & (pl.col("event_time").dt.date() >= since))


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    home = Home(tmp_path_factory.mktemp("replay"))
    facts = write_world(home, days=38, payments_per_day=150)
    spec = load_spec(home.spec_file(MODEL))
    nights = facts.world.calendar
    steps.ingest(home, spec, nights)
    steps.join(home, spec, nights)
    steps.profile(home, spec, nights)
    inputs = ProfileReader(home, spec).load(nights[-1:])
    measured = measure_night(inputs.profiles, spec, inputs.schema, inputs.bins, nights[-1], "run")
    delivered = pl.read_parquet(home.root / "data/predictions/*.parquet")
    good = (
        pl.col("prediction_id").is_not_null()
        & ~pl.col("prediction_id").str.starts_with("x")
        & pl.col("event_time").is_not_null()
        & (pl.col("fraud_score").is_not_null() | (pl.col("status_code") >= 400))
    )
    once = delivered.filter(good).unique(["prediction_id", "model_version", "role"], maintain_order=True)
    return Replayed(home, facts, once, measured)


def test_every_delivered_row_is_accounted_for_on_its_night(replayed: Replayed) -> None:
    intake = pl.read_parquet(replayed.home.lake(MODEL) / "intake/*.parquet")
    counted = intake.group_by("source", pl.col("arrival_date").alias("night")).agg(
        pl.col("delivered", "accepted", "duplicates", "quarantined").sum()
    )
    planted = replayed.facts.nights
    for source, of in (
        ("predictions", {"delivered": "delivered", "duplicates": "duplicates", "malformed": "quarantined"}),
        ("labels", {"labels": "delivered", "repeated_labels": "duplicates"}),
    ):
        mine = counted.filter(pl.col("source") == source)
        both = planted.select("night", *of).join(mine, on="night", how="left", suffix="_counted").fill_null(0)
        for fact, column in of.items():
            name = f"{column}_counted" if f"{column}_counted" in both.columns else column
            assert both[fact].to_list() == both[name].to_list(), fact


def test_corrections_take_back_what_was_believed(replayed: Replayed) -> None:
    facts = pl.read_parquet(replayed.home.lake(MODEL) / "label_facts/*.parquet").filter(pl.col("role") != "shadow")
    corrected = facts.filter((pl.col("kind") == "correction") & (pl.col("sign") == -1))
    assert 0.5 * replayed.facts.total("corrections") <= len(corrected) <= replayed.facts.total("corrections")
    believed = facts.group_by("prediction_id", "version", "role").agg(pl.col("sign").sum())
    assert set(believed["sign"]) == {1}


@pytest.mark.parametrize(
    ("version", "role", "days"),
    [("", "production", 7), ("1", "production", 7), ("2", "production", 7), ("2", "shadow", 7), ("2", "canary", 7)],
)
def test_each_version_and_role_has_its_own_numbers(replayed: Replayed, version: str, role: str, days: int) -> None:
    rows = replayed.rows(version, role, days)
    assert len(rows) > 30
    assert replayed.said("predictions", version, role, days)["value"] == len(rows)
    failed = rows.filter(pl.col("status_code") >= 400)
    assert replayed.said("error_rate", version, role, days)["value"] == pytest.approx(
        len(failed) / len(rows), abs=1e-12
    )
    decided = rows.filter(pl.col("status_code") < 400)
    rate = replayed.said("selection_rate", version, role, days, family="performance")
    assert rate["value"] == pytest.approx(decided["decision"].mean(), abs=1e-12)
    assert rate["rows"] == len(decided)
    for metric, share in (("latency_p50", 0.5), ("latency_p95", 0.95)):
        said = replayed.said(metric, version, role, days)
        exact = float(np.quantile(rows["latency_ms"].to_numpy(), share))
        assert abs(float(str(said["value"])) - exact) <= float(str(said["error_bound"])) + 1e-9


def test_what_must_not_be_stored_is_not_and_what_is_hashed_is_hashed(replayed: Replayed) -> None:
    stored = pl.read_parquet(replayed.home.lake(MODEL) / "predictions/*.parquet")
    assert not [c for c in stored.columns if "card_number" in c]
    raw = set(replayed.served["customer_id"])
    assert not raw & set(stored["subject"].drop_nulls())
    assert stored["subject"].n_unique() == len(raw)
    quarantined = pl.read_parquet(replayed.home.root / "quarantine" / MODEL / "*.parquet")
    text = quarantined.select(pl.concat_str(pl.all().cast(pl.String), ignore_nulls=True)).to_series()
    assert len(quarantined) == replayed.facts.total("malformed")
    assert not any(number in row for row in text for number in replayed.served["card_number"].unique()[:50])
