"""A run that failed or did not come is an incident, too."""

from __future__ import annotations

import polars as pl

from mlobs_pipelines.judge.monitoring import run_incident
from tests.judge.series import day


def told(*nights):
    row, found = None, []
    for number, outcome in nights:
        rows = run_incident(row, "m", day(number), outcome, "no such file: p.parquet")
        if rows.height:
            row = rows.row(0, named=True)
        found.append(row)
    return found


def test_a_run_that_is_done_is_no_incident():
    assert told((0, "done"), (1, "done")) == [None, None]


def test_nights_that_fail_in_a_row_are_one_incident_that_the_next_good_night_ends():
    first, second, third = told((0, "failed"), (1, "failed"), (2, "done"))
    assert first["incident_id"] == second["incident_id"] == third["incident_id"]
    assert (second["severity"], second["kind"], second["nights"]) == ("critical", "monitoring", 2)
    assert "no such file" in second["title"]
    assert "mlobs run m --from 2026-01-05 --to 2026-01-06" in second["evidence"]
    assert (third["state"], third["resolved_as_of"]) == ("resolved", day(2))


def test_the_next_failure_is_another_incident_of_the_same_trouble():
    found = told((0, "failed"), (1, "done"), (9, "absent"))
    assert found[0]["incident_id"] != found[2]["incident_id"]
    assert found[0]["dedup_key"] == found[2]["dedup_key"]
    assert found[2]["state"] == "open"


def test_telling_it_again_changes_nothing():
    once, again = told((3, "failed"), (3, "failed"))
    assert pl.DataFrame([once]).equals(pl.DataFrame([again]))
