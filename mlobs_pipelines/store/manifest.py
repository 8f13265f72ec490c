"""What of a model counts at the object store: one small object names every file, and is replaced whole.

Objects are written under names that no other content has, and count only when a manifest names them. A manifest is the
next number that nobody has written before; so of two writers who know the same one, one is refused, and a reader has all
of a manifest or all of the one before.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote

from mlobs_pipelines.store.objects import ObjectStore, StorageError

KEPT = timedelta(days=1)
"""How long a manifest that was replaced stays, with what it names: readers may be at it."""

MODELS = "models"

MOST_READ = 100


@dataclass(frozen=True)
class Entry:
    """A file: SHA-256 and number of its bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """``number``: how many there were before it. ``turn``: whose run wrote the nights. ``files``: by path below the home."""

    number: int = 0
    turn: int = 0
    files: Mapping[str, Entry] = field(default_factory=dict)


def key_of(model: str, path: str, sha256: str) -> str:
    """Under which a file's content is kept."""
    return f"{MODELS}/{model}/files/{quote(path)}.{sha256[:32]}"


def latest(store: ObjectStore, model: str, known: Manifest | None = None) -> Manifest:
    """The manifest that counts; number 0 where nothing was published. ``known`` spares reading it again.

    Raises:
        StorageError: it can't be read.
    """
    for _ in range(MOST_READ):
        keys = sorted(store.find(_folder(model)))
        if not keys:
            return Manifest()
        if known and keys[-1] == _key(model, known.number):
            return known
        data = store.get(keys[-1])
        if data is not None:  # else it was replaced and swept since
            return _parse(data, f"{store.url}/{keys[-1]}")
    raise StorageError(f"{store.url}/{_folder(model)} does not stand still; try again")


def publish(store: ObjectStore, model: str, manifest: Manifest) -> bool:
    """Let a manifest count; false where another one has its number."""
    document = {
        "turn": manifest.turn,
        "number": manifest.number,
        "written_by": uuid.uuid4().hex,  # no other writer's bytes are the same
        "files": {path: [entry.sha256, entry.size] for path, entry in sorted(manifest.files.items())},
    }
    return store.create(_key(model, manifest.number), gzip.compress(json.dumps(document).encode()))


def models(store: ObjectStore) -> list[str]:
    """Every model of which something was published."""
    return store.folders(MODELS)


def sweep(store: ObjectStore, model: str, *, kept: timedelta = KEPT) -> int:
    """Remove what no manifest names that counts or was replaced a short while ago; gives how many objects that were.

    Call it only while having the model's turn. What is younger than ``kept`` stays, for somebody may be writing it.
    """
    manifests = store.find(_folder(model))
    times = [found.written for found in manifests.values() if found.written]
    if len(manifests) < 2 or not times or max(times) - min(times) <= kept:
        return 0
    before = max(times) - kept  # the store's clock
    order = sorted(manifests)
    old = {order[i] for i in range(len(order) - 1) if (at := manifests[order[i + 1]].written) and at < before}
    named: set[str] = set()
    for key in order:
        data = None if key in old else store.get(key)
        if data is not None:
            files = _parse(data, key).files
            named |= {key_of(model, path, entry.sha256) for path, entry in files.items()}
    found = store.find(f"{MODELS}/{model}/files")
    gone = [key for key, info in found.items() if key not in named and info.written and info.written < before]
    store.delete([*sorted(old), *gone])  # manifests first: none names what is not there
    return len(old) + len(gone)


def _folder(model: str) -> str:
    return f"{MODELS}/{model}/manifest"


def _key(model: str, number: int) -> str:
    return f"{_folder(model)}/{number:010d}.json.gz"


def _parse(data: bytes, shown: str) -> Manifest:
    try:
        found = json.loads(gzip.decompress(data))
        files = {path: Entry(sha256, size) for path, (sha256, size) in found["files"].items()}
        return Manifest(found["number"], found["turn"], files)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{shown} is no manifest: {' '.join(str(error).split())[:200]}") from None
