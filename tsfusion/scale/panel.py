"""Forecasts, backtests and explanations of many series by a saved model, as pure functions.

Each takes a table and the path of a model file, and gives a table; nothing but these two decides
what it says of a series, so a panel may be cut into parts in any way that keeps series whole. The
model is loaded once in each process.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfusion.data.frames import as_frame
from tsfusion.data.roles import check_result_columns
from tsfusion.exceptions import DataWarning
from tsfusion.prediction import one_shape
from tsfusion.quantiles import check_levels, mean_of_quantiles, quantile_names

if TYPE_CHECKING:
    from tsfusion.data.encoder import PanelEncoder, Rows
    from tsfusion.forecaster import FusionForecaster

__all__ = ["backtest_panel", "explain_panel", "load_model", "predict_panel"]

# More models than that are not held at once: the one asked for least lately goes.
_MOST_MODELS = 4
_LOCK = threading.Lock()
_MODELS: OrderedDict[Any, FusionForecaster] = OrderedDict()

_EXPLAINED = ("attention", "selection")


def predict_panel(
    frame: Any, path: str | os.PathLike, *, horizon: int | None = None, quantiles: Any = None,
    future: Any = None, time_features: Mapping[str, Any] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Forecast what follows the history of every series in a table.

    What is said of a series follows from its own rows and from the file alone: neither the other
    series of the table nor the history in the file count, of which the static values alone are
    used where the table lacks them. The file may therefore be one of ``save(history="tail")``.

    Parameters
    ----------
    frame : DataFrame of R rows
        The history of whole series, at least ``context_length_`` steps of each where there are as
        many, with all columns of the fit. Where there are known columns, the rows to forecast
        stand in it too, with an unknown target (or in ``future``).
    path : str or path
        A file that `FusionForecaster.save` wrote. It is read once in each process, and again when
        its size or its time of change is another.
    horizon : int, default=None
        How many steps; None takes that of the model, or all steps of ``future``.
    quantiles : sequence of float, default=None
        Levels to give; None takes those of the model.
    future : DataFrame, default=None
        Time, series and known columns of the steps that follow, as in
        `FusionForecaster.forecast`; series that ``frame`` does not hold are refused.
    time_features : dict of str to callable, default=None
        The functions of time that the model was fitted with, as in `FusionForecaster.load`.

    Returns
    -------
    DataFrame
        As `FusionForecaster.forecast` gives: the series and time columns, ``mean``, and a column
        such as ``q0.1`` for each level; sorted by series and time. Without rows where ``frame``
        has none.

    Raises
    ------
    FileNotFoundError, tsfusion.exceptions.FileFormatError
        If there is no such file, or it is not a model.
    ValueError
        As `FusionForecaster.forecast`; also for a model with ``freq="rows"``, where the times of
        the steps to come are guessed from all series, without ``future``.

    See Also
    --------
    on_dask, on_ray, on_spark : The same on a cluster.

    Notes
    -----
    All windows go through the network in batches of one size, so that the numbers do not hang on
    how many series there are. Measured over partitions of 400 series on a CPU: on TensorFlow they
    are the same to the last digit; on PyTorch, where the place of a window in its batch matters,
    to 5e-8 of their size. Tests hold every backend to 1e-6.

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion import FusionForecaster
    >>> from tsfusion.data import make_panel
    >>> table = make_panel(4, 60, random_state=0)[["series", "date", "sales"]]
    >>> model = FusionForecaster(
    ...     horizon=2, time="date", series="series", target="sales", context_length=8,
    ...     hidden_size=8, max_epochs=1, verbose=0,
    ... ).fit(table)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "sales.tsfusion")
    ...     model.save(path, history="tail")
    ...     found = predict_panel(table, path)
    >>> found.columns.tolist(), len(found)
    (['series', 'date', 'mean', 'q0.1', 'q0.5', 'q0.9'], 8)
    """
    model = load_model(path, time_features)
    table = as_frame(frame)
    levels = check_levels(model.quantiles if quantiles is None else quantiles)
    roles, timeline = model._fitted.encoder.roles, model._fitted.encoder.timeline
    if future is None and not timeline.is_regular and not roles.known:
        raise ValueError(
            "predict_panel: every row is one step for this model (freq='rows'), so the times of "
            "the steps to come are not known: pass future= with the series and times to forecast."
        )
    if len(table) == 0:
        return _no_rows(model, ["mean", *quantile_names(levels)])
    if future is not None:
        _check_has_history(model, as_frame(future), table)
    with one_shape():
        return model.forecast(future, horizon=horizon, quantiles=levels, context=table)


