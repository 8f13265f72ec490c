"""What each channel was told of each incident of a model: ``outbox/told/<model>/<channel>.json``.

What is remembered and the message that says it must both be there, or neither. So the intent is written first, whole; whoever
finds one that a killed process left carries it out. Each step may be done twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlobs_pipelines.act.alerts import outbox
from mlobs_pipelines.act.alerts.news import Known
from mlobs_pipelines.act.alerts.outbox import Envelope
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.lock import exclusive


@dataclass(frozen=True)
class Memory:
    """``seq``: messages of this model to this channel so far. ``incidents``: what it knows, by incident id."""

    seq: int = 0
    incidents: dict[str, Known] = field(default_factory=dict)


def recall(home: Home, model: str, channel: str) -> Memory:
    """What a channel was told; nothing, if that was lost: then only what is new today is told again."""
    try:
        fields = json.loads(_file(home, model, channel).read_text(encoding="utf-8"))
        return Memory(fields["seq"], {name: Known(**known) for name, known in fields["incidents"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def remember(home: Home, model: str, channel: str, memory: Memory, envelope: Envelope | None) -> None:
    """Keep what a channel knows, together with the message that tells it, if there is one. Hold the model's turn."""
    document = {"memory": dataclasses.asdict(memory), "envelope": envelope.text() if envelope else None}
    if envelope is not None:
        write_text(_intent(home, model, channel), json.dumps(document, ensure_ascii=False))
    _carry_out(home, model, channel, document)


def recover(home: Home) -> None:
    """Carry out what killed processes intended; a model whose turn another process has is left to that one."""
    for path in sorted((home.outbox / "told").glob("*/*.intent")):
        with contextlib.suppress(TimeoutError), turn(home, path.parent.name, timeout=0.0):
            _recover(home, path)


@contextlib.contextmanager
def turn(home: Home, model: str, timeout: float = 60.0) -> Iterator[None]:
    """Be the one that decides what is told of a model; carries out first what a killed process intended.

    Raises:
        TimeoutError: another one takes longer than ``timeout`` seconds.
    """
    with exclusive(home.outbox / "told" / f"{model}.lock", timeout=timeout):
        for path in sorted((home.outbox / "told" / model).glob("*.intent")):
            _recover(home, path)
        yield


def new_id(home: Home, model: str, channel: str, night: dt.date, memory: Memory) -> tuple[str, int]:
    """An id that no message had, and its number; the same after a crash before the message was kept."""
    seq = memory.seq + 1
    while outbox.known(home, name := f"{model}-{night}-{channel[:8]}-{seq:06d}"):
        seq += 1
    return name, seq


def _recover(home: Home, path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # the process whose turn it was has carried it out
        _carry_out(home, path.parent.name, path.stem, json.loads(path.read_text(encoding="utf-8")))


def _carry_out(home: Home, model: str, channel: str, document: dict[str, Any]) -> None:
    if document["envelope"] is not None:
        outbox.add(home, outbox.parse(document["envelope"]))
    text = json.dumps(document["memory"], ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    path = _file(home, model, channel)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    _intent(home, model, channel).unlink(missing_ok=True)


def _file(home: Home, model: str, channel: str) -> Path:
    return home.outbox / "told" / model / f"{channel}.json"


def _intent(home: Home, model: str, channel: str) -> Path:
    return home.outbox / "told" / model / f"{channel}.intent"
