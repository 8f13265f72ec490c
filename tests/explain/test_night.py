"""A night's sample is bounded, fixed and summed like every profile; what can't be explained now is caught up later."""

from __future__ import annotations

import hashlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlobs_pipelines.explain.kept import read_card, reference_profile
from mlobs_pipelines.explain.night import Load, explain_nights
from mlobs_pipelines.explain.profile import SCHEMA
from mlobs_pipelines.profile.night import profile_nights
from mlobs_pipelines.registry import RegistryError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import read, results
from mlobs_pipelines.store.layout import Home
from tests.explain.models import Loaded
from tests.profile.lake import HOSTILE, night, rows_of, write_lake

COLUMNS = ["amount", "country", HOSTILE]
NIGHTS = 30


class Linear:
    """Log-odds that are a sum of a term of each feature."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def decision_function(self, x: Any) -> Any:
        amount = np.log1p(x["amount"].fillna(20.0).to_numpy(float))
        german = (x["country"].fillna("") == "DE").to_numpy()
        return self.weight * amount - 1.0 * german + 0.25 * (x[HOSTILE] == "ios").to_numpy() - 4

    def predict_proba(self, x: Any) -> Any:
        p = 1 / (1 + np.exp(-self.decision_function(x)))
        return np.column_stack([1 - p, p])


@cache
def models() -> dict[str, Loaded]:
    return {"1": Loaded(Linear(0.5), COLUMNS), "2": Loaded(Linear(1.5), COLUMNS)}


def known(version: str) -> Loaded | None:
    return models().get(version)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, ModelSpec]:
    """A month in the lake, profiled: the reference is its first 28 nights."""
    home, spec, _, _ = write_lake(tmp_path_factory.mktemp("lake") / "home", "binary", NIGHTS, explain={"rows": 60})
    profile_nights(home, spec, [night(i) for i in range(NIGHTS)])
    return home, spec


@pytest.fixture
def lake(made: tuple[Home, ModelSpec], tmp_path: Path) -> tuple[Home, ModelSpec]:
    import shutil

    shutil.copytree(made[0].root, tmp_path / "home")
    return Home(tmp_path / "home"), made[1]


def sampled(i: int, most: int = 60) -> pl.DataFrame:
    """The rows of a night that are to be explained, picked here by their definition."""
    rows = rows_of("binary", i).filter(~pl.col("failed"))
    order = sorted(rows["prediction_id"], key=lambda name: hashlib.md5(name.encode()).hexdigest())
    return rows.filter(pl.col("prediction_id").is_in(order[:most]))


def profile_of(home: Home, i: int) -> pl.DataFrame:
    return pl.read_parquet(home.lake_file("m", "shap_profile", night(i)))


def files(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """What every file that explaining writes holds."""
    tables = [home.lake("m") / "shap_profile", home.lake("m") / "reference", home.root / "store" / "explanations"]
    written = [f for t in tables for f in sorted(t.rglob("*.*")) if "_profile.parquet" not in f.name]
    return {
        str(f.relative_to(home.root)): pl.read_parquet(f).rows() if f.suffix == ".parquet" else [(f.read_text(),)]
        for f in written
    }


def test_a_nights_sums_are_those_of_the_closed_form_over_its_sample(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    report = explain_nights(home, spec, [night(29)], known)
    assert report.rows == {night(i): 60 for i in range(22, 30)}
    assert not report.notes
    found = profile_of(home, 29)
    assert found.schema == SCHEMA
    assert found.equals(found.sort(found.columns[:9]))
    for version in ("1", "2"):
        rows = sampled(29).filter(pl.col("version") == version)
        background = pl.read_parquet(home.lake("m") / "reference" / f"background-{version}.parquet")
        assert background.columns == COLUMNS
        assert background.height == 100
        model = models()[version].model
        features = rows.select([pl.col(f"f_{c}").alias(c) for c in COLUMNS])
        terms = {
            "amount": lambda x, w=model.weight: w * np.log1p(x["amount"].fill_null(20.0).to_numpy()),
            "country": lambda x: -1.0 * (x["country"].fill_null("") == "DE").to_numpy(),
            HOSTILE: lambda x: 0.25 * (x[HOSTILE] == "ios").to_numpy(),
        }
        mine = found.filter((pl.col("version") == version) & (pl.col("segment") == ""))
        assert set(mine["output"]) == {"log_odds"}
        for name, term in terms.items():
            phi = term(features) - term(background).mean()
            sums = mine.filter(pl.col("feature") == name).sum()
            assert sums["rows"][0] == rows.height
            for column, exact in (("phi", phi), ("phi_abs", np.abs(phi)), ("phi_sq", phi**2)):
                assert abs(sums[column][0] / 2**20 - exact.sum()) <= rows.height * 2**-21 + 1e-9, (name, column)
            base = model.decision_function(background.to_pandas()).mean()
            assert abs(sums["base"][0] / 2**20 - rows.height * base) <= rows.height * 2**-21 + 1e-9


def test_sums_are_kept_by_the_bins_and_segments_of_the_feature_profile(lake: tuple[Home, ModelSpec]) -> None:
    """With a sample that holds every row, rows by bin and segment are those of the feature profile itself."""
    home, spec = lake
    whole = spec.model_copy(update={"explain": spec.explain.model_copy(update={"rows": 1000})})
    explain_nights(home, whole, [night(29)], known)
    keys = ["event_date", "version", "segment", "feature", "bin"]
    ours = profile_of(home, 29).select(*keys, "rows").sort(keys)
    theirs = pl.read_parquet(home.lake_file("m", "feature_profile", night(29))).filter(
        (pl.col("rows") > 0) & ~pl.col("segment").str.contains(" & ", literal=True)
    )
    assert ours.height > 300
    assert ours.equals(theirs.select(*keys, "rows").sort(keys))


def test_nights_together_one_by_one_and_again_give_the_same_bits(lake: tuple[Home, ModelSpec], tmp_path: Path) -> None:
    import shutil

    home, spec = lake
    other = Home(tmp_path / "other")
    shutil.copytree(home.root, other.root)
    explain_nights(home, spec, [night(i) for i in range(13, 30)], known)
    for i in range(20, 30):  # the first of which catches up with a week
        explain_nights(other, spec, [night(i)], known)
    wanted = files(home)
    one_by_one = files(other)
    assert one_by_one.keys() == wanted.keys()
    assert one_by_one == wanted
    explain_nights(home, spec, [night(29)], known)
    assert files(home) == wanted


def test_the_order_in_which_rows_are_stored_makes_no_difference(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    explain_nights(home, spec, [night(29)], known)
    before = files(home)
    for file in (home.lake("m") / "predictions").glob("*.parquet"):
        rows = pl.read_parquet(file)
        rows.sample(rows.height, shuffle=True, seed=1).write_parquet(file)
    for file in (home.lake("m") / "reference").glob("*-[12].*"):
        file.unlink()
    explain_nights(home, spec, [night(29)], known)
    assert files(home) == before


def test_a_registry_that_is_down_leaves_nights_that_the_next_run_fills(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake

    def down(version: str) -> Loaded | None:
        raise RegistryError("MLflow does not answer")

    report = explain_nights(home, spec, [night(28)], down)
    assert not report.rows
    assert any("MLflow does not answer" in note for note in report.notes)
    assert not (home.lake("m") / "shap_profile").exists()
    report = explain_nights(home, spec, [night(29)], known)
    assert set(report.rows) == {night(i) for i in range(22, 30)}
    report = explain_nights(home, spec, [night(29)], known)
    assert set(report.rows) == {night(29)}, "what was caught up stays as it is"


def test_a_version_that_is_in_no_registry_is_left_out_and_named(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    report = explain_nights(home, spec, [night(29)], lambda v: known(v) if v == "1" else None)
    assert profile_of(home, 29)["version"].unique().to_list() == ["1"]
    assert list(report.notes) == ["version 2 is not in the registry"]
    assert read_card(home, "m", "2") is None


def test_a_run_that_was_killed_while_a_version_was_prepared_is_simply_run_again(
    lake: tuple[Home, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlobs_pipelines.explain import kept

    home, spec = lake

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(kept, "write_text", killed)
        explain_nights(home, spec, [night(29)], known)
    assert read_card(home, "m", "1") is None
    interrupted = files(home)
    assert any("background-1" in name for name in interrupted)
    explain_nights(home, spec, [night(29)], known)
    after = files(home)
    assert {n: after[n] for n in interrupted} == interrupted
    assert json.loads((home.lake("m") / "reference" / "explainer-1.json").read_text())["method"] == "additive"


def test_a_version_keeps_its_background_and_its_way(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    explain_nights(home, spec, [night(29)], known)
    card = read_card(home, "m", "2")
    assert card is not None
    assert (card.method, card.output, card.reference) == ("additive", "log_odds", "onboarding")
    assert (card.background_rows, card.reference_rows, list(card.features)) == (100, 60, COLUMNS)
    before = files(home)
    other = spec.model_copy(update={"explain": spec.explain.model_copy(update={"background": 50})})
    explain_nights(home, other, [night(29)], known)
    assert files(home) == before
    assert set(reference_profile(home, "m")["version"]) == {"1", "2"}


def test_names_of_versions_are_no_paths(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    for file in (home.lake("m") / "predictions").glob("*.parquet"):
        pl.read_parquet(file).with_columns(version=pl.lit("../../x")).write_parquet(file)
    explain_nights(home, spec, [night(29)], lambda _: models()["1"])
    assert read_card(home, "m", "../../x") is not None
    assert [p.name for p in (home.lake("m") / "reference").glob("explainer*")] == ["explainer-..%2F..%2Fx.json"]


def test_a_model_that_takes_what_is_no_feature_is_named(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    odd = Loaded(Linear(1.0), [*COLUMNS, "mood"])
    report = explain_nights(home, spec, [night(29)], lambda _: odd)
    assert not report.rows
    assert all("it takes mood" in note for note in report.notes)
    assert len(report.notes) == 2


def test_a_model_that_refuses_a_nights_rows_costs_that_version_alone(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    explain_nights(home, spec, [night(28)], known)

    class Refusing(Loaded):
        def predict(self, frame: pl.DataFrame) -> Any:
            raise RegistryError("version 2 refuses the logged rows")

    refusing = Refusing(Linear(1.5), COLUMNS)
    report = explain_nights(home, spec, [night(29)], lambda v: refusing if v == "2" else known(v))
    assert profile_of(home, 29)["version"].unique().to_list() == ["1"]
    assert any("refuses" in note for note in report.notes)


def test_nothing_is_explained_before_the_bins_are_frozen_nor_when_it_is_off(tmp_path: Path) -> None:
    home, spec, _, _ = write_lake(tmp_path / "home", "binary", 3)
    profile_nights(home, spec, [night(i) for i in range(3)])

    def never(version: str) -> Loaded | None:
        raise AssertionError("no model is to be loaded")

    report = explain_nights(home, spec, [night(2)], never)
    assert not report.rows
    assert "before the bins are frozen" in next(iter(report.notes))
    off = spec.model_copy(update={"explain": spec.explain.model_copy(update={"mode": "off"})})
    assert not explain_nights(home, off, [night(2)], never).notes


def test_a_night_without_rows_is_explained_by_an_empty_file(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    file = home.lake_file("m", "predictions", night(29))
    pl.read_parquet(file).clear().write_parquet(file)
    assert explain_nights(home, spec, [night(29)], known).rows[night(29)] == 0
    assert profile_of(home, 29).equals(pl.DataFrame(schema=SCHEMA))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_are_explained_in_their_own_terms(task: str, tmp_path: Path) -> None:
    home, spec, _, _ = write_lake(tmp_path / "home", task, 29, explain={"rows": 60, "background": 50})
    profile_nights(home, spec, [night(i) for i in range(29)])

    def shares(model: Any, x: Any) -> Any:
        raised = np.exp(
            np.column_stack([model.decision_function(x), -x.index.to_numpy() * 0.0, 0.1 * (x["country"] == "DE")])
        )
        return raised / raised.sum(axis=1, keepdims=True)

    score = shares if task == "multiclass" else lambda m, x: 200 + 100 * m.decision_function(x)
    one = Loaded(Linear(1.0), COLUMNS, score)
    report = explain_nights(home, spec, [night(28)], lambda _: one)
    assert report.rows[night(28)] == 60, report.notes
    metrics = pl.read_parquet(home.store_file("explanations", "m", night(28))).filter(
        (pl.col("segment") == "") & (pl.col("window_end") == night(28)) & (pl.col("version") == "")
    )
    base = metrics.filter(pl.col("metric") == "shap_base_value")
    assert base["subject"].unique().to_list() == ["value" if task == "regression" else "log_odds"]
    if task == "regression":
        background = pl.read_parquet(home.lake("m") / "reference" / "background-1.parquet")
        exact = one.predict(background).mean()
        week = base.filter(pl.col("window_start") == night(22))
        assert abs(week["value"][0] - exact) < abs(exact) * 1e-2


def test_metrics_reach_the_snapshot_and_survive_a_night_that_is_measured_again(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    explain_nights(home, spec, [night(29)], known, run_id="r")
    file = home.store_file("metrics", "m", night(29))
    file.parent.mkdir(parents=True)
    other = (
        pl.read_parquet(home.store_file("explanations", "m", night(29))).head(3).with_columns(family=pl.lit("drift"))
    )
    other.write_parquet(file)
    results.publish(home, [spec])
    count = "select family, count(*) as n from metrics where as_of = '2026-01-30' group by 1 order by 1"
    first = read.query(home, count)
    assert first["family"].to_list() == ["drift", "explanation"]
    other.head(2).write_parquet(file)
    results.publish(home, [spec])
    assert read.query(home, count)["n"].to_list() == [2, first["n"][1]]
    home.store_file("explanations", "m", night(29)).unlink()
    results.publish(home, [spec])
    assert read.query(home, count).rows() == [("drift", 2)]
    assert read.metrics(home, "m", family="explanation", metric="attribution_ndcg").height > 0
    assert read.lake(home, "m", "shap_profile").height > 0


def test_a_night_takes_little_time(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    explain_nights(home, spec, [night(29)], known)
    started = time.perf_counter()
    explain_nights(home, spec, [night(29)], known)
    assert time.perf_counter() - started < 2, "a third of a second on a quiet machine"


def test_older_nights_are_left_out_for_want_of_time_and_said_so(lake: tuple[Home, ModelSpec]) -> None:
    home, spec = lake
    from mlobs_pipelines.explain import night as module

    before = module.TOGETHER
    module.TOGETHER = 10
    try:
        report = explain_nights(home, spec, [night(i) for i in range(NIGHTS)], known, patience=0)
    finally:
        module.TOGETHER = before
    assert sorted(report.rows) == [night(i) for i in range(20, 30)], "the newest first"
    assert list(report.notes) == ["20 older nights were left out for want of time"]


def test_a_model_that_is_changed_under_its_version_is_not_explained_in_another_way(
    lake: tuple[Home, ModelSpec],
) -> None:
    home, spec = lake
    explain_nights(home, spec, [night(28)], known)

    def certain(_: Any, x: Any) -> Any:
        return np.zeros(len(x))

    class NoMargin:
        pass

    load: Load = lambda v: Loaded(NoMargin(), COLUMNS, certain)  # noqa: E731
    report = explain_nights(home, spec, [night(29)], load)
    assert all("was explained in log-odds before" in note for note in report.notes)
    assert home.lake_nights("m", "shap_profile").all()[-1] == night(28)
