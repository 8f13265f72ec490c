"""One log, whichever machine adds to it."""

from __future__ import annotations

import threading

import pytest

from mlobs_pipelines.store import journal
from mlobs_pipelines.store.journal import JournalError, SettledError
from tests.objects.conftest import before_storage


def add(home, name, **more):
    given = {"model": "m", "action": "promote", "status": "pending", "reason": "Because"} | more
    return journal.append(home, decision_id=name, **given)


def names(home):
    return journal.decisions(home)["decision_id"].to_list()


def test_what_one_machine_decided_is_the_next_ones_chain(place):
    one, other = place.home("one"), place.home("other")
    add(one, "a")
    add(other, "b")
    add(one, "c")
    assert names(one) == ["a", "b", "c"]
    assert names(other) == ["a", "b"]
    assert journal.catch_up(other)
    assert not journal.catch_up(other)
    assert names(other) == ["a", "b", "c"]
    assert journal.verify(one) == journal.verify(other) == []
    assert (one.log / "decisions.jsonl").read_bytes() == (other.log / "decisions.jsonl").read_bytes()


def test_machines_that_add_at_once_make_one_chain_that_has_all(place):
    homes = [place.home(f"h{i}") for i in range(3)]

    def many(home):
        for i in range(4):
            add(home, f"{home.root.name}-{i}")

    threads = [threading.Thread(target=many, args=(home,)) for home in homes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh = place.home("fresh")
    journal.catch_up(fresh)
    assert sorted(names(fresh)) == sorted(f"h{i}-{j}" for i in range(3) for j in range(4))
    assert journal.verify(fresh) == []


def test_a_decision_is_approved_on_one_machine_only(place):
    one, other = place.home("one"), place.home("other")
    add(one, "a")
    add(other, "a", status="approved", actor="ann", expect=("pending",))
    with pytest.raises(SettledError, match="a is approved by ann"):
        add(one, "a", status="rejected", actor="bob", expect=("pending",))
    assert add(one, "a", status="approved", once=True)["actor"] == "ann"


def test_a_log_from_before_is_put_there(place):
    one, other = place.home("one"), place.home("other")
    with before_storage(one):
        add(one, "a")
        add(one, "b")
    add(one, "c")
    add(other, "d")
    assert names(other) == ["a", "b", "c", "d"]
    assert journal.verify(other) == []


def test_a_home_with_another_log_is_refused_and_its_log_stays(place):
    one, other = place.home("one"), place.home("other")
    with before_storage(other):
        add(other, "own")
    add(one, "a")
    with pytest.raises(JournalError, match="are two logs"):
        add(other, "b")
    assert names(other) == ["own"]


@pytest.mark.parametrize("left", ["nothing of the line", "half of it", "the line but not the head", "a missing log"])
def test_a_machine_that_died_after_its_entry_was_in_the_store_reads_it_there(place, left):
    one = place.home("one")
    add(one, "a")
    log, head = one.log / "decisions.jsonl", one.log / "head.json"
    before = log.read_bytes(), head.read_bytes()
    add(one, "b")
    after = log.read_bytes()
    if left == "a missing log":
        log.unlink()
        head.write_bytes(before[1])
    else:
        head.write_bytes(before[1])
        log.write_bytes({"n": before[0], "h": after[:-20], "t": after}[left[0]])
        if left != "nothing of the line":
            import json

            document = json.loads(before[1]) | {"intent": after.splitlines()[-1].decode()}
            head.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n")
    add(one, "c")
    assert names(one) == ["a", "b", "c"]
    assert journal.verify(one) == []
