"""Scores of point, quantile and interval forecasts: pure functions on NumPy arrays.

One rule for gaps: steps whose target is NaN are left out, a forecast that is NaN where the target
is known is an error (a missing forecast must not better a score), and a score that nothing defines
(no known target, a scale of zero) is NaN.
"""

from __future__ import annotations

import numbers

import numpy as np
import numpy.typing as npt

__all__ = [
    "coverage",
    "interval_width",
    "mae",
    "mase",
    "pinball_loss",
    "rmse",
    "skill",
    "weighted_quantile_loss",
    "winkler_score",
]

_Floats = npt.NDArray[np.float64]


def mae(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, weights: npt.ArrayLike | None = None
) -> float:
    """Mean absolute error: ``mean(|y - f|)``.

    Parameters
    ----------
    y_true, y_pred : array-like of equal shape
        Targets, NaN where unknown, and point forecasts.
    weights : array-like of the same shape, optional
        Weights of the mean, not negative.

    Returns
    -------
    float

    Examples
    --------
    >>> mae([1.0, 2.0, float("nan")], [2.0, 4.0, 9.0])
    1.5
    """
    y, forecast = _matched(y_true, y_pred=y_pred)
    return _mean(np.abs(y - forecast), ~np.isnan(y), weights)


def rmse(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, weights: npt.ArrayLike | None = None
) -> float:
    """Root mean squared error: ``sqrt(mean((y - f)^2))``.

    Parameters
    ----------
    y_true, y_pred : array-like of equal shape
        Targets, NaN where unknown, and point forecasts.
    weights : array-like of the same shape, optional
        Weights of the mean, not negative.

    Returns
    -------
    float

    Examples
    --------
    >>> rmse([1.0, 1.0], [4.0, -2.0])
    3.0
    """
    y, forecast = _matched(y_true, y_pred=y_pred)
    return float(np.sqrt(_mean((y - forecast) ** 2, ~np.isnan(y), weights)))


def mase(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    history: npt.ArrayLike,
    season_length: int = 1,
) -> float:
    """Mean absolute scaled error: ``mean(|y - f|) / mean(|x[t] - x[t - m]|)``.

    The denominator is the error of the seasonal naive forecast on the history ``x``, with ``m``
    the season length (Hyndman and Koehler, 2006). Over several series, the mean of their MASE.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (H,) or (S, H)
        Targets, NaN where unknown, and point forecasts. A series without a known target is left
        out.
    history : array-like of shape (T,) or (S, T)
        Known past of each series; NaN where unknown, before a late start for instance.
    season_length : int
        ``m``, at least 1.

    Returns
    -------
    float
        NaN where the history of a series gives no scale: no two known values a season apart, or
        all of them equal.

    References
    ----------
    Hyndman, R. J. and Koehler, A. B. (2006). Another look at measures of forecast accuracy.
    *International Journal of Forecasting*, 22(4).

    Examples
    --------
    >>> mase([5.0, 6.0], [4.0, 4.0], history=[1.0, 2.0, 3.0, 4.0])
    1.5
    """
    y, forecast = _matched(y_true, y_pred=y_pred)
    past = _array("history", history)
    if y.ndim not in (1, 2) or past.ndim != y.ndim or past.shape[:-1] != y.shape[:-1]:
        raise ValueError(
            "history: expected shape (T,) for targets (H,), or (S, T) for targets (S, H), "
            f"got {past.shape} for {y.shape}."
        )
    if isinstance(season_length, bool) or not isinstance(season_length, numbers.Integral):
        raise TypeError(f"season_length: expected a whole number, got {season_length!r}.")
    if season_length < 1:
        raise ValueError(f"season_length: expected at least 1, got {season_length}.")
    season = int(season_length)
    scale = _nanmean(np.abs(past[..., season:] - past[..., :-season]))
    error = _nanmean(np.abs(y - forecast))
    scaled = np.divide(error, scale, out=np.full_like(error, np.nan), where=scale > 0)
    return _mean(scaled, ~np.isnan(error), None)


