"""The person's door: thin commands over the same functions that Dagster calls."""

from __future__ import annotations

import datetime as dt
import faulthandler
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mlobs_pipelines import __version__
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home, default_home

DATE = click.DateTime(formats=["%Y-%m-%d"])


class Door:
    """What every command needs: the home, and how to speak."""

    def __init__(self, home: Home, as_json: bool, debug: bool) -> None:
        self.home = home
        self.as_json = as_json
        self.debug = debug

    def say(self, text: str = "") -> None:
        """Tell a person; programs get one JSON document instead."""
        if not self.as_json:
            click.echo(text)

    def answer(self, document: Any) -> None:
        """Tell a program."""
        if self.as_json:
            click.echo(json.dumps(document, default=str, ensure_ascii=False))

    def spec(self, model: str) -> Any:
        """The spec of a model, or the one line that says why there is none."""
        from mlobs_pipelines.spec.load import load_spec, nearest

        path = self.home.spec_file(model)
        if not path.exists():
            known = sorted(p.stem for p in self.home.models.glob("*.yaml"))
            guess = nearest(model, known)
            hint = f"; did you mean {guess}?" if guess else f"; known: {', '.join(known)}" if known else ""
            raise UserError(f"no model {model!r}: {path} does not exist{hint}")
        return load_spec(path)


READERS = {
    *("status", "sql", "explain", "report", "serve", "alerts", "verify"),
    *("ack", "resolve", "silence", "approve", "reject"),
}
"""Commands that read results and no rows."""

APART = {"demo", "init"}
"""Commands that need nothing of what other machines did."""


