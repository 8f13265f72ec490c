"""Pages as files: each complete in itself, linked to the others by relative addresses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from mlobs_pipelines.report.read import Results
from mlobs_pipelines.report.site import page_of, paths_of
from mlobs_pipelines.store.addresses import file_of
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home


def write(
    home: Home,
    model: str | None = None,
    *,
    now: dt.datetime | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write every page below ``reports/`` of the home; of one model's pages and the overview if a model is given.

    Pages of an earlier report that no longer are, of what was written now, are taken away.

    Returns:
        The files in order, the overview first.

    Raises:
        StoreError: the snapshot can't be read.
    """
    now = now or dt.datetime.now(dt.UTC)
    files: list[Path] = []
    with Results(home) as results:
        paths = paths_of(results, model)
        for path in paths:
            progress(f"{len(files)} of {len(paths)} pages")
            file = home.reports / file_of(path)
            write_text(file, page_of(results, path, now=now).html)
            files.append(file)
    for file in _earlier(files[1].parent if model else home.reports):
        if file not in files:
            file.unlink(missing_ok=True)
    return files


def _earlier(folder: Path) -> list[Path]:
    """Pages that are there, whoever wrote them; nothing else that someone put beside them."""
    return sorted(folder.rglob("index.html"))
