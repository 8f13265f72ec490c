"""Attributions of rows -> additive sums per feature and frozen bin of its value, in fixed point."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.explain.attribution import Floats, Ints
from mlobs_pipelines.explain.explainer import Attributions, Choice
from mlobs_pipelines.profile.bins import INVALID, MISSING, UNSEEN
from mlobs_pipelines.tasks.base import SQUARE_BITS, STANDARD_LIMIT

KEY = {
    "arrival_date": pl.Date(),
    "event_date": pl.Date(),
    "version": pl.String(),
    "role": pl.String(),
    "segment": pl.String(),
    "feature": pl.String(),
    "bin": pl.Int32(),
    "output": pl.String(),
    "method": pl.String(),
}
SUMS = ("rows", "phi", "phi_abs", "phi_sq", "base")
SCHEMA = pl.Schema({**KEY, **dict.fromkeys(SUMS, pl.Int64())})
"""Table ``shap_profile``. ``phi``, ``phi_abs``, ``phi_sq`` and ``base`` are counts of 2**-20 of the explained output's unit:
log-odds, probability, or for numbers the labels' spread in the frozen bins. Bins are fine for segment ``''`` and
coarse for the others, as in ``feature_profile``; each row of the sample is counted once in every feature."""


def shap_profile(
    rows: pl.DataFrame,
    features: Sequence[str],
    found: Attributions,
    choice: Choice,
    bins: Mapping[str, Any],
) -> pl.DataFrame:
    """Sum the attributions of rows, schema ``SCHEMA``; rows that do not add up are left out.

    Args:
        rows: the sample, with its keys, ``invalid_fields``, fields and segments.
        features: names, in the order of the attributions.
        found: attributions of the rows, in units.
        choice: what they are attributions of.
        bins: the frozen bins.
    """
    kept = np.flatnonzero(found.whole)
    rows = rows[kept]
    cuts = [name for name in rows.columns if name.startswith("segment_")]
    invalid = [set(json.loads(text)) if text else set() for text in rows["invalid_fields"]]
    base = _fixed(found.base[kept])
    keys = ["arrival_date", "event_date", "version", "role"]
    parts = []
    for j, name in enumerate(features):
        phi = found.phi[kept, j]
        frozen = bins["features"][name]
        values = rows[("n_" if frozen["kind"] == "embedding" else "f_") + name]
        absent = np.array([INVALID if name in names else MISSING for names in invalid], dtype=np.int64)
        one = rows.select(*keys, *cuts).with_columns(
            feature=pl.lit(name),
            rows=pl.lit(1, pl.Int64),
            phi=_fixed(phi),
            phi_abs=_fixed(np.abs(phi)),
            phi_sq=_fixed(np.clip(phi, -STANDARD_LIMIT, STANDARD_LIMIT) ** 2, limit=STANDARD_LIMIT**2),
            base=base,
            fine=_bins(values, frozen, "edges", absent),
            coarse=_bins(values, frozen, "coarse", absent),
        )
        sums = [pl.col(s).sum() for s in SUMS]
        for segment, number in ((pl.lit(""), "fine"), *((pl.col(cut), "coarse") for cut in cuts)):
            grouping = [*keys, segment.alias("segment"), "feature", pl.col(number).cast(pl.Int32).alias("bin")]
            parts.append(one.group_by(grouping).agg(sums))
    if not parts:
        return pl.DataFrame(schema=SCHEMA)
    whole = pl.concat(parts).with_columns(output=pl.lit(choice.output), method=pl.lit(choice.method))
    return whole.select(list(SCHEMA)).cast(SCHEMA).sort(list(KEY))


def _fixed(values: Floats, limit: float = STANDARD_LIMIT) -> pl.Series:
    """Counts of 2**-20, rounded half up."""
    return pl.Series(np.floor(np.clip(values, -limit, limit) * 2**SQUARE_BITS + 0.5).astype(np.int64))


def _bins(values: pl.Series, frozen: Mapping[str, Any], edges: str, absent: Ints) -> pl.Series:
    """Bin numbers as profiling counts them; see ``profile.sums``."""
    missing = values.is_null().to_numpy()
    if frozen["kind"] == "categorical":
        size = len(frozen["vocabulary"])
        known = {value: i for i, value in enumerate(frozen["vocabulary"])} | dict.fromkeys(frozen["rare"], size)
        number = np.array([known.get(value, UNSEEN) for value in values], dtype=np.int64)
    else:
        number = np.searchsorted(frozen[edges], values.fill_null(0.0).to_numpy(), side="right")
    return pl.Series(np.where(missing, absent, number))
