"""A spec's source -> the files that were delivered, sorted; what each holds is remembered, as a cache only."""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.layout import Home

EXTENSIONS: dict[str, str] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
}
"""How a file's name ends -> the reader's name."""

_URL = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.\-]*)://")
_TABLE = re.compile(r"^(.+\.(?:duckdb|ddb|db))#(.+)$", re.IGNORECASE)
_CHUNK = 1 << 20


class IngestError(UserError):
    """The night can't be taken in; the message is one line that says what to do."""


@dataclass(frozen=True)
class Delivered:
    """One file (or table) as it was delivered.

    ``path`` is how people see it: relative to the home where below it, without credentials. ``location`` opens it.
    """

    path: str
    location: str
    kind: str
    size: int
    fingerprint: str
    table: str | None = None

    @property
    def remote(self) -> bool:
        """Whether it must be fetched before it is read."""
        return bool(_URL.match(self.location))


@dataclass(frozen=True)
class Listing:
    """What a source holds now, by path; ``missing`` entries point nowhere, ``empty`` ones hold no file."""

    files: tuple[Delivered, ...]
    missing: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


def nearest(name: str, names: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest spelling, or an empty string."""
    known = list(names)
    folded = {n.lower(): n for n in reversed(known)}
    close = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.7)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def kind_of(path: str) -> str:
    """The reader's name for a file, by how its name ends; '' if none is known."""
    lowered = path.lower()
    return next((kind for end, kind in EXTENSIONS.items() if lowered.endswith(end)), "")


def list_delivered(home: Home, source: str | Sequence[str]) -> Listing:
    """Every file that a source (a file, glob, folder, ``file.duckdb#table``, local or a URL; or a list) holds.

    Raises:
        IngestError: a URL's file system can't be reached.
    """
    files: dict[str, Delivered] = {}
    missing, empty = [], []
    for entry in [source] if isinstance(source, str) else source:
        scheme = _URL.match(entry)
        if scheme and scheme[1].lower() == "file":
            entry, scheme = entry[len("file://") :], None  # noqa: PLW2901 - a file URL is a path
        found = _remote(entry) if scheme else _local(home, entry)
        if found is None:
            missing.append(_without_credentials(entry))
        elif not found:
            empty.append(_without_credentials(entry))
        for file in found or ():
            files.setdefault(file.location + "#" + (file.table or ""), file)
    ordered = sorted(files.values(), key=lambda f: (f.path, f.location))
    return Listing(tuple(ordered), tuple(missing), tuple(empty))


def _local(home: Home, entry: str) -> list[Delivered] | None:
    table = _TABLE.match(entry)
    if table:
        path = home.root / table[1]
        return [_local_file(home, path, table[2])] if path.is_file() else None
    path = home.root / entry
    if path.is_file():
        return [_local_file(home, path)]
    if path.is_dir():
        below = (p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)) and kind_of(p.name))
        return [_local_file(home, p) for p in below]
    if glob.has_magic(entry):
        base = Path(*_before_magic(path.parts))
        if not base.is_dir():
            return None
        matched = (Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob refuses absolute
        return [_local_file(home, p) for p in matched if p.is_file()]
    return None


def _before_magic(parts: Sequence[str]) -> Iterable[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _local_file(home: Home, path: Path, table: str | None = None) -> Delivered:
    status = path.stat()
    shown = str(path.relative_to(home.root)) if path.is_relative_to(home.root) else str(path)
    kind = "duckdb" if table else kind_of(path.name)
    return Delivered(shown, str(path), kind, status.st_size, _fingerprint(status), table)


def _fingerprint(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _without_credentials(entry: str) -> str:
    return re.sub(r"://[^/@]*@", "://", entry)


def _remote(entry: str) -> list[Delivered] | None:
    import fsspec

    shown = _without_credentials(entry)
    try:
        system, path = fsspec.core.url_to_fs(entry)
        if glob.has_magic(path):
            names = [n for n in system.glob(path) if not system.isdir(n)]
        elif system.isdir(path):
            names = [n for n in system.find(path) if kind_of(n)]
        elif system.exists(path):
            names = [path]
        else:
            return None
        return [_remote_file(system, entry, name) for name in sorted(names)]
    except (OSError, ImportError, ValueError) as error:
        raise IngestError(f"source {shown} can't be reached: {_first_line(error)}") from error


def _remote_file(system: Any, entry: str, name: str) -> Delivered:
    info = system.info(name)
    marks = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
    mark = next((info[m] for m in marks if info.get(m) is not None), None)
    size = int(info.get("size") or 0)
    protocol = entry.split("://", 1)[0]
    plain = name if _URL.match(name) else f"{protocol}://{name.lstrip('/') if protocol != 'memory' else name}"
    # The location keeps what the owner wrote before the host (user, port), for it is opened again.
    credentials = re.match(r"^[a-z0-9+.\-]+://[^/@]*@", entry, re.IGNORECASE)
    location = plain if not credentials else credentials[0] + plain.split("://", 1)[1]
    return Delivered(_without_credentials(plain), location, kind_of(name), size, f"{size}-{mark}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def fetch(file: Delivered, folder: Path, name: str) -> Path:
    """A local path, safe to name in SQL, through which the file is read: a link, or a copy of a remote file.

    ``name`` must be the file's own in this run: what a reader keeps in the engine is called after it.

    Raises:
        OSError: it can't be read.
    """
    end = next((e for e in EXTENSIONS if file.location.lower().endswith(e)), "")
    local = folder / f"{name}{end}"
    if local.is_symlink() or local.exists():
        return local
    if not file.remote:
        local.symlink_to(Path(file.location).absolute())
        return local
    import fsspec

    try:
        with fsspec.open(file.location, "rb", compression=None) as remote, local.open("wb") as copy:
            shutil.copyfileobj(remote, copy, _CHUNK)
    except BaseException:
        local.unlink(missing_ok=True)
        raise
    return local


def unchanged(file: Delivered) -> bool:
    """Whether a file still is what was listed; what was fetched is."""
    if file.remote:
        return True
    try:
        status = Path(file.location).stat()
    except OSError:
        return False
    return _fingerprint(status) == file.fingerprint


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
