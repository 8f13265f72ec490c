"""Models as the registry would load them, over three numbers and two categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

NUMBERS = ["a", "b", "c"]
CATEGORIES = ["d", "e"]
COLUMNS = (*NUMBERS, *CATEGORIES)


@dataclass
class Loaded:
    """An estimator with what the registry adds to it."""

    model: Any
    columns: Sequence[str] = COLUMNS
    score: Callable[[Any, Any], Any] = lambda model, rows: model.predict_proba(rows)[:, 1]
    asked: int = 0

    def inputs(self, frame: pl.DataFrame) -> Any:
        return frame.select(self.columns).to_pandas()

    def predict(self, frame: pl.DataFrame) -> Any:
        self.asked += frame.height
        return np.asarray(self.score(self.model, self.inputs(frame)), float)


def rows_of(count: int, seed: int = 0, missing: float = 0.05) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "a": rng.normal(0, 1, count),
            "b": rng.lognormal(0, 1, count),
            "c": rng.integers(0, 5, count).astype(float),
            "d": rng.choice(["red", "green", "blue"], count, p=[0.6, 0.3, 0.1]),
            "e": rng.choice(["x", "y"], count),
        }
    )
    gone = pl.Series(rng.random(count) < missing)
    return frame.with_columns(a=pl.when(~gone).then("a"))


def target(rows: pl.DataFrame) -> Any:
    """A number that depends on a, c with d, and not on e."""
    red = (rows["d"] == "red").to_numpy()
    return rows["a"].fill_null(0).to_numpy() + rows["c"].to_numpy() * red + np.log(rows["b"].to_numpy())


def classes(rows: pl.DataFrame, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.logistic(size=rows.height) < target(rows) - 1).astype(int)


def pipeline(last: Any, *, mix: bool = False) -> Any:
    """Categories one-hot, numbers filled and scaled, then ``last``; ``mix``: principal components of all between."""
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encode = ColumnTransformer(
        [
            ("numbers", Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())]), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORIES),
        ]
    )
    between = [("mix", PCA(4))] if mix else []
    return Pipeline([("encode", encode), *between, ("last", last)])
