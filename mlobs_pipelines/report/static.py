"""Pages as files: each complete in itself, linked to the others by relative addresses."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from mlobs_pipelines.report.addresses import file_of
from mlobs_pipelines.report.site import paths, render
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home


def write(home: Home, model: str | None = None, *, now: dt.datetime | None = None) -> list[Path]:
    """Write every page below ``reports/`` of the home; of one model's pages and the overview if a model is given.

    Returns:
        The files in order, the overview first.

    Raises:
        StoreError: the snapshot can't be read.
    """
    now = now or dt.datetime.now(dt.UTC)
    files = []
    for path in paths(home, model):
        file = home.reports / file_of(path)
        write_text(file, render(home, path, now=now).html)
        files.append(file)
    return files
