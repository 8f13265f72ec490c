"""Names, schemas and atomic files: the lake and the evaluation store."""

from __future__ import annotations

from typing import Any

__all__ = ["digest", "lake", "metrics", "query", "runs", "table"]


def __getattr__(name: str) -> Any:
    """The store for notebooks, of ``store.read``: looked up late, because Polars and DuckDB take a while to import."""
    if name in __all__:
        from mlobs_pipelines.store import read

        return getattr(read, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
