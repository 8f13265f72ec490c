"""Asset checks: broken data stops a run; silence and refusals only warn; drift is a verdict, never a check that blocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from mlobs_pipelines.orchestration import evidence
from mlobs_pipelines.orchestration.wiring import Wiring, page_of
from mlobs_pipelines.store.layout import Home

BROKEN_SHARE = 0.5
"""A run of which more than this share is refused has broken data."""

NOTABLE_SHARE = 0.01
"""A night of which more than this share is refused deserves a look."""

GRACE = dt.timedelta(hours=2)
"""How long after its schedule a night may still be on its way."""

SOURCES = ("predictions", "labels")


def ingest_checks(wiring: Wiring) -> list[dg.AssetCheckSpec]:
    """The checks that the ingest step evaluates on its own results."""
    names = SOURCES if wiring.spec.labels else SOURCES[:1]
    found = []
    for name in names:
        key = wiring.key(name)
        found += [
            dg.AssetCheckSpec(
                "rows_are_sound",
                asset=key,
                blocking=True,
                description=f"Not more than {BROKEN_SHARE:.0%} of what the run took in was refused.",
            ),
            dg.AssetCheckSpec("rows_arrived", asset=key, description="Every night of the run brought rows."),
            dg.AssetCheckSpec(
                "few_rows_refused",
                asset=key,
                description=f"On every night of the run, not more than {NOTABLE_SHARE:.0%} of the rows was refused.",
            ),
        ]
    return found


def judge_intake(
    wiring: Wiring, nights: Sequence[dt.date], counts: Mapping[tuple[dt.date, str], evidence.Intake]
) -> Iterator[dg.AssetCheckResult]:
    """The results of ``ingest_checks`` for the nights of a run.

    Soundness is judged over the whole run, so that a night that was blocked is taken along by the next good one.
    """
    for name in SOURCES if wiring.spec.labels else SOURCES[:1]:
        key = wiring.key(name)
        rows = {night: counts.get((night, name), evidence.Intake()) for night in nights}
        total = sum(rows.values(), evidence.Intake())
        silent = [night for night, row in rows.items() if not row.accepted]
        refused = {night: row.refused_share for night, row in rows.items() if row.refused_share > NOTABLE_SHARE}
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="rows_are_sound",
            passed=total.refused_share <= BROKEN_SHARE,
            description=f"{total.quarantined:,} of {total.accepted + total.quarantined:,} {name} were refused",
            metadata={"refused share": total.refused_share, "folder": _quarantine(wiring, nights[-1])},
        )
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="rows_arrived",
            passed=not silent,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"no {name} on {_listed(silent)}" if silent else f"{total.accepted:,} {name}",
            metadata={"silent nights": len(silent), "nights": len(nights)},
        )
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="few_rows_refused",
            passed=not refused,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"refused {name} on {_listed(list(refused))}" if refused else "few or none",
            metadata={"refused": dg.MetadataValue.md(evidence.markdown_table(("night", "share"), refused.items()))},
        )


def nothing_is_wrong_spec(wiring: Wiring) -> dg.AssetCheckSpec:
    """The check that shows a night's verdict. It never blocks: on bad nights the remedy is needed most."""
    return dg.AssetCheckSpec(
        "nothing_is_wrong",
        asset=wiring.key("incidents"),
        description="No incident above info is open after the last night of the run.",
    )


def nothing_is_wrong(wiring: Wiring, night: dt.date) -> dg.AssetCheckResult:
    """The result of ``nothing_is_wrong`` for a run that ended with ``night``."""
    rows = evidence.open_incidents(wiring.home, wiring.model, night)
    found = [row for row in rows if row[0] != "info"]
    said = "; ".join(f"{row[2]}{f' in {row[3]}' if row[3] else ''}" for row in found[:3])
    return dg.AssetCheckResult(
        asset_key=wiring.key("incidents"),
        check_name="nothing_is_wrong",
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(found)} open: {said}" if found else "nothing",
        metadata=_shown(wiring, rows),
    )


