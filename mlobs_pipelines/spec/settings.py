"""What holds for a whole home: ``mlobs.yaml`` beside its models. Written like a model's file, and read as strictly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from mlobs_pipelines.spec.load import parse_document, read_text, shown_path
from mlobs_pipelines.spec.model import Engine, ModelSpec, SpecModel

__all__ = ["HomeSettings", "load_settings", "parse_settings"]


class HomeSettings(SpecModel):
    """The settings of a home; a file that is not there, or says nothing, leaves all to the defaults."""

    called: ClassVar[str] = "the settings"

    engine: Engine = Field("duckdb", description="What joins and counts rows, where a model's file does not say.")

    def engine_of(self, spec: ModelSpec) -> Engine:
        """What joins and counts a model's rows: the model's own word before the home's."""
        return spec.engine or self.engine


def parse_settings(text: str, *, file: str | Path, environment: Mapping[str, str] | None = None) -> HomeSettings:
    """The settings that a text holds, taken verbatim and with ``${NAME}`` expanded as in a model's file.

    Raises:
        SpecError: every problem found, each with its line and key.
    """
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return HomeSettings()
    return parse_document(text, str(file), os.environ if environment is None else environment, HomeSettings)[0]


def load_settings(path: Path) -> HomeSettings:
    """The settings in a home's file; the defaults where there is none.

    Raises:
        SpecError: the file can't be read, or holds no valid settings.
    """
    if not path.exists():
        return HomeSettings()
    shown = shown_path(path)
    return parse_settings(read_text(path, shown), file=shown)
