"""What every asset, check and job of one monitored model shares."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.orchestration.partitions import partitions
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.addresses import base_url, path_of
from mlobs_pipelines.store.layout import Home

Progress = Callable[[str], None]

LONGEST_LINE = 500

RETRIES = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)

progress: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("progress", default=None)
"""Where a run in this very process tells how far it is; a run in the daemon's hands tells its log."""


@dataclass(frozen=True)
class Wiring:
    """One model in one home, and the names it has in Dagster."""

    home: Home
    spec: ModelSpec
    first: dt.date

    @property
    def model(self) -> str:
        return self.spec.model

    @cached_property
    def partitions(self) -> dg.DailyPartitionsDefinition:
        return partitions(self.first, self.spec)

    @property
    def lock(self) -> str:
        """Key of the resource that holds the model's lock."""
        return f"{self.model}_lock"

    @property
    def pool(self) -> str:
        return f"{self.model}_writer"

    @property
    def job(self) -> str:
        return f"{self.model}_nightly"

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.model, name])

    def spec_of(self, name: str, description: str, deps: Sequence[str] = (), **more: Any) -> dg.AssetSpec:
        """One of the model's assets, with a partition for every night."""
        return dg.AssetSpec(
            self.key(name),
            deps=[self.key(dep) for dep in deps],
            description=description,
            group_name=self.model,
            partitions_def=self.partitions,
            owners=self.owners,
            **more,
        )

    @property
    def owners(self) -> list[str]:
        """The spec's owner where Dagster takes it for one: an e-mail address."""
        owner = self.spec.owner or ""
        return [owner] if owner.count("@") == 1 and not any(c.isspace() for c in owner) else []


def page_of(model: str) -> str:
    """A model's live page: below ``MLOBS_URL``, where `mlobs serve` is reached."""
    return base_url() + path_of(model)


def say(context: dg.AssetExecutionContext) -> Progress:
    """How a step tells how far it is: to whoever runs it in this process, else to the run's log."""
    return progress.get() or context.log.info


@contextlib.contextmanager
def telling(listener: Progress | None) -> Iterator[None]:
    """Send the progress of runs in this process to ``listener``."""
    token = progress.set(listener)
    try:
        yield
    finally:
        progress.reset(token)


def one_line(error: BaseException | str) -> str:
    """An error's first cause as one line for a person."""
    if isinstance(error, BaseException):
        while isinstance(error, dg.DagsterError) and error.__cause__:
            error = error.__cause__
        known = isinstance(error, (UserError, dg.Failure))
        text = (error.description if isinstance(error, dg.Failure) else str(error)) or ""
        error = text if known else f"{type(error).__name__}: {text}"
    return " ".join(error.split())[:LONGEST_LINE]
