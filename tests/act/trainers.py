"""Entrypoints as a team would write them, good and bad."""

from __future__ import annotations

import os
import signal
from typing import Any

import polars as pl
from sklearn.linear_model import LogisticRegression

from mlobs_pipelines.spec.model import ModelSpec

CALLS: list[pl.DataFrame] = []


def good(rows: pl.DataFrame, spec: ModelSpec) -> Any:
    CALLS.append(rows)
    return LogisticRegression().fit(rows.select("a", "b").to_pandas(), rows["label"].to_numpy())


def broken(rows: pl.DataFrame, spec: ModelSpec) -> Any:
    raise ValueError("two\nlines")


def nothing(rows: pl.DataFrame, spec: ModelSpec) -> Any:
    return None


def deadly(rows: pl.DataFrame, spec: ModelSpec) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
