"""Whether a probability means what it says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlobs_pipelines.statistics.intervals import Estimate, estimate, mean, proportion, share


def expected_calibration_error(rows: npt.ArrayLike, positives: npt.ArrayLike, score: npt.ArrayLike) -> Estimate:
    """The mean distance between score and outcome over bins of the score, each weighted by its rows.

    sum_b |positives_b - score_b| / n (Naeini et al. 2015; Guo et al. 2017). It is biased upward in small samples
    and has no interval that covers at every truth, so none is given.

    Args:
        rows, positives: counts per bin, shape (..., bins).
        score: sums of the score per bin, same shape.

    >>> float(expected_calibration_error([10, 10], [1, 8], [2.0, 7.5]).value)
    0.075
    """
    gap = np.abs(np.asarray(positives, dtype=np.float64) - np.asarray(score, dtype=np.float64))
    return estimate(share(gap.sum(axis=-1), np.asarray(rows).sum(axis=-1)))


def calibration_error(
    rows: npt.ArrayLike, positives: npt.ArrayLike, score: npt.ArrayLike, squared: npt.ArrayLike
) -> Estimate:
    """Mean score minus base rate, with its normal interval; > 0 is over-prediction.

    Args:
        rows, positives: counts.
        score: sum of the scores of the same rows.
        squared: sum of (score - outcome)^2, n times the Brier score.

    >>> e = calibration_error([100], [30], [35.0], [18.0])
    >>> [round(float(x[0]), 4) for x in e[:3]]
    [0.05, -0.033, 0.133]
    """
    return mean(np.asarray(score) - np.asarray(positives), squared, rows)


def reliability(rows: npt.ArrayLike, positives: npt.ArrayLike) -> Estimate:
    """The base rate within a bin of the score, with its Wilson interval."""
    return proportion(positives, rows)
