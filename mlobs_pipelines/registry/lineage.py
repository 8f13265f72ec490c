"""A trained model -> one version of the registered model, with the run and the data that it came from.

Whatever was written is found again by the decision's own hash in the log, which is a tag of the run and of the version:
however often a registration is interrupted and begun anew, one version comes of it.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mlobs_pipelines.registry.connection import UPLOAD_PATIENCE, asking, missing, patience
from mlobs_pipelines.registry.versions import Registry
from mlobs_pipelines.store.layout import Home

DECISION = "mlobs.decision_hash"
ARTIFACT = "model"

LONGEST_TAG = 4000


@dataclass(frozen=True)
class Training:
    """What is told of a training beside its model.

    ``decision``: hash of the log's entry that it was decided by; ``dataset``: file of its rows; ``label``: their column
    with the label.
    """

    name: str
    decision: str
    dataset: Path
    rows: int
    label: str
    params: Mapping[str, Any] = field(hash=False)
    tags: Mapping[str, str] = field(hash=False)


def take_up(registry: Registry, decision: str) -> str | None:
    """The version that came of a decision; one whose files are all there but that was not made yet is made now.

    Raises:
        RegistryError: MLflow does not answer.
    """
    version = _registered(registry, decision)
    if version is not None or registry.uri is None:
        return version
    with asking(registry.uri, UPLOAD_PATIENCE):
        experiment = registry.client.get_experiment_by_name(registry.name)
        runs = _runs(registry, experiment, decision) if experiment else []
    finished = next((run for run in runs if run.info.status == "FINISHED"), None)
    return _version_of(registry, finished) if finished else None


def register(
    home: Home, registry: Registry, model: Any, example: pl.DataFrame, training: Training, folder: Path
) -> str:
    """Store a fitted model with its lineage and make a version of it. Ask :func:`take_up` first.

    Args:
        home: where the artifacts go if the registry is the home's own.
        registry: the registered model; it is made if it is not there.
        model: a fitted estimator, or a ``PythonModel``.
        example: a few rows of features, for the signature.
        training: what the version came from.
        folder: an empty folder to work in.

    Raises:
        RegistryError: MLflow does not answer.
    """
    with patience(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles and of integers that may be missing: neither is news here
        files = save(model, example, folder / ARTIFACT)
        dataset = _dataset(training)
    with asking(registry.there, UPLOAD_PATIENCE):
        run = _logged(registry, _experiment(home, registry), training, dataset, files)
    return _version_of(registry, run)


def _registered(registry: Registry, decision: str) -> str | None:
    return next((v.version for v in registry.versions() if v.tags.get(DECISION) == decision), None)


def _version_of(registry: Registry, run: Any) -> str:
    """Make the version of a run that holds all of a training."""
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("mlobs.")}
    source, run_id = f"runs:/{run.info.run_id}/{ARTIFACT}", run.info.run_id
    # Not tried again by itself: a server that made the version and was too slow to say so would make another.
    with asking(registry.there, UPLOAD_PATIENCE, retries=0):
        made = registry.client.create_model_version(registry.name, source, run_id, tags=tags, await_creation_for=0)
        return str(made.version)


def save(model: Any, example: pl.DataFrame, path: Path) -> Path:
    """Write a model as MLflow's files: with skops where its types are all trusted, else pickled."""
    import mlflow.pyfunc
    import mlflow.sklearn
    import sklearn
    from mlflow.models import infer_signature

    taken = [str(name) for name in getattr(model, "feature_names_in_", [])]
    inputs = example.select(taken if taken and set(taken) <= set(example.columns) else example.columns).to_pandas()
    library = type(model).__module__.split(".")[0]
    packages = list(dict.fromkeys([f"scikit-learn=={sklearn.__version__}", "skops", "pandas", _pinned(library)]))
    required = [p for p in packages if p]
    if isinstance(model, mlflow.pyfunc.PythonModel):
        signature = infer_signature(inputs)
        mlflow.pyfunc.save_model(path, python_model=model, signature=signature, pip_requirements=required)
        return path
    signature = infer_signature(inputs, model.predict(inputs))
    for form in ("skops", "cloudpickle"):
        try:
            mlflow.sklearn.save_model(
                model, path, serialization_format=form, signature=signature, pip_requirements=required
            )
        except Exception:
            if form == "cloudpickle":
                raise
            shutil.rmtree(path, ignore_errors=True)  # skops refuses types that it does not know to be harmless
        else:
            break
    return path


def _runs(registry: Registry, experiment: Any, decision: str) -> list[Any]:
    return list(registry.client.search_runs([experiment.experiment_id], f"tags.`{DECISION}` = '{decision}'"))


def _logged(registry: Registry, experiment: Any, training: Training, dataset: Any, files: Path) -> Any:
    """A finished run with all of a training; those that were interrupted are ended as killed."""
    client = registry.client
    for run in _runs(registry, experiment, training.decision):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    tags = {
        **training.tags,
        DECISION: training.decision,
        "mlflow.runName": training.name,
        "mlflow.source.name": "mlobs retrain",
    }
    run = client.create_run(experiment.experiment_id, tags={k: v[:LONGEST_TAG] for k, v in tags.items() if v})
    run_id = str(run.info.run_id)
    for key, value in training.params.items():
        client.log_param(run_id, key, value)
    client.log_metric(run_id, "rows", training.rows)
    client.log_inputs(run_id, [dataset])
    client.log_artifacts(run_id, str(files), ARTIFACT)
    client.set_terminated(run_id, "FINISHED")
    return client.get_run(run_id)


def _dataset(training: Training) -> Any:
    import mlflow.data
    from mlflow.entities import DatasetInput, InputTag

    rows = pl.read_parquet(training.dataset, n_rows=100).drop("prediction_id", strict=False).to_pandas()
    dataset = mlflow.data.from_pandas(
        rows, source=str(training.dataset), targets=training.label, name=training.dataset.stem[:500]
    )
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])


def _experiment(home: Home, registry: Registry) -> Any:
    """The experiment and the registered model of this name, made where they are missing."""
    client = registry.client
    experiment = client.get_experiment_by_name(registry.name)
    if experiment is None:
        own = str(registry.uri).startswith("sqlite:")
        place = (home.root / "mlartifacts").as_uri() if own else None
        experiment = client.get_experiment(client.create_experiment(registry.name, artifact_location=place))
    try:
        client.get_registered_model(registry.name)
    except Exception as error:
        if not missing(error):
            raise
        client.create_registered_model(registry.name)
    return experiment


def _pinned(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    if library in ("sklearn", "builtins", "__main__"):
        return ""
    try:
        distribution = packages_distributions().get(library, [library])[0]
        return f"{distribution}=={version(distribution)}"
    except PackageNotFoundError:
        return ""
