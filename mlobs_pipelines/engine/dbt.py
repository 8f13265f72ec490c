"""dbt in a process of its own: where its project is, how it is started, and what it said when it failed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

PROJECT_FILES = ("*.yml", "plugins/*.py", "macros/**/*.sql", "models/**/*.sql", "models/**/*.yml", "tests/**/*.sql")

PARSED = "partial_parse.msgpack"
"""What dbt keeps of a parse in its target folder."""

START = "from dbt.cli.main import cli; cli()"
"""This interpreter's dbt, whatever PATH says; most of a build's 4 to 5 seconds go into importing it."""


class DbtError(UserError):
    """dbt failed: what it said, and where its log is."""


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
    """A short digest of the project's place and files and of dbt's own versions: equal digests parse alike."""
    digest = hashlib.sha256(f"{project_dir()}\n".encode())
    for package in ("dbt-core", "dbt-duckdb"):
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    root = project_dir()
    for path in sorted({found for pattern in PROJECT_FILES for found in root.glob(pattern)}):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def environment(home: Home, database: Path, working: Path) -> dict[str, str]:
    """Variables for dbt on one database file; ``working`` takes its target, log and spill folders.

    A new target folder begins with the project as parsed for ``manifest``: what differs from database to database is
    not in dbt's profile, so that dbt takes it for its own.

    Raises:
        DbtError: the project cannot be parsed.
    """
    parsed = working / "target" / PARSED
    if not parsed.exists():
        with published(parsed) as draft:
            shutil.copyfile(manifest(home).with_name(PARSED), draft)
    return _variables(database, working)


def _variables(database: Path | None, working: Path) -> dict[str, str]:
    return {
        "DBT_PROJECT_DIR": str(project_dir()),
        "DBT_PROFILES_DIR": str(project_dir()),
        "DBT_TARGET_PATH": str(working / "target"),
        "DBT_LOG_PATH": str(working / "log"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "MLOBS_WAREHOUSE": str(database) if database else "",
        "MLOBS_SPILL": str(working / "spill"),
    }


def run_dbt(arguments: Sequence[str], variables: Mapping[str, str]) -> None:
    """Run dbt to its end with ``variables`` on top of this process's own.

    The caller holds no connection to the database: it belongs to dbt meanwhile.

    Raises:
        DbtError: dbt failed; the text says which node and why, and names dbt's log.
    """
    target = Path(variables["DBT_TARGET_PATH"])
    (target / "run_results.json").unlink(missing_ok=True)
    ended = subprocess.run(  # noqa: S603 - our own interpreter, arguments as a list
        [sys.executable, "-c", START, "--quiet", "--no-use-colors", *arguments],
        env={**os.environ, **variables},
        cwd=variables["DBT_PROJECT_DIR"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        why = _failures(target / "run_results.json") or _last_words(ended.stdout) or f"exit status {ended.returncode}"
        raise DbtError(f"dbt {arguments[0]} failed: {why}; see {Path(variables['DBT_LOG_PATH']) / 'dbt.log'}")


def _failures(results: Path) -> str:
    """The nodes that failed and what each said, in one line; empty where dbt got to none."""
    try:
        nodes = json.loads(results.read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, KeyError):
        return ""
    said = []
    for node in nodes:
        if node["status"] in {"error", "fail", "runtime error"}:
            name = node["unique_id"].split(".")[2]
            said.append(f"{name}: {' '.join(str(node['message'] or node['status']).split())[:300]}")
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more


def _last_words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " ".join(lines[-6:])[-500:]


def manifest(home: Home) -> Path:
    """The project's ``manifest.json``, parsed once per version of the project and of dbt, for all of a person's homes.

    It is kept in the person's cache folder, or in the home where that cannot be written. Concurrent callers each parse
    aside; the first to finish is kept.

    Raises:
        DbtError: the project cannot be parsed.
    """
    version = project_version()
    folders = _cache(home)
    for folder in folders:
        if (folder / version / "manifest.json").exists():
            return folder / version / "manifest.json"
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


def _cache(home: Home) -> list[Path]:
    """Where a parse may be kept, the best place first."""
    places = [home.warehouse / "dbt"]
    with contextlib.suppress(RuntimeError):  # nobody's home folder is known
        base = os.environ.get("XDG_CACHE_HOME")
        places.insert(0, (Path(base) if base else Path.home() / ".cache") / "mlobs_pipelines" / "dbt")
    return places
