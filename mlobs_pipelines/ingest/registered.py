"""The reference that MLflow has for a model's version: the training data that its run logged."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlobs_pipelines.ingest.sources import EXTENSIONS
from mlobs_pipelines.spec.model import ModelSpec, ReferenceSpec
from mlobs_pipelines.store.layout import Home

PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""A night never waits long for MLflow: its own defaults are minutes."""

_LOG = logging.getLogger(__name__)


def tracking_uri(home: Home, spec: ModelSpec) -> str | None:
    """Where MLflow is: the spec's word, else the environment's, else the home's own store if there is one."""
    embedded = home.root / "mlflow.db"
    given = spec.registry.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or (f"sqlite:///{embedded}" if embedded.exists() else None)


def with_registered_reference(home: Home, spec: ModelSpec) -> ModelSpec:
    """The spec with the training data of its champion (else newest) version as reference, where MLflow names a file.

    A spec that has a reference, a model that is not registered, and a registry that does not answer leave it as it is.
    """
    uri = tracking_uri(home, spec)
    if spec.reference is not None or uri is None:
        return spec
    try:
        source = _training_file(uri, spec.registry.name or spec.model)
    except Exception as error:  # whatever MLflow raises: a night does not fail for want of a registry
        _LOG.warning("no reference from MLflow: %s", " ".join(str(error).split())[:200])
        return spec
    return spec.model_copy(update={"reference": ReferenceSpec(source=source)}) if source else spec


def _training_file(uri: str, name: str) -> str | None:
    for key, value in PATIENCE.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        registered = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    champion = registered.aliases.get("champion")
    if champion is None:
        versions = client.search_model_versions(f"name = '{name}'")
        champion = max((int(v.version) for v in versions), default=None)
    if champion is None:
        return None
    version = client.get_model_version(name, str(champion))
    return _first_file(client.get_run(version.run_id).inputs.dataset_inputs) if version.run_id else None


def _first_file(inputs: Iterable[Any]) -> str | None:
    """The file of the first dataset that was logged for training."""
    for given in inputs:
        context = {tag.key: tag.value for tag in given.tags}.get("mlflow.data.context")
        if context != "training":
            continue
        source = json.loads(given.dataset.source)
        place = str(source.get("uri") or source.get("url") or source.get("path") or "")
        place = place.removeprefix("file://")
        if {"".join(Path(place).suffixes[-2:]), Path(place).suffix} & EXTENSIONS.keys():
            return place
    return None
