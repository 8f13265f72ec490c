"""What surrounds a chart: its caption, what it shows in one sentence, its key, and its numbers as a table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlobs_pipelines.report.markup import Child, element, joined


@dataclass(frozen=True)
class Numbers:
    """The numbers behind a chart; ``right`` tells which columns are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Child]]
    words: Sequence[int] = (0,)
    """Columns that are texts; the others are numbers and stand right."""


Key = Sequence[tuple[str, str]]
"""Class of the swatch, and what it stands for."""


def figure(title: str, summary: str, drawing: Markup, key: Key = (), numbers: Numbers | None = None) -> Markup:
    """A chart with all that belongs to it."""
    return element(
        "figure",
        element("figcaption", element("strong", title), " ", element("span", summary)),
        drawing,
        _key(key) if key else None,
        table(numbers, title) if numbers is not None and numbers.rows else None,
    )


def drawing(title: str, description: str, height: float, *children: Child, class_: str = "chart") -> Markup:
    """An SVG as wide as there is room and ``height`` pixels high."""
    return element(
        "svg",
        element("title", f"{title}. {description}" if description else title),
        *children,
        class_=class_,
        role="img",
        width="100%",
        height=height,
    )


def stretched(height: float, *children: Child) -> Markup:
    """Paths in a plane 1000 wide that is drawn out to the width of the chart; strokes keep theirs."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 1000 {height:g}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
        class_="plane",
    )


def table(numbers: Numbers, title: str) -> Markup:
    """The numbers of the chart of that title, folded away."""
    head = [
        element("th", name, scope="col", class_=None if i in numbers.words else "n")
        for i, name in enumerate(numbers.columns)
    ]
    rows = [
        element("tr", *(element("td", cell, class_=None if i in numbers.words else "n") for i, cell in enumerate(row)))
        for row in numbers.rows
    ]
    inside = element("table", element("thead", element("tr", *head)), element("tbody", *rows))
    scroll = element("div", inside, class_="scroll", tabindex="0", role="region", aria_label=f"{title}: numbers")
    return element("details", element("summary", f"Numbers ({len(numbers.rows)} rows)"), scroll, class_="numbers")


def _key(key: Key) -> Markup:
    items = [element("li", element("span", class_=f"swatch {kind}"), text) for kind, text in key]
    return element("ul", *items, class_="key")


def name_of(*parts: str) -> str:
    """A name for an element that no other on the page has."""
    return "e" + hashlib.sha256("|".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:10]


__all__ = ["Key", "Numbers", "drawing", "figure", "joined", "name_of", "stretched", "table"]
