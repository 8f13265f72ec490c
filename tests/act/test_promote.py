"""The champion's alias moves once, when it was agreed to, and back."""

from __future__ import annotations

import pytest

from mlobs_pipelines.act import loop
from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.registry import Registry, RegistryError
from tests.act.small_home import LAST, give_version, spec_of
from tests.registry.mlflow_store import client_of

PROMOTION = "m:promote:2:1"


@pytest.fixture
def spec(small):
    """Two versions of which the first is champion and the second was found better."""
    spec = spec_of(small)
    for column in ("b", "a"):
        give_version(small, column)
    Registry.open(small, spec).set_alias("champion", "1")
    Registry.open(small, spec).set_alias("challenger", "2")
    return spec


def propose(home, status: str = "pending", decision_id: str = PROMOTION, **evidence: str) -> None:
    evidence = evidence or {"from": "1", "to": "2"}
    action = decision_id.split(":")[1]
    Ledger(home, "m").propose(
        decision_id, action, status, "x", as_of=LAST, mode="approve", evidence=evidence, version="2"
    )


def history(home, decision_id: str = PROMOTION) -> list[tuple[str, str]]:
    return [(row["status"], row["actor"]) for row in Ledger(home, "m").history(decision_id)]


def aliases(home, spec) -> dict[str, str]:
    return Registry.open(home, spec).aliases()


def test_a_pending_promotion_moves_nothing(small, spec):
    propose(small)
    assert loop.do(small, spec, "promote") == []
    assert aliases(small, spec) == {"champion": "1", "challenger": "2"}


def test_an_approved_one_moves_the_alias_and_remembers_the_last_champion(small, spec):
    propose(small, "approved")
    loop.do(small, spec, "promote")
    assert aliases(small, spec) == {"champion": "2", "previous_champion": "1"}
    assert history(small) == [("approved", "mlobs"), ("running", "mlobs"), ("done", "mlobs")]
    assert loop.do(small, spec, "promote") == []


@pytest.mark.parametrize(("tag", "status"), [("mlobs.approve", "done"), ("mlobs.reject", "rejected")])
def test_a_tag_in_mlflow_is_a_persons_word_and_is_heard_once(small, spec, tag, status):
    propose(small)
    client_of(f"sqlite:///{small.root / 'mlflow.db'}").set_model_version_tag("m", "2", tag, "ann@example.com")
    loop.do(small, spec, "promote")
    assert history(small)[1][1] == "mlflow:ann@example.com"
    assert history(small)[-1][0] == status
    assert aliases(small, spec)["champion"] == ("2" if status == "done" else "1")
    assert tag not in Registry.open(small, spec).versions()[1].tags


def test_a_tag_on_a_version_that_was_not_compared_yet_waits(small, spec):
    Registry.open(small, spec).set_tags("2", {"mlobs.approve": "true"})
    assert loop.do(small, spec, "promote") == []
    assert "mlobs.approve" in Registry.open(small, spec).versions()[1].tags


def test_where_both_tags_are_set_nothing_is_promoted(small, spec):
    propose(small)
    Registry.open(small, spec).set_tags("2", {"mlobs.approve": "a", "mlobs.reject": "b"})
    loop.do(small, spec, "promote")
    assert history(small)[-1] == ("rejected", "mlflow:b")
    assert aliases(small, spec)["champion"] == "1"


@pytest.mark.parametrize("status", ["pending", "approved"])
def test_a_champion_that_someone_moved_makes_it_void(small, spec, status):
    propose(small, status)
    give_version(small, "a")
    Registry.open(small, spec).set_alias("champion", "3")
    loop.do(small, spec, "promote")
    assert history(small)[-1] == ("rejected", "mlobs")
    assert aliases(small, spec)["champion"] == "3"


def test_a_version_that_is_champion_already_is_done(small, spec):
    propose(small, "approved")
    Registry.open(small, spec).set_alias("champion", "2")
    loop.do(small, spec, "promote")
    assert history(small)[-1][0] == "done"


class Cut(Exception):
    """The process ends here."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("cut_at", [1, 2, 3])
@pytest.mark.parametrize("action", ["promote", "roll_back"])
def test_cut_off_at_any_step_it_ends_the_same(small, spec, monkeypatch, action, cut_at, when):
    from mlflow import MlflowClient

    decision_id = PROMOTION if action == "promote" else "m:roll_back:x"
    if action == "roll_back":
        Registry.open(small, spec).set_alias("champion", "2")
        Registry.open(small, spec).set_alias("previous_champion", "1")
        propose(small, "approved", decision_id, note="by hand")
    else:
        propose(small, "approved")
    calls = 0

    def cut(real):
        def call(self, *args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == cut_at and when == "before":
                raise Cut
            real(self, *args, **kwargs)
            if calls == cut_at:
                raise Cut

        return call

    with monkeypatch.context() as m:
        for name in ("set_registered_model_alias", "delete_registered_model_alias", "set_model_version_tag"):
            m.setattr(MlflowClient, name, cut(getattr(MlflowClient, name)))
        with pytest.raises(RegistryError):
            loop.do(small, spec, "promote")
    loop.do(small, spec, "promote")
    there = {"champion": "2", "previous_champion": "1"} if action == "promote" else {"champion": "1"}
    found = aliases(small, spec)
    assert {name: found[name] for name in there} == there
    assert "challenger" not in found or action == "roll_back"
    assert [status for status, _ in history(small, decision_id)].count("done") == 1
    assert history(small, decision_id)[-1][0] == "done"


def test_a_roll_back_goes_to_the_champion_before(small, spec):
    propose(small, "approved")
    loop.do(small, spec, "promote")
    propose(small, "approved", "m:roll_back:page", note="from the page")
    loop.do(small, spec, "promote")
    assert aliases(small, spec) == {"champion": "1"}
    assert history(small, "m:roll_back:page")[-1][0] == "done"
    assert "mlobs.rolled_back" in Registry.open(small, spec).versions()[1].tags
    assert loop.do(small, spec, "validate") == [], "what was taken back is no candidate again"


def test_a_roll_back_to_nowhere_fails_and_says_why(small, spec):
    propose(small, "approved", "m:roll_back:page", note="from the page")
    loop.do(small, spec, "promote")
    last = Ledger(small, "m").find("m:roll_back:page")
    assert last is not None
    assert (last["status"], "no earlier champion" in last["reason"]) == ("failed", True)


def test_without_mlflow_it_stays_approved(small, spec):
    propose(small, "approved")
    away = spec.model_copy(update={"registry": spec.registry.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})})
    with pytest.raises(RegistryError):
        loop.do(small, away, "promote")
    assert history(small) == [("approved", "mlobs")]


def test_a_stage_that_another_process_is_at_is_left_to_it(small, spec):
    from mlobs_pipelines.store.lock import exclusive

    propose(small, "approved")
    with exclusive(small.lock_file("m.promote")):
        assert loop.do(small, spec, "promote") == []
    assert history(small) == [("approved", "mlobs")]
    loop.do(small, spec, "promote")
    assert history(small)[-1][0] == "done"
