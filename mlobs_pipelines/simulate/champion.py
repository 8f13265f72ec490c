"""The models of the card-payment world: trained, scored, and put into the registry of the home.

Both are logistic regressions on transformed columns, each made of one feature alone: exact attributions cost
a matrix product. They are stored with skops and load without pickle and without a single type to be trusted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.simulate.population import CATEGORICAL, FEATURES, NUMERIC, Array
from mlobs_pipelines.store.layout import Home

NAME = "card_fraud"
ALIAS = "champion"
TRAINING = "data/training.parquet"
BINNED = [name for name in NUMERIC if name != "n_payments_24h"]  # which has too few values for tenths


@dataclass(frozen=True)
class Champions:
    """The fitted models: version "1", and version "2" which takes its place."""

    v1: Any
    v2: Any

    def __getitem__(self, version: str) -> Any:
        return {"1": self.v1, "2": self.v2}[version]


def train(sample: pl.DataFrame) -> Champions:
    """Fit both versions to rows with the features and ``is_fraud``: the first to every second of them.

    Version 1 is linear in each feature's rank-like transform; version 2 also sees in which tenth a number lies.
    """
    return Champions(v1=_fit(sample.gather_every(2), bins=0), v2=_fit(sample, bins=10))


def score(model: Any, rows: pl.DataFrame) -> Array:
    """Probability of fraud, one for each row."""
    return np.asarray(model.predict_proba(rows.select(FEATURES).to_pandas())[:, 1], float)


def _fit(sample: pl.DataFrame, bins: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.frozen import FrozenEstimator
    from sklearn.impute import KNNImputer, MissingIndicator
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, PowerTransformer

    numeric = list(NUMERIC)
    rows = sample.select(FEATURES).to_pandas()

    def medians(names: list[str]) -> Any:
        # SimpleImputer would do, but keeps a type that skops does not trust; the nearest neighbour among a
        # single row of medians is that row.
        return FrozenEstimator(KNNImputer(n_neighbors=1).fit(rows[names].median().to_frame().T))

    columns = [
        ("shape", Pipeline([("medians", medians(numeric)), ("power", PowerTransformer())]), numeric),
        ("missing", MissingIndicator(features="all"), numeric),
        ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(CATEGORICAL)),
    ]
    if bins:
        tenths = KBinsDiscretizer(
            bins,
            encode="onehot-dense",
            strategy="quantile",
            quantile_method="averaged_inverted_cdf",
            dtype=np.float64,  # left out, it is taken from the data and stored as a type skops does not trust
            subsample=None,
        )
        columns.append(("bins", Pipeline([("medians", medians(BINNED)), ("tenths", tenths)]), BINNED))
    model = Pipeline([("encode", ColumnTransformer(columns)), ("fraud", LogisticRegression(C=0.3, max_iter=1000))])
    return model.fit(rows, sample["is_fraud"].to_numpy())


def register_champion(home: Home, champions: Champions, sample: pl.DataFrame) -> dict[str, str]:
    """Log both models to the MLflow of the home and name version 2 the champion; do nothing if that was done.

    The sample is logged as each run's data set, and its days as tags of the versions: what came later, a version was
    not trained on. Takes 5 to 20 seconds: MLflow's import, and the making of its database.

    Returns:
        The aliases of the registered model, alias -> version.
    """
    import mlflow
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    example = sample.select(FEATURES).head(5).to_pandas()
    days = sample["event_time"].dt.date()
    tags = {"mlobs.trained_from": str(days.min()), "mlobs.trained_through": str(days.max())}
    with _tracking(home) as uri:
        client = MlflowClient(uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(NAME)
        if experiment is None:
            artifacts = (home.root / "mlartifacts").as_uri()
            experiment = client.get_experiment(client.create_experiment(NAME, artifact_location=artifacts))
            client.create_registered_model(NAME)
        elif known := client.get_registered_model(NAME).aliases:
            return {k: str(v) for k, v in known.items()}
        for version in ("1", "2"):
            model = champions[version]
            with mlflow.start_run(experiment_id=experiment.experiment_id, run_name=f"{NAME} {version}", tags=tags):
                mlflow.log_input(_dataset(home, sample), context="training")
                info = mlflow.sklearn.log_model(
                    model,
                    name="model",
                    serialization_format="skops",
                    signature=infer_signature(example, score(model, sample.head(5))),
                    pip_requirements=["scikit-learn", "skops"],
                )
            registered = client.create_model_version(
                NAME, info.model_uri, run_id=info.run_id, model_id=info.model_id, tags=tags
            )
        client.set_registered_model_alias(NAME, ALIAS, str(registered.version))
        return {k: str(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def _dataset(home: Home, sample: pl.DataFrame) -> Any:
    """The training sample as MLflow's lineage has it: where it is, its columns and a digest of its first rows."""
    import mlflow.data
    from mlflow.data.sources import LocalArtifactDatasetSource

    rows = sample.select(*FEATURES, pl.col("is_fraud").cast(pl.Boolean)).head(100).to_pandas()
    source = LocalArtifactDatasetSource(str(home.root / TRAINING))
    return mlflow.data.from_pandas(rows, source=source, targets="is_fraud", name="training")


def load_champion(home: Home) -> Any:
    """The champion as the registry of the home has it, a scikit-learn pipeline."""
    import mlflow

    with _tracking(home):
        return mlflow.sklearn.load_model(f"models:/{NAME}@{ALIAS}")


@contextlib.contextmanager
def _tracking(home: Home) -> Iterator[str]:
    """Let MLflow's global state point at the home, and back at what it was."""
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:  # which report each table they make
        logger.setLevel(logging.WARNING)
    home.root.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{home.root / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    try:
        yield uri
    finally:
        mlflow.set_tracking_uri(before)  # None takes it out of the environment again
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
