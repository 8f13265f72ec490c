"""One run of a model at a time, whoever started it: Dagster's daemon, a person, cron."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import dagster as dg

from mlobs_pipelines.store import storage
from mlobs_pipelines.store.files import sweep_drafts
from mlobs_pipelines.store.layout import STORE_TABLES, Home
from mlobs_pipelines.store.lock import exclusive


@contextlib.contextmanager
def alone(home: Home, model: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the model's lock, and sweep what a killed run of the model left; ``waiting`` tells of another run.

    Where the home has an object store, it is the model's turn there, too, and the home is up to date with it.

    Raises:
        StorageError: the object store can't be used.
    """
    with exclusive(home.lock_file(model), waiting=waiting):
        folders = [home.lake(model), home.root / "quarantine" / model]
        for folder in [*folders, *(home.store_folder(table, model) for table in STORE_TABLES)]:
            sweep_drafts(folder)
        for folder in (home.warehouse, home.root / "store" / "models"):
            for draft in folder.glob(f".{model}.*.draft"):  # a model's name holds no dot
                draft.unlink(missing_ok=True)
        with storage.turn(home, model, waiting and (lambda _holder: waiting())):
            yield


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

        with alone(home, model, waiting):
            yield

    return held
