"""Explaining comes last in a night, and whatever happens to it the night is done."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.explain import night as explained_night
from mlobs_pipelines.orchestration.explain import explain
from mlobs_pipelines.orchestration.run import run_model
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import read
from mlobs_pipelines.store.layout import Home
from tests.orchestration.conftest import FIRST, SPEC

NIGHTS = [FIRST + dt.timedelta(days=i) for i in range(3)]
FEATURES = ["amount", "country"]


@pytest.fixture
def with_reference(home: Home) -> ModelSpec:
    """The spec with a training file, whose bins are frozen on the first night."""
    logged = pl.concat([pl.read_parquet(file) for file in sorted((home.root / "data" / "predictions").glob("*"))])
    labels = pl.concat([pl.read_parquet(file) for file in sorted((home.root / "data" / "labels").glob("*"))])
    rows = logged.join(labels, on="prediction_id").drop("reported_at")
    rows.write_parquet(home.root / "data" / "training.parquet")
    file = home.spec_file("card_fraud")
    file.write_text(SPEC + "reference:\n  source: data/training.parquet\nexplain: {rows: 50, background: 30}\n")
    return load_spec(file)


def registered(home: Home) -> None:
    """A logistic regression in the home's own MLflow, as version 1."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = pl.read_parquet(home.root / "data" / "training.parquet")
    encode = ColumnTransformer([("n", StandardScaler(), ["amount"]), ("c", OneHotEncoder(), ["country"])])
    x, y = rows.select(FEATURES).to_pandas(), rows["is_fraud"].to_numpy()
    model = Pipeline([("encode", encode), ("fraud", LogisticRegression())]).fit(x, y)
    uri = f"sqlite:///{home.root / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, registry_uri=uri)
    folder = home.root / "model"
    known = infer_signature(x.head(2), model.predict_proba(x.head(2))[:, 1])
    mlflow.sklearn.save_model(
        model, str(folder), signature=known, serialization_format="skops", pip_requirements=["scikit-learn", "skops"]
    )
    client.create_registered_model("card_fraud")
    client.create_model_version("card_fraud", folder.as_uri())


@pytest.mark.slow
def test_a_registered_version_is_explained_in_the_nightly_job(home: Home, with_reference: ModelSpec) -> None:
    registered(home)
    run_model(home, with_reference, NIGHTS)
    assert home.lake_nights("card_fraud", "shap_profile").all() == NIGHTS
    found = read.query(
        home,
        "select subject, value, baseline, rows from latest_metrics where metric = 'mean_abs_shap' and version = '1' "
        "and segment = '' and window_days = 1 and window_end = '2026-01-03'",
    )
    assert sorted(found["subject"]) == FEATURES
    assert found["rows"].to_list() == [50, 50]
    assert (found["value"] > 0).all()
    assert found["baseline"].null_count() == 0


def test_a_night_whose_registry_is_down_is_done_all_the_same(
    home: Home, with_reference: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    run_model(home, with_reference, NIGHTS)
    assert read.runs(home, "card_fraud")["status"].to_list() == ["done"] * 3
    assert read.query(home, "select count(*) as n from metrics").row(0)[0] > 0
    assert not (home.lake("card_fraud") / "shap_profile").exists()
    report = explain(home, with_reference, NIGHTS)
    assert any("does not answer" in note for note in report.notes)


def test_a_model_without_a_registry_is_not_explained_and_nothing_is_said(home: Home, with_reference: ModelSpec) -> None:
    report = explain(home, with_reference, NIGHTS)
    assert not report.rows
    assert not report.notes


def test_whatever_a_models_own_code_raises_is_a_note(
    home: Home, with_reference: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("in a\nmodel")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(explained_night, "explain_nights", broken)
    assert list(explain(home, with_reference, NIGHTS).notes) == ["not explained: ZeroDivisionError: in a model"]


def test_a_spec_that_turns_it_off_has_no_such_assets(home: Home, with_reference: ModelSpec) -> None:
    from mlobs_pipelines.orchestration.model import build_model

    off = with_reference.model_copy(update={"explain": with_reference.explain.model_copy(update={"mode": "off"})})
    for spec, there in ((with_reference, True), (off, False)):
        keys = {key.path[-1] for key in build_model(home, spec).resolve_asset_graph().get_all_asset_keys()}
        assert ("shap_profile" in keys) is there
        assert ("explanations" in keys) is there


def test_loading_the_definitions_loads_no_model_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, mlobs_pipelines.orchestration.explain; print(*({'mlflow', 'shap', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == []
