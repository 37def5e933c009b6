"""The loss of naive forecasts, in the units of a network's validation loss. Relies on NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, ahead, targets

__all__ = ["naive_losses"]

_MOST_WINDOWS = 1024


def naive_losses(
    panel: Panel, training: WindowIndex, validation: WindowIndex, *, levels: Sequence[float],
    season: int, context_length: int, horizon: int, stop: np.ndarray,
) -> dict[str, float]:  # fmt: skip
    """Return the quantile loss that naive forecasts have where a network was validated.

    Their quantiles are those of their own errors in the training windows, for each step ahead: a
    naive forecast is as uncertain as it was wrong, so that a network which merely says how
    uncertain it is does not look skilful.

    Parameters
    ----------
    panel : Panel
    training, validation : WindowIndex
        Of each, at most 1024 windows count, evenly spread: of validation, those of
        `tsfusion.training.fit.train`.
    levels : sequence of float, shape (Q,)
    season : int
        Steps in a season; 1 where there is none.
    context_length, horizon : int
    stop : ndarray of int, shape (S,)
        The row of each series from which on a target is hidden from training.

    Returns
    -------
    dict of float
        The mean of `tsfusion.models.losses.PinballLoss`, weighted by row: of "last value",
        and of "seasonal naive" and "mean of the last season", or, without a season that the window
        holds, "mean of the window". Empty where nothing can be compared.

    References
    ----------
    Hyndman and Athanasopoulos (2021), "Forecasting: Principles and Practice", 3rd ed., section 5.2.
    """
    training = training.thinned(min(len(training), _MOST_WINDOWS))
    if len(training) == 0 or len(validation) == 0:
        return {}
    shape = {"season": season, "context_length": context_length, "horizon": horizon}
    y, weight = targets(panel, training, horizon=horizon, stop=stop)
    y = np.where(weight > 0, y, np.nan)
    truth, counted = targets(panel, validation, horizon=horizon)
    past = _naive(panel, training, **shape)
    losses = {}
    for name, point in _naive(panel, validation, **shape).items():
        spread = _quantiles(y - past[name], levels)
        error = truth[..., None] - (point[..., None] + spread)
        at = np.asarray(levels)
        loss = 2 * np.maximum(at * error, (at - 1) * error).mean(axis=-1)
        both = counted * np.isfinite(loss)
        if not both.any():
            return {}
        losses[name] = float(np.sum(np.where(both > 0, loss, 0) * both) / both.sum())
    return losses


def _naive(
    panel: Panel, windows: WindowIndex, *, season: int, context_length: int, horizon: int
) -> dict[str, np.ndarray]:
    """Return forecasts (B, H), NaN where a window knows no target."""
    start = WindowIndex(windows.origin - context_length, windows.series)
    past = ahead(np.ascontiguousarray(panel.real[:, 0]), panel, start, context_length)
    last = np.repeat(_last_known(past)[:, -1:], horizon, axis=1)
    if not 1 < season <= context_length:
        count = np.isfinite(past).sum(axis=1, keepdims=True)
        total = np.nansum(past, axis=1, keepdims=True)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return {"last value": last, "mean of the window": np.repeat(mean, horizon, axis=1)}
    seasons = past[:, context_length % season :].reshape(len(past), -1, season)
    same = _last_known(seasons.swapaxes(1, 2))[..., -1]
    same = np.where(np.isnan(same), last[:, :1], same)
    mean = np.repeat(same.mean(axis=1, keepdims=True), horizon, axis=1)
    return {
        "last value": last,
        "seasonal naive": same[:, np.arange(horizon) % season],
        "mean of the last season": mean,
    }


def _last_known(values: np.ndarray) -> np.ndarray:
    """Return ``values`` with each NaN replaced by the last number before it on the last axis."""
    place = np.where(np.isfinite(values), np.arange(values.shape[-1]), 0)
    place = np.maximum.accumulate(place, axis=-1)
    return np.take_along_axis(values, place, axis=-1)


def _quantiles(errors: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return (H, Q) the quantiles of errors (B, H); of all steps where one has none."""
    known = np.isfinite(errors)
    if not known.any():
        return np.zeros((errors.shape[1], len(levels)))
    pooled = np.quantile(errors[known], levels)
    empty = ~known.any(axis=0)
    filled = np.where(empty, 0.0, errors)
    return np.where(empty[:, None], pooled, np.nanquantile(filled, levels, axis=0).T)
