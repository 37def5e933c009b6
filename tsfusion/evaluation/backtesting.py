"""Backtests: forecasts from past cutoffs, each made only of what was known before it.

Relies on scikit-learn and joblib, and on `tsfusion.data` for the time axis and the windows.
"""

from __future__ import annotations

import inspect
import sys
import time as clock
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone

from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.frames import as_frame, as_target
from tsfusion.data.roles import INDEX, Roles, check_result_columns, resolve_roles
from tsfusion.data.splits import PanelSplit, _Grid
from tsfusion.data.timeline import Timeline, distinct, raw_times
from tsfusion.evaluation._store import Store, data_digest, model_digest
from tsfusion.evaluation.baselines import _whole
from tsfusion.evaluation.named import Baseline, check_baseline
from tsfusion.evaluation.scores import labels_of
from tsfusion.exceptions import DataWarning
from tsfusion.quantiles import check_levels, quantile_names

__all__ = ["backtest", "named_models"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_LEVELS = (0.1, 0.5, 0.9)
_OWN_COLUMNS = ("cutoff", "step", "model", "y", "mean")


def backtest(
    models: Any,
    X: Any,
    y: Any = None,
    *,
    horizon: int,
    n_windows: int = 3,
    step: int | None = None,
    gap: int = 0,
    window: Literal["expanding", "sliding"] = "expanding",
    train_size: int | None = None,
    refit: bool | int = True,
    time: Any = None,
    series: Any = None,
    target: Any = None,
    freq: Any = None,
    observed: Any = None,
    quantiles: Any = None,
    season: int | None = None,
    n_jobs: int = 1,
    out: Any = None,
    verbose: int = 1,
) -> pd.DataFrame:
    """Forecast from several cutoffs in the past, with several models side by side.

    As in `PanelSplit`, a cutoff ``c`` is the first step to be forecast::

        history:   t < c - gap                            (expanding)
                   c - gap - train_size <= t < c - gap    (sliding)
        forecast:  c <= t < c + horizon

    A model is fitted on its history, and gets of later rows the time, the series and the known
    columns alone: no target, no weight, and no observed column.

    Parameters
    ----------
    models : object, str, list or dict of str to these
        What to compare: a `FusionForecaster`, any other object with ``fit(X)`` and
        ``forecast(future)`` that give and take the same tables, or the name of a baseline (see
        `Baseline`). Objects are cloned for every fit, and stay as they are.
    X : table of R rows
        The panel, rows in any order. Rows after the last known target of the panel are left out.
    y : array-like of shape (R,), default=None
        The target; None takes the ``target`` column.
    horizon : int
        Steps to forecast from each cutoff.
    n_windows : int, default=3
        How many cutoffs. The last window ends with the panel.
    step : int, default=None
        Steps from one cutoff to the next; None takes ``horizon``.
    gap : int, default=0
        Steps before the cutoff whose target is not known yet. A model's ``horizon`` parameter is
        raised to ``horizon + gap`` where it is less.
    window : {"expanding", "sliding"}, default="expanding"
        Whether the history starts with the panel or has a fixed length.
    train_size : int, default=None
        Sliding: steps of the history; None takes what the first cutoff has. Expanding: the least
        number of steps that the first cutoff must have.
    refit : bool or int, default=True
        Fit at every cutoff; at the first alone; or at every so many. In between a model is given
        the history up to the cutoff, by ``forecast(context=)`` or, where it has no such argument,
        by ``update``. Baselines by name always start from the history.
    time, series, target, freq : default=None
        As in `FusionForecaster`. None takes that of the first model that has one.
    observed : str or list of str, default=None
        Columns that no model may see at or after a cutoff, beside each model's own ``observed``.
    quantiles : sequence of float, default=None
        Levels to forecast; None takes those of the first model that has some, else 0.1, 0.5, 0.9.
    season : int, default=None
        Steps of a season, for the baselines; None takes that of the frequency.
    n_jobs : int, default=1
        Processes, as in joblib. Cutoffs that share a fit run in one.
    out : path, default=None
        A folder that keeps the forecasts, one file per model and cutoff. Called again with the same
        data, models and settings, what is there is read and not run again. Models may be added.
    verbose : int, default=1
        0: nothing; 1: a progress line on a terminal; 2: a line per model and cutoff on standard
        error. Below 2, models that have a ``verbose`` parameter are silenced.

    Returns
    -------
    DataFrame
        One row per model, cutoff, series and time, in this order. Its columns: those of the series,
        ``cutoff``, the time, ``step`` (1 at the cutoff), ``model``, ``y`` (NaN where unknown),
        ``mean``, and ``q0.1`` for each level 0.1 (NaN from a model without quantiles).

    Warns
    -----
    DataWarning
        If series are left out of a window: they have no rows in it, or no known target before it.
        If known values of missing rows are filled in with those of the row before.

    Raises
    ------
    ValueError
        If the panel is too short for the windows, a model leaves a row out, or ``out`` holds a
        backtest of other data or settings.

    See Also
    --------
    evaluate : Scores of the result.
    skill_scores : How much better than a baseline.
    tsfusion.data.PanelSplit : The same windows for scikit-learn.

    Notes
    -----
    ``future`` holds the rows from the one after each series' last known target to the end of the
    window, without gaps. Those before the cutoff, and those that X lacks, are not in the result.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest
    >>> table = backtest(
    ...     ["last_value", "seasonal_naive"], load_air_passengers(), horizon=2, n_windows=2,
    ...     time="month", target="passengers", quantiles=[0.9],
    ... )
    >>> table.head(4)
          cutoff      month  step       model      y   mean   q0.9
    0 1960-09-01 1960-09-01     1  last_value  508.0  606.0  649.2
    1 1960-09-01 1960-10-01     2  last_value  461.0  606.0  674.6
    2 1960-11-01 1960-11-01     1  last_value  390.0  461.0  504.0
    3 1960-11-01 1960-12-01     2  last_value  432.0  461.0  529.2
    """
    named = named_models(models)
    own = {
        key: _own(named, key) if value is None else value
        for key, value in (("time", time), ("series", series), ("target", target), ("freq", freq))
    }
    if quantiles is None:
        quantiles = _own(named, "quantiles")
    levels = tuple(sorted(check_levels(_LEVELS if quantiles is None else quantiles)))
    n_windows, horizon = _whole("n_windows", n_windows), _whole("horizon", horizon)
    refit_every = _refit_every(refit, n_windows)
    split = PanelSplit(
        n_splits=n_windows,
        horizon=horizon,
        step=step,
        gap=gap,
        window=window,
        train_size=train_size,
        refit_every=refit_every,
    )
    data = _Data.read(X, y, own, levels)
    folds = _folds(data, split)
    hidden = [] if observed is None else observed if isinstance(observed, list) else [observed]
    runs = []
    for name, model in named.items():
        columns = _future_columns(model, data, hidden)
        digest = model if isinstance(model, str) else model_digest(model)
        if isinstance(model, str):
            model = _baseline(model, data, horizon + gap, levels, season)
        else:
            model = _prepared(model, horizon + gap if gap else None, quiet=verbose < 2)
        runs.append(_Run.of(name, model, digest, columns, levels, min(refit_every, n_windows) > 1))
    _warn_of_filled(data, folds, runs)
    store = None
    if out is not None:
        settings = {
            **{key: repr(value) for key, value in own.items()},
            "horizon": horizon, "n_windows": n_windows, "step": step, "gap": gap, "window": window,
            "train_size": train_size, "refit_every": refit_every, "season": season,
            "quantiles": list(levels), "observed": repr(observed),
            "data": data_digest(data.frame, data.target),
        }  # fmt: skip
        store = Store.open(out, settings)
    made = _run_all(runs, data, folds, store, n_jobs, verbose)
    return _table(runs, data, folds, made)


def _refit_every(refit: Any, n_windows: int) -> int:
    """At every how manieth cutoff a model is fitted."""
    if isinstance(refit, (bool, np.bool_)):
        return 1 if refit else n_windows
    if not isinstance(refit, (int, np.integer)) or refit < 1:
        raise ValueError(
            f"refit: expected True, False or a whole number from 1 on, received {refit!r}."
        )
    return int(refit)


def named_models(models: Any) -> dict[str, Any]:
    """Return the models by name, checked; baselines as their names."""
    if not isinstance(models, Mapping):
        listed = list(models) if isinstance(models, (list, tuple)) else [models]
        names = [model if isinstance(model, str) else type(model).__name__ for model in listed]
        if len(set(names)) < len(names):
            raise ValueError(f"models: {names} are not told apart: pass a dict with their names.")
        models = dict(zip(names, listed))
    if not models:
        raise ValueError("models: expected at least one, received none.")
    for name, model in models.items():
        if not isinstance(name, str):
            raise TypeError(f"models: expected names that are texts, received {name!r}.")
        if isinstance(model, str):
            check_baseline(model)
        elif isinstance(model, type) or not (hasattr(model, "fit") and hasattr(model, "forecast")):
            raise TypeError(
                f"models: {name!r}: expected an object with fit and forecast, or the name of a "
                f"baseline, received {model!r}."
            )
    return dict(models)


def _own(models: dict[str, Any], parameter: str) -> Any:
    """What the first model that says so has for a parameter."""
    found = (getattr(model, parameter, None) for model in models.values())
    return next((value for value in found if value is not None), None)


@dataclass(frozen=True)
class _Data:
    """The panel: the frame with its target, and where its rows stand in time."""

    frame: pd.DataFrame
    """All columns; the target too, under its name."""
    target: _Floats
    """(R,) in the order of the frame."""
    y_given: bool
    roles: Roles
    timeline: Timeline
    rows: Rows
    """Sorted by series and time."""
    step: _Ints
    """(R,) the step of each of `rows`, from 0."""
    origin: Any

    @classmethod
    def read(cls, X: Any, y: Any, own: dict[str, Any], levels: tuple[float, ...]) -> _Data:
        names = own["series"] if isinstance(own["series"], (list, tuple)) else [own["series"]]
        frame = as_frame(X, [own["time"], own["target"], *names])
        if not len(frame):
            raise ValueError("X: expected a panel to backtest on, received no rows.")
        roles = resolve_roles(
            frame,
            time=own["time"],
            series=own["series"],
            target=own["target"],
            known=[],
            y_name=getattr(y, "name", None),
            y_given=y is not None,
        )
        if roles.time is not None:
            taken = (*_OWN_COLUMNS, *quantile_names(levels))
            check_result_columns((*roles.series, roles.time_label), taken)
        if y is not None:
            y = as_target(y, frame, X)
            frame = frame.copy()
            frame[roles.target] = y
        freq = 1 if roles.time is None and own["freq"] is None else own["freq"]
        encoder = PanelEncoder(roles, freq)
        rows = encoder.fit(frame, y, validation_size=0, horizon=1)
        timeline = encoder.timeline
        if timeline.is_regular:
            origin: Any = rows.ordinal.min()
            step = rows.ordinal - origin
        else:
            origin = distinct(rows.ordinal)
            step = np.searchsorted(origin, rows.ordinal)
        target = np.empty(len(rows))
        target[rows.row] = rows.target
        known = np.isfinite(rows.target)
        if not known.any():
            raise ValueError("The target is unknown in every row: there is nothing to forecast.")
        # There is nothing to score after the last known target.
        rows, step = _take(rows, step, step <= step[known].max())
        return cls(frame, target, y is not None, roles, timeline, rows, step, origin)

    def ordinals(self, steps: _Ints) -> _Ints:
        return self.origin + steps if self.timeline.is_regular else self.origin[steps]

    def times(self, steps: Any) -> pd.Index:
        return self.timeline.times(self.ordinals(np.atleast_1d(steps)))

    def between(self, start: int, end: int) -> pd.DataFrame:
        """The rows from one step to before another, in the order of the frame."""
        inside = (self.step >= start) & (self.step < end)
        return self.frame.iloc[np.sort(self.rows.row[inside])]

    def future(self, fold: _Fold, columns: list[Any]) -> pd.DataFrame:
        """What a model may see after the history: some columns, rows without gaps."""
        table = self.frame[columns].iloc[fold.source]
        if not fold.missing.any():
            return table
        times = self.times(fold.step)
        if self.roles.time is not INDEX:
            table = table.copy()
            table[self.roles.time] = times
            return table
        if isinstance(table.index, pd.MultiIndex):
            levels = [table.index.get_level_values(i) for i in range(table.index.nlevels - 1)]
            index = pd.MultiIndex.from_arrays([*levels, times], names=table.index.names)
            return table.set_axis(index)
        return table.set_axis(times.rename(table.index.name))

    def fit_arguments(self, history: pd.DataFrame) -> tuple[Any, ...]:
        """The arguments of ``fit``: with y, where there was one."""
        if not self.y_given:
            return (history,)
        name = self.roles.target
        X = history if self.roles.target_in_frame else history.drop(columns=[name])
        return X, history[name]


def _take(rows: Rows, step: _Ints, index: Any) -> tuple[Rows, _Ints]:
    return (rows, step) if index.all() else (rows.take(index), step[index])


@dataclass(frozen=True)
class _Fold:
    """One cutoff: its steps, and the rows that it asks for."""

    number: int
    refit: bool
    cutoff: int
    start: int
    """First step of the history."""
    end: int
    """One past its last step."""
    source: _Ints
    """(F,) for each row of the future, the row of the frame with its known values."""
    series: _Ints
    """(F,) its series."""
    step: _Ints
    """(F,) its step, from the first of the panel."""
    missing: npt.NDArray[np.bool_]
    """(F,) whether X lacks the row."""
    asked: npt.NDArray[np.bool_]
    """(F,) whether it is part of the result."""


def _folds(data: _Data, split: PanelSplit) -> list[_Fold]:
    """The cutoffs, with the rows that each asks for."""
    try:
        plan = split._plan(_Grid(data.step, data.origin, data.timeline))
    except ValueError as error:
        # In the words of this function's parameters.
        text = str(error).replace("n_splits", "n_windows").replace("PanelSplit:", "backtest:")
        raise ValueError(text) from None
    size = split.train_size or int(plan["train_end"].iloc[0])
    folds = []
    absent, unknown = [], []
    rows, step = data.rows, data.step
    n_series, horizon = len(rows.labels), int(split.horizon or 0)
    known = np.isfinite(rows.target)
    place = np.arange(len(rows))
    for number, cut in enumerate(plan.itertuples()):
        cutoff, end = int(cut.cutoff), int(cut.cutoff) - split.gap
        start = end - size if split.window == "sliding" else 0
        inside = (step >= cutoff) & (step < cutoff + horizon)
        past = known & (step >= start) & (step < end)
        last = np.full(n_series, -1)
        last[rows.series[past]] = place[past]
        present = np.bincount(rows.series[inside], minlength=n_series) > 0
        begun = np.bincount(rows.series[step < cutoff + horizon], minlength=n_series) > 0
        absent.append(np.flatnonzero(begun & ~present))
        unknown.append(np.flatnonzero(present & (last < 0)))
        ahead = (last >= 0)[rows.series] & (place > last[rows.series])
        ahead &= present[rows.series] & (step < cutoff + horizon)
        found = np.flatnonzero(ahead)
        folds.append(
            _Fold(
                number, bool(cut.refit), cutoff, start, end,
                *_without_gaps(data, found, last, cutoff),
            )
        )  # fmt: skip
        if not folds[-1].asked.any():
            raise ValueError(
                f"No series has a known target before the cutoff {data.times(cutoff)[0]} and rows "
                "in the window after it: choose fewer windows or a shorter gap."
            )
    _warn_of_series(data, folds, absent, "have no rows in a test window")
    _warn_of_series(data, folds, unknown, "have no known target before a cutoff")
    return folds


def _without_gaps(
    data: _Data, found: _Ints, last: _Ints, cutoff: int
) -> tuple[_Ints, _Ints, _Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Rows after each series' last known target, with those in between that X lacks.

    ``found`` are the places of the rows that are there, and ``last`` (S,) those of the last known
    targets. A missing row takes its known values from the one before.
    """
    row = data.rows.row
    series, step = data.rows.series[found], data.step[found]
    if not data.timeline.is_regular:
        return row[found], series, step, np.zeros(len(found), bool), step >= cutoff
    before = np.append(-1, found[:-1])[: len(found)]
    # Before the first of a series stands its last known target.
    before = np.where(np.diff(series, prepend=-1) != 0, last[series], before)
    width = step - data.step[before]
    owner = np.repeat(np.arange(len(found)), width)
    to_go = np.cumsum(width)[owner] - 1 - np.arange(len(owner))
    missing = to_go > 0
    source = np.where(missing, row[before][owner], row[found][owner])
    return source, series[owner], step[owner] - to_go, missing, ~missing & (step >= cutoff)[owner]


def _warn_of_series(data: _Data, folds: list[_Fold], out: list[_Ints], what: str) -> None:
    which = [number for number, codes in enumerate(out) if len(codes)]
    if not which:
        return
    count = len(np.unique(np.concatenate(out)))
    first = data.rows.labels[out[which[0]][0]]
    cutoff = data.times(folds[which[0]].cutoff)[0]
    warnings.warn(
        f"{count} of {len(data.rows.labels)} series {what} and are left out of it "
        f"({sum(map(len, out))} times in {len(which)} of {len(folds)} windows; the first is "
        f"{first!r} at {cutoff}).",
        DataWarning,
        stacklevel=4,
    )


def _warn_of_filled(data: _Data, folds: list[_Fold], runs: list[_Run]) -> None:
    count = sum(int(fold.missing.sum()) for fold in folds)
    keys = {*data.roles.series, data.roles.time}
    if count and any(set(run.columns) - keys for run in runs):
        warnings.warn(
            f"{count} rows are missing between the last known targets and the ends of the windows. "
            "Forecasts need known values in them: those of the row before are taken.",
            DataWarning,
            stacklevel=3,
        )


def _future_columns(model: Any, data: _Data, hidden: list[Any]) -> list[Any]:
    """The columns that a model may see at and after a cutoff."""
    roles, frame = data.roles, data.frame
    if isinstance(model, str):
        # Baselines look at times alone.
        return [name for name in frame.columns if name in (*roles.series, roles.time)]
    unknown = {roles.target, *hidden}
    asked: dict[str, Any] = {
        name: getattr(model, name, None) for name in ("known", "observed", "static", "weight")
    }
    if any(value is not None for value in asked.values()):
        own = resolve_roles(
            frame,
            time=roles.time,
            series=None if roles.series_in_index else list(roles.series) or None,
            target=roles.target,
            **asked,
        )
        unknown |= {*own.observed, own.weight, *own.ignored}
    return [name for name in frame.columns if name not in unknown]


def _baseline(
    name: str, data: _Data, steps: int, levels: tuple[float, ...], season: int | None
) -> Baseline:
    roles = data.roles
    return Baseline(
        name,
        steps,
        time=roles.time,
        series=None if roles.series_in_index else list(roles.series) or None,
        target=roles.target,
        freq=data.timeline.freq,
        season=season,
        quantiles=levels,
    )


def _prepared(model: Any, steps: int | None, quiet: bool) -> Any:
    """An unfitted copy, with a horizon of at least ``steps``, that prints nothing."""
    model = clone(model, safe=False)
    if not hasattr(model, "get_params"):
        return model
    parameters = model.get_params(deep=False)
    own = parameters.get("horizon")
    if steps is not None and isinstance(own, (int, np.integer)) and own < steps:
        model.set_params(horizon=steps)
    if quiet and "verbose" in parameters:
        model.set_params(verbose=0)
    if parameters.get("checkpoint_dir") is not None:
        # A checkpoint is that of one fit, and each cutoff has its own; `out` is the way to resume.
        model.set_params(checkpoint_dir=None)
    return model


@dataclass(frozen=True)
class _Run:
    """A model to be cloned and fitted, and what it may see of the future."""

    name: str
    model: Any
    digest: str
    columns: list[Any]
    """Columns of a future row."""
    levels: tuple[float, ...]
    accepts: frozenset[str]
    """The arguments of its ``forecast``."""

    @classmethod
    def of(
        cls,
        name: str,
        model: Any,
        digest: str,
        columns: list[Any],
        levels: tuple[float, ...],
        keeps: bool,
    ) -> _Run:
        accepts = frozenset(inspect.signature(model.forecast).parameters)
        if keeps and "context" not in accepts and not hasattr(model, "update"):
            raise TypeError(
                f"models: {name!r} takes new history neither by forecast(context=) nor by update: "
                "pass refit=True."
            )
        return cls(name, model, digest, columns, levels, accepts)

    def forecast(
        self, data: _Data, folds: list[_Fold], store: Store | None
    ) -> Iterator[tuple[int, _Values]]:
        """Fit at the first of some cutoffs, and forecast from each that is not done."""
        model, given = None, folds[0].end
        for fold in folds:
            done = store and store.load(self.name, fold.number, self.digest, self._shape(fold))
            if done:
                yield fold.number, _Values(*done)
                continue
            if model is None:
                model = clone(self.model, safe=False)
                model.fit(*data.fit_arguments(data.between(folds[0].start, folds[0].end)))
            options: dict[str, Any] = {}
            if "quantiles" in self.accepts:
                options["quantiles"] = list(self.levels)
            if fold is not folds[0] and "context" in self.accepts:
                options["context"] = data.between(fold.start, fold.end)
            elif fold.end > given:
                model.update(*data.fit_arguments(data.between(given, fold.end)))
                given = fold.end
            table = model.forecast(data.future(fold, self.columns), **options)
            values = self._read(data, fold, table)
            if store:
                store.save(self.name, fold.number, self.digest, values.mean, values.quantiles)
            yield fold.number, values

    def _shape(self, fold: _Fold) -> tuple[int, int]:
        return int(fold.asked.sum()), len(self.levels)

    def _read(self, data: _Data, fold: _Fold, table: Any) -> _Values:
        """The forecasts of the rows that were asked for, in their order."""
        table = as_frame(table)
        place = _places(data, fold, table, self.name)
        if "mean" not in table.columns:
            raise ValueError(
                f"{self.name}: expected a column 'mean' in its forecasts, received "
                f"{[str(name) for name in table.columns]}."
            )
        quantiles = np.full(self._shape(fold), np.nan)
        for i, name in enumerate(quantile_names(self.levels)):
            if name in table.columns:
                quantiles[:, i] = table[name].to_numpy(np.float64)[place]
        return _Values(table["mean"].to_numpy(np.float64)[place], quantiles)


@dataclass(frozen=True)
class _Values:
    """Forecasts (F,) and quantiles (F, Q) of the rows of a window."""

    mean: _Floats
    quantiles: _Floats


def _places(data: _Data, fold: _Fold, table: pd.DataFrame, name: str) -> _Ints:
    """The row of a table of forecasts for each row asked for."""
    roles = data.roles
    if roles.time is None:
        # One series, its rows in order.
        if len(table) != len(fold.step):
            raise ValueError(
                f"{name}: expected {len(fold.step)} forecasts from the cutoff "
                f"{data.times(fold.cutoff)[0]}, received {len(table)}."
            )
        return np.flatnonzero(fold.asked)
    keys = [*roles.series, roles.time_label]
    absent = [key for key in keys if key not in table.columns]
    if absent:
        raise ValueError(
            f"{name}: expected a column {absent[0]!r} in its forecasts, received "
            f"{[str(column) for column in table.columns]}."
        )
    codes = np.zeros(len(table), np.int64)
    if roles.series:
        codes = data.rows.labels.get_indexer(labels_of(table, list(roles.series)))
    ordinal = data.timeline.ordinals(raw_times(table[keys[-1]], keys[-1]), keys[-1])
    found = pd.MultiIndex.from_arrays([codes, ordinal])
    if not found.is_unique:
        raise ValueError(f"{name}: forecasts a series more than once at the same time.")
    wanted = [fold.series[fold.asked], data.ordinals(fold.step[fold.asked])]
    place = found.get_indexer(pd.MultiIndex.from_arrays(wanted))
    if (place < 0).any():
        first = int((place < 0).argmax())
        time = data.timeline.times(wanted[1][[first]])[0]
        raise ValueError(
            f"{name}: {int((place < 0).sum())} of {len(place)} rows from the cutoff "
            f"{data.times(fold.cutoff)[0]} have no forecast, the first of series "
            f"{data.rows.labels[wanted[0][first]]!r} at {time}."
        )
    return place


def _run_all(
    runs: list[_Run],
    data: _Data,
    folds: list[_Fold],
    store: Store | None,
    n_jobs: int,
    verbose: int,
) -> dict[tuple[str, int], _Values]:
    """The forecasts of each model from each cutoff; those that share a fit are one task."""
    groups: list[list[_Fold]] = []
    for fold in folds:
        if fold.refit:
            groups.append([])
        groups[-1].append(fold)
    tasks = [(run, group) for run in runs for group in groups]
    made: dict[tuple[str, int], _Values] = {}
    with _Progress(len(runs) * len(folds), verbose) as progress:
        if n_jobs == 1:
            for run, group in tasks:
                for number, values in run.forecast(data, group, store):
                    made[run.name, number] = values
                    progress.show(run.name, data.times(folds[number].cutoff)[0])
            return made
        work = (delayed(_task)(run, data, group, store) for run, group in tasks)
        for name, results in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(work):
            for number, values in results:
                made[name, number] = values
                progress.show(name, data.times(folds[number].cutoff)[0])
    return made


def _task(
    run: _Run, data: _Data, folds: list[_Fold], store: Store | None
) -> tuple[str, list[tuple[int, _Values]]]:
    return run.name, list(run.forecast(data, folds, store))


class _Progress:
    """A line on standard error that is written over; quiet where that is no terminal."""

    def __init__(self, total: int, verbose: int, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.total = total
        self.lines = verbose >= 2
        self.line = verbose == 1 and self.stream.isatty()
        self.done = self.width = 0
        self.begin = clock.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.line:
            print(file=self.stream, flush=True)

    def show(self, model: str, cutoff: Any) -> None:
        self.done += 1
        if not (self.line or self.lines):
            return
        gone = clock.monotonic() - self.begin
        text = (
            f"tsfusion: backtest {self.done}/{self.total}  {model} from {cutoff}  {gone:.0f} s, "
            f"about {gone * (self.total / self.done - 1):.0f} s left"
        )
        self.stream.write("\r" + text.ljust(self.width) if self.line else text + "\n")
        self.stream.flush()
        self.width = len(text)


def _table(
    runs: list[_Run],
    data: _Data,
    folds: list[_Fold],
    made: dict[tuple[str, int], _Values],
) -> pd.DataFrame:
    """The tidy frame."""
    parts = [(run, fold) for run in runs for fold in folds]
    sizes = [int(fold.asked.sum()) for _, fold in parts]

    def joined(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values)

    series = joined([fold.series[fold.asked] for _, fold in parts])
    step = joined([fold.step[fold.asked] for _, fold in parts])
    cutoff = np.repeat([fold.cutoff for _, fold in parts], sizes)
    source = joined([fold.source[fold.asked] for _, fold in parts])
    roles = data.roles
    table: dict[Any, Any] = {}
    labels = data.rows.labels[series]
    for i, name in enumerate(roles.series):
        table[name] = labels.get_level_values(i) if len(roles.series) > 1 else labels
    table["cutoff"] = data.times(cutoff)
    table["time" if roles.time is None else roles.time_label] = data.times(step)
    table["step"] = step - cutoff + 1
    table["model"] = np.repeat([run.name for run, _ in parts], sizes)
    table["y"] = data.target[source]
    values = [made[run.name, fold.number] for run, fold in parts]
    table["mean"] = joined([value.mean for value in values])
    quantiles = joined([value.quantiles for value in values])
    for i, name in enumerate(quantile_names(runs[0].levels)):
        table[name] = quantiles[:, i]
    result = pd.DataFrame(table)
    result.attrs = {"target": roles.target, "freq": data.timeline.freq}
    return result
