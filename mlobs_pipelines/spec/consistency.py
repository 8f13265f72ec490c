"""What one key of a spec demands of another, as a list of (key path, what is wrong): not the first alone.

Columns are compared without regard to upper and lower case, as the engines compare them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from mlobs_pipelines.spec.values import did_you_mean

if TYPE_CHECKING:
    from mlobs_pipelines.spec.model import ModelSpec

Path = tuple[str | int, ...]
Found = tuple[Path, str]

MOST = 100
"""Contradictions of one spec that are told; a file that has more is not looked through to its end."""

_OUTPUTS = {"binary": "score", "multiclass": "scores", "regression": "prediction"}
_PAIRS = {"1": ("1", "0"), "0": ("0", "1"), "true": ("true", "false"), "false": ("false", "true")}


def inconsistencies(spec: ModelSpec) -> list[Found]:
    """Places where keys of a spec, each right by itself, contradict each other."""
    rules = (_outputs, _labels, _features, _ranges, _segments, _fairness, _drop_and_hash, _monitors, _policy)
    return list(islice(chain.from_iterable(rule(spec) for rule in rules), MOST))


def _outputs(spec: ModelSpec) -> Iterator[Found]:
    p = spec.predictions
    needed = _OUTPUTS[spec.task]
    if not getattr(p, needed):
        yield ("predictions", needed), f"is missing: task {spec.task} needs it"
    for task, key in (("binary", "score"), ("multiclass", "scores")):
        if task != spec.task and getattr(p, key) is not None:
            yield ("predictions", key), f"is for task {task} only; task {spec.task} takes predictions.{needed}"
    if spec.task == "multiclass" and p.scores:
        if len(p.scores) < 2:
            yield ("predictions", "scores"), "names 1 class; a multiclass model has 2 or more"
        yield from _once((("predictions", "scores", name), column) for name, column in p.scores.items())
    if spec.task != "binary":
        for name in ("positive_class", "threshold"):
            if name in spec.model_fields_set:
                yield (name,), f"is for task binary only; the task is {spec.task}"
    if p.id.lower() == p.time.lower():
        yield ("predictions", "time"), f"{p.time!r} is predictions.id already"


def _labels(spec: ModelSpec) -> Iterator[Found]:
    labels = spec.labels
    if labels is None:
        return
    yield from _once((("labels", key), getattr(labels, key)) for key in ("id", "value", "available_at"))
    if labels.mode == "positives_only":
        if spec.task != "binary":
            yield ("labels", "mode"), f"positives_only is for task binary only; the task is {spec.task}"
        if not labels.maturity:
            yield (
                ("labels", "maturity"),
                "must be above 0 where mode is positives_only: silence until then is a negative",
            )


def _listed(spec: ModelSpec) -> list[tuple[Path, str]]:
    """Every feature that is listed, with its place."""
    lists = (
        ("numeric", spec.features.numeric),
        ("categorical", spec.features.categorical),
        ("embedding", spec.features.embedding),
    )
    return [(("features", kind, i), name) for kind, names in lists for i, name in enumerate(names or ())]


def _features(spec: ModelSpec) -> Iterator[Found]:
    yield from _once(_listed(spec))
    p = spec.predictions
    taken = {p.id: "predictions.id", p.time: "predictions.time"} | {column: key for key, column in _scores(spec)}
    if spec.labels:
        taken[spec.labels.value] = "labels.value"
    folded = {column.lower(): key for column, key in taken.items()}
    for path, name in _listed(spec):
        if name.lower() in folded:
            yield path, f"{name!r} is {folded[name.lower()]} and so can't be a feature"


def _ranges(spec: ModelSpec) -> Iterator[Found]:
    features = spec.features
    numeric = None if features.numeric is None else set(features.numeric)
    others = {*(features.categorical or ()), *features.embedding}
    for name, (low, high) in features.ranges.items():
        path = ("features", "ranges", name)
        if numeric is not None and name not in numeric:
            kind = "is not numeric" if name in others else "is no numeric feature"
            yield path, f"{name!r} {kind}; only numeric features have a range{did_you_mean(name, numeric)}"
        elif name in others:
            yield path, f"{name!r} is not numeric; only numeric features have a range"
        if low is None and high is None:
            yield path, "limits nothing; give a low or a high limit"
        if low is not None and high is not None and low > high:
            yield path, f"runs backwards: {low:g} is above {high:g}"


def _segments(spec: ModelSpec) -> Iterator[Found]:
    seen: dict[frozenset[str], str] = {}
    embedding = {name.lower() for name in spec.features.embedding}
    for i, cut in enumerate(spec.segments):
        yield from _once((("segments", i, j), name) for j, name in enumerate(cut))
        key = frozenset(name.lower() for name in cut)
        if key in seen:
            yield ("segments", i), f"{' & '.join(map(repr, cut))} is given twice, first in {seen[key]}"
        seen.setdefault(key, f"segments[{i}]")
        for j, name in enumerate(cut):
            if name.lower() in embedding:
                yield ("segments", i, j), f"{name!r} is an embedding and so can't be a segment"


def _fairness(spec: ModelSpec) -> Iterator[Found]:
    fairness = spec.fairness
    yield from _once((("fairness", "attributes", i), name) for i, name in enumerate(fairness.attributes))
    embedding = {name.lower() for name in spec.features.embedding}
    for i, name in enumerate(fairness.attributes):
        if name.lower() in embedding:
            yield ("fairness", "attributes", i), f"{name!r} is an embedding and so can't be an attribute"
    attributes = set(fairness.attributes)
    for name in fairness.reference_groups:
        if name not in attributes:
            guess = did_you_mean(name, attributes)
            yield ("fairness", "reference_groups", name), f"{name!r} is not in fairness.attributes{guess}"
    if "favorable_outcome" not in fairness.model_fields_set:
        return
    classes = spec.classes if spec.task == "multiclass" else _PAIRS.get(spec.positive_class, ())
    outcome = fairness.favorable_outcome
    if spec.task != "regression" and classes and outcome not in classes:
        known = ", ".join(map(repr, classes))
        yield (
            ("fairness", "favorable_outcome"),
            f"{outcome!r} is none of the classes {known}{did_you_mean(outcome, classes)}",
        )


def _drop_and_hash(spec: ModelSpec) -> Iterator[Found]:
    p = spec.predictions
    for key in ("drop", "hash"):
        yield from _once((("predictions", key, i), name) for i, name in enumerate(getattr(p, key)))
    values = dict(_values(spec))
    used = values | dict(_names(spec))
    hashed = {name.lower() for name in p.hash}
    for i, name in enumerate(p.drop):
        if name.lower() in used:
            yield ("predictions", "drop", i), f"{name!r} is {used[name.lower()]} and so can't be dropped"
        if name.lower() in hashed:
            yield ("predictions", "drop", i), f"{name!r} is in predictions.hash too; keep one"
    for i, name in enumerate(p.hash):
        if name.lower() in values:
            yield (
                ("predictions", "hash", i),
                f"{name!r} is {values[name.lower()]}, whose values are needed, and so can't be hashed",
            )


def _scores(spec: ModelSpec) -> list[tuple[str, str]]:
    """The columns whose values are the model's output, as (key, column)."""
    p = spec.predictions
    found = [("predictions.score", p.score)] if p.score else []
    found += [(f"predictions.scores.{name}", column) for name, column in (p.scores or {}).items()]
    if spec.task == "regression" and p.prediction:
        found.append(("predictions.prediction", p.prediction))
    return found


