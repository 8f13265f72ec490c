"""Replays the real data sets and prints their incidents, to be read one by one: `python -m tests.real.incidents [SET …]`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.people import newest
from mlobs_pipelines.store.read import table
from tests.real import logs
from tests.real.replay import replay

SETS: dict[str, Callable[[Home], logs.Log]] = {
    "elec2": lambda home: logs.prepare_elec2(home, nights=150),
    "bike_hour": lambda home: logs.prepare_bike_hour(home, nights=200),
    "shelter": lambda home: logs.prepare_shelter_outcomes(home, nights=240),
    "adult": logs.prepare_adult,
    "sba": logs.prepare_sba_loans,
}


def main(wanted: list[str]) -> None:
    for name in wanted or list(SETS):
        with tempfile.TemporaryDirectory() as folder:
            log = SETS[name](Home(Path(folder)))
            replay(log)
            found = newest(table(log.home, "incidents", log.model)).sort("opened_as_of", "incident_id")
            print(f"{name}: {len(log.nights)} nights, {found.height} incidents")
            for row in found.iter_rows(named=True):
                ended = f"resolved {row['resolved_as_of']}" if row["resolved_as_of"] else "still open"
                silent = len(json.loads(row["evidence"])["absorbed"])
                print(
                    f"  {row['severity']} {row['kind']} {row['incident_id']}, {ended}, {row['nights']} nights, {silent} silenced"
                )
                print(f"    {row['diagnosis']}")


if __name__ == "__main__":
    main(sys.argv[1:])
