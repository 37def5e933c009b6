"""Splits of a panel: by time for training and testing, by series for a cold start.

Relies on scikit-learn for the base class of its splitters. A cutoff is a point in time that all
series share, and every length is counted in steps of the panel's frequency.
"""

from __future__ import annotations

import datetime
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

from tsfusion.data.encoder import PanelEncoder
from tsfusion.data.frames import as_frame
from tsfusion.data.roles import missing_column, resolve_roles
from tsfusion.data.timeline import Timeline, distinct

__all__ = ["PanelSplit", "cold_start_split", "train_validation_test_split"]


class PanelSplit(BaseCrossValidator):
    """Cross-validation splitter by time, not by row.

    With cutoffs ``c_1 < ... < c_n`` in steps, ``c_n + horizon`` one past the panel's last step and
    ``c_{k+1} = c_k + step``::

        test rows:   c_k <= t < c_k + horizon
        train rows:  t < c_f - gap                            (expanding)
                     c_f - gap - train_size <= t < c_f - gap  (sliding)

    where ``c_f`` is the latest refit point, ``c_k`` itself with ``refit_every=1``. The cutoff is
    the first step to be forecast.

    Parameters
    ----------
    n_splits : int, default=5
        How many cutoffs.
    horizon : int, default=None
        Steps in a test window. None takes the steps of the panel divided by ``n_splits + 1``.
    time : str or int, default=None
        The time column, or ``"index"``. None takes a datetime or period index (the last level of a
        MultiIndex), otherwise the only datetime column, otherwise the rows are steps in their
        order.
    series : str or list of str, default=None
        The columns that tell the series apart; None for one series, or for the first levels of a
        MultiIndex.
    window : {"expanding", "sliding"}, default="expanding"
        Whether training starts at the panel's first step or a fixed length before the gap.
    train_size : int, default=None
        Sliding: steps in a training window; None takes what the first split has. Expanding: the
        least number of training steps that the first split must have; None is 1.
    gap : int, default=0
        Steps left out between training and the cutoff.
    step : int, default=None
        Steps from one cutoff to the next; None takes ``horizon``, so that test windows follow each
        other without overlap.
    refit_every : int, default=1
        A model is refit at every so many cutoffs, beginning with the first. In between, the train
        rows are those of the last refit point, so that a score is that of a model kept in use.
    freq : str, number or None, default=None
        The frequency; None infers it. With ``"rows"`` the steps are the distinct times of the
        panel, whatever lies between them.

    See Also
    --------
    sklearn.model_selection.TimeSeriesSplit : Its like for one series, in rows.

    Notes
    -----
    Series may start, end and have gaps as they like; a series without rows in a window takes no
    part in it. Rows may come in any order; the positions come out in ascending order. To refit a
    model only where `splits` says so, walk through both together.

    References
    ----------
    Tashman, "Out-of-sample tests of forecasting accuracy: an analysis and review", International
    Journal of Forecasting 16 (2000).

    Examples
    --------
    >>> import pandas as pd
    >>> from tsfusion import PanelSplit
    >>> days = pd.date_range("2024-01-01", periods=6)
    >>> df = pd.DataFrame({"store": ["a"] * 6 + ["b"] * 4, "date": [*days, *days[2:]]})
    >>> cv = PanelSplit(n_splits=2, horizon=2, time="date", series="store")
    >>> for train, test in cv.split(df):
    ...     print(train, test)
    [0 1] [2 3 6 7]
    [0 1 2 3 6 7] [4 5 8 9]
    >>> cv.cutoffs(df).strftime("%Y-%m-%d").tolist()
    ['2024-01-03', '2024-01-05']
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        horizon: int | None = None,
        time: Any = None,
        series: Any = None,
        window: Literal["expanding", "sliding"] = "expanding",
        train_size: int | None = None,
        gap: int = 0,
        step: int | None = None,
        refit_every: int = 1,
        freq: Any = None,
    ) -> None:
        _check_whole("n_splits", n_splits, 1)
        _check_whole("gap", gap, 0)
        _check_whole("refit_every", refit_every, 1)
        for name, value in (("horizon", horizon), ("train_size", train_size), ("step", step)):
            if value is not None:
                _check_whole(name, value, 1)
        if window not in ("expanding", "sliding"):
            raise ValueError(f"window: expected 'expanding' or 'sliding', received {window!r}.")
        self.n_splits = n_splits
        self.horizon = horizon
        self.time = time
        self.series = series
        self.window = window
        self.train_size = train_size
        self.gap = gap
        self.step = step
        self.refit_every = refit_every
        self.freq = freq

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored, here for scikit-learn.

        Returns
        -------
        int
        """
        return self.n_splits

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the positions of the train and the test rows of each split.

        Parameters
        ----------
        X : table or array-like of R rows
            The panel. An array without ``time`` and ``series`` is one series, its rows in order.
        y : object
            Ignored, here for scikit-learn.
        groups : object
            Ignored with a warning, as in scikit-learn.

        Yields
        ------
        train, test : ndarray of int
            Positions of rows, ascending.

        Raises
        ------
        ValueError
            If the panel has too few steps for the splits (the message says what fits), a window
            has no rows, a series has a time twice, a column is not there, or no frequency fits.
        """
        if groups is not None:
            warnings.warn(
                f"The groups parameter is ignored by {type(self).__name__}",
                UserWarning,
                stacklevel=2,
            )
        grid = _grid(X, self.time, self.series, self.freq)
        for window in self._plan(grid).itertuples():
            inside = (grid.step >= window.train_start) & (grid.step < window.train_end)
            ahead = (grid.step >= window.cutoff) & (grid.step < window.test_end)
            yield np.flatnonzero(inside), np.flatnonzero(ahead)

    def cutoffs(self, X: Any) -> pd.Index:
        """Return the first time to be forecast of each split.

        Parameters
        ----------
        X : table or array-like of R rows
            The panel, as for `split`.

        Returns
        -------
        Index of length n_splits
            Of the kind of the panel's times; row numbers where rows are the steps.
        """
        grid = _grid(X, self.time, self.series, self.freq)
        return grid.times(self._plan(grid)["cutoff"].to_numpy())

    def splits(self, X: Any) -> pd.DataFrame:
        """Return the splits as a table, with the points at which a model is refit.

        Parameters
        ----------
        X : table or array-like of R rows
            The panel, as for `split`.

        Returns
        -------
        DataFrame
            One row per split: ``cutoff`` (the first time of the test window), ``refit``,
            ``train_start`` and ``train_end`` (first and last time of the training window),
            ``test_end`` (last time of the test window), ``n_train`` and ``n_test`` (rows).

        Examples
        --------
        >>> cv = PanelSplit(n_splits=3, horizon=2, refit_every=2)
        >>> cv.splits(range(10))
           cutoff  refit  train_start  train_end  test_end  n_train  n_test
        0       4   True            0          3         5        4       2
        1       6  False            0          3         7        4       2
        2       8   True            0          7         9        8       2
        """
        grid = _grid(X, self.time, self.series, self.freq)
        plan = self._plan(grid)
        plan[["train_end", "test_end"]] -= 1
        for name in ("cutoff", "train_start", "train_end", "test_end"):
            plan[name] = grid.times(plan[name].to_numpy())
        return plan

    def _plan(self, grid: _Grid) -> pd.DataFrame:
        """Return the windows of each split in steps, ends excluded."""
        horizon = self.horizon or max(grid.length // (self.n_splits + 1), 1)
        step = self.step or horizon
        cutoff = grid.length - horizon - step * np.arange(self.n_splits)[::-1]
        first, least = int(cutoff[0]) - self.gap, self.train_size or 1
        if first < least:
            raise self._too_short(grid, horizon, step, least)
        split = np.arange(self.n_splits)
        refit = split % self.refit_every == 0
        train_end = cutoff[split - split % self.refit_every] - self.gap
        size = self.train_size or first
        plan = pd.DataFrame(
            {
                "cutoff": cutoff,
                "refit": refit,
                "train_start": train_end - size if self.window == "sliding" else 0,
                "train_end": train_end,
                "test_end": cutoff + horizon,
            }
        )
        rows = np.append(0, np.cumsum(np.bincount(grid.step)))
        plan["n_train"] = rows[plan["train_end"]] - rows[plan["train_start"]]
        plan["n_test"] = rows[plan["test_end"]] - rows[plan["cutoff"]]
        for what, start in (("train", "train_start"), ("test", "cutoff")):
            empty = (plan[f"n_{what}"] == 0).to_numpy()
            if empty.any():
                at = int(empty.argmax())
                ends = plan[start].iloc[at], plan[f"{what}_end"].iloc[at] - 1
                times = grid.times(np.array(ends))
                raise ValueError(
                    f"Split {at} of {self.n_splits}: the {what} window from {times[0]} to "
                    f"{times[1]} has no rows. Choose longer windows, or pass freq='rows' to count "
                    "only times that are there."
                )
        return plan

    def _too_short(self, grid: _Grid, horizon: int, step: int, least: int) -> ValueError:
        length, times = grid.length, grid.times(np.array([0, grid.length - 1]))
        needed = least + self.gap + step * (self.n_splits - 1) + horizon
        fits = (length - horizon - self.gap - least) // step + 1
        return ValueError(
            f"PanelSplit: {self.n_splits} splits with horizon={horizon}, step={step}, "
            f"gap={self.gap} and {least} training steps at the first need {needed} steps, the "
            f"panel has {length} ({times[0]} to {times[1]}). "
            + (f"At most n_splits={fits} fits." if fits > 0 else "Not even one split fits.")
            + " Choose fewer or shorter windows."
        )


def train_validation_test_split(
    df: Any,
    *,
    time: Any,
    series: Any = None,
    validation: Any,
    test: Any,
    gap: int = 0,
    by: Literal["fraction", "steps", "time"] = "fraction",
    freq: Any = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Cut a panel at two points in time.

    Parameters
    ----------
    df : table
        The panel, rows in any order.
    time : str or None
        The time column, or ``"index"``; None finds it as `PanelSplit` does.
    series : str or list of str, default=None
        The columns that tell the series apart.
    validation, test : float, int or timestamp
        The lengths of the two later parts, as a share of the panel's steps or in steps; with
        ``by="time"`` the first time of each.
    gap : int, default=0
        Steps left out before validation and again before test.
    by : {"fraction", "steps", "time"}, default="fraction"
        What ``validation`` and ``test`` are.
    freq : str, number or None, default=None
        The frequency; None infers it, ``"rows"`` counts the distinct times.

    Returns
    -------
    train, validation, test : DataFrame
        Rows in the order given. No row is in two of them; those in none lie in a gap.

    Raises
    ------
    ValueError
        If a part would have no rows, or a length, a time or a column is not usable.
    TypeError
        If a point in time cannot be compared with the times of the panel.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsfusion.data import train_validation_test_split
    >>> df = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=10), "sales": range(10)})
    >>> parts = train_validation_test_split(df, time="date", validation=0.2, test=0.3)
    >>> [part["sales"].tolist() for part in parts]
    [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]]
    """
    _check_whole("gap", gap, 0)
    frame = as_frame(df, [time, *_listed(series)])
    grid = _grid(frame, time, series, freq)
    if by == "time":
        first = _first_step(grid, validation, "validation")
        second = _first_step(grid, test, "test")
    else:
        lengths = [
            _length(name, value, by, grid.length)
            for name, value in (("validation", validation), ("test", test))
        ]
        second = grid.length - lengths[1]
        first = second - lengths[0]
    masks = (
        grid.step < first - gap,
        (grid.step >= first) & (grid.step < second - gap),
        grid.step >= second,
    )
    for name, mask in zip(("training", "validation", "test"), masks):
        if not mask.any():
            times = grid.times(np.array([0, grid.length - 1]))
            raise ValueError(
                f"The {name} part would have no rows: validation={validation!r}, test={test!r} and "
                f"gap={gap} by {by} cut a panel of {grid.length} steps ({times[0]} to {times[1]}) "
                f"before step {first} and before step {second}. Choose other lengths or times."
            )
    train_part, validation_part, test_part = (frame.iloc[np.flatnonzero(mask)] for mask in masks)
    return train_part, validation_part, test_part


