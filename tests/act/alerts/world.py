"""A home in which nights found incidents, and receivers in processes of their own."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import COLUMNS
from mlobs_pipelines.store.tables import CAUSES, INCIDENTS, RUNS
from tests.ports import free_port

HERE = Path(__file__).parent
NIGHT = dt.date(2026, 3, 10)
NOW = dt.datetime(2026, 3, 11, 2, 10, tzinfo=dt.UTC)

SPEC = """\
model: card_fraud
task: binary
owner: payments-ml@example.com
predictions:
  source: data/*.parquet
  id: prediction_id
  time: event_time
  score: fraud_score
alerts:
"""


@dataclass
class Server:
    """A receiver's process, and what it got."""

    program: str
    log: Path
    answers: tuple[str, ...]
    port: int = field(default_factory=free_port)
    process: Any = None

    def start(self) -> Server:
        command = [sys.executable, str(HERE / self.program), str(self.log), str(self.port), *self.answers]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()  # the port, when it listens
        return self

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def got(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(request["body"]) for request in self.got()]


def incident(name: str = "one", **more: Any) -> dict[str, Any]:
    """A row of ``INCIDENTS`` of the night."""
    row: dict[str, Any] = {
        "incident_id": f"card_fraud-20260310-input-{name}",
        "model": "card_fraud",
        "version": "2",
        "opened_as_of": NIGHT,
        "last_as_of": NIGHT,
        "resolved_as_of": None,
        "state": "open",
        "severity": "critical",
        "kind": "data_fault",
        "subject": "amount",
        "segment": "country=NL",
        "title": "amount is 100 times what it was",
        "diagnosis": "amount is 100 times what it was, in country=NL.",
        "recommended_action": "fix_data",
        "since": NIGHT,
        "until": NIGHT,
        "metric": "jensen_shannon",
        "value": 0.81,
        "lower": 0.78,
        "upper": 0.84,
        "baseline": 0.02,
        "threshold": 0.1,
        "rows": 312,
        "labeled_rows": 78,
        "nights": 1,
        "dedup_key": f"key-{name}",
        "as_of": NIGHT,
        "evidence": json.dumps(
            {
                "members": [],
                "same_time": [{"what": "version", "detail": "version 2 came"}],
                "advice": "Mend the source of amount.",
                "fingerprint": "all values are 100 times what they were",
            }
        ),
    }
    return {**row, **more}


@dataclass
class World:
    """One home, its model, and what its nights found."""

    home: Home
    incidents: list[dict[str, Any]] = field(default_factory=list)

    @property
    def spec(self) -> Any:
        return load_spec(self.home.spec_file("card_fraud"))

    def alert(self, *entries: tuple[str, str]) -> None:
        lines = [f"  - {{to: '{to}', severity: {severity}}}\n" for to, severity in entries]
        self.home.models.mkdir(parents=True, exist_ok=True)
        self.home.spec_file("card_fraud").write_text(SPEC + "".join(lines) if lines else SPEC + "  []\n")

    def conclude(self, *incidents: dict[str, Any]) -> None:
        """Publish a snapshot in which just these incidents are known."""
        causes = [
            dict.fromkeys(CAUSES)
            | {"incident_id": row["incident_id"], "rank": 1, "kind": "segment", "segment": "country=NL", "share": 0.83}
            | {"subject": "", "detail": "", "model": "card_fraud", "as_of": row["as_of"]}
            for row in incidents
        ]
        run = dict.fromkeys(RUNS) | {"run_id": "run-1", "model": "card_fraud", "arrival_date": NIGHT, "status": "done"}
        tables = {
            "incidents": pl.DataFrame(incidents, schema=INCIDENTS),
            "causes": pl.DataFrame(causes, schema=CAUSES),
            "runs": pl.DataFrame([run], schema=RUNS),
        }
        self.home.root.mkdir(parents=True, exist_ok=True)
        self.home.results.unlink(missing_ok=True)
        with DuckDBEngine(self.home.root / "spill") as engine:
            engine.attach(self.home.results, "w")
            for name, rows in tables.items():
                engine.register("filling", rows.to_arrow())
                engine.run(f"create table w.{name} ({COLUMNS[name]}); insert into w.{name} select * from filling")
            engine.run("checkpoint w; detach w")
