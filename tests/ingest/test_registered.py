"""The reference that MLflow has."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mlobs_pipelines.ingest.registered import with_registered_reference
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home


def spec_of(**more: object) -> ModelSpec:
    return ModelSpec.model_validate(
        {"model": "m", "task": "binary", "predictions": {"source": "p", "id": "i", "time": "t", "score": "s"}, **more}
    )


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Home:
    import mlflow

    root: Path = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.create_experiment("e", artifact_location=str(root / "artifacts"))
    client.create_registered_model("m")
    for name in ("first", "second"):
        frame = pd.DataFrame({"x": [1.0]})
        path = root / f"{name}.parquet"
        frame.to_parquet(path)
        run = client.create_run(experiment)
        dataset = mlflow.data.from_pandas(frame, source=str(path))
        client.log_inputs(
            run.info.run_id,
            [
                mlflow.entities.DatasetInput(
                    dataset._to_mlflow_entity(), [mlflow.entities.InputTag("mlflow.data.context", "training")]
                )
            ],
        )
        client.create_model_version("m", source=f"runs:/{run.info.run_id}/model", run_id=run.info.run_id)
    client.set_registered_model_alias("m", "champion", "1")
    return Home(root)


@pytest.mark.slow
def test_the_champions_training_file_is_the_reference_of_a_spec_without_one(registry):
    found = with_registered_reference(registry, spec_of())
    assert found.reference is not None
    assert str(found.reference.source).endswith("first.parquet")


@pytest.mark.slow
def test_a_model_that_is_not_registered_and_a_spec_with_a_reference_are_left_alone(registry):
    assert with_registered_reference(registry, spec_of(registry={"name": "other"})).reference is None
    given = spec_of(reference={"source": "mine.parquet"})
    assert with_registered_reference(registry, given) is given


def test_without_a_registry_mlflow_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    spec = spec_of()
    assert with_registered_reference(Home(tmp_path), spec) is spec


@pytest.mark.slow
def test_a_registry_that_does_not_answer_costs_seconds_and_no_night(tmp_path, caplog):
    spec = spec_of(registry={"tracking_uri": "http://127.0.0.1:9"})
    assert with_registered_reference(Home(tmp_path), spec) is spec
    assert "no reference from MLflow" in caplog.text
