"""Runs at the same time: no lock error, no torn read, the same digests."""

from __future__ import annotations

import os
import threading

import pytest
import yaml

from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest, query
from tests.faults.nights import FIRST, LAST, MODEL, run, start

pytestmark = pytest.mark.slow


def test_two_runs_of_one_model_at_once_and_a_reader_meanwhile(fresh, capsys):
    alone, together = fresh("alone"), fresh("together")
    run(alone, FIRST, LAST)
    run(together, FIRST, "2026-01-02")
    reads, errors, over = 0, [], threading.Event()

    def read() -> None:
        nonlocal reads
        while not over.wait(0.05):
            try:
                nights = query(
                    Home(together), "select as_of, count(*) n, count(distinct run_id) runs from metrics group by 1"
                )
                if (nights["runs"] != 1).any():
                    errors.append("a night from two runs")
                reads += 1
            except Exception as error:
                errors.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    children = [start(together, FIRST, LAST), start(together, FIRST, LAST)]
    for child in children:
        assert child.answer() > 0
    over.set()
    reader.join()
    assert not errors, errors[:3]
    assert reads > 0
    assert digest(Home(together), MODEL) == digest(Home(alone), MODEL)
    with capsys.disabled():
        print(f"\ntwo runs at once, {reads} reads meanwhile: no error, same digest")


def test_many_models_at_once(fresh, capsys):
    count = int(os.environ.get("MLOBS_MODELS_AT_ONCE", "6"))
    root = fresh("home")
    home = Home(root)
    spec = yaml.safe_load(home.spec_file(MODEL).read_text())
    names = [f"fraud_{i}" for i in range(count)]
    for name in names:
        home.spec_file(name).write_text(yaml.safe_dump({**spec, "model": name}, sort_keys=False))
    one_thread = {**os.environ, "MLOBS_THREADS": "1"}
    children = [start(root, FIRST, "2026-01-02", model=name, environment=one_thread) for name in names]
    for child in children:
        assert child.answer(600) > 0
    found = [digest_without_name(home, name) for name in names]
    assert all(f == found[0] for f in found)
    listed = query(home, "select count(distinct model) n from metrics")["n"].item()
    assert listed == count
    with capsys.disabled():
        print(f"\n{count} models at once: no lock error, all in the snapshot, equal lakes")


def digest_without_name(home: Home, name: str) -> dict[str, str]:
    """Digests of the lake: it does not hold the model's name, the store does."""
    return {table: value for table, value in digest(home, name).items() if not table.startswith("store")}
