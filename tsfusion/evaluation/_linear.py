"""A linear map from the last steps to the next ones, for all series together, in NumPy.

After NLinear: Zeng et al. (2023), "Are Transformers Effective for Time Series Forecasting?",
section 4. Series lie behind one another in one flat array of R steps, with S + 1 offsets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["learn_linear"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

# More windows than this do not change a map of some hundred weights a step.
_MOST_WINDOWS = 20_000
# Ridge penalty, as a share of the mean square of the scaled inputs: it settles flat histories.
_RIDGE = 1e-3
# Origins in one go: bounds the memory of the gathered windows.
_CHUNK = 32_768
# Numbers kept for all origins and steps: 400 MB.
_MOST_IN_TABLE = 50_000_000


def learn_linear(
    filled: _Floats, offsets: _Ints, lags: int, horizon: int
) -> Callable[[_Ints, int], _Floats]:
    """Learn the map, and return what forecasts a step from any origins.

    Parameters
    ----------
    filled : ndarray of shape (R,)
        The values, the last known one in place of each NaN; NaN before the first.
    offsets : ndarray of shape (S + 1,)
        Where each series starts.
    lags : int
        Steps looked at; fewer where the series are too short for a window of so many.
    horizon : int
        Steps learned. A later step gets the forecast of the last one.

    Returns
    -------
    callable
        Origins (N,) and a step to forecasts (N,). Before its first ``lags`` steps, a series counts
        as flat.
    """
    lengths = np.diff(offsets)
    starts = np.repeat(offsets[:-1], lengths)
    ends = np.repeat(offsets[1:], lengths)
    rows = np.arange(len(filled))
    lags = max(min(lags, int(lengths.max()) - horizon), 1)
    scale = _scales(filled, starts)
    # Known from the first lag on, with the whole horizon within the series.
    first = np.maximum(rows - lags + 1, 0)
    fits = (rows - lags + 1 >= starts) & (rows + horizon < ends) & ~np.isnan(filled[first])
    origins = np.flatnonzero(fits)
    if len(origins) > _MOST_WINDOWS:
        origins = origins[np.linspace(0, len(origins) - 1, _MOST_WINDOWS).astype(np.int64)]

    def inputs(at: _Ints) -> _Floats:
        back = np.maximum(at[:, None] - np.arange(lags), starts[at][:, None])
        change = (filled[back] - filled[at][:, None]) / scale[at][:, None]
        return np.where(np.isnan(change), 0.0, change)

    weights = np.zeros((lags, horizon))
    if len(origins):
        x = inputs(origins)
        rows_ahead = origins[:, None] + np.arange(1, horizon + 1)
        y = (filled[rows_ahead] - filled[origins][:, None]) / scale[origins][:, None]
        square = x.T @ x
        penalty = _RIDGE * max(float(np.trace(square)) / lags, 1e-12)
        weights = np.linalg.solve(square + penalty * np.eye(lags), x.T @ y)

    def changes(at: _Ints, weight: _Floats) -> _Floats:
        parts = [at[begin : begin + _CHUNK] for begin in range(0, max(len(at), 1), _CHUNK)]
        return np.concatenate([inputs(part) @ weight for part in parts])

    # Residuals ask for nearly every origin at each step: all steps in one go, where they fit.
    table: list[_Floats] = []

    def forecast(at: _Ints, step: int) -> _Floats:
        place = min(step, horizon) - 1
        if len(at) > _CHUNK and len(filled) * horizon <= _MOST_IN_TABLE:
            if not table:
                table.append(changes(rows, weights))
            change = table[0][at, place]
        else:
            change = changes(at, weights[:, place])
        return filled[at] + scale[at] * change

    return forecast


def _scales(filled: _Floats, starts: _Ints) -> _Floats:
    """Mean absolute change of a step in each row's series, (R,); 1 where there is none."""
    change = np.abs(np.diff(filled, prepend=np.nan))
    change[np.arange(len(filled)) == starts] = np.nan
    known = ~np.isnan(change)
    total = np.bincount(starts, np.where(known, change, 0.0), minlength=len(filled))
    count = np.bincount(starts, known, minlength=len(filled))
    mean = np.divide(total, count, out=np.ones_like(total), where=count > 0)
    return np.where(mean > 0, mean, 1.0)[starts]
