"""NannyML's univariate drift, estimated and realized performance, by day: `python -m benchmarks.peers.nannyml HOME LAST`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import nannyml

from benchmarks.peers.files import LABEL, PREDICTION, SCORE, TIME, Files, decided

METRICS = ["roc_auc", "f1", "accuracy"]
BY_DAY = {"timestamp_column_name": TIME, "chunk_period": "D"}
ROLES = {
    "y_pred_proba": SCORE,
    "y_pred": PREDICTION,
    "y_true": LABEL,
    "problem_type": "classification_binary",
    "metrics": METRICS,
}


def main() -> None:
    warnings.simplefilter("ignore")
    files = Files(Path(sys.argv[1]), sys.argv[2])
    columns = [*files.features, SCORE]
    reference = files.reference([*columns, TIME, LABEL])
    drift = nannyml.UnivariateDriftCalculator(column_names=columns, **BY_DAY).fit(reference)
    found = [drift.calculate(files.predictions([*columns, TIME])).to_df()]
    estimator = nannyml.CBPE(**ROLES, **BY_DAY).fit(reference)
    found.append(estimator.estimate(decided(files.predictions([SCORE, TIME]))).to_df())
    realized = nannyml.PerformanceCalculator(**ROLES, **BY_DAY).fit(reference)
    found.append(realized.calculate(files.labeled([SCORE, TIME])).to_df())
    print(", ".join(f"{len(frame)} x {len(frame.columns)}" for frame in found))


if __name__ == "__main__":
    main()
