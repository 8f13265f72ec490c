"""How long a step will take is said by what it took so far, and not before anything is known."""

from __future__ import annotations

from mlobs_pipelines.orchestration.pace import Pace, lasting


def test_the_time_left_is_that_of_the_nights_that_are_left() -> None:
    now = [100.0]
    told: list[str] = []
    pace = Pace("measured", 40, told.append, clock=lambda: now[0])
    assert told == [], "nothing is done: nobody knows"
    now[0] = 130.0
    pace.tell(10)
    now[0] = 160.0
    pace.tell(20)
    pace.tell(10)
    assert told == [
        "measured 10 of 40 nights, about 2 min left for this step",
        "measured 30 of 40 nights, about 20 s left for this step",
        "measured 40 of 40 nights",
    ]


def test_a_time_is_no_more_exact_than_it_can_be_known() -> None:
    assert [lasting(s) for s in (0.2, 14, 89, 130, 3600, 9000)] == [
        "about 10 s",
        "about 10 s",
        "about 90 s",
        "about 2 min",
        "about 60 min",
        "about 2.5 h",
    ]
