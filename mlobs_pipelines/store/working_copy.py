"""A home's files of one model as a working copy of what counts at the object store: bring it up to date, publish it.

Files that were published here and do not count yet stay as they are for as long as nobody else wrote the model's nights;
then they are put back to what counts, and the nights are run again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlobs_pipelines.store.copy_state import State, file_of, load, save
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import STORE_TABLES, WATCH_TABLE, Home
from mlobs_pipelines.store.lock import exclusive
from mlobs_pipelines.store.manifest import Entry, Manifest, key_of, latest, publish, sweep
from mlobs_pipelines.store.nights import night_of, told
from mlobs_pipelines.store.objects import ObjectStore, StorageError, in_parallel
from mlobs_pipelines.store.turns import Turn

ROW_TABLES = ("predictions", "labels", "label_facts", "segment_values", "training")
"""Tables of the lake that readers of results have no use for; they are fetched where rows are needed."""

BESIDE_NIGHTS = ("runs", WATCH_TABLE, "comparisons")
"""Tables of the store that do not wait for a night to be whole: of a run that failed, and of the model's loop."""


def bring(store: ObjectStore, home: Home, model: str, *, rows: bool) -> bool:
    """Make the working copy what counts at the store; gives whether any file came or went. Hold the model's lock.

    Args:
        store: the object store.
        home: the working copy.
        model: the model.
        rows: fetch the lake's rows too, not only numbers.

    Raises:
        StorageError: the home has nights of its own that the store lacks; the store lost what was published.
    """
    with _locked(home, model):
        for _ in range(10):
            changed = _brought(store, home, model, rows)
            if changed is not None:
                return changed
    raise StorageError(f"{store.url}: the manifest of {model} names files that are not there")


def commit(store: ObjectStore, home: Home, model: str, turn: Turn | None) -> None:
    """Let what the working copy has count, all at once. With a turn that are all
    files but those of nights that are not whole; without, only what is beside nights.

    Raises:
        StorageError: another machine took the model over.
    """
    with _locked(home, model):
        state = load(home, model, store.url) or State(store.url)
        if turn:
            turn.check()
        while True:
            manifest = latest(store, model, state.manifest)
            if turn and manifest.turn > turn.number:
                raise StorageError(f"{model}: another machine took over and wrote its nights; run again")
            there = _durable(home, model)
            gone = [path for path in state.base if path not in there and path in manifest.files] if turn else []
            whole = {
                path: found
                for path, found in there.items()
                if _beside(model, path) or (turn and not _of_night(path) & state.begun)
            }
            changed = _uploaded(store, home, model, state, manifest, whole)
            if not changed and not gone:
                break
            files = {path: entry for path, entry in manifest.files.items() if path not in gone} | changed
            nights = any(not _beside(model, path) for path in [*changed, *gone])
            found = Manifest(manifest.number + 1, turn.number if turn and nights else manifest.turn, files)
            if publish(store, model, found):
                state.manifest, state.uploaded = found, set()
                state.own = state.own and turn is None
                state.base |= {path: entry.sha256 for path, entry in changed.items()}
                for path in gone:
                    state.base.pop(path)
                break
        save(home, model, state)


def mark(store: ObjectStore, home: Home, model: str, nights: Iterable[dt.date], *, begun: bool) -> None:
    """Note that nights are being written, or that they are whole again."""
    with _locked(home, model):
        state = load(home, model, store.url) or State(store.url)
        named = {night.isoformat() for night in nights}
        after = state.begun | named if begun else state.begun - named
        if state.begun != after:
            state.begun = after
            save(home, model, state)


def fence(store: ObjectStore, model: str, turn: Turn) -> None:
    """After another's turn was cut off: let nothing count any more that it may still publish."""
    while (manifest := latest(store, model)).number:
        if publish(store, model, Manifest(manifest.number + 1, turn.number, manifest.files)):
            return


def unpublished(home: Home) -> Path:
    """A file that is there while ``results.duckdb`` may lack what came from the store."""
    return home.storage / "unpublished"


def tidy(store: ObjectStore, home: Home, model: str) -> None:
    """Sweep the store of what no reader can want. Only whose turn it is."""
    with _locked(home, model):
        if sweep(store, model) and (state := load(home, model, store.url)):
            state.uploaded = set()
            save(home, model, state)


def _brought(store: ObjectStore, home: Home, model: str, rows: bool) -> bool | None:
    """What ``bring`` gives; None where the manifest was replaced and what it named was swept meanwhile."""
    known = load(home, model, store.url)
    state = known or State(store.url)
    manifest = latest(store, model, state.manifest)
    if manifest.number < state.manifest.number:
        raise StorageError(
            f"{store.url} has lost what was published of {model}; put it back, or remove {file_of(home, model)} to "
            "publish it anew from here"
        )
    there = _durable(home, model)
    if known is None:
        state.own = any(path != _spec(model) for path in there)
        save(home, model, state)
    if state.own and manifest.number:
        _refuse_strangers(store, home, model, state, manifest, there)
    taken_over = manifest.turn != state.manifest.turn
    wanted, gone = _compared(home, model, state, manifest, there, taken_over=taken_over, rows=rows)
    if wanted or gone:
        unpublished(home).touch()
    if not _fetch(store, home, model, wanted):
        return None
    for path in gone:
        (home.root / path).unlink(missing_ok=True)
    if taken_over:
        home.behind_file(model).unlink(missing_ok=True)
        home.sources_file(model).unlink(missing_ok=True)  # it tells of nights that are others now
    now = _durable(home, model)
    state.files |= {path: (now[path], entry.sha256) for path, entry in wanted.items()}
    state.base |= {path: entry.sha256 for path, entry in wanted.items()}
    state.files = {path: found for path, found in state.files.items() if path in now}
    state.base = {path: sha256 for path, sha256 in state.base.items() if path in now}
    state.begun = set() if taken_over else state.begun
    state.own = state.own and not manifest.number
    state.manifest = manifest
    save(home, model, state)
    return bool(wanted or gone)


