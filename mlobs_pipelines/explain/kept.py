"""What is fixed for a version once: its background, the way it is explained, and its attributions on the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.explain.explainer import Choice, Explainer
from mlobs_pipelines.explain.model import Explained, Loaded
from mlobs_pipelines.explain.profile import SCHEMA, shap_profile
from mlobs_pipelines.explain.sample import features_of
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import published, write_text
from mlobs_pipelines.store.layout import Home

Rows = Callable[[int], pl.DataFrame]
"""So many rows of the reference."""


@dataclass(frozen=True)
class Card:
    """How a version is explained: for people, and so that every night is explained alike."""

    version: str
    method: str
    output: str
    features: tuple[str, ...]
    background_rows: int
    reference_rows: int
    reference: str


def read_card(home: Home, model: str, version: str) -> Card | None:
    """How a version is explained, or None before it first was."""
    path = _file(home, model, "explainer", version, "json")
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return Card(**{**found, "features": tuple(found["features"])})


def reference_profile(home: Home, model: str) -> pl.DataFrame:
    """Attributions on the reference, of every version that was explained; schema ``SCHEMA``, without dates."""
    files = sorted((home.lake(model) / "reference").glob("shap-*.parquet"))
    return pl.concat([pl.DataFrame(schema=SCHEMA), *(pl.read_parquet(file) for file in files)])


def explainer_of(
    home: Home, spec: ModelSpec, version: str, loaded: Loaded, bins: dict[str, Any], rows: Rows
) -> Explainer:
    """The explainer of a version; its background is drawn, and its way chosen, the first time.

    Raises:
        UserError: the model asks for columns that are no features, the reference can't be read or has too few rows, or
            the model can't be explained as before.
    """
    unknown = [name for name in loaded.columns if name not in bins["features"]]
    if unknown:
        raise UserError(f"it takes {', '.join(unknown[:10])}, which the spec does not list as features")
    explained = Explained(loaded, spec.task, _unit(spec, bins))
    background = _file(home, spec.model, "background", version, "parquet")
    card = read_card(home, spec.model, version)
    if card is not None and background.exists():
        kept = pl.read_parquet(background)
        return Explainer.again(explained, kept, Choice(card.method, card.output))  # type: ignore[arg-type]
    wanted = spec.explain.background
    reference = rows(wanted + spec.explain.rows)
    if reference.height < 2 * spec.monitors.min_rows:
        raise UserError(f"the reference has {reference.height} rows, too few to stand for features left out")
    wanted = min(wanted, reference.height - min(spec.explain.rows, reference.height // 2))
    sample = reference[wanted:]
    names = loaded.columns
    explainer = Explainer.of(explained, features_of(reference[:wanted], names), features_of(sample, names))
    sample = sample[: explainer.most_rows(sample.height)].with_columns(version=pl.lit(version))
    found = explainer.attributions(features_of(sample, names))
    card = Card(
        version,
        explainer.choice.method,
        explainer.choice.output,
        tuple(names),
        explainer.background.height,
        int(found.whole.sum()),
        bins["reference"],
    )
    with published(background) as draft:
        explainer.background.write_parquet(draft, compression="zstd")
    with published(_file(home, spec.model, "shap", version, "parquet")) as draft:
        shap_profile(sample, names, found, explainer.choice, bins).write_parquet(draft, compression="zstd")
    # Last, for where it is, the others are too.
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n"
    write_text(_file(home, spec.model, "explainer", version, "json"), text)
    return explainer


def _unit(spec: ModelSpec, bins: dict[str, Any]) -> float:
    return float(bins["outputs"]["error"]["unit"]) if spec.task == "regression" else 1.0


def _file(home: Home, model: str, what: str, version: str, ending: str) -> Path:
    return home.lake(model) / "reference" / f"{what}-{quote(version, safe='')}.{ending}"
