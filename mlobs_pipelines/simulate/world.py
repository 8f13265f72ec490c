"""A world of card payments: the same seed gives the same days, however many of them are made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from mlobs_pipelines.simulate import population
from mlobs_pipelines.simulate.champion import Champions, score, train
from mlobs_pipelines.simulate.faults import Fault

FIRST_DAY = dt.date(2026, 1, 1)
SHADOW_DAY, CANARY_DAY, SWITCH_DAY = 28, 32, 35
"""Version 2 sees every payment in shadow, then decides a tenth of them, then all."""
CANARY_SHARE = 0.1
THRESHOLD = 0.2
ERROR_RATE = 0.003
TRAINING_DAYS = 56
TRAINING_ROWS = 40_000


@dataclass(frozen=True)
class World:
    """Payments of ``days`` days from ``first_day`` on, some ``payments_per_day`` of them each."""

    seed: int = 7
    days: int = 60
    payments_per_day: int = 2500
    first_day: dt.date = FIRST_DAY
    faults: Sequence[Fault] = field(default_factory=tuple)

    @property
    def calendar(self) -> list[dt.date]:
        """The days of the world."""
        return [self.first_day + dt.timedelta(days=i) for i in range(self.days)]

    @property
    def last_day(self) -> dt.date:
        return self.calendar[-1]

    @cached_property
    def customers(self) -> pl.DataFrame:
        """Everybody who may pay."""
        return population.customers(np.random.default_rng([self.seed, 0]))

    @cached_property
    def training_sample(self) -> pl.DataFrame:
        """Payments of the eight weeks before the first day, as the models learned them: no fault, every label known."""
        days = range(-TRAINING_DAYS, 0)
        frames = [self._truth(self.first_day + dt.timedelta(days=i), ()) for i in days]
        sample = pl.concat(frames)
        if len(sample) > TRAINING_ROWS:
            kept = np.sort(np.random.default_rng([self.seed, 1]).choice(len(sample), TRAINING_ROWS, replace=False))
            sample = sample[kept]
        return sample

    @cached_property
    def champions(self) -> Champions:
        """The models, trained on the training sample."""
        return train(self.training_sample)

    def payments(self, day: dt.date) -> pl.DataFrame:
        """What happened on a day and what was logged about it before any model: one row a payment.

        Columns: prediction_id, event_time, the features as logged, age_group, sex, customer_id, card_number,
        fraud_probability, is_fraud.
        """
        active = [f for f in self.faults if f.active(day)]
        frame = self._truth(day, active)
        for fault in active:
            frame = fault.on_features(frame, self.rng(day, 3))
        return frame

    def served(self, day: dt.date, payments: pl.DataFrame) -> pl.DataFrame:
        """The day's payments as the models served them: one row for each version and role that saw one.

        Adds model_version, role, fraud_score, decision (1: declined), latency_ms, status_code. A request that
        failed (status 503) has neither score nor decision.
        """
        rng = self.rng(day, 4)
        since = (day - self.first_day).days
        canary = rng.random(len(payments)) < CANARY_SHARE
        if since < SHADOW_DAY:
            parts = [("1", "production", payments)]
        elif since < CANARY_DAY:
            parts = [("1", "production", payments), ("2", "shadow", payments)]
        elif since < SWITCH_DAY:
            parts = [("1", "production", payments.filter(~canary)), ("2", "canary", payments.filter(pl.Series(canary)))]
        else:
            parts = [("2", "production", payments)]
        rows = pl.concat([self._scored(frame, version, role, rng) for version, role, frame in parts if len(frame)])
        for fault in self.faults:
            if fault.active(day):
                rows = fault.on_decisions(rows, self.rng(day, 5))
        return rows

    def rng(self, day: dt.date, stream: int) -> np.random.Generator:
        """Random numbers of a day for one purpose: no other day or purpose draws from them."""
        return np.random.default_rng([self.seed, 100 + stream, day.toordinal()])

    def _truth(self, day: dt.date, active: Sequence[Fault]) -> pl.DataFrame:
        rng = self.rng(day, 0)
        since, weekday = (day - self.first_day).days, day.weekday()
        people = self.customers
        for fault in active:
            people = fault.on_customers(people, self.rng(day, 1))
        count = population.volume(rng, since, weekday, self.payments_per_day)
        frame = population.payments(people, rng, since, weekday, count)
        for fault in active:
            frame = fault.on_payments(frame, self.rng(day, 2))
        midnight = dt.datetime.combine(day, dt.time())
        number = pl.int_range(pl.len()).cast(pl.String).str.zfill(6)
        fraud = pl.Series("is_fraud", rng.random(len(frame)) < frame["fraud_probability"].to_numpy())
        return frame.select(
            pl.format(f"{day:%Y%m%d}-{{}}", number).alias("prediction_id"),
            (pl.lit(midnight) + pl.duration(microseconds=(pl.col("second") * 1e6).cast(pl.Int64)))
            .cast(pl.Datetime("us"))
            .alias("event_time"),
            pl.exclude("second"),
            fraud.cast(pl.Int8),
        )

    def _scored(self, frame: pl.DataFrame, version: str, role: str, rng: np.random.Generator) -> pl.DataFrame:
        failed = pl.Series(rng.random(len(frame)) < ERROR_RATE)
        latency = rng.gamma(6.0, 3.0 if version == "1" else 3.6, len(frame)) + 4.0
        probability = pl.Series("fraud_score", score(self.champions[version], frame))
        return frame.with_columns(
            pl.lit(version).alias("model_version"),
            pl.lit(role).alias("role"),
            pl.when(failed).then(None).otherwise(probability).alias("fraud_score"),
            pl.when(failed).then(None).otherwise((probability >= THRESHOLD).cast(pl.Int8)).alias("decision"),
            pl.when(failed).then(2000.0).otherwise(pl.Series(np.round(latency, 2))).alias("latency_ms"),
            pl.when(failed).then(503).otherwise(200).cast(pl.Int16).alias("status_code"),
        )
