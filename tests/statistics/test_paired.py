"""Two versions on the same rows: values are scikit-learn's, deviations the bootstrap's, DeLong's and the t-test's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from fairlearn import metrics as fair
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from mlobs_pipelines.statistics import paired
from mlobs_pipelines.statistics.paired import Paired
from tests.statistics.plain_metrics import delong, of_binary, of_classes, of_groups, of_numbers

Arrays = tuple[np.ndarray, ...]


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def drawn(
    rng: np.random.Generator, n: int, rate: float = 0.3, apart: float = 1.0, first: float = 0.5, second: float = 0.3
) -> Arrays:
    """Labels and two scores that share most of what they know."""
    y = rng.random(n) < rate
    shared = rng.normal(size=n) + apart * y
    at = math.log(rate / (1 - rate)) - apart**2 / 2
    one, two = (logistic(apart * (shared + noise * rng.normal(size=n)) + at) for noise in (first, second))
    return y, one, two


def drawn_classes(rng: np.random.Generator, n: int, shares: tuple[float, ...] = (0.6, 0.3, 0.1)) -> Arrays:
    true = rng.choice(len(shares), n, p=shares)
    shared = 1.5 * np.eye(len(shares))[true] + rng.normal(size=(n, len(shares)))

    def scores(noise: float) -> np.ndarray:
        raised = np.exp(1.5 * (shared + noise * rng.normal(size=shared.shape)))
        return raised / raised.sum(axis=1, keepdims=True)

    return true, scores(0.5), scores(0.3)


def drawn_numbers(rng: np.random.Generator, n: int) -> Arrays:
    target, shared = 2 * rng.normal(size=n), rng.normal(size=n)
    return target, target + shared + 0.5 * rng.normal(size=n) + 0.1, target + shared + 0.3 * rng.normal(size=n) - 0.2


def drawn_groups(rng: np.random.Generator, n: int, groups: int = 3, second: float = 0.3) -> Arrays:
    group, y = rng.integers(0, groups, n), rng.random(n) < 0.3
    shared = rng.normal(size=n) + y - 0.5 - 0.8 * (group == 1)
    one = shared + 0.4 * rng.normal(size=n) + 0.6 * (group == 0) > 0
    return y, one, shared + 0.4 * rng.normal(size=n) + second * (group == 0) > 0, group


def binary(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Paired]:
    return paired.binary(y, first, second, 0.4)


TASKS: dict[str, tuple[Callable[..., Arrays], Callable[..., dict[str, Paired]], Callable[..., dict[str, float]]]] = {
    "binary": (drawn, binary, of_binary),
    "multiclass": (drawn_classes, paired.multiclass, of_classes),
    "regression": (drawn_numbers, paired.regression, of_numbers),
}


def test_values_of_both_versions_are_scikit_learns() -> None:
    y, first, second = drawn(np.random.default_rng(1), 400)
    first, second = np.round(first, 2), np.round(second, 1)
    found = paired.binary(y, first, second, 0.35)
    for which, score in (("first", first), ("second", second)):
        d = score >= 0.35
        expected = {
            "roc_auc": sk.roc_auc_score(y, score),
            "average_precision": sk.average_precision_score(y, score),
            "log_loss": sk.log_loss(y, score),
            "brier_score": sk.brier_score_loss(y, score),
            "accuracy": sk.accuracy_score(y, d),
            "balanced_accuracy": sk.balanced_accuracy_score(y, d),
            "precision": sk.precision_score(y, d),
            "recall": sk.recall_score(y, d),
            "specificity": sk.recall_score(~y, ~d),
            "f1": sk.f1_score(y, d),
            "matthews_corrcoef": sk.matthews_corrcoef(y, d),
            "false_positive_rate": 1 - sk.recall_score(~y, ~d),
            "false_negative_rate": 1 - sk.recall_score(y, d),
            "selection_rate": d.mean(),
        }
        assert {name: getattr(p, which) for name, p in found.items()} == pytest.approx(expected, abs=1e-12)


def test_values_of_classes_and_of_numbers_are_scikit_learns() -> None:
    y, first, second = drawn_classes(np.random.default_rng(2), 300)
    found = paired.multiclass(y, first, second)
    said = second.argmax(axis=1)
    expected = {"accuracy": sk.accuracy_score(y, said), "log_loss": sk.log_loss(y, second)}
    expected |= {f"f1_{how}": sk.f1_score(y, said, average=how) for how in ("macro", "micro", "weighted")}
    expected |= {"precision_macro": sk.precision_score(y, said, average="macro")}
    expected |= {"recall_macro": sk.recall_score(y, said, average="macro")}
    expected |= {"roc_auc_ovr": sk.roc_auc_score(y, second, multi_class="ovr")}
    assert {name: p.second for name, p in found.items()} == pytest.approx(expected, abs=1e-12)

    target, one, two = drawn_numbers(np.random.default_rng(3), 300)
    numbers = paired.regression(target, one, two)
    assert numbers["mean_absolute_error"].first == pytest.approx(sk.mean_absolute_error(target, one))
    assert numbers["root_mean_squared_error"].second == pytest.approx(sk.root_mean_squared_error(target, two))
    assert numbers["median_absolute_error"].first == pytest.approx(sk.median_absolute_error(target, one))
    assert numbers["r2"].second == pytest.approx(sk.r2_score(target, two))
    assert numbers["mean_error"].difference == pytest.approx((two - one).mean())


@pytest.mark.parametrize("task", TASKS)
def test_deviations_are_those_of_a_bootstrap_over_rows(task: str) -> None:
    """2,000 resamples tell a deviation to 1.6 % of itself; imagined rows and the median's density add a little."""
    draw, measure, plain = TASKS[task]
    rng = np.random.default_rng(4)
    y, first, second = draw(rng, 1500)
    found = measure(y, first, second)
    resampled: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(2000):
        at = rng.integers(0, len(y), len(y))
        one, two = plain(y[at], first[at]), plain(y[at], second[at])
        for name in found:
            resampled[name].append(two[name] - one[name])
    assert set(found) == set(plain(y, first))
    for name, p in found.items():
        spread = np.std(resampled[name])
        assert p.deviation == pytest.approx(spread, rel=0.15 if name == "median_absolute_error" else 0.08), name
        low, high = np.quantile(resampled[name], [0.025, 0.975])
        assert p.interval() == pytest.approx((low, high), abs=0.45 * spread), name


