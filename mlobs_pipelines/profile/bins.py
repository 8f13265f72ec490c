"""Freezing the bins of a model: decided once, from its reference, so that profiles of all nights add."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.engine.threads import workers
from mlobs_pipelines.store.files import write_text

FINE_BINS = 256
COARSE_BINS = 10
VOCABULARY = 255
SCORE_BINS = 1024
RARE = 10_000
SAMPLE = 2_000_000
"""Quantiles of a larger reference come from its every k-th value in sorted order of a sample of this size."""

HELD_COLUMNS = 16
"""Columns whose values are held at once, unless there are more than ``SAMPLE`` of each."""

MISSING, INVALID, UNSEEN = -1, -2, -3

Floats = npt.NDArray[np.float64]


def read_bins(path: Path) -> dict[str, Any] | None:
    """The frozen bins, or None before anything was frozen."""
    if not path.exists():
        return None
    bins: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return bins


def write_bins(path: Path, bins: Mapping[str, Any]) -> None:
    """Publish the bins. Python writes the shortest text that reads back as the same double."""
    write_text(path, json.dumps(bins, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def as_known(bins: Mapping[str, Any], night: dt.date) -> dict[str, Any]:
    """The bins as a night knew them: without features if those were frozen later."""
    frozen_on = bins.get("frozen_on")
    if frozen_on is not None and dt.date.fromisoformat(frozen_on) <= night:
        return dict(bins)
    return {**bins, "features": {}, "frozen_on": None, "reference": ""}


def numeric_bins(values: Floats) -> dict[str, Any]:
    """Fine and coarse edges, and the center and unit of standardised sums, of a numeric column.

    Args:
        values: finite values, any order.

    Fine edges are the values themselves where there are at most 256 distinct ones, else 1/255 quantiles; the
    smallest value is the first edge and the float after the largest is the last, so both open tails are bins of
    their own. Coarse edges are deciles, with every value that holds a tenth of the rows in a bin of its own.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if len(ordered) == 0:
        return {"edges": [0.0], "coarse": [0.0], "center": 0.0, "unit": 1.0}
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    distinct, counts = ordered[first], np.diff(first, append=len(ordered))
    after = math.nextafter(float(distinct[-1]), math.inf)
    fine = distinct if len(distinct) <= FINE_BINS else np.unique(_quantiles(ordered, FINE_BINS - 1))
    edges = {*map(float, fine), after}
    if len(distinct) <= COARSE_BINS:
        coarse = set(edges)
    else:
        heavy = np.flatnonzero(counts >= len(ordered) / COARSE_BINS)
        atoms = {float(distinct[i]) for i in heavy} | {float(distinct[i + 1]) for i in heavy if i + 1 < len(distinct)}
        coarse = {*map(float, _quantiles(ordered, COARSE_BINS)[1:-1]), *atoms} - {float(distinct[0])}
    # Of equal values neither is exact in floating point: a spread of 1e-17 would clip all that ever differs.
    constant = len(distinct) == 1
    center = float(distinct[0]) if constant else float(ordered.mean())
    spread = 0.0 if constant else float(ordered.std())
    unit = spread if spread > 0 and math.isfinite(spread) else max(abs(center), 1.0)
    return {
        "edges": sorted(edges | coarse),
        "coarse": sorted(coarse),
        "center": center,
        "unit": unit,
    }


def score_edges(edges: Sequence[float], values: Floats) -> list[float]:
    """Edges that fit any model's scores, and those of the reference's: each score of at most 1024, else 1/1024 quantiles.

    Scores of a rare class lie close together: without edges of their own most of them would share a few bins, and the
    area under the ROC curve would be known no better than to the mass in those.
    """
    distinct = np.unique(np.asarray(values, dtype=np.float64))
    own = distinct if len(distinct) <= SCORE_BINS else np.unique(_quantiles(np.sort(values), SCORE_BINS))
    return sorted({*edges, *map(float, own)})


def _quantiles(ordered: Floats, parts: int) -> Floats:
    """The 0/parts, 1/parts, … quantiles as values of the sorted column (inverted distribution function)."""
    at = np.ceil(np.arange(parts + 1) / parts * len(ordered)).astype(np.int64) - 1
    quantiles: Floats = ordered[np.clip(at, 0, len(ordered) - 1)]
    return quantiles


def column_values(engine: DuckDBEngine, relation: str, column: str) -> Floats:
    """The non-null values of a numeric column; of a very long one an evenly spread part of the sorted column."""
    ((values,),) = _values_in_turn(engine, relation, [column])
    return values


def _values_in_turn(engine: DuckDBEngine, relation: str, columns: Sequence[str]) -> Iterator[list[Floats]]:
    """The values of several numeric columns, as ``column_values`` gives them, some columns at a time."""
    ((rows,),) = engine.rows(f"select count(*) from {relation}")
    if rows > SAMPLE:
        yield from ([_sampled(engine, relation, column)] for column in columns)
        return
    for first in range(0, len(columns), HELD_COLUMNS):
        listed = ", ".join(f"cast({column} as double)" for column in columns[first : first + HELD_COLUMNS])
        table = engine.table(f"select {listed} from {relation}")
        yield [column.drop_null().to_numpy() for column in table.columns]


def _sampled(engine: DuckDBEngine, relation: str, column: str) -> Floats:
    """The non-null values of a column that may have more than ``SAMPLE``."""
    kept = f"select cast({column} as double) as x from {relation} where {column} is not null"
    ((count,),) = engine.rows(f"select count(*) from ({kept})")
    if count > SAMPLE:
        step = -(-count // SAMPLE)
        kept = f"select x from (select x, row_number() over (order by x) as i from ({kept})) where i % {step} = 0"
    values: Floats = engine.table(kept).column(0).to_numpy()
    return values


def categorical_bins(engine: DuckDBEngine, relation: str, column: str) -> dict[str, Any]:
    """The vocabulary of a categorical column, most frequent first, and the rare values it also knows."""
    found = engine.rows(
        f"select {column}, count(*) as n from {relation} where {column} is not null "
        f"group by {column} order by n desc, {column} limit {VOCABULARY + RARE}"
    )
    values = [value for value, _ in found]
    return {"vocabulary": values[:VOCABULARY], "rare": values[VOCABULARY:]}


def feature_bins(engine: DuckDBEngine, relation: str, features: Mapping[str, str]) -> dict[str, Any]:
    """Frozen bins of every feature, from the reference's rows.

    Args:
        relation: a table with a column ``f_<name>`` per feature (``n_<name>`` for an embedding's norm).
        features: name -> numeric, categorical or embedding.
    """
    numeric = {
        name: sql.name(f"{'n_' if kind == 'embedding' else 'f_'}{name}")
        for name, kind in features.items()
        if kind != "categorical"
    }
    found: list[dict[str, Any]] = []
    with ThreadPoolExecutor(workers()) as pool:
        for values in _values_in_turn(engine, relation, list(numeric.values())):
            found += pool.map(numeric_bins, values)
    bins = dict(zip(numeric, found, strict=True))
    return {
        name: {"kind": kind, **(bins.get(name) or categorical_bins(engine, relation, sql.name(f"f_{name}")))}
        for name, kind in features.items()
    }
