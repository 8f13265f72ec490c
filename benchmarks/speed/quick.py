"""What a person or a cron job feels with small data: `make bench-quick`, or `python -m benchmarks.speed.quick`.

Whole processes, beside a bare interpreter that imports what every command needs: a night of 1,000 rows and 40 features
through `mlobs run`, Dagster and dbt included; `mlobs status` and `mlobs sql`; Dagster's code location with 50 models; and,
inside of it, ticks of sensors and schedules, each with an instance that it opens itself, as in Dagster's own process.
Prints medians. Ratios hold on a noisy machine, seconds may not.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.speed.workload import FIRST, MODEL, Workload, write
from mlobs_pipelines.orchestration.instance import dagster_home
from mlobs_pipelines.store.layout import Home

ROWS, NIGHTS, MODELS = 1_000, 5, 50
MEASURED = 3
"""How many of the nights are measured: the last ones."""

BARE = "import duckdb, polars, pydantic, pyarrow"
MLOBS = [sys.executable, "-m", "mlobs_pipelines.cli"]


def seconds(deed: Callable[[], object]) -> float:
    began = time.perf_counter()
    deed()
    return time.perf_counter() - began


def process(command: Sequence[str], **variables: str) -> str:
    """A command's standard output; what else it prints is shown if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def command(*arguments: str, times: int = 5) -> float:
    return statistics.median(seconds(lambda: process(arguments)) for _ in range(times))


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
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "one")
        write(home.root, Workload(ROWS, NIGHTS))
        mlobs = [*MLOBS, "--home", str(home.root)]
        dates = [str(FIRST + dt.timedelta(days=i)) for i in range(NIGHTS)]
        process([*mlobs, "run", MODEL, "--from", dates[0], "--to", dates[-MEASURED - 1]])
        nights = [seconds(lambda d=d: process([*mlobs, "run", MODEL, "--date", d])) for d in dates[-MEASURED:]]
        bare = command(sys.executable, "-c", BARE)
        told = [
            ("python -c 'import duckdb, polars, pydantic, pyarrow'", bare),
            (f"a night of {ROWS:,} rows (mlobs run)", statistics.median(nights)),
            ("mlobs status", command(*mlobs, "status")),
            ("mlobs sql 'select count(*) from metrics'", command(*mlobs, "sql", "select count(*) from metrics")),
        ]
        many = fifty_models(Path(folder) / "many", home)
        place = {"MLOBS_HOME": str(many.root), "DAGSTER_HOME": str(dagster_home(many))}
        load = "import json, sys; from benchmarks.speed.quick import code_location as load; "
        load += "print(json.dumps(load(float(sys.argv[1]))))"
        runs = [json.loads(process([sys.executable, "-c", load, str(time.time())], **place)) for _ in range(3)]
        told += [(name, statistics.median(run[name] for run in runs)) for name in runs[0]]
    print(f"{'median':58} {'seconds':>8} {'ratio':>6}")
    for name, value in told:
        print(f"{name:58} {value:8.2f} {value / bare:6.1f}")


if __name__ == "__main__":
    main()
