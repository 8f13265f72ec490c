"""What can go wrong: small faults that are planted into a world, alone or together.

A fault changes a day's frame at one of five points, and leaves the others alone:

| hook | frame | what it can break |
| --- | --- | --- |
| ``on_customers`` | customers, with ``weight`` | who pays: a shift of population |
| ``on_payments`` | payments, with ``fraud_probability`` | the truth: a new pattern of fraud |
| ``on_features`` | payments as the model and the log see them | units, missing values, broken feeds |
| ``on_decisions`` | scored rows, with ``fraud_score`` and ``decision`` | thresholds, policies |
| ``on_delivery`` | rows on their way to the log, with ``logged_at`` | duplicates, losses, delays |
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong on the days from ``start`` to ``end``, both included; no end: for good."""

    start: dt.date
    end: dt.date | None = None

    def active(self, day: dt.date) -> bool:
        """Whether the fault is there on a day."""
        return self.start <= day and (self.end is None or day <= self.end)

    def on_customers(self, customers: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """The customers of a day."""
        return customers

    def on_payments(self, payments: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """The payments of a day, before it is decided which are fraud."""
        return payments

    def on_features(self, payments: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """The features of a day's payments as the model gets and logs them."""
        return payments

    def on_decisions(self, scored: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """The scored rows of a day."""
        return scored

    def on_delivery(self, rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """The rows of a day as they are sent to the log."""
        return rows


@dataclass(frozen=True, kw_only=True)
class BrokenUnit(Fault):
    """A number arrives in another unit: cents for euros, in one country, say."""

    feature: str = "amount"
    where: Mapping[str, str] = field(default_factory=lambda: {"country": "NL"})
    factor: float = 100.0

    def on_features(self, payments: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Multiply the feature where the fault is."""
        broken = pl.col(self.feature) * self.factor
        return payments.with_columns(
            pl.when(_matches(self.where)).then(broken).otherwise(self.feature).alias(self.feature)
        )


@dataclass(frozen=True, kw_only=True)
class VanishedFeature(Fault):
    """A feature is not there any more: missing on every row, or where the fault is."""

    feature: str = "distance_km"
    where: Mapping[str, str] = field(default_factory=dict)

    def on_features(self, payments: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Blank the feature where the fault is."""
        gone = pl.when(_matches(self.where)).then(None).otherwise(self.feature)
        return payments.with_columns(gone.cast(payments.schema[self.feature]).alias(self.feature))


@dataclass(frozen=True, kw_only=True)
class DuplicatedFeed(Fault):
    """A feed is sent twice: a share of the rows comes again, unchanged, within the hour."""

    share: float = 1.0

    def on_delivery(self, rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Append the rows that come again."""
        return pl.concat([rows, rows.filter(pl.Series(rng.random(len(rows)) < self.share))])


@dataclass(frozen=True, kw_only=True)
class NewFraudPattern(Fault):
    """Fraud of a kind the model never saw: in one segment the risk no longer follows the features."""

    where: Mapping[str, str] = field(default_factory=lambda: {"country": "ES", "channel": "online"})
    rate: float = 0.15

    def on_payments(self, payments: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Add fraud to the segment, whatever its payments look like: 1 - (1 - p) (1 - rate)."""
        p = pl.col("fraud_probability")
        raised = 1 - (1 - p) * (1 - self.rate)
        return payments.with_columns(pl.when(_matches(self.where)).then(raised).otherwise(p).alias("fraud_probability"))


@dataclass(frozen=True, kw_only=True)
class BiasedThreshold(Fault):
    """One group's payments are declined at another score than everybody's."""

    attribute: str = "age_group"
    group: str = "65+"
    threshold: float = 0.04

    def on_decisions(self, scored: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Decide the group's rows anew; rows without a score stay undecided."""
        own = (pl.col("fraud_score") >= self.threshold).cast(scored.schema["decision"])
        chosen = pl.when(pl.col(self.attribute) == self.group).then(own).otherwise("decision")
        return scored.with_columns(chosen.alias("decision"))


@dataclass(frozen=True, kw_only=True)
class PopulationShift(Fault):
    """More customers of some kind, who behave as such customers always did: a shift that does no harm."""

    where: Mapping[str, str] = field(default_factory=lambda: {"age_group": "18-24"})
    factor: float = 3.0

    def on_customers(self, customers: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Let these customers pay more often."""
        more = pl.col("weight") * self.factor
        return customers.with_columns(pl.when(_matches(self.where)).then(more).otherwise("weight").alias("weight"))


def _matches(where: Mapping[str, str]) -> pl.Expr:
    """Rows on which every named column has the named value; every row if none is named."""
    return pl.all_horizontal(pl.lit(True), *[pl.col(column) == value for column, value in where.items()])
