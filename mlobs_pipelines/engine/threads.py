"""Work on several threads: how many, and what is done while what came before it is in use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def workers() -> int:
    """How many threads to work with: ``MLOBS_THREADS``, by default one for each core."""
    return int(os.environ.get("MLOBS_THREADS", "0")) or os.cpu_count() or 1


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, none of them None, each made in a thread while the one before it is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
