"""When the truth becomes known: frauds are reported within days, genuine payments confirmed later, some wrongly."""

from __future__ import annotations

import numpy as np
import polars as pl

LONGEST_DAYS = 14.0
DISPUTED_SHARE = 0.4
"""Genuine payments that are first reported as fraud, per unit of their probability of fraud: what looks like
fraud is disputed more often. The chargeback is reversed days later."""
MISSED_SHARE = 0.10
"""Frauds that are first confirmed as genuine."""
AGAIN_SHARE = 0.002
"""Labels that are delivered twice."""


def reports(payments: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Every report about payments (prediction_id, event_time, is_fraud, fraud_probability): prediction_id, is_fraud, reported_at.

    Delays are lognormal, cut at 14 days: a median of 3 days for what is reported as fraud, 5 days for what is
    confirmed as genuine. About 1 % of the payments get a second, correcting report 1 to 6 days after the first;
    one in twelve of those comes after the 14 days.
    """
    count = len(payments)
    fraud = payments["is_fraud"].to_numpy() == 1
    wrong = rng.random(count) < np.where(fraud, MISSED_SHARE, DISPUTED_SHARE * payments["fraud_probability"].to_numpy())
    first = fraud ^ wrong
    spread = np.where(first, 0.6, 0.45)
    median = np.where(first, 3.0, 5.0)
    delay = np.minimum(
        median * np.exp(spread * _normal_below(np.log(LONGEST_DAYS / median) / spread, rng)), LONGEST_DAYS
    )
    until_corrected = delay + 1 + 5 * rng.random(count)
    told = payments.select("prediction_id", pl.Series("is_fraud", first).cast(pl.Int8), _after("event_time", delay))
    again = told.filter(pl.Series(rng.random(count) < AGAIN_SHARE))
    corrected = payments.select("prediction_id", "is_fraud", _after("event_time", until_corrected)).filter(
        pl.Series(wrong)
    )
    return pl.concat([told, again, corrected])


def _after(column: str, days: np.ndarray[tuple[int], np.dtype[np.float64]]) -> pl.Expr:
    """The time ``days`` after a column's, to the second."""
    seconds = pl.Series(np.round(days * 86_400).astype(np.int64))
    return (
        (pl.col(column).dt.truncate("1s") + pl.duration(seconds=pl.lit(seconds)))
        .cast(pl.Datetime("us"))
        .alias("reported_at")
    )


def _normal_below(
    limit: np.ndarray[tuple[int], np.dtype[np.float64]], rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Standard normal numbers, each drawn again while it is above its limit."""
    drawn = rng.standard_normal(len(limit))
    while (above := drawn > limit).any():
        drawn[above] = rng.standard_normal(int(above.sum()))
    return drawn
