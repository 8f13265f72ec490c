"""One monitored model's assets, from its logged tables to what people query. Bodies call the steps; no statistics."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from mlobs_pipelines.orchestration import checks, evidence
from mlobs_pipelines.orchestration.bookkeeping import record
from mlobs_pipelines.orchestration.step import Result, describe, step
from mlobs_pipelines.orchestration.wiring import Wiring, say
from mlobs_pipelines.tasks import HEADLINE

PROFILES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "feature_profile": (
        "Sums per feature and bin: rows, scores, labels, losses.",
        ("predictions", "label_facts"),
    ),
    "output_profile": (
        "Sums per output and bin: rows, outcomes, losses; every performance metric comes of it.",
        ("predictions", "label_facts"),
    ),
    "quality_profile": ("Missing, invalid and out-of-range values per feature.", ("predictions",)),
    "traffic_profile": ("Rows, failures and latencies.", ("predictions",)),
}


JUDGED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "signals": ("Every watched number beside what was expected, and whether it is off.", ("metrics",)),
    "incidents": ("What is wrong: since when, how large, why, and what to do.", ("signals", "feature_profile")),
    "causes": ("First suspects of the incidents, the likeliest first.", ("incidents", "feature_profile")),
}


def sources(wiring: Wiring) -> list[dg.AssetSpec]:
    """The tables that are logged and reported elsewhere."""
    spec = wiring.spec
    found = [_source(wiring, "raw_predictions", "Predictions as they were logged.", spec.predictions.source)]
    if spec.labels:
        found.append(_source(wiring, "raw_labels", "Labels as they became known.", spec.labels.source))
    if spec.reference:
        found.append(
            _source(wiring, "raw_reference", "The data that drift is measured against.", spec.reference.source)
        )
    return found


def _source(wiring: Wiring, name: str, description: str, source: str | list[str]) -> dg.AssetSpec:
    listed = [source] if isinstance(source, str) else source
    return dg.AssetSpec(
        wiring.key(name),
        description=description,
        group_name=wiring.model,
        owners=wiring.owners,
        metadata={"source": dg.MetadataValue.md("\n".join(f"- `{s}`" for s in listed))},
        kinds={"file"},
    )


def ingest(wiring: Wiring) -> dg.AssetsDefinition:
    """Raw tables -> accepted rows; what can't be accepted is quarantined with its reason."""
    spec, home = wiring.spec, wiring.home
    raw = ["raw_predictions", *(["raw_labels"] if spec.labels else [])]
    kinds = {"parquet", "duckdb"}
    tables = {
        "predictions": ("Accepted predictions, each once, by the night they arrived.", raw[:1]),
        "labels": ("Accepted labels, by the night they arrived.", raw[1:]),
        "intake": ("What was delivered, accepted, counted as a duplicate and quarantined.", raw),
        "quarantine": ("Rows that were refused, each with its reason.", raw),
    }

    def work(context: dg.AssetExecutionContext, nights: list[dt.date]) -> Iterator[Result]:
        from mlobs_pipelines.orchestration import steps

        report = steps.ingest(home, spec, nights, progress=say(context))
        counts = evidence.intake(home, spec.model, nights)
        shown = evidence.recent(home, spec.model, nights[-1])
        history = evidence.intake(home, spec.model, shown)
        for name in ("predictions", "labels"):
            rows = {night: counts.get((night, name), evidence.Intake()) for night in nights}
            arrived = [evidence.Point(n, history.get((n, name), evidence.Intake()).accepted) for n in shown]
            latest = {
                **_lake(wiring, name, nights[-1]),
                "nights": dg.MetadataValue.md(_nights_table(rows)),
                "accepted per night": dg.MetadataValue.md(evidence.plot(f"accepted {name}", arrived, bars=True)),
            }
            describe(context, wiring.key(name), {night: row.accepted for night, row in rows.items()}, latest)
            yield dg.MaterializeResult(asset_key=wiring.key(name))
        latest = {**_lake(wiring, "intake", nights[-1]), "notes": dg.MetadataValue.json(list(report.notes))}
        describe(context, wiring.key("intake"), evidence.row_counts(home, spec.model, "intake", nights), latest)
        yield dg.MaterializeResult(asset_key=wiring.key("intake"))
        reasons = evidence.refusals(home, spec.model, nights)
        refused = {night: sum(row.quarantined for (day, _), row in counts.items() if day == night) for night in nights}
        latest = {
            "reasons": dg.MetadataValue.md(evidence.markdown_table(("reason", "source", "rows"), reasons)),
            "folder": dg.MetadataValue.path(home.quarantine_file(spec.model, nights[-1]).parent),
        }
        describe(context, wiring.key("quarantine"), refused, latest)
        yield dg.MaterializeResult(asset_key=wiring.key("quarantine"))
        found = list(checks.judge_intake(wiring, nights, counts))
        if stopped := checks.failed_blocking(found):
            record(wiring, nights, context, "failed", f"broken data: {'; '.join(stopped)}")
        yield from found

    specs = [wiring.spec_of(name, text, deps, kinds=kinds) for name, (text, deps) in tables.items()]
    return step(wiring, "ingest", specs, work, checks.ingest_checks(wiring))