def _values(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Folded columns whose very values are read, as numbers, times or names of versions, and where."""
    p, features = spec.predictions, spec.features
    for key in ("time", "arrived_at", "version", "role", "latency_ms", "status"):
        if getattr(p, key) is not None:
            yield getattr(p, key).lower(), f"predictions.{key}"
    yield from ((column.lower(), key) for key, column in _scores(spec))
    yield from ((name.lower(), "a numeric feature") for name in (*(features.numeric or ()), *features.ranges))
    yield from ((name.lower(), "an embedding") for name in features.embedding)


def _names(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Folded columns of which it is enough to know which values are the same, and where."""
    p = spec.predictions
    yield p.id.lower(), "predictions.id"
    for key in ("subject", "prediction"):
        if getattr(p, key) is not None:
            yield getattr(p, key).lower(), f"predictions.{key}"
    yield from ((name.lower(), "a categorical feature") for name in spec.features.categorical or ())
    yield from ((name.lower(), "a segment") for cut in spec.segments for name in cut)
    yield from ((name.lower(), "a fairness attribute") for name in spec.fairness.attributes)


def _monitors(spec: ModelSpec) -> Iterator[Found]:
    seen: dict[int, int] = {}
    for i, window in enumerate(spec.monitors.windows):
        if window.days in seen:
            yield ("monitors", "windows", i), f"{window.days}d is given twice"
        seen[window.days] = i
    places: dict[tuple[str | None, ...], int] = {}
    for i, override in enumerate(spec.monitors.overrides):
        path = ("monitors", "overrides", i)
        if override.warn is None and override.alert is None:
            yield path, "changes nothing; give warn or alert"
        key = (override.metric, override.subject, override.segment)
        if key in places:
            yield path, f"is for the same metric, subject and segment as monitors.overrides[{places[key]}]"
        places.setdefault(key, i)


def _policy(spec: ModelSpec) -> Iterator[Found]:
    if spec.policy.retrain.mode == "auto" and spec.policy.retrain.entrypoint is None:
        yield ("policy", "retrain", "entrypoint"), "is missing: mode auto needs a package.module:function that trains"


def _once(places: Iterable[tuple[Path, str]]) -> Iterator[Found]:
    """Columns that are named a second time, or again with other upper and lower case."""
    seen: dict[str, tuple[Path, str]] = {}
    for path, name in places:
        first = seen.setdefault(name.lower(), (path, name))
        if first[0] == path:
            continue
        where = ".".join(str(part) for part in first[0] if isinstance(part, str))
        if first[1] == name:
            yield path, f"{name!r} is given twice, first in {where}"
        else:
            yield path, f"{name!r} differs from {first[1]!r} in {where} by upper and lower case only"
