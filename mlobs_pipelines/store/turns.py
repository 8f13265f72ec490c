"""Whose turn it is at the object store to write a model: one machine's at a time, and another's when that one is dead.

Each turn is the next number that nobody has taken before. Who has it gives a sign of life a few times in each lease;
whoever waits watches for that by its own clock, so clocks need not agree. Who lost its turn without noticing, because it
was asleep, is stopped by the manifest, which knows the turn of the last writer.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlobs_pipelines.store.objects import ObjectStore, StorageError

SIGNS = 4
"""Signs of life in a lease."""


@dataclass
class Turn:
    """A turn that was taken. ``cut_off``: whoever had the one before did not end it, and may be still at work."""

    store: ObjectStore
    name: str
    number: int
    holder: str
    lease: float
    cut_off: bool
    _ended: threading.Event = field(default_factory=threading.Event)
    _beats: threading.Thread | None = None

    def check(self) -> None:
        """Make sure that it is still ours.

        Raises:
            StorageError: another machine took the model over.
        """
        if (last := max(_numbers(self.store, self.name), default=0)) != self.number:
            who = _holder(_read(self.store, self.name, last))
            raise StorageError(f"{self.name}: {who} took over, for no sign of life came from here; run again")

    def end(self) -> None:
        """Let the next one have it."""
        self._ended.set()
        if self._beats:
            self._beats.join()
        with contextlib.suppress(StorageError):  # then the others wait for as long as the lease is
            self._say_so()

    def _say_so(self) -> None:
        if max(_numbers(self.store, self.name), default=0) == self.number:
            self.store.put(_key(self.name, self.number), self._document(ended=True))

    def _begin(self) -> None:
        self._beats = threading.Thread(target=self._beat, name=f"turn of {self.name}", daemon=True)
        self._beats.start()

    def _beat(self) -> None:
        while not self._ended.wait(self.lease / SIGNS):
            try:
                if max(_numbers(self.store, self.name), default=0) != self.number:
                    return
                self.store.put(_key(self.name, self.number), self._document())
            except StorageError:
                continue  # what is published next finds out

    def _document(self, *, ended: bool = False) -> bytes:
        said = {"holder": self.holder, "lease": self.lease, "ended": ended, "sign": uuid.uuid4().hex}
        return json.dumps(said, sort_keys=True).encode()


def take(store: ObjectStore, name: str, holder: str, lease: float, go_on: Callable[[str, bool], bool]) -> Turn | None:
    """Wait for the turn and take it; None where ``go_on`` would not wait. Hold the lock of the same name in the home.

    Args:
        store: the object store.
        name: the model, or a part of what is done with it.
        holder: names this working copy; a turn that it left without ending it is over, for its process is dead.
        lease: seconds without a sign of life after which others may take over.
        go_on: told from time to time for whom we wait, and whether a sign of life came since; whether to wait on.
    """
    seen: tuple[bytes | None, float] = (None, 0.0)
    while True:
        numbers = _numbers(store, name)
        last = max(numbers, default=0)
        said = store.get(_key(name, last)) if last else None
        found = _parse(said)
        if said is not None and found and not found["ended"] and found["holder"] != holder:
            alive = seen[0] is not None and said != seen[0]
            if said != seen[0]:
                seen = said, time.monotonic()
            if time.monotonic() - seen[1] <= float(found["lease"]):
                if not go_on(_holder(found), alive):
                    return None
                time.sleep(min(1.0, float(found["lease"]) / SIGNS))
                continue
        cut_off = found is not None and not found["ended"] and found["holder"] != holder
        turn = Turn(store, name, last + 1, holder, lease, cut_off)
        if store.create(_key(name, turn.number), turn._document()):
            store.delete(_key(name, number) for number in numbers)
            turn._begin()
            return turn


def _numbers(store: ObjectStore, name: str) -> list[int]:
    names = (key.rsplit("/", 1)[-1].partition(".")[0] for key in store.find(f"turns/{name}"))
    return [int(name) for name in names if name.isdigit()]


def _read(store: ObjectStore, name: str, number: int) -> dict[str, Any] | None:
    return _parse(store.get(_key(name, number)))


def _parse(said: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(said or b"")
        return found if found.keys() >= {"holder", "lease", "ended"} else None
    except (ValueError, AttributeError):
        return None


def _holder(found: dict[str, Any] | None) -> str:
    return str(found["holder"]).partition(" (")[0] if found else "another machine"


def _key(name: str, number: int) -> str:
    return f"turns/{name}/{number:010d}.json"
