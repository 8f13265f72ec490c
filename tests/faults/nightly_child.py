"""A nightly run in a process of its own that may be told to die: `python nightly_child.py HOME MODEL FROM TO [PUBLISH]`.

With PUBLISH = n the process kills itself (SIGKILL) when it is about to rename its n-th finished file into place;
with PUBLISH = -n, just after it did. Prints how many files were published.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
from pathlib import Path

from mlobs_pipelines.orchestration.due import nights_between
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home


def main(home: str, model: str, first: str, last: str, publish: int = 0) -> None:
    published = 0
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        nonlocal published
        published += 1
        if published == publish:
            os.kill(os.getpid(), signal.SIGKILL)
        done = rename(self, target)
        if published == -publish:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Path.replace = replace  # type: ignore[method-assign, assignment]
    place = Home(Path(home))
    spec = load_spec(place.spec_file(model))
    run_model(place, spec, nights_between(dt.date.fromisoformat(first), dt.date.fromisoformat(last)))
    print(published)


if __name__ == "__main__":
    main(*sys.argv[1:5], *(int(n) for n in sys.argv[5:6]))
