"""The import law: arrows point one way, and each heavy library has its own rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mlobs_pipelines"

GROUND = ("errors", "__init__", "spec", "engine", "store", "statistics", "registry")
ORDER = (
    "tasks",
    "ingest",
    "join",
    "profile",
    "measure",
    "judge",
    "explain",
    "act",
    "report",
    "orchestration",
    "cli",
    "definitions",
)
LEVEL = dict.fromkeys(GROUND, 0) | {room: level for level, room in enumerate(ORDER, start=1)} | {"simulate": 1}

GROUND_MAY = {
    "spec": {"errors", "spec"},
    "engine": {"errors", "engine", "store"},  # publishing a file whole is the store's
    "store": {"errors", "store", "spec", "engine"},
    "statistics": {"statistics"},
    "registry": {"errors", "registry", "spec", "store"},
    "errors": set(),
    "__init__": {"orchestration"},  # the component, looked up lazily
    "simulate": {"errors", "simulate", "spec", "engine", "store"},
}

ONLY_IN = {
    "dagster": {"orchestration", "definitions"},
    "dagster_shared": {"orchestration"},
    "dbt": {"engine"},  # in a process of its own
    "duckdb": {"engine"},
    "pyspark": {"engine"},
    "click": {"cli"},
    "starlette": {"report"},
    "uvicorn": {"cli"},
    "jinja2": {"report"},
}

LAZY = {"mlflow", "shap", "sklearn", "numba"}

PURE = ("measure", "statistics", "tasks", "judge")
IMPURE = {"os", "pathlib", "time", "io", "shutil", "tempfile", "subprocess", "socket", "random", "glob", "urllib"}
IMPURE_CALLS = {"open", "now", "utcnow", "today", "read_parquet", "write_parquet", "scan_parquet", "read_csv", "getenv"}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if not p.name.startswith("."))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every absolute name that is imported, with its statement; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}"
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def eager(tree: ast.Module) -> set[ast.stmt]:
    """Statements that run when the module is imported: not in a function, not for type checkers alone."""
    found: set[ast.stmt] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.stmt):
            found.add(node)
        waiting.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_keeps_the_law(path: Path) -> None:
    room = room_of(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert room in LEVEL, f"room {room} has no place in the order"
    now = eager(tree)
    for statement, name in imports(tree):
        where = f"{path.relative_to(PACKAGE.parent)}:{statement.lineno} imports {name}"
        top = name.split(".")[0]
        if top == PACKAGE.name:
            other = name.split(".")[1] if "." in name else "__init__"
            other = other if other in LEVEL else "__init__"
            if room in GROUND_MAY:
                assert other in GROUND_MAY[room], f"{where}: {room} stands on the ground"
            elif other != room:
                assert LEVEL[other] < LEVEL[room], f"{where}: arrows point from {room} down only"
        assert room in ONLY_IN.get(top, {room}), f"{where}: only in {ONLY_IN.get(top)}"
        assert top not in LAZY or statement not in now, f"{where}: takes seconds, so inside the function that needs it"
        assert room not in PURE or top not in IMPURE, f"{where}: {room} is pure"


@pytest.mark.parametrize(
    "path", [p for p in modules() if room_of(p) in PURE], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_a_pure_room_has_no_clock_and_no_files(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in IMPURE_CALLS, f"{path.name}:{node.lineno} calls {name}()"


def test_the_package_itself_is_imported_in_no_time() -> None:
    """``import mlobs_pipelines`` must not bring Dagster along, though the component is found there."""
    import subprocess
    import sys

    heavy = ["dagster", "dbt", "duckdb", "polars", "pyarrow", "numpy", "scipy", "sklearn", "mlflow", "shap"]
    code = f"import sys, mlobs_pipelines; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []
