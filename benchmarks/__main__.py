"""What a person feels: how long the quick commands take on a home with three models, beside a bare interpreter.

`make bench`, or `python -m benchmarks`. Prints medians of whole processes; ratios hold on a noisy machine, seconds may not.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home

RUNS = 7
NIGHTS = 3
MODELS = ("card_fraud", "card_fraud_eu", "card_fraud_us")


def home_with_three_models(root: Path) -> Home:
    home = Home(root)
    write_world(home, seed=7, days=NIGHTS, payments_per_day=300)
    first = yaml.safe_load(home.spec_file(MODELS[0]).read_text())
    nights = [dt.date(2026, 1, 1) + dt.timedelta(days=i) for i in range(NIGHTS)]
    for model in MODELS:
        home.spec_file(model).write_text(yaml.safe_dump({**first, "model": model}, sort_keys=False))
        began = time.perf_counter()
        run_model(home, load_spec(home.spec_file(model)), nights)
        print(f"nightly run of {NIGHTS} nights x 300 rows, {model}: {time.perf_counter() - began:.1f} s")
    return home


def median(command: list[str]) -> float:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = home_with_three_models(Path(folder))
        mlobs = [str(Path(sys.executable).with_name("mlobs")), "--home", str(home.root)]
        bare = median([sys.executable, "-c", "import duckdb, polars, pydantic, pyarrow"])
        commands = {
            "python, importing duckdb, polars, pydantic and pyarrow": bare,
            "mlobs status (3 models)": median([*mlobs, "status"]),
            "mlobs sql (count of metrics)": median([*mlobs, "sql", "select count(*) from metrics"]),
        }
    print(f"\n{'median of ' + str(RUNS):58} seconds  ratio")
    for name, seconds in commands.items():
        print(f"{name:58} {seconds:7.2f} {seconds / bare:6.2f}")


if __name__ == "__main__":
    main()
