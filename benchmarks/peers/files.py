"""A workload's files as pandas frames, read as each peer's documentation reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

ID, TIME, SCORE, LABEL = "prediction_id", "event_time", "score", "label"
PREDICTION = "prediction"
THRESHOLD = 0.5


@dataclass(frozen=True)
class Files:
    """The delivered files below ``root``; labels that arrived until ``last`` (a date) count."""

    root: Path
    last: str

    @property
    def features(self) -> list[str]:
        """The monitored features, numeric first."""
        return [*self.numeric, *self.categorical]

    @property
    def numeric(self) -> list[str]:
        return self._named("x")

    @property
    def categorical(self) -> list[str]:
        return self._named("c")

    def predictions(self, columns: list[str]) -> pd.DataFrame:
        """Every night's predictions."""
        return pd.read_parquet(self.root / "data" / "predictions", columns=columns)

    def labeled(self, columns: list[str]) -> pd.DataFrame:
        """The predictions whose labels are known, with ``label`` and with ``prediction``, the score at the threshold."""
        until = pd.Timestamp(self.last) + pd.Timedelta(days=1)
        labels = pd.read_parquet(self.root / "data" / "labels", columns=[ID, LABEL], filters=[("known_at", "<", until)])
        return decided(self.predictions([ID, *columns]).merge(labels, on=ID).drop(columns=ID))

    def reference(self, columns: list[str]) -> pd.DataFrame:
        """The reference's rows. It has no times: where they are asked for, they are the ten days before."""
        frame = pd.read_parquet(
            self.root / "data" / "reference.parquet", columns=[name for name in columns if name != TIME]
        )
        if TIME in columns:
            frame[TIME] = pd.date_range("2025-12-22", "2025-12-31 23:59:59", periods=len(frame), unit="us")
        return decided(frame) if LABEL in columns else frame

    def _named(self, first: str) -> list[str]:
        names = pq.read_schema(self.root / "data" / "reference.parquet").names
        return [name for name in names if name[0] == first and name[1:].isdigit()]


def decided(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the class that the score says."""
    return frame.assign(**{PREDICTION: (frame[SCORE] >= THRESHOLD).astype(np.int8)})
