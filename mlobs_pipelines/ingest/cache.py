"""What each delivered file holds, remembered by its fingerprint. A cache: deleting it changes no result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from mlobs_pipelines.ingest.sources import Delivered
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home

VERSION = 1
UNKNOWN = ""
"""Key of the rows whose arrival date can't be known."""


@dataclass(frozen=True)
class Facts:
    """What a file holds: rows by arrival date (ISO; '' where unknown), its columns, and which night took which date.

    ``error`` says why the file as a whole can't be used; such facts are never kept.
    """

    fingerprint: str
    rows: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    sha256: str | None = None
    taken: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    def wanted(self, running: Collection[date], lake: Collection[date]) -> tuple[set[date], bool]:
        """The arrival dates whose rows the ``running`` nights must look at, and whether those of unknown date too.

        These are the nights' own rows, and rows of earlier nights of the ``lake`` that no night has looked at.
        """
        first = min(running)
        dates = {date.fromisoformat(d) for d in self.rows if d != UNKNOWN}
        own = dates & set(running)
        late = {d for d in dates - own if d < first and d in lake and not self._settled(d.isoformat(), running, lake)}
        return own | late, UNKNOWN in self.rows and not self._settled(UNKNOWN, running, lake)

    def _settled(self, key: str, running: Collection[date], lake: Collection[date]) -> bool:
        by = self.taken.get(key)
        night = date.fromisoformat(by) if by else None
        return night is not None and night in lake and night not in running

    def took(self, dates: Iterable[date], unknown: bool, running: Collection[date]) -> Facts:
        """The same facts, with the night noted that took the rows of each date."""
        taken = dict(self.taken)
        for d in dates:
            taken[d.isoformat()] = taking(d, running).isoformat()
        if unknown:
            taken[UNKNOWN] = min(running).isoformat()
        return replace(self, taken=taken)


def taking(day: date, running: Collection[date]) -> date:
    """The one of the ``running`` nights that takes the rows of a date: its own, else the first. That takes what has none, too."""
    return day if day in running else min(running)


def _mapping_digest(spec: ModelSpec) -> str:
    """Digest of what the facts depend on in the spec: another time column gives other arrival dates."""
    used = {
        "predictions": spec.predictions.model_dump(mode="json", exclude={"source"}),
        "labels": spec.labels.model_dump(mode="json", exclude={"source", "mode", "maturity"}) if spec.labels else None,
        "timezone": spec.timezone,
        "task": spec.task,
    }
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


def key(source: str, file: Delivered) -> str:
    """Under which a file's facts are kept; the same file may be a source of predictions and of labels."""
    return f"{source}:{file.path}#{file.table or ''}"


def load(home: Home, spec: ModelSpec) -> dict[str, Facts]:
    """The remembered facts by key; empty where there are none, or they are of another spec."""
    try:
        found: dict[str, Any] = json.loads(home.sources_file(spec.model).read_text(encoding="utf-8"))
        if found["version"] != VERSION or found["mapping"] != _mapping_digest(spec):
            return {}
        return {k: Facts(**{**v, "columns": tuple(v["columns"])}) for k, v in found["files"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def save(home: Home, spec: ModelSpec, facts: Mapping[str, Facts]) -> None:
    """Publish the facts."""
    kept = {k: vars(f) for k, f in sorted(facts.items()) if f.error is None}
    content = {"version": VERSION, "mapping": _mapping_digest(spec), "files": kept}
    write_text(home.sources_file(spec.model), json.dumps(content, ensure_ascii=False))
