"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def published(path: Path) -> Iterator[Path]:
    """Give a draft's path beside ``path``; rename it into place when the block ends well.

    A reader sees the old file or the new one, never half; a killed writer leaves a draft that
    no reader looks at and that the next writer of the same file sweeps away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.draft")
    try:
        yield draft
        with draft.open("rb") as handle:
            os.fsync(handle.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Publish a text file atomically."""
    with published(path) as draft:
        draft.write_text(text, encoding="utf-8")


def sweep_drafts(folder: Path) -> int:
    """Remove drafts that killed runs left below ``folder``. Call only while holding the model's lock."""
    drafts = list(folder.rglob(".*.draft"))
    for draft in drafts:
        draft.unlink(missing_ok=True)
    return len(drafts)
