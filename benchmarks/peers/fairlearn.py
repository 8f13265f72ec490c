"""fairlearn's metrics of each day, by group of two attributes: `python -m benchmarks.peers.fairlearn HOME LAST`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from fairlearn.metrics import MetricFrame, count, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score

from benchmarks.peers.files import LABEL, PREDICTION, SCORE, TIME, Files

ATTRIBUTES = ["device", "region"]


def main() -> None:
    warnings.simplefilter("ignore")
    rows = Files(Path(sys.argv[1]), sys.argv[2]).labeled([SCORE, TIME, *ATTRIBUTES])
    groups = 0
    for attribute in ATTRIBUTES:
        frame = MetricFrame(
            metrics={
                "accuracy": accuracy_score,
                "selection_rate": selection_rate,
                "true_positive_rate": true_positive_rate,
                "false_positive_rate": false_positive_rate,
                "count": count,
            },
            y_true=rows[LABEL],
            y_pred=rows[PREDICTION],
            sensitive_features=rows[attribute].astype(str),
            control_features=rows[TIME].dt.strftime("%Y-%m-%d").rename("day"),
        )
        frame.difference()
        frame.ratio()
        groups += len(frame.by_group)
    print(f"{groups} groups and days")


if __name__ == "__main__":
    main()
