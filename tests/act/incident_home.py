"""A published home with three incidents, their causes and a pending decision; made in no time after the first."""

from __future__ import annotations

import datetime as dt
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from mlobs_pipelines.store.journal import append
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import CAUSES, INCIDENTS

NIGHT = dt.date(2026, 2, 10)
AMOUNT = "card_fraud-20260210-input-cfb5aef2"
SPAIN = "card_fraud-20260209-performance-4e300d9c"
OVER = "card_fraud-20260117-intake-258aaa9a"
RETRAIN = f"card_fraud:retrain:{SPAIN}"

SPEC = """\
model: card_fraud
task: binary
predictions: {source: data/predictions/*.parquet, id: prediction_id, time: event_time, score: fraud_score}
"""


def incident(
    name: str, night: dt.date = NIGHT, *, evidence: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A row of ``INCIDENTS`` as of a night on which it was seen."""
    row = {
        "incident_id": name,
        "model": "card_fraud",
        "version": "2",
        "opened_as_of": NIGHT,
        "last_as_of": night,
        "state": "open",
        "severity": "warning",
        "kind": "input_drift",
        "subject": "amount",
        "segment": "",
        "title": "amount drifted",
        "diagnosis": "amount drifted, in all rows.",
        "recommended_action": "hold",
        "since": NIGHT,
        "until": night,
        "metric": "jensen_shannon",
        "value": 0.8672,
        "lower": 0.827,
        "upper": 0.904,
        "baseline": 0.058,
        "threshold": 0.158,
        "rows": 1508,
        "labeled_rows": 0,
        "nights": (night - NIGHT).days + 1,
        "dedup_key": name,
        "as_of": night,
    }
    return {**dict.fromkeys(INCIDENTS), **row, **more, "evidence": json.dumps(evidence or {})}


def write(home: Home, table: str, schema: pl.Schema, rows: list[dict[str, Any]], night: dt.date = NIGHT) -> None:
    """A night's file of a table."""
    path = home.store_file(table, "card_fraud", night)
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema).write_parquet(path)


def see(home: Home, night: dt.date, *rows: dict[str, Any]) -> None:
    """A later night that knows of incidents, published."""
    write(home, "incidents", INCIDENTS, list(rows), night)
    publish(home)


def troubled_home(root: Path) -> Home:
    """Two open incidents, one that is over, and a training that waits for a person."""
    shutil.copytree(_template().name, root, dirs_exist_ok=True)
    return Home(root)


@functools.cache
def _template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    home = Home(Path(folder.name))
    home.models.mkdir()
    home.spec_file("card_fraud").write_text(SPEC)
    signal = {"family": "drift", "metric": "psi", "subject": "score", "segment": ""}
    amount = {
        "advice": "Mend the source of amount, or have it sent again.",
        "absorbed": [signal, {**signal, "subject": "prediction", "metric": "total_variation"}],
        "same_time": [{"what": "version", "detail": "version 2 took over on 2026-02-10"}],
    }
    write(
        home,
        "incidents",
        INCIDENTS,
        [
            incident(
                AMOUNT,
                severity="critical",
                kind="data_fault",
                segment="country=NL",
                title="amount is in another unit: values are 100 times what they were",
                diagnosis="amount is in another unit, in country=NL, since 2026-02-10, on 1,508 rows.",
                recommended_action="fix_data",
                evidence=amount,
            ),
            incident(SPAIN, since=NIGHT - dt.timedelta(days=9), kind="concept_drift", recommended_action="retrain"),
            incident(OVER, state="resolved", resolved_as_of=NIGHT, last_as_of=NIGHT - dt.timedelta(days=2)),
        ],
    )
    share = {"share": 0.974, "lower": 0.95, "upper": 0.99, "detail": "holds 97 % of it"}
    write(
        home,
        "causes",
        CAUSES,
        [
            {"incident_id": AMOUNT, "model": "card_fraud", "as_of": NIGHT, **cause}
            for cause in (
                {
                    "rank": 1,
                    "kind": "feature",
                    "subject": "amount",
                    "segment": "country=NL",
                    "detail": "0.867, usually 0.066",
                },
                {"rank": 2, "kind": "segment", "subject": "country", "segment": "country=NL", **share},
            )
        ],
    )
    append(
        home,
        decision_id=RETRAIN,
        model="card_fraud",
        action="retrain",
        status="pending",
        reason="log_loss rose to 0.844",
        version="2",
        as_of=NIGHT,
        incident_id=SPAIN,
        evidence={"severity": "warning"},
    )
    publish(home)
    return folder