def pinball_loss(
    y_true: npt.ArrayLike,
    q_forecast: npt.ArrayLike,
    level: float,
    *,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Mean pinball loss: ``mean(max(p (y - q), (p - 1) (y - q)))``.

    As in scikit-learn and utilsforecast, without the factor 2 of GluonTS and fev: at ``p = 0.5``
    it is half the mean absolute error.

    Parameters
    ----------
    y_true, q_forecast : array-like of equal shape
        Targets, NaN where unknown, and forecasts of their quantile.
    level : float
        ``p``, between 0 and 1.
    weights : array-like of the same shape, optional
        Weights of the mean, not negative.

    Returns
    -------
    float

    Examples
    --------
    >>> pinball_loss([10.0, 10.0], [8.0, 11.0], 0.75)
    0.875
    """
    y, forecast = _matched(y_true, q_forecast=q_forecast)
    return _mean(_pinball(y, forecast, _checked_level("level", level)), ~np.isnan(y), weights)


def weighted_quantile_loss(
    y_true: npt.ArrayLike,
    q_forecasts: npt.ArrayLike,
    levels: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Weighted quantile loss (WQL): ``mean over p of 2 sum(pinball_p) / sum(|y|)``.

    The convention of GluonTS (``mean_weighted_sum_quantile_loss``) and fev (``WQL``): with the
    factor 2, sums over all series and steps before the division, then the mean over the levels.

    Parameters
    ----------
    y_true : array-like of shape (...)
        Targets, NaN where unknown.
    q_forecasts : array-like of shape (..., Q)
        Quantile forecasts, one for each level on the last axis.
    levels : array-like of shape (Q,)
        Quantile levels, between 0 and 1.
    weights : array-like of shape (...), optional
        Weights of both sums, not negative.

    Returns
    -------
    float
        NaN where all known targets are zero.

    Examples
    --------
    >>> weighted_quantile_loss([10.0, 30.0], [[8.0, 12.0], [30.0, 34.0]], [0.25, 0.75])
    0.05
    """
    p = np.atleast_1d(_array("levels", levels))
    if p.ndim != 1 or not p.size:
        raise ValueError(f"levels: expected a list of quantile levels, got shape {p.shape}.")
    for level in p:
        _checked_level("levels", float(level))
    y, forecasts = _array("y_true", y_true), _array("q_forecasts", q_forecasts)
    if forecasts.shape != (*y.shape, p.size):
        raise ValueError(
            f"q_forecasts: expected shape {(*y.shape, p.size)} (targets, then {p.size} levels), "
            f"got {forecasts.shape}."
        )
    _check_values(y, q_forecasts=forecasts)
    known = ~np.isnan(y)
    loss = np.mean(_pinball(y[..., None], forecasts, p), axis=-1)
    mean_size = _mean(np.abs(y), known, weights)
    return 2 * _mean(loss, known, weights) / mean_size if mean_size > 0 else float("nan")


def coverage(
    y_true: npt.ArrayLike,
    lower: npt.ArrayLike,
    upper: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Share of targets inside their interval: ``mean(lower <= y <= upper)``.

    Parameters
    ----------
    y_true, lower, upper : array-like of equal shape
        Targets, NaN where unknown, and interval bounds; bounds may be infinite.
    weights : array-like of the same shape, optional
        Weights of the mean, not negative.

    Returns
    -------
    float

    Examples
    --------
    >>> coverage([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0])
    0.75
    """
    y, low, high = _interval(y_true, lower, upper)
    return _mean(((y >= low) & (y <= high)).astype(np.float64), ~np.isnan(y), weights)


def interval_width(
    lower: npt.ArrayLike, upper: npt.ArrayLike, *, weights: npt.ArrayLike | None = None
) -> float:
    """Mean width of intervals: ``mean(upper - lower)``.

    Parameters
    ----------
    lower, upper : array-like of equal shape
        Interval bounds.
    weights : array-like of the same shape, optional
        Weights of the mean, not negative.

    Returns
    -------
    float

    Examples
    --------
    >>> interval_width([0.0, 1.0], [1.0, 4.0])
    2.0
    """
    _, low, high = _interval(np.zeros(np.shape(lower)), lower, upper)
    return _mean(high - low, np.ones(low.shape, bool), weights)


def winkler_score(
    y_true: npt.ArrayLike,
    lower: npt.ArrayLike,
    upper: npt.ArrayLike,
    nominal: float,
    *,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Mean Winkler (interval) score: width plus ``2 / a`` times the distance of a miss.

    ``mean(u - l + 2/a max(l - y, 0) + 2/a max(y - u, 0))``, with ``a = 1 - nominal`` (Gneiting
    and Raftery, 2007, equation 43). Lower is better.

    Parameters
    ----------
    y_true, lower, upper : array-like of equal shape
        Targets, NaN where unknown, and interval bounds.
    nominal : float
        Coverage that the interval promises, between 0 and 1: 0.8 for quantiles 0.1 and 0.9.
    weights : array-like of the same shape, optional
        Weights of the mean, not negative.

    Returns
    -------
    float

    Examples
    --------
    >>> winkler_score([5.0, 12.0], [0.0, 0.0], [10.0, 10.0], nominal=0.5)
    14.0
    """
    miss_rate = 1 - _checked_level("nominal", nominal)
    y, low, high = _interval(y_true, lower, upper)
    miss = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return _mean(high - low + 2 / miss_rate * miss, ~np.isnan(y), weights)


def skill(loss: npt.ArrayLike, baseline_loss: npt.ArrayLike) -> float | _Floats:
    """Skill of a loss against a baseline: ``1 - loss / baseline_loss``.

    Parameters
    ----------
    loss, baseline_loss : float or array-like, broadcast against each other
        Losses, lower being better.

    Returns
    -------
    float or ndarray
        1 for a perfect forecast, 0 for one as good as the baseline, negative for one that is
        worse, NaN where the baseline has no loss. A float for two numbers.

    Examples
    --------
    >>> skill(0.5, 2.0)
    0.75
    """
    own, baseline = np.broadcast_arrays(
        _array("loss", loss), _array("baseline_loss", baseline_loss)
    )
    ratio = np.divide(own, baseline, out=np.full(own.shape, np.nan), where=baseline != 0)
    return float(1 - ratio) if ratio.ndim == 0 else 1 - ratio


def _pinball(y: _Floats, forecast: _Floats, level: float | _Floats) -> _Floats:
    error = y - forecast
    return np.maximum(level * error, (level - 1) * error)


def _mean(values: _Floats, known: npt.NDArray[np.bool_], weights: npt.ArrayLike | None) -> float:
    """Weighted mean of the known values; NaN without any weight on them."""
    if weights is None:
        return float(np.mean(values[known])) if known.any() else float("nan")
    weight = _array("weights", weights)
    if weight.shape != values.shape:
        raise ValueError(f"weights: expected shape {values.shape}, got {weight.shape}.")
    if not np.all(np.isfinite(weight) & (weight >= 0)):
        raise ValueError("weights: expected finite numbers, none below 0.")
    # A weight of zero takes a value out, even an infinite one.
    used = known & (weight > 0)
    return float(np.average(values[used], weights=weight[used])) if used.any() else float("nan")


def _nanmean(values: _Floats) -> _Floats:
    """Mean over the last axis of what is known; NaN, without NumPy's warning, of nothing."""
    known = ~np.isnan(values)
    count = np.asarray(known.sum(axis=-1), np.float64)
    total = np.asarray(np.where(known, values, 0.0).sum(axis=-1))
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _matched(y_true: npt.ArrayLike, **forecasts: npt.ArrayLike) -> tuple[_Floats, ...]:
    """Targets and forecasts as float arrays of one shape, checked."""
    y = _array("y_true", y_true)
    arrays = {name: _array(name, values) for name, values in forecasts.items()}
    for name, values in arrays.items():
        if values.shape != y.shape:
            raise ValueError(
                f"{name}: expected the shape of the targets, {y.shape}, got {values.shape}."
            )
    _check_values(y, **arrays)
    return y, *arrays.values()


def _interval(
    y_true: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike
) -> tuple[_Floats, _Floats, _Floats]:
    y, low, high = _matched(y_true, lower=lower, upper=upper)
    crossed = (low > high) & ~np.isnan(y)
    if crossed.any():
        where = np.unravel_index(int(np.argmax(crossed)), crossed.shape)
        place = tuple(int(index) for index in where)
        raise ValueError(
            f"lower: expected no bound above its upper bound, got {low[place]} above "
            f"{high[place]} at {place}: sort the quantiles first."
        )
    return y, low, high


def _check_values(y: _Floats, **forecasts: _Floats) -> None:
    """Raise for infinite targets, and for NaN forecasts of known ones."""
    if np.isinf(y).any():
        raise ValueError("y_true: expected finite numbers or NaN, got infinity.")
    known = ~np.isnan(y)
    for name, values in forecasts.items():
        mask = known if values.ndim == y.ndim else known[..., None]
        missing = int(np.sum(np.isnan(values) & mask))
        if missing:
            raise ValueError(
                f"{name}: {missing} forecasts are NaN where the target is known: forecast them, "
                "or set those targets to NaN."
            )


def _checked_level(name: str, level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {level!r}.")
    return float(level)


def _array(name: str, values: npt.ArrayLike) -> _Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected numbers, got {error}.") from None
