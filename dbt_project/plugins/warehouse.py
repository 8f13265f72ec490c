"""Opens the database that the environment names, as ``warehouse``.

Not the profile's business: whatever the profile says is part of what dbt compares before it trusts its last parse, and
so each database would have the whole project parsed anew.
"""

from __future__ import annotations

import os
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin


class Plugin(BasePlugin):  # type: ignore[misc]
    """``MLOBS_WAREHOUSE`` is the file, ``MLOBS_SPILL`` a folder for what does not fit into ``MLOBS_MEMORY``."""

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        # 2 GiB with all of dbt; ten million labels find their predictions in it.
        config["memory_limit"] = os.environ.get("MLOBS_MEMORY") or "1800MB"
        config["temp_directory"] = os.environ.get("MLOBS_SPILL", "")

    def configure_connection(self, conn: Any) -> None:
        file = os.environ.get("MLOBS_WAREHOUSE")
        if file:
            conn.execute("attach '{}' as warehouse".format(file.replace("'", "''")))