def profiles(wiring: Wiring) -> dg.AssetsDefinition:
    """Accepted rows and label facts -> additive profiles."""
    spec, home = wiring.spec, wiring.home
    reference = ["raw_reference"] if spec.reference else []

    def work(context: dg.AssetExecutionContext, nights: list[dt.date]) -> Iterator[Result]:
        from mlobs_pipelines.orchestration import steps

        steps.profile(home, spec, nights, progress=say(context))
        for name in PROFILES:
            counts = evidence.row_counts(home, spec.model, name, nights)
            describe(context, wiring.key(name), counts, _lake(wiring, name, nights[-1]))
            yield dg.MaterializeResult(asset_key=wiring.key(name))

    specs = [
        wiring.spec_of(name, text, [*deps, *reference], kinds={"parquet", "duckdb"})
        for name, (text, deps) in PROFILES.items()
    ]
    return step(wiring, "profile", specs, work)


def metrics(wiring: Wiring) -> dg.AssetsDefinition:
    """Profiles -> metrics with intervals, as known on the night; of them signals, incidents and their causes; and the
    night's row in ``runs``."""
    spec, home = wiring.spec, wiring.home
    kinds = {"parquet", "python"}
    measured = wiring.spec_of(
        "metrics", "Every metric of the model, as known on the night that wrote it.", ["intake", *PROFILES], kinds=kinds
    )
    judged = [wiring.spec_of(name, text, deps, kinds=kinds) for name, (text, deps) in JUDGED.items()]
    runs = wiring.spec_of("runs", "For every night, the last run that worked on it.", ["incidents"], kinds=kinds)

    def work(context: dg.AssetExecutionContext, nights: list[dt.date]) -> Iterator[Result]:
        from mlobs_pipelines.orchestration import steps

        steps.measure(home, spec, nights, context.run.run_id, progress=say(context))
        title = f"{HEADLINE[spec.task]}, {max(spec.monitors.window_days)} days"
        file = home.store_file("metrics", spec.model, nights[-1])
        latest = {
            "file": dg.MetadataValue.path(file),
            "dagster/column_schema": _schema(evidence.columns(file)),
            "headline": dg.MetadataValue.md(evidence.plot(title, evidence.headline(home, spec, nights[-1]))),
        }
        describe(context, measured.key, evidence.store_counts(home, spec.model, "metrics", nights), latest)
        yield dg.MaterializeResult(asset_key=measured.key)
        for asset in judged:
            name = asset.key.path[-1]
            more: dict[str, Any] = {"file": dg.MetadataValue.path(home.store_file(name, spec.model, nights[-1]))}
            if name == "incidents":
                more = {**more, **checks.open_incidents(wiring, nights[-1])}
            describe(context, asset.key, evidence.store_counts(home, spec.model, name, nights), more)
            yield dg.MaterializeResult(asset_key=asset.key)
        yield checks.nothing_is_wrong(wiring, nights[-1])
        record(wiring, nights, context, "done")
        file = home.store_file("runs", spec.model, nights[-1])
        describe(context, runs.key, dict.fromkeys(nights, 1), {"file": dg.MetadataValue.path(file)})
        yield dg.MaterializeResult(asset_key=runs.key)

    return step(wiring, "measure", [measured, *judged, runs], work, [checks.nothing_is_wrong_spec(wiring)])


def _lake(wiring: Wiring, table: str, night: dt.date) -> dict[str, Any]:
    path = wiring.home.lake_file(wiring.model, table, night)
    return {"file": dg.MetadataValue.path(path), "dagster/column_schema": _schema(evidence.columns(path))}


def _schema(columns: Sequence[tuple[str, str]]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns])


def _nights_table(rows: Mapping[dt.date, evidence.Intake]) -> str:
    shown = sorted(rows)[-evidence.SHOWN_NIGHTS :]
    return evidence.markdown_table(
        ("night", "delivered", "accepted", "duplicates", "quarantined"),
        ((n, rows[n].delivered, rows[n].accepted, rows[n].duplicates, rows[n].quarantined) for n in shown),
    )
