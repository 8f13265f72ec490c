"""A new version against the champion, on the same matured rows -> comparisons, a verdict, and what follows from it."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from mlobs_pipelines.act.compare import Verdict, compare, verdict
from mlobs_pipelines.act.ledger import Ledger, Mode, Row, TriesError
from mlobs_pipelines.act.rows import RowsError, matured_days
from mlobs_pipelines.act.scoring import LEAST_DAYS, Window, date_of, score_both, window_of
from mlobs_pipelines.registry import ModelError, Registry, RegistryError, Version
from mlobs_pipelines.registry.versions import CHALLENGER
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import COMPARISONS

__all__ = ["ROLLED_BACK", "candidates", "score_both", "validate", "watch", "watch_id", "watched"]

ROLLED_BACK = "mlobs.rolled_back"
"""Tag of a version that was champion and was taken back: it is no candidate any more."""


def candidates(ledger: Ledger, versions: Sequence[Version], aliases: dict[str, str]) -> list[Version]:
    """Versions to be compared with the champion: those made after it, whoever made them, and the ``challenger``.

    Not those that were compared with this champion before, or that were champion and were rolled back.
    """
    champion = aliases.get("champion")
    if champion is None:
        return []
    found = []
    for version in versions:
        named = aliases.get(CHALLENGER) == version.version
        if version.version == champion or ROLLED_BACK in version.tags:
            continue
        if not named and int(version.version) < int(champion):
            continue
        made = ledger.find(validation_id(ledger.model, version.version, champion))
        if made is None or made["status"] in ("approved", "running"):
            found.append(version)
    return found


def validation_id(model: str, version: str, champion: str) -> str:
    """Id of the decision to compare a version with a champion."""
    return f"{model}:validate:{version}:{champion}"


def validate(home: Home, spec: ModelSpec, registry: Registry, version: Version, champion: str, as_of: dt.date) -> Row:
    """Compare a version with the champion and decide about it; gives the newest row about it.

    The comparison goes to the store and the verdict to the version's tags. A version that is better is proposed for
    promotion; one that is no worse is, too, but only a person, or being better where the incident was, promotes it.
    One that may have been trained on the rows is never promoted without a person. Any other is held.

    Raises:
        RegistryError: MLflow does not answer; the next try goes on from there.
    """
    ledger = Ledger(home, spec.model)
    decision_id = validation_id(spec.model, version.version, champion)
    window = window_of(home, spec, version, as_of)
    late = isinstance(window, dt.date)
    reason = f"Version {version.version} against champion {champion}"
    waits = f"{reason}: waits for final labels after its training data, from {window} on" if late else reason
    row = ledger.propose(decision_id, "validate", "approved", waits, as_of=as_of, mode="auto", version=version.version)
    if isinstance(window, dt.date):
        return row
    try:
        ledger.begin(row, f"{reason} on {window.first} to {window.last}")
        rows = score_both(home, spec, champion, version.version, window=window, as_of=as_of)
        found = _compared(home, spec, rows, champion, version.version, as_of)
    except (ModelError, RowsError, TriesError) as error:
        with contextlib.suppress(RegistryError):
            registry.set_tags(version.version, {"mlobs.verdict": "failed", "mlobs.verdict_reason": str(error)})
        return ledger.turn(row, "failed", str(error))
    except RegistryError as error:
        ledger.wait(row, f"Waits: {error}")
        raise
    said = verdict(found, spec)
    try:
        registry.set_tags(version.version, _tags(said, champion, as_of))
    except RegistryError as error:
        ledger.wait(row, f"Waits: {error}")
        raise
    evidence = {**_evidence(said, champion, version.version, window, rows), "doubt": window.doubt}
    _follow(ledger, spec, version, said, evidence, as_of, found)
    return ledger.turn(row, "done", _sentence(said, window), evidence=evidence)


def watched(ledger: Ledger, aliases: dict[str, str]) -> dict[str, Any] | None:
    """The promotion that put the champion there (``from``, ``to``, ``promoted_as_of``), until it was looked back at."""
    promotions = ledger.current("promote", status="done")
    made = ledger.evidence(promotions[-1]["decision_id"]) if promotions else {}
    if not made.get("promoted_as_of") or aliases.get("champion") != made.get("to"):
        return None
    known = ledger.find(watch_id(ledger.model, made))
    return None if known and known["status"] not in ("approved", "running") else made


def watch_id(model: str, made: dict[str, Any]) -> str:
    """Id of the decision to look back at a promotion."""
    return f"{model}:validate:{made['from']}:{made['to']}:since"


def watch(home: Home, spec: ModelSpec, aliases: dict[str, str], as_of: dt.date) -> Row | None:
    """Look once whether a fresh champion is worse than the one before it, on days since it was promoted.

    Gives the decision to look, if it was time to.
    """
    ledger = Ledger(home, spec.model)
    made = watched(ledger, aliases)
    since = date_of(made["promoted_as_of"]) if made else None
    if made is None or since is None:
        return None
    days = [day for day in matured_days(home, spec, as_of) if day > since]
    if len(days) < LEAST_DAYS:
        return None
    to, before, decision_id = made["to"], made["from"], watch_id(spec.model, made)
    window = Window(days[0], days[-1])
    reason = f"Champion {to} against version {before}, which it replaced"
    row = ledger.propose(decision_id, "validate", "approved", reason, as_of=as_of, mode="auto", version=before)
    try:
        ledger.begin(row, f"{reason}, on {window.first} to {window.last}")
        rows = score_both(home, spec, to, before, window=window, as_of=as_of)
        said = verdict(_compared(home, spec, rows, to, before, as_of), spec)
    except (ModelError, RowsError, TriesError) as error:
        return ledger.turn(row, "failed", str(error))
    except RegistryError as error:
        ledger.wait(row, f"Waits: {error}")
        raise
    evidence = _evidence(said, to, before, window, rows)
    mode = spec.policy.promote.mode
    if said.verdict == "better" and mode != "off":
        ledger.propose(
            f"{spec.model}:roll_back:{to}:{before}",
            "roll_back",
            "approved" if mode == "auto" else "pending",
            f"Champion {to} is worse than version {before}, which it replaced: {said.sentence}",
            as_of=as_of,
            mode="auto" if mode == "auto" else "approve",
            evidence={**evidence, "from": to, "to": before},
            version=before,
        )
    return ledger.turn(row, "done", _sentence(said, window), evidence=evidence)


def _follow(
    ledger: Ledger,
    spec: ModelSpec,
    version: Version,
    said: Verdict,
    evidence: dict[str, Any],
    as_of: dt.date,
    comparisons: pl.DataFrame,
) -> None:
    """Propose a promotion, or hold the version."""
    champion, policy = evidence["from"], spec.policy.promote
    good = said.verdict in ("better", "non_inferior") and not said.guards
    mode: Mode = "auto" if policy.mode == "auto" else "approve"
    if good and policy.mode != "off":
        where = _better_where(ledger, version, comparisons, said.metric)
        sure = not evidence["doubt"] and (said.verdict == "better" or bool(where))
        notes = [said.sentence, f"clearly better in {where}" if where and said.verdict != "better" else ""]
        notes.append(evidence["doubt"])
        ledger.propose(
            f"{spec.model}:promote:{version.version}:{champion}",
            "promote",
            "approved" if mode == "auto" and sure else "pending",
            "; ".join(filter(None, notes)),
            as_of=as_of,
            mode=mode,
            evidence=evidence,
            version=version.version,
            incident_id=_incident(ledger, version),
        )
        return
    off = "policy.promote.mode is off; " if good else ""
    guards = f"; {'; '.join(said.guards)}" if said.guards else ""
    ledger.propose(
        f"{spec.model}:hold:{version.version}:{champion}",
        "hold",
        "done",
        f"{off}{said.sentence}{guards}",
        as_of=as_of,
        mode="auto",
        evidence=evidence,
        version=version.version,
        incident_id=_incident(ledger, version),
    )


def _better_where(ledger: Ledger, version: Version, comparisons: pl.DataFrame, metric: str) -> str:
    """The segment of the incident that a version was trained for, if the version is clearly better there."""
    made_for = ledger.evidence(version.tags.get("mlobs.decision_id", "")).get("segment", "")
    there = comparisons.filter(
        (pl.col("segment") == made_for) & (pl.col("metric") == metric) & (pl.col("verdict") == "better")
    )
    return str(made_for) if made_for and there.height else ""


def _incident(ledger: Ledger, version: Version) -> str:
    made = ledger.find(version.tags.get("mlobs.decision_id", ""))
    return str(made["incident_id"]) if made else ""


def _compared(
    home: Home, spec: ModelSpec, rows: pl.DataFrame, champion: str, challenger: str, as_of: dt.date
) -> pl.DataFrame:
    """Compare, and keep it in the store beside that night's other comparisons."""
    policy = spec.policy.promote
    found = compare(
        rows,
        spec,
        champion,
        challenger,
        as_of,
        alpha=policy.alpha,
        margin=policy.non_inferiority_margin,
        metric=policy.metric,
    )
    file = home.store_file("comparisons", spec.model, as_of)
    earlier = home.store_nights("comparisons", spec.model).frames([as_of])
    others = pl.concat([pl.LazyFrame(schema=COMPARISONS), *earlier]).collect()
    others = others.filter((pl.col("champion") != champion) | (pl.col("challenger") != challenger))
    with published(file) as draft:
        pl.concat([others, found]).write_parquet(draft, compression="zstd")
    return found