def backtest_panel(
    frame: Any, path: str | os.PathLike, *, cutoffs: Sequence[Any], horizon: int | None = None,
    quantiles: Any = None, time_features: Mapping[str, Any] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Forecast every series of a table from past cutoffs with one saved model, beside the truth.

    Nothing is fitted: for cutoffs after the rows that the model was fitted on. To fit at every
    cutoff, see `tsfusion.evaluation.backtest`.

    Parameters
    ----------
    frame : DataFrame of R rows
        Whole series with all columns of the fit.
    path : str or path
        The model file.
    cutoffs : sequence of times
        The first time to be forecast of each window, in the unit of the time column. They are
        given, not counted from the end of the table, so that a part of a panel has the same ones.
    horizon : int, default=None
        Steps from each cutoff on; None takes that of the model.
    quantiles, time_features : default=None
        As in `predict_panel`.

    Returns
    -------
    DataFrame
        As that of `tsfusion.backtest`, so that `tsfusion.evaluate` takes it: one row per cutoff,
        series and time, of the series columns, ``cutoff``, the time, ``step`` (1 at the cutoff),
        ``model``, ``y``, ``mean`` and quantiles. Series without a known target before a cutoff, and
        rows that the table lacks, are left out; where forecasts need the known values of such a
        row, they take those of the row before, with a `DataWarning`.

    Raises
    ------
    ValueError
        As `FusionForecaster.predict`; if the model has no time column, or counts rows; if the
        series or time column has the name of one of the result's own.

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion import FusionForecaster
    >>> from tsfusion.data import make_panel
    >>> table = make_panel(4, 60, random_state=0)[["series", "date", "sales"]]
    >>> cutoff = table["date"].max()
    >>> model = FusionForecaster(
    ...     horizon=2, time="date", series="series", target="sales", context_length=8,
    ...     hidden_size=8, max_epochs=1, verbose=0,
    ... ).fit(table[table["date"] < cutoff])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "sales.tsfusion")
    ...     model.save(path)
    ...     found = backtest_panel(table, path, cutoffs=[cutoff])
    >>> found.columns.tolist(), len(found)
    (['series', 'cutoff', 'date', 'step', 'model', 'y', 'mean', 'q0.1', 'q0.5', 'q0.9'], 4)
    """
    model = load_model(path, time_features)
    table = as_frame(frame)
    levels = check_levels(model.quantiles if quantiles is None else quantiles)
    encoder = model._fitted.encoder
    roles, timeline = encoder.roles, encoder.timeline
    if roles.time is None or not timeline.is_regular:
        raise ValueError(
            "backtest_panel: expected a model with a time column and steps of one length, received "
            f"one with freq={model.freq_!r}."
        )
    steps = model._steps(horizon)
    own = ["cutoff", "step", "model", "y", "mean", *quantile_names(levels)]
    check_result_columns((*roles.series, roles.time_label), own)
    names = ["cutoff", roles.time_label, *own[1:]]
    nothing = _no_rows(model, own[3:]).assign(
        step=np.zeros(0, np.int64), model=pd.Series([], dtype="str")
    )
    parts = [nothing.assign(cutoff=nothing[roles.time_label])]
    n_filled = 0
    if len(table):
        rows = encoder.read(table, kind="frame", memory=model._memory, with_target=True)
        known = np.isfinite(rows.target)
        for cutoff in cutoffs:
            start = int(timeline.ordinals(encoder._times(_one_time(table, roles, cutoff)), "t")[0])
            history = rows.ordinal < start
            served = np.bincount(rows.series[history & known], minlength=len(rows.labels)) > 0
            asked = ~history & (rows.ordinal < start + steps) & served[rows.series]
            if not asked.any():
                continue
            past = table.assign(**{roles.target: np.where(history, rows.target, np.nan)})
            past, window = past[served[rows.series]], table[asked]
            if roles.known:
                before, within = _missing_rows(table, rows, history & known, asked, start, encoder)
                n_filled += len(before) + len(within)
                past, window = (
                    pd.concat([have, more]) if len(more) else have
                    for have, more in ((past, before), (window, within))
                )
            part = _answered(model, window, past, levels)[: int(asked.sum())]
            part["cutoff"] = timeline.times(np.full(len(part), start))
            part["y"] = rows.target[asked]
            part["step"] = rows.ordinal[asked] - start + 1
            part["model"] = type(model).__name__
            order = np.lexsort((rows.ordinal[asked], rows.series[asked]))
            parts.append(part.iloc[order])
    if n_filled:
        warnings.warn(
            f"{n_filled} rows are missing between the last known targets and the ends of the "
            "windows. Forecasts need known values in them: those of the row before are taken.",
            DataWarning,
            stacklevel=2,
        )
    found = pd.concat(parts[1:] or parts, ignore_index=True)
    return found[[*roles.series, *names]]


def explain_panel(
    frame: Any, path: str | os.PathLike, *, table: str = "selection",
    future: Any = None, time_features: Mapping[str, Any] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Say what the forecast of every series in a table looks at.

    Each series has one window, from its last known target on, over the whole horizon. The other
    parts of an explanation compare a window with those of other series, so that they would hang on
    the partition: use `FusionForecaster.explain` for them.

    Parameters
    ----------
    frame : DataFrame of R rows
        As in `predict_panel`.
    path : str or path
        The model file.
    table : {"selection", "attention"}, default="selection"
        Which table of the `tsfusion.Explanation`.
    future, time_features : default=None
        As in `predict_panel`.

    Returns
    -------
    DataFrame
        That table, with the columns of the series and ``cutoff``.

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion import FusionForecaster
    >>> from tsfusion.data import make_panel
    >>> table = make_panel(4, 60, random_state=0)[["series", "date", "sales"]]
    >>> model = FusionForecaster(
    ...     horizon=2, time="date", series="series", target="sales", context_length=8,
    ...     hidden_size=8, max_epochs=1, verbose=0,
    ... ).fit(table)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "sales.tsfusion")
    ...     model.save(path, history="tail")
    ...     found = explain_panel(table, path)
    >>> found.columns.tolist()
    ['series', 'cutoff', 'block', 'variable', 'weight']
    """
    if table not in _EXPLAINED:
        raise ValueError(f"table: expected one of {_EXPLAINED}, received {table!r}.")
    model = load_model(path, time_features)
    given = as_frame(frame)
    if len(given) == 0:
        return _no_explanation(model, table)
    if future is not None:
        _check_has_history(model, as_frame(future), given)
    return getattr(model._explain_next(future, given, method=table), table)


