"""Where everything of one installation lives. The one place that knows the folders' names."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

from mlobs_pipelines.store.nights import Nights

LAKE_TABLES = (
    "predictions",
    "labels",
    "intake",
    "segment_values",
    "label_facts",
    "feature_profile",
    "output_profile",
    "quality_profile",
    "traffic_profile",
    "shap_profile",
)
"""Tables of the lake, one file a night each, in the order in which a night writes them; the last only for nights that
were explained."""

STORE_TABLES = ("metrics", "signals", "incidents", "causes", "comparisons", "runs", "explanations")


WATCH_TABLE = "monitoring"
"""Files of the incident about a model's runs. It tells of runs, not of nights, so it is no part of a digest."""


def default_home() -> Path:
    """``MLOBS_HOME``, else ``./mlobs_home``."""
    return Path(os.environ.get("MLOBS_HOME") or "mlobs_home").absolute()


@dataclass(frozen=True)
class Home:
    """Paths of one installation."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    def spec_file(self, model: str) -> Path:
        return self.models / f"{model}.yaml"

    def lake(self, model: str) -> Path:
        return self.root / "lake" / model

    def lake_file(self, model: str, table: str, night: dt.date) -> Path:
        return self.lake_nights(model, table).own(night)

    def lake_nights(self, model: str, table: str) -> Nights:
        return Nights(self.lake(model) / table)

    def quarantine_file(self, model: str, night: dt.date) -> Path:
        return self.quarantine_nights(model).own(night)

    def quarantine_nights(self, model: str) -> Nights:
        return Nights(self.root / "quarantine" / model)

    def reference_file(self, model: str, table: str) -> Path:
        return self.lake(model) / "reference" / f"{table}.parquet"

    def schema_file(self, model: str) -> Path:
        """Which fields are features, and of which kind: decided once, on the first night with rows."""
        return self.lake(model) / "schema.json"

    def bins_file(self, model: str) -> Path:
        """The frozen bins: decided once, when the reference is complete."""
        return self.lake(model) / "bins.json"

    def store_folder(self, table: str, model: str) -> Path:
        return self.root / "store" / table / model

    def store_file(self, table: str, model: str, night: dt.date) -> Path:
        return self.store_nights(table, model).own(night)

    def store_nights(self, table: str, model: str) -> Nights:
        return Nights(self.store_folder(table, model), "arrival_date" if table == "runs" else "as_of")

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse"

    def warehouse_file(self, model: str) -> Path:
        return self.warehouse / f"{model}.duckdb"

    def lock_file(self, name: str) -> Path:
        return self.warehouse / f"{name}.lock"

    def sources_file(self, model: str) -> Path:
        """What was read of each delivered file: a cache, safe to delete."""
        return self.warehouse / f"{model}.sources.json"

    def keys_folder(self, model: str) -> Path:
        """The key of every row that each night took in, as a number: a cache, safe to delete."""
        return self.warehouse / f"{model}.keys"

    def behind_file(self, model: str) -> Path:
        """Nights that must be derived again because an older night was run after them."""
        return self.warehouse / f"{model}.behind.json"

    def unfinished_file(self, model: str) -> Path:
        """What an interrupted run of many nights has done of them: a cache, safe to delete."""
        return self.warehouse / f"{model}.unfinished.json"

    @property
    def log(self) -> Path:
        """What was decided and done: append-only and hash-chained."""
        return self.root / "log"

    @property
    def outbox(self) -> Path:
        """Messages on their way, and receipts of those that arrived."""
        return self.root / "outbox"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def results(self) -> Path:
        return self.root / "results.duckdb"

    @property
    def hash_key(self) -> Path:
        return self.root / "hash.key"

    @property
    def settings_file(self) -> Path:
        """What holds for the installation and not for one model."""
        return self.root / "mlobs.yaml"

    @property
    def storage(self) -> Path:
        """What this working copy knows of the object store, where the home has one."""
        return self.root / "storage"
