"""The log at an object store: an object for each entry, called after its number, which is written once.

Of two machines that add an entry after the same one, one is refused and reads on first; so the chain never forks, where
the store has conditional writes.
"""

from __future__ import annotations

from mlobs_pipelines.store.objects import ObjectStore, in_parallel

FOLDER = "log"


def entry(store: ObjectStore, seq: int) -> bytes | None:
    """The line of an entry, without the newline; None where there is none yet."""
    return store.get(_key(seq))


def after(store: ObjectStore, seq: int) -> list[bytes]:
    """The lines of all entries after the one with this number, in order."""
    first = entry(store, seq + 1)
    if first is None:
        return []
    keys = {key for key in store.find(FOLDER) if key > _key(seq + 1)}
    found = [first]
    ordered: list[int] = []
    while _key(number := seq + 2 + len(ordered)) in keys:
        ordered.append(number)
    for line in in_parallel(lambda number: entry(store, number), ordered):
        if line is None:
            break
        found.append(line)
    return found


def add(store: ObjectStore, seq: int, line: bytes) -> bool:
    """Add an entry, unless another machine has added one with this number."""
    return store.create(_key(seq), line)


def _key(seq: int) -> str:
    return f"{FOLDER}/{seq:010d}.json"
