"""The reference that MLflow has for a model's version: the training data that its run logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlobs_pipelines.ingest.sources import EXTENSIONS
from mlobs_pipelines.registry import Registry, RegistryError
from mlobs_pipelines.spec.model import ModelSpec, ReferenceSpec
from mlobs_pipelines.store.layout import Home

_LOG = logging.getLogger(__name__)


def with_registered_reference(home: Home, spec: ModelSpec) -> ModelSpec:
    """The spec with the training data of its champion (else newest) version as reference, where MLflow names a file.

    A spec that has a reference, a model that is not registered, and a registry that does not answer leave it as it is.
    """
    registry = Registry.open(home, spec)
    if spec.reference is not None or registry.uri is None:
        return spec
    try:
        source = _training_file(registry)
    except RegistryError as error:  # a night does not fail for want of a registry
        _LOG.warning("no reference from MLflow: %s", error)
        return spec
    return spec.model_copy(update={"reference": ReferenceSpec(source=source)}) if source else spec


def _training_file(registry: Registry) -> str | None:
    aliases = registry.aliases()
    if "champion" in aliases:
        version = registry.version(aliases["champion"])
    else:
        version = next(reversed(registry.versions()), None)
    return _first_file(registry.inputs(version.run_id)) if version and version.run_id else None


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