def open_incidents(wiring: Wiring, night: dt.date) -> dict[str, dg.MetadataValue[Any]]:
    """A night's open incidents as a table, and where their page is."""
    return _shown(wiring, evidence.open_incidents(wiring.home, wiring.model, night))


def _shown(wiring: Wiring, rows: Sequence[tuple[object, ...]]) -> dict[str, dg.MetadataValue[Any]]:
    headers = ("severity", "kind", "what", "segment", "since", "action", "incident")
    return {
        "open incidents": dg.MetadataValue.md(evidence.markdown_table(headers, rows) if rows else "*none*"),
        "page": dg.MetadataValue.url(page_of(wiring.model)),
    }


@dataclass(frozen=True)
class LastNight:
    """Whether the night that should be in by now is in."""

    night: dt.date
    came: bool
    detail: str
    missed: int = 0
    """Nights since the last one that was run; 0 where it was, or where none ever was."""


def last_night(home: Home, model: str, last_tick: dt.datetime) -> LastNight:
    """Look for the night before ``last_tick``, the last time at which the schedule was due (in the model's zone)."""
    night = last_tick.date() - dt.timedelta(days=1)
    taken = evidence.recent(home, model, dt.date.max, "predictions")
    if not taken or taken[-1] < night:
        seen = f"the last night in the lake is {taken[-1]}" if taken else "no night was ever run"
        return LastNight(night, False, f"{night} was not run; {seen}", (night - taken[-1]).days if taken else 0)
    accepted = evidence.intake(home, model, [night]).get((night, "predictions"), evidence.Intake()).accepted
    return LastNight(night, accepted > 0, f"{accepted:,} predictions on {night}")


def last_tick(wiring: Wiring, now: dt.datetime) -> dt.datetime | None:
    """The last time the nightly schedule was due, ``GRACE`` before ``now`` (with a zone); in the model's zone."""
    ticks = dg.TimeWindowPartitionsDefinition(
        start=(now - dt.timedelta(days=400)).replace(tzinfo=None),
        fmt="%Y-%m-%dT%H:%M",
        cron_schedule=wiring.spec.schedule,
        timezone=wiring.spec.timezone,
    )
    with dg.partition_loading_context(effective_dt=now - GRACE):
        window = ticks.get_last_partition_window()
    return window.end if window else None


def last_night_came(wiring: Wiring) -> dg.AssetChecksDefinition:
    """A check that the night that should be in by now is in, whatever night was run last.

    Dagster's own freshness looks at when an asset was written, so a backfill of last year would make it fresh.
    """

    @dg.asset_check(
        asset=wiring.key("predictions"),
        name="last_night_came",
        description="The night before the last time the schedule was due is in the lake and brought predictions.",
    )
    def check() -> dg.AssetCheckResult:
        tick = last_tick(wiring, dt.datetime.now(dt.UTC))
        found = last_night(wiring.home, wiring.model, tick) if tick else None
        return dg.AssetCheckResult(
            passed=found is None or found.came,
            severity=dg.AssetCheckSeverity.WARN,
            description=found.detail if found else "the schedule was never due",
        )

    return check


def failed_blocking(results: Sequence[dg.AssetCheckResult]) -> list[str]:
    """What the failed checks among those that stop a run say."""
    return [
        str(result.description)
        for result in results
        if not result.passed and result.severity == dg.AssetCheckSeverity.ERROR
    ]


def _quarantine(wiring: Wiring, night: dt.date) -> dg.PathMetadataValue:
    return dg.MetadataValue.path(wiring.home.quarantine_file(wiring.model, night).parent)


def _listed(nights: Sequence[dt.date]) -> str:
    shown = ", ".join(night.isoformat() for night in nights[:5])
    return shown + (f" and {len(nights) - 5} more" if len(nights) > 5 else "")
