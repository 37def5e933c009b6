"""Forecasts that every model must beat: last value, drift, seasonal naive, season mean, linear.

Relies on NumPy, pandas and `tsfusion.data`. Series lie behind one another in one flat
array of R steps, with S + 1 offsets; each method is a gather from what was known at the origin,
for any origins at once.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsfusion.data.calendar import parse_frequency
from tsfusion.data.roles import check_result_columns
from tsfusion.evaluation._linear import learn_linear
from tsfusion.quantiles import quantile_names

__all__ = ["baseline_forecast", "drift", "last_value", "season_mean", "seasonal_naive"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_NAMES = ("last_value", "seasonal_naive", "season_mean", "drift", "linear")


def last_value(history: npt.ArrayLike, horizon: int) -> _Floats:
    """Repeat the last known value: ``f[t + h] = y[t]``.

    Parameters
    ----------
    history : array-like of shape (T,) or (S, T)
        Past values, oldest first; NaN where unknown.
    horizon : int
        Steps, at least 1.

    Returns
    -------
    ndarray of shape (H,) or (S, H)
        NaN for a series without any known value.

    Examples
    --------
    >>> last_value([1.0, 2.0, float("nan")], 2)
    array([2., 2.])
    """
    return _forecast_arrays("last_value", history, horizon, 1)


def seasonal_naive(history: npt.ArrayLike, horizon: int, season_length: int) -> _Floats:
    """Repeat the last season: ``f[t + h] = y[t + h - m ceil(h / m)]``.

    Parameters
    ----------
    history : array-like of shape (T,) or (S, T)
        Past values, oldest first. In place of a NaN stands the last known value of the same
        place in the season, and without one, or before the first season is over, the last
        known value of the series.
    horizon : int
        Steps, at least 1.
    season_length : int
        ``m``, at least 1.

    Returns
    -------
    ndarray of shape (H,) or (S, H)
        NaN for a series without any known value.

    Examples
    --------
    >>> seasonal_naive([1.0, 2.0, 3.0, 4.0], 3, season_length=2)
    array([3., 4., 3.])
    """
    return _forecast_arrays("seasonal_naive", history, horizon, season_length)


def season_mean(history: npt.ArrayLike, horizon: int, season_length: int) -> _Floats:
    """Repeat the mean of the last season: ``f[t + h] = mean(y[t - m + 1], ..., y[t])``.

    Parameters
    ----------
    history : array-like of shape (T,) or (S, T)
        Past values, oldest first. The mean is that of the values known in the last season, and
        without one, the last known value of the series.
    horizon : int
        Steps, at least 1.
    season_length : int
        ``m``, at least 1.

    Returns
    -------
    ndarray of shape (H,) or (S, H)
        NaN for a series without any known value.

    Examples
    --------
    >>> season_mean([9.0, 1.0, 2.0, 3.0], 2, season_length=3)
    array([2., 2.])
    """
    return _forecast_arrays("season_mean", history, horizon, season_length)


def drift(history: npt.ArrayLike, horizon: int) -> _Floats:
    """Go on along the line from the first value to the last: ``f[t + h] = y[t] + h b``.

    The slope is ``b = (y[t] - y[1]) / (t - 1)``, the mean change of a step.

    Parameters
    ----------
    history : array-like of shape (T,) or (S, T)
        Past values, oldest first; NaN where unknown. The line goes through the first and the last
        known value; with one of them alone it is flat.
    horizon : int
        Steps, at least 1.

    Returns
    -------
    ndarray of shape (H,) or (S, H)
        NaN for a series without any known value.

    Examples
    --------
    >>> drift([1.0, 4.0, 5.0], 2)
    array([7., 9.])
    """
    return _forecast_arrays("drift", history, horizon, 1)


def baseline_forecast(
    frame: pd.DataFrame,
    *,
    name: str,
    series: Hashable | Sequence[Hashable] | None,
    time: Hashable,
    target: Hashable,
    horizon: int,
    season_length: int = 1,
    freq: str | None = None,
    quantiles: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Forecast every series of a long frame with a baseline, from its own last row.

    Parameters
    ----------
    frame : DataFrame
        Long, rows in any order. A target of NaN is an unknown step.
    name : {"last_value", "seasonal_naive", "season_mean", "drift", "linear"}
        The method. ``"linear"`` is a linear map from the last steps (two seasons or two horizons,
        the longer) to the next ones, each less the last known value as in NLinear, one for all
        series, fitted by ridge regression.
    series : column name, list of names, or None
        What tells series apart; None for a frame of one series.
    time, target : column name
        Time (datetime or number) and value.
    horizon : int
        Steps after the last row of each series, at least 1.
    season_length : int
        Steps of a season, at least 1; `last_value` and `drift` ignore it.
    freq : str, optional
        A pandas offset alias: rows missing from its grid become unknown steps, so that gaps do
        not shift the season. Without it, every row is one step after the row before.
    quantiles : sequence of float, optional
        Quantile levels, between 0 and 1, increasing. Each is the point forecast plus that
        quantile of the residuals that the same method made at the same step within the series
        (linear between order statistics). Where a series is too short for a residual at a step,
        those of the longest step that has some stand in, and without any, zero.

    Returns
    -------
    DataFrame
        The series columns, ``step`` (1 to horizon), ``mean``, and a column ``q0.1`` for each
        level 0.1; sorted by series and step.

    Examples
    --------
    >>> frame = pd.DataFrame({"store": list("aaabbb"), "t": [0, 1, 2] * 2, "y": range(6)})
    >>> baseline_forecast(
    ...     frame, name="last_value", series="store", time="t", target="y", horizon=2,
    ...     quantiles=[0.5],
    ... )
      store  step  mean  q0.5
    0     a     1   2.0   3.0
    1     a     2   2.0   4.0
    2     b     1   5.0   6.0
    3     b     2   5.0   7.0
    """
    if name not in _NAMES:
        raise ValueError(f"name: expected one of {_NAMES}, got {name!r}.")
    horizon = _whole("horizon", horizon)
    season_length = _whole("season_length", season_length)
    levels = _checked_levels(quantiles)
    keys = _series_columns(series)
    _check_columns(frame, [*keys, time, target])
    names = quantile_names(levels)
    check_result_columns(keys, ["step", "mean", *names], "frame")
    panel, last_rows = _flat_panel(frame, keys, time, target, freq)
    forecast = _method(name, panel, season_length, horizon)

    point = _over_steps(forecast, panel.ends, horizon)
    result = frame[keys].iloc[np.repeat(last_rows, horizon)].reset_index(drop=True)
    result["step"] = np.tile(np.arange(1, horizon + 1), len(last_rows))
    result["mean"] = point.ravel()
    if levels.size:
        spread = _residual_quantiles(forecast, panel, horizon, levels)
        for column, quantile in enumerate(names):
            result[quantile] = (point + spread[:, :, column]).ravel()
    return result