def load_model(
    path: str | os.PathLike, time_features: Mapping[str, Any] | None = None
) -> FusionForecaster:
    """Return the forecaster in a file, without its history; each process loads it once.

    Parameters
    ----------
    path : str or path
    time_features : dict of str to callable, default=None
        As in `FusionForecaster.load`.

    Returns
    -------
    FusionForecaster
        Shared by all who ask for it: not to be changed.
    """
    whole = os.path.abspath(path)
    of_file = os.stat(whole)
    functions = tuple(sorted((time_features or {}).items()))
    key = whole, of_file.st_mtime_ns, of_file.st_size, functions
    with _LOCK:
        model = _MODELS.pop(key, None)
        if model is None:
            from tsfusion.forecaster import FusionForecaster

            model = FusionForecaster.load(whole, time_features=dict(time_features or {}) or None)
            memory = model._memory
            # Codes and static values of the series stay: a calibration refers to them.
            model._memory = replace(memory.take(np.zeros(0, np.int64)))
            for old in [other for other in _MODELS if other[0] == whole and other[1:3] != key[1:3]]:
                del _MODELS[old]
        _MODELS[key] = model
        while len(_MODELS) > _MOST_MODELS:
            _MODELS.popitem(last=False)
    return model


def _no_rows(model: FusionForecaster, values: Sequence[str]) -> pd.DataFrame:
    """Return a table of forecasts without rows, its columns of the types of one that has some."""
    table = pd.DataFrame(model._keys(model._memory))
    return table.assign(**{name: np.zeros(0) for name in values})


def _no_explanation(model: FusionForecaster, table: str) -> pd.DataFrame:
    """Return a table of an explanation without rows."""
    found = _no_rows(model, [])
    time = found.pop(model._fitted.encoder.roles.time_label)
    text, whole = pd.Series([], dtype="str"), np.zeros(0, np.int64)
    columns: dict[str, Any] = {"block": text, "variable": text}
    if table == "attention":
        columns = {
            "horizon": whole, "target_time": time, "branch": text, "head": whole, "lag": whole,
            "source_time": time, "source_width": whole,
        }  # fmt: skip
    return found.assign(cutoff=time, **columns, weight=np.zeros(0, np.float32))


