"""Do quantiles mean what they say: reliability and PIT of a backtest's forecasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tsfusion.evaluation.scores import _groups, _keys, _Table

__all__ = ["pit_histogram", "reliability"]


def reliability(frame: pd.DataFrame, *, by: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return how often the truth came out at or below each quantile.

    Parameters
    ----------
    frame : DataFrame
        As `backtest` returns it, with quantiles. Rows whose ``y`` is NaN, and those of models
        without quantiles, are left out.
    by : str or list of str, default=None
        Columns to look at apart, beside ``model``, as in `evaluate`.

    Returns
    -------
    DataFrame
        One row per group and level: the columns of ``by``, ``model``, ``level``, ``observed`` (the
        share of ``y <= q``; of a calibrated forecast it is the level; a y at which several
        quantiles lie, as at a bound of the target, counts as spread evenly over their levels),
        ``count`` and
        ``standard_error`` of ``observed``, of windows drawn at random: the rows that one series has
        from one cutoff err together (NaN for a single window).

    Raises
    ------
    ValueError
        If the frame has no quantiles, or as `evaluate`.

    References
    ----------
    Gneiting, Balabdaoui and Raftery (2007), "Probabilistic forecasts, calibration and sharpness",
    Journal of the Royal Statistical Society B 69(2), section 3.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest, reliability
    >>> table = backtest(
    ...     "seasonal_naive", load_air_passengers(), horizon=12, time="month", target="passengers"
    ... )
    >>> reliability(table)[["model", "level", "observed", "count"]].round(2)
                model  level  observed  count
    0  seasonal_naive    0.1      0.11     36
    1  seasonal_naive    0.5      0.44     36
    2  seasonal_naive    0.9      0.69     36
    """
    table, group, result, rows = _with_quantiles(frame, by)
    below = _shares_below(table.y[rows], table.quantiles[rows], np.asarray(table.levels))
    count = np.bincount(group, minlength=len(result))
    observed = _means(group, below, len(result))
    error = _standard_error(group, table.windows[rows], below, len(result))
    levels = np.asarray(table.levels)
    long = result.loc[np.repeat(result.index, len(levels))].reset_index(drop=True)
    long["level"] = np.tile(levels, len(result))
    long["observed"] = observed.ravel()
    long["count"] = np.repeat(count, len(levels))
    long["standard_error"] = error.ravel()
    return long


def pit_histogram(frame: pd.DataFrame, *, by: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return the histogram of the probability integral transform, with the levels as its edges.

    Flat for a calibrated forecast; high at both ends for one that is too narrow, in the middle for
    one that is too wide, on one side for one that is biased.

    Parameters
    ----------
    frame, by
        As in `reliability`.

    Returns
    -------
    DataFrame
        One row per group and bin: the columns of ``by``, ``model``, ``low`` and ``high`` (levels, 0
        and 1 at the ends), ``share`` of the truths between those quantiles, ``density`` (``share /
        (high - low)``, 1 for a calibrated forecast) and ``count``.

    Raises
    ------
    ValueError
        If the frame has no quantiles, or as `evaluate`.

    References
    ----------
    Dawid (1984), "Statistical theory: the prequential approach", Journal of the Royal Statistical
    Society A 147(2).

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest, pit_histogram
    >>> table = backtest(
    ...     "seasonal_naive", load_air_passengers(), horizon=12, time="month", target="passengers"
    ... )
    >>> pit_histogram(table)[["low", "high", "share", "density"]].round(2)
       low  high  share  density
    0  0.0   0.1   0.11     1.11
    1  0.1   0.5   0.33     0.83
    2  0.5   0.9   0.25     0.62
    3  0.9   1.0   0.31     3.06
    """
    found = reliability(frame, by=by)
    n_levels = found["level"].nunique()
    edges = np.concatenate([[0.0], found["level"].to_numpy()[:n_levels], [1.0]])
    observed = found["observed"].to_numpy().reshape(-1, n_levels)
    ends = np.ones((len(observed), 1))
    share = np.diff(np.concatenate([0 * ends, observed, ends], axis=1), axis=1)
    groups = found.iloc[::n_levels].drop(columns=["level", "observed", "count", "standard_error"])
    long = groups.loc[np.repeat(groups.index, n_levels + 1)].reset_index(drop=True)
    long["low"] = np.tile(edges[:-1], len(observed))
    long["high"] = np.tile(edges[1:], len(observed))
    long["share"] = share.ravel()
    long["density"] = (share / np.diff(edges)).ravel()
    long["count"] = np.repeat(found["count"].to_numpy()[::n_levels], n_levels + 1)
    return long


def _shares_below(y: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return (R, Q) how much of each truth lies at or below its quantiles.

    Where several quantiles are the truth itself, its level may be any from the one below them to
    their highest (0 and 1 at the ends): the mean of the randomised probability integral transform
    (Czado, Gneiting and Held 2009, "Predictive model assessment for count data", Biometrics 65(4)).
    """
    below = (y[:, None] <= quantiles).astype(float)
    tied = y[:, None] == quantiles
    rows = np.flatnonzero(tied.sum(axis=1) > 1)
    if len(rows) == 0:
        return below
    some = tied[rows]
    first = some.argmax(axis=1)
    last = some.shape[1] - 1 - some[:, ::-1].argmax(axis=1)
    low = np.where(first > 0, levels[first - 1], 0.0)[:, None]
    high = np.where(last < len(levels) - 1, levels[last], 1.0)[:, None]
    below[rows] = np.where(some, (levels - low) / (high - low), below[rows])
    return below


def _with_quantiles(
    frame: pd.DataFrame, by: str | Sequence[str] | None
) -> tuple[_Table, np.ndarray, pd.DataFrame, np.ndarray]:
    """Return the table, the group of each row that counts, the groups' keys, and those rows."""
    table = _Table.of(frame)
    if not table.levels:
        raise ValueError(
            "frame: expected columns of quantiles such as 'q0.1', received none: ask for them in "
            "backtest(quantiles=...)."
        )
    rows = np.flatnonzero(table.known & table.with_quantiles)
    if len(rows) == 0:
        raise ValueError("frame: expected rows with a known y and quantiles, received none.")
    group, result = _groups(table, _keys(by, table))
    used, group = np.unique(group[rows], return_inverse=True)
    return table, group.reshape(-1), result.loc[used].reset_index(drop=True), rows


def _means(group: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Return (size, Q) the means of values (R, Q)."""
    count = np.bincount(group, minlength=size)
    sums = [np.bincount(group, weights=column, minlength=size) for column in values.T]
    return np.stack(sums, axis=1) / count[:, None]


def _standard_error(
    group: np.ndarray, window: np.ndarray, values: np.ndarray, size: int
) -> np.ndarray:
    """Return (size, Q) that of a mean of clusters: the windows of a series and cutoff."""
    pair, member = np.unique(np.stack([group, window], axis=1), axis=0, return_inverse=True)
    member, owner = member.reshape(-1), pair[:, 0]
    away = values - _means(group, values, size)[group]
    sums = np.stack(
        [np.bincount(member, weights=column, minlength=len(pair)) for column in away.T], axis=1
    )
    squares = np.stack(
        [np.bincount(owner, weights=column, minlength=size) for column in (sums**2).T], axis=1
    )
    clusters = np.bincount(owner, minlength=size)[:, None]
    count = np.bincount(group, minlength=size)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(squares * clusters / (clusters - 1)) / count
    return np.where(clusters > 1, spread, np.nan)