@dataclass(frozen=True)
class _Panel:
    """Values (R,) of S series behind one another, and their offsets (S + 1,)."""

    values: _Floats
    offsets: _Ints

    @property
    def ends(self) -> _Ints:
        """Last step of each series, (S,)."""
        return self.offsets[1:] - 1

    @property
    def starts_by_row(self) -> _Ints:
        """First step of the series of each step, (R,)."""
        return np.repeat(self.offsets[:-1], np.diff(self.offsets))


# A method, prepared on a panel: origins (N,) and one step h to forecasts (N,).
_Forecast = Callable[[_Ints, int], _Floats]


def _method(name: str, panel: _Panel, season_length: int, horizon: int) -> _Forecast:
    if name == "last_value":
        # The last value is the last season of length one.
        return _seasonal_forecast(panel, 1)
    if name == "seasonal_naive":
        return _seasonal_forecast(panel, season_length)
    if name == "drift":
        return _drift_forecast(panel)
    if name == "linear":
        filled = _last_known(panel.values, panel.starts_by_row)
        lags = 2 * max(season_length, horizon)
        return learn_linear(filled, panel.offsets, lags, horizon)
    return _mean_forecast(panel, season_length)


def _seasonal_forecast(panel: _Panel, season_length: int) -> _Forecast:
    starts = panel.starts_by_row
    rows = np.arange(len(starts))
    latest = _last_known(panel.values, starts)
    # Steps of the same series and place in the season, brought together in order of time.
    place = (rows - starts) % season_length
    together = np.lexsort((rows, place, starts))
    first = np.zeros(len(rows), bool)
    first[:1] = True
    first[1:] = (np.diff(starts[together]) != 0) | (np.diff(place[together]) != 0)
    group_starts = np.maximum.accumulate(np.where(first, rows, 0))
    seasonal = np.empty_like(panel.values)
    seasonal[together] = _last_known(panel.values[together], group_starts)

    def forecast(origins: _Ints, step: int) -> _Floats:
        sources = origins + step - season_length * -(-step // season_length)
        inside = sources >= starts[origins]
        value = seasonal[np.where(inside, sources, origins)]
        return np.where(inside & ~np.isnan(value), value, latest[origins])

    return forecast


def _mean_forecast(panel: _Panel, season_length: int) -> _Forecast:
    starts = panel.starts_by_row
    latest = _last_known(panel.values, starts)
    # Each series to mean 0 and size 1: running sums pass from one to the next, and their rounding
    # must not grow with a high level or a large neighbour.
    known = ~np.isnan(panel.values)
    lengths = np.diff(panel.offsets)
    centre = np.repeat(_means(panel.values, known, panel.offsets), lengths)
    deviation = np.where(known, panel.values - centre, 0.0)
    largest = np.maximum.reduceat(np.abs(deviation), panel.offsets[:-1])
    size = np.repeat(np.where(largest > 0, largest, 1.0), lengths)
    sums = _running(deviation / size)
    counts = _running(known.astype(np.float64))

    def forecast(origins: _Ints, step: int) -> _Floats:
        after = origins + 1
        begin = np.maximum(after - season_length, starts[origins])
        count = counts[after] - counts[begin]
        total = sums[after] - sums[begin]
        mean = np.divide(total, count, out=np.full(len(origins), np.nan), where=count > 0)
        return np.where(count > 0, centre[origins] + size[origins] * mean, latest[origins])

    return forecast


def _drift_forecast(panel: _Panel) -> _Forecast:
    starts = panel.starts_by_row
    rows = np.arange(len(starts))
    known = ~np.isnan(panel.values)
    last = np.maximum.accumulate(np.where(known, rows, -1))
    # The first known row of each series; behind its end where there is none.
    later = np.minimum.accumulate(np.where(known, rows, len(rows))[::-1])[::-1]
    first = later[starts]

    def forecast(origins: _Ints, step: int) -> _Floats:
        here, begin = last[origins], first[origins]
        found = here >= starts[origins]
        here = np.where(found, here, origins)
        begin = np.where(found, begin, origins)
        level = panel.values[here]
        rise = level - panel.values[begin]
        slope = np.divide(rise, here - begin, out=np.zeros_like(rise), where=here > begin)
        return np.where(found, level + (origins + step - here) * slope, np.nan)

    return forecast


def _last_known(values: _Floats, starts: _Ints) -> _Floats:
    """The last value that is no NaN, from the start of each row's group up to the row, (R,)."""
    seen = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    return np.where(seen >= starts, values[seen], np.nan)


def _means(values: _Floats, known: npt.NDArray[np.bool_], offsets: _Ints) -> _Floats:
    """Mean of the known values of each series, (S,); 0 without any. No series is empty."""
    total = np.add.reduceat(np.where(known, values, 0.0), offsets[:-1])
    return total / np.maximum(np.add.reduceat(known.astype(np.float64), offsets[:-1]), 1)


def _running(values: _Floats) -> _Floats:
    """Sums of the first 0, 1, ..., R values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _over_steps(forecast: _Forecast, origins: _Ints, horizon: int) -> _Floats:
    return np.stack([forecast(origins, step) for step in range(1, horizon + 1)], axis=-1)


def _residual_quantiles(
    forecast: _Forecast, panel: _Panel, horizon: int, levels: _Floats
) -> _Floats:
    """Quantiles (S, H, Q) of what the method missed within each series, at each step."""
    spread = np.zeros((len(panel.ends), horizon, len(levels)))
    longest = np.zeros((len(panel.ends), len(levels)))
    starts = panel.starts_by_row
    rows = np.arange(len(starts))
    # One step at a time: memory stays O(R), whatever the horizon.
    for step in range(1, horizon + 1):
        origins = rows - step
        inside = origins >= starts
        residuals = np.full(len(rows), np.nan)
        residuals[inside] = panel.values[inside] - forecast(origins[inside], step)
        found = _series_quantiles(residuals, panel.offsets, levels)
        longest = np.where(np.isnan(found), longest, found)
        spread[:, step - 1] = longest
    return spread


def _series_quantiles(values: _Floats, offsets: _Ints, levels: _Floats) -> _Floats:
    """Quantiles (S, Q) of the values of each series that are no NaN; NaN for none."""
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(lengths)), lengths)
    widest = int(lengths.max())
    if len(lengths) * widest <= 4 * len(values):
        # Series of like lengths sort far faster as rows of a table; NaN goes last.
        table = np.full((len(lengths), widest), np.nan)
        table[series, np.arange(len(values)) - offsets[series]] = values
        table.sort(axis=1)
        ordered, starts = table.ravel(), np.arange(len(lengths))[:, None] * widest
    else:
        ordered, starts = values[np.lexsort((values, series))], offsets[:-1, None]
    counts = np.add.reduceat((~np.isnan(values)).astype(np.int64), offsets[:-1])
    position = np.maximum(counts - 1, 0)[:, None] * levels
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0)[:, None])
    low, high = ordered[starts + below], ordered[starts + above]
    return low + (position - below) * (high - low)


def _forecast_arrays(
    name: str, history: npt.ArrayLike, horizon: int, season_length: int
) -> _Floats:
    try:
        values = np.asarray(history, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"history: expected numbers, got {error}.") from None
    if values.ndim not in (1, 2) or not values.shape[-1]:
        raise ValueError(
            f"history: expected shape (T,) or (S, T) with at least one step, got {values.shape}."
        )
    horizon, season_length = _whole("horizon", horizon), _whole("season_length", season_length)
    batch = np.atleast_2d(values)
    if not len(batch):
        return np.empty((0, horizon))
    panel = _Panel(batch.ravel(), np.arange(len(batch) + 1) * batch.shape[1])
    result = _over_steps(_method(name, panel, season_length, horizon), panel.ends, horizon)
    return result if values.ndim == 2 else result[0]


def _flat_panel(
    frame: pd.DataFrame,
    keys: list[Hashable],
    time: Hashable,
    target: Hashable,
    freq: str | None,
) -> tuple[_Panel, _Ints]:
    """The panel of a frame, sorted by series, and the frame's last row of each series."""
    codes = _series_codes(frame, keys)
    values = _target_values(frame, target)
    position = _grid_position(frame[time], freq)
    order = np.lexsort((position, codes))
    codes, position, values = codes[order], position[order], values[order]

    new_series = np.diff(codes) != 0
    repeated = ~new_series & (np.diff(position) == 0)
    if repeated.any():
        row = int(order[int(np.argmax(repeated)) + 1])
        raise ValueError(
            f"{time}: {frame[time].iloc[row]!r} comes twice{_of_series(frame, keys, row)}: "
            "drop one of the rows, or name the columns that tell series apart."
        )
    first = np.flatnonzero(np.concatenate([[True], new_series]))
    last = np.concatenate([first[1:], [len(codes)]]) - 1
    if freq is None:
        return _Panel(values, np.append(first, len(codes))), order[last]

    lengths = position[last] - position[first] + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    grid = np.full(offsets[-1], np.nan)
    number = np.repeat(np.arange(len(first)), last - first + 1)
    grid[offsets[number] + position - position[first][number]] = values
    return _Panel(grid, offsets), order[last]


def _series_codes(frame: pd.DataFrame, keys: list[Hashable]) -> _Ints:
    if not keys:
        return np.zeros(len(frame), np.int64)
    unnamed = frame[keys].isna().to_numpy()
    if unnamed.any():
        row, column = (int(index) for index in np.argwhere(unnamed)[0])
        raise ValueError(f"{keys[column]}: row {row} is missing: every row needs its series.")
    return frame.groupby(keys, observed=True).ngroup().to_numpy(dtype=np.int64)


def _target_values(frame: pd.DataFrame, target: Hashable) -> _Floats:
    column = frame[target]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise TypeError(f"{target}: expected numbers, got {column.dtype}.")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise ValueError(f"{target}: row {row} is infinite: use NaN for an unknown value.")
    return values


def _grid_position(times: pd.Series, freq: str | None) -> npt.NDArray:
    """Times as numbers: places on the grid of `freq`, or any numbers in their order."""
    is_datetime = pd.api.types.is_datetime64_any_dtype(times.dtype)
    if not is_datetime and not pd.api.types.is_numeric_dtype(times.dtype):
        raise TypeError(
            f"{times.name}: expected datetimes or numbers, got {times.dtype}: "
            "use pandas.to_datetime first."
        )
    if times.isna().any():
        row = int(np.argmax(times.isna().to_numpy()))
        raise ValueError(f"{times.name}: row {row} has no time: drop it or give it one.")
    if freq is None:
        return (
            times.dt.as_unit("ns").astype("int64").to_numpy() if is_datetime else times.to_numpy()
        )
    if not is_datetime:
        raise TypeError(f"freq: {freq!r} needs datetimes in {times.name!r}, got {times.dtype}.")
    parse_frequency(freq)
    grid = pd.date_range(times.min(), times.max(), freq=freq)
    position = grid.get_indexer(pd.DatetimeIndex(times))
    if (position < 0).any():
        row = int(np.argmax(position < 0))
        raise ValueError(
            f"{times.name}: row {row}, {times.iloc[row]}, is not on the grid of {freq!r} that "
            f"begins at {times.min()}: give the frequency of the data, or None."
        )
    return position


def _series_columns(series: Hashable | Sequence[Hashable] | None) -> list[Hashable]:
    if series is None:
        return []
    return list(series) if isinstance(series, list) else [series]


def _check_columns(frame: pd.DataFrame, columns: list[Hashable]) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame: expected a pandas DataFrame, got {type(frame).__name__}.")
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise ValueError(
            f"frame: no column {absent[0]!r}; it has {[str(name) for name in frame.columns]}."
        )
    if frame.empty:
        raise ValueError("frame: expected at least one row, got none.")


def _of_series(frame: pd.DataFrame, keys: list[Hashable], row: int) -> str:
    if not keys:
        return ""
    return " in series " + ", ".join(f"{key}={frame[key].iloc[row]!r}" for key in keys)


def _checked_levels(quantiles: Sequence[float] | None) -> _Floats:
    levels = np.asarray([] if quantiles is None else quantiles, dtype=np.float64)
    inside = levels.ndim == 1 and bool(np.all((levels > 0) & (levels < 1)))
    if not inside or not np.all(np.diff(levels) > 0):
        raise ValueError(
            f"quantiles: expected increasing levels between 0 and 1, got {quantiles!r}."
        )
    return levels


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected a whole number, got {value!r}.")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}.")
    return int(value)
