"""Versions side by side: who served when, who did better on the same rows, and what was decided."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.act.compare import DIRECTIONS, deciding, verdict
from mlobs_pipelines.engine import sql
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.bars import point
from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.decisions import Entry, Waiting, champion, entries, waiting
from mlobs_pipelines.report.views.series import History
from mlobs_pipelines.report.views.status import Status
from mlobs_pipelines.store.tables import COMPARISONS

SHOWN = 5
"""Comparisons that are shown, the newest."""
SIDE_BY_SIDE = ("roc_auc", "accuracy", "log_loss", "average_precision", "precision", "recall", "f1", "f1_macro",
                "mean_absolute_error", "root_mean_squared_error", "r2", "base_rate")  # fmt: skip

VERDICTS: Mapping[str, Status] = {
    "better": Status("ok", "better"),
    "worse": Status("critical", "worse"),
    "non_inferior": Status("info", "no worse"),
    "inconclusive": Status("none", "not decided"),
}


@dataclass(frozen=True)
class Served:
    """When a version served in a role."""

    version: str
    role: str
    first: str
    last: str
    rows: str
    now: bool
    champion: bool = False


@dataclass(frozen=True)
class Beside:
    """A metric of several versions in one window, each on its own rows."""

    metric: str
    window: str
    values: Sequence[tuple[str, str, str, str, Markup]]


@dataclass(frozen=True)
class Difference:
    """A paired difference."""

    name: str
    champion: str
    challenger: str
    difference: str
    interval: str
    mark: Markup
    status: Status
    rows: str


@dataclass(frozen=True)
class Gate:
    """A condition of promotion."""

    status: Status
    text: str


@dataclass(frozen=True)
class Compared:
    """A challenger beside a champion on the same rows."""

    champion: str
    challenger: str
    as_of: str
    window: str
    rows: str
    sentence: str
    status: Status
    gates: Sequence[Gate]
    overall: Sequence[Difference]
    places: Sequence[Difference]
    gaps: Sequence[Difference]
    metric: str


@dataclass(frozen=True)
class Versions:
    """What the page says."""

    model: str
    verdict: str
    served: Sequence[Served]
    compared: Sequence[Compared]
    beside: Sequence[Beside]
    waiting: Sequence[Waiting]
    log: Sequence[Entry]
    can_roll_back: bool
    registry_name: str


def versions_view(results: Results, model: str, now: dt.datetime) -> Versions:
    """Every version that was seen, and every comparison."""
    del now
    history = History(results, model)
    compared = _compared(results, model)
    pending = [w for w in waiting(results, model) if w.action in ("promote", "roll back")]
    about = [
        r for r in results.entries(model) if r["action"] in ("validate", "promote", "hold", "roll_back", "retrain")
    ]
    made = champion(about)
    spec = results.spec(model)
    said = [_who_is_who(history, made)]
    if compared:
        said.append(words.sentence(compared[0].sentence[:1].upper() + compared[0].sentence[1:]))
    if pending:
        said.append(f"{words.counted(len(pending), 'decision')} wait{'s' if len(pending) == 1 else ''} for a person.")
    return Versions(
        model,
        " ".join(said),
        _served(history, made["version"] if made else ""),
        compared,
        _beside(results, model),
        pending,
        entries(about),
        made is not None,
        (spec.registry.name if spec else None) or model,
    )


def _who_is_who(history: History, made: Row | None) -> str:
    """Which version predicts, and which should: the alias moves first, and what serves follows it."""
    if made is None:
        return f"Version {history.serving} serves." if history.serving else "No version is known."
    since = f"{made['decided_at']:%Y-%m-%d}"
    if not history.serving or history.serving == made["version"]:
        return f"Version {made['version']} serves, and is champion since {since}."
    return f"Version {made['version']} is champion since {since}; the newest predictions are still of version {history.serving}."


def _served(history: History, champion: str) -> list[Served]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in history.traffic:
        if row["version"]:
            found.setdefault((row["version"], row["role"]), []).append(row)
    unseen = [Served(champion, words.NOTHING, "not seen yet", words.NOTHING, "0", False, True)]
    newest = max((row["window_end"] for rows in found.values() for row in rows), default=None)
    return ([] if champion in ("", *(version for version, _ in found)) else unseen) + [
        Served(
            version,
            role,
            words.day(rows[0]["window_end"]),
            words.day(rows[-1]["window_end"]),
            words.count(sum(row["rows"] or 0 for row in rows)),
            rows[-1]["window_end"] == newest and role == history.role,
            version == champion and role == history.role,
        )
        for (version, role), rows in sorted(found.items(), key=lambda item: item[1][-1]["window_end"], reverse=True)
    ]


def _compared(results: Results, model: str) -> list[Compared]:
    """Of each pair the newest comparison, the newest pair first."""
    frame = results.frame(
        f"select * from comparisons where model = {sql.text(model)} qualify as_of = max(as_of) over (partition by champion, challenger)",
        COMPARISONS,
    )
    spec = results.spec(model)
    found = []
    for _, part in sorted(frame.group_by("champion", "challenger"), key=lambda p: p[1]["as_of"][0], reverse=True)[
        :SHOWN
    ]:
        rows = part.to_dicts()
        metric = deciding(spec) if spec else rows[0]["metric"]
        if spec is not None and any(r["metric"] == metric and r["segment"] == "" for r in rows):
            judged = verdict(part, spec)
            word, sentence, guards = judged.verdict, judged.sentence, judged.guards
        else:
            word, sentence, guards = "inconclusive", "the deciding metric was not compared", ()
        found.append(_comparison(rows, metric, word, sentence, guards))
    return found


def _comparison(rows: Sequence[Row], metric: str, word: str, sentence: str, guards: Sequence[str]) -> Compared:
    first = rows[0]
    whole = [r for r in rows if r["segment"] == "" and not r["metric"].endswith("_difference")]
    places = [r for r in rows if r["segment"] != "" and r["metric"] == metric]
    gaps = [r for r in rows if r["metric"].endswith("_difference")]
    main = next((r for r in whole if r["metric"] == metric), first)
    gates = [
        Gate(VERDICTS[word], f"In {words.metric_name(metric)} over all rows the challenger is {VERDICTS[word].word}."),
        Gate(Status("ok", "held"), f"Both scored the same {words.count(main['rows'])} rows, whose labels are final."),
        *(Gate(Status("failed", "failed"), words.sentence(g)) for g in guards),
    ]
    if not guards:
        gates.append(Gate(Status("ok", "held"), "No segment and no gap between groups is clearly worse."))
    whole.sort(key=lambda r: (r["metric"] != metric, r["metric"]))
    places.sort(key=lambda r: (r["difference"] is None, _oriented(r)))
    return Compared(
        first["champion"],
        first["challenger"],
        words.day(first["as_of"]),
        words.days(first["window_start"], first["window_end"]),
        words.count(main["rows"]),
        sentence,
        VERDICTS[word],
        gates,
        [d for r in whole for d in _differences([r], lambda r: words.metric_name(r["metric"]))],
        _differences(places, lambda r: str(r["segment"])),
        _differences(gaps, lambda r: f"{words.metric_name(r['metric'])} by {r['segment']}"),
        words.metric_name(metric),
    )


def _oriented(row: Row) -> float:
    """The difference, so that less is worse."""
    return float(row["difference"] or 0.0) * (DIRECTIONS.get(row["metric"], 1) or 1)


def _differences(rows: Sequence[Row], name: object) -> list[Difference]:
    values = [v for r in rows for v in (r["difference"], r["lower"], r["upper"]) if v is not None]
    reach = max((abs(v) for v in values), default=1.0) or 1.0
    scale = Scale(-reach, reach, 0)
    return [
        Difference(
            name(r),  # type: ignore[operator]
            words.number(r["champion_value"], r["metric"]),
            words.number(r["challenger_value"], r["metric"]),
            _signed(r["difference"]),
            f"[{_signed(r['lower'])}, {_signed(r['upper'])}]"
            if r["lower"] is not None and r["upper"] is not None
            else "",
            point(
                r["difference"],
                scale,
                lower=r["lower"],
                upper=r["upper"],
                kind={"better": "better", "worse": "worse"}.get(r["verdict"], ""),
            ),
            VERDICTS.get(r["verdict"], VERDICTS["inconclusive"]),
            words.count(r["rows"]),
        )
        for r in rows
    ]


def _signed(value: float | None) -> str:
    if value is None:
        return words.NOTHING
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3f}"


def _beside(results: Results, model: str) -> list[Beside]:
    listed = ", ".join(sql.text(name) for name in SIDE_BY_SIDE)
    rows = results.rows(
        f"select * from version_comparison where model = {sql.text(model)} and family = 'performance' and metric in ({listed}) "
        "qualify window_days = max(window_days) over (partition by metric) order by metric, version, role"
    )
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["metric"], []).append(row)
    shown = []
    for metric in (m for m in SIDE_BY_SIDE if m in found):
        of = found[metric]
        scale = Scale.of([v for r in of for v in (r["value"], r["lower"], r["upper"])], 0)
        values = [
            (
                f"version {r['version']}{'' if r['role'] == 'production' else ', ' + r['role']}",
                words.number(r["value"], metric),
                words.interval(r["lower"], r["upper"], metric),
                words.count(r["labeled_rows"]),
                point(r["value"], scale, lower=r["lower"], upper=r["upper"], at=None),
            )
            for r in of
        ]
        shown.append(Beside(words.metric_name(metric), words.days(of[0]["window_start"], of[0]["window_end"]), values))
    return shown
