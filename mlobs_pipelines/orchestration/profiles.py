"""The lake's profiles of a model, as the tables that measuring reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

EARLY = dt.timedelta(days=2)
"""A prediction may be stamped up to a day, and a zone, after it arrived: files that much earlier are read too."""

_ARRIVED = ("rows", "value", "value_sq")
"""Sums of ``feature_profile`` that predictions give, and the only ones that measuring reads."""


@dataclass(frozen=True)
class Inputs:
    """What measuring a model needs."""

    profiles: Profiles
    schema: dict[str, Any]
    bins: dict[str, Any] | None


def load_profiles(home: Home, spec: ModelSpec, wanted: Sequence[dt.date]) -> Inputs:
    """Read the profiles that the windows of the wanted nights rest on, whatever night they arrived.

    A window that is written or restated on a night holds event dates about which something arrived then, or its
    labels became final; files older than the earliest of those, less the longest window, are not opened. Of features
    only predictions tell, never labels: of their profile, by far the largest, far less is read.
    """
    longest = dt.timedelta(days=max(spec.monitors.window_days))
    model = spec.model
    predicted = _earliest_event(home, model, "traffic_profile", wanted)
    matured = wanted[0] - dt.timedelta(days=spec.maturity_days)
    earliest = min(_earliest_event(home, model, "output_profile", wanted), predicted, matured) - longest
    names = ("output_profile", "quality_profile", "traffic_profile", "intake")
    tables = {name: _read(home, model, name, earliest, wanted[-1]) for name in names}
    tables["feature_profile"] = _read(
        home, model, "feature_profile", predicted - longest, wanted[-1], pl.any_horizontal(pl.col(*_ARRIVED) != 0)
    )
    of_reference = ("feature_profile", "output_profile", "quality_profile")
    reference = {name: _reference(home, model, name, tables[name]) for name in of_reference}
    profiles = Profiles(
        features=tables["feature_profile"],
        outputs=tables["output_profile"],
        quality=tables["quality_profile"],
        traffic=tables["traffic_profile"],
        intake=tables["intake"],
        reference_features=reference["feature_profile"],
        reference_outputs=reference["output_profile"],
        reference_quality=reference["quality_profile"],
    )
    schema = read_schema(home, model)
    features = {"features": dict(schema.features) if schema else {}}
    return Inputs(profiles, features, read_bins(home.bins_file(model)))


def load_features(home: Home, model: str, first: dt.date, last: dt.date, night: dt.date) -> pl.DataFrame:
    """Rows of ``feature_profile`` about the event dates from ``first`` to ``last``, as known on a night."""
    return _read(home, model, "feature_profile", first, night, pl.col("event_date") <= last)


def _earliest_event(home: Home, model: str, table: str, wanted: Sequence[dt.date]) -> dt.date:
    """The first day about which a table has something that arrived on the nights, if it is before them."""
    frames = home.lake_nights(model, table).frames(wanted)
    found = pl.concat([rows.select(pl.col("event_date").min()) for rows in frames]).collect()
    earliest = found["event_date"].min()
    return min(earliest, wanted[0]) if isinstance(earliest, dt.date) else wanted[0]


def _read(
    home: Home, model: str, table: str, earliest: dt.date, last: dt.date, also: pl.Expr | None = None
) -> pl.DataFrame:
    """Rows about days from ``earliest`` on that arrived by ``last``, those that are ``also`` so."""
    kept = home.lake_nights(model, table)
    frames = kept.frames(kept.between(earliest - EARLY, last))
    if not frames:
        return pl.DataFrame()
    # Rows that do not matter are passed over while reading, so that they take no memory.
    wanted = pl.col("event_date") >= earliest
    # Nights before the first accepted row know no sums of the task yet: theirs are zero.
    chosen = [rows.filter(wanted if also is None else wanted & also) for rows in frames]
    rows = pl.concat(chosen, how="diagonal").collect()
    whole = [name for name, kind in rows.schema.items() if kind == pl.Int64]
    return rows.with_columns(pl.col(whole).fill_null(0))


def _reference(home: Home, model: str, table: str, like: pl.DataFrame) -> pl.DataFrame:
    path = home.reference_file(model, table)
    return pl.read_parquet(path) if path.exists() else like.clear()
