"""A real `mlobs serve` on a free port, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@contextlib.contextmanager
def served(home: Path, *options: str, **environment: str) -> Iterator[str]:
    """Serve a home; gives the address of the overview, without the last slash."""
    command = [sys.executable, "-m", "mlobs_pipelines.cli", "--home", str(home), "serve", "--port", "0", *options]
    env = {k: v for k, v in os.environ.items() if k not in ("MLOBS_URL", "MLFLOW_TRACKING_URI", "DAGSTER_URL")}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=env | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("http://"), line + process.stdout.read()
            yield line.split("/  ")[0]
        finally:
            process.terminate()
            process.wait(10)
