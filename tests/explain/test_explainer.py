"""Each kind of model is explained the best way there is for it, by logged feature, and its attributions add up."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.explain import explainer as module
from mlobs_pipelines.explain.explainer import TOLERANCE, Choice, Explainer, ExplainError, within_budget
from mlobs_pipelines.explain.model import Explained, log_odds, probability
from tests.explain.models import COLUMNS, Loaded, classes, pipeline, rows_of, target

TRAIN, BACKGROUND, SAMPLE, ROWS = rows_of(600), rows_of(60, seed=1), rows_of(200, seed=2), rows_of(80, seed=3)


@cache
def binary(kind: str) -> Loaded:
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    last, mix = {
        "logistic": (LogisticRegression(), False),
        "components": (LogisticRegression(), True),
        "forest": (RandomForestClassifier(20, random_state=0, max_depth=6), False),
        "boosted": (GradientBoostingClassifier(n_estimators=20), False),
        "histogram": (HistGradientBoostingClassifier(max_iter=20), False),
        "forest of components": (RandomForestClassifier(10, random_state=0), True),
        "neighbours": (KNeighborsClassifier(), False),
    }[kind]
    return Loaded(pipeline(last, mix=mix).fit(TRAIN.to_pandas(), classes(TRAIN)))


def explainer_of(loaded: Loaded, task: str = "binary", unit: float = 1.0) -> Explainer:
    return Explainer.of(Explained(loaded, task, unit), BACKGROUND, SAMPLE)


@pytest.mark.parametrize(
    ("kind", "method", "output"),
    [
        ("logistic", "additive", "log_odds"),
        ("components", "additive", "log_odds"),
        ("forest", "tree", "probability"),
        ("boosted", "tree", "log_odds"),
        ("histogram", "tree", "log_odds"),
        ("forest of components", "permutation", "probability"),
        ("neighbours", "permutation", "probability"),
    ],
)
def test_a_binary_model_is_explained(kind: str, method: str, output: str) -> None:
    loaded = binary(kind)
    explainer = explainer_of(loaded)
    assert explainer.choice == Choice(method, output)  # type: ignore[arg-type]
    found = explainer.attributions(ROWS)
    assert found.whole.all()
    p = loaded.predict(ROWS)
    expected = np.log(p / (1 - p)) if output == "log_odds" else p
    np.testing.assert_allclose(found.base + found.phi.sum(axis=1), expected, atol=TOLERANCE)
    own = loaded.predict(BACKGROUND)
    expected = np.log(own / (1 - own)) if output == "log_odds" else own
    np.testing.assert_allclose(found.base, expected.mean(), atol=TOLERANCE)
    assert np.abs(found.phi[:, COLUMNS.index("a")]).mean() > np.abs(found.phi[:, COLUMNS.index("e")]).mean()


def by_column(model: Any, background: Any, rows: Any) -> Any:
    """What shap itself gives each encoded column, put together by the encoder's own names."""
    import shap

    encode, last = model[:-1], model[-1]
    background, rows = encode.transform(background.to_pandas()), encode.transform(rows.to_pandas())
    if hasattr(last, "coef_"):
        found = shap.LinearExplainer(last, shap.maskers.Independent(background, max_samples=60)).shap_values(rows)
    else:
        explainer = shap.TreeExplainer(last, background, feature_perturbation="interventional")
        found = explainer.shap_values(rows, check_additivity=False)
    found = found[:, :, 1] if found.ndim == 3 else found
    whose = {"numbers__a": 0, "numbers__b": 1, "numbers__c": 2}
    together = np.zeros((len(rows), 5))
    for k, name in enumerate(encode.get_feature_names_out()):
        together[:, whose.get(name, 3 if "__d_" in name else 4)] += found[:, k]
    return together


@pytest.mark.parametrize("kind", ["logistic", "boosted", "histogram"])
def test_a_logged_feature_gets_the_sum_of_what_shap_gives_its_encoded_columns(kind: str) -> None:
    found = explainer_of(binary(kind)).attributions(ROWS).phi
    np.testing.assert_allclose(found, by_column(binary(kind).model, BACKGROUND, ROWS), atol=1e-6)


