"""``type: mlobs_pipelines.MonitoredModel`` in a team's own Dagster project."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from mlobs_pipelines.orchestration.component import MonitoredModel
from mlobs_pipelines.store.layout import Home

COMPONENT = "mlobs_pipelines.MonitoredModel"


@pytest.fixture(autouse=True)
def team_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("MLOBS_HOME", str(home.root))
    return home


def declared(sandbox: DefsFolderSandbox, text: str) -> Path:
    """Write a ``defs.yaml`` with the attributes indented below it."""
    folder = sandbox.defs_folder_path / "models" / "fraud"
    folder.mkdir(parents=True)
    keys = textwrap.indent(text, "  ")
    (folder / "defs.yaml").write_text(f"type: {COMPONENT}\nattributes:\n{keys}", encoding="utf-8")
    return folder


def test_dagster_finds_the_component_at_the_packages_root() -> None:
    module = importlib.import_module("mlobs_pipelines")
    assert "MonitoredModel" in dir(module)
    assert getattr(module, "MonitoredModel") is MonitoredModel  # noqa: B009 - as Dagster looks it up
    with pytest.raises(AttributeError, match="no attribute 'Monitored'"):
        getattr(module, "Monitored")  # noqa: B009


def test_the_keys_of_a_models_file_make_the_same_definitions(spec_text: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = declared(sandbox, spec_text)
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, defs):
            assert isinstance(component, MonitoredModel)
            keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
            assert defs.resolve_job_def("card_fraud_nightly").name == "card_fraud_nightly"
    assert {"card_fraud/raw_predictions", "card_fraud/label_facts", "card_fraud/metrics"} <= keys


@pytest.mark.parametrize(("alerts", "sends"), [("", False), ("alerts: [{to: 'webhook+http://127.0.0.1:9/x'}]\n", True)])
def test_a_component_sends_its_own_alerts_again_after_a_failure(spec_text: str, alerts: str, sends: bool) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = declared(sandbox, spec_text + alerts)
        with sandbox.load_component_and_build_defs(defs_path=folder) as (_, defs):
            assert ("card_fraud_alerts" in {sensor.name for sensor in defs.sensors or []}) is sends


def test_values_are_taken_verbatim(spec_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE", "0.25")
    text = spec_text.replace("  score: fraud_score\n", "  score: fraud_score\n  version: 1e3\n")
    text += "fairness: {attributes: [country], reference_groups: {country: NO}}\n"
    text += "registry: {name: '{{ env.HOME }}'}\n"
    text += "threshold: ${RATE}\n"
    with create_defs_folder_sandbox() as sandbox:
        folder = declared(sandbox, text)
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, _):
            assert isinstance(component, MonitoredModel)
            spec = component.spec
    assert spec.predictions.version == "1e3"
    assert spec.fairness.reference_groups == {"country": "NO"}
    assert spec.registry.name == "{{ env.HOME }}"
    assert spec.threshold == [0.25]


def test_a_misspelt_key_is_an_error_with_its_line_and_the_nearest_spelling(spec_text: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = declared(sandbox, spec_text.replace("labels:", "lables:"))
        with pytest.raises(Exception) as caught, sandbox.load_component_and_build_defs(defs_path=folder):
            pass
    said = []
    error: BaseException | None = caught.value
    while error:
        said.append(str(error))
        error = error.__cause__
    line = 2 + spec_text[: spec_text.index("labels:")].count("\n") + 1
    assert f"defs.yaml:{line}: lables" in "".join(said)
    assert "labels" in "".join(said)


def test_two_models_may_stand_in_one_file(spec_text: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = declared(sandbox, spec_text)
        file = folder / "defs.yaml"
        first = file.read_text(encoding="utf-8")
        file.write_text(first + "---\n" + first.replace("card_fraud", "second"), encoding="utf-8")
        with sandbox.build_all_defs() as defs:
            jobs = {job.name for job in defs.jobs or ()}
    assert {"card_fraud_nightly", "second_nightly"} <= jobs


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_scaffolding_writes_a_file_that_is_valid_at_once(task: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=MonitoredModel,
            defs_path="models/fraud-eu",
            scaffold_params={"predictions": "logs/*.parquet", "labels": "labels/*.parquet", "task": task},
        )
        written = yaml.safe_load((folder / "defs.yaml").read_text(encoding="utf-8"))
        assert written["attributes"]["model"] == "fraud_eu"
        assert written["attributes"]["predictions"]["source"] == "logs/*.parquet"
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, _):
            assert isinstance(component, MonitoredModel)
            assert component.spec.task == task


def test_a_template_is_never_resolved_in_a_spec() -> None:
    assert not issubclass(MonitoredModel, dg.Resolvable)
