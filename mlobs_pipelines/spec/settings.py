"""A home's own settings, ``<home>/mlobs.yaml``: what holds for the installation and not for one model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.errors import Problem, SpecError
from mlobs_pipelines.spec.load import parse_document, read_text, shown_path
from mlobs_pipelines.spec.model import ONBOARDING_NIGHTS, Engine, ModelSpec, SpecModel
from mlobs_pipelines.spec.retention import Retention
from mlobs_pipelines.spec.values import Duration, WholeDays, format_duration

FILE = "mlobs.yaml"
STORAGE_VARIABLE = "MLOBS_STORAGE"

LONGEST_MONTH = timedelta(days=31)

_URL = re.compile(r"[a-z][a-z0-9+.\-]*://\S+")
_WHOLE = re.compile(r"[0-9]{1,9}")
_TEXTS = ("key", "secret", "token", "password", "account_name", "account_key", "username")
"""Options that stay text, whatever they look like."""


def _storage(url: str) -> str:
    if not _URL.fullmatch(url):
        raise ValueError(f"{url!r} is no URL; write for example s3://bucket/prefix")
    return url.rstrip("/")


def _options(value: Any) -> Any:
    """Options as file systems take them: ``true``, ``false`` and whole numbers are no text."""
    if isinstance(value, dict):
        return {name: each if name in _TEXTS else _options(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_options(each) for each in value]
    if value in ("true", "false"):
        return value == "true"
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value


class HomeSettings(SpecModel):
    """What a home's settings file may say; without one, or where it says nothing, the defaults hold."""

    called: ClassVar[str] = "the settings"

    engine: Engine = Field("duckdb", description="What joins and counts rows, where a model's file does not say.")
    compact_after: Annotated[WholeDays, Field(ge=timedelta(days=7))] = Field(
        timedelta(days=60),
        description="Months that ended so long before a model's newest night become one file a table.",
    )
    storage: Annotated[str, AfterValidator(_storage)] | None = Field(
        None, description="URL of the object store that keeps the home's lake, store and log."
    )
    storage_options: Annotated[dict[str, Any], BeforeValidator(_options)] = Field(
        default_factory=dict, description="Arguments of the URL's file system, such as key, secret, endpoint_url."
    )
    storage_lease: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = Field(
        timedelta(minutes=1), description="After so long without a sign of life another machine may take a model over."
    )

    retention: Retention = Field(
        default_factory=dict,
        description="Table -> for how long a night's rows are kept, where a model's file does not say.",
    )

    def retention_of(self, spec: ModelSpec) -> dict[str, timedelta]:
        """For how long a model's rows are kept, by table: the model's own word before the home's. Others are for good.

        Raises:
            UserError: it is shorter than what later nights need.
        """
        found = {**self.retention, **spec.retention}
        stated = timedelta(days=spec.maturity_days + max(spec.monitors.window_days))
        concluded = max(self.compact_after + LONGEST_MONTH, stated)
        for table, length in found.items():
            least = {"quarantine": timedelta(days=1), "predictions": stated + timedelta(days=ONBOARDING_NIGHTS)}.get(
                table, concluded
            )
            if length < least:
                file = f"{spec.model}.yaml" if table in spec.retention else FILE
                raise UserError(
                    f"{file}: retention.{table}: {format_duration(length)} is too short for {spec.model}; give "
                    f"{format_duration(least)} or more, for later nights need them until then"
                )
        return found

    def engine_of(self, spec: ModelSpec) -> Engine:
        """What joins and counts a model's rows: the model's own word before the home's."""
        return spec.engine or self.engine


def load_settings(home: Path, environment: Mapping[str, str] | None = None) -> HomeSettings:
    """The settings of the home at a folder; ``MLOBS_STORAGE`` goes before the file's ``storage``.

    Raises:
        SpecError: what is wrong, with file, line and key.
    """
    known = os.environ if environment is None else environment
    found = _load(home / FILE, known)
    if not (url := known.get(STORAGE_VARIABLE)):
        return found
    try:
        return found.model_copy(update={"storage": _storage(url)})
    except ValueError as error:
        raise SpecError([Problem(STORAGE_VARIABLE, None, "", str(error))]) from None


def _load(path: Path, environment: Mapping[str, str]) -> HomeSettings:
    if not path.exists():
        return HomeSettings()
    shown = shown_path(path)
    text = read_text(path, shown)
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return HomeSettings()
    return parse_document(text, shown, environment, HomeSettings)[0]
