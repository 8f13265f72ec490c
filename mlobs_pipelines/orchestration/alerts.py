"""Alerts in Dagster: a night's run tells what is new, and a sensor sends what is still on its way, without a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from mlobs_pipelines.act.alerts import outbox
from mlobs_pipelines.act.alerts.channels import channels
from mlobs_pipelines.act.alerts.notify import notify
from mlobs_pipelines.act.alerts.send import deliver
from mlobs_pipelines.act.rows import newest_night
from mlobs_pipelines.orchestration.wiring import one_line
from mlobs_pipelines.spec.load import load_all
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

EVERY_SECONDS = 30


def tell(home: Home, spec: ModelSpec, night: dt.date, *, now: dt.datetime) -> list[str]:
    """Tell the model's channels what is new on a judged and published night; one line for each thing worth noting.

    It never fails and never takes long: the night is done, and what a channel does not take now waits in the outbox.
    """
    if not spec.alerts:
        return []
    notes = channels(spec)[1]
    try:
        put = notify(home, spec, night, now=now)
        if put:
            summary = deliver(home, now=now, specs=[spec])
            notes += [f"alerts: {summary.sentence()}", *summary.problems]
    except Exception as error:  # whatever it is, the night's numbers stand
        notes.append(f"alerts of {spec.model} are not told: {one_line(error)}")
    return notes


def outbox_sensor(home: Home, specs: Sequence[ModelSpec] = (), *, name: str = "alerts_outbox") -> dg.SensorDefinition:
    """Sends what is due in the home's outbox, and tells channels what people said of incidents since the last tick.

    While nothing was said and nothing waits, a tick looks at one file's stamp and one folder's names.

    Args:
        home: the installation.
        specs: models that have no file in the home, such as components.
        name: the sensor's name.
    """

    @dg.sensor(
        name=name,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends messages about incidents that are on their way, again after a failure.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now, said = dt.datetime.now(dt.UTC), _stamp(home)
        heard = context.cursor == said
        if not heard:
            for spec in [*load_all(home.models)[0].values(), *specs]:
                night = newest_night(home, spec.model)
                for line in tell(home, spec, night, now=now) if night else []:
                    context.log.warning(line)
        if outbox.anything(home):
            summary = deliver(home, now=now, specs=specs)
            for problem in summary.problems:
                context.log.warning(problem)
            return dg.SensorResult(skip_reason=summary.sentence(), cursor=said)
        return (
            dg.SkipReason("nothing to send") if heard else dg.SensorResult(skip_reason="nothing to send", cursor=said)
        )

    return sensor


def _stamp(home: Home) -> str:
    """What tells that nobody said anything new."""
    try:
        found = (home.log / "decisions.jsonl").stat()
    except OSError:
        return "-"
    return f"{found.st_size} {found.st_mtime_ns}"
