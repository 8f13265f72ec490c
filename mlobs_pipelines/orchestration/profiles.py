"""The lake's profiles of a model, as the tables that measuring reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.measure.known import folded, without
from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import day_number

EARLY = dt.timedelta(days=2)
"""A prediction may be stamped up to a day, and a zone, after it arrived: files that much earlier are read too."""

READ_TOGETHER = 8
"""Files that are read at once."""

_ARRIVED = ("rows", "value", "value_sq")
"""Sums of ``feature_profile`` that predictions give, and the only ones that measuring reads."""


@dataclass(frozen=True)
class Inputs:
    """What measuring a model needs."""

    profiles: Profiles
    schema: dict[str, Any]
    bins: dict[str, Any] | None


@dataclass
class ProfileReader:
    """Reads what measuring nights rests on; nights are asked for in ascending order.

    What is known of the outputs before some nights, on all those on which something came, is added up while it is read,
    and kept for the nights that follow: those need only what came since. So a file is read once in a run, and memory
    is bounded by the days that are looked at.
    """

    home: Home
    spec: ModelSpec
    _known: pl.DataFrame = field(default_factory=pl.DataFrame)
    _nightly: pl.DataFrame = field(default_factory=pl.DataFrame)
    _earliest: dt.date = dt.date.max
    """What is known is about days from this one on, and arrived before ``_until``."""
    _until: dt.date = dt.date.min

    def load(self, wanted: Sequence[dt.date]) -> Inputs:
        """Read the profiles that the windows of the wanted nights rest on, whatever night they arrived.

        A window that is written or restated on a night holds event dates about which something arrived then, or its
        labels became final; files older than the earliest of those, less the longest window, are not opened. Of
        features only predictions tell, never labels: of their profile, by far the largest, far less is read.
        """
        home, spec, model = self.home, self.spec, self.spec.model
        longest = dt.timedelta(days=max(spec.monitors.window_days))
        predicted = _earliest_event(home, model, "traffic_profile", wanted)
        matured = wanted[0] - dt.timedelta(days=spec.maturity_days)
        earliest = min(_earliest_event(home, model, "output_profile", wanted), predicted, matured) - longest
        tables = {
            name: _read(home, model, name, earliest, wanted[-1])
            for name in ("quality_profile", "traffic_profile", "intake")
        }
        tables["feature_profile"] = _read(
            home, model, "feature_profile", predicted - longest, wanted[-1], pl.any_horizontal(pl.col(*_ARRIVED) != 0)
        )
        tables["output_profile"], nightly = self._outputs(earliest, wanted)
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
            nightly=nightly,
        )
        schema = read_schema(home, model)
        features = {"features": dict(schema.features) if schema else {}}
        return Inputs(profiles, features, read_bins(home.bins_file(model)))

    def _outputs(self, earliest: dt.date, wanted: Sequence[dt.date]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows of ``output_profile`` about days from ``earliest`` on, what arrived before the wanted nights added up; and
        all of them, night by night, added up over the bins."""
        kept, first = self.home.lake_nights(self.spec.model, "output_profile"), wanted[0]
        known, nightly, since = self._known, [self._nightly], self._until
        if earliest < self._earliest or first < since:
            known, nightly, since = pl.DataFrame(), [], earliest - EARLY
        about = pl.col("event_date") >= earliest
        # Let go of at once, for it is a large part of all that is held; and if reading fails, it is read again.
        self._known, self._earliest = pl.DataFrame(), dt.date.max
        parts = [known.filter(about)] if known.height else []
        del known

        def came() -> Iterator[pl.DataFrame]:
            yield from (parts.pop() for _ in range(len(parts)))
            nights = kept.between(since, first - dt.timedelta(days=1))
            for start in range(0, len(nights), READ_TOGETHER):
                rows = _rows(kept.frames(nights[start : start + READ_TOGETHER]), about)
                nightly.append(without(rows, "bin"))
                yield rows

        self._known = folded(came(), day_number(first), "bin")
        self._nightly = _together([rows.filter(about) for rows in nightly if rows.height])
        self._earliest, self._until = earliest, first
        tonight = _rows(kept.frames(kept.between(first, wanted[-1])), about)
        return _together([self._known, tonight]), _together([self._nightly, without(tonight, "bin")])


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
    # Rows that do not matter are passed over while reading, so that they take no memory.
    wanted = pl.col("event_date") >= earliest
    return _rows(kept.frames(kept.between(earliest - EARLY, last)), wanted if also is None else wanted & also)


def _rows(frames: Sequence[pl.LazyFrame], wanted: pl.Expr) -> pl.DataFrame:
    """The wanted rows of some files."""
    return _together(pl.collect_all([rows.filter(wanted) for rows in frames]))


def _together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows of some nights. Nights before the first accepted row know no sums of the task yet: theirs are zero."""
    rows = pl.concat(frames, how="diagonal") if frames else pl.DataFrame()
    lacking = [name for name, kind in rows.schema.items() if kind == pl.Int64 and rows[name].null_count()]
    return rows.with_columns(pl.col(lacking).fill_null(0)) if lacking else rows


def _reference(home: Home, model: str, table: str, like: pl.DataFrame) -> pl.DataFrame:
    path = home.reference_file(model, table)
    return pl.read_parquet(path) if path.exists() else like.clear()
