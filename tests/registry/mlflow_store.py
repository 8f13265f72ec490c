"""An MLflow store with versions in it, made once per process and copied: a fresh one takes seconds."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home


@cache
def _empty_store() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mlflow-store-"))
    client_of(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


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
