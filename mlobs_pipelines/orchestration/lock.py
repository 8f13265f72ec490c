"""One run of a model at a time, whoever started it: Dagster's daemon, a person, cron."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dagster as dg

from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive


def model_lock(home: Home, model: str) -> dg.ResourceDefinition:
    """A resource that holds the model's lock from a run's first step to its last.

    Dagster's pool queues the runs that its daemon starts; the lock also covers runs that were started elsewhere.
    """

    @dg.resource(description=f"Held while a run works on {model}.")
    @contextlib.contextmanager
    def held(context: dg.InitResourceContext) -> Iterator[None]:
        def waiting() -> None:
            if context.log:
                context.log.info(f"waiting for another run of {model} to end")

        with exclusive(home.lock_file(model), waiting=waiting):
            yield

    return held
