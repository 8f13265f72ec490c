"""What a night's judgement needs of earlier nights, from the store's files."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import polars as pl

from mlobs_pipelines.judge.night import ProfileOf
from mlobs_pipelines.judge.signals import MEMORY
from mlobs_pipelines.orchestration.profiles import load_features
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import INCIDENTS, SIGNALS


@dataclass
class Past:
    """Earlier nights of one model. Nights are asked for in ascending order, each after the one before was written."""

    home: Home
    spec: ModelSpec
    kept: dict[dt.date, pl.DataFrame] = field(default_factory=dict)

    def signals(self, night: dt.date) -> pl.DataFrame:
        """Signals of the nights that are remembered on a night."""
        first = night - dt.timedelta(days=MEMORY)
        wanted = self.home.store_nights("signals", self.spec.model).between(first, night - dt.timedelta(days=1))
        self.kept = {n: self.kept[n] if n in self.kept else self._read("signals", n) for n in wanted}
        return pl.concat([pl.DataFrame(schema=SIGNALS), *self.kept.values()])

    def incidents(self, night: dt.date) -> pl.DataFrame:
        """Incidents as the last night before this one left them."""
        before = [n for n in self.home.store_nights("incidents", self.spec.model).all() if n < night]
        return self._read("incidents", before[-1]) if before else pl.DataFrame(schema=INCIDENTS)

    def profile_of(self, night: dt.date) -> ProfileOf:
        """Feature profiles about some days, as known on a night."""
        return lambda first, last: load_features(self.home, self.spec.model, first, last, night)

    def _read(self, table: str, night: dt.date) -> pl.DataFrame:
        return pl.concat(self.home.store_nights(table, self.spec.model).frames([night])).collect()
