"""Maintenance of a model's files: a command, and a weekly job. What is stored says the same after it as before."""

# No `from __future__ import annotations` here: Dagster reads the types of an op's arguments, not their names.

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.lock import alone
from mlobs_pipelines.orchestration.wiring import Progress, Wiring
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.spec.settings import load_settings
from mlobs_pipelines.store import results, storage
from mlobs_pipelines.store.compaction import Fold, fold, folds, tables
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

    def lines(self) -> list[str]:
        """For a person."""
        if not self.compacted:
            return [f"{self.model}: nothing to do"]
        return [
            f"{self.model}: {done.table}: {done.nights} nights in {done.months} month{'s' if done.months > 1 else ''}, "
            f"{_size(done.bytes_before)}" + (f" -> {_size(done.bytes_after)}" if done.bytes_after is not None else "")
            for done in self.compacted
        ]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def maintain_model(
    home: Home, spec: ModelSpec, *, dry_run: bool = False, progress: Progress | None = None
) -> Maintained:
    """Make one file a month of the small files of months that are long over; ``dry_run``: only say of which.

    Killed at any point, it leaves what readers and runs go on with; the next maintenance finishes it. Another run of
    the model is waited for.

    Raises:
        UserError: the object store can't be used.
    """
    if dry_run:
        return Maintained(spec.model, tuple(_planned(home, spec)))
    with alone(home, spec.model, waiting=progress and (lambda: progress("waiting for another run to end"))):
        done = []
        for name, wanted in _wanted(home, spec):
            if progress:
                progress(f"compacting {name}")
            before = _bytes(wanted)
            with results.at_rest(home):
                folded = [one for one in wanted if fold(one)]
            if folded:
                nights = sum(len(one.own) for one in folded)
                done.append(Compacted(name, nights, len(folded), before, _bytes(wanted)))
        results.publish(home, [spec])
        storage.commit(home, spec.model)
    return Maintained(spec.model, tuple(done))


def maintain_job(wiring: Wiring) -> dg.JobDefinition:
    """The job ``<model>_maintain``: it takes its turn with the model's nights."""

    @dg.op(
        name=f"{wiring.model}_maintain_files", description="Compacts files of months that are over.", pool=wiring.pool
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


def _wanted(home: Home, spec: ModelSpec) -> Iterable[tuple[str, list[Fold]]]:
    """The months to fold, by table."""
    taken = home.lake_nights(spec.model, "predictions").all()
    if not taken:
        return
    before = taken[-1] - load_settings(home.root).compact_after
    begun = storage.begun(home, spec.model)
    for name, nights in tables(home, spec.model).items():
        if wanted := folds(nights, before, begun):
            yield name, wanted


def _planned(home: Home, spec: ModelSpec) -> Iterable[Compacted]:
    for name, wanted in _wanted(home, spec):
        yield Compacted(name, sum(len(one.own) for one in wanted), len(wanted), _bytes(wanted), None)


def _bytes(wanted: Iterable[Fold]) -> int:
    """Size of the files of some months."""
    paths: list[Path] = []
    for one in wanted:
        paths += [one.nights.month_file(one.month), *(one.nights.own(night) for night in one.own)]
    return sum(path.stat().st_size for path in paths if path.exists())


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"
