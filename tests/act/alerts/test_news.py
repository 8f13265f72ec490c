"""What is said of an incident, and when: once, again while nobody listens, never for the past."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from mlobs_pipelines.act.alerts.news import Known, news
from tests.act.alerts.world import NIGHT, incident

MORNING = dt.datetime(2026, 3, 11, 2, 10, tzinfo=dt.UTC)


class Listener:
    """One channel over the nights; each night is judged on the following morning."""

    def __init__(self, least="critical"):
        self.least, self.known = least, {}

    def night(self, *rows, after=0, judged=None):
        """What is said of the night ``after`` days after the first, judged ``judged`` days after it."""
        judged = after if judged is None else judged
        now = MORNING + dt.timedelta(days=judged)
        said, self.known = news(
            rows,
            self.known,
            least=self.least,
            night=NIGHT + dt.timedelta(days=after),
            today=now.date(),
            now=now,
        )
        return [(s.incident_id.rpartition("-")[2], s.status) for s in said]


def test_it_is_told_once_when_it_opens_and_once_when_it_is_over():
    channel = Listener("info")
    row = incident(severity="warning")
    over = {**row, "state": "resolved", "resolved_as_of": NIGHT}
    assert channel.night(row) == [("one", "firing")]
    assert channel.night(row) == []
    assert channel.night(row, after=1) == []
    assert channel.night(over, after=2) == [("one", "resolved")]
    assert channel.night(over, after=2) == []
    assert channel.night(over, after=3) == []


def test_what_is_less_severe_than_the_channel_wants_is_not_told_until_it_is_worse():
    channel = Listener("critical")
    assert channel.night(incident(severity="warning")) == []
    for day in range(1, 20):
        assert channel.night(incident(severity="warning"), after=day) == []
    assert channel.night(incident(severity="critical"), after=20) == [("one", "escalated")]
    assert channel.night(incident(severity="critical"), after=20) == []


def test_a_critical_one_that_nobody_acknowledged_is_told_daily_for_a_week_then_weekly():
    channel = Listener()
    told = [day for day in range(40) if channel.night(incident(), after=day)]
    assert told == [0, 1, 2, 3, 4, 5, 6, 7, 14, 21, 28, 35]


@pytest.mark.parametrize("state", ["acknowledged", "silenced"])
def test_acknowledged_or_silenced_it_is_not_repeated_but_worse_breaks_through(state):
    channel = Listener("warning")
    channel.night(incident(severity="warning"))
    quiet = [channel.night(incident(severity="warning", state=state), after=day) for day in range(1, 5)]
    assert [status for said in quiet for _, status in said] == (["acknowledged"] if state == "acknowledged" else [])
    assert channel.night(incident(severity="critical", state=state), after=5) == [("one", "escalated")]


def test_a_changed_verdict_is_told_also_of_an_acknowledged_one():
    channel = Listener("warning")
    channel.night(incident(severity="warning", kind="input_drift", recommended_action="hold"))
    acked = {"severity": "warning", "state": "acknowledged"}
    channel.night(incident(**acked, kind="input_drift", recommended_action="hold"), after=1)
    assert channel.night(incident(**acked), after=2) == [("one", "updated")]
    assert channel.night(incident(**acked), after=3) == []


def test_a_changed_verdict_does_not_break_a_silence():
    channel = Listener("warning")
    channel.night(incident(severity="warning", kind="input_drift"))
    assert channel.night(incident(severity="warning", state="silenced"), after=1) == []


def test_one_that_comes_back_is_told_again():
    channel = Listener()
    channel.night(incident())
    channel.night(incident(state="resolved", resolved_as_of=NIGHT), after=3)
    assert channel.night(incident(), after=5) == [("one", "firing")]


def test_a_backfill_pages_nobody_and_what_is_still_open_is_told_a_day_later():
    channel = Listener()
    old = incident(opened_as_of=NIGHT - dt.timedelta(days=30))
    gone = incident("gone", opened_as_of=NIGHT - dt.timedelta(days=40))
    for day in range(-40, 1):
        over = {"state": "resolved", "resolved_as_of": NIGHT} if day > -20 else {}
        rows = [{**gone, **over}, *([old] if day >= -30 else [])]
        assert channel.night(*rows, after=day, judged=0) == []
    assert channel.night(old, after=1) == [("one", "firing")]
    assert channel.night(old, after=1) == []


def test_the_same_is_said_when_the_whole_backfill_is_judged_in_one_go():
    channel = Listener()
    old = incident(opened_as_of=NIGHT - dt.timedelta(days=30))
    assert channel.night(old, incident("new")) == [("new", "firing")]
    assert channel.night(old, incident("new"), after=1) == [("new", "firing"), ("one", "firing")]


def test_running_an_old_night_again_takes_nothing_from_tonight():
    channel = Listener()
    assert channel.night(incident(), after=-30, judged=0) == []
    assert channel.night(incident()) == [("one", "firing")]
    assert channel.night(incident(), after=-30, judged=0) == []


def test_that_it_is_over_is_told_even_by_a_night_of_the_past():
    channel = Listener()
    channel.night(incident())
    over = incident(state="resolved", resolved_as_of=NIGHT + dt.timedelta(days=1))
    assert channel.night(over, after=1, judged=9) == [("one", "resolved")]


def test_one_that_no_night_knows_any_more_is_over():
    channel = Listener()
    channel.night(incident(), incident("two"))
    assert channel.night(incident()) == [("two", "resolved")]
    assert channel.night(incident()) == []


def test_what_is_over_is_forgotten_in_time_and_stays_quiet():
    channel = Listener()
    over = incident(state="resolved", resolved_as_of=NIGHT)
    channel.night(incident())
    channel.night(over, after=1)
    assert all(channel.night(over, after=day) == [] for day in range(2, 200))
    assert channel.known == {}


@pytest.mark.parametrize("seed", range(60))
def test_over_any_life_a_channel_hears_of_opening_before_end_and_of_every_end_once(seed):
    """Any states, severities, reruns and gaps: firing and resolved alternate, and nothing is said twice for one night."""
    draw = random.Random(seed)
    channel = Listener(draw.choice(["info", "warning", "critical"]))
    row, open_for_channel = incident(severity="info"), False
    day = 0
    for _ in range(60):
        day += draw.choice([0, 1, 1, 1, 2])
        change = draw.random()
        if change < 0.2:
            row = {**row, "state": "resolved", "resolved_as_of": NIGHT + dt.timedelta(days=day)}
        elif row["resolved_as_of"] is not None and change < 0.5:
            row = {**row, "state": "open", "resolved_as_of": None}
        elif row["resolved_as_of"] is None:
            severity = draw.choice([row["severity"], "warning", "critical"])
            severity = max(severity, row["severity"], key=["info", "warning", "critical"].index)
            row = {**row, "state": draw.choice(["open", "acknowledged", "silenced"]), "severity": severity}
        judged = day + draw.choice([0, 0, 0, 4])
        said = [status for _, status in channel.night(row, after=day, judged=judged)]
        assert len(said) <= 1
        if said == ["resolved"]:
            assert open_for_channel
            open_for_channel = False
        elif said:
            assert said != ["acknowledged"] or open_for_channel
            assert judged <= day + 1
            open_for_channel = True
        assert channel.night(row, after=day, judged=judged) == []
        assert (row["resolved_as_of"] is None) or not open_for_channel


def test_what_is_known_survives_being_written_down():
    channel = Listener()
    channel.night(incident())
    known = channel.known["card_fraud-20260310-input-one"]
    assert Known(**vars(known)) == known
