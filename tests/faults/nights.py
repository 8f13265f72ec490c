"""Runs of the model of ``delivered``: in this process, which is quick, and in one that may be told to die."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path

from mlobs_pipelines.orchestration.due import nights_between
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from tests.processes import Child, die_at_rename

MODEL = "card_fraud"
FIRST, LAST = "2026-01-01", "2026-01-05"


def run(root: Path, first: str, last: str, model: str = MODEL) -> None:
    """Run nights to the end, here."""
    home = Home(root)
    spec = load_spec(home.spec_file(model))
    run_model(home, spec, nights_between(dt.date.fromisoformat(first), dt.date.fromisoformat(last)))


def start(
    root: Path, first: str, last: str, dies_at: int = 0, model: str = MODEL, environment: Mapping[str, str] = os.environ
) -> Child:
    """Start nights in a process of their own, where text hashes otherwise; it answers how many files were published.

    With ``dies_at`` it dies there: see ``die_at_rename``.
    """
    return Child(_run_counted, root, first, last, model, dies_at, environment=environment)


def _run_counted(root: Path, first: str, last: str, model: str, dies_at: int) -> int:
    published = die_at_rename(dies_at)
    run(root, first, last, model)
    return published()
