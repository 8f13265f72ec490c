"""MLflow's versions, aliases and tags → models that predict; the only door to MLflow."""

from mlobs_pipelines.registry.connection import ModelError, RegistryError, tracking_uri
from mlobs_pipelines.registry.models import LoadedModel
from mlobs_pipelines.registry.versions import Registry, Version

__all__ = ["LoadedModel", "ModelError", "Registry", "RegistryError", "Version", "tracking_uri"]
