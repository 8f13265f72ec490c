"""Maintenance of a model's files: a command, and a weekly job. What is kept says the same after it as before."""

# No `from __future__ import annotations` here: Dagster reads the types of an op's arguments, not their names.

import contextlib
import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.letting_go import LetGo, let_go_of_rows
from mlobs_pipelines.orchestration.lock import alone
from mlobs_pipelines.orchestration.wiring import Progress, Wiring
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.spec.settings import load_settings
from mlobs_pipelines.store import results, storage
from mlobs_pipelines.store.compaction import Fold, fold, folds, rows_to_let_go, tables
from mlobs_pipelines.store.layout import Home

WEEKLY = "30 4 * * 0"
"""When the job runs, in the model's timezone: on Sundays, after most models' nights."""


@dataclass(frozen=True)
class Compacted:
    """What became of one table: the files of so many ``nights`` are part of so many ``months`` now."""

    table: str
    nights: int
    months: int
    bytes_before: int
    bytes_after: int | None


@dataclass(frozen=True)
class Maintained:
    """What a maintenance did of one model, or would do; then sizes afterwards are not known."""

    model: str
    compacted: tuple[Compacted, ...]
    let_go: tuple[LetGo, ...]

    def lines(self) -> list[str]:
        """For a person."""
        found = [
            f"{one.table}: {_nights(one.nights)} in {one.months} month{'s' if one.months > 1 else ''}, "
            f"{_size(one.bytes_before)}" + (f" -> {_size(one.bytes_after)}" if one.bytes_after is not None else "")
            for one in self.compacted
        ]
        found += [f"{one.table}: rows of {_nights(one.nights)} let go, {_size(one.bytes)}" for one in self.let_go]
        return [f"{self.model}: {line}" for line in found or ["nothing to do"]]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def maintain_model(
    home: Home, spec: ModelSpec, *, dry_run: bool = False, progress: Progress | None = None
) -> Maintained:
    """Make one file a month of the small files of months that are long over, and let go of rows whose time is up.

    Killed at any point, it leaves what readers and runs go on with; the next maintenance finishes it. Another run of
    the model is waited for. ``dry_run``: only say what would be done.

    Raises:
        UserError: the retention is too short; the object store can't be used.
    """
    tell = progress or _nobody
    settings = load_settings(home.root)
    retention = settings.retention_of(spec)
    with contextlib.ExitStack() as stack:
        if not dry_run:
            stack.enter_context(alone(home, spec.model, lambda: tell("waiting for another run to end")))
        newest = max(home.lake_nights(spec.model, "predictions").all(), default=None)
        if newest is None:
            return Maintained(spec.model, (), ())
        since = {table: newest - length + dt.timedelta(days=1) for table, length in retention.items()}
        begun = storage.begun(home, spec.model)
        compacted, let_go = [], []
        for name, nights in tables(home, spec.model).items():
            tell(f"looking at {name}")
            wanted = folds(nights, newest - settings.compact_after, begun, since.get(name, dt.date.min))
            if lost := sum(len(one.gone) for one in wanted):
                let_go.append(LetGo(name, lost, sum(map(rows_to_let_go, wanted))))
            if found := _compacted(home, name, wanted, dry_run=dry_run):
                compacted.append(found)
        tell("looking at rows")
        let_go += let_go_of_rows(home, spec, since, newest, begun, dry_run=dry_run)
        if not dry_run:
            tell("publishing")
            results.publish(home, [spec])
            storage.commit(home, spec.model)
    return Maintained(spec.model, tuple(compacted), tuple(let_go))


def _compacted(home: Home, table: str, wanted: list[Fold], *, dry_run: bool) -> Compacted | None:
    """Fold months of a table; what became of it, or would."""
    before = _bytes(wanted)
    if not dry_run:
        with results.at_rest(home):
            wanted = [one for one in wanted if fold(one)]
    folded = [one for one in wanted if one.own]
    if not folded:
        return None
    return Compacted(
        table, sum(len(one.own) for one in folded), len(folded), before, None if dry_run else _bytes(wanted)
    )


def maintain_job(wiring: Wiring) -> dg.JobDefinition:
    """The job ``<model>_maintain``: it takes its turn with the model's nights."""

    @dg.op(
        name=f"{wiring.model}_maintain_files",
        description="Compacts files of months that are over; lets go of rows whose time is up.",
        pool=wiring.pool,
    )
    def work(context: dg.OpExecutionContext) -> None:
        try:
            for line in maintain_model(wiring.home, wiring.spec, progress=context.log.info).lines():
                context.log.info(line)
        except UserError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    @dg.job(
        name=f"{wiring.model}_maintain",
        description=f"One file a month of the small files of {wiring.model}, where a month is long over.",
        executor_def=dg.in_process_executor,
        tags={"mlobs/model": wiring.model},
    )
    def job() -> None:
        work()

    return job


def maintain_schedule(wiring: Wiring) -> dg.ScheduleDefinition:
    """Runs the job once a week."""
    return dg.ScheduleDefinition(
        name=f"{wiring.model}_maintain",
        job_name=f"{wiring.model}_maintain",
        cron_schedule=WEEKLY,
        execution_timezone=wiring.spec.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Compacts files of {wiring.model}.",
    )


def _bytes(wanted: Iterable[Fold]) -> int:
    """Size of the files of some months."""
    paths: list[Path] = []
    for one in wanted:
        paths += [one.nights.month_file(one.month), *(one.nights.own(night) for night in one.own)]
    return sum(path.stat().st_size for path in paths if path.exists())


def _nobody(message: str) -> None:
    del message


def _nights(count: int) -> str:
    return f"{count} night{'s' if count > 1 else ''}"


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"