def test_gaps_are_fairlearns_and_deviate_as_a_bootstrap_does() -> None:
    rng = np.random.default_rng(5)
    y, first, second, group = drawn_groups(rng, 4000)
    found = paired.gaps(y, first, second, group)
    for which, d in (("first", first), ("second", second)):
        expected = {
            "demographic_parity_difference": fair.demographic_parity_difference(y, d, sensitive_features=group),
            "equal_opportunity_difference": fair.equal_opportunity_difference(y, d, sensitive_features=group),
            "equalized_odds_difference": fair.equalized_odds_difference(y, d, sensitive_features=group),
        }
        assert {name: getattr(p, which) for name, p in found.items()} == pytest.approx(expected, abs=1e-12)
    resampled: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(1000):
        at = rng.integers(0, len(y), len(y))
        one, two = (of_groups(y[at], d[at], group[at]) for d in (first, second))
        for name in found:
            resampled[name].append(two[name] - one[name])
    for name in ("demographic_parity_difference", "equal_opportunity_difference"):
        assert found[name].deviation == pytest.approx(np.std(resampled[name]), rel=0.12), name


@pytest.mark.parametrize("digits", [None, 2, 1])
@pytest.mark.parametrize("rate", [0.5, 0.05])
def test_the_area_is_tested_as_delong_does_also_with_ties(rate: float, digits: int | None) -> None:
    y, first, second = drawn(np.random.default_rng(6), 500, rate)
    if digits is not None:
        first, second = np.round(first, digits), np.round(second, digits)
    found = paired.binary(y, first, second)["roc_auc"]
    assert (found.difference, found.deviation) == pytest.approx(delong(y, first, second), abs=1e-13)


