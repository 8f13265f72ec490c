"""What follows from incidents: once each, and nothing that contradicts what was decided before."""

from __future__ import annotations

import datetime as dt

import pytest

from mlobs_pipelines.act.decide import decide
from mlobs_pipelines.act.ledger import Ledger
from tests.act.small_home import day, incident, spec_of, write_incidents


def state(home) -> dict[str, str]:
    return {row["decision_id"]: row["status"] for row in Ledger(home, "m").current()}


def said(home, decision_id: str, status: str, actor: str = "ann") -> None:
    ledger = Ledger(home, "m")
    row = ledger.find(decision_id)
    assert row is not None
    ledger.turn(row, status, "said", actor=actor)


@pytest.mark.parametrize("action", ["fix_data", "alert", "hold"])
def test_advice_is_written_once(small, action):
    spec = spec_of(small)
    night = write_incidents(small, 20, [incident("i", action)])
    assert decide(small, spec, night) == [f"m:{action}:i"]
    assert decide(small, spec, night) == []
    assert decide(small, spec, write_incidents(small, 21, [incident("i", action)])) == []
    (row,) = Ledger(small, "m").current()
    assert (row["status"], row["reason"], row["incident_id"], row["as_of"]) == ("done", "Title of i", "i", day(20))


@pytest.mark.parametrize(("mode", "status"), [("approve", "pending"), ("auto", "approved")])
def test_a_training_waits_for_a_person_or_does_not(small, mode, status):
    night = write_incidents(small, 20, [incident("i", segment="country=NL")])
    spec = spec_of(small, retrain={"mode": mode})
    decide(small, spec, night)
    decide(small, spec, night)
    assert state(small) == {"m:retrain:i": status}
    assert Ledger(small, "m").evidence("m:retrain:i")["segment"] == "country=NL"


@pytest.mark.parametrize("policy", [{"mode": "off"}, {"entrypoint": None}])
def test_without_a_mode_or_an_entrypoint_nothing_is_trained(small, policy):
    assert decide(small, spec_of(small, retrain=policy), write_incidents(small, 20, [incident("i")])) == []


def test_one_training_covers_every_incident_that_is_open_then(small):
    spec = spec_of(small)
    both = [incident("i"), incident("j", opened_as_of=day(19))]
    assert decide(small, spec, write_incidents(small, 20, both)) == ["m:retrain:j"]
    assert Ledger(small, "m").evidence("m:retrain:j")["incidents"] == ["j", "i"]
    said(small, "m:retrain:j", "done")
    for number in (21, 29, 39):
        assert decide(small, spec, write_incidents(small, number, both)) == []


def test_another_training_waits_for_the_cooldown(small):
    spec = spec_of(small)
    decide(small, spec, write_incidents(small, 20, [incident("i")]))
    said(small, "m:retrain:i", "done")
    later = incident("j", opened_as_of=day(22))
    assert decide(small, spec, write_incidents(small, 26, [later])) == []
    assert decide(small, spec, write_incidents(small, 27, [later])) == ["m:retrain:j"]


@pytest.mark.parametrize("status", ["pending", "approved", "running"])
def test_no_two_trainings_at_once(small, status):
    spec = spec_of(small)
    decide(small, spec, write_incidents(small, 20, [incident("i")]))
    said(small, "m:retrain:i", status)
    assert decide(small, spec, write_incidents(small, 39, [incident("i"), incident("j", opened_as_of=day(30))])) == []


def test_what_a_person_turned_down_is_not_asked_again_for_the_same_trouble(small):
    spec = spec_of(small)
    both = [incident("i"), incident("j")]
    decide(small, spec, write_incidents(small, 20, both))
    said(small, "m:retrain:i", "rejected")
    assert decide(small, spec, write_incidents(small, 39, both)) == []
    assert decide(small, spec, write_incidents(small, 39, [*both, incident("k", opened_as_of=day(30))])) == [
        "m:retrain:k"
    ]


def test_a_training_that_failed_stops_no_other(small):
    spec = spec_of(small)
    decide(small, spec, write_incidents(small, 20, [incident("i")]))
    said(small, "m:retrain:i", "failed", actor="mlobs")
    assert decide(small, spec, write_incidents(small, 21, [incident("j", opened_as_of=day(21))])) == ["m:retrain:j"]


def test_a_pending_training_is_taken_back_when_the_incident_is_over(small):
    spec = spec_of(small)
    decide(small, spec, write_incidents(small, 20, [incident("i")]))
    over = incident("i", state="resolved", resolved_as_of=day(24))
    assert decide(small, spec, write_incidents(small, 24, [over])) == ["m:retrain:i"]
    row = Ledger(small, "m").find("m:retrain:i")
    assert row is not None
    assert (row["status"], row["actor"]) == ("rejected", "mlobs")
    assert decide(small, spec, write_incidents(small, 25, [incident("n", opened_as_of=day(20))])) == ["m:retrain:n"]


def test_what_a_person_approved_is_not_taken_back(small):
    spec = spec_of(small)
    decide(small, spec, write_incidents(small, 20, [incident("i")]))
    said(small, "m:retrain:i", "approved")
    decide(small, spec, write_incidents(small, 24, [incident("i", state="resolved", resolved_as_of=day(24))]))
    assert state(small) == {"m:retrain:i": "approved"}


def test_a_silenced_incident_is_left_alone(small):
    from mlobs_pipelines.store import journal

    night = write_incidents(small, 20, [incident("i"), incident("w", "alert")])
    for name in ("i", "w"):
        journal.append(
            small,
            decision_id=f"{name}:silence:0",
            model="m",
            action="silence",
            status="done",
            reason="known",
            evidence={"until": (night + dt.timedelta(days=3)).isoformat(), "comment": "known"},
            as_of=night,
            incident_id=name,
        )
    assert decide(small, spec_of(small), night) == []


def promotion(home, old: str, new: str) -> None:
    Ledger(home, "m").propose(
        f"m:promote:{new}:{old}",
        "promote",
        "done",
        "x",
        as_of=day(10),
        mode="approve",
        evidence={"from": old, "to": new},
    )


def test_a_roll_back_undoes_a_promotion_of_ours_once(small):
    spec = spec_of(small)
    promotion(small, "1", "2")
    night = write_incidents(small, 20, [incident("i", "roll_back")])
    assert decide(small, spec, night) == ["m:roll_back:i"]
    row = Ledger(small, "m").find("m:roll_back:i")
    assert row is not None
    assert (row["status"], row["version"]) == ("pending", "1")
    said(small, "m:roll_back:i", "done")
    decide(small, spec, write_incidents(small, 21, [incident("i", "roll_back"), incident("j", "roll_back")]))
    row = Ledger(small, "m").find("m:roll_back:j")
    assert row is not None
    assert row["action"] == "alert", "it was undone already"


def test_a_roll_back_of_what_others_promoted_is_advice(small):
    decide(small, spec_of(small), write_incidents(small, 20, [incident("i", "roll_back")]))
    (row,) = Ledger(small, "m").current()
    assert (row["action"], row["status"]) == ("alert", "done")
    assert "by hand" in row["reason"]


def test_a_night_that_was_not_judged_decides_nothing(small):
    assert decide(small, spec_of(small), day(5)) == []
