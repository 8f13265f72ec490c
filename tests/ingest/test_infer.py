from __future__ import annotations

import pytest

from mlobs_pipelines.ingest.infer import infer_spec
from mlobs_pipelines.ingest.sources import IngestError

T = "2024-01-01T00:00:00"


def test_a_binary_model_is_guessed(world):
    p = world.put(
        "fraud.parquet",
        [
            {
                "customer_id": "c",
                "prediction_id": f"p{i}",
                "event_time": T,
                "amount": i,
                "fraud_score": i / 9,
                "model_version": "1",
                "decision": i % 2,
            }
            for i in range(9)
        ],
    )
    labels = world.put(
        "l.csv", "prediction_id,is_fraud,reported_at\n" + "".join(f"p{i},{i % 2},{T}\n" for i in range(9))
    )
    spec = infer_spec(p, labels)
    got = spec.predictions
    assert (spec.model, spec.task, spec.positive_class) == ("fraud", "binary", "1")
    assert (got.id, got.time, got.score, got.version, got.prediction) == (
        "prediction_id",
        "event_time",
        "fraud_score",
        "model_version",
        "decision",
    )
    assert (spec.labels.id, spec.labels.value, spec.labels.available_at) == ("prediction_id", "is_fraud", "reported_at")
    world.run(spec, "2024-01-01")


def test_the_id_that_labels_share_is_the_id_and_words_name_the_positive_class(world):
    p = world.put("p.csv", "id,order_id,ts,probability\n" + "".join(f"{i},o{i},{T},0.{i}\n" for i in range(1, 9)))
    labels = world.put(
        "l.csv", "order_id,churned,known_at\n" + "".join(f"o{i},{'yes' if i % 2 else 'no'},{T}\n" for i in range(1, 9))
    )
    spec = infer_spec(p, labels)
    assert (spec.predictions.id, spec.labels.id, spec.labels.value, spec.positive_class) == (
        "order_id",
        "order_id",
        "churned",
        "yes",
    )


def test_a_multiclass_model_is_guessed_by_its_scores(world):
    p = world.put(
        "p.jsonl", "".join(f'{{"id":"i{i}","time":"{T}","p_cat":0.5,"p_dog":0.3,"p_cow":0.2}}\n' for i in range(9))
    )
    labels = world.put(
        "l.csv", "id,label,at\n" + "".join(f"i{i},{('cat', 'dog', 'cow')[i % 3]},{T}\n" for i in range(9))
    )
    spec = infer_spec(p, labels)
    assert (spec.task, spec.predictions.scores) == ("multiclass", {"cat": "p_cat", "cow": "p_cow", "dog": "p_dog"})


def test_a_regression_is_guessed_by_labels_without_end(world):
    p = world.put("p.csv", "id,time,prediction\n" + "".join(f"{i},{T},{i * 1.5}\n" for i in range(90)))
    labels = world.put("l.csv", "id,target,at\n" + "".join(f"{i},{i * 1.7},{T}\n" for i in range(90)))
    spec = infer_spec(p, labels)
    assert (spec.task, spec.predictions.prediction) == ("regression", "prediction")


def test_without_labels_a_score_makes_it_binary(world):
    spec = infer_spec(world.put("p.csv", "id,time,score\n" + "".join(f"{i},{T},0.{i}\n" for i in range(9))))
    assert (spec.task, spec.labels) == ("binary", None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n", "predictions: no column looks like the id; there are 'a', 'b'"),
        ("id,b\n1,2\n", "predictions: no column looks like the time"),
        (f"id,time,b\n1,{T},2\n", "no column of the predictions looks like a score between 0 and 1"),
        ("", "is empty"),
    ],
)
def test_what_can_not_be_guessed_is_said_in_one_line(world, text, line):
    with pytest.raises(IngestError, match=line):
        infer_spec(world.put("p.csv", text))
    with pytest.raises(IngestError, match="is not there"):
        infer_spec(world.home.root / "gone.csv")
