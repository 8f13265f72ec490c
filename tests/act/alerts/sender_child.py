"""Tells a night and sends it, in a process that may be told to die: `python sender_child.py HOME PIDFILE NIGHT NOW [PUBLISH]`.

With PUBLISH it dies there: see ``die_at_rename``.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path

from mlobs_pipelines.act.alerts.notify import notify
from mlobs_pipelines.act.alerts.send import deliver
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from tests.processes import die_at_rename


def main(home: str, pidfile: str, night: str, now: str, publish: int = 0) -> None:
    Path(pidfile).write_text(str(os.getpid()))
    published = die_at_rename(publish)
    place, time = Home(Path(home)), dt.datetime.fromisoformat(now)
    notify(place, load_spec(place.spec_file("card_fraud")), dt.date.fromisoformat(night), now=time)
    deliver(place, now=time)
    print(published())


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:]))
