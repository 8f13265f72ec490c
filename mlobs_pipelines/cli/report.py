"""``mlobs report``: the pages as files."""

from __future__ import annotations

import click

from mlobs_pipelines.cli import Door, command, main
from mlobs_pipelines.errors import UserError


@main.command()
@click.argument("model", required=False)
@command
def report(door: Door, model: str | None) -> None:
    """Write every page as a file that needs nothing else, to read, keep or pass on."""
    from mlobs_pipelines.cli.progress import Progress
    from mlobs_pipelines.report.static import write

    if model is not None:
        door.spec(model)
    if not door.home.results.exists():
        raise UserError(f"no results in {door.home.root} yet; run: mlobs run MODEL")
    with Progress(f"report{f' of {model}' if model else ''}", quiet=door.as_json) as progress:
        files = write(door.home, model, progress=progress.say)
    sizes = [file.stat().st_size for file in files]
    largest = max(sizes)
    door.say(f"{len(files)} pages, {sum(sizes) / 1e6:.1f} MB, the largest {largest / 1e3:.0f} kB. Begin with:")
    door.say(str(files[0]))
    door.answer({"page": str(files[0]), "pages": len(files), "bytes": sum(sizes), "largest_bytes": largest})
