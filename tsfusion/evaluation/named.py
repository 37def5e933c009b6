"""Baselines by name, as objects with fit and forecast like a forecaster's.

Relies on `tsfusion.evaluation.baselines` for the methods and on `tsfusion.data` for the time axis;
AutoETS and AutoTheta need the package statsforecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.frames import as_frame
from tsfusion.data.roles import check_result_columns, resolve_roles
from tsfusion.data.timeline import Timeline
from tsfusion.evaluation.baselines import _NAMES, _method, _Panel, _residual_quantiles, _whole
from tsfusion.prediction import known_end
from tsfusion.quantiles import check_levels, quantile_names

__all__ = ["BASELINES", "Baseline"]

# Names here, and classes of statsforecast.models.
_STATISTICAL = {"auto_ets": "AutoETS", "auto_theta": "AutoTheta"}
BASELINES = (*_NAMES, *_STATISTICAL)

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


class Baseline(BaseEstimator):
    """A baseline with `fit` and `forecast`, called as a `FusionForecaster` is.

    Parameters
    ----------
    name : str, default="seasonal_naive"
        ``"last_value"``, ``"seasonal_naive"``, ``"season_mean"``, ``"drift"`` or ``"linear"`` (see
        `baseline_forecast`); ``"auto_ets"`` or ``"auto_theta"`` with statsforecast (the extra
        ``statistical``).
    horizon : int, default=12
        Steps to forecast.
    time, series, target, freq
        As in `FusionForecaster`.
    season : int, default=None
        Steps of a season; None takes that of the frequency.
    quantiles : sequence of float, default=(0.1, 0.5, 0.9)
        The levels that `forecast` gives.

    Notes
    -----
    A step past the last row of a series counts from that row, and steps missing from the grid are
    unknown. Nothing is learned but by ``"linear"``, so a forecast with ``context=`` is that of a
    baseline fitted on the context.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import Baseline
    >>> model = Baseline("seasonal_naive", 2, time="month", target="passengers", quantiles=[0.9])
    >>> model.fit(load_air_passengers()).forecast()
           month   mean   q0.9
    0 1961-01-01  417.0  471.0
    1 1961-02-01  391.0  445.0
    """

    def __init__(
        self,
        name: str = "seasonal_naive",
        horizon: int = 12,
        *,
        time: Any = None,
        series: Any = None,
        target: Any = None,
        freq: Any = None,
        season: int | None = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> None:
        self.name = name
        self.horizon = horizon
        self.time = time
        self.series = series
        self.target = target
        self.freq = freq
        self.season = season
        self.quantiles = quantiles

    def fit(self, X: Any, y: Any = None) -> Baseline:
        """Take in the history.

        Parameters
        ----------
        X : DataFrame of R rows
            One row per series and time, in any order.
        y : array-like of shape (R,), default=None
            The target; None takes the ``target`` column.

        Returns
        -------
        Baseline
            Itself.
        """
        check_baseline(self.name)
        _whole("horizon", self.horizon)
        self._rows, self._encoder = self._read(X, y)
        return self

    def forecast(
        self,
        future: Any = None,
        *,
        horizon: int | None = None,
        quantiles: Any = None,
        context: Any = None,
    ) -> pd.DataFrame:
        """Forecast what follows the history.

        Parameters
        ----------
        future : DataFrame, default=None
            Series and times to forecast; None takes the next ``horizon`` steps of every series.
        horizon : int, default=None
            How many steps; None takes the estimator's.
        quantiles : sequence of float, default=None
            Levels to give; None takes the estimator's.
        context : DataFrame, default=None
            History in place of that of `fit`.

        Returns
        -------
        DataFrame
            Series and time columns, ``mean``, and a column such as ``q0.1`` per level; sorted by
            series and time.
        """
        check_is_fitted(self, "_rows")
        levels = np.asarray(check_levels(self.quantiles if quantiles is None else quantiles))
        steps = _whole("horizon", self.horizon if horizon is None else horizon)
        rows, encoder = (
            (self._rows, self._encoder) if context is None else self._read(context, None)
        )
        timeline, roles = encoder.timeline, encoder.roles
        names = quantile_names(levels)
        check_result_columns((*roles.series, roles.time_label), ["mean", *names])
        last = np.cumsum(rows.counts()) - 1
        if future is None:
            series, ahead = np.divmod(np.arange(len(last) * steps), steps)
            ahead = ahead + 1
            ordinal = _ordinals_ahead(timeline, rows, rows.ordinal[last][series], ahead)
            labels = rows.labels
        else:
            asked = encoder.read(
                as_frame(future, [self.time]),
                kind="future",
                memory=rows,
                with_target=False,
                first=len(rows) if encoder.roles.time is None else 0,
            ).sorted()
            _check_seen(asked, len(last))
            series, ordinal, labels = asked.series, asked.ordinal, asked.labels
            ahead = _steps_ahead(timeline, asked, rows.ordinal[last])
        mean, spread = self._values(rows, timeline, series, ahead, steps, levels)
        table: dict[Any, Any] = {}
        shown = labels[series]
        for i, key in enumerate(roles.series):
            table[key] = shown.get_level_values(i) if len(roles.series) > 1 else shown
        table[roles.time_label] = timeline.times(ordinal)
        table["mean"] = mean
        for i, name in enumerate(names):
            table[name] = spread[:, i]
        return pd.DataFrame(table)

    def _read(self, X: Any, y: Any) -> tuple[Rows, PanelEncoder]:
        frame = as_frame(X, [self.time, self.target])
        roles = resolve_roles(
            frame,
            time=self.time,
            series=self.series,
            target=self.target,
            known=[],
            y_name=getattr(y, "name", None),
            y_given=y is not None,
        )
        encoder = PanelEncoder(roles, self.freq)
        return _until_known(encoder.fit(frame, y, validation_size=0, horizon=1)), encoder

    def _values(
        self,
        rows: Rows,
        timeline: Timeline,
        series: _Ints,
        ahead: _Ints,
        horizon: int,
        levels: _Floats,
    ) -> tuple[_Floats, _Floats]:
        """Mean (N,) and quantiles (N, Q) of steps ahead of the last rows of series."""
        season = self.season
        if season is None:
            season = timeline.season
        season = _whole("season", season)
        panel = _panel(rows, timeline)
        if self.name in _STATISTICAL:
            return _statistical(_STATISTICAL[self.name], panel, season, series, ahead, levels)
        method = _method(self.name, panel, season, horizon)
        mean = np.empty(len(series))
        for step in np.unique(ahead):
            at = ahead == step
            mean[at] = method(panel.ends[series[at]], int(step))
        # Residuals of more steps than asked for would cost a pass over the panel each.
        most = min(int(ahead.max(initial=1)), horizon)
        order = np.argsort(levels)
        spread = _residual_quantiles(method, panel, most, levels[order])[:, :, np.argsort(order)]
        return mean, mean[:, None] + spread[series, np.minimum(ahead, most) - 1]


def check_baseline(name: Any) -> None:
    """Raise unless this is the name of a baseline that can be run here."""
    if name not in BASELINES:
        raise ValueError(
            f"baseline: expected the name of one of {', '.join(BASELINES)}, received {name!r}."
        )
    if name in _STATISTICAL:
        _import_statistical(name)


def _import_statistical(name: str) -> Any:
    try:
        import statsforecast
        import statsforecast.models
    except ImportError as error:
        raise ImportError(
            f"The baseline {name!r} needs the package statsforecast: "
            "pip install 'tsfusion[statistical]'."
        ) from error
    return statsforecast


def _until_known(rows: Rows) -> Rows:
    """Leave out what follows a series' last known target: forecasts begin there, as a network's do.

    A series without any keeps its rows.
    """
    last = known_end(rows)[rows.series]
    return rows.take((last < 0) | (np.arange(len(rows)) <= last))


def _panel(rows: Rows, timeline: Timeline) -> _Panel:
    """Sorted rows on their grid, unknown where a step has no row."""
    last = np.cumsum(rows.counts())
    first = np.append(0, last[:-1])
    if not timeline.is_regular:
        return _Panel(rows.target, np.append(first, len(rows)))
    begin = rows.ordinal[first]
    offsets = np.append(0, np.cumsum(rows.ordinal[last - 1] - begin + 1))
    values = np.full(offsets[-1], np.nan)
    values[offsets[rows.series] + rows.ordinal - begin[rows.series]] = rows.target
    return _Panel(values, offsets)


def _ordinals_ahead(timeline: Timeline, rows: Rows, last: _Ints, ahead: _Ints) -> _Ints:
    if timeline.is_regular:
        return last + ahead
    # Where every row is one step, the median distance on.
    gaps = np.diff(rows.ordinal)[np.diff(rows.series) == 0]
    gap = float(np.median(gaps)) if len(gaps) else 1.0
    return (last + ahead * gap).astype(rows.ordinal.dtype)


def _steps_ahead(timeline: Timeline, asked: Rows, last: _Ints) -> _Ints:
    behind = asked.ordinal <= last[asked.series]
    if behind.any():
        time = timeline.times(asked.ordinal[behind][:1])[0]
        raise ValueError(
            f"future: expected times after the history, received {time} "
            f"({int(behind.sum())} rows in all): leave them out."
        )
    if timeline.is_regular:
        return asked.ordinal - last[asked.series]
    count = asked.counts()
    return np.arange(len(asked)) - (np.cumsum(count) - count)[asked.series] + 1


def _check_seen(asked: Rows, known: int) -> None:
    unseen = asked.series >= known
    if unseen.any():
        label = asked.labels[asked.series[unseen.argmax()]]
        raise ValueError(
            f"future: series {label!r} has no history: pass it in context=, or leave it out."
        )


def _statistical(
    model: str, panel: _Panel, season: int, series: _Ints, ahead: _Ints, levels: _Floats
) -> tuple[_Floats, _Floats]:
    """Forecasts of a model of statsforecast, series by series as it does."""
    package = _import_statistical(model)
    lengths = np.diff(panel.offsets)
    codes = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(codes)) - panel.offsets[:-1][codes]
    # It takes no gaps: the last known value stands in them.
    table = pd.DataFrame({"unique_id": codes, "ds": step, "y": panel.values})
    table["y"] = table.groupby("unique_id")["y"].ffill()
    table = table.dropna()
    widths = {round(abs(1 - 2 * level) * 100, 6) for level in levels} - {0.0}
    run = package.StatsForecast(
        models=[getattr(package.models, model)(season_length=season, alias="mean")],
        freq=1,
        n_jobs=1,
    )
    made = run.forecast(df=table, h=int(ahead.max()), level=sorted(widths) or None)
    found = made.set_index(["unique_id", "ds"]).reindex(
        pd.MultiIndex.from_arrays([series, lengths[series] - 1 + ahead])
    )
    mean = found["mean"].to_numpy(np.float64)
    columns = [
        mean if level == 0.5 else found[_interval_name(float(level))].to_numpy(np.float64)
        for level in levels
    ]
    return mean, np.stack(columns, axis=-1)


def _interval_name(level: float) -> str:
    """The column of statsforecast that holds a quantile: ``mean-lo-80.0`` for 0.1."""
    side = "lo" if level < 0.5 else "hi"
    return f"mean-{side}-{round(abs(1 - 2 * level) * 100, 6)}"
