"""Where MLflow is, how long it is waited for, and what is said when it does not answer."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

PATIENCE = 5
"""Seconds that a question to MLflow may take; its own default is two minutes, and seven tries."""

UPLOAD_PATIENCE = 60
"""Seconds for a request that carries a model."""

_QUIET = {
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_TALKERS = ("mlflow", "alembic", "urllib3.connectionpool")

_turn = threading.RLock()


class RegistryError(UserError):
    """MLflow did not answer, or what it has can't be used."""


class ModelError(RegistryError):
    """A version is no model that can be used here: asking again gives the same answer."""


def tracking_uri(home: Home, spec: ModelSpec) -> str | None:
    """Where MLflow is: the spec's word, else the environment's, else the home's own store if there is one."""
    given = spec.registry.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or (own_store(home) if (home.root / "mlflow.db").exists() else None)


def own_store(home: Home) -> str:
    """URI of the home's own store, whether or not it exists yet."""
    return f"sqlite:///{home.root / 'mlflow.db'}"


def shown(uri: str) -> str:
    """A URI as it may be printed: without user and password."""
    return _CREDENTIALS.sub("", uri)


@contextlib.contextmanager
def patience(seconds: int = PATIENCE, retries: int = 1) -> Iterator[None]:
    """Bound MLflow's requests within the block, and keep its chatter off the screen.

    MLflow reads its limits from the environment at every request; they are put back as they were. A limit that the
    environment sets already is the owner's and stays. One block at a time in a process: the environment is shared.
    """
    limits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": seconds, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries}
    with _turn:
        added = {name: str(value) for name, value in (limits | _QUIET).items() if name not in os.environ}
        levels = {name: logging.getLogger(name).level for name in _TALKERS}
        os.environ.update(added)
        for name in _TALKERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def asking(uri: str, seconds: int = PATIENCE, retries: int = 1) -> Iterator[None]:
    """A block that talks to MLflow: bounded, and with one line for whatever goes wrong.

    Raises:
        RegistryError: MLflow did not answer in time, or refused.
    """
    try:
        with patience(seconds, retries):
            yield
    except RegistryError:
        raise
    except Exception as error:  # MLflow lets the errors of requests, SQLAlchemy and the operating system through
        line = _CREDENTIALS.sub("", " ".join(str(error).split()))[:200]
        raise RegistryError(
            f"MLflow at {shown(uri)} does not answer ({type(error).__name__}: {line}); it is asked again later"
        ) from error


def missing(error: Exception) -> bool:
    """Whether MLflow says that what was asked for does not exist."""
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"