def test_means_have_the_interval_of_the_paired_t_test() -> None:
    y, first, second = drawn(np.random.default_rng(7), 60)
    found = paired.binary(y, first, second)
    for name, loss in (("brier_score", lambda s: (s - y) ** 2), ("log_loss", lambda s: -np.log(np.where(y, s, 1 - s)))):
        expected = stats.ttest_rel(loss(second), loss(first)).confidence_interval(0.9)
        assert found[name].interval(0.1) == pytest.approx(tuple(expected), abs=1e-12)


def test_accuracy_is_tested_as_mcnemar_does() -> None:
    """McNemar's statistic is (b - c)² / (b + c) for b and c rows that one version alone has right."""
    y, first, second = drawn(np.random.default_rng(8), 20_000, first=0.6)
    right = (first >= 0.5) == y, (second >= 0.5) == y
    b, c = float((right[0] & ~right[1]).sum()), float((~right[0] & right[1]).sum())
    found = paired.binary(y, first, second)["accuracy"]
    assert found.difference == pytest.approx((c - b) / len(y))
    tested = (found.difference / found.deviation) ** 2
    assert tested == pytest.approx((c - b) ** 2 / (b + c), rel=0.02)


def test_versions_that_say_the_same_differ_by_nothing_exactly() -> None:
    rng = np.random.default_rng(9)
    for draw, measure, _ in TASKS.values():
        y, first, _ = draw(rng, 50)
        for p in measure(y, first, first.copy()).values():
            assert (p.difference, *p.interval()) == (0, 0, 0)
    y, said, _, group = drawn_groups(rng, 80)
    assert all(p.interval() == (0, 0) for p in paired.gaps(y, said, said, group).values())


def test_versions_that_decide_alike_on_few_rows_are_not_known_to_be_alike() -> None:
    y = np.arange(40) % 2 == 0
    first, second = np.where(y, 0.9, 0.1), np.where(y, 0.8, 0.2)
    found = paired.binary(y, first, second)
    for name in ("accuracy", "recall", "precision", "f1", "matthews_corrcoef", "selection_rate"):
        low, high = found[name].interval()
        assert low < -0.05 < 0.05 < high, name
    assert found["roc_auc"].interval()[1] > 0.05, "both rank without a fault"
    scores = np.eye(2)[y.astype(int)] * 0.8 + 0.1
    low, high = paired.multiclass(y.astype(np.int64), scores, scores * 0.9)["f1_macro"].interval()
    assert low < -0.05 < 0.05 < high


def test_what_rows_do_not_define_is_unknown() -> None:
    s = np.array([0.2, 0.7, 0.9, 0.1])
    found = paired.binary(np.ones(4, dtype=bool), s, s[::-1])
    undefined = {name for name, p in found.items() if math.isnan(p.difference)}
    assert undefined == {"roc_auc", "balanced_accuracy", "specificity", "matthews_corrcoef", "false_positive_rate"}
    nobody = paired.binary(np.array([True, False, True, False]), s / 10, s)
    assert math.isnan(nobody["precision"].first)
    assert nobody["precision"].interval() == pytest.approx((math.nan, math.nan), nan_ok=True)
    assert math.isnan(paired.regression(np.ones(4), s, s[::-1])["r2"].difference)
    single = paired.binary(np.array([True, False, False, False]), s, s[::-1])["recall"]
    assert single.interval() == pytest.approx((math.nan, math.nan), nan_ok=True), "one row tells no spread"
    alone = paired.gaps(np.ones(4, dtype=bool), s > 0.5, s > 0.8, np.zeros(4, dtype=np.int64))
    assert all(math.isnan(p.difference) for p in alone.values())


