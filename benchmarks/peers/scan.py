"""The raw scan: DuckDB reads every column of the delivered files once: `python -m benchmarks.peers.scan HOME LAST`."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb


def scan(root: Path) -> None:
    """Read predictions and labels below ``root``: numbers are summed, of all else the greatest is found."""
    with duckdb.connect(config={"preserve_insertion_order": False}) as engine:
        for table in ("predictions", "labels"):
            files = f"read_parquet('{root}/data/{table}/*.parquet')"
            described = engine.execute(f"describe select * from {files}").fetchall()
            sums = ", ".join(f'{"sum" if kind == "DOUBLE" else "max"}("{name}")' for name, kind, *_ in described)
            engine.execute(f"select {sums} from {files}").fetchall()


if __name__ == "__main__":
    scan(Path(sys.argv[1]))
