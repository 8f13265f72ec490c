"""Two versions side by side on the command line: stored, from service, or scored again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mlobs_pipelines.act.compare import compare
from mlobs_pipelines.act.shadow import shadow_rows
from mlobs_pipelines.cli import main
from mlobs_pipelines.store.layout import Home
from tests.act.small_home import LAST, give_version, spec_of, write_lake
from tests.act.two_versions import shadow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    made = Home(tmp_path)
    spec_of(made)
    write_lake(made, days=25)
    shadow(made)
    return made


def ask(home: Home, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.root), *words])


def document(home: Home, *words: str) -> dict[str, Any]:
    result = ask(home, "--json", "compare", "m", "1", "2", *words)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_versions_that_met_in_service_are_compared_there(home: Home) -> None:
    result = ask(home, "compare", "m", "1", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Version 2 is better than champion 1: roc_auc 0.")
    assert "on what both versions said in service" in result.stdout
    assert "country=NL" in result.stdout
    assert "▲ better" in result.stdout
    found = document(home)
    assert found["verdict"]["verdict"] == "better"
    assert {row["segment"] for row in found["comparisons"]} == {"", "country=DE", "country=NL"}
    assert {row["metric"] for row in found["comparisons"] if row["segment"]} == {"roc_auc"}


def test_the_other_way_round_it_is_worse_and_the_guard_rails_are_named(home: Home) -> None:
    result = ask(home, "compare", "m", "2", "1")
    assert result.stdout.startswith("Version 1 is worse than champion 2")
    assert "▼ worse in country=DE: roc_auc" in result.stdout


def test_one_metric_and_one_segment_can_be_asked_for(home: Home) -> None:
    one = document(home, "--metric", "log_loss")["comparisons"]
    assert [(row["metric"], row["segment"]) for row in one] == [
        ("log_loss", segment) for segment in ("", "country=DE", "country=NL")
    ]
    here = document(home, "--segment", "country=DE")
    assert here["verdict"] is None, "the verdict is of all rows"
    assert {row["segment"] for row in here["comparisons"]} == {"country=DE"}
    assert {"roc_auc", "log_loss"} < {row["metric"] for row in here["comparisons"]}


def test_a_stored_comparison_is_shown_as_it_was_stored(home: Home) -> None:
    spec = spec_of(home)
    rows = shadow_rows(home, spec, "1", "2", LAST)
    assert rows is not None
    stored = compare(rows, spec, "1", "2", LAST).with_columns(difference=pl.lit(0.125))
    path = home.store_file("comparisons", "m", LAST)
    path.parent.mkdir(parents=True)
    stored.write_parquet(path)
    found = document(home)
    assert found["source"] == f"as stored on {LAST}"
    assert {row["difference"] for row in found["comparisons"]} == {0.125}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("m", "1", "1"), "version 1 can only be compared with another version"),
        (("m", "1", "2", "--metric", "auc"), "the comparison has no metric 'auc'; it has: accuracy, "),
        (("m", "1", "2", "--segment", "planet=Earth"), "write field=value"),
        (("m", "1", "2", "--segment", "country=FR"), "0 labelled rows are too few to compare versions 1 and 2 on"),
        (("n", "1", "2"), "no model 'n'"),
    ],
)
def test_what_can_not_be_compared_is_refused_in_one_line(home: Home, words: tuple[str, ...], complaint: str) -> None:
    result = ask(home, "compare", *words)
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert "Traceback" not in result.output


def test_versions_that_never_met_are_asked_again_by_the_registry(home: Home) -> None:
    give_version(home, "b")
    give_version(home, "a")
    write_lake(home, days=25)
    found = document(home)
    assert found["source"] == "on logged rows, scored again by both"
    assert found["verdict"]["verdict"] == "better"
    result = ask(home, "compare", "m", "1", "3")
    assert result.exit_code == 1
    assert "has no version 3 in MLflow" in result.stderr
