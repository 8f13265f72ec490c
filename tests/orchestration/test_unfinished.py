"""A run of many nights that was interrupted goes on where it was, and leaves what an undisturbed one leaves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import pytest

from mlobs_pipelines.orchestration import steps
from mlobs_pipelines.orchestration.unfinished import Unfinished
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import digest

FIRST = dt.date(2026, 1, 1)
NIGHTS = [FIRST + dt.timedelta(days=i) for i in range(5)]

pytestmark = pytest.mark.slow


def by(many: int, nights: Sequence[dt.date]) -> list[Sequence[dt.date]]:
    return [nights[first : first + many] for first in range(0, len(nights), many)]


class Killed(BaseException):
    """What nothing catches, as nothing catches SIGKILL."""


@pytest.fixture(autouse=True)
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "TOGETHER", 2)
    monkeypatch.setattr(steps, "together", lambda home, spec, nights: by(2, nights))


@pytest.fixture
def five_days(home: Home, log_day: Callable[..., None]) -> Home:
    for night in NIGHTS:
        log_day(home, night)
    return home


class Watched:
    """A step's function that notes which nights it was called with, and dies before its n-th call."""

    def __init__(self, function: Callable[..., object], dies: int = 0) -> None:
        self.function, self.dies, self.calls = function, dies, list[Sequence[dt.date]]()

    def profile(self, home: Home, spec: ModelSpec, nights: Sequence[dt.date], **more: object) -> object:
        self._count(nights)
        return self.function(home, spec, nights, **more)

    def judge(self, *given: object) -> object:
        night = given[4]
        assert isinstance(night, dt.date)
        self._count([night])
        return self.function(*given)

    def _count(self, nights: Sequence[dt.date]) -> None:
        self.calls.append(list(nights))
        if len(self.calls) == self.dies:
            raise Killed

    @property
    def nights(self) -> list[dt.date]:
        return [night for call in self.calls for night in call]


def watch(monkeypatch: pytest.MonkeyPatch, dies_at_profile: int = 0, dies_at_judge: int = 0) -> tuple[Watched, Watched]:
    profiling, judging = Watched(PROFILE, dies_at_profile), Watched(JUDGE, dies_at_judge)
    monkeypatch.setattr(steps, "profile_nights", profiling.profile)
    monkeypatch.setattr(steps, "judge_night", judging.judge)
    return profiling, judging


PROFILE, JUDGE = steps.profile_nights, steps.judge_night


def killed(monkeypatch: pytest.MonkeyPatch, home: Home, spec: ModelSpec, **dies: int) -> tuple[Watched, Watched]:
    """Run the five nights until it dies at the given call of profiling or judging; gives what was called."""
    watched = watch(monkeypatch, **dies)
    with pytest.raises(Killed):
        steps.run_nights(home, spec, NIGHTS)
    return watched


def test_what_is_done_is_not_done_again_and_the_result_is_the_same(
    five_days: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, five_days, spec, dies_at_profile=2)

    profiling, _ = killed(monkeypatch, five_days, spec, dies_at_judge=4)
    # The last night of the lake is taken in again, as a night that is run again always was.
    assert profiling.nights == NIGHTS[2:]

    profiling, judging = watch(monkeypatch)
    steps.run_nights(five_days, spec, NIGHTS)
    assert profiling.nights == NIGHTS[-1:]
    assert judging.nights == NIGHTS[3:]
    resumed = digest(five_days, spec.model)

    profiling, judging = watch(monkeypatch)
    steps.run_nights(five_days, spec, NIGHTS)
    assert (profiling.nights, judging.nights) == (NIGHTS, NIGHTS), "a run that ended is run again whole"
    assert digest(five_days, spec.model) == resumed


def test_another_run_does_not_go_on_with_what_was_interrupted(
    five_days: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, five_days, spec, dies_at_judge=3)

    assert Unfinished.of(five_days, spec, NIGHTS).left("measure", NIGHTS) == NIGHTS[2:]
    assert Unfinished.of(five_days, spec, NIGHTS[1:]).left("measure", NIGHTS) == NIGHTS
    other = spec.model_copy(update={"threshold": [0.7]})
    assert Unfinished.of(five_days, other, NIGHTS).left("measure", NIGHTS) == NIGHTS


def test_a_night_whose_rows_changed_is_counted_again_and_what_follows_measured_again(
    five_days: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(monkeypatch, five_days, spec, dies_at_judge=5)
    file = five_days.lake_file(spec.model, "label_facts", NIGHTS[1])
    file.write_bytes(file.read_bytes())

    profiling, judging = watch(monkeypatch)
    steps.profile(five_days, spec, NIGHTS)
    steps.measure(five_days, spec, NIGHTS, "run")
    assert profiling.nights == [NIGHTS[1]]
    assert judging.nights == NIGHTS[1:]


def test_nights_in_parts_and_one_by_one_give_the_same(
    five_days: Home, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    steps.run_nights(five_days, spec, NIGHTS, progress=told.append)
    in_parts = digest(five_days, spec.model)
    assert any(line.startswith("measured 3 of 5 nights, about") for line in told)

    monkeypatch.setattr(steps, "TOGETHER", 14)
    monkeypatch.setattr(steps, "together", lambda home, spec, nights: by(14, nights))
    steps.run_nights(five_days, spec, NIGHTS)
    assert digest(five_days, spec.model) == in_parts
    for night in NIGHTS:
        steps.run_nights(five_days, spec, [night])
    assert digest(five_days, spec.model) == in_parts
