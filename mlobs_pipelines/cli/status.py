"""The health table: one line a model, the worst first."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl

from mlobs_pipelines.cli import attention
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.load import load_all
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import query


def health(home: Home, now: dt.datetime, model: str | None = None) -> list[dict[str, Any]]:
    """A row per model: what the mart model_health says, or why there is nothing to say; and what waits for a person.

    Raises:
        UserError: no such model, or no model at all.
    """
    specs, broken = load_all(home.models)
    names = sorted({*specs, *broken})
    if model is not None and model not in names:
        raise UserError(f"no model {model!r} in {home.models}; known: {', '.join(names) or 'none'}")
    if not names:
        raise UserError(f"no model files in {home.models}; write one with: mlobs init --predictions FILE")
    measured: dict[str, dict[str, Any]] = {}
    if home.results.exists():
        measured = {row["model"]: row for row in query(home, "select * from model_health").to_dicts()}
    rows: list[dict[str, Any]] = []
    for name in names if model is None else [model]:
        if name in broken:
            rows.append(
                {
                    "model": name,
                    "status": "broken spec",
                    "detail": "; ".join(str(problem) for problem in broken[name].problems[:3]),
                }
            )
        elif name not in measured:
            rows.append({"model": name, "status": "never run", "detail": f"run it with: mlobs run {name}"})
        else:
            rows.append({**measured[name], **_due(home, specs[name], now)})
    incidents, pending = attention.open_incidents(home), attention.pending_decisions(home)
    for row in rows:
        row |= {"incidents": incidents.get(row["model"], []), "pending": pending.get(row["model"], [])}
    return sorted(rows, key=lambda row: (_SEVERITY.get(str(row["status"]), 1), row["model"]))


LONG_SILENCE = 31
"""Nights after which a model is rather out of service than late."""

_SEVERITY = {"broken spec": 0, "failed": 0, "alert": 0, "warn": 1, "late": 1, "never run": 2, "ok": 3}


def _due(home: Home, spec: ModelSpec, now: dt.datetime) -> dict[str, Any]:
    from mlobs_pipelines.orchestration.due import last_complete_day

    finished = home.store_nights("metrics", spec.model).all()[-1:]  # all there is where rows are not fetched
    done = sorted([*home.lake_nights(spec.model, "predictions").all()[-1:], *finished])
    behind = (last_complete_day(spec, now) - done[-1]).days if done else None
    return {"nights_behind": behind}


def render(rows: list[dict[str, Any]]) -> str:
    """The health table as text, and below it what waits for a person."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "status", "last night", "predictions", "performance", "labelled", "drifted", "refused"):
        table.add_column(title, justify="left" if title in {"model", "status", "performance", "drifted"} else "right")
    notes = []
    for row in rows:
        if "last_night" not in row:
            table.add_row(row["model"], row["status"], "", "", "", "", "", "")
            notes.append(f"{row['model']}: {row['detail']}")
            continue
        drifted = row.get("drifted_features") or 0
        worst = f" ({row['worst_drifted_feature']})" if drifted and row.get("worst_drifted_feature") else ""
        table.add_row(
            row["model"],
            row["status"],
            str(row["last_night"] or ""),
            _whole(row.get("predictions")),
            _headline(row),
            _percent(row.get("label_coverage")),
            f"{drifted}{worst}",
            _percent(row.get("quarantined_rate")),
        )
        behind = row.get("nights_behind")
        if behind and behind > LONG_SILENCE:
            notes.append(f"{row['model']}: no night was run since {row['last_night']}; is it still in service?")
        elif behind and behind > 0:
            plural = "s" if behind > 1 else ""
            notes.append(f"{row['model']}: {behind} night{plural} behind; run: mlobs run {row['model']}")
        if row.get("last_run_error"):
            notes.append(f"{row['model']}: {row['last_run_error']}")
    waiting = attention.render(rows)
    return "\n".join([_text(table), *notes, *(["", *waiting] if waiting else [])])


def _headline(row: dict[str, Any]) -> str:
    value = row.get("headline_value")
    name = row.get("headline_metric") or ""
    if value is None:
        return f"{name}: too few labels" if name else ""
    lower, upper = row.get("headline_lower"), row.get("headline_upper")
    interval = f" [{lower:.3f}, {upper:.3f}]" if lower is not None and upper is not None else ""
    ends = f", {row['headline_window_start']} … {row['headline_window_end']}" if row.get("headline_window_end") else ""
    return f"{name} {value:.3f}{interval}{ends}"


def _whole(value: Any) -> str:
    return "" if value is None else f"{int(value):,}"


def _percent(value: Any) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _text(table: Any) -> str:
    import io

    from rich.console import Console

    width = Console(stderr=False).width
    stream = io.StringIO()
    Console(file=stream, width=max(width, 140), highlight=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def as_text(frame: pl.DataFrame) -> str:
    """A query's result as an aligned text table, whole."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, kind in frame.schema.items():
        table.add_column(escape(name), justify="right" if kind.is_numeric() else "left", no_wrap=True)
    for row in frame.iter_rows():
        table.add_row(*(escape(_cell(value)) for value in row))
    count = f"{frame.height} row{'s' if frame.height != 1 else ''}"
    return f"{_text(table)}\n({count})"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:120])


def where(path: Path) -> str:
    """A path as a person would type it: relative to here where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