def test_a_class_that_the_model_does_not_know_is_an_error_of_both() -> None:
    scores = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
    found = paired.multiclass(np.array([0, 1, 2]), scores, scores[:, ::-1])
    assert (found["accuracy"].first, found["accuracy"].second) == pytest.approx((2 / 3, 0))
    assert found["log_loss"].first > 10


def test_rows_that_came_three_times_count_once_where_they_are_one_cluster() -> None:
    y, first, second = drawn(np.random.default_rng(10), 200)
    once = paired.binary(y, first, second)
    cluster = np.tile(np.arange(200), 3)
    thrice = paired.binary(*(np.tile(x, 3) for x in (y, first, second)), cluster=cluster)
    for name in ("log_loss", "brier_score"):
        assert thrice[name].interval() == pytest.approx(once[name].interval(), rel=1e-9)
    assert thrice["roc_auc"].deviation == pytest.approx(once["roc_auc"].deviation, rel=0.02)
    assert thrice["average_precision"].deviation == pytest.approx(once["average_precision"].deviation, rel=0.02)
    by_row = paired.binary(*(np.tile(x, 3) for x in (y, first, second)))
    assert by_row["log_loss"].deviation < 0.6 * once["log_loss"].deviation


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 3))
def test_order_of_rows_makes_no_difference_and_order_of_versions_only_the_sign(seed: int, n: int, digits: int) -> None:
    rng = np.random.default_rng(seed)
    y, first, second = drawn(rng, n)
    first, second = np.round(first, digits), np.round(second, digits)
    at = rng.permutation(n)
    there, moved = paired.binary(y, first, second), paired.binary(y[at], first[at], second[at])
    back = paired.binary(y, second, first)
    for name, p in there.items():
        low, high = p.interval()
        assert moved[name].interval() == pytest.approx((low, high), abs=1e-9, nan_ok=True)
        assert back[name].interval() == pytest.approx((-high, -low), abs=1e-9, nan_ok=True)
        assert math.isnan(low) or low <= p.difference <= high


COVERED = {
    "balanced": lambda rng, n=150: drawn(rng, n, 0.5),
    "rare": lambda rng, n=800: drawn(rng, n, 0.05, 1.5),
    "close": lambda rng, n=400: drawn(rng, n, 0.3, 1.0, 0.1, 0.1),
}


def coverage(
    draw: Callable[..., Arrays], measure: Callable[..., dict[str, Paired]], many: int, times: int = 300
) -> dict[str, float]:
    """How often the interval holds the difference of a sample so large that it counts as the truth."""
    rng = np.random.default_rng(11)
    truth = {name: p.difference for name, p in measure(*draw(rng, many)).items()}
    held = dict.fromkeys(truth, 0)
    for _ in range(times):
        for name, p in measure(*draw(rng)).items():
            low, high = p.interval()
            held[name] += low <= truth[name] <= high
    return {name: count / times for name, count in held.items()}


@pytest.mark.parametrize("world", COVERED)
def test_intervals_of_binary_metrics_hold_the_truth_as_often_as_they_say(world: str) -> None:
    found = coverage(COVERED[world], lambda *of: paired.binary(*of, 0.4 if world != "rare" else 0.15), 400_000)
    assert min(found.values()) >= 0.91, found
    whole = ("roc_auc", "average_precision", "log_loss", "brier_score")
    assert max(found[name] for name in whole) <= 0.985, found


def test_intervals_of_the_other_tasks_and_of_gaps_hold_the_truth_as_often_as_they_say() -> None:
    classes = coverage(lambda rng, n=300: drawn_classes(rng, n), paired.multiclass, 200_000)
    numbers = coverage(lambda rng, n=200: drawn_numbers(rng, n), paired.regression, 400_000)
    gaps = coverage(lambda rng, n=800: drawn_groups(rng, n), paired.gaps, 400_000)
    found = classes | numbers | gaps
    assert min(found.values()) >= 0.91, found
    assert max(numbers.values()) <= 0.985, numbers


