"""The steps of a night, in order: each reads what earlier ones wrote and publishes whole files.

Every step is idempotent, so a run that was killed after any of them is simply run again. Dagster's assets call
these functions; nothing here knows of Dagster.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from mlobs_pipelines.act.decide import decide as decide_night
from mlobs_pipelines.engine import dbt
from mlobs_pipelines.engine.threads import ahead
from mlobs_pipelines.ingest.night import IntakeReport, ingest_nights
from mlobs_pipelines.join import night as label_join
from mlobs_pipelines.judge.night import judge_night
from mlobs_pipelines.measure.night import measure_nights
from mlobs_pipelines.orchestration import behind
from mlobs_pipelines.orchestration.memory import give_back
from mlobs_pipelines.orchestration.pace import Pace
from mlobs_pipelines.orchestration.past import Past
from mlobs_pipelines.orchestration.profiles import Inputs, ProfileReader
from mlobs_pipelines.orchestration.unfinished import Unfinished, end
from mlobs_pipelines.profile import kernels
from mlobs_pipelines.profile.freezing import freeze_given
from mlobs_pipelines.profile.night import profile_nights, together
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import results, storage
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

Progress = Callable[[str], None]

TOGETHER = 7
"""Nights of a long run that are measured together: memory is bounded by them, not by the run. Fourteen took no less time."""

JUDGED = ("metrics", "signals", "causes", "incidents")
"""Tables that a night's judgement writes; the last one is what the next night builds on."""


def ingest(home: Home, spec: ModelSpec, nights: Sequence[dt.date], progress: Progress | None = None) -> IntakeReport:
    """Accept what arrived on the nights into the lake; quarantine what can't be accepted."""
    dbt.start(home)  # the join that follows finds it ready
    storage.begin(home, spec.model, nights)
    behind.mark(home, spec.model, nights)
    return ingest_nights(home, spec, list(nights), progress=progress)


def join(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> None:
    """Join labels to predictions in dbt and publish the nights' label facts in the lake."""
    left = to_join(home, spec, nights)
    with freezing(home, spec):
        label_join.build(label_join.prepare(home, spec, left))
    publish_facts(home, spec, nights, left)


def to_join(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> list[dt.date]:
    """The nights to ask of dbt; where an interrupted run has joined them all, the last, for dbt's tests to be asked."""
    kernels.start()  # the profile that follows finds them ready
    affected = behind.affected(home, spec.model, nights)
    storage.begin(home, spec.model, affected)
    return _unfinished(home, spec, nights).left("join", affected) or affected[-1:]


@contextlib.contextmanager
def freezing(home: Home, spec: ModelSpec) -> Iterator[None]:
    """Freeze what a model's profiles need of a reference that its file names, while the block waits for dbt.

    What fails here fails again in the profile's step, which tells of it.
    """
    if spec.reference is None:
        yield
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(freeze_given, home, spec)
        yield


def publish_facts(home: Home, spec: ModelSpec, nights: Sequence[dt.date], joined: Sequence[dt.date]) -> None:
    """Publish in the lake the label facts of those nights of a run that dbt has joined."""
    label_join.export(home, spec, joined)
    _unfinished(home, spec, nights).note("join", joined)


def profile(home: Home, spec: ModelSpec, nights: Sequence[dt.date], progress: Progress | None = None) -> None:
    """Count the nights' predictions and label facts into additive profiles."""
    affected = behind.affected(home, spec.model, nights)
    storage.begin(home, spec.model, affected)
    unfinished = _unfinished(home, spec, nights)
    left = unfinished.left("profile", affected)
    pace = Pace("profiled", len(left), progress)
    for chunk in together(home, spec, left):
        profile_nights(home, spec, chunk)
        unfinished.note("profile", chunk)
        pace.tell(len(chunk))
        give_back()


def measure(
    home: Home, spec: ModelSpec, nights: Sequence[dt.date], run_id: str, progress: Progress | None = None
) -> dict[dt.date, int]:
    """Measure each night from profiles alone, and judge it; gives the number of metrics each night wrote."""
    affected = behind.affected(home, spec.model, nights)
    unfinished = _unfinished(home, spec, nights)
    left = unfinished.left("measure", affected)
    pace = Pace("measured", len(left), progress)
    past, profiles = Past(home, spec), ProfileReader(home, spec)
    written = {}
    for chunk in _chunks(left, TOGETHER):
        for night, measured in ahead(_measured(spec, profiles.load(chunk), chunk, run_id)):
            before, open_ = past.signals(night), past.incidents(night)
            found = judge_night(measured, before, open_, spec, night, past.profile_of(night))
            for table in JUDGED:
                with published(home.store_file(table, spec.model, night)) as draft:
                    getattr(found, table).write_parquet(draft, compression="zstd")
            written[night] = measured.height
            unfinished.note("measure", [night])
            pace.tell(1)
        give_back()
    behind.clear(home, spec.model)
    storage.end(home, spec.model, affected)
    end(home, spec.model)
    return written


def _measured(
    spec: ModelSpec, inputs: Inputs, nights: Sequence[dt.date], run_id: str
) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """Each night's metrics in turn; nobody holds the profiles any more once they are encoded."""
    return measure_nights(inputs.profiles, spec, inputs.schema, inputs.bins, nights, run_id)


def decide(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> list[str]:
    """Write down what follows from the nights' incidents, night by night; gives the ids of the decisions."""
    return [decision for night in sorted(nights) for decision in decide_night(home, spec, night)]


def publish(home: Home, specs: Sequence[ModelSpec]) -> None:
    """Bring the snapshot for readers, ``results.duckdb``, up to date; then let the nights count at the object store."""
    results.publish(home, list(specs))
    for spec in specs:
        storage.commit(home, spec.model)


def run_nights(
    home: Home, spec: ModelSpec, nights: Sequence[dt.date], *, run_id: str = "", progress: Progress | None = None
) -> None:
    """The whole night without Dagster: from delivered files to the snapshot. The caller holds the model's lock."""
    ingest(home, spec, nights, progress)
    derive(home, spec, nights, run_id=run_id, progress=progress)


def derive(
    home: Home, spec: ModelSpec, nights: Sequence[dt.date], *, run_id: str = "", progress: Progress | None = None
) -> None:
    """All that follows from the lake's accepted rows: what `mlobs rebuild` makes again."""
    if progress:
        progress("joining labels")
    join(home, spec, nights)
    profile(home, spec, nights, progress)
    measure(home, spec, nights, run_id, progress)
    if progress:
        progress("publishing")
    publish(home, [spec])


def _unfinished(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> Unfinished:
    """What an interrupted run of these nights has done; of few nights nothing is noted, for they are soon done again."""
    return Unfinished.of(home, spec, nights, noting=len(nights) > TOGETHER)


def _chunks(nights: Sequence[dt.date], most: int) -> Iterator[Sequence[dt.date]]:
    for first in range(0, len(nights), most):
        yield nights[first : first + most]
