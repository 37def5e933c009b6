"""Is one forecast better than another? Skill with its uncertainty, and a test of equal accuracy.

Relies on SciPy for the t distribution.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from tsfusion.evaluation.baselines import _whole
from tsfusion.evaluation.scores import _chosen, _codes, _row_losses, _scales, _Sums, _Table
from tsfusion.exceptions import DataWarning

__all__ = ["DieboldMariano", "diebold_mariano", "skill_scores"]

_Floats = npt.NDArray[np.float64]

# Sums over rows: factors and denominators that models share fall out of the ratio.
_LOSSES = {
    "mae": "absolute",
    "rmse": "square",
    "pinball": "pinball",
    "crps": "pinball",
    "wql": "pinball",
}
# Means over windows, by the scale of each.
_SCALED = {"mase": ("absolute", 1), "rmsse": ("square", 2), "sql": ("pinball", 1)}
# Numbers drawn in one go: bounds the memory of the bootstrap.
_CHUNK = 4_000_000


def skill_scores(
    frame: pd.DataFrame,
    *,
    baseline: str,
    metric: str = "mae",
    level: float = 0.95,
    resample: Literal["both", "series", "cutoff"] = "both",
    n_bootstrap: int = 1000,
    random_state: int | None = 0,
    train: Any = None,
    season: int | None = None,
    time: Any = None,
    series: Any = None,
    target: Any = None,
    freq: Any = None,
) -> pd.DataFrame:
    """Skill of each model against a baseline, with a bootstrap interval.

    ``skill = 1 - L(model) / L(baseline)``: 1 for a perfect forecast, 0 for one as good as the
    baseline, negative for one that is worse. The bootstrap draws series and cutoffs with
    replacement, all models alike, and takes quantiles of the skill: how far would it go with other
    series and at other times?

    Parameters
    ----------
    frame : DataFrame
        As `backtest` returns it, every model on the same rows.
    baseline : str
        The model to compare with.
    metric : {"mae", "rmse", "pinball", "crps", "wql", "mase", "rmsse", "sql"}, default="mae"
        The loss L, as in `evaluate`.
    level : float, default=0.95
        Coverage of the interval.
    resample : {"both", "series", "cutoff"}, default="both"
        What is drawn anew; what there is only one of stays.
    n_bootstrap : int, default=1000
        Draws.
    random_state : int or None, default=0
        Their seed.
    train, season, time, series, target, freq : default=None
        As in `evaluate`, for the scaled losses.

    Returns
    -------
    DataFrame
        One row per model: ``model``, the loss, ``skill``, and the bounds ``low`` and ``high``; NaN
        where there is one series and one cutoff alone.

    Raises
    ------
    ValueError
        If the baseline is not there, or models have forecasts of different rows.

    See Also
    --------
    diebold_mariano : A test for a single series of errors.

    Notes
    -----
    Cutoffs less than a horizon apart share targets, so that intervals from them are too narrow.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest, skill_scores
    >>> table = backtest(
    ...     ["last_value", "seasonal_naive"], load_air_passengers(), horizon=12, n_windows=4,
    ...     time="month", target="passengers",
    ... )
    >>> skill_scores(table, baseline="last_value").round(2)
                model    mae  skill   low  high
    0      last_value  70.77   0.00  0.00  0.00
    1  seasonal_naive  36.98   0.48  0.37  0.65
    """
    if metric not in (*_LOSSES, *_SCALED):
        raise ValueError(f"metric: expected one of {(*_LOSSES, *_SCALED)}, received {metric!r}.")
    if resample not in ("both", "series", "cutoff"):
        raise ValueError(f"resample: expected 'both', 'series' or 'cutoff', received {resample!r}.")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, received {level!r}.")
    draws = _whole("n_bootstrap", n_bootstrap)
    table = _Table.of(frame, series, time)
    models = list(pd.unique(table.models))
    if baseline not in models:
        raise ValueError(f"baseline: expected one of the models {models}, received {baseline!r}.")
    table.check_same_rows(np.ones(len(table.frame), bool))
    scales = None
    if metric in _SCALED:
        _chosen(metric, train, table)
        scales = _scales(table, train, target, freq, season)
    total, weight = _cells(table, models, metric, scales)

    def loss(sums: _Floats, weights: _Floats) -> _Floats:
        """Losses (..., M) from sums (..., M) and their weights (..., 1)."""
        mean = np.divide(sums, weights, out=np.full(sums.shape, np.nan), where=weights > 0)
        return np.sqrt(mean) if metric == "rmse" else mean

    at = models.index(baseline)
    own = loss(total.sum(axis=(1, 2)), weight.sum(axis=(1, 2)))
    if metric == "wql":
        own = _table_loss(table, models)
    skills = _skill(own, at)
    low = high = np.full(len(models), np.nan)
    drawn_series = resample != "cutoff" and total.shape[1] > 1
    drawn_cutoffs = resample != "series" and total.shape[2] > 1
    if drawn_series or drawn_cutoffs:
        rng = np.random.default_rng(random_state)
        found = []
        size = max(1, _CHUNK // sum(total.shape[1:]) // max(len(models), 1))
        for begin in range(0, draws, size):
            count = min(size, draws - begin)
            by_series = _counts(rng, count, total.shape[1], drawn_series)
            by_cutoff = _counts(rng, count, total.shape[2], drawn_cutoffs)
            sums = np.einsum("bs,msc,bc->bm", by_series, total, by_cutoff, optimize=True)
            weights = np.einsum("bs,msc,bc->bm", by_series, weight, by_cutoff, optimize=True)
            found.append(_skill(loss(sums, weights), at))
        low, high = np.nanquantile(
            np.concatenate(found), [(1 - level) / 2, (1 + level) / 2], axis=0
        )
    return pd.DataFrame(
        {"model": models, metric: _shown(own, metric), "skill": skills, "low": low, "high": high}
    )


def _shown(loss: _Floats, metric: str) -> _Floats:
    return 2 * loss if metric in ("crps", "sql") else loss


def _skill(loss: _Floats, baseline: int) -> _Floats:
    other = loss[..., [baseline]]
    return 1 - np.divide(loss, other, out=np.full(loss.shape, np.nan), where=other > 0)


def _table_loss(table: _Table, models: list[str]) -> _Floats:
    """Weighted quantile losses, which have a denominator of their own."""
    losses = _row_losses(table, ["wql"])
    code = pd.Index(models).get_indexer(table.models[table.known])
    top = np.bincount(code, losses["pinball"], minlength=len(models))
    size = np.bincount(code, losses["size"], minlength=len(models))
    return np.divide(2 * top, size, out=np.full(len(models), np.nan), where=size > 0)


def _cells(
    table: _Table, models: list[str], metric: str, scales: dict[int, _Floats] | None
) -> tuple[_Floats, _Floats]:
    """Sums of losses, and what to divide by, of each model, series and cutoff: (M, S, C)."""
    known = table.known
    losses = _row_losses(table, [metric])
    code = pd.Index(models).get_indexer(table.models[known])
    sums = _Sums(code, table.windows[known], len(models))
    name, power = _SCALED.get(metric, (_LOSSES.get(metric, ""), 0))
    if power:
        assert scales is not None
        scale = scales[power][sums.cell_window]
        ok = scale > 0
        mean = sums.of_windows(losses[name])
        values = np.divide(mean, scale, out=np.zeros(len(ok)), where=ok)
        values = np.sqrt(values) if metric == "rmsse" else values
        weights = ok.astype(np.float64)
    else:
        count = len(sums.cell_group)
        values = np.bincount(sums.cell, losses[name], minlength=count)
        weights = np.bincount(sums.cell, minlength=count).astype(np.float64)
    _, first = np.unique(table.windows, return_index=True)
    # Windows are numbered from 0 without gaps.
    keys = table.frame.iloc[first]
    cutoff = _codes(keys, ["cutoff"])
    series = _codes(keys, table.series) if table.series else np.zeros(len(keys), np.int64)
    shape = (len(models), int(series.max()) + 1, int(cutoff.max()) + 1)
    place = (sums.cell_group, series[sums.cell_window], cutoff[sums.cell_window])
    total, weight = np.zeros(shape), np.zeros(shape)
    total[place] = values
    weight[place] = weights
    return total, weight


def _counts(rng: np.random.Generator, draws: int, size: int, drawn: bool) -> _Floats:
    """How often each of so many is drawn, (draws, size)."""
    if not drawn:
        return np.ones((draws, size))
    return rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)


class DieboldMariano(NamedTuple):
    """The result of `diebold_mariano`."""

    statistic: float
    """Above zero where a's losses are greater."""
    p_value: float
    """Two-sided."""


