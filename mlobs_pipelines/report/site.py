"""Every page of an installation by its path: the same for files and live, where forms are added."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from mlobs_pipelines import __version__
from mlobs_pipelines.report import words
from mlobs_pipelines.report.markup import printable
from mlobs_pipelines.report.read import Results
from mlobs_pipelines.report.views.data import data_view
from mlobs_pipelines.report.views.decisions import decisions_view
from mlobs_pipelines.report.views.explanation import explanation_view
from mlobs_pipelines.report.views.fairness import fairness_view
from mlobs_pipelines.report.views.incident import incident_view
from mlobs_pipelines.report.views.model import model_view
from mlobs_pipelines.report.views.overview import overview_view
from mlobs_pipelines.report.views.segments import MOST, segment_names, segment_view, segments_view
from mlobs_pipelines.report.views.versions import versions_view
from mlobs_pipelines.store.addresses import SECTIONS, Links, names, parts_of, path_of
from mlobs_pipelines.store.layout import Home

TEMPLATES = Path(__file__).parent / "templates"


NAVIGATION = (
    ("", "Model"),
    ("segments", "Segments"),
    ("versions", "Versions"),
    ("fairness", "Fairness"),
    ("explanation", "Explanation"),
    ("data", "Data and labels"),
    ("decisions", "Decisions"),
)


@dataclass(frozen=True)
class Live:
    """What a live page has that a file has not: forms, and the way to the other tools.

    ``csrf_token`` goes into every form as the field ``csrf``; ``actor`` is the name that the form begins with;
    ``base_url`` is where the pages are, its path being put before every link. ``dagster_url`` and ``mlflow_url`` may be ''.
    """

    csrf_token: str
    actor: str
    base_url: str = "/"
    dagster_url: str = ""
    mlflow_url: str = ""


@dataclass(frozen=True)
class Page:
    """A page and its HTTP status."""

    html: str
    status: int = 200


def style() -> str:
    """The text of the one style sheet, which every page holds in a ``style`` element."""
    return _file("style.css")


def style_source() -> str:
    """What a Content-Security-Policy must allow as ``style-src``: the digest of :func:`style`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()}'"


def render(home: Home, path: str, *, now: dt.datetime, live: Live | None = None) -> Page:
    """The page of a path.

    Args:
        home: the installation.
        path: such as ``/models/card_fraud/``; the last slash may be missing, and ``index.html`` may follow it.
        now: the time, for what is late or new.
        live: None for a file.

    Returns:
        Status 404 for a path that names nothing.

    Raises:
        StoreError: the snapshot can't be read.
    """
    with Results(home) as results:
        return page_of(results, path, now=now, live=live)


def page_of(results: Results, path: str, *, now: dt.datetime, live: Live | None = None) -> Page:
    """The page of a path, from results that are open: of many pages each is quicker so."""
    parts = parts_of(path)
    if not parts:
        return _page("overview.html", overview_view(results, now), "/", live, now, trail=())
    model = next((m for m in results.models if names(parts[1], m)), None) if len(parts) in (2, 3, 4) else None
    section, item = [*parts[2:], "", ""][:2]
    if parts[0] != "models" or model is None or (section and section not in SECTIONS):
        return _missing(path, live, now)
    known = _items(results, model, section) if item else []
    found = next((name for name in known if names(item, name)), None)
    if (item and found is None) or (section == "incidents" and not item):
        return _missing(path, live, now)
    template, view = _view(results, model, section, found or "", now)
    trail = [("", ""), (model, "")] if section else [("", "")]
    if item and section != "incidents":
        trail.append((model, section))
    here = path_of(model, section, found or "")
    return _page(template, view, here, live, now, trail=trail, model=model, section=section)


def paths(home: Home, model: str | None = None) -> list[str]:
    """The path of every page; of one model's pages and the overview if a model is given."""
    with Results(home) as results:
        return paths_of(results, model)


def paths_of(results: Results, model: str | None = None) -> list[str]:
    """As :func:`paths`, from results that are open."""
    found = ["/"]
    for name in results.models if model is None else [model]:
        found += [path_of(name), *(path_of(name, s) for s in SECTIONS if s != "incidents")]
        found += [path_of(name, "incidents", row["incident_id"]) for row in results.incidents(name)]
        found += [path_of(name, "segments", segment) for segment in segment_names(results, name, MOST)]
    return found


def _items(results: Results, model: str, section: str) -> list[str]:
    if section == "incidents":
        return [row["incident_id"] for row in results.incidents(model)]
    return segment_names(results, model) if section == "segments" else []


def _view(results: Results, model: str, section: str, item: str, now: dt.datetime) -> tuple[str, Any]:
    if section == "incidents":
        return "incident.html", incident_view(results, model, item, now)
    if section == "segments" and item:
        return "segment.html", segment_view(results, model, item, now)
    template, view = _OF_MODEL[section]
    return template, view(results, model, now)


_OF_MODEL: Mapping[str, tuple[str, Callable[[Results, str, dt.datetime], Any]]] = {
    "": ("model.html", model_view),
    "segments": ("segments.html", segments_view),
    "versions": ("versions.html", versions_view),
    "fairness": ("fairness.html", fairness_view),
    "explanation": ("explanation.html", explanation_view),
    "decisions": ("decisions.html", decisions_view),
    "data": ("data.html", data_view),
}


def trouble(text: str, *, now: dt.datetime, live: Live, status: int) -> Page:
    """A page that says, in one line, why there is no other."""
    page = _page("trouble.html", {"text": text[:500], "status": status}, "/", live, now, trail=(("", ""),))
    return Page(page.html, status)


def _missing(path: str, live: Live | None, now: dt.datetime) -> Page:
    page = _page("missing.html", {"path": path[:200]}, "/", live, now, trail=(("", ""),))
    return Page(page.html, 404)


def _page(
    template: str,
    view: Any,
    here: str,
    live: Live | None,
    now: dt.datetime,
    *,
    trail: Sequence[tuple[str, str]],
    model: str = "",
    section: str = "",
) -> Page:
    prefix = urlsplit(live.base_url).path.rstrip("/") if live else None
    html = (
        _environment()
        .get_template(template)
        .render(
            view=view,
            links=Links(here, prefix),
            live=live,
            now=now,
            trail=trail,
            model=model,
            section=section,
            style=Markup(style()),  # noqa: S704 - ours, and never data
            policy=None
            if live
            else f"default-src 'none'; style-src {style_source()}; form-action 'none'; base-uri 'none'",
            release=__version__,
            sections=NAVIGATION,
        )
    )
    return Page(html)


@functools.cache
def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    """Templates of this package alone; whatever they show is escaped unless :mod:`markup` made it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["w"] = words
    return environment
