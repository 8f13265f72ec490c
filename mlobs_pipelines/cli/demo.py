"""`mlobs demo`: a small world with planted faults, its nights, what was found, and what was done about it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlobs_pipelines.cli.progress import Progress
from mlobs_pipelines.cli.status import as_text, health, render, where
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.due import nights_due
from mlobs_pipelines.orchestration.instance import dagster_home
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.simulate.demo import DEMO_QUERIES, MODEL, prepare
from mlobs_pipelines.simulate.planted import Found, found, planted, unplanted
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import query

if TYPE_CHECKING:
    from mlobs_pipelines.cli import Door

MARK = ".demo"
"""A home that a demo made may be made again by the next demo; any other is left alone."""

ACTOR = "demo"
"""Who agrees to what waits for a person, where there is none."""
AGREED = ("retrain", "promote")
MOST_ROUNDS = 5

INCIDENTS = (
    "select incident_id, kind, severity, subject, segment, since, opened_as_of, recommended_action, title "
    "from incidents where model = '{model}'"
)
COMPARED = (
    "select challenger, champion, metric, challenger_value, champion_value, difference, lower, upper, rows, "
    "window_start, window_end, verdict from comparisons where model = '{model}' and metric = '{metric}' "
    "and segment = '' order by as_of desc, cast(challenger as int) desc limit 1"
)


def run_demo(door: Door, *, days: int, seed: int) -> None:
    """Make the world, replay every night, let the loop act, write the pages, and show all of it.

    The exit status is 1 if a planted fault was not found, or a harmless change was alarmed about.

    Raises:
        UserError: the home holds something that no demo made.
    """
    home = door.home
    started = time.monotonic()
    _clear(home)
    # A demo leaves a team's MLflow and Dagster alone, and uses its home's own: `make dev` shows its nights.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["DAGSTER_HOME"] = str(dagster_home(home).absolute())
    with Progress("demo", quiet=door.as_json) as progress:
        facts = prepare(home, days=days, seed=seed, progress=progress.say)
        spec = load_spec(home.spec_file(MODEL))
        now = dt.datetime.now(dt.UTC)
        result = run_model(home, spec, nights_due(home, spec, now), progress=progress.say)
        agreed = close_the_loop(home, spec, progress.say)
        progress.say("writing the pages")
        pages = _pages(home)
    incidents = query(home, INCIDENTS.format(model=MODEL))
    verdicts = found(planted(facts.first_day), incidents, facts.last_day)
    strays = unplanted(verdicts, incidents)
    compared = query(home, COMPARED.format(model=MODEL, metric=spec.policy.promote.metric)).to_dicts()
    done = _newest(home)
    rows = health(home, now)

    door.say(result.summary())
    door.say()
    door.say(render(rows))
    _title(door, "What was planted, and what was found")
    door.say(beside(verdicts))
    for stray in strays:
        door.say(f"Not planted: {stray['incident_id']} ({stray['severity']}, {stray['kind']}): {stray['title']}")
    _title(door, f"What was done about it; where a person is asked, the demo agrees by itself, as {ACTOR!r}")
    for line in [*map(_compared, compared), *map(_decided, done)] or ["nothing yet"]:
        door.say(line)
    for title, statement in DEMO_QUERIES:
        _title(door, title)
        door.say(f'$ mlobs --home {where(home.root)} sql "{statement}"')
        door.say(as_text(query(home, statement)))
    seconds = time.monotonic() - started
    door.say()
    door.say(f"Everything is in {where(home.root)}; the model's file is {where(home.spec_file(MODEL))}.")
    door.say(f"The pages: {where(pages)}, or live: mlobs --home {where(home.root)} serve")
    door.say(f"Took {seconds:.0f} s. Next: `make dev` for the Dagster UI, `mlobs status`, `mlobs sql`.")
    door.answer(
        {
            "home": str(home.root),
            "seconds": round(seconds, 1),
            **result.as_dict(),
            "health": rows,
            "planted": [_answered(v) for v in verdicts],
            "not_planted": strays,
            "agreed": agreed,
            "compared": compared,
            "decisions": [{k: row[k] for k in ("decision_id", "action", "status", "version", "actor")} for row in done],
            "pages": str(pages),
        }
    )
    wrong = [v.planted.what for v in verdicts if not v.right]
    if wrong:
        click.echo(f"mlobs: not as it should be: {'; '.join(wrong)}", err=True)
        sys.exit(1)


def close_the_loop(home: Home, spec: ModelSpec, tell: Callable[[str], None]) -> list[str]:
    """Let the loop do what is due, and agree to what it proposes, until nothing is left; gives the ids agreed to."""
    from mlobs_pipelines.act.loop import advance
    from mlobs_pipelines.act.people import approve

    agreed: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow and the model's library
        for _ in range(MOST_ROUNDS):
            tell("retraining, comparing and promoting")
            advance(home, spec)
            waiting = [r["decision_id"] for r in _newest(home) if r["status"] == "pending" and r["action"] in AGREED]
            if not waiting:
                break
            for decision_id in waiting:
                approve(home, decision_id, actor=ACTOR, comment="The demo agrees, so that the loop is seen to close.")
            agreed += waiting
    return agreed


def beside(verdicts: Sequence[Found]) -> str:
    """What was planted beside what was found: two lines for each, whatever the width of the screen."""
    lines = []
    for v in verdicts:
        mark = "✓" if v.verdict in ("found", "quiet") else "…" if v.right else "✗"
        last = f"{v.planted.end}" if v.planted.end else "the end"
        lines.append(f"{mark} planted  {v.planted.start} to {last}: {v.planted.what}")
        lines.append(f"  found    {_said(v)}")
    return "\n".join(lines)


def _said(v: Found) -> str:
    """What an incident says; with what it should have said, if that is something else."""
    if v.incident is None:
        return {"quiet": "nothing above info", "early": "too early to tell"}.get(v.verdict, "nothing")
    row = v.incident
    said = (
        f"{_place(row)} since {row['since']}, opened on the night of {row['opened_as_of']}: "
        f"{row['recommended_action']} ({row['incident_id']})"
    )
    if v.verdict != "missed":
        return said
    wanted = {**v.planted.expected, "since": str(v.planted.start)}
    return f"{said}; wanted: {', '.join(f'{column} {wanted[column] or None}' for column in v.differs)}"


def _place(row: Mapping[str, Any]) -> str:
    about = f" of {row['subject']}" if row["subject"] else ""
    place = f" in {row['segment']}" if row["segment"] else ""
    return f"{row['kind']}{about}{place}"


def _answered(v: Found) -> dict[str, Any]:
    """For programs."""
    p = v.planted
    return {
        "planted": p.what,
        "first_day": str(p.start),
        "last_day": str(p.end) if p.end else None,
        "expected": p.expected if p.kind else None,
        "verdict": v.verdict,
        "differs": list(v.differs),
        "incident_id": v.incident["incident_id"] if v.incident else None,
    }


def _compared(row: dict[str, Any]) -> str:
    return (
        f"version {row['challenger']} against champion {row['champion']} on the same {row['rows']:,} rows of "
        f"{row['window_start']} to {row['window_end']}, which neither was trained on: {row['metric']} "
        f"{row['challenger_value']:.3f} against {row['champion_value']:.3f}, a difference of {row['difference']:+.3f} "
        f"[{row['lower']:+.3f}, {row['upper']:+.3f}]: {row['verdict']}"
    )


def _decided(row: dict[str, Any]) -> str:
    version = f" version {row['version']}" if row["version"] else ""
    return f"{row['action']}{version}: {row['status']}: {row['reason']}"


def _newest(home: Home) -> list[dict[str, Any]]:
    """The newest row of each of the model's decisions, in the order in which they were made."""
    log = decisions(home, MODEL)
    return log.group_by("decision_id", maintain_order=True).last().select(log.columns).to_dicts()


def _pages(home: Home) -> Path:
    from mlobs_pipelines.report import static

    return static.write(home)[0]


def _title(door: Door, text: str) -> None:
    door.say()
    door.say(click.style(f"# {text}", bold=True))


def _bare(path: Path) -> bool:
    """Whether it is what `make dev` makes in a home without a model."""
    return path.name == "dagster" or (path.name == "models" and path.is_dir() and not any(path.iterdir()))


def _clear(home: Home) -> None:
    root = home.root
    if root.exists() and any(path for path in root.iterdir() if not _bare(path)):
        if not (root / MARK).exists():
            raise UserError(f"{root} is not empty and no demo made it; give the demo a home of its own with --home DIR")
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()
