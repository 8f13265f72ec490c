from __future__ import annotations

import subprocess
import sys


def test_the_language_is_imported_without_anything_heavy() -> None:
    heavy = ["dagster", "polars", "pyarrow", "numpy", "duckdb", "pandas", "jsonschema"]
    code = f"import sys, mlobs_pipelines.spec; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
