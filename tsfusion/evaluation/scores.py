"""Scores of a backtest, by model and whatever else: sums over groups of rows, in NumPy.

Relies on pandas, and on `tsfusion.data` for the steps of the training rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsfusion.data.encoder import PanelEncoder
from tsfusion.data.frames import as_frame, numbers
from tsfusion.data.roles import resolve_roles
from tsfusion.data.timeline import raw_times
from tsfusion.evaluation.baselines import _whole
from tsfusion.evaluation.metrics import _pinball
from tsfusion.exceptions import DataWarning
from tsfusion.quantiles import quantile_columns

__all__ = ["evaluate"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_POINT = ("mae", "rmse", "mape", "smape", "bias")
_QUANTILE = ("pinball", "crps", "wql")
_INTERVAL = ("coverage", "width", "winkler")
_SCALED = {"mase": (), "rmsse": (), "sql": _QUANTILE, "msis": _INTERVAL}
METRICS = ("mae", "rmse", "mase", "rmsse", "smape", "mape", "pinball", "wql", "sql", "crps",
           "coverage", "width", "winkler", "msis", "bias")  # fmt: skip


def evaluate(
    frame: pd.DataFrame,
    *,
    train: Any = None,
    by: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    season: int | None = None,
    time: Any = None,
    series: Any = None,
    target: Any = None,
    freq: Any = None,
) -> pd.DataFrame:
    """Score the forecasts of a backtest.

    With targets ``y``, forecasts ``f``, quantiles ``q_p`` of Q levels ``p``, and of each pair of
    levels ``a/2`` and ``1 - a/2`` the interval ``[l, u]``; means over the rows of a group unless
    they say otherwise:

    ============  ==================================================================================
    ``mae``       ``mean |y - f|``
    ``rmse``      ``sqrt(mean (y - f)^2)``
    ``bias``      ``mean (f - y)``: above zero where forecasts are too high
    ``mape``      ``mean |y - f| / |y|`` as a share; rows of ``y = 0`` are left out
    ``smape``     ``mean 2 |y - f| / (|y| + |f|)``, 0 where both are 0: from 0 to 2
    ``pinball``   ``mean mean_p max(p (y - q_p), (p - 1) (y - q_p))``
    ``crps``      ``2 pinball``: the continuous ranked probability score as far as the levels tell
    ``wql``       ``2 sum mean_p pinball_p / sum |y|``
    ``coverage``  share of ``l <= y <= u``
    ``width``     ``mean (u - l)``
    ``winkler``   ``mean (u - l + 2/a max(l - y, 0) + 2/a max(y - u, 0))``
    ``mase``      mean over windows of ``mean |y - f| / s``
    ``rmsse``     mean over windows of ``sqrt(mean (y - f)^2 / s_2)``
    ``sql``       mean over windows of ``mean 2 mean_p pinball_p / s``
    ``msis``      mean over windows of the winkler score ``/ s``
    ============  ==================================================================================

    A window is what one series has of a group from one cutoff. Its scales ``s = mean |x_t -
    x_{t-m}|`` and ``s_2 = mean (x_t - x_{t-m})^2`` are those of all training rows ``x`` of the
    series before that cutoff, ``m`` steps of a season apart.

    Parameters
    ----------
    frame : DataFrame
        As `backtest` returns it. Rows whose ``y`` is NaN are left out.
    train : table, default=None
        The panel with its target, as `backtest` got it; needed for ``mase``, ``rmsse``, ``sql`` and
        ``msis``. Of each series, only rows before a cutoff count for it.
    by : str or list of str, default=None
        Columns to score apart, beside ``model``: ``"step"``, ``"cutoff"``, ``"series"`` (stands for
        the series columns), or any other column of the frame.
    metrics : str or list of str, default=None
        Which scores; None takes all that the frame and ``train`` allow.
    season : int, default=None
        ``m``; None takes that of the frequency.
    time, series, target, freq : default=None
        The columns of ``train``, and its frequency, as in `backtest`. None takes them from the
        frame: the series columns stand before ``cutoff``, the time after it, and the target and
        the frequency are noted in ``frame.attrs``.

    Returns
    -------
    DataFrame
        One row per group, in order of its keys: the columns of ``by``, ``model``, ``count`` (rows
        with a known ``y``), ``unknown`` (rows without), and the scores. Scores of intervals have
        the share that they promise in their names, such as ``coverage_0.8``. A score that nothing
        defines is NaN, those of quantiles also for a model that gave none.

    Warns
    -----
    DataWarning
        If windows have no scale, since too few values of the series are known before the cutoff
        or all are equal. They are left out of the scaled scores, the same for every model.

    Raises
    ------
    ValueError
        If a forecast is NaN, or a model lacks a row that another has, where ``y`` is known (a
        missing forecast must not better a score), a model has a row twice, quantiles cross, or a
        column is not there.

    See Also
    --------
    backtest : Makes the frame.
    skill_scores : One loss against that of a baseline, with an interval.

    Notes
    -----
    Factors as others have them. The loss behind ``pinball`` is that of scikit-learn and
    utilsforecast (no factor 2). ``wql`` and ``sql`` have the 2 of GluonTS and fev, ``crps`` that of
    scoringrules' ``crps_quantile``. ``smape`` has the 2 of fev and M4, without their 100;
    utilsforecast's is half of it. ``msis`` is that of M4, ``rmsse`` that of M5, whose season is 1.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest, evaluate
    >>> df = load_air_passengers()
    >>> table = backtest(
    ...     ["last_value", "seasonal_naive"], df, horizon=12, time="month", target="passengers"
    ... )
    >>> evaluate(table, train=df, metrics=["mae", "mase", "coverage"]).round(2)
                model  count  unknown    mae  mase  coverage_0.8
    0      last_value     36        0  73.22  2.47          0.53
    1  seasonal_naive     36        0  35.92  1.21          0.58
    """
    table = _Table.of(frame, series, time)
    table.check_same_rows(table.known)
    chosen = _chosen(metrics, train, table)
    keys = _keys(by, table)
    scales = None
    if any(name in _SCALED for name in chosen):
        scales = _scales(table, train, target, freq, season)
    losses = _row_losses(table, chosen)
    group, result = _groups(table, keys)
    size = len(result)
    known = table.known
    result["count"] = np.bincount(group[known], minlength=size)
    result["unknown"] = np.bincount(group[~known], minlength=size)
    sums = _Sums(group[known], table.windows[known], size)
    for name in chosen:
        for label, values in _scores(name, losses, table, sums, scales).items():
            result[label] = values
    return result


@dataclass
class _Table:
    """The frame in arrays, all (R,) unless they say otherwise."""

    frame: pd.DataFrame
    series: list[Any]
    time: Any
    y: _Floats
    mean: _Floats
    levels: tuple[float, ...]
    quantiles: _Floats
    """(R, Q)."""
    windows: _Ints
    """Codes of series and cutoff."""
    known: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.known = ~np.isnan(self.y)

    @classmethod
    def of(cls, frame: Any, series: Any = None, time: Any = None) -> _Table:
        if not isinstance(frame, pd.DataFrame):
            kind = type(frame)
            raise TypeError(
                "frame: expected a DataFrame of pandas, as backtest gives it, received "
                f"{kind.__module__.partition('.')[0]}.{kind.__name__}."
            )
        if not len(frame):
            raise ValueError("frame: expected forecasts to score, received no rows.")
        columns = list(frame.columns)
        for name in ("cutoff", "step", "model", "y", "mean"):
            if name not in columns:
                raise ValueError(
                    f"frame: expected the columns of a backtest, {name!r} is not there: it has "
                    f"{[str(column) for column in columns]}."
                )
        at = columns.index("cutoff")
        if series is None:
            series = columns[:at]
        if time is None or time not in columns:
            time = columns[at + 1]
        series = list(series) if isinstance(series, (list, tuple)) else [series]
        found = sorted(quantile_columns(columns).items())
        quantiles = np.empty((len(frame), len(found)))
        for i, (_, name) in enumerate(found):
            quantiles[:, i] = numbers(frame[name], name, "quantile")
        table = cls(
            frame,
            series,
            time,
            numbers(frame["y"], "y", "target"),
            numbers(frame["mean"], "mean", "forecast"),
            tuple(level for level, _ in found),
            quantiles,
            _codes(frame, [*series, "cutoff"]),
        )
        table._check()
        return table

    @property
    def models(self) -> pd.Series:
        return self.frame["model"]

    @property
    def with_quantiles(self) -> npt.NDArray[np.bool_]:
        """Whether the row is of a model that gave quantiles at all."""
        return np.isin(self.models, self.models[~np.isnan(self.quantiles).all(axis=1)].unique())

    @property
    def intervals(self) -> list[tuple[float, int, int]]:
        """The share promised, and the columns of both bounds, of each pair of levels."""
        level = np.asarray(self.levels)
        pairs = ((i, np.flatnonzero(np.isclose(level, 1 - p))) for i, p in enumerate(level[:]))
        return [
            (round(float(level[j[0]] - level[i]), 10), i, int(j[0]))
            for i, j in pairs
            if len(j) and j[0] > i
        ]

    def check_same_rows(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Raise unless every model has each of the chosen rows (R,) once."""
        if not chosen.any():
            return
        names = [*self.series, "cutoff", "step"]
        frame = self.frame[chosen]
        rows, (code, models) = _codes(frame, names), pd.factorize(frame["model"])
        counts = np.bincount(rows * len(models) + code, minlength=(rows.max() + 1) * len(models))
        counts = counts.reshape(-1, len(models))
        if (counts == 1).all():
            return
        model = int((counts != 1).any(axis=0).argmax())
        row = int((counts[:, model] != 1).argmax())
        where = ", ".join(f"{name}={frame[name].iloc[(rows == row).argmax()]}" for name in names)
        lacks = counts[row, model] == 0
        raise ValueError(
            f"frame: expected every model once in each row (series, cutoff and step); "
            f"{models[model]!r} {'lacks' if lacks else 'has more than once'} that of {where} "
            f"({int((counts[:, model] != 1).sum())} such rows). "
            + ("Drop the rows that some models lack." if lacks else "Give each run a name.")
        )

    def _check(self) -> None:
        gone = self.known & np.isnan(self.mean)
        if self.levels:
            gone |= self.known & self.with_quantiles & np.isnan(self.quantiles).any(axis=1)
        if gone.any():
            raise ValueError(
                f"{self.models[gone].iloc[0]}: forecasts are NaN where the target is known, in "
                f"{int(gone.sum())} rows: forecast them, or set those targets to NaN."
            )
        crossed = (np.diff(self.quantiles, axis=1) < 0).any(axis=1) & self.known
        if crossed.any():
            raise ValueError(
                f"{self.models[crossed].iloc[0]}: quantiles cross in {int(crossed.sum())} rows: "
                "sort them first."
            )


