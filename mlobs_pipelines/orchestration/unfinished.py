"""What a run of many nights has done of them, so that the same run, begun again after it was interrupted, goes on there.

The list is kept beside the warehouse: a cache, safe to delete. It holds for one model's file, one range of nights and one
version of the code; a night that a step has done counts while the files that the step read of it are the same. A run that
came to its end leaves none, so that running its nights once more does all of it once more.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mlobs_pipelines import __version__
from mlobs_pipelines.engine import dbt
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home

READ = {"join": ("predictions", "labels"), "profile": ("predictions", "label_facts")}
"""Tables of the lake that each step reads of a night."""


@dataclass
class Unfinished:
    """The nights that some steps have done, each with what tells that what they read is still the same."""

    home: Home
    spec: ModelSpec
    key: str
    noting: bool = True
    done: dict[str, dict[str, str]] = field(default_factory=dict)

    @staticmethod
    def of(home: Home, spec: ModelSpec, nights: Sequence[dt.date], *, noting: bool = True) -> Unfinished:
        """What an earlier run of these nights left; nothing where it came to its end, or was another.

        Without ``noting`` this run leaves nothing to go on with.
        """
        asked = f"{__version__} {dbt.project_version()} {spec.model_dump_json()} {[n.isoformat() for n in nights]}"
        found = Unfinished(home, spec, hashlib.sha256(asked.encode()).hexdigest(), noting)
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            kept = json.loads(home.unfinished_file(spec.model).read_text(encoding="utf-8"))
            if kept["key"] == found.key:
                found.done = kept["done"]
        return found

    def left(self, step: str, nights: Iterable[dt.date]) -> list[dt.date]:
        """Those of the nights that a step has still to do."""
        done = self.done.get(step, {})
        return [night for night in nights if done.get(night.isoformat()) != self._state(step, night)]

    def note(self, step: str, nights: Sequence[dt.date]) -> None:
        """A step has done some nights; what was measured from the first of them on is to be measured again."""
        if not self.noting:
            return
        if step != "measure":
            measured = self.done.get("measure", {})
            self.done["measure"] = {n: state for n, state in measured.items() if n < nights[0].isoformat()}
        self.done.setdefault(step, {}).update({night.isoformat(): self._state(step, night) for night in nights})
        text = json.dumps({"key": self.key, "done": self.done})
        write_text(self.home.unfinished_file(self.spec.model), text)

    def _state(self, step: str, night: dt.date) -> str:
        if step not in READ:
            return ""
        stats = [self.home.lake_file(self.spec.model, table, night).stat() for table in READ[step]]
        return " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats) + self._bins(step)

    def _bins(self, step: str) -> str:
        """What was counted before the bins were frozen is counted again."""
        with contextlib.suppress(FileNotFoundError):
            if step == "profile":
                return " " + hashlib.sha256(self.home.bins_file(self.spec.model).read_bytes()).hexdigest()
        return ""


def end(home: Home, model: str) -> None:
    """All nights are done."""
    home.unfinished_file(model).unlink(missing_ok=True)
