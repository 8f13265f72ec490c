"""The language as it is promised: its two examples, word for word."""

from __future__ import annotations

import datetime as dt

from mlobs_pipelines.spec import parse_spec

SHORTEST = """\
model: card_fraud
task: binary                      # binary | multiclass | regression
predictions:
  source: data/predictions/*.parquet   # file, glob or folder of parquet, csv, jsonl; or a table
  id: prediction_id
  time: event_time
  score: fraud_score              # multiclass: scores: {class: column}; regression: prediction: column
labels:
  source: data/labels/*.parquet
  id: prediction_id
  value: is_fraud
  available_at: reported_at       # when we learned it
"""

REST = """\
owner: payments-ml@example.com
timezone: UTC
schedule: "0 2 * * *"
predictions:
  format: standard                # or a logged-payload format that an ingest reader knows
  arrived_at: logged_at           # default: the event time
  version: model_version          # default: one version, "1"
  role: role                      # production | shadow | canary | … ; default production
  prediction: decision            # the acted-on class, where it is logged
  latency_ms: latency_ms
  status: status_code
  subject: customer_id            # whom the row is about: for erasure requests
  drop: [card_number]             # never stored
  hash: [customer_id]             # stored only as a keyed hash
labels:
  mode: explicit                  # or positives_only: silence until maturity means negative
  maturity: 45d                   # after which a missing label is final
features:
  numeric: [...]                  # default: every other column, by its type
  categorical: [...]
  embedding: [...]                # fixed-size float lists
  ranges: {amount: [0, null]}     # hard limits: outside is a data-quality fault
reference:
  source: data/training.parquet   # the same columns; its labels under the name of labels.value.
                                  # default: what MLflow has for the version, else the first 28 days that arrived;
                                  # until those are in, drift is insufficient_data and all else works
positive_class: 1
threshold: 0.5                    # operating point(s)
segments: [country, device, [country, device]]
fairness:
  attributes: [sex, race]
  reference_groups: {sex: M}      # default: the largest group
  favorable_outcome: 0
monitors:                         # overrides of the defaults, by metric, subject or segment
  false_alarms_per_month: 1
  windows: [1d, 7d, 28d]
policy:
  retrain:
    entrypoint: my_models.card_fraud:train
    mode: approve                 # off | approve | auto
    cooldown: 7d
  promote:
    mode: approve
    metric: roc_auc
    non_inferiority_margin: 0.005
    alpha: 0.05
registry:
  name: card_fraud                # default: the model's name
  tracking_uri: ${MLFLOW_TRACKING_URI}
alerts:
  - to: ${SLACK_URL}              # any channel URL that the notification library knows
    severity: critical
"""


def whole_language() -> str:
    """The rest merged into the shortest, part by part, as its text shows them."""
    parts: dict[str, list[str]] = {}
    for text in (SHORTEST, REST):
        name = ""
        for line in text.splitlines():
            if line and not line[0].isspace():
                name = line.split(":")[0]
                if name in parts:
                    continue
            parts.setdefault(name, []).append(line)
    return "\n".join(line for lines in parts.values() for line in lines)


def test_the_shortest_example_is_a_spec() -> None:
    spec = parse_spec(SHORTEST, file="card_fraud.yaml", environment={})
    assert (spec.model, spec.task, spec.timezone, spec.schedule) == ("card_fraud", "binary", "UTC", "0 2 * * *")
    assert spec.predictions.source == "data/predictions/*.parquet"
    assert spec.labels is not None
    assert spec.labels.available_at == "reported_at"
    assert spec.features.inferred
    assert spec.positive_class == "1"
    assert spec.threshold == [0.5]
    assert spec.monitors.window_days == (1, 7, 28)
    assert spec.reference is None
    assert spec.maturity_days == 0


def test_the_rest_of_the_language_is_understood() -> None:
    text = whole_language().replace("[...] ", "[a]   ", 1).replace("[...]\n", "[b]\n", 1).replace("[...]", "[c]")
    text = text.replace("{amount:", "{a:")  # the example's own lists are only hinted at
    spec = parse_spec(
        text, file="card_fraud.yaml", environment={"MLFLOW_TRACKING_URI": "http://m", "SLACK_URL": "s://x"}
    )
    assert spec.owner == "payments-ml@example.com"
    assert spec.predictions.drop == ["card_number"]
    assert spec.predictions.hash == ["customer_id"] == [spec.predictions.subject]
    assert spec.labels is not None
    assert spec.labels.maturity == dt.timedelta(days=45)
    assert spec.maturity_days == 45
    assert spec.features.ranges == {"a": (0.0, None)}
    assert spec.reference is not None
    assert spec.reference.source == "data/training.parquet"
    assert (spec.positive_class, spec.threshold) == ("1", [0.5])
    assert spec.segments == [["country"], ["device"], ["country", "device"]]
    assert spec.segment_fields == (("country",), ("device",), ("country", "device"), ("sex",), ("race",))
    assert spec.fairness.reference_groups == {"sex": "M"}
    assert spec.fairness.favorable_outcome == "0"
    assert spec.monitors.false_alarms_per_month == 1
    assert spec.policy.retrain.entrypoint == "my_models.card_fraud:train"
    assert spec.policy.retrain.cooldown == dt.timedelta(days=7)
    assert (spec.policy.promote.metric, spec.policy.promote.non_inferiority_margin) == ("roc_auc", 0.005)
    assert spec.registry.tracking_uri == "http://m"
    assert [(a.to, a.severity) for a in spec.alerts] == [("s://x", "critical")]
