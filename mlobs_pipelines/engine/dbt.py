"""dbt: where its project is, how it is asked to do something, and what it said when it failed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlobs_pipelines.engine import spark
from mlobs_pipelines.engine.dbt_process import NodeResult, Waiting
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.layout import Home

PROJECT_FILES = ("*.yml", "plugins/*.py", "macros/**/*.sql", "models/**/*.sql", "models/**/*.yml", "tests/**/*.sql")

PARSED = "partial_parse.msgpack"
"""What dbt keeps of a parse in its target folder."""

_WAITING = Waiting()

_installed = functools.cache(importlib.metadata.version)


class DbtError(UserError):
    """dbt failed: what it said, and where its log is; ``results`` are of the nodes that it came to."""

    def __init__(self, said: str, results: Sequence[NodeResult] = ()) -> None:
        super().__init__(said)
        self.results = results


@functools.cache
def project_dir() -> Path:
    """The dbt project: the checkout's beside the package, else the one shipped inside the package.

    Raises:
        DbtError: there is neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "dbt_project", package / "_dbt_project"):
        if (folder / "dbt_project.yml").is_file():
            return folder
    raise DbtError(f"the dbt project is neither beside nor inside {package}; install mlobs_pipelines again")


def project_version() -> str:
    """A short digest of the project's place, target and files, of dbt's own versions and of the engine's, which has hash
    functions of its own: equal digests parse alike and number rows alike."""
    digest = hashlib.sha256(f"{project_dir()}\n{os.environ.get('MLOBS_DBT_TARGET', '')}\n".encode())
    for package in ("dbt-core", "dbt-duckdb", "duckdb"):
        digest.update(f"{package} {_installed(package)}\n".encode())
    root = project_dir()
    for path in sorted({found for pattern in PROJECT_FILES for found in root.glob(pattern)}):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def environment(home: Home, database: Path, working: Path) -> dict[str, str]:
    """Variables for dbt on one database file; ``working`` takes its target, log and spill folders.

    They name the project as parsed for ``manifest``: what differs from database to database is not in dbt's profile,
    so that dbt takes it for its own.

    Raises:
        DbtError: the project cannot be parsed.
    """
    return _variables(database, working, manifest(home).with_name(PARSED))


def spark_environment(working: Path, schema: str) -> dict[str, str]:
    """Variables for dbt on Spark; ``working`` takes its target and log folders, and its own parse of the project.

    ``schema`` is where Spark's catalog has the relations of a run.

    Raises:
        SparkError: PySpark, Java or dbt-spark is missing.
    """
    spark.check()
    try:
        _installed("dbt-spark")
    except importlib.metadata.PackageNotFoundError:
        raise spark.SparkError(
            "engine: spark needs dbt-spark; install it with: pip install 'mlobs_pipelines[spark]'"
        ) from None
    return {**_variables(None, working), "MLOBS_DBT_TARGET": "spark", "MLOBS_SPARK_SCHEMA": schema}


def _variables(database: Path | None, working: Path, parsed: Path | None = None) -> dict[str, str]:
    return {
        **({"DBT_PARTIAL_PARSE_FILE_PATH": str(parsed), "DBT_WRITE_JSON": "false"} if parsed else {}),
        "DBT_PROJECT_DIR": str(project_dir()),
        "DBT_PROFILES_DIR": str(project_dir()),
        "DBT_TARGET_PATH": str(working / "target"),
        "DBT_LOG_PATH": str(working / "log"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "MLOBS_WAREHOUSE": str(database) if database else "",
        "MLOBS_SPILL": str(working / "spill"),
    }


def start(home: Home) -> None:
    """Start a dbt that gets ready while other work is done; the next ``run_dbt`` finds it."""
    parsed = _parsed(home)
    if parsed:
        _WAITING.start({**os.environ, **_variables(None, home.warehouse, parsed.with_name(PARSED))})


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within the block a dbt that has done its work stays ready for more: for many runs in one process."""
    with _WAITING.kept():
        yield


def run_dbt(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[NodeResult, ...]:
    """Run dbt to its end with ``variables`` on top of this process's own; gives what became of each node.

    The caller holds no connection to the database: it belongs to dbt meanwhile.

    Raises:
        DbtError: dbt failed; the text says which node and why, and names dbt's log.
    """
    outcome = _WAITING.run(arguments, {**os.environ, **variables})
    if not outcome.success:
        why = _failures(outcome.results) or _line(outcome.said)
        log = Path(variables["DBT_LOG_PATH"]) / "dbt.log"
        raise DbtError(f"dbt {arguments[0]} failed: {why}; see {log}", outcome.results)
    return outcome.results


def _failures(results: Sequence[NodeResult]) -> str:
    """The nodes that failed and what each said, in one line; empty where dbt got to none."""
    said = [f"{node.name}: {_line(node.message or node.status)[:300]}" for node in results if node.failed]
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more


def _line(text: str) -> str:
    return " ".join(text.split())[-500:]


def manifest(home: Home) -> Path:
    """The project's ``manifest.json``, parsed once per version of the project and of dbt, for all of a person's homes.

    It is kept in the person's cache folder, or in the home where that cannot be written. Concurrent callers each parse
    aside; the first to finish is kept.

    Raises:
        DbtError: the project cannot be parsed.
    """
    if found := _parsed(home):
        return found
    version, folders = project_version(), _cache(home)
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=folder, prefix="."))
        except OSError:
            continue
        try:
            run_dbt(["parse"], _variables(None, draft))
            with contextlib.suppress(OSError):  # another was faster
                (draft / "target").rename(folder / version)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return folder / version / "manifest.json"
    raise DbtError(f"cannot write to any of {', '.join(map(str, folders))}")


def _parsed(home: Home) -> Path | None:
    """The manifest, where this version was parsed already."""
    version = project_version()
    places = (folder / version / "manifest.json" for folder in _cache(home))
    return next((place for place in places if place.exists()), None)


@functools.lru_cache(maxsize=8)
def read_manifest(path: Path) -> dict[str, Any]:
    """What a file that ``manifest`` gave says: nodes, sources and how they hang together. Not to be changed."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _cache(home: Home) -> list[Path]:
    """Where a parse may be kept, the best place first."""
    places = [home.warehouse / "dbt"]
    with contextlib.suppress(RuntimeError):  # nobody's home folder is known
        base = os.environ.get("XDG_CACHE_HOME")
        places.insert(0, (Path(base) if base else Path.home() / ".cache") / "mlobs_pipelines" / "dbt")
    return places
