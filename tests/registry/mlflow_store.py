"""An MLflow store with versions in it, made once for all workers and copied: a fresh one takes seconds."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from tests.ports import free_port


@cache
def _empty_store() -> Path:
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    place = Path(tempfile.gettempdir()) / f"mlflow-store-{session}"
    if not place.exists():
        draft = Path(tempfile.mkdtemp(prefix="mlflow-store-"))
        client_of(f"sqlite:///{draft / 'mlflow.db'}").search_experiments()
        with contextlib.suppress(OSError):  # another worker was faster
            draft.rename(place)
    return place / "mlflow.db"


def give_store(home: Home) -> str:
    """Put an empty MLflow store into a home; gives its URI."""
    home.root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_empty_store(), home.root / "mlflow.db")
    return f"sqlite:///{home.root / 'mlflow.db'}"


def client_of(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def register(
    uri: str,
    name: str,
    model: Any,
    example: pd.DataFrame | None = None,
    *,
    artifacts: Path | None = None,
    tags: Mapping[str, str] | None = None,
    flavor: str = "sklearn",
) -> str:
    """Register a fitted model as a new version, as a person would by hand; gives the version."""
    import importlib

    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    client = client_of(uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        place = artifacts.as_uri() if artifacts else None
        experiment = client.get_experiment(client.create_experiment(name, artifact_location=place))
    with contextlib.suppress(MlflowException):  # it is there
        client.create_registered_model(name)
    run = client.create_run(experiment.experiment_id)
    signature = None if example is None else infer_signature(example, np.zeros(len(example)))
    more = (
        {"sk_model": model, "serialization_format": "cloudpickle"} if flavor == "sklearn" else {"python_model": model}
    )
    with tempfile.TemporaryDirectory() as folder:
        importlib.import_module(f"mlflow.{flavor}").save_model(
            path=f"{folder}/model", signature=signature, pip_requirements=["scikit-learn"], **more
        )
        client.log_artifacts(run.info.run_id, f"{folder}/model", "model")
    client.set_terminated(run.info.run_id)
    source = f"runs:/{run.info.run_id}/model"
    return str(client.create_model_version(name, source, run.info.run_id, tags=dict(tags or {})).version)


def spec_of(task: str = "binary", **more: object) -> ModelSpec:
    """The shortest spec of a task, of a model named m."""
    outputs: dict[str, dict[str, object]] = {
        "binary": {"score": "s"},
        "multiclass": {"scores": {"a": "pa", "b": "pb", "c": "pc"}},
        "regression": {"prediction": "s"},
    }
    base = {"model": "m", "task": task, "predictions": {"source": "p", "id": "i", "time": "t", **outputs[task]}}
    return ModelSpec.model_validate({**base, **more})


class Server:
    """A real MLflow server on loopback, which can be killed and brought back on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_empty_store(), folder / "mlflow.db")
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as log:
            environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
            environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = (
                "false"  # eight processes that wait for jobs of no concern
            )
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=environment, cwd=self.folder
            )
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.2)

    def kill(self) -> None:
        """End it and its workers at once, as a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
