"""Nights -> sums of attributions in the lake, and of them the explanation metrics in the store."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.explain.explainer import Explainer
from mlobs_pipelines.explain.kept import explainer_of, reference_profile
from mlobs_pipelines.explain.model import Loaded
from mlobs_pipelines.explain.profile import SCHEMA, shap_profile
from mlobs_pipelines.explain.sample import features_of, night_rows, reference_rows
from mlobs_pipelines.ingest.schema import Schema, read_schema
from mlobs_pipelines.measure.explanation import by_day, measure_explanation
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.engine import rows_engine
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

CAUGHT_UP = 7
"""A night that could not be explained is tried again for so many nights."""

TOGETHER = 31
"""Nights that are sampled and explained at once."""

PATIENCE = 600.0
"""Seconds after which a run explains no further nights; the newest come first, so the others are caught up later."""

Load = Callable[[str], Loaded | None]
"""A version as predictions are logged under -> its model; None where the registry has no such version."""
Progress = Callable[[str], None]


@dataclass
class Report:
    """What was explained: sampled rows by night; and why the rest was not."""

    rows: dict[dt.date, int] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.notes[text] = None


def explain_nights(
    home: Home,
    spec: ModelSpec,
    wanted: Sequence[dt.date],
    load: Load,
    *,
    run_id: str = "",
    progress: Progress | None = None,
    patience: float = PATIENCE,
) -> Report:
    """Explain a bounded sample of each wanted night, and of nights of the last week that have not been explained yet.

    Needs the nights' accepted rows and the frozen bins. Writes ``lake/<model>/shap_profile`` and, for those nights and
    all that rest on them, ``store/explanations/<model>``. What a night gets depends on the lake, the bins and the
    versions' models alone. A night of which no version could be explained gets no file.

    Args:
        home: the installation.
        spec: the model; ``spec.explain`` says how many rows.
        wanted: nights, ascending.
        load: where models come from. A ``UserError`` of it is noted, and that version left for a later run.
        run_id: written beside the metrics.
        progress: told how far it is.
        patience: seconds after which no further nights are begun.
    """
    report = Report()
    schema, bins = read_schema(home, spec.model), read_bins(home.bins_file(spec.model))
    if spec.explain.mode == "off" or schema is None or not wanted:
        return report
    if bins is None or bins["frozen_on"] is None:
        report.note("not explained before the bins are frozen, on the night that completes the reference")
        return report
    spill = home.root / "tmp" / f"{spec.model}.explain"
    with DuckDBEngine(spill) as engine, rows_engine(home, spec, spill) as sampling:
        explainers = _Explainers(home, spec, schema, bins, engine, load, report)
        started = time.monotonic()
        todo = _todo(home, spec.model, wanted)
        for batch in _newest_first(todo):
            if report.rows and time.monotonic() - started > patience:
                report.note(f"{len(todo) - len(report.rows)} older nights were left out for want of time")
                break
            rows = night_rows(sampling, home, spec, schema, batch, spec.explain.rows)
            for night, profile in _explained(rows, batch, explainers, bins, report):
                with published(home.lake_file(spec.model, "shap_profile", night)) as draft:
                    profile.write_parquet(draft, compression="zstd")
                of = profile.filter((pl.col("segment") == "") & (pl.col("feature") == profile["feature"].min()))
                report.rows[night] = int(of["rows"].sum())
            if progress:
                progress(f"explained {batch[0]} to {batch[-1]}")
    if report.rows:
        _measure(home, spec, bins, min(report.rows), run_id)
    return report


def _todo(home: Home, model: str, wanted: Sequence[dt.date]) -> list[dt.date]:
    taken = home.lake_nights(model, "predictions")
    done = set(home.lake_nights(model, "shap_profile").all())
    recent = max(wanted) - dt.timedelta(days=CAUGHT_UP)
    todo = [n for n in taken.all() if n in set(wanted) or (recent <= n <= max(wanted) and n not in done)]
    return taken.kept(todo)


def _newest_first(todo: Sequence[dt.date]) -> Iterator[list[dt.date]]:
    for end in range(len(todo), 0, -TOGETHER):
        yield list(todo[max(end - TOGETHER, 0) : end])


@dataclass
class _Explainers:
    """The explainers of the versions met so far; None for one that can't be explained now."""

    home: Home
    spec: ModelSpec
    schema: Schema
    bins: dict[str, object]
    engine: DuckDBEngine
    load: Load
    report: Report
    known: dict[str, Explainer | None] = field(default_factory=dict)

    def __getitem__(self, version: str) -> Explainer | None:
        if version not in self.known:
            self.known[version] = self._made(version)
        return self.known[version]

    def _made(self, version: str) -> Explainer | None:
        def reference(count: int) -> pl.DataFrame:
            return reference_rows(self.engine, self.home, self.spec, self.schema, count)

        try:
            loaded = self.load(version)
            if loaded is None:
                self.report.note(f"version {version} is not in the registry")
                return None
            return explainer_of(self.home, self.spec, version, loaded, self.bins, reference)
        except UserError as error:
            self.report.note(f"version {version} is not explained: {error}")
            return None


def _explained(
    rows: pl.DataFrame, batch: Sequence[dt.date], explainers: _Explainers, bins: dict[str, object], report: Report
) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """The profile of each night of a batch, each version's rows explained in one go."""
    parts = [pl.DataFrame(schema=SCHEMA)]
    explained = set(batch) - set(rows["arrival_date"])
    for version in rows["version"].unique().sort():
        explainer = explainers[version]
        if explainer is None:
            continue
        mine = rows.filter(pl.col("version") == version)
        most = explainer.most_rows(explainers.spec.explain.rows)
        mine = mine.filter(pl.int_range(pl.len()).over("arrival_date") < most)
        names = explainer.background.columns
        try:
            found = explainer.attributions(features_of(mine, names))
        except UserError as error:
            report.note(f"version {version} is not explained: {error}")
            continue
        if not found.whole.all():
            report.note(
                f"version {version}: {int((~found.whole).sum())} of {mine.height} rows left out, whose attributions "
                "do not add up to the prediction"
            )
        parts.append(shap_profile(mine, names, found, explainer.choice, bins))
        explained |= set(mine["arrival_date"])
    whole = pl.concat(parts)
    for night in sorted(explained):
        yield night, whole.filter(pl.col("arrival_date") == night)


def _measure(home: Home, spec: ModelSpec, bins: dict[str, object], first: dt.date, run_id: str) -> None:
    """State the explanation metrics of every explained night from ``first`` on."""
    reference = reference_profile(home, spec.model)
    stored = home.lake_nights(spec.model, "shap_profile").all()
    stated = [night for night in stored if night >= first]
    days = _days(home, spec.model, stated)
    # Rows arrive after the day they are about, save for clocks and zones: earlier files hold nothing that is stated.
    earliest = min([first, *days["event_date"]]) - dt.timedelta(days=max(spec.monitors.window_days) + 2)
    days = pl.concat([days, _days(home, spec.model, [night for night in stored if earliest <= night < first])])
    for night in stated:
        found = measure_explanation(days, reference, spec, bins, night, run_id)
        with published(home.store_file("explanations", spec.model, night)) as draft:
            found.write_parquet(draft, compression="zstd")


def _days(home: Home, model: str, wanted: Sequence[dt.date]) -> pl.DataFrame:
    frames = home.lake_nights(model, "shap_profile").frames(wanted)
    return pl.concat([by_day(pl.DataFrame(schema=SCHEMA)), *(by_day(rows.collect()) for rows in frames)])
