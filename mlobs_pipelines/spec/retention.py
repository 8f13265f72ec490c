"""For how long rows are kept: the tables of which they may be let go, and why not of others."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from mlobs_pipelines.spec.values import DURATION_PATTERN, WholeDays, did_you_mean

LET_GO = ("predictions", "quarantine", "metrics", "explanations", "signals", "causes", "comparisons", "runs")
"""Tables whose rows may be let go of. Of predictions that is all but what tells them apart; of the quarantine the text of
the refused rows."""

_ROWS = "a correction takes back what was believed before"
_COUNTS = "metrics are made from it again"
KEPT = {
    **dict.fromkeys(("labels", "label_facts"), _ROWS),
    **dict.fromkeys(("intake", "segment_values", "feature_profile", "output_profile", "quality_profile"), _COUNTS),
    **dict.fromkeys(("traffic_profile", "shap_profile"), _COUNTS),
    "incidents": "training leaves out the days that they are about",
    "decisions": "the log is a chain",
}
"""Tables that are kept for good, and why."""


def _table(name: str) -> str:
    if name in KEPT:
        raise ValueError(f"{name} is kept for good: {KEPT[name]}; rows can be let go of: {', '.join(LET_GO)}")
    if name not in LET_GO:
        guess = did_you_mean(name, [*LET_GO, *KEPT]) or f"; write one of {', '.join(LET_GO)}"
        raise ValueError(f"{name!r} is no table{guess}")
    return name


Retention = Annotated[
    dict[Annotated[str, AfterValidator(_table)], WholeDays],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {name: {"type": "string", "pattern": DURATION_PATTERN} for name in LET_GO},
            "additionalProperties": False,
        }
    ),
]
"""Table -> for how many days a night's rows are kept, counted back from the model's newest night."""
