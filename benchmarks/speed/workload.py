"""Seeded inference logs as a busy model leaves them: skewed categories, ties, nulls, text ids, labels that come late.

`python -m benchmarks.speed.workload FOLDER --rows 100000 --nights 10` writes a home that `mlobs --home FOLDER run speed`
takes in: one Parquet file a night of predictions and of the labels that arrived on it, a reference, and the model's file.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

MODEL = "speed"
FIRST = dt.date(2025, 1, 1)
BLOCK = 500_000
DAY_US = 86_400_000_000
CARDINALITIES = (3, 5, 8, 12, 20, 50, 120, 500, 1500, 5000)
NULLS = (0.01, 0.05, 0.10, 0.50)


@dataclass(frozen=True)
class Workload:
    """``rows`` a night; ``columns`` features, three of four numeric; labels late by an exponential time of mean
    ``delay`` days, by ``latest`` days at most."""

    rows: int
    nights: int
    columns: int = 40
    delay: float = 0.5
    latest: int = 2
    reference_rows: int = 100_000
    seed: int = 7
    backlog: int = 0
    """Days of predictions that were logged before the first night: it takes them in, with the labels known by then."""

    @property
    def numeric(self) -> list[str]:
        return [f"x{i:03d}" for i in range(self.columns * 3 // 4)]

    @property
    def categorical(self) -> list[str]:
        return [f"c{i:03d}" for i in range(self.columns - len(self.numeric))]

    @property
    def dates(self) -> list[dt.date]:
        return [FIRST + dt.timedelta(days=i) for i in range(self.nights)]

    @property
    def logged(self) -> list[dt.date]:
        """The days of the predictions."""
        return [FIRST + dt.timedelta(days=i) for i in range(-self.backlog, self.nights)]

    @property
    def last_arrival(self) -> dt.date:
        """The night of the last label."""
        return self.dates[-1] + dt.timedelta(days=self.latest)


def write(root: Path, work: Workload) -> None:
    """Write the home: delivered files below ``data``, the model's file, the reference."""
    rng = np.random.default_rng(work.seed)
    data = root / "data"
    for folder in ("predictions", "labels"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    reference, labels = _block(rng, work, work.reference_rows)
    pq.write_table(_table(reference | {"label": labels}), data / "reference.parquet", compression="zstd")
    late: dict[dt.date, list[pa.Table]] = {}
    number = 0
    for date in work.logged:
        parts = []
        for n in _blocks(work.rows):
            block, truth = _block(rng, work, n)
            start = _micros(date)
            at = np.sort(rng.integers(0, DAY_US, n)) + start
            ids = _ids(work.seed, number, n)
            number += n
            version = _texts((rng.random(n) < 0.2).astype("i4"), ["1", "2"])
            keys = {"prediction_id": ids, "event_time": _times(at), "model_version": version}
            if work.backlog:
                keys["logged_at"] = _times(np.maximum(at, _micros(FIRST)))
            parts.append(_table(keys | block))
            delay = np.minimum(rng.exponential(work.delay, n), work.latest - 1e-6) if work.delay else np.zeros(n)
            known = np.maximum(at + (delay * DAY_US).astype("i8"), _micros(FIRST))
            told = pa.table({"prediction_id": ids, "label": truth, "known_at": _times(known)})
            nights = known // DAY_US
            for night in np.unique(nights):
                late.setdefault(dt.date(1970, 1, 1) + dt.timedelta(days=int(night)), []).append(
                    told.filter(pa.array(nights == night))
                )
        pq.write_table(
            pa.concat_tables(parts),
            data / "predictions" / f"{date}.parquet",
            compression="zstd",
            row_group_size=122_880,
        )
        for night in [n for n in late if n <= date or date == work.dates[-1]]:
            table = pa.concat_tables(late.pop(night))
            pq.write_table(table, data / "labels" / f"{night}.parquet", compression="zstd", row_group_size=122_880)
    (root / "models").mkdir(exist_ok=True)
    (root / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(spec(work), sort_keys=False), encoding="utf-8")


def spec(work: Workload) -> dict[str, Any]:
    """The model's file: ten segments, by two features."""
    return {
        "model": MODEL,
        "task": "binary",
        "predictions": {
            "source": "data/predictions/*.parquet",
            "id": "prediction_id",
            "time": "event_time",
            **({"arrived_at": "logged_at"} if work.backlog else {}),
            "version": "model_version",
            "score": "score",
        },
        "labels": {
            "source": "data/labels/*.parquet",
            "id": "prediction_id",
            "value": "label",
            "available_at": "known_at",
            "maturity": f"{max(work.latest, 1)}d",
        },
        "features": {"numeric": work.numeric, "categorical": work.categorical},
        "reference": {"source": "data/reference.parquet"},
        "segments": ["device", "region"],
        "monitors": {"windows": ["1d", "7d"]},
    }


def _blocks(rows: int) -> Iterator[int]:
    while rows:
        n = min(rows, BLOCK)
        yield n
        rows -= n


def _micros(date: dt.date) -> int:
    return (date - dt.date(1970, 1, 1)).days * DAY_US


def _times(micros: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(micros, pa.timestamp("us"))


def _texts(codes: npt.NDArray[np.int32], values: list[str]) -> pa.Array:
    """Categories as a server logs them: as text, which no reader takes for anything else."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values)).cast(pa.string())


def _ids(seed: int, first: int, n: int) -> pa.Array:
    """Text ids without any order, as universally unique ones are."""
    query = f"select md5('{seed}/' || range) as id from range({first}, {first + n})"
    return duckdb.sql(query).to_arrow_table().column(0).combine_chunks()


def _table(columns: dict[str, Any]) -> pa.Table:
    return pa.table(columns)


def _block(rng: np.random.Generator, work: Workload, n: int) -> tuple[dict[str, pa.Array], npt.NDArray[np.int8]]:
    """Features and score of some rows, and their labels."""
    columns: dict[str, pa.Array] = {}
    logit = np.full(n, -2.0)
    for i, name in enumerate(work.numeric):
        x = _numbers(rng, i, n)
        if i % 7 == 0:
            logit += 0.4 * (x - x.mean()) / x.std()
        missing = rng.random(n) < NULLS[i % 4] if i % 3 == 2 else None
        columns[name] = pa.array(x, mask=missing)
    for i, name in enumerate(work.categorical):
        size = CARDINALITIES[i % len(CARDINALITIES)]
        codes = _skewed(rng, size, n)
        logit += 0.1 * (codes % 3 - 1)
        columns[name] = _texts(codes, [f"v{k}" for k in range(size)])
    for name, size in (("device", 4), ("region", 6)):
        codes = _skewed(rng, size, n)
        columns[name] = _texts(codes, [f"{name[0]}{k}" for k in range(size)])
    true = 1 / (1 + np.exp(-logit))
    columns["score"] = pa.array(1 / (1 + np.exp(-(logit + 0.5 * rng.standard_normal(n)))))
    return columns, (rng.random(n) < true).astype("i1")


def _numbers(rng: np.random.Generator, i: int, n: int) -> npt.NDArray[np.float64]:
    kind = i % 6
    if kind in (0, 1):
        return rng.standard_normal(n) * (1 + i % 5) + i % 11
    if kind in (2, 3):
        return rng.lognormal(1 + i % 4 * 0.3, 0.8, n)
    if kind == 4:
        return rng.poisson(1.3 + i % 3, n).astype("f8")
    return np.where(rng.random(n) < 0.6, 0.0, np.round(rng.exponential(30.0, n), 2))


def _skewed(rng: np.random.Generator, size: int, n: int) -> npt.NDArray[np.int32]:
    weights = 1.0 / np.arange(1, size + 1) ** 0.9
    edges = np.cumsum(weights / weights.sum())
    return np.minimum(np.searchsorted(edges, rng.random(n)), size - 1).astype("i4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--nights", type=int, default=10)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--delay", type=float, default=0.5)
    parser.add_argument("--latest", type=int, default=2)
    given = parser.parse_args()
    write(given.folder, Workload(given.rows, given.nights, given.columns, given.delay, given.latest))


if __name__ == "__main__":
    main()
