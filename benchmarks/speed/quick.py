"""What a person or a cron job feels with small data: `make bench-quick`, or `python -m benchmarks.speed.quick`.

Whole processes, beside a bare interpreter that imports what every command needs: a night of 1,000 rows and 40 features
through `mlobs run`, Dagster and dbt included; `mlobs status` and `mlobs sql`; Dagster's code location with 50 models; and,
inside of it, ticks of sensors and schedules, each with an instance that it opens itself, as in Dagster's own process.
Prints medians beside their targets, and fails if one is missed. On a machine that others use too CPU seconds and ratios
say more than seconds.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.speed.processes import MLOBS, Cost, measured
from benchmarks.speed.workload import FIRST, MODEL, Workload, write
from mlobs_pipelines.orchestration.instance import dagster_home
from mlobs_pipelines.store.layout import Home

ROWS, NIGHTS, MODELS = 1_000, 3, 50
REPEATED, LONG = 3, 2
"""How often a command is measured, and what takes longer: the last nights, and loading the code location."""

NIGHT, COMMAND, LOCATION, TICK = 15.0, 1.0, 10.0, 1.0
"""The most seconds that each may take."""

BARE = "import duckdb, polars, pydantic, pyarrow"
QUERY = "select count(*) from metrics"


@dataclass(frozen=True)
class Line:
    """A line of the table: median seconds, CPU seconds where a process is measured, and the most it may take."""

    name: str
    seconds: float
    cpu: float | None = None
    target: float | None = None

    @property
    def met(self) -> bool:
        return self.target is None or self.seconds <= self.target


def seconds(deed: Callable[[], object]) -> float:
    began = time.perf_counter()
    deed()
    return time.perf_counter() - began


def process(command: Sequence[str], **variables: str) -> tuple[Cost, str]:
    """What a command cost and printed; what it printed is shown if it fails."""
    cost, said = measured(command, **variables)
    if cost.failure:
        raise SystemExit(said)
    return cost, said


def line(name: str, costs: Sequence[Cost], target: float | None = None) -> Line:
    return Line(name, statistics.median(c.seconds for c in costs), statistics.median(c.cpu for c in costs), target)


def often(name: str, target: float | None, *arguments: str) -> Line:
    """A command three times."""
    return line(name, [process(arguments)[0] for _ in range(REPEATED)], target)


def fifty_models(root: Path, home: Home) -> Home:
    """A home of 50 models that have the nights of the one in ``home``, and its log."""
    many = Home(root)
    many.models.mkdir(parents=True)
    (root / "data").symlink_to(home.root / "data")
    first = yaml.safe_load(home.spec_file(MODEL).read_text(encoding="utf-8"))
    for number in range(MODELS):
        model = f"speed_{number:02d}"
        many.spec_file(model).write_text(yaml.safe_dump(first | {"model": model}, sort_keys=False), encoding="utf-8")
        shutil.copytree(home.lake(MODEL), many.lake(model), copy_function=os.link)
        for table in sorted((home.root / "store").iterdir()):
            if (table / MODEL).is_dir():
                shutil.copytree(table / MODEL, many.store_folder(table.name, model), copy_function=os.link)
    return many


def code_location(began: float) -> dict[str, float]:
    """Load the home at ``MLOBS_HOME`` as Dagster's server does, then evaluate ticks; gives the seconds of each.

    ``began`` is when this process was started.
    """
    import dagster as dg
    from dagster._core.remote_representation.external_data import RepositorySnap

    from mlobs_pipelines.definitions import defs

    repository = defs().get_repository_def()
    RepositorySnap.from_def(repository)  # what the server tells Dagster's pages
    found = {f"code location of {MODELS} models": time.time() - began}
    with dg.DagsterInstance.get() as instance:  # makes its databases
        reference = instance.get_ref()
    now = dt.datetime.now(dt.UTC).replace(hour=2, minute=0)

    def tick(name: str, cursor: str | None = None) -> Any:
        if repository.has_sensor_def(name):
            with dg.SensorEvaluationContext(reference, cursor=cursor, repository_def=repository) as context:
                return repository.get_sensor_def(name).evaluate_tick(context)
        with dg.build_schedule_context(
            dg.DagsterInstance.from_ref(reference), now, repository_def=repository
        ) as context:
            return repository.get_schedule_def(name).evaluate_tick(context)

    def every(names: Sequence[str], cursors: Mapping[str, str | None]) -> float:
        return statistics.median(seconds(lambda: [tick(name, cursors.get(name)) for name in names]) for _ in range(3))

    found["opening Dagster's instance"] = seconds(lambda: dg.DagsterInstance.from_ref(reference).run_storage)
    for kind in ("retrain", "validate_candidate", "promote", "last_night", "nightly"):
        found[f"tick {kind}, one model"] = every([f"speed_00_{kind}"], {})
    found["tick alerts"] = every(["alerts_outbox"], {})
    names = sorted(sensor.name for sensor in repository.sensor_defs)
    found[f"tick of all sensors, {MODELS} models"] = every(names, {name: tick(name).cursor for name in names})
    return found


def main() -> None:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "one")
        write(home.root, Workload(ROWS, NIGHTS, reference_rows=10 * ROWS))
        mlobs = [*MLOBS, "--home", str(home.root)]
        dates = [str(FIRST + dt.timedelta(days=i)) for i in range(NIGHTS)]
        nights = [process([*mlobs, "run", MODEL, "--date", date])[0] for date in dates][-LONG:]
        bare = often(f"python -c '{BARE}'", None, sys.executable, "-c", BARE)
        lines = [
            bare,
            line(f"a night of {ROWS:,} rows (mlobs run)", nights, NIGHT),
            often("mlobs status", COMMAND, *mlobs, "status"),
            often(f"mlobs sql '{QUERY}'", COMMAND, *mlobs, "sql", QUERY),
        ]
        many = fifty_models(Path(folder) / "many", home)
        place = {"MLOBS_HOME": str(many.root), "DAGSTER_HOME": str(dagster_home(many))}
        code = "import json, sys; from benchmarks.speed.quick import code_location as load; "
        code += "print(json.dumps(load(float(sys.argv[1]))))"
        runs = [process([sys.executable, "-c", code, str(time.time())], **place)[1] for _ in range(LONG)]
        told = [json.loads(next(one for one in said.splitlines() if one.startswith("{"))) for said in runs]
        for name in told[0]:
            target = LOCATION if name.startswith("code") else TICK if name.startswith("tick") else None
            lines.append(Line(name, statistics.median(one[name] for one in told), target=target))
    print(
        f"{os.cpu_count()} cores, load average before the run {load:.1f}, medians of {REPEATED}, of nights and loads of {LONG}"
    )
    print(f"{'':2}{'':56} {'seconds':>8} {'target':>7} {'CPU s':>6} {'ratio':>6}")
    for one in lines:
        mark = " " if one.target is None else "✓" if one.met else "✗"
        target = f"{one.target:7.0f}" if one.target else " " * 7
        cpu = f"{one.cpu:6.2f}" if one.cpu is not None else " " * 6
        print(f"{mark} {one.name:56} {one.seconds:8.2f} {target} {cpu} {one.seconds / bare.seconds:6.1f}")
    missed = [one.name for one in lines if not one.met]
    if missed:
        raise SystemExit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