def _check_has_history(model: FusionForecaster, future: pd.DataFrame, frame: pd.DataFrame) -> None:
    """Raise if a series of the future has no row in the frame."""
    encoder = model._fitted.encoder
    labels = encoder._series(future, "future")[0]
    without = ~labels.isin(encoder._series(frame, "frame")[0])
    if without.any():
        raise ValueError(
            f"future: series {labels[without][0]!r} has no history in frame "
            f"({int(without.sum())} such series). Pass the history of every series to forecast."
        )


def _one_time(table: pd.DataFrame, roles: Any, time: Any) -> pd.DataFrame:
    """Return a table of one row with a time of the type of the table's own times."""
    if roles.time in table.columns:
        times = table[roles.time]
        if pd.api.types.is_datetime64_any_dtype(times.dtype):
            time = pd.Timestamp(time)
            if times.dt.tz is not None and time.tzinfo is None:
                time = time.tz_localize(times.dt.tz)
        return pd.DataFrame({roles.time: pd.Series([time])})
    return pd.DataFrame(index=pd.Index([time]))


def _missing_rows(
    table: pd.DataFrame, rows: Rows, known: np.ndarray, asked: np.ndarray, start: int,
    encoder: PanelEncoder,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Return rows for the steps that series skip between their last known target and the asked.

    Their known values are those of the row before, and nothing else is known in them. First those
    before ``start``, then the others.
    """
    roles, timeline = encoder.roles, encoder.timeline
    last = np.full(len(rows.labels), np.iinfo(np.int64).max)
    order = np.lexsort((rows.ordinal, rows.series))
    of_known = order[known[order]]
    last[rows.series[of_known]] = rows.ordinal[of_known]
    stop = np.full(len(rows.labels), np.iinfo(np.int64).min)
    np.maximum.at(stop, rows.series[asked], rows.ordinal[asked])
    of, step = rows.series[order], rows.ordinal[order]
    place = order[(step >= last[of]) & (step <= stop[of])]
    step, of = rows.ordinal[place], rows.series[place]
    width = np.where(np.diff(of) == 0, np.diff(step), 1) - 1
    before = np.repeat(np.arange(len(width)), width)
    ahead = np.arange(len(before)) - (np.cumsum(width) - width)[before] + 1
    filled, ordinal = table.iloc[place[before]].copy(), step[before] + ahead
    nothing = [roles.target, *roles.observed_real, *roles.observed_categorical]
    for name in nothing:
        if name in filled.columns:
            filled[name] = np.nan
    times = timeline.times(ordinal)
    if roles.time in filled.columns:
        filled[roles.time] = times
    elif roles.series_in_index:
        levels = [filled.index.get_level_values(i) for i in range(filled.index.nlevels - 1)]
        filled.index = pd.MultiIndex.from_arrays([*levels, times], names=filled.index.names)
    else:
        filled.index = pd.Index(times, name=filled.index.name)
    return filled[ordinal < start], filled[ordinal >= start]


def _answered(
    model: FusionForecaster, asked: pd.DataFrame, context: pd.DataFrame, levels: Sequence[float]
) -> pd.DataFrame:
    """Return series, time, mean and quantiles of rows, in their order."""
    trained = model.levels_
    # The mean is that of the quantiles before they are calibrated, so it takes a pass of its own.
    calibrated = model._calibration is not None
    passed = list(levels) if calibrated else [*dict.fromkeys((*trained, *levels))]
    with one_shape():
        values = model.predict(asked, quantiles=passed, context=context)
        if calibrated:
            mean = model.predict(asked, context=context)
        else:
            mean = mean_of_quantiles(values[:, : len(trained)], trained)
    encoder = model._fitted.encoder
    labels, codes = encoder._series(asked)
    table: dict[Any, Any] = {}
    for i, name in enumerate(encoder.roles.series):
        of = labels.get_level_values(i) if len(encoder.roles.series) > 1 else labels
        table[name] = of[codes]
    ordinal = encoder.timeline.ordinals(encoder._times(asked), encoder.roles.time_label)
    table[encoder.roles.time_label] = encoder.timeline.times(ordinal)
    table["mean"] = mean
    for name, level in zip(quantile_names(levels), levels):
        table[name] = values[:, passed.index(level)]
    return pd.DataFrame(table)
