"""Which features changed and matter: drift beside importance, for a page's quadrants."""

from __future__ import annotations

import polars as pl

SCHEMA = pl.Schema(
    {
        "feature": pl.String(),
        "drift": pl.Float64(),
        "importance": pl.Float64(),
        "score": pl.Float64(),
        "rank": pl.Int64(),
    }
)


def ranking(drift: pl.DataFrame, explanation: pl.DataFrame, *, metric: str = "jensen_shannon") -> pl.DataFrame:
    """Features by drift times importance, the largest first; equal ones by name.

    ``drift`` is the distance as it was measured, ``importance`` the feature's share of all absolute attributions, in
    [0, 1]; both are of the newest window that has a value, as known last. A feature without one of them has null there
    and no score, and comes after the others.

    Args:
        drift: rows of ``metrics`` of the family drift, of one model, version, role and segment.
        explanation: such rows of the family explanation.
        metric: which distance.

    Returns:
        Schema ``SCHEMA``, a row for each feature that is explained or has a distance.
    """
    matter = _newest(explanation, "mean_abs_shap", "importance")
    matter = matter.with_columns(pl.col("importance") / pl.col("importance").sum()).fill_nan(None)
    moved = _newest(drift.filter(~pl.col("subject").is_in(["score", "prediction", "label"])), metric, "drift")
    found = matter.join(moved, on="feature", how="full", coalesce=True)
    found = found.with_columns(score=pl.col("drift") * pl.col("importance"))
    found = found.sort("score", "feature", descending=[True, False], nulls_last=True)
    return found.with_columns(rank=pl.int_range(1, pl.len() + 1)).select(list(SCHEMA)).cast(SCHEMA)


def _newest(rows: pl.DataFrame, metric: str, name: str) -> pl.DataFrame:
    """The newest known value of each subject, all of one window length: the longest of the newest window."""
    known = rows.filter((pl.col("metric") == metric) & pl.col("value").is_not_null())
    last = known.filter(pl.col("window_end") == pl.col("window_end").max())
    last = last.filter(pl.col("window_start") == pl.col("window_start").min()).sort("as_of")
    return last.unique("subject", keep="last").select(feature="subject", **{name: pl.col("value")})
