"""The process in which dbt runs: it gets ready first, then does what it is asked, one command a line.

Getting ready is importing dbt, 2 to 3 seconds, and loading the parsed project: both are done before the first command
comes. A line is a JSON object of ``environment`` (all of it) and ``arguments``; without arguments it only says what to
get ready for. Each command is answered with one line: ``success``, ``said``, and of each node that was run its
``node``, ``status``, ``message``, ``failures`` and ``seconds``. The process ends when nobody can ask any more.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def _give_session() -> None:
    """Let dbt on Spark work in our session: it would ask for one with Hive, which a remote one cannot have."""
    from mlobs_pipelines.engine.spark import session

    adapter: Any = importlib.import_module("dbt.adapters.spark.session")  # an extra: type checkers may not find it
    ours = session()

    class Given:
        def enableHiveSupport(self) -> Given:  # noqa: N802 - PySpark's name
            return self

        def config(self, key: str, value: str) -> Given:
            ours.conf.set(key, value)
            return self

        def getOrCreate(self) -> Any:  # noqa: N802
            return ours

    adapter.SparkSession = type("Sessions", (), {"builder": Given()})


def main() -> None:
    """Serve the commands on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what dbt or its plugins print is no answer
    gc.disable()  # all of this stays: to look through it for garbage again and again takes a tenth of the time
    import dbt.task.build  # noqa: F401 - commands would import it
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    gc.freeze()  # nor is it to be looked through later
    gc.enable()

    def parsed(kept: str) -> Any:
        """The project as it was parsed before; a command changes its copy, so each gets its own.

        Where dbt is given it, it does not look for changes: the file is of this version of the project and of dbt.
        """
        found = None
        with contextlib.suppress(Exception):  # it is gone or damaged: dbt parses anew
            read: Any = Manifest.from_msgpack(Path(kept).read_bytes(), decoder=extended_mashumuro_decoder)
            read.build_flat_graph()
            found = read
        with tempfile.TemporaryDirectory() as folder:
            quiet = ["--quiet", "--no-write-json", "--log-path", folder, "--log-level-file", "none"]
            return dbtRunner(manifest=found).invoke([*quiet, "parse", "--target-path", folder]).result

    manifest: Any = None
    ready_for: str | None = None
    for line in sys.stdin:
        request = json.loads(line)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(os.environ["DBT_PROJECT_DIR"])
        wanted = os.environ.get("DBT_PARTIAL_PARSE_FILE_PATH")
        if wanted != ready_for:
            manifest, ready_for = parsed(wanted) if wanted else None, wanted
        arguments = request.get("arguments")
        if not arguments:
            continue
        if os.environ.get("MLOBS_DBT_TARGET") == "spark":
            _give_session()
        ended = dbtRunner(manifest=manifest).invoke(["--quiet", "--no-use-colors", *arguments])
        manifest = ready_for = None
        if DuckDBConnectionManager._ENV is not None:  # whoever asked opens the database next
            DuckDBConnectionManager._ENV.close()
            DuckDBConnectionManager.close_all_connections()
        answer = {
            "success": ended.success,
            "said": str(ended.exception or ""),
            "results": [
                {
                    "node": result.node.unique_id,
                    "status": str(result.status),
                    "message": str(result.message or ""),
                    "failures": result.failures,
                    "seconds": result.execution_time,
                }
                for result in getattr(ended.result, "results", ())
            ],
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # all is closed: to take apart what was imported would take half a second


if __name__ == "__main__":
    main()
