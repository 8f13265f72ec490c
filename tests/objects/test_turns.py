"""One machine at a time writes a model, and another one when that is dead."""

from __future__ import annotations

import threading
import time

import pytest

from mlobs_pipelines.store import turns
from mlobs_pipelines.store.objects import StorageError


def wait(_holder, _alive):
    return True


def never(_holder, alive):
    return not alive


def dies(turn):
    """The process that has the turn is gone: no more signs of life."""
    turn._ended.set()
    turn._beats.join()


def test_turns_that_end_follow_each_other_at_once(place):
    store = place.store()
    for number, holder in enumerate(["a", "b", "a"], start=1):
        turn = turns.take(store, "m", holder, 60, wait)
        assert (turn.number, turn.cut_off) == (number, False)
        turn.check()
        turn.end()


def test_nobody_has_it_while_another_one_is_alive(place):
    store, order = place.store(), []
    first = turns.take(store, "m", "a", 0.5, wait)

    def other():
        second = turns.take(store, "m", "b", 0.5, wait)
        order.append("begins")
        second.end()

    thread = threading.Thread(target=other)
    thread.start()
    time.sleep(1.5)  # three leases
    order.append("ends")
    first.check()
    first.end()
    thread.join()
    assert order == ["ends", "begins"]


def test_of_many_who_want_it_at_once_each_has_it_alone(place):
    store, inside, most = place.store(), [], []

    def one(name):
        turn = turns.take(store, "m", name, 5, wait)
        inside.append(name)
        most.append(len(inside))
        time.sleep(0.05)
        turn.check()
        inside.remove(name)
        turn.end()

    threads = [threading.Thread(target=one, args=(f"h{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_whoever_would_not_wait_leaves_when_the_other_one_gives_a_sign_of_life(place):
    store = place.store()
    first = turns.take(store, "m.retrain", "a", 0.5, wait)
    assert turns.take(store, "m.retrain", "b", 0.5, never) is None
    dies(first)
    taken = turns.take(store, "m.retrain", "b", 0.5, never)
    assert taken.cut_off
    taken.end()


def test_a_dead_one_is_taken_over_and_finds_out_if_it_only_slept(place):
    store = place.store()
    first = turns.take(store, "m", "a:/home (1)", 0.5, wait)
    dies(first)
    told = []
    second = turns.take(store, "m", "b:/home (2)", 0.5, lambda holder, alive: told.append((holder, alive)) or True)
    assert second.cut_off
    assert set(told) == {("a:/home", False)}
    with pytest.raises(StorageError, match="m: b:/home took over, for no sign of life came from here; run again"):
        first.check()
    second.check()
    second.end()


def test_a_working_copy_whose_process_died_has_its_turn_back_at_once(place):
    store = place.store()
    dies(turns.take(store, "m", "a", 3600, wait))
    again = turns.take(store, "m", "a", 3600, wait)
    assert not again.cut_off
    again.end()
