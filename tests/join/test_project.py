"""The dbt project as its readers see it: every model and column is described, and every model is tested."""

from __future__ import annotations

import json
import re

import pytest

from mlobs_pipelines.engine.dbt import DbtError, manifest, project_dir, run_dbt
from mlobs_pipelines.store.layout import Home


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return json.loads(manifest(Home(tmp_path_factory.mktemp("home"))).read_text(encoding="utf-8"))


def models(project):
    return {n["name"]: n for n in project["nodes"].values() if n["resource_type"] == "model"}


def test_every_model_and_column_is_described_and_every_model_of_rows_is_tested(project):
    tested = {m for n in project["nodes"].values() if n["resource_type"] == "test" for m in n["depends_on"]["nodes"]}
    for name, model in models(project).items():
        assert model["description"], name
        assert model["columns"], name
        assert all(column["description"] for column in model["columns"].values()), name
        assert model["unique_id"] in tested or name in {"nights", "parameters"}, name
    assert all(source["description"] for source in project["sources"].values())
    severities = {n["config"]["severity"].lower() for n in project["nodes"].values() if n["resource_type"] == "test"}
    assert severities == {"error"}


def test_lineage_leads_from_the_lake_to_the_facts_and_from_the_store_to_the_marts(project):
    facts = models(project)["label_facts"]
    above, waiting = set(), [facts["unique_id"]]
    while waiting:
        for parent in project["parent_map"][waiting.pop()]:
            above.add(parent.split(".")[-1])
            waiting.append(parent)
    assert {"predictions", "labels", "stg_predictions", "stg_labels", "prediction_index", "label_index"} <= above
    assert {"metrics", "runs"} <= {source["name"] for source in project["sources"].values()}


def test_the_sql_is_of_the_kind_that_spark_takes_too():
    for path in sorted((project_dir() / "models").rglob("*.sql")):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8").lower())
        found = re.search(r"\b(qualify|using|read_parquet|list_\w+|arg_max|exclude|struct_pack)\b|::", text)
        assert found is None, f"{path.name}: {found}"


def test_a_second_home_does_not_parse_again(tmp_path, project):
    kept = manifest(Home(tmp_path))
    before = kept.stat().st_mtime_ns
    assert manifest(Home(tmp_path / "other")) == kept
    assert kept.stat().st_mtime_ns == before


def test_a_cache_that_cannot_be_written_leaves_the_parse_in_the_home(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert manifest(Home(tmp_path / "home")).is_relative_to(tmp_path / "home" / "warehouse")


def test_a_dbt_that_cannot_start_says_why_in_one_line(tmp_path):
    variables = {
        "DBT_PROJECT_DIR": str(tmp_path),
        "DBT_PROFILES_DIR": str(tmp_path),
        "DBT_TARGET_PATH": str(tmp_path),
        "DBT_LOG_PATH": str(tmp_path),
    }
    with pytest.raises(DbtError, match=r"dbt parse failed: .*dbt_project\.yml.*; see ") as caught:
        run_dbt(["parse"], variables)
    assert "\n" not in str(caught.value)
