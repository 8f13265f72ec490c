"""whylogs' profile of each day and its drift scores against the reference: `python -m benchmarks.peers.whylogs HOME LAST`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

from benchmarks.peers.files import SCORE, TIME, Files


def main() -> None:
    warnings.simplefilter("ignore")
    files = Files(Path(sys.argv[1]), sys.argv[2])
    columns = [*files.features, SCORE]
    reference = whylogs.log(pandas=files.reference(columns)).view()
    rows = files.predictions([*columns, TIME])
    scores = 0
    for _, day in rows.groupby(rows[TIME].dt.date):
        profile = whylogs.log(pandas=day[columns]).view()
        scores += len(calculate_drift_scores(target_view=profile, reference_view=reference, with_thresholds=True))
    print(f"{scores} drift scores")


if __name__ == "__main__":
    main()
