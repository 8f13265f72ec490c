"""What a working copy knows of its object store: a file of its own for each model, that no other machine reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.manifest import Entry, Manifest
from mlobs_pipelines.store.objects import digest


@dataclass
class State:
    """What a working copy knows of a model. ``begun``: nights that are being written and are not whole. ``own``: the home
    had nights before it saw the store, and they are not there yet. ``files``: what tells of each file that it is the
    same, and its SHA-256. ``base``: the SHA-256 of what was fetched or published last."""

    url: str
    manifest: Manifest = field(default_factory=Manifest)
    begun: set[str] = field(default_factory=set)
    own: bool = False
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    base: dict[str, str] = field(default_factory=dict)
    uploaded: set[str] = field(default_factory=set)

    def sha256(self, home: Home, path: str, state: str) -> str:
        """A file's SHA-256, computed where ``state`` tells that it is not the same any more."""
        known = self.files.get(path)
        if not known or known[0] != state:
            known = self.files[path] = state, digest(home.root / path)
        return known[1]


def load(home: Home, model: str, url: str) -> State | None:
    """What the working copy knows of this store; None where it never saw it."""
    try:
        found = json.loads(file_of(home, model).read_text(encoding="utf-8"))
        said = found["manifest"]
        files = {path: Entry(sha256, size) for path, (sha256, size) in said["files"].items()}
        state = State(
            url=found["url"],
            manifest=Manifest(said["number"], said["turn"], files),
            begun=set(found["begun"]),
            own=found["own"],
            files={path: (told, sha256) for path, (told, sha256) in found["files"].items()},
            base=found["base"],
            uploaded=set(found["uploaded"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return state if state.url == url else None


def save(home: Home, model: str, state: State) -> None:
    """Keep what the working copy knows."""
    manifest = state.manifest
    files = {path: (entry.sha256, entry.size) for path, entry in manifest.files.items()}
    document = vars(state) | {
        "manifest": {"number": manifest.number, "turn": manifest.turn, "files": files},
        "begun": sorted(state.begun),
        "uploaded": sorted(state.uploaded),
    }
    write_text(file_of(home, model), json.dumps(document))


def file_of(home: Home, model: str) -> Path:
    """Where it is kept."""
    return home.storage / f"{model}.json"
