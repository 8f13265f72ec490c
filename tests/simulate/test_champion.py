"""The champion in the registry is the very model that scored the world, and loads without trust."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from mlobs_pipelines.simulate.champion import load_champion, register_champion, score
from mlobs_pipelines.simulate.world import World
from mlobs_pipelines.store.layout import Home


@pytest.mark.slow
def test_the_registered_champion_scores_as_the_world_does_and_trusts_no_type(tmp_path: Path) -> None:
    import mlflow
    import skops.io
    from mlflow import MlflowClient

    before = os.environ.get("MLFLOW_TRACKING_URI")
    home, world = Home(tmp_path / "home"), World(payments_per_day=100)
    assert register_champion(home, world.champions, world.training_sample) == {"champion": "2"}
    assert register_champion(home, world.champions, world.training_sample) == {"champion": "2"}, "once is enough"
    stored = list((home.root / "mlartifacts").rglob("*.skops"))
    assert len(stored) == 2
    assert [skops.io.get_untrusted_types(file=str(f)) for f in stored] == [[], []]
    rows = world.training_sample
    loaded = load_champion(home)
    assert np.array_equal(score(loaded, rows), score(world.champions.v2, rows))
    assert (home.root / "mlflow.db").exists()
    client = MlflowClient(uri := f"sqlite:///{home.root / 'mlflow.db'}", registry_uri=uri)
    for version in client.search_model_versions("name = 'card_fraud'"):
        assert version.tags["mlobs.trained_through"] == "2025-12-31", "what came later, it was not trained on"
        (logged,) = client.get_run(version.run_id).inputs.dataset_inputs
        assert "data/training.parquet" in logged.dataset.source
    assert not list(Path.cwd().glob("mlruns"))
    assert mlflow.is_tracking_uri_set() == bool(before) and os.environ.get("MLFLOW_TRACKING_URI") == before, (
        "whoever asks for MLflow after that finds it where it was"
    )


def test_scores_are_sums_of_one_contribution_a_feature() -> None:
    """What makes exact explanations cheap: no transformed column mixes two features."""
    world = World(payments_per_day=60)
    encode = world.champions.v2[:-1]
    rows = world.training_sample.head(200)
    from mlobs_pipelines.simulate.population import FEATURES

    base = rows.select(FEATURES).to_pandas()
    before = encode.transform(base)
    touched: list[set[int]] = []
    for feature in FEATURES:
        other = base.copy()
        other[feature] = other[feature].to_numpy()[::-1]
        touched.append(set(np.flatnonzero((encode.transform(other) != before).any(axis=0)).tolist()))
    assert sum(len(t) for t in touched) == len(set().union(*touched))
    started = time.perf_counter()
    score(world.champions.v2, rows)
    assert time.perf_counter() - started < 1
