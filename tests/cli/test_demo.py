"""What the demo says of its planted faults, and how it closes the loop where no person is asked."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlobs_pipelines.act import loop, people
from mlobs_pipelines.cli.demo import ACTOR, beside, close_the_loop
from mlobs_pipelines.orchestration.instance import dagster_home
from mlobs_pipelines.simulate.planted import Found, planted
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import journal
from mlobs_pipelines.store.layout import Home

DAY = dt.date(2026, 1, 25)


def incident(**values: Any) -> dict[str, Any]:
    return {
        "incident_id": "card_fraud-1",
        "kind": "concept_drift",
        "subject": "",
        "segment": "country=ES",
        "recommended_action": "retrain",
        "since": DAY,
        "opened_as_of": dt.date(2026, 2, 9),
        **values,
    }


def test_each_fault_is_said_beside_what_was_found() -> None:
    shift, feed, pattern, unit, *_ = planted()
    text = beside(
        [
            Found(shift, "quiet"),
            Found(feed, "missed"),
            Found(pattern, "found", incident()),
            Found(unit, "early"),
        ]
    )
    lines = text.splitlines()
    assert [line[0] for line in lines[::2]] == ["✓", "✗", "✓", "…"]
    assert "nothing above info" in lines[1]
    assert lines[3].split() == ["found", "nothing"]
    assert lines[4].startswith("✓ planted  2026-01-25 to the end: fraud in Spain")
    assert lines[5].strip() == (
        "found    concept_drift in country=ES since 2026-01-25, opened on the night of 2026-02-09: retrain (card_fraud-1)"
    )


def test_a_near_miss_says_what_was_wanted() -> None:
    pattern = planted()[2]
    said = beside([Found(pattern, "missed", incident(segment="country=DE"), ("segment",))])
    assert "in country=DE since" in said and said.endswith("; wanted: segment country=ES")


def decide(home: Home, decision_id: str, action: str, status: str = "pending") -> None:
    journal.append(
        home,
        decision_id=decision_id,
        model="card_fraud",
        action=action,
        status=status,
        reason="because",
        as_of=DAY,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.spec_file("card_fraud").parent.mkdir(parents=True)
    home.spec_file("card_fraud").write_text(
        "model: card_fraud\ntask: binary\npredictions: {source: x.parquet, id: i, time: t, score: s}\n"
    )
    return home


def test_the_demo_agrees_to_training_and_promotion_and_to_nothing_else(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(home, "train", "retrain")
    decide(home, "back", "roll_back")
    rounds: list[int] = []

    def advance(home: Home, spec: ModelSpec) -> list[str]:
        rounds.append(1)
        if len(rounds) == 2:  # what a training leads to
            decide(home, "promotion", "promote")
        return []

    monkeypatch.setattr(loop, "advance", advance)
    spec = load_spec(home.spec_file("card_fraud"))
    assert close_the_loop(home, spec, lambda _: None) == ["train", "promotion"]
    log = journal.decisions(home, "card_fraud")
    newest = {row["decision_id"]: row for row in log.iter_rows(named=True)}
    assert {name: row["status"] for name, row in newest.items()} == {
        "train": "approved",
        "promotion": "approved",
        "back": "pending",
    }
    assert newest["train"]["actor"] == ACTOR
    assert len(rounds) == 3, "it ends where nothing waits any more"


def test_a_loop_that_never_settles_does_not_keep_the_demo(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    number = iter(range(100))
    monkeypatch.setattr(people, "publish", lambda home: None)
    monkeypatch.setattr(loop, "advance", lambda home, spec: decide(home, f"again-{next(number)}", "retrain"))
    agreed = close_the_loop(home, load_spec(home.spec_file("card_fraud")), lambda _: None)
    assert 1 < len(agreed) < 20


@pytest.mark.slow
def test_the_demo_finds_its_faults_and_shows_them_in_pages_and_in_dagster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    home.models.mkdir(parents=True)
    dagster_home(home)  # as `make dev` leaves it
    command = [sys.executable, "-m", "mlobs_pipelines.cli", "--home", str(home.root), "--json", "demo", "--days", "20"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert [p["verdict"] for p in said["planted"]] == ["quiet", "found"]
    assert said["not_planted"] == []
    assert "delivered more than once" in Path(said["pages"]).read_text(encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home.root / "dagster"))
    with dg.DagsterInstance.get() as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey(["card_fraud", "metrics"]))) == 20