def _chosen(metrics: Any, train: Any, table: _Table) -> list[str]:
    if metrics is None:
        return [
            name
            for name in METRICS
            if (train is not None or name not in _SCALED)
            and (table.levels or name not in (*_QUANTILE, "sql"))
            and (table.intervals or name not in (*_INTERVAL, "msis"))
        ]
    chosen = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in chosen:
        if name not in METRICS:
            raise ValueError(f"metrics: expected some of {METRICS}, received {name!r}.")
        if name in _SCALED and train is None:
            raise ValueError(f"metrics: {name!r} needs the scale of the past: pass train=.")
        if name in (*_QUANTILE, "sql") and not table.levels:
            raise ValueError(f"metrics: {name!r} needs quantiles, and the frame has none.")
        if name in (*_INTERVAL, "msis") and not table.intervals:
            raise ValueError(
                f"metrics: {name!r} needs levels in pairs, such as 0.1 and 0.9; the frame has "
                f"{list(table.levels)}."
            )
    return chosen


def _keys(by: Any, table: _Table) -> list[Any]:
    named = [by] if isinstance(by, str) or not isinstance(by, Sequence) else list(by)
    named = [] if by is None else named
    keys: list[Any] = []
    for name in named:
        if name == "series" and name not in table.frame.columns:
            keys += table.series
        elif name not in table.frame.columns:
            raise ValueError(
                f"by: expected 'series' or columns of the frame, received {name!r}; it has "
                f"{[str(column) for column in table.frame.columns]}."
            )
        else:
            keys.append(name)
    return [*dict.fromkeys(key for key in keys if key != "model"), "model"]