def _compared(
    home: Home,
    model: str,
    state: State,
    manifest: Manifest,
    there: dict[str, str],
    *,
    taken_over: bool,
    rows: bool,
) -> tuple[dict[str, Entry], list[str]]:
    """Which files are to be fetched and which to be removed; notes those that are what counts."""
    wanted: dict[str, Entry] = {}
    gone: list[str] = []
    for path, entry in manifest.files.items():
        own = state.sha256(home, path, there[path]) if path in there else None
        if own == entry.sha256:
            state.base[path] = own
        elif own and (path == _spec(model) or (not taken_over and state.base.get(path) == entry.sha256)):
            continue
        elif rows or not _of_rows(model, path):
            wanted[path] = entry
        elif own:
            gone.append(path)
    strangers = [path for path in there if path not in manifest.files and path != _spec(model)]
    return wanted, gone + [path for path in strangers if taken_over or path in state.base]


def _refuse_strangers(
    store: ObjectStore, home: Home, model: str, state: State, manifest: Manifest, there: dict[str, str]
) -> None:
    """A home that has files and never saw the store may only have the same ones."""
    for path, found in there.items():
        entry = manifest.files.get(path)
        if path != _spec(model) and (entry is None or state.sha256(home, path, found) != entry.sha256):
            raise StorageError(
                f"{home.root / path} is not what {store.url} has of {model}; begin with an empty home, or with an empty "
                "place at the store"
            )


def _fetch(store: ObjectStore, home: Home, model: str, wanted: dict[str, Entry]) -> bool:
    """Fetch files aside, and when all are here rename them into place; false where one is not at the store."""
    with contextlib.ExitStack() as drafts:
        where = {path: drafts.enter_context(published(home.root / path)) for path in wanted}

        def one(path: str) -> bool:
            sha256 = wanted[path].sha256
            return store.download(key_of(model, path, sha256), where[path], sha256)

        try:
            if not all(in_parallel(one, where)):
                raise FileNotFoundError
        except FileNotFoundError:
            for draft in where.values():
                draft.unlink(missing_ok=True)
            drafts.pop_all()
            return False
    return True


def _uploaded(
    store: ObjectStore, home: Home, model: str, state: State, manifest: Manifest, there: dict[str, str]
) -> dict[str, Entry]:
    """Upload the files that are others than were fetched or published; what the manifest is to say of them."""

    def one(path: str) -> tuple[str, Entry] | None:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile by another process
            file = home.root / path
            while True:
                before = told(file.stat())
                sha256 = state.sha256(home, path, before)
                size = file.stat().st_size
                key = key_of(model, path, sha256)
                if key not in state.uploaded:
                    store.upload(file, key)
                if told(file.stat()) == before:
                    state.uploaded.add(key)
                    return path, Entry(sha256, size)
        return None

    own = {path: state.sha256(home, path, found) for path, found in there.items()}
    changed = [path for path, sha256 in own.items() if sha256 != state.base.get(path)]
    known = {path: entry.sha256 for path, entry in manifest.files.items()}
    return dict(filter(None, in_parallel(one, [path for path in changed if known.get(path) != own[path]])))


def _durable(home: Home, model: str) -> dict[str, str]:
    """A model's files that the store keeps, and what tells of each that it is the same."""
    found: dict[str, str] = {}
    folders = [home.lake(model), home.root / "quarantine" / model]
    for folder in [*folders, *(home.store_folder(table, model) for table in (*STORE_TABLES, WATCH_TABLE))]:
        found |= {str(path.relative_to(home.root)): told for path, told in _below(folder)}
    for path in (home.root / "store" / "models" / f"{model}.json", home.spec_file(model)):
        with contextlib.suppress(FileNotFoundError):
            found[str(path.relative_to(home.root))] = told(path.stat())
    return found


def _below(folder: Path) -> Iterator[tuple[Path, str]]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(Path(entry.path))
            else:
                with contextlib.suppress(FileNotFoundError):
                    yield Path(entry.path), told(entry.stat())


def _spec(model: str) -> str:
    """The model's file: the store has the one of the last run, for homes that have none; whoever has one keeps it."""
    return f"models/{model}.yaml"


def _of_rows(model: str, path: str) -> bool:
    return path.startswith((*(f"lake/{model}/{table}/" for table in ROW_TABLES), f"quarantine/{model}/"))


def _of_night(path: str) -> set[str]:
    """The night that a file is of, if it is of one."""
    night = night_of(path.rsplit("/", 1)[-1])
    return {night.isoformat()} if night else set()


def _beside(model: str, path: str) -> bool:
    folders = (*(f"store/{table}/{model}/" for table in BESIDE_NIGHTS), f"lake/{model}/training/")
    return path.startswith(folders) or path in (_spec(model), f"store/models/{model}.json")


@contextlib.contextmanager
def _locked(home: Home, model: str) -> Iterator[None]:
    with exclusive(home.storage / f"{model}.lock"):
        yield
