# No `from __future__ import annotations` here: Dagster reads the types of an op's arguments, not their names.
"""The loop in Dagster: a job for each thing that is done about a model, and a sensor that notices when it is due.

Sensors read the log and, where a look can matter, ask the registry for aliases, versions and tags, for seconds at most.
The home's own store is asked only when its file changed. Nothing of this holds up a night.
"""

import datetime as dt
import itertools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg

from mlobs_pipelines.act import loop
from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.act.promote import APPROVE, REJECT
from mlobs_pipelines.act.rows import newest_night
from mlobs_pipelines.act.validate import candidates, validation_id, watch_id, watched
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.wiring import Wiring
from mlobs_pipelines.registry import Registry, RegistryError
from mlobs_pipelines.registry.versions import CHAMPION

WATCH_SECONDS = 30
MOST_TRIES = 20

DUE_TAG = "mlobs/due"
"""Tag of a run: what was due when it was started."""

JOBS: Mapping[str, tuple[str, str]] = {
    "retrain": ("retrain", "Trains a challenger where a decision to do so was approved."),
    "validate_candidate": ("validate", "Compares new versions with the champion on the same matured rows."),
    "promote": ("promote", "Moves the alias champion where a promotion or a roll-back was approved."),
}
"""Name of a job, after the model's -> stage of the loop, and what it does."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def loop_jobs(wiring: Wiring) -> list[dg.JobDefinition]:
    """The jobs ``<model>_retrain``, ``<model>_validate_candidate`` and ``<model>_promote``."""
    return [_job(wiring, name) for name in JOBS]


def loop_sensors(wiring: Wiring) -> list[dg.SensorDefinition]:
    """A sensor of the same name for each of the jobs."""
    return [_sensor(wiring, name) for name in JOBS]


def _job(wiring: Wiring, name: str) -> dg.JobDefinition:
    stage, description = JOBS[name]

    @dg.op(name=f"{wiring.model}_{name}_stage", description=description, pool=f"{wiring.model}_{stage}")
    def work(context: dg.OpExecutionContext) -> None:
        try:
            for line in loop.do(wiring.home, wiring.spec, stage):
                context.log.info(line)
        except UserError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    @dg.job(
        name=f"{wiring.model}_{name}",
        description=description,
        executor_def=dg.in_process_executor,
        tags={"mlobs/model": wiring.model},
    )
    def job() -> None:
        work()

    return job


def _sensor(wiring: Wiring, name: str) -> dg.SensorDefinition:
    job_name = f"{wiring.model}_{name}"
    look = {"retrain": _trainings, "validate_candidate": _candidates, "promote": _promotions}[name]

    @dg.sensor(
        name=job_name,
        job_name=job_name,
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts {job_name} when something is due.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        seen = _seen(wiring, name)
        if seen is not None and context.cursor == seen:
            return dg.SkipReason("nothing changed since the last look")
        try:
            keys = list(look(wiring))
        except RegistryError as error:
            return dg.SkipReason(str(error))
        if not keys:
            return dg.SensorResult(run_requests=[], cursor=seen)
        # Only now is Dagster's own storage asked: opening it takes longer than all else of a tick.
        filters = dg.RunsFilter(job_name=job_name, statuses=UNFINISHED)
        if context.instance.get_runs(filters, limit=1):
            return dg.SkipReason(f"{job_name} is at it")
        # What is due is looked at again until it is done; a used run_key starts nothing.
        due = f"{job_name}:{'|'.join(keys)}"
        failed = _failed_tries(context.instance, job_name, due)
        if failed and time.time() < (failed[0].end_time or 0.0) + _pause(len(failed)):
            return dg.SensorResult(skip_reason=f"the last of {len(failed)} tries failed; waits", cursor="due")
        run_key = f"{due}~{failed[0].dagster_run.run_id}" if failed else due
        request = dg.RunRequest(run_key=run_key, tags={DUE_TAG: due})
        return dg.SensorResult(run_requests=[request], cursor="due")

    return sensor


def _failed_tries(instance: dg.DagsterInstance, job_name: str, due: str) -> list[dg.RunRecord]:
    """Runs for the same as is due now that failed since one last ended well, newest first.

    A run that MLflow's death took before it could write to the log left it as it was: what is due has the same key.
    """
    newest = instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=MOST_TRIES)
    same = [run for run in newest if run.dagster_run.tags.get(DUE_TAG) == due]
    return list(itertools.takewhile(lambda run: run.dagster_run.status is dg.DagsterRunStatus.FAILURE, same))


def _pause(tries: int) -> float:
    """Seconds to wait after so many failed tries in a row: twice as long each time, up to ten minutes."""
    return min(WATCH_SECONDS * 2.0 ** (tries - 1), 600.0)


def _trainings(wiring: Wiring) -> Iterator[str]:
    for row in loop.due(wiring.home, wiring.spec, "retrain"):
        yield f"{row['decision_id']}#{row['seq']}@{_hour()}"


def _candidates(wiring: Wiring) -> Iterator[str]:
    """A version that waits for labels is looked at again after each night."""
    night = newest_night(wiring.home, wiring.model)
    registry, ledger = Registry.open(wiring.home, wiring.spec), Ledger(wiring.home, wiring.model)
    if night is None or registry.uri is None or wiring.spec.labels is None:
        return
    aliases = registry.aliases()
    if CHAMPION not in aliases:
        return
    for version in candidates(ledger, registry.versions(), aliases):
        decision_id = validation_id(wiring.model, version.version, aliases[CHAMPION])
        known = ledger.find(decision_id)
        yield f"{decision_id}#{known['seq'] if known else ''}@{night}"
    made = watched(ledger, aliases)
    if made is not None:
        yield f"{watch_id(wiring.model, made)}@{night}"


def _promotions(wiring: Wiring) -> Iterator[str]:
    for row in loop.due(wiring.home, wiring.spec, "promote"):
        yield f"{row['decision_id']}#{row['seq']}@{_hour()}"
    ledger, registry = Ledger(wiring.home, wiring.model), Registry.open(wiring.home, wiring.spec)
    pending = ledger.current("promote", status="pending")
    if not pending or registry.uri is None:
        return
    champion = registry.aliases().get(CHAMPION)
    for row in pending:
        version = registry.version(row["version"])
        said = [tag for tag in (APPROVE, REJECT) if version is not None and tag in version.tags]
        stale = ledger.evidence(row["decision_id"]).get("from") != champion
        if said or stale:
            yield f"{row['decision_id']}#{row['seq']}{''.join(said)}@{champion}@{_hour()}"


def _seen(wiring: Wiring, name: str) -> str | None:
    """What a look depends on, where that is all in files: the log, the newest night, the home's own store."""
    registry = Registry.open(wiring.home, wiring.spec)
    own = wiring.home.root / "mlflow.db"
    if name != "retrain" and registry.uri is not None and str(own) not in registry.uri:
        return None
    files = [wiring.home.log / "decisions.jsonl", own, own.with_name("mlflow.db-wal")]
    return f"{newest_night(wiring.home, wiring.model)} {[_stat(file) for file in files]}"


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _hour() -> str:
    """At most one new try an hour for what was begun and left no word in the log."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H")