def _codes(frame: pd.DataFrame, keys: list[Any]) -> _Ints:
    return frame.groupby(keys, sort=True, observed=True, dropna=False).ngroup().to_numpy(np.int64)


def _groups(table: _Table, keys: list[Any]) -> tuple[_Ints, pd.DataFrame]:
    """The group of each row, and a table of the groups."""
    codes = _codes(table.frame, keys)
    _, first = np.unique(codes, return_index=True)
    return codes, table.frame[keys].iloc[first].reset_index(drop=True)


def _row_losses(table: _Table, chosen: list[str]) -> dict[str, _Floats]:
    """What each row with a known target adds to the scores; a column for each interval."""
    y, f = table.y[table.known], table.mean[table.known]
    quantiles = table.quantiles[table.known]
    size = np.abs(y)
    error = np.abs(y - f)
    losses = {"error": f - y, "absolute": error, "square": error**2, "size": size}
    losses["mape"] = np.divide(error, size, out=np.full(len(y), np.nan), where=size > 0)
    both = size + np.abs(f)
    losses["smape"] = np.divide(2 * error, both, out=np.zeros(len(y)), where=both > 0)
    if any(name in (*_QUANTILE, "sql") for name in chosen):
        levels = np.asarray(table.levels)
        losses["pinball"] = np.mean(_pinball(y[:, None], quantiles, levels), axis=1)
    if any(name in (*_INTERVAL, "msis") for name in chosen):
        has = table.with_quantiles[table.known]
        for nominal, i, j in table.intervals:
            low, high = quantiles[:, i], quantiles[:, j]
            miss = np.maximum(low - y, 0) + np.maximum(y - high, 0)
            losses[f"coverage_{nominal:g}"] = np.where(has, (low <= y) & (y <= high), np.nan)
            losses[f"width_{nominal:g}"] = high - low
            losses[f"winkler_{nominal:g}"] = high - low + 2 / (1 - nominal) * miss
    return losses


