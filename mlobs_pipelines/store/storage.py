"""A home whose files are kept at an object store: what runs and readers ask of it. Without ``storage``, nothing.

The home is then a working copy. A night's files count at the store when all of them are there (``store.manifest``), one
machine at a time writes a model (``store.turns``), and the log has an object for each entry (``store.shared_log``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import hmac
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive

if TYPE_CHECKING:
    from mlobs_pipelines.store.objects import ObjectStore
    from mlobs_pipelines.store.turns import Turn

VARIABLE = "MLOBS_STORAGE"


@dataclass(frozen=True)
class Storage:
    """Where a home's files are kept, and the lease of whoever writes them, in seconds."""

    store: ObjectStore
    lease: float


_Stamp = tuple[int, int] | None

_known: dict[Path, tuple[_Stamp, str, Storage | None]] = {}
_turns: dict[tuple[Path, str], Turn] = {}
"""Turns that this process has, by home and model."""


def of(home: Home) -> Storage | None:
    """The storage that the home's settings name, if they name one.

    Raises:
        UserError: the settings are wrong, or the URL can't be used.
    """
    variable = os.environ.get(VARIABLE, "")
    stamp: _Stamp = None
    with contextlib.suppress(FileNotFoundError):
        stat = home.settings_file.stat()
        stamp = stat.st_size, stat.st_mtime_ns
    if stamp is None and not variable:
        return None
    kept = _known.get(home.root)
    if not kept or kept[:2] != (stamp, variable):
        kept = _known[home.root] = stamp, variable, _opened(home, variable)
    return kept[2]


def _opened(home: Home, variable: str) -> Storage | None:
    from mlobs_pipelines.spec.settings import load_settings
    from mlobs_pipelines.store.objects import ObjectStore

    settings = load_settings(home.root)
    if settings.storage is None:
        return None
    setting = VARIABLE if variable else f"{home.settings_file}: storage"
    store = ObjectStore(settings.storage, settings.storage_options, setting)
    return Storage(store, settings.storage_lease.total_seconds())


@contextlib.contextmanager
def turn(home: Home, model: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Have the model's turn at the store, with the working copy up to date. Hold the model's lock.

    Raises:
        StorageError: the store can't be used, or has other nights than this home.
    """
    storage = of(home)
    if storage is None:
        yield
        return
    from mlobs_pipelines.store import journal, turns, working_copy

    told: set[str] = set()

    def wait(holder: str, _alive: bool) -> bool:
        if waiting and holder not in told:
            waiting(holder)
        told.add(holder)
        return True

    store = storage.store
    mine = turns.take(store, model, _holder(home), storage.lease, wait)
    if mine is None:
        raise AssertionError("a run waits for its turn")
    try:
        if mine.cut_off:
            working_copy.fence(store, model, mine)
        working_copy.bring(store, home, model, rows=True)
        with contextlib.suppress(journal.JournalError):  # whoever adds to the log is told; nights go on
            journal.catch_up(home)
        _turns[home.root, model] = mine
        try:
            yield
        finally:
            del _turns[home.root, model]
        working_copy.tidy(store, home, model)
    finally:
        mine.end()


@contextlib.contextmanager
def stage(home: Home, name: str) -> Iterator[bool]:
    """Whether no other machine is at ``name``, for as long as the block lasts. Hold the home's lock of that name."""
    storage = of(home)
    if storage is None:
        yield True
        return
    from mlobs_pipelines.store import turns

    mine = turns.take(storage.store, name, _holder(home), storage.lease, lambda _, alive: not alive)
    try:
        yield mine is not None
    finally:
        if mine:
            mine.end()


def begin(home: Home, model: str, nights: Iterable[dt.date]) -> None:
    """Nights are about to be written: none of them counts before ``end``."""
    if storage := of(home):
        from mlobs_pipelines.store import working_copy

        working_copy.mark(storage.store, home, model, nights, begun=True)


def end(home: Home, model: str, nights: Iterable[dt.date]) -> None:
    """The nights are whole."""
    if storage := of(home):
        from mlobs_pipelines.store import working_copy

        working_copy.mark(storage.store, home, model, nights, begun=False)


def begun(home: Home, model: str) -> set[dt.date]:
    """Nights that were begun and are not whole; without an object store that is nobody's concern."""
    storage = of(home)
    if storage is None:
        return set()
    from mlobs_pipelines.store import copy_state

    state = copy_state.load(home, model, storage.store.url)
    return {dt.date.fromisoformat(night) for night in state.begun} if state else set()


def commit(home: Home, model: str) -> None:
    """Let the model's files count at the store: with its turn those of whole nights, else what is beside nights.

    Raises:
        StorageError: the store can't be used, or another machine took the model over.
    """
    if storage := of(home):
        from mlobs_pipelines.store import working_copy

        working_copy.commit(storage.store, home, model, _turns.get((home.root, model)))


def refresh(home: Home, *, rows: bool) -> None:
    """Bring the home up to date with the store, for a reader; ``rows``: with the lake's rows.

    A model that this home is running just now is left to its run.

    Raises:
        UserError: the store can't be used.
    """
    storage = of(home)
    if storage is None:
        return
    from mlobs_pipelines.store import journal, manifest, objects, working_copy

    store = storage.store

    def one(model: str) -> None:
        with contextlib.suppress(TimeoutError), exclusive(home.lock_file(model), timeout=0.0):
            working_copy.bring(store, home, model, rows=rows)

    objects.in_parallel(one, manifest.models(store))
    if journal.catch_up(home):
        working_copy.unpublished(home).touch()
    _publish(working_copy.unpublished(home), home)


def _publish(unpublished: Path, home: Home) -> None:
    """Make the snapshot anew where something came that it may lack; what says so stays if more came meanwhile."""
    try:
        before = unpublished.stat().st_mtime_ns
    except FileNotFoundError:
        return
    from mlobs_pipelines.store import results

    results.publish(home)
    with contextlib.suppress(FileNotFoundError):
        if unpublished.stat().st_mtime_ns == before:
            unpublished.unlink()


def keep_fresh(home: Home, seconds: float, failed: Callable[[str], None]) -> None:
    """Refresh from time to time for as long as the process lives; ``failed`` is told each new reason why that failed."""
    if of(home) is None:
        return

    def work() -> None:
        told = ""
        while not threading.Event().wait(seconds):
            try:
                refresh(home, rows=False)
                told = ""
            except Exception as error:  # the pages go on with what is here
                if str(error) != told:
                    failed(told := str(error))

    threading.Thread(target=work, name="refresh", daemon=True).start()


def same_key(home: Home, secret: bytes) -> bool:
    """Whether every machine so far hashed with this key. Of the key the store has what tells it from others, no more."""
    storage = of(home)
    if storage is None:
        return True
    told = hmac.digest(secret, b"mlobs: which key is this", hashlib.sha256).hex().encode()
    return storage.store.create("hash.key.id", told) or storage.store.get("hash.key.id") == told


def _holder(home: Home) -> str:
    """How this working copy is called: its machine, its folder, and what tells it from another of both names."""
    from mlobs_pipelines.store.files import write_text

    file = home.storage / "identity"
    if not file.exists():
        write_text(file, uuid.uuid4().hex)
    return f"{socket.gethostname()}:{home.root} ({file.read_text(encoding='utf-8')})"
