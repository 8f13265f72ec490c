"""Nights that an older night, run after them, has put behind: what they said rests on less than is known now.

A night that fills a gap brings facts that later nights, had they run after it, would have known. They are derived
again with it, so that a night's metrics are always what was known at its end. The list is kept in a file until that
is done, for a run may be killed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence

from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home


def mark(home: Home, model: str, wanted: Sequence[dt.date]) -> None:
    """Before nights are taken in: note the later nights that those of them which fill a gap will put behind."""
    taken = home.lake_nights(model, "predictions").all()
    filled = [night for night in wanted if taken and night < taken[-1] and night not in set(taken)]
    if filled:
        later = {night for night in taken if night > filled[0]} | set(_read(home, model))
        write_text(home.behind_file(model), json.dumps(sorted(night.isoformat() for night in later)))


def affected(home: Home, model: str, wanted: Sequence[dt.date]) -> list[dt.date]:
    """The nights to derive: those wanted, and those that are behind; ascending."""
    return sorted({*wanted, *_read(home, model)})


def clear(home: Home, model: str) -> None:
    """After every affected night was measured."""
    home.behind_file(model).unlink(missing_ok=True)


def _read(home: Home, model: str) -> list[dt.date]:
    path = home.behind_file(model)
    return [dt.date.fromisoformat(night) for night in json.loads(path.read_text())] if path.exists() else []