@dataclass
class _Sums:
    """Means over groups of the rows with a known target."""

    group: _Ints
    window: _Ints
    size: int
    cell: _Ints = field(init=False)
    """The group's window of each row."""
    cell_group: _Ints = field(init=False)
    cell_window: _Ints = field(init=False)

    def __post_init__(self) -> None:
        span = int(self.window.max(initial=0)) + 1
        cells, self.cell = np.unique(self.group * span + self.window, return_inverse=True)
        self.cell_group, self.cell_window = np.divmod(cells, span)

    def mean(self, values: _Floats) -> _Floats:
        """Mean over each group."""
        return _ratio(self.sum(values), np.bincount(self.group, minlength=self.size))

    def sum(self, values: _Floats) -> _Floats:
        return _weighed(self.group, values, self.size)

    def of_windows(self, values: _Floats) -> _Floats:
        """Mean over each window of each group."""
        count = np.bincount(self.cell)
        return np.bincount(self.cell, values, minlength=len(count)) / count

    def over_windows(self, values: _Floats, ok: npt.NDArray[np.bool_]) -> _Floats:
        """Mean over each group of the values of its windows."""
        group = self.cell_group[ok]
        total = np.bincount(group, values[ok], minlength=self.size)
        return _ratio(total, np.bincount(group, minlength=self.size))


def _weighed(group: _Ints, values: _Floats, size: int) -> _Floats:
    return np.bincount(group, values, minlength=size).astype(np.float64)


def _ratio(a: npt.NDArray, b: npt.NDArray) -> _Floats:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0)


def _scores(
    name: str,
    losses: dict[str, _Floats],
    table: _Table,
    sums: _Sums,
    scales: dict[int, _Floats] | None,
) -> dict[str, _Floats]:
    """The columns of a score."""
    plain: dict[str, Callable[[], _Floats]] = {
        "mae": lambda: sums.mean(losses["absolute"]),
        "rmse": lambda: np.sqrt(sums.mean(losses["square"])),
        "bias": lambda: sums.mean(losses["error"]),
        "smape": lambda: sums.mean(losses["smape"]),
        "mape": lambda: _ratio(
            sums.sum(np.nan_to_num(losses["mape"])), sums.sum(np.isfinite(losses["mape"]) * 1.0)
        ),
        "pinball": lambda: sums.mean(losses["pinball"]),
        "crps": lambda: 2 * sums.mean(losses["pinball"]),
        "wql": lambda: _ratio(2 * sums.sum(losses["pinball"]), sums.sum(losses["size"])),
    }
    if name in plain:
        return {name: plain[name]()}
    if name in _INTERVAL:
        found = {f"{name}_{nominal:g}" for nominal, _, _ in table.intervals}
        return {label: sums.mean(losses[label]) for label in losses if label in found}
    assert scales is not None
    power = 2 if name == "rmsse" else 1
    scale = scales[power][sums.cell_window]
    ok = scale > 0

    def scaled(values: _Floats) -> _Floats:
        return np.divide(sums.of_windows(values), scale, out=np.zeros(len(ok)), where=ok)

    if name == "rmsse":
        return {name: sums.over_windows(np.sqrt(scaled(losses["square"])), ok)}
    if name == "mase":
        return {name: sums.over_windows(scaled(losses["absolute"]), ok)}
    if name == "sql":
        return {name: sums.over_windows(2 * scaled(losses["pinball"]), ok)}
    return {
        f"msis_{nominal:g}": sums.over_windows(scaled(losses[f"winkler_{nominal:g}"]), ok)
        for nominal, _, _ in table.intervals
    }


