from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.ingest.night import ingest_nights
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.nights import Nights

BASE: dict[str, Any] = {
    "model": "m",
    "task": "binary",
    "predictions": {"source": "data/p", "id": "id", "time": "t", "score": "score"},
    "labels": {"source": "data/l", "id": "id", "value": "y", "available_at": "at"},
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {
        k: merged(base.get(k) or {}, v) if isinstance(v, dict) and k in base and isinstance(base[k], dict) else v
        for k, v in {**base, **changes}.items()
    }


def make_spec(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate(merged(BASE, changes))


class World:
    """A home with a few shortcuts for the tests."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        (root / "data" / "p").mkdir(parents=True)
        (root / "data" / "l").mkdir(parents=True)

    spec = staticmethod(make_spec)

    @staticmethod
    def prediction(id_: Any, t: Any = "2024-01-01T10:00:00", score: Any = 0.5, **more: Any) -> dict[str, Any]:
        return {"id": id_, "t": t, "score": score, **more}

    @staticmethod
    def label(id_: Any, y: Any = 1, at: Any = "2024-01-02T10:00:00") -> dict[str, Any]:
        return {"id": id_, "y": y, "at": at}

    def put(self, path: str, rows: list[dict[str, Any]] | pa.Table | bytes | str) -> Path:
        target = self.home.root / "data" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(rows, list):
            rows = pa.Table.from_pylist(rows)
        if isinstance(rows, pa.Table):
            pq.write_table(rows, target)
        else:
            target.write_bytes(rows.encode() if isinstance(rows, str) else rows)
        return target

    def run(self, spec: ModelSpec, *days: str, **options: Any) -> Any:
        return ingest_nights(self.home, spec, [dt.date.fromisoformat(d) for d in days], **options)

    def rows(self, table: str, columns: str = "*", where: str = "true", model: str = "m") -> list[tuple[Any, ...]]:
        folder = self.home.root / "quarantine" / model if table == "quarantine" else self.home.lake(model) / table
        files = [folder / f"{n.isoformat()}.parquet" for n in Nights(folder).all()]
        with DuckDBEngine() as engine:
            return engine.rows(f"select {columns} from {scan(files)} where {where} order by all")

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table that intake writes, sorted, with the night of its file."""
        out = {}
        for table in ("predictions", "labels", "intake", "segment_values", "quarantine"):
            folder = self.home.root / "quarantine" / "m" if table == "quarantine" else self.home.lake("m") / table
            for night in Nights(folder).all():
                with DuckDBEngine() as engine:
                    out[f"{table}/{night}"] = engine.rows(
                        f"select * from {scan([folder / f'{night}.parquet'])} order by all"
                    )
        return out


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")
