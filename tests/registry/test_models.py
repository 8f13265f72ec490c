"""A version predicts in the task's terms, whatever it is made of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlobs_pipelines.registry import Registry, RegistryError
from mlobs_pipelines.store.layout import Home
from tests.registry.mlflow_store import give_store, register, spec_of

RNG = np.random.default_rng(3)
X = pd.DataFrame(RNG.normal(size=(300, 2)), columns=["b", "a"])
ROWS = pl.DataFrame({"a": X["a"].to_numpy(), "unused": ["x"] * 300, "b": X["b"].to_numpy()})
SIGN = X["a"].to_numpy() > X["b"].to_numpy()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Home(tmp_path / "home")


def loaded(home, model, spec, **more):
    uri = give_store(home)
    version = register(uri, "m", model, X, artifacts=home.root / "artifacts", **more)
    return Registry.open(home, spec).load(version)


@pytest.mark.parametrize(
    ("labels", "positive"),
    [(SIGN.astype(int), 1), (SIGN, "true"), (np.where(SIGN, "bad", "good"), "bad"), (np.where(SIGN, 0, 1), 0)],
    ids=["ints", "bools", "texts", "the class that comes first"],
)
def test_a_classifier_is_asked_for_the_positive_class(home, labels, positive):
    model = LogisticRegression().fit(X, labels)
    found = loaded(home, model, spec_of(positive_class=positive)).predict(ROWS)
    assert found.shape == (300,)
    assert found[SIGN].mean() > 0.7 > 0.3 > found[~SIGN].mean()


def test_a_classifier_that_does_not_know_the_positive_class_says_so(home):
    model = LogisticRegression().fit(X, np.where(SIGN, "bad", "good"))
    with pytest.raises(RegistryError, match=r"knows the classes bad, good, not fraud"):
        loaded(home, model, spec_of(positive_class="fraud"))


def test_several_classes_come_in_the_order_of_the_spec(home):
    labels = np.where(X["a"] > 0.4, "c", np.where(X["a"] < -0.4, "b", "a"))
    model = LogisticRegression().fit(X, labels)
    spec = spec_of(
        "multiclass", predictions={"source": "p", "id": "i", "time": "t", "scores": {"c": "1", "a": "2", "b": "3"}}
    )
    found = loaded(home, model, spec).predict(ROWS)
    assert found.shape == (300, 3)
    np.testing.assert_allclose(found, model.predict_proba(X)[:, [2, 0, 1]])


def test_a_regression_predicts_its_number(home):
    model = LinearRegression().fit(X, 2 * X["a"] - X["b"])
    found = loaded(home, model, spec_of("regression")).predict(ROWS)
    np.testing.assert_allclose(found, 2 * ROWS["a"].to_numpy() - ROWS["b"].to_numpy())


def test_other_flavours_are_asked_as_pyfunc(home):
    import mlflow

    class Rule(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return (model_input["a"] > model_input["b"]).astype(float)

    found = loaded(home, Rule(), spec_of(), flavor="pyfunc").predict(ROWS)
    np.testing.assert_array_equal(found, SIGN.astype(float))


def test_a_missing_column_is_named(home):
    model = loaded(home, LogisticRegression().fit(X, SIGN), spec_of(positive_class="true"))
    with pytest.raises(RegistryError, match="needs columns that are not logged as features: a"):
        model.predict(ROWS.drop("a"))


def test_rows_that_a_model_can_not_score_are_an_error_of_one_line(home):
    model = loaded(home, LogisticRegression().fit(X, SIGN), spec_of(positive_class="true"))
    with pytest.raises(RegistryError, match="version 1 refuses the logged rows"):
        model.predict(ROWS.with_columns(a=pl.lit(None, pl.Float64)))


def test_no_rows_have_no_predictions(home):
    model = loaded(home, LinearRegression().fit(X, X["a"]), spec_of("regression"))
    assert model.predict(ROWS.head(1)).shape == (1,)
    with pytest.raises(RegistryError):
        model.predict(ROWS.head(0))