def diebold_mariano(
    errors_a: npt.ArrayLike,
    errors_b: npt.ArrayLike,
    horizon: int = 1,
    *,
    loss: Literal["squared", "absolute"] = "squared",
) -> DieboldMariano:
    """Test whether two forecasts are equally accurate.

    With the loss differences ``d_t = L(a_t) - L(b_t)`` of T forecasts, all made h steps ahead,
    their mean ``m`` and autocovariances ``g_k = sum (d_t - m) (d_{t-k} - m) / T``::

        DM  = m / sqrt((g_0 + 2 (g_1 + ... + g_{h-1})) / T)
        HLN = DM sqrt((T + 1 - 2 h + h (h - 1) / T) / T)

    Harvey, Leybourne and Newbold's HLN is compared with a t distribution of T - 1 degrees of
    freedom.

    Parameters
    ----------
    errors_a, errors_b : array-like of shape (T,)
        Errors of two forecasts of the same targets, in order of time. Where either is NaN, both
        are left out.
    horizon : int, default=1
        h: how many steps ahead the forecasts were made.
    loss : {"squared", "absolute"}, default="squared"
        L.

    Returns
    -------
    DieboldMariano
        ``statistic`` (HLN) and ``p_value``. NaN where the differences do not vary.

    Warns
    -----
    DataWarning
        If the variance comes out negative, as it can with ``horizon > 1``: the test is then that
        of horizon 1.

    References
    ----------
    Diebold, F. X. and Mariano, R. S. (1995). Comparing predictive accuracy. *Journal of Business
    and Economic Statistics*, 13(3).

    Harvey, D., Leybourne, S. and Newbold, P. (1997). Testing the equality of prediction mean
    squared errors. *International Journal of Forecasting*, 13(2).

    Examples
    --------
    >>> result = diebold_mariano([1.0, -2.0, 2.0, -1.0, 3.0], [0.5, 1.0, -1.0, 1.0, 0.0])
    >>> round(result.statistic, 3), round(result.p_value, 3)
    (1.993, 0.117)
    """
    steps = _whole("horizon", horizon)
    a, b = np.asarray(errors_a, np.float64), np.asarray(errors_b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"errors_b: expected two series of one length, received shapes {a.shape} and {b.shape}."
        )
    if loss not in ("squared", "absolute"):
        raise ValueError(f"loss: expected 'squared' or 'absolute', received {loss!r}.")
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    n = len(a)
    if n <= steps:
        raise ValueError(
            f"errors_a: expected more known errors than the horizon of {steps}, received {n}."
        )
    d = a**2 - b**2 if loss == "squared" else np.abs(a) - np.abs(b)
    centred = d - d.mean()
    if np.abs(centred).max() <= 1e-12 * np.abs(d).max(initial=0.0):
        return DieboldMariano(float("nan"), float("nan"))
    covariance = [float(centred[k:] @ centred[: n - k]) / n for k in range(steps)]
    variance = covariance[0] + 2 * sum(covariance[1:])
    if variance <= 0:
        warnings.warn(
            f"The variance over a horizon of {steps} is not positive with {n} errors: the test is "
            "that of horizon 1.",
            DataWarning,
            stacklevel=2,
        )
        variance, steps = covariance[0], 1
    factor = (n + 1 - 2 * steps + steps * (steps - 1) / n) / n
    statistic = float(d.mean() / np.sqrt(variance / n) * np.sqrt(factor))
    return DieboldMariano(statistic, float(2 * stats.t.sf(abs(statistic), n - 1)))
