"""Charts draw the numbers that they are given, where they belong, and say them to those who do not see."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from markupsafe import Markup

from mlobs_pipelines.report.charts.bars import bar, pair, point, strip
from mlobs_pipelines.report.charts.quadrant import Feature, quadrant
from mlobs_pipelines.report.charts.scale import Days, Scale, written
from mlobs_pipelines.report.charts.timeline import Event, Point, Span, spark, timeline
from mlobs_pipelines.report.markup import element, printable
from mlobs_pipelines.report.words import interval, number
from tests.report.reading import Reading

FIRST = dt.date(2026, 1, 1)


def day(n):
    return FIRST + dt.timedelta(days=n)


def points(values, **more):
    return [Point(day(n), day(n), v, None if v is None else v - 0.01, None if v is None else v + 0.01, 100, **more)
            for n, v in enumerate(values)]  # fmt: skip


def percent(text):
    return float(text.removesuffix("%"))


@pytest.mark.parametrize(
    "values", [[0.5], [0.5, 0.5], [0, 1], [-3.2, 8.1], [1e-9, 2e-9], [2e6, 2.1e6], [None, 0.2], []]
)
def test_a_scale_holds_its_values_between_round_ends(values):
    scale = Scale.of(values, 100)
    known = [v for v in values if v is not None]
    assert scale.low < scale.high
    assert all(scale.low <= v <= scale.high for v in known)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7 and len(set(written(ticks))) == len(ticks)
    assert scale.y(scale.low) == 100 and scale.y(scale.high) == 0


def test_a_share_never_gets_an_axis_above_all():
    assert Scale.of([0.2, 0.99], 100, zero=True, most=1.0).high == 1.0


def test_what_is_beyond_a_scale_stays_at_its_end():
    scale = Scale(0, 1, 100)
    assert (scale.y(7), scale.y(-7), scale.x(7)) == (0, 100, 100)


@pytest.mark.parametrize(("length", "most"), [(1, 1), (5, 5), (30, 6), (90, 8), (365, 8), (1200, 12)])
def test_days_have_few_dates_that_are_in_order(length, most):
    ticks = Days(FIRST, day(length - 1)).ticks()
    assert 1 <= len(ticks) <= most
    assert [d for d, _ in ticks] == sorted({d for d, _ in ticks})
    assert all(FIRST <= d <= day(length - 1) for d, _ in ticks)


def test_a_timeline_says_its_newest_final_value_with_interval_and_how_often_it_was_off():
    series = [*points([0.9, 0.9, 0.7], expected=0.9), *points([None, None, None, 0.5], final=False)[3:]]
    series[2] = Point(day(2), day(2), 0.7, 0.69, 0.71, 100, expected=0.9, breach=True)
    page = Reading(timeline("ROC AUC", "roc_auc", series))
    said = "0.700 [0.690, 0.710], 0.900 expected for 2026-01-03; off on 1 of 4."
    assert page.text.count(said) == 2  # once for the eye, once in the title
    assert {"labels not final", "off"} <= set(
        " ".join(page.texts).replace("\n", " ").split("  ")
    ) or "labels not final" in page.text
    assert page.all("use") == [{"href": "#m-breach"}]


def test_a_timeline_has_every_number_in_its_table_the_newest_first():
    page = Reading(timeline("t", "recall", points([0.1, 0.25, None])))
    text = page.text[page.text.index("Numbers (3 rows)") :]
    assert text.index("2026-01-03") < text.index("2026-01-02") < text.index("2026-01-01")
    assert "25.0 % [24.0, 26.0] %" in text and "–" in text


def test_a_value_is_drawn_where_its_day_is():
    page = Reading(timeline("t", "roc_auc", points([0.9, None, None, None, 0.8])))
    dots = page.all("circle")
    assert [percent(d["cx"]) for d in dots] == [10.0, 90.0]
    assert float(dots[0]["cy"]) < float(dots[1]["cy"])


def test_a_gap_is_not_bridged():
    html = timeline("t", "roc_auc", points([0.9, 0.9, None, None, None, None, 0.8, 0.8]))
    line = next(p["d"] for p in Reading(html).all("path") if p["class"] == "value")
    assert line.count("M") == 2


def test_what_is_not_final_is_hatched_from_its_first_day_on():
    series = [*points([0.9, 0.9]), *points([None, None, 0.9, 0.9], final=False)[2:]]
    hatched = next(r for r in Reading(timeline("t", "roc_auc", series)).all("rect") if r.get("fill") == "url(#hatch)")
    assert (hatched["x"], hatched["width"]) == ("50.00%", "50.00%")


def test_incidents_lie_under_their_days_and_versions_at_theirs():
    spans = [Span(day(5), day(9), "critical", "broken"), Span(day(-30), day(-20), "warning", "long ago")]
    html = timeline(
        "t", "roc_auc", points([0.9] * 10), spans=spans, events=[Event(day(5), "version 2"), Event(day(99), "later")]
    )
    page = Reading(html)
    lanes = [r for r in page.all("rect") if r.get("class", "").startswith("span")]
    assert [(r["x"], r["width"]) for r in lanes] == [("50.00%", "50.00%")]
    assert next(line["x1"] for line in page.all("line") if line.get("class") == "event") == "50.00%"
    assert "version 2" in page.text and "later" not in page.text and "long ago" not in page.text


def test_a_few_wide_intervals_do_not_flatten_the_line():
    series = points([0.9, 0.88] * 10)
    series[3] = Point(day(3), day(3), 0.9, 0.0, 1.0, 3)
    ticks = [t for t in Reading(timeline("t", "roc_auc", series)).texts if t.startswith("0.")]
    assert min(map(float, (t for t in ticks if t.replace(".", "").isdigit()))) > 0.7


def test_nothing_measured_is_said_and_not_drawn():
    for series in ([], points([None, None])):
        html = timeline("t", "roc_auc", series)
        assert "Not measured yet." in html and "<svg" not in html
    assert "<svg" not in spark("t", [None, 0.5, None])


def test_names_from_data_are_text_in_every_mark():
    evil = "</title><script>alert(1)</script>"
    marks = [
        timeline(
            evil, evil, points([0.9] * 3), spans=[Span(day(0), day(2), "critical", evil)], events=[Event(day(1), evil)]
        ),
        quadrant(evil, [Feature(evil, 0.5, 0.5)], matters=0.1, drift_name=evil, importance_name=evil),
        strip(evil, [("ok", evil)]),
        spark(evil, [1.0, 2.0]),
    ]
    for mark in marks:
        assert isinstance(mark, Markup)
        page = Reading(mark)
        assert "script" not in {tag for tag, _ in page.elements}
        assert evil in page.text and not page.crossed


def test_a_bar_ends_at_its_value_and_begins_at_zero():
    scale = Scale(-1, 1, 0)
    ahead, behind = (Reading(bar(v, scale)).all("rect")[0] for v in (0.5, -0.5))
    assert (percent(ahead["x"]), percent(ahead["width"])) == (50, 25)
    assert (percent(behind["x"]), percent(behind["width"])) == (25, 25)
    now = Reading(pair(0.1, 0.6, Scale(0, 1, 0))).all("rect")
    assert [percent(r["width"]) for r in now] == [10, 60]


def test_an_interval_is_as_wide_as_it_is():
    whisker = Reading(point(0.5, Scale(0, 1, 0), lower=0.4, upper=0.7)).all("line")[1]
    assert (percent(whisker["x1"]), percent(whisker["x2"])) == (40, 70)
    assert not Reading(point(None, Scale(0, 1, 0))).all("circle")


def test_a_worse_night_is_a_taller_one():
    kinds = ["none", "off", "info", "warning", "critical"]
    heights = [float(r["height"]) for r in Reading(strip("t", [(k, k) for k in kinds])).all("rect")]
    assert heights == sorted(heights) and len(set(heights)) == len(kinds)


def test_the_quadrant_names_what_drifted_and_matters():
    features = [Feature("a", 0.9, 0.5), Feature("b", 0.9, 0.001), Feature("c", 0.01, 0.6)]
    html = quadrant("Q", features, matters=0.1, drift_name="d", importance_name="i")
    assert "a drifted and matters." in html
    assert [c["class"] for c in Reading(html).all("circle")] == ["dot off", "dot", "dot"]
    crowd = [Feature(f"f{n}", 0.01, 0.001 * n) for n in range(12)]
    html = quadrant("Q", [*features, *crowd], matters=0.1, drift_name="d", importance_name="i")
    assert len(Reading(html).all("circle")) == 15
    assert all(float(t["y"]) <= 280 for t in Reading(html).all("text") if "label" in t["class"].split())
    assert "Not measured yet." in quadrant("Q", [], matters=0.1, drift_name="d", importance_name="i")


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_no_number_is_no_number(value):
    assert number(value, "roc_auc") == "–"
    assert interval(value, 1.0, "roc_auc") == ""


def test_what_nobody_sees_is_made_visible():
    assert printable("a\u202eb\x00\ud800") == "a\\u202eb\\x00\ufffd"
    assert element("p", "\u2066x", title="\x07") == Markup('<p title="\\x07">\\u2066x</p>')
