"""The nightly job in this very process, and rebuilding: what `mlobs run` and `mlobs rebuild` do."""

from __future__ import annotations

import datetime as dt
import os
import re
import time
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration import evidence
from mlobs_pipelines.orchestration.due import last_complete_day, nights_between
from mlobs_pipelines.orchestration.lock import alone
from mlobs_pipelines.orchestration.model import build_model
from mlobs_pipelines.orchestration.partitions import first_night, partition_tags
from mlobs_pipelines.orchestration.unrecorded import unrecorded_instance
from mlobs_pipelines.orchestration.wiring import Progress, Wiring, one_line, telling
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

_OURS = re.compile(r"^mlobs_pipelines\.[\w.]+: ")
"""How Dagster begins the text of an error of ours."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunResult:
    """What a run of some nights did."""

    model: str
    first: dt.date
    last: dt.date
    nights: int
    run_id: str
    predictions: int
    labels: int
    refused: int
    metrics: int
    seconds: float
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """One line for a person."""
        span = f"{self.first}" if self.nights == 1 else f"{self.nights} nights, {self.first} to {self.last}"
        counts = f"{self.predictions:,} predictions, {self.labels:,} labels"
        refused = f", {self.refused:,} refused" if self.refused else ""
        return f"{self.model}: {span}: {counts}{refused}; {self.metrics:,} metrics in {self.seconds:.1f} s"

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def run_model(home: Home, spec: ModelSpec, nights: Sequence[dt.date], progress: Progress | None = None) -> RunResult:
    """Run the job ``<model>_nightly`` for consecutive nights, in one go and in this process.

    It is recorded in the Dagster instance at ``DAGSTER_HOME``, where that is set. Another run of the same model is
    waited for.

    Raises:
        UserError: the run failed, or a night is not over yet.
        KeyboardInterrupt: somebody interrupted it; the same run goes on where it was.
    """
    started = time.monotonic()
    wanted = sorted(set(nights))
    if not wanted or wanted != nights_between(wanted[0], wanted[-1]):
        raise UserError("give consecutive nights")
    over = last_complete_day(spec, dt.datetime.now(dt.UTC))
    if wanted[-1] > over:
        raise UserError(f"{wanted[-1]} is not over yet in {spec.timezone}; the last complete night is {over}")
    with warnings.catch_warnings(), telling(progress or _nobody), _instance() as instance:
        warnings.simplefilter("ignore")
        first = min(first_night(home, spec), wanted[0])
        job = build_model(home, spec, first=first).resolve_job_def(Wiring(home, spec, first).job)
        result = job.execute_in_process(
            instance=instance,
            run_config=QUIET,
            raise_on_error=False,
            partition_key=wanted[0].isoformat() if len(wanted) == 1 else None,
            tags=partition_tags(wanted) if len(wanted) > 1 else None,
        )
    if not result.success:
        if _interrupted(result.all_events):
            raise KeyboardInterrupt
        raise _failure(spec.model, result.all_events)
    counts = evidence.intake(home, spec.model, wanted)

    def total(source: str) -> evidence.Intake:
        return sum((row for (_, of), row in counts.items() if of == source), evidence.Intake())

    predictions, labels = total("predictions"), total("labels")
    return RunResult(
        model=spec.model,
        first=wanted[0],
        last=wanted[-1],
        nights=len(wanted),
        run_id=result.run_id,
        predictions=predictions.accepted,
        labels=labels.accepted,
        refused=predictions.quarantined + labels.quarantined,
        metrics=sum(evidence.store_counts(home, spec.model, "metrics", wanted).values()),
        seconds=round(time.monotonic() - started, 1),
        notes=_notes(result.all_events),
    )


def _nobody(message: str) -> None:
    del message


def _instance() -> dg.DagsterInstance:
    if not os.environ.get("DAGSTER_HOME"):
        return unrecorded_instance()
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise UserError(f"DAGSTER_HOME can't be used: {one_line(error)}") from error


def _interrupted(events: Sequence[dg.DagsterEvent]) -> bool:
    for event in events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error:
            if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
                return True
            error = error.cause
    return False


def _failure(model: str, events: Sequence[dg.DagsterEvent]) -> UserError:
    """The first failed step's reason as one line; the traceback is a note, for those who ask for it."""
    checks = (
        e.asset_check_evaluation_data for e in events if e.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    )
    broken = [c for c in checks if not c.passed and c.blocking and c.severity == dg.AssetCheckSeverity.ERROR]
    if broken:
        return UserError(f"{model}: broken data: {'; '.join(one_line(c.description or c.check_name) for c in broken)}")
    for event in events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        cause = data.error and (data.error.cause or data.error)
        error = UserError(f"{model}: {one_line(said or (cause.message if cause else event.message or 'it failed'))}")
        if data.error:
            error.add_note(data.error.to_string())
        return error
    failed = next((event for event in events if event.is_job_failure), None)
    if failed is None:
        return UserError(f"{model}: it failed")
    first = failed.job_failure_data.error  # before any step: the model's lock, or its turn at the object store
    while first and first.cause:
        first = first.cause
    said = _OURS.sub("", first.message) if first else failed.message
    return UserError(f"{model}: {one_line(said or 'it failed')}")


def _notes(events: Sequence[dg.DagsterEvent]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for event in events:
        if event.is_step_materialization:
            notes = event.step_materialization_data.materialization.metadata.get("notes")
            if isinstance(notes, dg.JsonMetadataValue) and isinstance(notes.data, list):
                found.update(dict.fromkeys(map(str, notes.data)))
    return tuple(found)


def rebuild_model(home: Home, spec: ModelSpec, progress: Progress | None = None) -> tuple[list[dt.date], list[dt.date]]:
    """Make everything that follows from the lake's accepted rows again, without Dagster.

    Returns:
        The nights; those of them that were counted with rows that were let go of since: their profiles stay as they were.

    Raises:
        UserError: nothing of the model was ever taken in, or a step failed.
    """
    from mlobs_pipelines.engine.duckdb import DuckDBEngine
    from mlobs_pipelines.orchestration import steps, unfinished
    from mlobs_pipelines.profile.night import counted_for_good

    tell = progress or _nobody
    taken = home.lake_nights(spec.model, "predictions").all()
    if not taken:
        raise UserError(f"nothing of {spec.model} is in the lake yet; run it with: mlobs run {spec.model}")
    with alone(home, spec.model, waiting=lambda: tell("waiting for another run to end")):
        home.warehouse_file(spec.model).unlink(missing_ok=True)
        unfinished.end(home, spec.model)  # everything is made again, also what an interrupted run has done
        steps.derive(home, spec, taken, run_id=f"rebuild-{uuid.uuid4()}", progress=tell)
        with DuckDBEngine() as engine:
            left = counted_for_good(engine, home, spec.model, taken)
    return taken, left
