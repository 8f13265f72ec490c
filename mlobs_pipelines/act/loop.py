"""Everything that is due of one model's loop, in order: what jobs, ``mlobs act`` and the demo call.

Each stage looks at the log and at the registry, does what is due, and says so in the log; so it can be interrupted
anywhere and started again, by whomever. A stage that another process is at is left to it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator

from mlobs_pipelines.act import promote as promotion
from mlobs_pipelines.act import validate as validation
from mlobs_pipelines.act.ledger import Ledger, Row
from mlobs_pipelines.act.retrain import RetrainError, retrain
from mlobs_pipelines.act.rows import newest_night
from mlobs_pipelines.registry import Registry
from mlobs_pipelines.registry.versions import CHAMPION
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import results, storage
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive

MOST_ROUNDS = 10

Stage = Callable[[Home, ModelSpec, dt.date], list[str]]


def advance(home: Home, spec: ModelSpec, *, as_of: dt.date | None = None, until_quiet: bool = True) -> list[str]:
    """Do all that is due of a model's decisions: promote, roll back, retrain, compare, promote what was approved by rule.

    Args:
        home: the installation.
        spec: the model.
        as_of: the night whose knowledge is used; default: the newest that was measured.
        until_quiet: go on until nothing is left to do; else one round.

    Returns:
        A line for each thing that was done.

    Raises:
        RegistryError: MLflow does not answer. Nothing is lost: call it again later.
    """
    night = as_of or newest_night(home, spec.model)
    if night is None:
        return []
    done: list[str] = []
    try:
        for _ in range(MOST_ROUNDS if until_quiet else 1):
            found = [line for stage in STAGES.values() for line in stage(home, spec, night)]
            done += found
            if not found:
                break
    finally:
        if done:
            _publish(home, spec)
    return done


def do(home: Home, spec: ModelSpec, stage: str) -> list[str]:
    """Do what is due of one stage (a key of ``STAGES``), and publish; gives a line for each thing that was done.

    Raises:
        RegistryError: MLflow does not answer.
    """
    night = newest_night(home, spec.model)
    if night is None:
        return []
    done = STAGES[stage](home, spec, night)
    if done:
        _publish(home, spec)
    return done


def _publish(home: Home, spec: ModelSpec) -> None:
    results.publish(home, [spec])
    storage.commit(home, spec.model)


def due(home: Home, spec: ModelSpec, stage: str) -> list[Row]:
    """Decisions in the log that a stage has to carry out; reads the log alone."""
    return Ledger(home, spec.model).current(*ACTIONS[stage], status=("approved", "running"))


def _promote(home: Home, spec: ModelSpec, night: dt.date) -> list[str]:
    del night
    ledger, registry = Ledger(home, spec.model), Registry.open(home, spec)
    if registry.uri is None:
        return []
    with _mine(home, spec, "promote") as free:
        if not free:
            return []
        champion = registry.aliases().get(CHAMPION)
        found = promotion.heed_tags(ledger, registry, registry.versions(), champion)
        for row in due(home, spec, "promote"):
            deed = promotion.promote if row["action"] == "promote" else promotion.roll_back
            found.append(deed(home, spec, registry, row))
        if ledger.current("promote", status="pending"):
            found += promotion.void(ledger, registry.aliases().get(CHAMPION))
    return [_line(row) for row in found]


def _retrain(home: Home, spec: ModelSpec, night: dt.date) -> list[str]:
    found: list[str] = []
    with _mine(home, spec, "retrain") as free:
        for row in due(home, spec, "retrain") if free else []:
            try:
                version = retrain(home, spec, row, night)
                found.append(f"{row['decision_id']}: version {version} is registered as challenger")
            except RetrainError as error:
                found.append(f"{row['decision_id']}: failed: {error}")
    return found


def _validate(home: Home, spec: ModelSpec, night: dt.date) -> list[str]:
    ledger, registry = Ledger(home, spec.model), Registry.open(home, spec)
    if registry.uri is None or spec.labels is None:
        return []
    found: list[Row] = []
    with _mine(home, spec, "validate") as free:
        if not free:
            return []
        aliases = registry.aliases()
        for version in validation.candidates(ledger, registry.versions(), aliases):
            row = validation.validate(home, spec, registry, version, aliases[CHAMPION], night)
            if row["status"] in ("done", "failed"):
                found.append(row)
        seen = validation.watch(home, spec, aliases, night)
        if seen is not None:
            found.append(seen)
    return [_line(row) for row in found]


STAGES: dict[str, Stage] = {"promote": _promote, "retrain": _retrain, "validate": _validate}
"""What is done in a round, in this order."""

ACTIONS = {"promote": ("promote", "roll_back"), "retrain": ("retrain",), "validate": ("validate",)}
"""Stage -> actions of the log that it carries out."""


@contextlib.contextmanager
def _mine(home: Home, spec: ModelSpec, stage: str) -> Iterator[bool]:
    """Whether this process alone, of all machines, is at a stage of the model's loop, for as long as the block lasts."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(home.lock_file(f"{spec.model}.{stage}"), timeout=0.0))
        except TimeoutError:
            yield False
            return
        yield stack.enter_context(storage.stage(home, f"{spec.model}.{stage}"))


def _line(row: Row) -> str:
    return f"{row['decision_id']}: {row['status']}: {row['reason']}"