def _tags(said: Verdict, champion: str, as_of: dt.date) -> dict[str, str]:
    return {
        "mlobs.verdict": said.verdict,
        "mlobs.verdict_metric": said.metric,
        "mlobs.verdict_difference": _text(said.difference),
        "mlobs.verdict_interval": f"[{_text(said.lower)}, {_text(said.upper)}]",
        "mlobs.verdict_champion": champion,
        "mlobs.verdict_as_of": str(as_of),
        "mlobs.verdict_reason": said.sentence,
    }


def _evidence(said: Verdict, champion: str, challenger: str, window: Window, rows: pl.DataFrame) -> dict[str, Any]:
    return {
        "from": champion,
        "to": challenger,
        "verdict": said.verdict,
        "metric": said.metric,
        "difference": _known(said.difference),
        "lower": _known(said.lower),
        "upper": _known(said.upper),
        "margin": said.margin,
        "guards": list(said.guards),
        "window_start": window.first.isoformat(),
        "window_end": window.last.isoformat(),
        "rows": rows.height,
    }


def _sentence(said: Verdict, window: Window) -> str:
    return f"{said.sentence}; {window.doubt}" if window.doubt else said.sentence


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _text(value: float | None) -> str:
    return "unknown" if _known(value) is None else f"{value:.6g}"
