"""Commands of people about incidents and decisions, and the check of the log that keeps them."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

import click

from mlobs_pipelines.cli import DATE, Door, command, main

COMMENT = click.option("-m", "--comment", required=True, help="Why; kept in the log.")
BY = click.option("--by", "actor", default="", help="Who you are; default: your name on this machine.")


@main.command()
@click.argument("incident")
@COMMENT
@BY
@command
def ack(door: Door, incident: str, comment: str, actor: str) -> None:
    """Take an incident on: its repeats stop until it gets more severe."""
    from mlobs_pipelines.act.people import acknowledge

    _said(door, acknowledge(door.home, incident, comment=comment, actor=actor), "acknowledged")


@main.command()
@click.argument("incident")
@click.option("--until", type=DATE, help="The last night of the silence.")
@click.option("--for", "length", help="For so long from the incident's newest night on, as 7d or 2w.")
@COMMENT
@BY
@command
def silence(door: Door, incident: str, until: dt.datetime | None, length: str | None, comment: str, actor: str) -> None:
    """Hear nothing of an incident until a date. It is still looked at."""
    from mlobs_pipelines.act import people

    if (until is None) == (length is None):
        raise click.UsageError("a silence has an end: give --until or --for")
    last = until.date() if until else people.incident(door.home, incident)["as_of"] + _whole_days(length)
    row = people.silence(door.home, incident, until=last, comment=comment, actor=actor)
    _said(door, row, f"silenced until {last}")


@main.command()
@click.argument("incident")
@COMMENT
@BY
@command
def resolve(door: Door, incident: str, comment: str, actor: str) -> None:
    """Close an incident. Where a later night sees it, it is open again."""
    from mlobs_pipelines.act.people import resolve as close

    _said(door, close(door.home, incident, comment=comment, actor=actor), "resolved")


@main.command()
@click.argument("decision")
@COMMENT
@BY
@command
def approve(door: Door, decision: str, comment: str, actor: str) -> None:
    """Let a pending decision be carried out."""
    from mlobs_pipelines.act.people import approve as settle

    row = settle(door.home, decision, comment=comment, actor=actor)
    _said(door, row, "approved", f"; Dagster's sensors carry it out, or now: mlobs act {row['model']}")


@main.command()
@click.argument("decision")
@COMMENT
@BY
@command
def reject(door: Door, decision: str, comment: str, actor: str) -> None:
    """Settle that a pending decision is not carried out."""
    from mlobs_pipelines.act.people import reject as settle

    _said(door, settle(door.home, decision, comment=comment, actor=actor), "rejected")


@main.command()
@click.argument("incident")
@command
def explain(door: Door, incident: str) -> None:
    """Why an incident is one: since when, how large, first suspects, what to do, and what was done."""
    from mlobs_pipelines.cli.incident import argument, render

    found = argument(door.home, incident)
    door.say(render(found))
    door.answer(found)


@main.group()
def audit() -> None:
    """The log of decisions and of what people did."""


@audit.command()
@click.option("--holds", metavar="HASH", default="", help="Check, too, that an entry has this hash, noted before.")
@command
def verify(door: Door, holds: str) -> None:
    """Check that no entry was edited, removed, moved or put in, and none cut off."""
    from mlobs_pipelines.act.audit import audit as check

    found = check(door.home, holds)
    whole = not found.problems
    problems = [{"line": problem.line, "what": problem.what} for problem in found.problems]
    door.answer({"whole": whole, "entries": found.entries, "head": found.hash, "problems": problems})
    if whole:
        entries = f"{found.entries:,} entr{'y' if found.entries == 1 else 'ies'}"
        door.say(f"{entries}, chain whole, head {found.hash}")
        return
    more = f" (and {len(problems) - 1} more: mlobs --json audit verify)" if problems[1:] else ""
    click.echo(f"mlobs: {door.home.log / 'decisions.jsonl'}: {found.problems[0]}{more}", err=True)
    sys.exit(1)


def _said(door: Door, row: dict[str, Any], what: str, then: str = "") -> None:
    about = row["incident_id"] if row["status"] == "done" else row["decision_id"]
    door.say(f"{about}: {what} by {row['actor']}{then}")
    door.answer(row)


def _whole_days(length: str | None) -> dt.timedelta:
    from mlobs_pipelines.spec.values import parse_duration

    try:
        found = parse_duration(length)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
    assert isinstance(found, dt.timedelta)  # noqa: S101 - what parse_duration gives for a text
    if found < dt.timedelta(days=1) or found % dt.timedelta(days=1):
        raise click.BadParameter("a silence is counted in whole nights; write for example 7d", param_hint="--for")
    return min(found, dt.timedelta(days=10_000))  # far too long, and still a date's worth
