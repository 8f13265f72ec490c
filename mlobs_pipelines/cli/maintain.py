"""The weekly maintenance, by hand."""

from __future__ import annotations

import click

from mlobs_pipelines.cli import Door, command, main
from mlobs_pipelines.errors import UserError


@main.command()
@click.argument("model", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@command
def maintain(door: Door, model: str | None, dry_run: bool) -> None:
    """Make one file a month of old nights' small files, and let go of rows whose time is up."""
    from mlobs_pipelines.cli.progress import Progress
    from mlobs_pipelines.orchestration.maintain import maintain_model
    from mlobs_pipelines.spec.load import load_all

    specs = [door.spec(model)] if model else list(load_all(door.home.models)[0].values())
    found, failed = [], []
    for spec in specs:
        try:
            with Progress(f"{spec.model}: maintenance", quiet=door.as_json) as progress:
                found.append(maintain_model(door.home, spec, dry_run=dry_run, progress=progress.say))
        except UserError as error:
            failed.append(str(error))
            continue
        for line in found[-1].lines():
            door.say(line)
    if failed:
        raise UserError("; ".join(failed))
    door.answer([one.as_dict() for one in found])
