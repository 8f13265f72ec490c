"""What measuring reads: the profile tables of a model, whatever night they arrived."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Profiles:
    """Tables of the lake, columns as they are there; rows in any order, from any nights.

    The first five carry ``arrival_date`` and ``event_date``; those of the reference do not use them. A table that has
    no rows may lack columns. Rows about event dates that no window of the measured nights holds may be left out:
    no number depends on them.

    Of ``outputs``, by far the most rows that measuring reads, those that arrived before the measured nights may be
    ``known.united``; then ``nightly`` has all of them as they came, added up over the bins.
    """

    features: pl.DataFrame
    outputs: pl.DataFrame
    quality: pl.DataFrame
    traffic: pl.DataFrame
    intake: pl.DataFrame
    reference_features: pl.DataFrame
    reference_outputs: pl.DataFrame
    reference_quality: pl.DataFrame
    nightly: pl.DataFrame | None = None
