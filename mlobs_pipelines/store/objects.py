"""An object store behind any fsspec URL: whole objects by key, tried again where the connection was lost."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from mlobs_pipelines.errors import UserError

PATIENCE = 60.0
"""Seconds for which an object store that does not answer is asked again."""

AT_A_TIME = 8
"""Objects that are on their way at the same time."""

_LOST = {
    *("ConnectionError", "HTTPClientError", "ClientConnectionError", "ClientPayloadError", "ServerDisconnectedError"),
    *("IncompleteReadError", "ResponseStreamingError", "TimeoutError", "RequestException"),
}
"""Names of the libraries' errors (or of what these derive from) that say that a connection was lost."""

_BUSY = (errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO), errno.ETIMEDOUT)

T = TypeVar("T")
A = TypeVar("A")


class StorageError(UserError):
    """The object store can't be used, or is used by somebody else; the message is one line that says what to do."""


@dataclass(frozen=True)
class Listed:
    """One object: its bytes, and when it was written by the store's own clock, where that says."""

    size: int
    written: datetime | None


class ObjectStore:
    """Objects below a URL. Keys are relative to it, with ``/`` between their parts.

    Args:
        url: such as ``s3://bucket/prefix``.
        options: arguments of the URL's file system.
        setting: what errors call the place where the URL is written.
    """

    def __init__(self, url: str, options: Mapping[str, Any], setting: str) -> None:
        self.url = re.sub(r"://[^/@]*@", "://", url)  # which is shown
        self._address, self._options, self._setting = url, dict(options), setting
        self._system, self._root = self._connected()
        self._local = "file" in self._protocols()

    def find(self, folder: str) -> dict[str, Listed]:
        """Every object below a folder, by key; empty where there is none."""
        begin = f"{self._root}/"

        def look() -> dict[str, Any]:
            try:
                found: dict[str, Any] = self._system.find(f"{begin}{folder}", detail=True)
            except FileNotFoundError as error:
                if _no_bucket(error):
                    raise
                return {}
            return found

        found = self._tried(look)
        return {
            name[name.index(begin) + len(begin) :]: Listed(int(info.get("size") or 0), _written(info))
            for name, info in sorted(found.items())
            if not name.endswith(".draft")
        }

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""

        def names() -> list[str]:
            try:
                found = self._system.ls(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError as error:
                if _no_bucket(error):
                    raise
                return []
            return [info["name"].rstrip("/").rsplit("/", 1)[-1] for info in found if info["type"] == "directory"]

        return sorted(self._tried(names))

    def get(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none."""

        def read() -> bytes | None:
            try:
                found: bytes = self._system.cat_file(self._path(key))
            except FileNotFoundError as error:
                if _no_bucket(error):
                    raise
                return None
            return found

        return self._tried(read)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in place of one that is there."""
        if self._local:
            self._tried(lambda: self._written_aside(key, data, lambda draft, path: draft.replace(path)))
        else:
            self._tried(lambda: self._system.pipe_file(self._path(key), data))

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; gives whether ours is there. Of several writers one is told yes, where
        the store has conditional writes and ``data`` differ.
        """

        def write() -> bool:
            try:
                if self._local:
                    self._written_aside(key, data, os.link)
                else:
                    self._system.pipe_file(self._path(key), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno != errno.EINVAL or self.get(key) is None:  # a precondition that failed, said otherwise
                    raise
                return False
            return True

        # An answer that was lost is asked for again, and then says that what we wrote ourselves is there.
        return self._tried(write) or self.get(key) == data

    def upload(self, file: Path, key: str) -> None:
        """Write a file's bytes as an object."""
        if self._local:
            self.put(key, file.read_bytes())
        else:
            self._tried(lambda: self._system.put_file(str(file), self._path(key)), absent=file)

    def download(self, key: str, file: Path, sha256: str) -> bool:
        """Write an object's bytes to a file; gives whether there is such an object.

        Raises:
            StorageError: the bytes are not those that were written.
        """
        for _ in range(2):
            if not self._tried(lambda: self._fetched(key, file)):
                return False
            if digest(file) == sha256:
                return True
        raise StorageError(f"{self._setting}: {self.url}/{key} is not what was written: its SHA-256 differs")

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are passed over."""
        for key in keys:

            def remove(path: str = self._path(key)) -> None:
                with contextlib.suppress(FileNotFoundError):
                    self._system.rm_file(path)

            self._tried(remove)

    def _fetched(self, key: str, file: Path) -> bool:
        try:
            self._system.get_file(self._path(key), str(file))
        except FileNotFoundError as error:
            if _no_bucket(error):
                raise
            return False
        return True

    def _written_aside(self, key: str, data: bytes, publish: Callable[[Path, Path], Any]) -> None:
        """A folder's file is written aside first, for others would see it half."""
        path = Path(self._path(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{uuid.uuid4().hex}.draft")
        try:
            with draft.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            publish(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _protocols(self) -> tuple[str, ...]:
        named = self._system.protocol
        return (named,) if isinstance(named, str) else tuple(named)

    def _connected(self) -> tuple[Any, str]:
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(self._address, use_listings_cache=False, **self._options)
        except ImportError as error:
            needed = " (for s3://: pip install 'mlobs_pipelines[s3]')" if self.url.startswith("s3") else ""
            raise StorageError(f"{self._setting}: {self.url} needs another package{needed}: {_line(error)}") from None
        except Exception as error:  # whatever a file system's own code makes of its options
            raise StorageError(f"{self._setting}, storage_options: {self.url} can't be used: {_line(error)}") from None
        return system, root.rstrip("/")

    def _tried(self, action: Callable[[], T], absent: Path | None = None) -> T:
        """Do something at the store, again and again while it does not answer."""
        deadline, pause = time.monotonic() + PATIENCE, 0.1
        while True:
            try:
                return action()
            except Exception as error:  # each library has errors of its own
                if isinstance(error, FileNotFoundError) and absent is not None and not absent.exists():
                    raise
                if not _lost(error):
                    raise self._told(error) from None
                if time.monotonic() > deadline:
                    raise StorageError(f"{self._setting}: {self.url} does not answer: {_line(error)}") from None
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _told(self, error: Exception) -> Exception:
        if isinstance(error, StorageError):
            return error
        if isinstance(error, FileNotFoundError):
            return StorageError(f"{self._setting}: {self.url} is not there: {_line(error)}; make the bucket first")
        names = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, PermissionError) or any("Credential" in name for name in names):
            return StorageError(
                f"{self._setting}: {self.url} refuses these credentials: {_line(error)}; see storage_options (key, "
                "secret) or the environment"
            )
        return StorageError(f"{self._setting}: {self.url} can't be used: {_line(error)}")


def in_parallel(function: Callable[[A], T], arguments: Iterable[A]) -> list[T]:
    """Call a function that waits for the store with each argument, some at a time; answers in the arguments' order."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(function, arguments))


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _lost(error: Exception) -> bool:
    """Whether an error may be gone when it is tried again."""
    if isinstance(error, (FileNotFoundError, PermissionError, FileExistsError)):
        return False
    if isinstance(error, OSError) and error.errno in _BUSY:
        return True
    return bool(_LOST & {kind.__name__ for kind in type(error).__mro__})


def _no_bucket(error: FileNotFoundError) -> bool:
    """Whether it is the bucket that is not there, and not only an object."""
    answer = getattr(error.__cause__, "response", None)
    code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
    return code == "NoSuchBucket" or "bucket does not exist" in str(error)


def _written(info: Mapping[str, Any]) -> datetime | None:
    names = ("LastModified", "last_modified", "updated", "mtime", "created")
    found = next((info[name] for name in names if info.get(name)), None)
    if isinstance(found, float):
        return datetime.fromtimestamp(found, UTC)
    return found if isinstance(found, datetime) and found.tzinfo else None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