def test_intervals_of_clusters_hold_the_truth_where_those_of_rows_do_not() -> None:
    def draw(rng: np.random.Generator, n: int = 1000) -> Arrays:
        cluster = np.repeat(np.arange(n // 5), 5)
        of_cluster, of_first = rng.normal(size=(2, n // 5))
        y = rng.random(n) < logistic(of_cluster[cluster] - 1)
        shared = of_cluster[cluster] + 0.5 * rng.normal(size=n)
        first = logistic(shared + 0.6 * of_first[cluster] - 1)
        return y, first, logistic(shared - 1 + 0.3 * rng.normal(size=n)), cluster

    aware = coverage(draw, lambda y, a, b, c: paired.binary(y, a, b, 0.5, c), 200_000)
    blind = coverage(draw, lambda y, a, b, c: paired.binary(y, a, b, 0.5), 200_000)
    assert min(aware.values()) >= 0.91, aware
    assert blind["selection_rate"] < 0.87


def alike(rng: np.random.Generator, n: int = 1000, days: int = 10, much: float = 0.3) -> Arrays:
    """Two versions that are equally good, each of which is off by the same on all rows of a day."""
    day = np.arange(n) * days // n
    off = much * rng.normal(size=(2, days))[:, day]
    y, one, two = drawn(rng, n, 0.2, 1.2, 0.4, 0.4)
    return y, *(logistic(np.log(s / (1 - s)) + o) for s, o in zip((one, two), off, strict=True)), day


def test_days_whose_rows_are_alike_widen_the_interval_as_far_as_is_true() -> None:
    rng = np.random.default_rng(14)
    held = {"selection_rate": [0, 0], "log_loss": [0, 0], "roc_auc": [0, 0]}
    for _ in range(300):
        y, one, two, day = alike(rng)
        by_row, by_day = paired.binary(y, one, two), paired.binary(y, one, two, block=day)
        for name, count in held.items():
            for i, found in enumerate((by_row, by_day)):
                low, high = found[name].interval()
                count[i] += low <= 0 <= high
    assert held["selection_rate"][0] < 0.8 * 300, "rows alone are far too sure"
    assert all(0.92 * 300 <= by_day <= 0.99 * 300 for _, by_day in held.values()), held


def test_days_make_an_interval_never_narrower_and_few_of_them_tell_nothing() -> None:
    rng = np.random.default_rng(15)
    wider = []
    for _ in range(40):
        y, one, two, day = alike(rng, days=28, much=0.0)
        by_row, by_day = paired.binary(y, one, two), paired.binary(y, one, two, block=day)
        wider += [by_day[name].deviation / by_row[name].deviation for name in by_row]
    assert min(wider) >= 1
    assert 1 < np.mean(wider) < 1.1, "rows that are independent cost little"
    y, one, two, day = alike(rng, days=6)
    assert paired.binary(y, one, two, block=day) == paired.binary(y, one, two)


def test_a_better_version_is_seen_to_be_and_an_equal_one_is_not() -> None:
    rng = np.random.default_rng(12)
    better = equal = 0
    for _ in range(100):
        better += paired.binary(*drawn(rng, 2000, 0.1, 1.5, 0.8, 0.2))["roc_auc"].interval()[0] > 0
        equal += paired.binary(*drawn(rng, 2000, 0.1, 1.5, 0.4, 0.4))["roc_auc"].interval()[0] > 0
    assert better >= 95
    assert equal <= 8, "2.5 in 100 by chance"


@pytest.mark.parametrize(("first", "second"), [(0.1, -0.2), (0.0, 0.0), (-0.5, -0.4), (1.0, -1.0)])
def test_the_size_of_a_mean_error_is_held_whichever_its_sign(first: float, second: float) -> None:
    rng = np.random.default_rng(13)
    held = 0
    for _ in range(300):
        shared = rng.normal(size=100)
        one, two = (shared + 0.4 * rng.normal(size=100) + mean for mean in (first, second))
        low, high = paired.regression(np.zeros(100), one, two)["mean_error"].interval_of_sizes()
        held += low <= abs(second) - abs(first) <= high
    assert held >= 0.93 * 300
