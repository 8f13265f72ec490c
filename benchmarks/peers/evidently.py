"""Evidently's three presets, all days as one batch against the reference: `python -m benchmarks.peers.evidently HOME LAST`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from evidently import BinaryClassification, DataDefinition, Dataset, Report
from evidently.presets import ClassificationPreset, DataDriftPreset, DataSummaryPreset

from benchmarks.peers.files import LABEL, PREDICTION, SCORE, Files


def main() -> None:
    files = Files(Path(sys.argv[1]), sys.argv[2])
    columns = [*files.features, SCORE]
    known = DataDefinition(numerical_columns=[*files.numeric, SCORE], categorical_columns=files.categorical)
    said = len(json.dumps(report([DataDriftPreset(), DataSummaryPreset()], files, columns, known), default=str))
    judged = DataDefinition(
        numerical_columns=[],
        categorical_columns=[LABEL, PREDICTION],
        classification=[
            BinaryClassification(target=LABEL, prediction_labels=PREDICTION, prediction_probas=SCORE, pos_label=1)
        ],
    )
    said += len(json.dumps(report([ClassificationPreset()], files, [SCORE, LABEL], judged), default=str))
    print(f"{said:,} characters of results")


def report(presets: list[object], files: Files, columns: list[str], definition: DataDefinition) -> dict[str, object]:
    """The presets' results as numbers; no page is drawn."""
    if LABEL in columns:
        current = files.labeled([name for name in columns if name != LABEL])
    else:
        current = files.predictions(columns)
    reference = files.reference(columns)
    snapshot = Report(presets).run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    return snapshot.dict()


if __name__ == "__main__":
    main()
