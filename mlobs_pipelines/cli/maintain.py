"""The weekly maintenance, by hand."""

from __future__ import annotations

import click

from mlobs_pipelines.cli import Door, command, main


@main.command()
@click.argument("model", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@command
def maintain(door: Door, model: str | None, dry_run: bool) -> None:
    """Make one file a month of the small files of months that are long over; what is stored stays the same."""
    from mlobs_pipelines.cli.progress import Progress
    from mlobs_pipelines.orchestration.maintain import maintain_model
    from mlobs_pipelines.spec.load import load_all

    specs = [door.spec(model)] if model else list(load_all(door.home.models)[0].values())
    found = []
    for spec in specs:
        with Progress(f"{spec.model}: maintenance", quiet=door.as_json) as progress:
            found.append(maintain_model(door.home, spec, dry_run=dry_run, progress=progress.say))
        for line in found[-1].lines():
            door.say(line)
    door.answer([one.as_dict() for one in found])
