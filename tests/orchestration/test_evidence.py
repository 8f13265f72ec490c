"""What Dagster's pages show of a night: small, and never markup or rows that somebody else wrote."""

from __future__ import annotations

import base64
import datetime as dt
from xml.etree import ElementTree

from mlobs_pipelines.orchestration.evidence import Intake, Point, markdown_table, plot

FIRST = dt.date(2026, 1, 1)
SVG = "{http://www.w3.org/2000/svg}"


def drawn(markdown: str) -> ElementTree.Element:
    data = markdown.removesuffix(")").split("base64,")[1]
    return ElementTree.fromstring(base64.b64decode(data))


def points(*values: float | None) -> list[Point]:
    return [Point(FIRST + dt.timedelta(days=i), value) for i, value in enumerate(values)]


def test_a_plot_is_an_image_with_a_mark_for_every_night_that_has_a_value() -> None:
    image = drawn(plot("roc_auc", points(0.8, None, 0.82, 0.79)))
    assert len(image.findall(f"{SVG}circle")) == 3


def test_an_interval_is_a_band_within_the_picture() -> None:
    image = drawn(plot("roc_auc", [Point(FIRST, 0.8, 0.7, 0.9), Point(FIRST + dt.timedelta(days=1), 0.6, 0.5, 0.7)]))
    height = float(image.get("height", 0))
    bands = image.findall(f"{SVG}rect")[1:]
    assert len(bands) == 2
    assert all(float(b.get("y", -1)) >= 0 and float(b.get("y", 0)) + float(b.get("height", 0)) <= height for b in bands)
    assert "0.5 to 0.9" in [text.text for text in image.findall(f"{SVG}text")]


def test_the_tallest_bar_is_the_largest_value() -> None:
    bars = drawn(plot("accepted", points(10, 40, 20), bars=True)).findall(f"{SVG}rect")[1:]
    heights = [float(bar.get("height", 0)) for bar in bars]
    assert heights[1] == max(heights) == 2 * heights[2]


def test_equal_and_missing_values_are_drawn_without_an_error() -> None:
    assert len(drawn(plot("x", points(0.0, 0.0), bars=True)).findall(f"{SVG}rect")) == 3
    assert len(drawn(plot("x", points(1.0))).findall(f"{SVG}circle")) == 1
    assert "nothing to show" in plot("x", points(None, None))
    assert "nothing to show" in plot("x", [])


def test_hostile_text_stays_in_its_cell() -> None:
    table = markdown_table(("reason", "rows"), [("a | b\n<img src=x onerror=alert(1)> `x` " + "y" * 5000, 3)])
    lines = table.splitlines()
    assert len(lines) == 3
    assert "<img" not in table
    assert lines[2].count(" | ") == 1
    assert len(lines[2]) < 500


def test_the_refused_share_is_of_the_rows_that_count() -> None:
    assert Intake(delivered=10, accepted=3, duplicates=6, quarantined=1).refused_share == 0.25
    assert Intake().refused_share == 0
