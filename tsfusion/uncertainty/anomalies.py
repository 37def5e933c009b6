"""How strange a value is beside the errors of past forecasts. Relies on NumPy."""

from __future__ import annotations

import numpy as np

from tsfusion.uncertainty.calibration import Calibration
from tsfusion.uncertainty.paths import normal_scores

__all__ = ["conformal_p_values", "strangeness"]


def strangeness(scores: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return how far from the middle of its forecast each truth lay, in normal deviations.

    Parameters
    ----------
    scores : ndarray, shape (..., Q)
        ``y - q`` at the trained levels.
    calibration : Calibration

    Returns
    -------
    ndarray, shape (...)
        At least 0; NaN where a score is.
    """
    return np.abs(normal_scores(scores, calibration.levels))


def conformal_p_values(
    calibration: Calibration, strange: np.ndarray, series: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of past forecasts whose truth lay at least as far out.

    ``(1 + number of past truths as strange or stranger) / (1 + n)``, among n past forecasts as many
    steps ahead: of the series itself where it has enough of them, else of all. If the row is
    exchangeable with them, it is at most ``a`` with probability at most ``a``.

    Parameters
    ----------
    calibration : Calibration
    strange : ndarray, shape (R,)
        Of `strangeness`.
    series : ndarray of int, shape (R,)
        -1 for one not in memory.
    step : ndarray of int, shape (R,)
        Steps ahead, from 1; past the horizon the last step's errors stand in.

    Returns
    -------
    p : ndarray, shape (R,)
        NaN where ``strange`` is.
    n : ndarray of int, shape (R,)
        How many past forecasts each was compared with.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), "Algorithmic Learning in a Random World", section 2.2.
    Laxhammar and Falkman (2014), "Online learning and sequential anomaly detection in
    trajectories", IEEE Transactions on Pattern Analysis and Machine Intelligence 36(6).
    """
    horizon = calibration.horizon
    past = strangeness(calibration.scores, calibration)
    own = np.where(calibration.series >= 0, calibration.group[calibration.series], 0)
    apart = own > 0
    steps = np.arange(horizon)
    # All of them together are group 0; a series with enough has a group of its own beside it.
    key = np.concatenate([np.broadcast_to(steps, past.shape), own[apart, None] * horizon + steps])
    values = np.concatenate([past, past[apart]])
    known = np.isfinite(values)
    key, values = key[known], values[known]
    asked = calibration.group[series] * horizon + np.minimum(step, horizon) - 1
    # One sorted column for all groups: values as ranks, above them the group.
    ranks = np.unique(values)
    size = len(ranks) + 1
    column = np.sort(key * size + np.searchsorted(ranks, values))
    found = np.isfinite(strange)
    rank = np.searchsorted(ranks, np.where(found, strange, 0.0), side="left")
    at_least = np.searchsorted(column, (asked + 1) * size) - np.searchsorted(
        column, asked * size + rank
    )
    n = np.searchsorted(column, (asked + 1) * size) - np.searchsorted(column, asked * size)
    return np.where(found, (1 + at_least) / (1 + n), np.nan), n