def test_values_that_all_but_equal_a_threshold_go_the_models_way_which_shaps_own_do_not() -> None:
    loaded = binary("forest")
    p, p_background = loaded.predict(ROWS), loaded.predict(BACKGROUND)
    theirs = by_column(loaded.model, BACKGROUND, ROWS)
    assert np.abs(p_background.mean() + theirs.sum(axis=1) - p).max() > 0.01, "else this is needed no more"
    ours = explainer_of(loaded).attributions(ROWS)
    assert np.abs(ours.base + ours.phi.sum(axis=1) - p).max() < 1e-6
    assert np.corrcoef(ours.phi.ravel(), theirs.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("kind", ["logistic", "forest", "neighbours"])
def test_a_row_is_explained_alike_alone_and_among_others_and_again(kind: str) -> None:
    explainer = explainer_of(binary(kind))
    together = explainer.attributions(ROWS).phi
    np.testing.assert_allclose(explainer.attributions(ROWS[5:6]).phi[0], together[5], atol=1e-12)
    assert np.array_equal(explainer.attributions(ROWS).phi, together)
    again = Explainer.again(explainer.explained, explainer.background, explainer.choice)
    assert again.most_rows(500) == explainer.most_rows(500)
    assert np.array_equal(again.attributions(ROWS).phi, together)


def test_a_category_never_seen_before_is_explained_too() -> None:
    new = ROWS.with_columns(d=pl.lit("violet"))
    for kind in ("logistic", "forest", "neighbours"):
        assert explainer_of(binary(kind)).attributions(new).whole.all()


def test_log_odds_keep_their_digits_where_the_probability_is_all_but_certain() -> None:
    explainer = explainer_of(binary("logistic"))
    broken = ROWS.with_columns(a=pl.lit(2000.0))
    found = explainer.attributions(broken)
    assert found.whole.all()
    expected = binary("logistic").model.decision_function(broken.to_pandas())
    assert expected.min() > 100
    np.testing.assert_allclose(found.base + found.phi.sum(axis=1), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("kind", "method"), [("linear", "additive"), ("forest", "tree"), ("neighbours", "permutation")]
)
def test_a_regression_is_explained_in_spreads_of_its_labels(kind: str, method: str) -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor

    last = {
        "linear": Ridge(),
        "forest": RandomForestRegressor(20, random_state=0),
        "neighbours": KNeighborsRegressor(),
    }[kind]
    model = pipeline(last).fit(TRAIN.to_pandas(), 1000 * target(TRAIN))
    explainer = explainer_of(Loaded(model, score=lambda m, x: m.predict(x)), "regression", unit=500.0)
    assert explainer.choice == Choice(method, "value")  # type: ignore[arg-type]
    found = explainer.attributions(ROWS)
    assert found.whole.all()
    np.testing.assert_allclose(
        500 * (found.base + found.phi.sum(axis=1)), model.predict(ROWS.to_pandas()), atol=500 * TOLERANCE
    )


@pytest.mark.parametrize(
    ("kind", "method", "output"),
    [("logistic", "additive", "log_odds"), ("forest", "tree", "probability"), ("boosted", "tree", "log_odds")],
)
def test_of_several_classes_the_predicted_one_is_explained(kind: str, method: str, output: str) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    last = {
        "logistic": LogisticRegression(max_iter=500),
        "forest": RandomForestClassifier(20, random_state=0),
        "boosted": HistGradientBoostingClassifier(max_iter=8),
    }[kind]
    y = np.array(["low", "middle", "high"])[np.digitize(target(TRAIN), [0.5, 3])]
    model = pipeline(last).fit(TRAIN.to_pandas(), y)
    order = [list(model.classes_).index(c) for c in ("low", "middle", "high")]  # the spec's, not the model's own
    loaded = Loaded(model, score=lambda m, x: m.predict_proba(x)[:, order])
    explainer = explainer_of(loaded, "multiclass")
    assert explainer.choice == Choice(method, output)  # type: ignore[arg-type]
    found = explainer.attributions(ROWS)
    assert found.whole.all()
    p = loaded.predict(ROWS)
    scale = log_odds(p) if output == "log_odds" else p
    np.testing.assert_allclose(found.base + found.phi.sum(axis=1), scale[np.arange(80), p.argmax(axis=1)], atol=1e-4)


def test_log_odds_and_probabilities_are_each_others_inverse() -> None:
    rng = np.random.default_rng(0)
    one, several = rng.random((50, 1)), rng.dirichlet([1, 1, 1], 50)
    np.testing.assert_allclose(probability(log_odds(one)), one)
    np.testing.assert_allclose(probability(log_odds(several)), several)


def test_rows_whose_attributions_do_not_add_up_are_told() -> None:
    """A model that was a sum of terms where it was tried, and is none beyond."""
    loaded = binary("logistic")

    class Jumpy:
        def decision_function(self, x: Any) -> Any:
            return loaded.model.decision_function(x) + 3.0 * ((x["a"] > 50) & (x["b"] > 50))

        def predict_proba(self, x: Any) -> Any:
            p = 1 / (1 + np.exp(-self.decision_function(x)))
            return np.column_stack([1 - p, p])

    explainer = explainer_of(Loaded(Jumpy()))
    wild = pl.concat([ROWS[:1].with_columns(a=pl.lit(60.0), b=pl.lit(0.1)), ROWS[1:3]])
    both = wild.with_columns(b=pl.Series([60.0, 1.0, 1.0]))
    assert explainer.attributions(wild).whole.tolist() == [True, True, True]
    assert explainer.attributions(both).whole[1:].all()
    p = Loaded(Jumpy()).predict(both)
    assert p[0] > 1 - 1e-9, "certain either way: only log-odds below 20 can tell"


def test_a_way_chosen_earlier_is_not_changed_silently() -> None:
    with pytest.raises(ExplainError, match="explained as trees before"):
        Explainer.again(Explained(binary("logistic"), "binary"), BACKGROUND, Choice("tree", "log_odds"))


@pytest.mark.parametrize(("cost", "rows", "background"), [(1e-6, 500, 100), (5e-5, 200, 100), (1e-3, 100, 20)])
def test_rows_are_cut_to_the_budget_before_the_background_is(cost: float, rows: int, background: int) -> None:
    few, sample = within_budget(cost, rows_of(100), rows_of(500))
    assert (sample.height, few.height) == (rows, background)


def test_a_night_by_permutations_asks_the_model_no_more_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVALUATIONS", 20_000)
    loaded = Loaded(binary("neighbours").model)
    explainer = explainer_of(loaded)
    assert explainer.background.height == 50
    rows = rows_of(500, seed=5)[: explainer.most_rows(500)]
    loaded.asked = 0
    explainer.attributions(rows)
    assert loaded.asked <= 20_000 + 3 * (rows.height + 60)


def test_large_forests_are_explained_with_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    full = explainer_of(binary("forest"))
    assert full.most_rows(500) == 500
    monkeypatch.setattr(module, "NODES", 1_000_000)
    few = explainer_of(binary("forest"))
    assert few.choice == full.choice
    assert (few.most_rows(500), few.background.height) == (100, 20)
    assert few.attributions(ROWS).whole.all()
