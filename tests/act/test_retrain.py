"""A challenger comes of an approved decision: one, from sound rows, with its lineage."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.act.ledger import Ledger
from mlobs_pipelines.act.retrain import RetrainError, retrain, span_of
from mlobs_pipelines.ingest.registered import with_registered_reference
from mlobs_pipelines.registry import Registry, RegistryError
from tests.act import trainers
from tests.act.small_home import DAYS, LAST, MATURITY, day, incident, spec_of, write_incidents
from tests.registry.mlflow_store import client_of, give_store

FINAL = DAYS - MATURITY  # days whose labels are final
KEPT = 9  # a quarter of them
THROUGH = day(FINAL - KEPT - 1)


@pytest.fixture(autouse=True)
def store(small):
    give_store(small)
    trainers.CALLS.clear()


def approved(home, name: str = "m:retrain:i") -> dict:
    return Ledger(home, "m").propose(
        name, "retrain", "approved", "x", as_of=LAST, mode="auto", incident_id="i", evidence={"segment": "country=NL"}
    )


def statuses(home, name: str = "m:retrain:i") -> list[str]:
    return [row["status"] for row in Ledger(home, "m").history(name)]


def test_it_trains_on_all_but_the_newest_quarter_of_the_matured_days():
    days = [day(n) for n in range(40)]
    span = span_of(days)
    assert (span.first, span.through, span.compare_first, span.last) == (day(0), day(29), day(30), day(39))
    week = span_of(days[:14])
    assert (week.through, week.compare_first) == (day(6), day(7))
    with pytest.raises(RetrainError, match="final for 13 days"):
        span_of(days[:13])


def test_the_version_carries_its_lineage_and_is_the_challenger(small):
    write_incidents(small, 12, [incident("f", "fix_data", since=day(3), until=day(5), segment="country=NL")])
    write_incidents(small, DAYS - 1, [incident("late", "fix_data", since=day(FINAL), until=None)])
    spec = spec_of(small)
    version = retrain(small, spec, approved(small), LAST)
    registry = Registry.open(small, spec)
    assert registry.aliases() == {"challenger": version}
    (made,) = registry.versions()
    (rows,) = trainers.CALLS
    assert dict(made.tags) == {
        "mlobs.decision_hash": Ledger(small, "m").history("m:retrain:i")[0]["hash"],
        "mlobs.decision_id": "m:retrain:i",
        "mlobs.incident_id": "i",
        "mlobs.as_of": str(LAST),
        "mlobs.trained_from": str(day(0)),
        "mlobs.trained_through": str(THROUGH),
        "mlobs.rows": str(rows.height),
        "mlobs.left_out": f"{day(3)} to {day(5)} (country=NL)",
    }
    assert rows["event_date"].max() == THROUGH
    assert set(rows.filter(pl.col("event_date").is_between(day(3), day(5)))["country"]) == {"DE"}
    assert statuses(small) == ["approved", "running", "done"]
    final = Ledger(small, "m").find("m:retrain:i")
    assert final is not None
    assert final["version"] == version


def test_the_training_rows_are_an_input_of_its_run_and_serve_as_the_reference(small):
    spec = spec_of(small)
    retrain(small, spec, approved(small), LAST)
    found = with_registered_reference(small, spec)
    assert found.reference is not None
    stored = pl.read_parquet(str(found.reference.source))
    assert stored.columns == ["prediction_id", "event_date", "is_bad", "a", "b", "country"]
    assert stored.equals(trainers.CALLS[0].rename({"label": "is_bad"}))


def test_the_version_predicts(small):
    spec = spec_of(small)
    version = retrain(small, spec, approved(small), LAST)
    scores = Registry.open(small, spec).load(version).predict(pl.DataFrame({"a": [-3.0, 3.0], "b": [0.0, 0.0]}))
    assert scores[0] < 0.1 < 0.9 < scores[1]


def test_done_again_it_is_the_same_version(small):
    spec = spec_of(small)
    decision = approved(small)
    assert retrain(small, spec, decision, LAST) == retrain(small, spec, decision, LAST)
    assert len(Registry.open(small, spec).versions()) == 1
    assert len(trainers.CALLS) == 1


class Cut(Exception):
    """The process ends here."""


CUTS = [
    "create_run",
    "log_inputs",
    "log_artifacts",
    "set_terminated",
    "create_model_version",
    "set_registered_model_alias",
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CUTS)
def test_cut_off_anywhere_and_begun_again_one_version_comes_of_it(small, monkeypatch, call, when):
    from mlflow import MlflowClient

    spec, decision = spec_of(small), approved(small)
    real = getattr(MlflowClient, call)

    def cut(self, *args, **kwargs):
        if when == "after":
            real(self, *args, **kwargs)
        raise Cut

    with monkeypatch.context() as m:
        m.setattr(MlflowClient, call, cut)
        with pytest.raises(RegistryError):
            retrain(small, spec, decision, LAST)
    assert statuses(small)[-1] == "approved", "it waits, as approved as it was"
    version = retrain(small, spec, decision, LAST)
    registry = Registry.open(small, spec)
    assert [v.version for v in registry.versions()] == [version] == ["1"]
    assert registry.aliases() == {"challenger": "1"}
    assert statuses(small)[-1] == "done"
    runs = client_of(str(registry.uri)).search_runs(["1"])
    assert [run.info.status for run in runs].count("FINISHED") == 1
    assert "RUNNING" not in [run.info.status for run in runs]


@pytest.mark.parametrize(
    ("entrypoint", "says"),
    [
        ("tests.act.trainers:broken", "failed: ValueError: two lines"),
        ("tests.act.trainers:nothing", "gave NoneType, which does not predict"),
        ("tests.act.trainers:missing", "can't be imported"),
        ("no.such.module:train", "can't be imported"),
    ],
)
def test_an_entrypoint_that_does_not_do_fails_the_decision_with_one_line(small, entrypoint, says):
    spec = spec_of(small, retrain={"entrypoint": entrypoint})
    with pytest.raises(RetrainError, match=says):
        retrain(small, spec, approved(small), LAST)
    final = Ledger(small, "m").find("m:retrain:i")
    assert final is not None
    assert (final["status"], says in final["reason"], "\n" in final["reason"]) == ("failed", True, False)
    assert Registry.open(small, spec).versions() == []


def test_too_few_final_days_fail_the_decision(small):
    with pytest.raises(RetrainError, match="final for 6 days"):
        retrain(small, spec_of(small), approved(small), day(5 + MATURITY))
    assert statuses(small)[-1] == "failed"


def test_a_training_that_kills_its_machine_is_given_up(small):
    spec, decision = spec_of(small), approved(small)
    for _ in range(3):
        Ledger(small, "m").turn(decision, "running", "x", once=False)
    with pytest.raises(RetrainError, match="begun 3 times"):
        retrain(small, spec, decision, LAST)
    assert statuses(small)[-1] == "failed"


def test_without_mlflow_the_decision_stays_as_it_is(small):
    spec = spec_of(small)
    elsewhere = spec.model_copy(
        update={"registry": spec.registry.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})}
    )
    decision = approved(small)
    for _ in range(2):
        with pytest.raises(RegistryError):
            retrain(small, elsewhere, decision, LAST)
    assert statuses(small) == ["approved"]
    assert trainers.CALLS == []


def test_a_model_of_types_that_skops_does_not_trust_is_stored_too(small, monkeypatch):
    from sklearn.ensemble import HistGradientBoostingClassifier

    def trees(rows, spec):
        model = HistGradientBoostingClassifier(max_iter=5)
        return model.fit(rows.select("a", "b").to_pandas(), rows["label"].to_numpy())

    monkeypatch.setattr(trainers, "good", trees)
    spec = spec_of(small)
    version = retrain(small, spec, approved(small), LAST)
    assert Registry.open(small, spec).load(version).predict(pl.DataFrame({"a": [3.0], "b": [0.0]}))[0] > 0.5


def test_the_home_keeps_the_artifacts_of_its_own_registry(small):
    retrain(small, spec_of(small), approved(small), LAST)
    assert list((small.root / "mlartifacts").rglob("MLmodel"))
    assert not Path("mlruns").exists()


def test_a_date_of_the_past_uses_what_was_known_then(small):
    spec = spec_of(small)
    retrain(small, spec, approved(small), LAST - dt.timedelta(days=10))
    assert trainers.CALLS[0]["event_date"].max() < THROUGH