def _as_json(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    context.obj.as_json = context.obj.as_json or wanted


_JSON = click.option(
    "--json", is_flag=True, expose_value=False, callback=_as_json, help="Print one JSON document for programs."
)


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn any error into one line and exit status 1; a traceback only with --debug."""

    @click.pass_obj
    @functools.wraps(function)
    def run(door: Door, *args: Any, **kwargs: Any) -> Any:
        try:
            if (name := click.get_current_context().info_name) not in APART:
                storage.refresh(door.home, rows=name not in READERS)
            return function(door, *args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            _fail(door, "interrupted; run the same command again to go on")
        except UserError as error:
            if door.debug:
                raise
            _fail(door, str(error))
        except Exception as error:  # a bug of ours: say so, and how to see more
            if door.debug:
                raise
            line = " ".join(str(error).split())[:500]
            _fail(door, f"{type(error).__name__}: {line} (run with --debug for the traceback)")

    return _JSON(run)


def _fail(door: Door, line: str) -> None:
    if door.as_json:
        click.echo(json.dumps({"error": line}, ensure_ascii=False))
    click.echo(f"mlobs: {line}", err=True)
    sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), help="Default: MLOBS_HOME, else ./mlobs_home."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for programs.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="mlobs")
@click.pass_context
def main(context: click.Context, home: Path | None, as_json: bool, debug: bool) -> None:
    """Observe models in production: logged predictions and late labels in, judged metrics out."""
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)  # a crash inside a library leaves a trace of where it was
    context.obj = Door(Home(home.absolute() if home else default_home()), as_json, debug)


@main.command()
@click.option("--days", default=60, show_default=True, help="Nights to simulate.")
@click.option("--seed", default=7, show_default=True)
@command
def demo(door: Door, days: int, seed: int) -> None:
    """Make a small world, replay its nights, and show what to ask."""
    from mlobs_pipelines.cli.demo import run_demo

    run_demo(door, days=days, seed=seed)


@main.command()
@click.option("--predictions", required=True, help="A file of logged predictions.")
@click.option("--labels", help="A file of labels.")
@click.option("--model", help="Name of the model; default: the file's name.")
@command
def init(door: Door, predictions: str, labels: str | None, model: str | None) -> None:
    """Write a first spec by looking at the data."""
    from mlobs_pipelines.ingest.infer import infer_spec
    from mlobs_pipelines.spec.load import parse_spec
    from mlobs_pipelines.spec.schema import to_yaml
    from mlobs_pipelines.store.files import write_text

    spec = infer_spec(predictions, labels)
    if model:
        spec = spec.model_copy(update={"model": model})
    path = door.home.spec_file(spec.model)
    if path.exists():
        raise UserError(f"{path} exists already; remove it first, or give --model another name")
    text = to_yaml(spec, show_defaults=False)
    parse_spec(text, file=path)
    write_text(path, text)
    door.say(path.read_text(encoding="utf-8"))
    door.say(f"Written to {path}. Read it, then: mlobs validate {spec.model}; mlobs run {spec.model}")
    door.answer({"model": spec.model, "file": str(path)})


@main.command()
@click.argument("model", required=False)
@click.option("--show-defaults", is_flag=True, help="Print the spec with every default and what was inferred.")
@click.option(
    "--json-schema", is_flag=True, help="Print the JSON Schema of a model's file, for editors, and check nothing."
)
@command
def validate(door: Door, model: str | None, show_defaults: bool, json_schema: bool) -> None:
    """Check specs against their data."""
    if json_schema:
        from mlobs_pipelines.spec.schema import json_schema as schema

        click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
        return
    from mlobs_pipelines.orchestration.validation import validate_home

    reports = validate_home(door.home, [model] if model else None)
    for report in reports:
        door.say(f"{report.model}: {'; '.join(report.problems) if report.problems else 'ok'}")
        for note in report.notes:
            door.say(f"  {note}")
        if show_defaults and report.spec_text:
            door.say(report.spec_text)
    door.answer([report.as_dict(show_defaults) for report in reports])
    if not reports:
        raise UserError(f"no model files in {door.home.models}; write one with: mlobs init --predictions FILE")
    if any(report.problems for report in reports):
        sys.exit(1)


@main.command()
@click.argument("model")
@click.option("--date", type=DATE, help="One night.")
@click.option("--from", "first", type=DATE, help="First night.")
@click.option("--to", "last", type=DATE, help="Last night.")
@command
def run(door: Door, model: str, date: dt.datetime | None, first: dt.datetime | None, last: dt.datetime | None) -> None:
    """Run the night(s) of those arrival dates in order; without dates, every night that is due."""
    from mlobs_pipelines.engine import dbt

    if date and (first or last):
        raise click.UsageError("give --date, or --from and --to, not both")
    if bool(first) != bool(last):
        raise click.UsageError("--from and --to go together")
    spec = door.spec(model)
    dbt.start(door.home)  # before the imports below, which take seconds too

    from mlobs_pipelines.cli.progress import Progress
    from mlobs_pipelines.orchestration.due import nights_between, nights_due
    from mlobs_pipelines.orchestration.run import run_model

    if date:
        nights = [date.date()]
    elif first and last:
        nights = nights_between(first.date(), last.date())
    else:
        nights = nights_due(door.home, spec, dt.datetime.now(dt.UTC))
    if not nights:
        door.say(f"{model}: no night is due")
        door.answer({"model": model, "nights": 0})
        return
    with Progress(
        f"{model}: {nights[0]}" + (f" … {nights[-1]}" if len(nights) > 1 else ""), quiet=door.as_json
    ) as progress:
        result = run_model(door.home, spec, nights, progress=progress.say)
    door.say(result.summary())
    for note in result.notes:
        door.say(f"  {note}")
    door.answer(result.as_dict())


@main.command()
@click.argument("model", required=False)
@command
def act(door: Door, model: str | None) -> None:
    """Do what is due: approved trainings, comparisons of new versions, approved promotions and roll-backs."""
    from mlobs_pipelines.cli.act import act_on
    from mlobs_pipelines.spec.load import load_all

    specs = [door.spec(model)] if model else list(load_all(door.home.models)[0].values())
    done, failed = act_on(door.home, specs)
    for name, lines in done.items():
        for line in lines or [f"{name}: nothing is due"]:
            door.say(line)
    if failed:
        raise UserError("; ".join(map(str, failed)))
    door.answer(done)


@main.command()
@click.argument("model")
@click.argument("champion")
@click.argument("challenger")
@click.option("--segment", default="", help="Such as 'country=DE & device=ios'; default: all rows, and every segment.")
@click.option("--metric", help="This metric alone, over all rows and in every segment.")
@command
def compare(door: Door, model: str, champion: str, challenger: str, segment: str, metric: str | None) -> None:
    """Two versions on the same rows: every metric's difference with its interval, and what it says of the second."""
    from mlobs_pipelines.cli.compare import answer, compared, render

    spec = door.spec(model)
    found = compared(door.home, spec, champion, challenger, segment)
    door.answer(answer(found, spec, segment, metric))
    if not door.as_json:
        click.echo(render(found, spec, segment, metric))


@main.command()
@click.argument("model", required=False)
@command
def status(door: Door, model: str | None) -> None:
    """Health of every model, in under a second."""
    from mlobs_pipelines.cli.status import health, render

    rows = health(door.home, dt.datetime.now(dt.UTC), model)
    door.answer(rows)
    if not door.as_json:
        click.echo(render(rows))


@main.command(name="sql")
@click.argument("query")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@command
def sql_(door: Door, query: str, form: str) -> None:
    """Read-only query of the evaluation store."""
    from mlobs_pipelines.cli.status import as_text
    from mlobs_pipelines.store.read import query as ask

    frame = ask(door.home, query)
    if door.as_json or form == "json":
        click.echo(frame.write_json())
    elif form == "csv":
        click.echo(frame.write_csv(), nl=False)
    else:
        click.echo(as_text(frame))


@main.command()
@click.argument("model")
@command
def rebuild(door: Door, model: str) -> None:
    """Make everything that can be derived again from the lake, to the same bits."""
    from mlobs_pipelines.cli.progress import Progress
    from mlobs_pipelines.orchestration.run import rebuild_model

    spec = door.spec(model)
    with Progress(f"{model}: rebuild", quiet=door.as_json) as progress:
        nights, left = rebuild_model(door.home, spec, progress=progress.say)
    door.say(f"{model}: {len(nights)} nights rebuilt from the lake")
    if left:
        door.say(f"  the profiles of {len(left)} of them stay as they were: rows that they count were let go of")
    door.answer({"model": model, "nights": len(nights), "left": len(left)})


@main.command()
@click.argument("model")
@command
def digest(door: Door, model: str) -> None:
    """SHA-256 of every table of a model, less run ids and wall clock: equal digests, equal content."""
    from mlobs_pipelines.store.read import digest as digests

    door.spec(model)
    found = digests(door.home, model)
    for table, value in found.items():
        door.say(f"{value}  {table}")
    door.answer(found)


@main.command()
@click.argument("model")
@click.option("--segment", default="", help="Such as 'country=DE & device=ios'; default: all rows.")
@click.option("--from", "first", type=DATE, help="First event date.")
@click.option("--to", "last", type=DATE, help="Last event date.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help=".parquet, .csv or .jsonl")
@command
def export(
    door: Door, model: str, segment: str, first: dt.datetime | None, last: dt.datetime | None, out: Path
) -> None:
    """Write the rows of a cohort, with the label believed now."""
    from mlobs_pipelines.cli.cohort import export_cohort

    spec = door.spec(model)
    count = export_cohort(door.home, spec, segment, out, first and first.date(), last and last.date())
    door.say(f"{count} rows written to {out}")
    door.answer({"rows": count, "file": str(out)})


@main.command()
@click.argument("model", required=False)
@click.option("--send", is_flag=True, help="Send first what is due.")
@click.option("--retry", is_flag=True, help="Put what was given up back among what is due, and send it.")
@command
def alerts(door: Door, model: str | None, send: bool, retry: bool) -> None:
    """What channels were told, what is on its way, and what was given up, with the reason."""
    from mlobs_pipelines.act.alerts import outbox
    from mlobs_pipelines.act.alerts.send import deliver
    from mlobs_pipelines.cli.alerts import listed, misunderstood, render

    now = dt.datetime.now(dt.UTC)
    if model:
        door.spec(model)
    if retry:
        door.say(f"{outbox.send_again(door.home, now)} given up before are sent again")
    if send or retry:
        summary = deliver(door.home, now=now)
        door.say("\n".join([summary.sentence(), *summary.problems]))
    rows, problems = listed(door.home, model), misunderstood(door.home, model)
    door.answer({"messages": rows, "problems": problems})
    if not door.as_json:
        click.echo("\n".join([render(rows), *problems]))


from mlobs_pipelines.cli import maintain as _maintain  # noqa: E402, F401 - as below
from mlobs_pipelines.cli import people as people  # noqa: E402 - its commands join main, which must be there
from mlobs_pipelines.cli import report as _report  # noqa: E402, F401 - as above
from mlobs_pipelines.cli import serve as _serve  # noqa: E402, F401 - as above
