"""How often the judge is wrong: `python -m benchmarks.detection [WORLDS] [DAYS]`.

Replays worlds in which nothing is wrong and counts incidents, then worlds with the demo's faults and tells how many
days each took to be found. Labels are final after 14 days, so what rests on labels cannot be found sooner.
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.simulate.faults import Fault
from mlobs_pipelines.simulate.planted import found, planted
from mlobs_pipelines.simulate.world import FIRST_DAY
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.people import newest
from mlobs_pipelines.store.read import table

MODEL = "card_fraud"


def replayed(root: Path, seed: int, days: int, faults: Sequence[Fault]) -> tuple[Home, pl.DataFrame]:
    """A world's incidents, each as the last night knows it."""
    home = Home(root)
    write_world(home, seed=seed, days=days, faults=faults)
    spec = load_spec(home.spec_file(MODEL))
    wanted = [FIRST_DAY + dt.timedelta(days=i) for i in range(days)]
    steps.ingest(home, spec, wanted)
    steps.join(home, spec, wanted)
    steps.profile(home, spec, wanted)
    steps.measure(home, spec, wanted, "bench")
    return home, newest(table(home, "incidents", MODEL))


def main(worlds: int = 3, days: int = 60) -> None:
    alarms: Counter[str] = Counter()
    watched = 0
    for seed in range(100, 100 + worlds):
        with tempfile.TemporaryDirectory() as folder:
            home, incidents = replayed(Path(folder) / "home", seed, days, ())
            watched += table(home, "signals", MODEL).height
            alarms.update(incidents["severity"].to_list())
            for row in incidents.iter_rows(named=True):
                print(f"  world {seed}: {row['severity']} {row['incident_id']}: {row['title']} [{row['segment']}]")
            assert len(home.store_nights("incidents", MODEL).all()) == days
    months = worlds * days / 30
    above = alarms["warning"] + alarms["critical"]
    print(
        f"nothing wrong: {watched:,} numbers judged in {months:.0f} model-months; false incidents {dict(alarms) or 'none'}"
    )
    print(f"above info: {above / months:.2f} a model-month, budget {1.0}")
    missed, delays = 0, defaultdict[str, list[int]](list)
    faults = planted()
    for seed in range(200, 200 + worlds):
        with tempfile.TemporaryDirectory() as folder:
            _, incidents = replayed(Path(folder) / "home", seed, days, tuple(p.fault for p in faults))
            for verdict in found(faults, incidents, FIRST_DAY + dt.timedelta(days=days - 1)):
                said = f"  world {seed}: {verdict.planted.what}: {verdict.verdict}"
                missed += verdict.verdict == "missed"
                if verdict.incident is None:
                    print(said)
                    continue
                if verdict.differs:
                    told = {column: str(verdict.incident[column]) for column in verdict.differs}
                    print(f"{said}; {verdict.incident['incident_id']} says otherwise {told}")
                    continue
                delays[verdict.planted.what].append((verdict.incident["opened_as_of"] - verdict.planted.start).days)
                print(f"{said}, {delays[verdict.planted.what][-1]} days after it began")
    print(f"planted faults missed: {missed}; mean days until each was found:")
    for what, days_each in delays.items():
        print(f"  {sum(days_each) / len(days_each):5.1f}  {what} ({len(days_each)} of {worlds})")


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:3]))
