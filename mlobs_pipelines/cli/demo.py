"""`mlobs demo`: a small world, its nights, and what to ask of them."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from typing import TYPE_CHECKING

import click

from mlobs_pipelines.cli.progress import Progress
from mlobs_pipelines.cli.status import as_text, health, render, where
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.due import nights_due
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.simulate.demo import DEMO_QUERIES, MODEL, prepare
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import query

if TYPE_CHECKING:
    from mlobs_pipelines.cli import Door

MARK = ".demo"
"""A home that a demo made may be made again by the next demo; any other is left alone."""


def run_demo(door: Door, *, days: int, seed: int) -> None:
    """Make the world, train and register its champion, replay every night, show the health table and three queries.

    Raises:
        UserError: the home holds something that no demo made.
    """
    home = door.home
    started = time.monotonic()
    _clear(home)
    with Progress("demo", quiet=door.as_json) as progress:
        prepare(home, days=days, seed=seed, progress=progress.say)
        spec = load_spec(home.spec_file(MODEL))
        now = dt.datetime.now(dt.UTC)
        nights = nights_due(home, spec, now)
        result = run_model(home, spec, nights, progress=progress.say)
    door.say(result.summary())
    door.say()
    rows = health(home, now)
    door.say(render(rows))
    for title, statement in DEMO_QUERIES:
        door.say()
        door.say(click.style(f"# {title}", bold=True))
        door.say(f'$ mlobs --home {where(home.root)} sql "{statement}"')
        door.say(as_text(query(home, statement)))
    door.say()
    door.say(f"Everything is in {where(home.root)}; the model's file is {where(home.spec_file(MODEL))}.")
    door.say(
        f"Took {time.monotonic() - started:.0f} s. Next: `make dev` for the Dagster UI, `mlobs status`, `mlobs sql`."
    )
    door.answer(
        {"home": str(home.root), "seconds": round(time.monotonic() - started, 1), **result.as_dict(), "health": rows}
    )


def _clear(home: Home) -> None:
    root = home.root
    if root.exists() and any(root.iterdir()):
        if not (root / MARK).exists():
            raise UserError(f"{root} is not empty and no demo made it; give the demo a home of its own with --home DIR")
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()
