"""The versions of one registered model: which there are, what they are called, and getting one to predict."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from mlobs_pipelines.registry.connection import (
    UPLOAD_PATIENCE,
    ModelError,
    RegistryError,
    asking,
    missing,
    own_store,
    tracking_uri,
)
from mlobs_pipelines.registry.models import LoadedModel, load_folder
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous_champion"
"""Aliases: the version that serves, the one that may take its place, and the one that served before."""

MOST_VERSIONS = 1000

_CARD = "mlobs_version.json"


@dataclass(frozen=True)
class Version:
    """One version of a registered model. ``created_at`` is UTC."""

    version: str
    run_id: str
    tags: Mapping[str, str] = field(hash=False)
    created_at: dt.datetime
    source: str


@dataclass(frozen=True)
class Registry:
    """One registered model of MLflow. Every method but :meth:`load` asks MLflow anew, and waits for seconds at most.

    Every method raises :class:`RegistryError` where MLflow does not answer. A registry that does not exist yet (no
    ``uri``), and a model that is not registered, have no versions and no aliases.
    """

    uri: str | None
    name: str
    spec: ModelSpec
    cache: Path

    @classmethod
    def open(cls, home: Home, spec: ModelSpec, *, create: bool = False) -> Self:
        """The registry of a model; nothing is asked yet. ``create``: use the home's own store though it is not there yet."""
        name = spec.registry.name or spec.model
        uri = tracking_uri(home, spec) or (own_store(home) if create else None)
        return cls(uri, name, spec, home.warehouse / "registry" / quote(name, safe=""))

    def aliases(self) -> dict[str, str]:
        """Alias -> version."""
        if self.uri is None:
            return {}
        with asking(self.uri):
            try:
                found = self.client.get_registered_model(self.name).aliases
            except Exception as error:
                if missing(error):
                    return {}
                raise
        return {str(alias): str(version) for alias, version in found.items()}

    def versions(self) -> list[Version]:
        """All versions, the oldest first."""
        if self.uri is None:
            return []
        with asking(self.uri):
            found, token = [], None
            while True:
                page = self.client.search_model_versions(
                    f"name = '{self.name}'", max_results=MOST_VERSIONS, page_token=token
                )
                found.extend(page)
                token = page.token
                if not token:
                    break
        return sorted((_version(v) for v in found), key=lambda v: int(v.version))

    def version(self, version: str) -> Version | None:
        """One version, or None where there is no such version."""
        if self.uri is None:
            return None
        with asking(self.uri):
            try:
                return _version(self.client.get_model_version(self.name, version))
            except Exception as error:
                if missing(error) or not version.isdecimal():
                    return None
                raise

    def inputs(self, run_id: str) -> list[Any]:
        """The datasets that a version's run logged, as MLflow has them; none where the run is gone."""
        with asking(self.there):
            try:
                return list(self.client.get_run(run_id).inputs.dataset_inputs)
            except Exception as error:
                if missing(error):
                    return []
                raise

    def set_alias(self, alias: str, version: str) -> None:
        """Let an alias name a version, whatever it named before."""
        with asking(self.there):
            self.client.set_registered_model_alias(self.name, alias, version)

    def delete_alias(self, alias: str) -> None:
        """Let an alias name nothing; one that does not exist is no error."""
        with asking(self.there):
            self.client.delete_registered_model_alias(self.name, alias)

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; others stay."""
        with asking(self.there):
            for key, value in tags.items():
                self.client.set_model_version_tag(self.name, version, key, value)

    def delete_tag(self, version: str, key: str) -> None:
        """Remove a tag of a version; one that does not exist is no error."""
        with asking(self.there):
            try:
                self.client.delete_model_version_tag(self.name, version, key)
            except Exception as error:
                if not missing(error):
                    raise

    def load(self, version: str) -> LoadedModel:
        """A version, ready to predict. Its files are kept, so that a version once seen needs no MLflow again.

        Loading a model runs code that whoever wrote to the registry chose.

        Raises:
            ModelError: there is no such version, or it can't be loaded.
            RegistryError: MLflow does not answer.
        """
        folder = self._fetched(version)
        try:
            return load_folder(folder, self.spec, version)
        except ModelError:
            raise
        except Exception as error:  # a model's own code may raise anything
            line = " ".join(str(error).split())[:300]
            raise ModelError(
                f"version {version} of {self.name} can't be loaded ({type(error).__name__}: {line})"
            ) from error

    @cached_property
    def client(self) -> Any:
        """MLflow's own client of this registry, for those in this room and for the lineage of a training."""
        from mlflow import MlflowClient

        uri = self.there
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    @property
    def there(self) -> str:
        """The registry's URI; an error where there is none."""
        if self.uri is None:
            raise RegistryError(f"{self.name} is in no MLflow yet: set MLFLOW_TRACKING_URI or registry.tracking_uri")
        return self.uri

    def _fetched(self, version: str) -> Path:
        """The folder with a version's files, fetched if need be."""
        folder = self.cache / quote(version, safe="")
        kept = json.loads((folder / _CARD).read_text(encoding="utf-8")) if (folder / _CARD).exists() else None
        try:
            known = self.version(version)
        except RegistryError:
            if kept is None:
                raise
            return folder
        if known is None:
            raise ModelError(f"{self.name} has no version {version} in MLflow")
        card = {"run_id": known.run_id, "created_at": known.created_at.isoformat(), "source": known.source}
        if kept != card:
            self._fetch(version, folder, card)
        return folder

    def _fetch(self, version: str, folder: Path, card: Mapping[str, str]) -> None:
        draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.draft")
        draft.mkdir(parents=True)
        try:
            with asking(self.there, UPLOAD_PATIENCE):
                from mlflow.artifacts import download_artifacts

                source = self.client.get_model_version_download_uri(self.name, version)
                found = Path(download_artifacts(artifact_uri=source, dst_path=str(draft), tracking_uri=self.uri))
            (found / _CARD).write_text(json.dumps(card), encoding="utf-8")
            if folder.exists():  # the model was deleted and registered again under the same name
                shutil.rmtree(folder)
            found.replace(folder)
        except OSError as error:
            if not (folder / _CARD).exists():  # else another process was faster
                raise RegistryError(f"version {version} of {self.name} can't be kept in {folder}: {error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _version(found: Any) -> Version:
    created = dt.datetime.fromtimestamp(found.creation_timestamp / 1000, dt.UTC)
    return Version(
        str(found.version), str(found.run_id or ""), dict(found.tags or {}), created, str(found.source or "")
    )