def _scales(
    table: _Table, train: Any, target: Any, freq: Any, season: int | None
) -> dict[int, _Floats]:
    """Of each window, the mean absolute and the mean squared change over a season; or NaN."""
    attrs = table.frame.attrs
    target = attrs.get("target") if target is None else target
    freq = attrs.get("freq") if freq is None else freq
    past = as_frame(train)
    if target is None or target not in past.columns:
        raise ValueError(
            f"target: expected the column of train that holds the target, received {target!r}; it "
            f"has {[str(name) for name in past.columns]}."
        )
    in_columns = table.time in past.columns
    apart = [name for name in table.series if name in past.columns]
    roles = resolve_roles(
        past,
        time=table.time if in_columns else None,
        series=apart or None,
        target=target,
        known=[],
    )
    encoder = PanelEncoder(roles, 1 if roles.time is None and freq is None else freq)
    rows = encoder.fit(past, None, validation_size=0, horizon=1)
    timeline = encoder.timeline
    if season is None:
        season = timeline.season
    before = _season_before(rows, timeline.is_regular, _whole("season", season))
    change = np.where(before >= 0, np.abs(rows.target - rows.target[before]), np.nan)

    distinct, first = np.unique(table.windows, return_index=True)
    windows = table.frame.iloc[first]
    cutoffs = timeline.ordinals(raw_times(windows["cutoff"], "cutoff"), "cutoff")
    codes = np.zeros(len(windows), np.int64)
    if table.series:
        codes = rows.labels.get_indexer(labels_of(windows, table.series))
    result = {}
    for power in (1, 2):
        mean = _means_before(change**power, rows.series, rows.ordinal, codes, cutoffs)
        result[power] = np.full(int(distinct.max(initial=0)) + 1, np.nan)
        result[power][distinct] = mean
    nothing = ~(result[1][distinct] > 0)
    if nothing.any():
        row = windows.iloc[int(nothing.argmax())]
        of = "".join(f" of {name}={row[name]!r}" for name in table.series)
        warnings.warn(
            f"{int(nothing.sum())} of {len(distinct)} windows have no scale and are left out of "
            f"mase, rmsse, sql and msis, the first{of} at {row['cutoff']}: before the cutoff no "
            f"two known values {season} steps apart, or no change.",
            DataWarning,
            stacklevel=3,
        )
    return result


def labels_of(frame: pd.DataFrame, names: list[Any]) -> pd.Index:
    """The series of rows, as the encoder labels them."""
    plain = [
        column.astype(column.cat.categories.dtype)
        if isinstance(column.dtype, pd.CategoricalDtype)
        else column
        for column in (frame[name] for name in names)
    ]
    return pd.Index(plain[0]) if len(plain) == 1 else pd.MultiIndex.from_arrays(plain)


def _season_before(rows: Any, is_regular: bool, season: int) -> _Ints:
    """The row one season before each of the sorted rows, (R,); -1 where there is none."""
    place = np.arange(len(rows))
    count = rows.counts()
    start = (np.cumsum(count) - count)[rows.series]
    if not is_regular:
        return np.where(place - season >= start, place - season, -1)
    # One number for series and step, increasing as rows are sorted.
    step = rows.ordinal - rows.ordinal.min()
    span = int(step.max()) + season + 1
    key = rows.series * span + step
    found = np.searchsorted(key, key - season)
    there = (step >= season) & (key[found] == key - season) & (found >= start)
    return np.where(there, found, -1)


def _means_before(
    values: _Floats, series: _Ints, ordinal: _Ints, codes: _Ints, cutoffs: _Ints
) -> _Floats:
    """Mean of the known values of a series (code) before a cutoff, for each pair of these."""
    edges = np.unique(cutoffs)
    # The first cutoff after each row; sums over cells of series and cutoff, then over time.
    cell = series * (len(edges) + 1) + np.searchsorted(edges, ordinal, side="right")
    shape = (int(series.max()) + 1, len(edges) + 1)
    known = ~np.isnan(values)
    size = shape[0] * shape[1]
    total = np.bincount(cell, np.where(known, values, 0.0), minlength=size).reshape(shape)
    count = np.bincount(cell[known], minlength=size).reshape(shape)
    at = np.searchsorted(edges, cutoffs)
    found = codes >= 0
    mean = _ratio(np.cumsum(total, axis=1)[codes, at], np.cumsum(count, axis=1)[codes, at])
    return np.where(found, mean, np.nan)
