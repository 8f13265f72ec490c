"""A second version in the shadow of the first, in the lake of :mod:`tests.act.small_home`."""

from __future__ import annotations

import polars as pl

from mlobs_pipelines.store.layout import Home
from tests.act.small_home import day

FROM, TO = 10, 14
"""Days in which version 2 runs in the shadow; the last is not included."""


def score_of(version: str, a: str = "f_a", b: str = "f_b") -> pl.Expr:
    """What a version says: both know a, the first is led astray by b."""
    z = 2 * pl.col(a) + (2 * pl.col(b) if version == "1" else 0)
    return 1 / (1 + (-z).exp())


def shadow(home: Home, failed: int = 0) -> None:
    """Let version 2 score the requests of some days too; so many of each day's fail under it."""
    for number in range(FROM, TO):
        path = home.lake_file("m", "predictions", day(number))
        rows = pl.read_parquet(path)
        lost = pl.int_range(pl.len()) < failed
        both = [
            rows.with_columns(score=score_of("1")),
            rows.with_columns(score=score_of("2"), version=pl.lit("2"), role=pl.lit("shadow"), failed=lost),
        ]
        pl.concat(both).write_parquet(path)
