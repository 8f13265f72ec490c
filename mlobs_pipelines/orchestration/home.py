"""A home's models, each on its own: a broken one is shown with the reason, and the others load."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.alerts import outbox_sensor
from mlobs_pipelines.orchestration.broken import broken_model
from mlobs_pipelines.orchestration.model import build_model
from mlobs_pipelines.orchestration.wiring import one_line
from mlobs_pipelines.spec.errors import SpecError
from mlobs_pipelines.spec.load import load_all
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home


def build_home(home: Home) -> dg.Definitions:
    """Definitions of every model in the home, read from names, specs and footers alone; where the home has an object
    store, it is brought up to date with it first."""
    try:
        storage.refresh(home, rows=True)
    except UserError as error:  # with what is here the rest goes on, and a run says it again
        dg.get_dagster_logger("mlobs").warning(str(error))
    specs, errors = load_all(home.models)
    parts = [_build(home, specs[name]) for name in sorted(specs)]
    parts += [broken_model(name, _problems(errors[name]), _reason(home, name)) for name in sorted(errors)]
    shared = dg.Definitions(executor=dg.in_process_executor, sensors=[outbox_sensor(home)])
    return dg.Definitions.merge(shared, *parts)


def _build(home: Home, spec: ModelSpec) -> dg.Definitions:
    try:
        return build_model(home, spec)
    except Exception as error:  # whatever is wrong with one model, the others load
        reason = one_line(error)
        return broken_model(spec.model, reason, lambda: reason)


def _reason(home: Home, name: str) -> Callable[[], str | None]:
    def now() -> str | None:
        error = load_all(home.models)[1].get(name)
        return _problems(error) if error else None

    return now


def _problems(error: SpecError) -> str:
    return "\n".join(map(str, error.problems))