def cold_start_split(
    df: Any, *, series: Any, test_size: float = 0.2, random_state: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold out whole series, to see how a model does on series that it never saw.

    Parameters
    ----------
    df : table
        The panel, rows in any order.
    series : str or list of str
        The columns that tell the series apart.
    test_size : float or int, default=0.2
        The share of the series to hold out (rounded, at least one), or their number.
    random_state : int, default=None
        The seed that draws the series. None spreads them evenly over the sorted labels. Either way
        the same labels give the same split, whatever the order of rows.

    Returns
    -------
    train, test : DataFrame
        Rows in the order given; every series is whole in one of them.

    Raises
    ------
    ValueError
        If a column is not there, a row has no label, or no series would be left in a part.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsfusion.data import cold_start_split
    >>> df = pd.DataFrame({"store": list("aabbccddee"), "sales": range(10)})
    >>> train, test = cold_start_split(df, series="store")
    >>> test
      store  sales
    4     c      4
    5     c      5
    """
    names = _listed(series)
    if not names:
        raise ValueError("series: expected the columns that tell the series apart, received none.")
    frame = as_frame(df, names)
    for name in names:
        if name not in frame.columns:
            raise missing_column(name, "series", frame.columns)
        missing = frame[name].isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"Series column {name!r}: expected a label in every row, row "
                f"{int(missing.argmax())} has none ({int(missing.sum())} in all)."
            )
    codes = frame.groupby(names, sort=True, observed=True).ngroup().to_numpy()
    total = int(codes.max()) + 1 if len(codes) else 0
    if _is_whole(test_size):
        count = int(test_size)
    elif isinstance(test_size, Real) and 0 < float(test_size) < 1:
        count = max(round(float(test_size) * total), 1)
    else:
        raise ValueError(
            f"test_size: expected a share between 0 and 1 or a number of series, received "
            f"{test_size!r}."
        )
    if not 0 < count < total:
        raise ValueError(
            f"test_size: expected from 1 to {total - 1} of the {total} series of {names}, "
            f"{test_size!r} holds out {count}."
        )
    if random_state is None:
        chosen = (np.arange(count) * 2 + 1) * total // (2 * count)
    else:
        chosen = np.random.default_rng(random_state).permutation(total)[:count]
    held = np.isin(codes, chosen)
    return frame.iloc[np.flatnonzero(~held)], frame.iloc[np.flatnonzero(held)]


@dataclass(frozen=True)
class _Grid:
    """The steps of a panel's rows."""

    step: np.ndarray
    """(R,) the step of each row, from 0."""
    origin: Any
    """The number of step 0 on the timeline, or with ``freq="rows"`` of every step."""
    timeline: Timeline | None
    """None where the rows are the steps."""

    @property
    def length(self) -> int:
        return int(self.step.max()) + 1

    def times(self, steps: np.ndarray) -> pd.Index:
        if self.timeline is None:
            return pd.Index(steps)
        regular = self.timeline.is_regular
        return self.timeline.times(self.origin + steps if regular else self.origin[steps])


def _grid(X: Any, time: Any, series: Any, freq: Any) -> _Grid:
    """Lay the rows of a panel on its time axis; refuse a time that a series has twice."""
    if X is None:
        raise ValueError("X: expected the panel to split, received None.")
    if isinstance(X, pd.Series):
        X = X.to_frame()
    is_table = hasattr(X, "__dataframe__") or hasattr(X, "__arrow_c_stream__")
    if time is None and series is None and not is_table:
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        _check_rows(n_rows)
        return _Grid(np.arange(n_rows), 0, None)
    frame = as_frame(X, [time, *_listed(series)])
    _check_rows(len(frame))
    roles = resolve_roles(frame, time=time, series=series, known=[], y_given=True)
    # Without a time column every row is one step, which a single row does not show.
    encoder = PanelEncoder(roles, 1 if roles.time is None and freq is None else freq)
    rows = encoder.fit(frame, np.zeros(len(frame)), validation_size=0, horizon=1)
    step = np.empty(len(frame), np.int64)
    if encoder.timeline.is_regular:
        origin = rows.ordinal.min()
        step[rows.row] = rows.ordinal - origin
    else:
        origin = distinct(rows.ordinal)
        step[rows.row] = np.searchsorted(origin, rows.ordinal)
    return _Grid(step, origin, encoder.timeline)


def _check_rows(n_rows: int) -> None:
    if not n_rows:
        raise ValueError("X: expected a panel to split, received no rows.")


def _listed(names: Any) -> list[Any]:
    if names is None:
        return []
    return list(names) if isinstance(names, (list, tuple, pd.Index)) else [names]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def _check_whole(name: str, value: Any, least: int) -> None:
    if not _is_whole(value) or value < least:
        raise ValueError(f"{name}: expected a whole number from {least} on, received {value!r}.")


def _length(name: str, value: Any, by: str, n_steps: int) -> int:
    if by == "steps":
        _check_whole(name, value, 1)
        return int(value)
    if by != "fraction":
        raise ValueError(f"by: expected 'fraction', 'steps' or 'time', received {by!r}.")
    if not isinstance(value, Real) or not 0 < float(value) < 1:
        raise ValueError(
            f"{name}: expected a share between 0 and 1, received {value!r}. For steps or times "
            "pass by='steps' or by='time'."
        )
    return max(round(float(value) * n_steps), 1)


def _first_step(grid: _Grid, moment: Any, name: str) -> int:
    """Return the first step of the panel at or after a time."""
    times = grid.times(np.array([0, grid.length - 1]))
    try:
        if isinstance(times, pd.PeriodIndex) and not isinstance(moment, pd.Period):
            moment = pd.Period(moment, times.freq)
        elif isinstance(times, pd.DatetimeIndex) and isinstance(moment, (str, datetime.date)):
            moment = pd.Timestamp(moment)
            if moment.tz is None:
                moment = moment.tz_localize(times.tz)
        too_late = times[1] < moment
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: expected a time to compare with {times[0]!r}, received {moment!r}."
        ) from error
    if too_late:
        raise ValueError(f"{name}: expected a time up to {times[1]}, received {moment}.")
    return bisect_left(
        range(grid.length), True, key=lambda step: grid.times(np.array([step]))[0] >= moment
    )
