"""What a person types and sees."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from mlobs_pipelines.cli import main
from mlobs_pipelines.simulate.delivery import write_world
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest

pytestmark = pytest.mark.slow

MODEL = "card_fraud"


def mlobs(home: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["--home", str(home), *arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result.stdout if code == 0 else result.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Four nights of a small world, run by the command; and a file that is no spec."""
    root = tmp_path_factory.mktemp("cli")
    write_world(Home(root), seed=5, days=4, payments_per_day=120)
    (root / "models" / "broken.yaml").write_text("model: broken\ntaks: binary\n")
    said = mlobs(root, "run", MODEL, "--from", "2026-01-01", "--to", "2026-01-04")
    assert "4 nights" in said
    return root


def one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_status_shows_every_model_and_why_one_has_nothing_to_show(home):
    said = mlobs(home, "status")
    assert MODEL in said
    assert "broken spec" in said
    assert "taks" in said and "task" in said
    rows = json.loads(mlobs(home, "--json", "status"))
    assert {row["model"] for row in rows} == {MODEL, "broken"}


def test_an_unknown_model_is_one_line_with_the_nearest_name(home):
    line = one_line(mlobs(home, "run", "card_fruad", code=1))
    assert "card_fraud" in line


def test_wrong_usage_exits_with_two(home):
    assert "--to" in mlobs(home, "run", MODEL, "--from", "2026-01-01", code=2)


def test_a_query_answers_as_a_table_as_csv_and_as_json(home):
    query = "select metric, count(*) as n from metrics where family = 'traffic' group by metric order by metric"
    assert "predictions" in mlobs(home, "sql", query)
    assert mlobs(home, "sql", query, "--format", "csv").splitlines()[0] == "metric,n"
    assert json.loads(mlobs(home, "sql", query, "--format", "json"))[0]["metric"] == "predictions"


@pytest.mark.parametrize(
    "query",
    [
        "selec 1",
        "select * from nowhere",
        "drop table metrics",
        "copy (select 1) to 'x.csv'",
        "select * from read_csv('/etc/passwd')",
        "attach 'other.duckdb'",
        "install httpfs",
        "set memory_limit = '1TB'",
    ],
)
def test_a_query_that_is_wrong_or_does_more_than_read_is_refused_in_one_line(home, query, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    one_line(mlobs(home, "sql", query, code=1))
    assert not list(tmp_path.iterdir())


def test_export_writes_the_cohort_under_its_owners_names_and_spreadsheets_run_nothing(home, tmp_path):
    out = tmp_path / "de.csv"
    mlobs(home, "export", MODEL, "--segment", "country=DE", "--out", str(out))
    with out.open() as handle:
        rows = list(csv.DictReader(handle))
    lake = pl.read_parquet(home / "lake" / MODEL / "predictions" / "*.parquet")
    assert len(rows) == lake.filter(pl.col("f_country") == "DE").height
    assert {"amount", "country", "label", "prediction_id"} <= rows[0].keys()
    assert "card_number" not in rows[0]
    parquet = tmp_path / "all.parquet"
    mlobs(home, "export", MODEL, "--out", str(parquet))
    assert pl.read_parquet(parquet).height == lake.height


def test_export_names_the_fields_it_knows_when_asked_for_another(home, tmp_path):
    line = one_line(mlobs(home, "export", MODEL, "--segment", "land=DE", "--out", str(tmp_path / "x.csv"), code=1))
    assert "country" in line


def test_rebuild_makes_the_same_bits_from_the_lake_alone(home):
    before = digest(Home(home), MODEL)
    for path in (home / "store" / "metrics" / MODEL).iterdir():
        path.unlink()
    for table in ("label_facts", "feature_profile", "output_profile", "quality_profile", "traffic_profile"):
        for path in (home / "lake" / MODEL / table).iterdir():
            path.unlink()
    for path in (home / "warehouse").glob("*.duckdb"):
        path.unlink()
    mlobs(home, "rebuild", MODEL)
    assert digest(Home(home), MODEL) == before


def test_digest_names_every_table_with_its_sha256(home):
    found = json.loads(mlobs(home, "--json", "digest", MODEL))
    assert found == digest(Home(home), MODEL)
    assert all(len(value) == 64 for value in found.values())
    assert {"lake/predictions", "lake/label_facts", "store/metrics"} <= found.keys()


def test_init_writes_a_spec_that_validates_and_runs(tmp_path):
    write_world(Home(tmp_path / "source"), seed=5, days=9, payments_per_day=120)
    logs = sorted((tmp_path / "source" / "data" / "predictions").glob("*.parquet"))
    labels = [p for p in sorted((tmp_path / "source" / "data" / "labels").iterdir()) if p.suffix == ".parquet"]
    root = tmp_path / "mine"
    said = mlobs(root, "init", "--predictions", str(logs[0]), "--labels", str(labels[0]), "--model", "mine")
    assert yaml.safe_load((root / "models" / "mine.yaml").read_text())["task"] == "binary"
    assert "mlobs validate mine" in said
    assert "mine: ok" in mlobs(root, "validate", "mine")
    assert "exists already" in mlobs(root, "init", "--predictions", str(logs[0]), "--model", "mine", code=1)


def test_a_home_without_models_says_how_to_begin(tmp_path):
    assert "mlobs init" in one_line(mlobs(tmp_path, "status", code=1))


def test_the_demo_leaves_a_home_alone_that_no_demo_made(home):
    assert "not empty" in one_line(mlobs(home, "demo", code=1))
