"""The estimator: joins the panel (data), a network (models) and the fit loop (training).

Written in scikit-learn's vocabulary; Keras is imported when it is first needed.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from tsfusion.data.encoder import PanelEncoder, Rows, differing_types
from tsfusion.data.frames import as_frame
from tsfusion.data.panel import Panel
from tsfusion.data.roles import INDEX, check_result_columns, resolve_roles
from tsfusion.data.scaling import TargetScaler
from tsfusion.data.time_features import HOLIDAY_NAMES
from tsfusion.exceptions import (
    BeyondHorizonWarning,
    CalibrationWarning,
    DataWarning,
    SkillWarning,
)
from tsfusion.learning import (
    Learned,
    bounds_of,
    calibrating,
    check_parts_of_keras,
    check_same_network,
    check_same_shape,
    check_windows,
    checkpoint_of,
    learn,
    train_members,
    validation_losses,
)
from tsfusion.learning_from_files import open_files
from tsfusion.prediction import (
    Fitted,
    RowPlan,
    forecast_rows,
    known_end,
    plan_rows,
    typical_gap,
)
from tsfusion.quantiles import check_levels, mean_of_quantiles, quantile_names

if TYPE_CHECKING:
    from tsfusion.explain import AverageExplanation, Explanation
    from tsfusion.uncertainty import Calibration

__all__ = ["FusionForecaster"]

# At least nine levels are trained whatever is asked for, so that any level can be had later.
_BASE_LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))
_LEAST_SHORT, _MOST_SHORT = 8, 64


class FusionForecaster(RegressorMixin, BaseEstimator):
    """Forecasts many series with quantiles, and says what it looked at.

    A Temporal Fusion Transformer behind a scikit-learn estimator: one network is trained on all
    series of a panel; every forecast comes with quantiles that cannot cross, and `explain` gives
    the attention over past steps and the weights of the variables, labelled.

    One rule answers every row of `predict`: a row gets the forecast made from the last known target
    strictly before it. A row inside the known history is a one-step backcast, a row after it the
    k-step forecast, so neither row order nor batching changes an answer.

    Parameters
    ----------
    horizon : int, default=12
        How many steps ahead the network is trained for.
    context_length : int, default=None
        How many past steps it sees; None chooses from frequency, horizon and the series' lengths.
    time : str or int, default=None
        The time column; ``"index"`` for the index, unless a column is called so. None takes a
        datetime or period index, else the only datetime column; without one, rows are steps of one
        series in their order.
    series : str or list of str, default=None
        The column or columns that tell series apart; None for one series (or a MultiIndex).
    target : str or int, default=None
        The column to forecast, where `fit` gets no y.
    known : list, str or column selector, default=None
        Columns whose future values are known (prices, promotions). None takes every column that has
        no other role; if given, further columns are left out with a `DataWarning`.
    observed : list, str or column selector, default=None
        Columns known up to the present only (weather). May hold NaN.
    static : list, str or column selector, default=None
        Columns with one value per series (region).
    weight : str or int, default=None
        A column of row weights (>= 0) for the loss.
    freq : str, number or None, default=None
        The step of time: an offset alias (``"h"``, ``"D"``, ``"MS"``), a number for numeric times,
        ``"rows"`` where every row is one step (trading days; rows of one time are steps in the
        order of the table); None infers it.
    target_transform : {"log1p", "box-cox", "yeo-johnson"} or TargetScaler, default=None
        What the target goes through before the network sees it; forecasts and their quantiles come
        back in its own units. A name stands for `tsfusion.data.TargetScaler` with a power for each
        series; pass the object itself for one of the whole panel. Learned from the training rows.
    target_bounds : pair of float or None, default=None
        The least and the greatest value that the target can take, ``(0, None)`` for what is counted
        or sold: no quantile, mean or path leaves them. A target outside is an error in `fit`.
        Attributions and path shares are of the forecast before its bounds, at which nothing would
        move it.
    scaler : {"standard", "robust"}, default="standard"
        Numeric columns are scaled by mean and standard deviation, or by median and interquartile
        range.
    max_categories : int or None, default=1000
        The most categories of a column with a code of their own: those with the most training rows.
        The others count as never seen, with a `DataWarning`. A category of a known column takes
        about ``2 * hidden_size`` weights, which learn from its rows alone: 1000 take as many as all
        the rest of a network of the default width. None for no limit.
    holidays : str, pair or dict, default=None
        Public holidays as known variables (needs the extra ``holidays``): a country (``"DE"``), one
        with its subdivision (``"US-CA"`` or ``("US", "CA")``), a dict of these by series, or the
        name of a static column that holds them. For steps of a day or less, which holiday it is and
        the days to the next; for longer ones, how many holidays a step has.
    time_features : dict of str to callable, default=None
        Functions of time as further known variables, by name: each takes a DatetimeIndex (local
        time, without a zone; an Index of numbers where the times are numbers) and returns a number
        or a text for every time. To pickle the estimator, define them at the top of a module.
    quantiles : sequence of float, default=(0.1, 0.5, 0.9)
        The levels that `forecast` gives; nine levels are always trained, so any other level can be
        asked for later.
    beyond : {"roll", "raise", "nan"}, default="roll"
        What a row past the horizon gets: a forecast rolled forward with a `BeyondHorizonWarning`,
        an error, or NaN.
    architecture : {"fusion", "tft"}, default="fusion"
        The network: `tsfusion.models.FusionTransformer`, which sees the last steps one by one and
        older ones as patches, or the Temporal Fusion Transformer of Lim et al. (2021).
    short_window : int, default=None
        Past steps that "fusion" sees one by one; None for two seasons, at least the horizon and
        at most 64.
    long_window : int, default=None
        Past steps seen in all: another name for ``context_length``.
    memory_size : int, default=0
        Slots of the learned memory of "fusion"; 0 for none.
    hidden_size : int, default=32
        Width of the network.
    num_heads : int, default=4
        Attention heads; divides ``hidden_size``.
    dropout : float, default=0.1
        Dropout rate in [0, 1).
    max_epochs : int, default=10
        The most epochs.
    steps_per_epoch : int, default=None
        Batches per epoch; None takes all windows once, in at least 30 batches (a short history
        is seen several times) and at most 100.
    batch_size : int, default=64
        Windows per batch.
    learning_rate : float, default=1e-2
        Where a cosine schedule over ``max_epochs`` begins (a constant for an ``optimizer`` given by
        name). Less of it keeps more of what was learned where ``warm_start`` goes on from it.
    validation_size : float, default=0.1
        Share of the time span at the end, at least one horizon, kept for early stopping; 0 for
        none. A panel too short to spare it does without.
    patience : int, default=5
        Epochs without improvement on the validation tail before training stops; the best weights
        are kept.
    averaging : float, default=0.99
        Momentum of the moving average over training steps that the weights are taken from, at most
        1 - 10 / (all steps), so that a short fit forgets its beginning; 0 for the last weights.
        With an ``optimizer`` of your own, it decides (``use_ema=``).
    n_estimators : int, default=1
        Networks that are trained, each from its own seed; their quantiles are averaged.
    warm_start : bool, default=False
        Whether a further `fit` goes on from the present weights, with the encoders, units and
        frequency learned before (fine-tuning); the memory becomes that of the new data.
    checkpoint_dir : str or path, default=None
        A folder, one for each fit at a time, to which `fit` writes a checkpoint after each epoch.
        After an interrupt or a kill, `fit` with the same data and parameters goes on from it and
        ends with the weights of a fit that was not disturbed (same machine, same backend). The
        checkpoint of another fit is refused. It is removed at the end of `fit`. It holds the
        variables of an ``optimizer``, but nothing of your own ``callbacks``, which begin anew, nor
        of a ``loss`` that changes while it trains.
    calibration : {"cqr", "aci", "tracking"}, dict or None, default=None
        Calibrate the quantiles at the end of `fit`, on the validation tail: a method of
        `calibrate`, or a dict of its arguments (``{"method": "aci", "min_origins": 100}``). The
        best epoch was chosen by that tail, so its errors come out a little too small: rows of their
        own, through `calibrate`, are better.
    optimizer : str or keras.optimizers.Optimizer, default=None
        None is Adam with a cosine schedule and gradients clipped to norm 1.
    loss : keras.losses.Loss or callable, default=None
        Takes targets (B, H, 1) and quantiles (B, H, Q); None is the pinball loss.
    callbacks : keras.callbacks.Callback or list of them, default=None
        Passed to Keras' ``fit``.
    jit_compile : bool, default=None
        Compile the training step with XLA; None decides: on TensorFlow for long fits on a GPU, on
        other backends Keras does. False keeps attributions from it too.
    distribution : keras.distribution.DataParallel or tf.distribute.Strategy, default=None
        Train on several devices: on JAX, also over processes and hosts, each of which calls `fit`
        with the same data and a number as ``random_state``; on TensorFlow, a strategy of one host
        (``MirroredStrategy``). Without dropout, the result is that of one device with the same
        ``batch_size``, which is shared out and should be a multiple of their number. Files do not
        hold it.
    verbose : int, default=1
        0: nothing; 1: a progress line on a terminal, of `fit` and of whatever else takes over two
        seconds; 2: a line per epoch on standard error.
    random_state : int, RandomState or None, default=None
        Seed of weights, dropout and batches: same seed, same machine, same numbers. None takes
        other seeds in every fit; NumPy's and Python's own random states are left alone.

    Attributes
    ----------
    model_ : keras.Model
        The network with the scaling around it.
    history_ : dict of list of float
        Losses per epoch: ``loss`` and, with a validation tail, ``val_loss``.
    histories_ : list of dict
        The same for each of ``n_estimators`` networks; ``history_`` is the first.
    validation_losses_ : dict of float
        Quantile loss on the validation tail, in units of each series: of "network" and of the naive
        forecasts "last value", "seasonal naive" and "mean of the last season" (without a season:
        "mean of the window"), whose quantiles are those of their errors in training. Empty without
        a validation tail, or with a ``loss`` of your own.
    skill_ : float
        One less the ratio of the network's loss to that of the best naive forecast, both before
        ``target_bounds``; NaN where there is nothing to compare. `fit` warns where it is not above
        zero.
    levels_ : tuple of float
        The trained quantile levels.
    context_length_ : int
        Past steps seen.
    freq_ : str or number
        The frequency.
    series_ : Index
        The series in memory.
    n_features_in_ : int
        Number of columns of X in `fit`.
    feature_names_in_ : ndarray of str
        Their names, where X had string names.

    See Also
    --------
    tsfusion.models.TemporalFusionTransformer : The network.
    tsfusion.data.make_panel : Panels to try it on.

    Notes
    -----
    Rows of weight w count w times in the loss; ``fit`` takes no ``sample_weight``, since repeating
    a row would change the time axis.

    References
    ----------
    Lim, Arik, Loeff and Pfister (2021), "Temporal Fusion Transformers for interpretable
    multi-horizon time series forecasting", International Journal of Forecasting 37(4).

    Examples
    --------
    >>> from tsfusion import FusionForecaster
    >>> from tsfusion.data import load_air_passengers
    >>> model = FusionForecaster(
    ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
    ... ).fit(load_air_passengers())
    >>> model.forecast().columns.tolist()
    ['month', 'mean', 'q0.1', 'q0.5', 'q0.9']
    """

    model_: Any
    _architecture_: dict[str, Any]
    _memory: Rows
    # Set by calibrate alone: until then the class says that there is none.
    _calibration: Calibration | None = None

    _parameter_constraints: ClassVar[dict] = {
        "horizon": [Interval(Integral, 1, None, closed="left")],
        "context_length": [Interval(Integral, 1, None, closed="left"), None],
        "target_transform": [StrOptions({"log1p", "box-cox", "yeo-johnson"}), TargetScaler, None],
        "target_bounds": [tuple, list, None],
        "scaler": [StrOptions({"standard", "robust"})],
        "max_categories": [Interval(Integral, 1, None, closed="left"), None],
        "holidays": [str, tuple, dict, None],
        "time_features": [dict, None],
        "beyond": [StrOptions({"roll", "raise", "nan"})],
        "architecture": [StrOptions({"fusion", "tft"})],
        "short_window": [Interval(Integral, 1, None, closed="left"), None],
        "long_window": [Interval(Integral, 1, None, closed="left"), None],
        "memory_size": [Interval(Integral, 0, None, closed="left")],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "num_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "steps_per_epoch": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "validation_size": [Interval(Real, 0, 1, closed="left")],
        "patience": [Interval(Integral, 0, None, closed="left")],
        "averaging": [Interval(Real, 0, 1, closed="left")],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "checkpoint_dir": [str, os.PathLike, None],
        "calibration": [StrOptions({"cqr", "aci", "tracking"}), dict, None],
        "jit_compile": ["boolean", None],
        "distribution": "no_validation",
        "verbose": [Interval(Integral, 0, None, closed="left"), "boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        horizon: int = 12,
        *,
        context_length: int | None = None,
        time: Any = None,
        series: Any = None,
        target: Any = None,
        known: Any = None,
        observed: Any = None,
        static: Any = None,
        weight: Any = None,
        freq: Any = None,
        target_transform: Any = None,
        target_bounds: Any = None,
        scaler: str = "standard",
        max_categories: int | None = 1000,
        holidays: Any = None,
        time_features: dict[str, Any] | None = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        beyond: str = "roll",
        architecture: str = "fusion",
        short_window: int | None = None,
        long_window: int | None = None,
        memory_size: int = 0,
        hidden_size: int = 32,
        num_heads: int = 4,
        dropout: float = 0.1,
        max_epochs: int = 10,
        steps_per_epoch: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 1e-2,
        validation_size: float = 0.1,
        patience: int = 5,
        averaging: float = 0.99,
        n_estimators: int = 1,
        warm_start: bool = False,
        checkpoint_dir: Any = None,
        calibration: Any = None,
        optimizer: Any = None,
        loss: Any = None,
        callbacks: Any = None,
        jit_compile: bool | None = None,
        distribution: Any = None,
        verbose: int = 1,
        random_state: Any = None,
    ) -> None:
        self.horizon = horizon
        self.context_length = context_length
        self.time = time
        self.series = series
        self.target = target
        self.known = known
        self.observed = observed
        self.static = static
        self.weight = weight
        self.freq = freq
        self.target_transform = target_transform
        self.target_bounds = target_bounds
        self.scaler = scaler
        self.max_categories = max_categories
        self.holidays = holidays
        self.time_features = time_features
        self.quantiles = quantiles
        self.beyond = beyond
        self.architecture = architecture
        self.short_window = short_window
        self.long_window = long_window
        self.memory_size = memory_size
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_size = validation_size
        self.patience = patience
        self.averaging = averaging
        self.n_estimators = n_estimators
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.calibration = calibration
        self.optimizer = optimizer
        self.loss = loss
        self.callbacks = callbacks
        self.jit_compile = jit_compile
        self.distribution = distribution
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> FusionForecaster:
        """Learn from a panel.

        Parameters
        ----------
        X : DataFrame of R rows, or array-like of shape (R, C), or path
            One row per series and time, in any order; pandas, polars, pyarrow or NumPy. Or, for
            data larger than memory, Parquet files: a path, several, a folder of them, or a
            `tsfusion.data.ParquetPanel` with the same roles and options. The rows of a series must
            lie together there (see `tsfusion.scale.relayout`); training reads 512 MB of them at a
            time, and the memory keeps those that forecasts need.
        y : array-like of shape (R,), default=None
            The target, in the order of X; None takes the ``target`` column. NaN where unknown.

        Returns
        -------
        FusionForecaster
            Itself. A fit that fails or is interrupted (Ctrl-C) leaves the estimator as it was:
            fitted as before, or not fitted. With ``checkpoint_dir``, the checkpoint stays, and the
            same call goes on from it.

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range or the data do not fit the roles; the message names the
            column, series and row. If there is a checkpoint of another fit, or a damaged one. If
            training diverged: losses or weights are not finite.
        """
        self._validate_params()
        asked = check_levels(self.quantiles)
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads: expected a divisor of hidden_size={self.hidden_size}, received "
                f"{self.num_heads}."
            )
        check_windows(self)
        bounds_of(self)
        check_parts_of_keras(self)
        options = calibrating(self)
        files = open_files(self, X, y)
        frame = as_frame(X, self._column_names()) if files is None else files.frame
        if files is None:
            _check_not_empty(frame)
        roles = resolve_roles(
            frame,
            time=self.time,
            series=self.series,
            target=self.target,
            known=self.known,
            observed=self.observed,
            static=self.static,
            weight=self.weight,
            y_name=getattr(y, "name", None),
            y_given=y is not None,
        )
        _check_time_variables(roles, self.time_features or {}, self.holidays is not None)
        if roles.ignored:
            warnings.warn(
                f"The columns {list(roles.ignored)} have no role and are left out; list them in "
                "known=, observed= or static=.",
                DataWarning,
                stacklevel=2,
            )
        levels = tuple(sorted({*_BASE_LEVELS, *asked}))
        again = self.warm_start and hasattr(self, "_fitted")
        if again:
            check_same_shape(self, roles, levels)
        if files is None:
            learned = learn(self, frame, _aligned(y, X), roles, levels, again)
        else:
            learned = Learned(**files.learn(roles, levels))
        if options is not None and len(learned.validation) == 0:
            raise ValueError(
                f"calibration={self.calibration!r}: expected a validation tail to calibrate on, "
                "but the rows leave none. Pass more rows or a larger validation_size=, or call "
                "calibrate(X) after fit."
            )
        architecture = self._architecture(learned.panel, learned.fitted)
        weights: list[np.ndarray] | None = None
        if again:
            check_same_network(architecture, self._architecture_)
            weights = self.model_.get_weights()
        with checkpoint_of(self, learned, architecture, weights) as checkpoint:
            model, histories = train_members(self, learned, architecture, weights, checkpoint)
            state = {
                "model_": model,
                "history_": histories[0],
                "histories_": histories,
                "validation_losses_": validation_losses(self, learned, histories),
                "levels_": levels,
                "context_length_": learned.fitted.context_length,
                "freq_": learned.fitted.encoder.timeline.freq,
                "n_features_in_": frame.shape[1],
                "_fitted": learned.fitted,
                "_memory": learned.rows,
                "_architecture_": architecture,
            }
            if all(isinstance(name, str) for name in frame.columns):
                state["feature_names_in_"] = np.asarray(frame.columns, dtype=object)
            if options is not None:
                fresh = object.__new__(type(self))
                fresh.__dict__ = {**self.get_params(deep=False), **state}
                state["_calibration"] = fresh.calibrate(**options)._calibration
            self._become(state)
        _warn_of_skill(self)
        return self

    @property
    def skill_(self) -> float:
        """One less the ratio of the network's validation loss to the best naive forecast's."""
        check_is_fitted(self)
        naive = [v for name, v in self.validation_losses_.items() if name != "network"]
        if not naive or not min(naive) > 0:
            return float("nan")
        return 1 - self.validation_losses_["network"] / min(naive)

    @property
    def series_(self) -> pd.Index:
        """The series in memory."""
        check_is_fitted(self)
        return self._memory.labels

    def predict(self, X: Any, *, quantiles: Any = None, context: Any = None) -> np.ndarray:
        """Forecast the rows of X, in their order.

        Parameters
        ----------
        X : DataFrame of R rows, or array-like of shape (R, C)
            Time, series and known columns; its target and observed columns are never read.
        quantiles : sequence of float, default=None
            Levels to give in place of the mean, each in (0, 1); calibrated after `calibrate`.
        context : DataFrame, default=None
            History that replaces the memory of its series for this call.

        Returns
        -------
        ndarray of shape (R,) or (R, Q)
            The mean of the forecast distribution, or its quantiles, in units of the target.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If a series is unseen, a known column or a step is missing, or a row lies past the
            horizon and ``beyond="raise"``.
        """
        check_is_fitted(self)
        levels = None if quantiles is None else check_levels(quantiles)
        newer = self._read_context(context)
        rows = self._read_asked(X, "X", newer)
        memory = self._recall(newer, np.unique(rows.series))
        values = self._answer(memory, rows, "X", levels or ())
        if levels is None:
            return mean_of_quantiles(values, self.levels_)
        return values[:, len(self.levels_) :]

    def forecast(
        self, future: Any = None, *, horizon: int | None = None, quantiles: Any = None,
        context: Any = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Forecast what follows the known history.

        Parameters
        ----------
        future : DataFrame, default=None
            Time, series and known columns of the steps that follow, without gaps; needed where
            there are known columns, unless `fit` or `update` already saw these rows (with NaN
            targets).
        horizon : int, default=None
            How many steps; None takes the estimator's horizon, or all steps of ``future``.
        quantiles : sequence of float, default=None
            Levels to give; None takes the estimator's. Calibrated after `calibrate`.
        context : DataFrame, default=None
            History that replaces the memory of its series for this call. Without ``future``, only
            its series are forecast.

        Returns
        -------
        DataFrame
            Series and time columns, ``mean``, and a column such as ``q0.1`` per level; sorted by
            series and time.

        Raises
        ------
        ValueError
            If known values are missing, ``future`` starts at another step than the next, or the
            series or time column has the name of one of the result's own (``mean``, ``q0.1``).
        """
        check_is_fitted(self)
        levels = check_levels(self.quantiles if quantiles is None else quantiles)
        names = quantile_names(levels)
        self._check_result(["mean", *names])
        memory, rows = self._following(future, horizon, context)
        values = self._answer(memory, rows, "future", levels)
        trained = len(self.levels_)
        table = self._keys(rows)
        table["mean"] = mean_of_quantiles(values[:, :trained], self.levels_)
        for i, name in enumerate(names):
            table[name] = values[:, trained + i]
        return _by_label(pd.DataFrame(table), rows)

    def make_future_dataframe(
        self, horizon: int | None = None, *, context: Any = None
    ) -> pd.DataFrame:
        """Return the series and times that follow the known history.

        Parameters
        ----------
        horizon : int, default=None
            How many steps; None takes the estimator's horizon.
        context : DataFrame, default=None
            History that replaces the memory of its series; only they are listed then.

        Returns
        -------
        DataFrame
            Series and time columns (or index, where `fit` took the time from the index) of
            ``horizon`` rows per series, to be filled with the known columns; static columns are
            remembered.
        """
        check_is_fitted(self)
        newer = self._read_context(context)
        wanted = self._wanted(newer)
        memory = self._recall(newer, wanted)
        rows = self._blank_rows(memory, wanted, self._steps(horizon))
        table = _by_label(pd.DataFrame(self._keys(rows)), rows)
        roles = self._fitted.encoder.roles
        if roles.time is None:
            return pd.DataFrame(index=pd.RangeIndex(len(memory), len(memory) + len(rows)))
        if roles.time is INDEX and roles.series_in_index:
            return table.set_index([*roles.series, roles.time_label])
        if roles.time is INDEX:
            return table.set_index(roles.time_label)
        return table

    def update(self, X: Any, y: Any = None) -> FusionForecaster:
        """Add new history to the memory; the network's weights stay as they are.

        Parameters
        ----------
        X : DataFrame
            New rows with all columns of `fit`; at a series and time already known the new row wins.
            A series not known yet becomes one that can be forecast.
        y : array-like, default=None
            The target; None takes the ``target`` column.

        Returns
        -------
        FusionForecaster
            Itself.

        Raises
        ------
        ValueError, TypeError
            If the rows do not go with those of `fit`; if the label of a new series differs from a
            known one by its type alone (``"1"`` beside ``1``).
        """
        check_is_fitted(self)
        rows = self._read_history(X, y)
        rows = rows.sorted()
        memory = self._memory.upsert(rows, ties=True)
        if self._calibration is not None:
            self._calibration = self._rolled(self._calibration, memory, rows)
        self._memory = memory
        return self

    def calibrate(
        self, X: Any = None, y: Any = None, *, method: str = "cqr", coverage: str = "step",
        window: int | None = None, min_origins: int = 200, rate: float | None = None,
    ) -> FusionForecaster:  # fmt: skip
        """Make quantiles cover what they say, by the errors of past forecasts.

        Forecasts are made from every cutoff in rows that were not trained on, and compared with
        what came. From then on `forecast` and ``predict(quantiles=...)`` give quantiles that are
        moved by these errors, for each level and step ahead; the mean and the network stay.
        `update` goes on with the errors of the new rows, as they become known, and drops the
        oldest. `fit` and `uncalibrate` end it.

        Parameters
        ----------
        X : DataFrame, default=None
            Rows with all columns of `fit` that it did not train on, most often those that follow.
            They are not added to the memory: that is what `update` does. None takes the
            validation tail that `fit` kept aside, and what `update` has added. Early stopping chose
            the weights by that tail, so its errors come out a little too small; rows of their own
            are better.
        y : array-like, default=None
            The target; None takes the ``target`` column.
        method : {"cqr", "aci", "tracking"}, default="cqr"
            ``"cqr"``: split conformalised quantile regression over a window. The others go on
            adapting at every `update`, and start like it: ``"aci"`` (adaptive conformal inference)
            takes the same scores at a level that rises after a miss and falls after none;
            ``"tracking"`` moves the correction itself.
        coverage : {"step", "path"}, default="step"
            What two quantiles (a and 1 - a) are to hold between them with probability 1 - 2 a: the
            truth at each step, or the truth of all steps of the horizon at once. ``"path"`` goes
            with ``"cqr"`` alone.
        window : int, default=None
            The cutoffs kept for each series, the last ones, at least the horizon. None takes all of
            X, at most 4000, and goes on with the last 1000 from the first `update`. Where that were
            over 100,000 in all, None takes fewer of each series, and where too few would be left
            (the horizon and 50), those of series drawn evenly.
        min_origins : int, default=200
            A series with as many scores at every step is corrected by its own; any other by those
            of all series together, each in units of its own spread.
        rate : float, default=None
            Step size of the adaptive methods; None is 0.005 for ``"aci"``, and 0.005 of the largest
            error in the window for ``"tracking"``.

        Returns
        -------
        FusionForecaster
            Itself.

        Raises
        ------
        ValueError
            If there are no such rows, or too few to have seen every step ahead.

        Warns
        -----
        CalibrationWarning
            If X holds rows that `fit` trained on. Later, in `forecast` and `predict`, where a level
            has too few scores (one step ahead, 0.95 needs 19; h steps ahead, ``(h + 1) / 2`` times
            as many): its quantile is then moved by the largest, and may cover less than it says.

        See Also
        --------
        uncalibrate : The way back.
        simulate : Sample paths, for sums over the horizon.

        Notes
        -----
        Errors of neighbouring cutoffs are alike, so that n of them tell less than n independent
        ones, for which alone the guarantee (coverage of at least the level) holds; the correction
        for a finite number counts ``(h + 1) / 2`` of them as one
        (`tsfusion.uncertainty.overlap_of`). Past the horizon, and for rows within the known
        history, the correction is that of the last step and of the first. Known columns of rows
        that are not there yet count as missing.

        References
        ----------
        Romano, Patterson and Candes (2019), "Conformalized Quantile Regression", NeurIPS 32,
        Theorem 2. Gibbs and Candes (2021), "Adaptive conformal inference under distribution
        shift", NeurIPS 34, eq. (2). Angelopoulos, Candes and Tibshirani (2023), "Conformal PID
        control for time series prediction", NeurIPS 36, section 2.1.

        Examples
        --------
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import load_air_passengers
        >>> model = FusionForecaster(
        ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
        ... )
        >>> table = load_air_passengers()
        >>> model = model.fit(table[:90]).calibrate(table[90:]).update(table[90:])
        >>> model.forecast(quantiles=[0.1, 0.9]).columns.tolist()
        ['month', 'mean', 'q0.1', 'q0.9']
        """
        check_is_fitted(self)
        from tsfusion.uncertainty.calibration import Calibration, check_options, code_outside

        check_options(
            method=method, coverage=coverage, window=window, min_origins=min_origins, rate=rate
        )
        from tsfusion.uncertainty.origins import affordable, score_origins

        horizon = self._fitted.horizon
        if window is not None and window < horizon:
            raise ValueError(
                f"calibrate: expected a window of at least the horizon, {horizon} cutoffs, "
                f"received {window}: of fewer, the last step has no truth yet."
            )
        memory, first, until, wanted = self._calibration_rows(X, y)
        most = window
        if most is None:
            most, wanted = affordable(memory, first, wanted, horizon)
        series, origin, scores = score_origins(
            self._fitted, self.model_, memory, first, wanted, until=until, most=int(most),
            verbose=self.verbose,
        )  # fmt: skip
        n_series = len(self._memory.labels)
        # Of series that are new the labels tell, until `update` brings them into the memory.
        codes = np.append(np.arange(n_series), code_outside(memory.labels[n_series:]))
        self._calibration = Calibration.start(
            codes[series],
            origin,
            scores,
            self.levels_,
            n_series=n_series,
            method=method,
            coverage=coverage,
            window=window,
            min_origins=min_origins,
            rate=rate,
        )
        return self

    def uncalibrate(self) -> FusionForecaster:
        """Go back to the quantiles of the network, as before `calibrate`.

        Returns
        -------
        FusionForecaster
            Itself.

        Examples
        --------
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import load_air_passengers
        >>> model = FusionForecaster(
        ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
        ... ).fit(load_air_passengers())
        >>> raw = model.forecast()
        >>> model.calibrate().uncalibrate().forecast().equals(raw)
        True
        """
        check_is_fitted(self)
        self.__dict__.pop("_calibration", None)
        return self

    def simulate(
        self, future: Any = None, n_paths: int = 100, random_state: Any = None,
        context: Any = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Draw sample paths of what follows the known history.

        At each step the paths are spread as the calibrated quantiles say; over the steps they rise
        and fall together as the errors of past forecasts did. So the sum of a path, or its highest
        value, has quantiles that hold, which the quantiles of single steps do not give.

        Parameters
        ----------
        future : DataFrame, default=None
            As in `forecast`, at most the horizon.
        n_paths : int, default=100
            Paths per series.
        random_state : int, RandomState or None, default=None
            Seed of the paths.
        context : DataFrame, default=None
            As in `forecast`.

        Returns
        -------
        DataFrame
            Series and time columns, ``path`` (from 0) and ``value``: one row per series, path and
            step, in that order.

        Raises
        ------
        ValueError
            Before `calibrate`, for steps past the horizon, if the series or time column is called
            ``path`` or ``value``, and as `forecast`.

        See Also
        --------
        calibrate : Comes first.

        Notes
        -----
        Of the paths, exactly k in P lie below the quantile of level k / P at every step. With
        ``coverage="path"``, too, the paths are those of the quantiles for single steps. Paths of
        different series are drawn apart: path 3 of one tells nothing of path 3 of another. What a
        series gets by one seed does not hang on the series beside it.

        References
        ----------
        Clark et al. (2004), "The Schaake shuffle", Journal of Hydrometeorology 5(1), with ranks of
        past errors in place of past weather.

        Examples
        --------
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import load_air_passengers
        >>> model = FusionForecaster(
        ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
        ... ).fit(load_air_passengers())
        >>> paths = model.calibrate().simulate(n_paths=50, random_state=0)
        >>> paths.columns.tolist(), len(paths)
        (['month', 'path', 'value'], 300)
        >>> paths.groupby("path")["value"].sum().quantile([0.1, 0.9]).shape
        (2,)
        """
        check_is_fitted(self)
        from tsfusion.uncertainty.calibration import code_outside

        if isinstance(n_paths, bool) or not isinstance(n_paths, Integral) or n_paths < 1:
            raise ValueError(f"n_paths: expected an integer >= 1, received {n_paths!r}.")
        calibration = self._calibration
        if calibration is None:
            raise ValueError(
                "simulate: expected a calibrated forecaster, for the paths follow the errors of "
                "past forecasts. Call calibrate() first."
            )
        seed = int(check_random_state(random_state).randint(2**31))
        self._check_result(["path", "value"])
        memory, rows = self._following(future, None, context)
        plan = plan_rows(self._fitted, memory, rows)
        if plan.step.max(initial=0) > self._fitted.horizon:
            raise ValueError(
                f"simulate: expected at most the {self._fitted.horizon} steps of the horizon, "
                f"received step {int(plan.step.max())}. Pass fewer rows."
            )

        # Series not in memory have one code, and draws of their own.
        key = code_outside(plan.panel.labels)[plan.windows.series[plan.window]]

        def drawn(values: np.ndarray) -> np.ndarray:
            codes = self._codes(plan)
            return calibration.paths(values, codes, plan.step, int(n_paths), seed, key)

        values = forecast_rows(
            self._fitted, self.model_, plan, beyond="nan", further=drawn, verbose=self.verbose
        )
        table = pd.DataFrame(self._keys(rows)).loc[np.repeat(np.arange(len(rows)), n_paths)]
        table["path"] = np.tile(np.arange(n_paths), len(rows))
        table["value"] = values[:, len(self.levels_) :].ravel()
        series = _ranks(rows.labels)[rows.series]
        order = np.lexsort(
            (np.repeat(plan.step, n_paths), table["path"], np.repeat(series, n_paths))
        )
        return table.iloc[order].reset_index(drop=True)

    def anomaly_scores(
        self, X: Any, y: Any = None, *, false_alarms: float = 0.01
    ) -> pd.DataFrame:  # fmt: skip
        """Say which rows with a known target lie where forecasts hardly ever leave them.

        Each row gets the forecast made from the last known target before it (one step ahead, after
        a gap more), and a p-value: the share of past forecasts, among those that `calibrate` and
        `update` keep, whose truth lay at least as far out. The memory stays as it is.

        Parameters
        ----------
        X : DataFrame
            Rows with all columns of `fit`; those not in memory are read as history that follows, so
            a strange value is itself in the past of the next row.
        y : array-like, default=None
            The target; None takes the ``target`` column.
        false_alarms : float, default=0.01
            In (0, 1): the share of ordinary rows that may be called anomalies.

        Returns
        -------
        DataFrame
            In the order of X: series and time columns, the target's value, ``expected`` (the
            median forecast), ``score`` (normal deviations from it by the forecast's own quantiles,
            below zero for a value that is too low), ``p_value`` (NaN where the value or its
            forecast is unknown) and ``anomaly`` (p-value at most ``false_alarms``).

        Raises
        ------
        ValueError
            Before `calibrate`; if ``false_alarms`` is not in (0, 1); if a column of the panel has
            the name of one of the result's own.

        Warns
        -----
        CalibrationWarning
            If there are fewer than ``1 / false_alarms - 1`` past forecasts to compare with: no
            p-value can then be as small.

        See Also
        --------
        calibrate : Comes first, on rows that are not to be judged.

        Notes
        -----
        The false-alarm rate holds where the rows are exchangeable with those calibrated on, and on
        average over series where a series has no errors of its own; rows that `fit` trained on are
        forecast too well, and give too few alarms. A value outside of ``target_bounds`` has an
        infinite score and the least p-value there is.

        References
        ----------
        See `tsfusion.uncertainty.conformal_p_values`.

        Examples
        --------
        >>> import pandas as pd
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import load_air_passengers
        >>> table = load_air_passengers()
        >>> model = FusionForecaster(
        ...     horizon=2, time="month", target="passengers", max_epochs=1, hidden_size=8,
        ...     random_state=0, verbose=0,
        ... )
        >>> model = model.fit(table[:90]).calibrate(table[90:130])
        >>> late = table[130:].assign(passengers=lambda t: t["passengers"].where(t.index != 135, 9))
        >>> scored = model.anomaly_scores(pd.concat([table[90:130], late]), false_alarms=0.05)
        >>> bool(scored["anomaly"].iloc[45]), float(scored["p_value"].iloc[45]) < 0.05
        (True, True)
        """
        check_is_fitted(self)
        if not (isinstance(false_alarms, Real) and 0 < float(false_alarms) < 1):
            raise ValueError(
                f"false_alarms: expected a number between 0 and 1, received {false_alarms!r}."
            )
        calibration = self._calibration
        if calibration is None:
            raise ValueError(
                "anomaly_scores: expected a calibrated forecaster, for a value is strange beside "
                "the errors of past forecasts. Call calibrate() first."
            )
        from tsfusion.uncertainty.anomalies import conformal_p_values, strangeness

        target = self._fitted.encoder.roles.target
        self._check_result(["expected", "score", "p_value", "anomaly"], target)
        rows = self._read_history(X, y)
        memory = self._memory.upsert(rows.sorted(), ties=True)
        plan = plan_rows(self._fitted, memory, rows)
        values = np.empty((0, len(self.levels_)))

        def kept(raw: np.ndarray) -> np.ndarray:
            nonlocal values
            values = raw
            return raw[:, :0]

        forecast = forecast_rows(
            self._fitted, self.model_, plan, beyond="nan", further=kept, verbose=self.verbose
        )
        place = plan.windows.origin[plan.window] + plan.step - 1
        truth = plan.panel.real[place, 0] / plan.spread(self._fitted.context_length)
        errors = truth[:, None] - values
        median, (least, most) = self._fitted.median, self._fitted.bounds
        expected = forecast[:, median]
        # The forecast of a value at its bound may have its middle beyond it.
        as_told = (rows.target == expected) & ((expected == least) | (expected == most))
        errors[as_told] = values[as_told, median, None] - values[as_told]
        codes = self._codes(plan)
        strange = strangeness(errors, calibration)
        p, n = conformal_p_values(calibration, strange, codes, plan.step)
        score = np.sign(errors[:, median]) * strange
        outside = np.isfinite(strange) & ((rows.target < least) | (rows.target > most))
        score[outside] = np.where(rows.target[outside] < least, -np.inf, np.inf)
        p[outside] = 1 / (1 + n[outside])
        if len(n) and 1 / (1 + n.min()) > false_alarms:
            warnings.warn(
                f"anomaly_scores: a p-value of {false_alarms:g} needs "
                f"{int(np.ceil(1 / false_alarms - 1 - 1e-9))} past forecasts to compare with, and "
                f"there are {int(n.min())}: some rows cannot be called an anomaly. Calibrate on "
                "more rows, or raise false_alarms.",
                CalibrationWarning,
                stacklevel=2,
            )
        table = pd.DataFrame(self._keys(rows))
        table[target] = rows.target
        table["expected"] = expected
        table["score"] = score
        table["p_value"] = p
        table["anomaly"] = p <= false_alarms
        return table

    def explain(
        self, X: Any = None, *, horizons: Any = None, quantile: float = 0.5,
        methods: Any = ("attention", "selection"), checks: str | None = None, context: Any = None,
        max_windows: int = 64, lags_of: Any = None, baselines: int = 4,
    ) -> Explanation:  # fmt: skip
        """Say what the forecasts looked at, what moved them, and how far that can be trusted.

        Attention and selection weights cost about twice what forecasts do and come with every
        explanation. What else is computed has to be asked for, and so have the checks: a plain
        ``explain()`` stays fast.

        Parameters
        ----------
        X : DataFrame, default=None
            Rows whose forecasts to explain, as for `predict`. None explains windows spread evenly
            over the known history, each over the whole horizon.
        horizons : int or list of int, default=None
            The steps ahead to explain, from 1; None for all.
        quantile : float, default=0.5
            The quantile to explain, in (0, 1): that of the network, before `calibrate`.
        methods : sequence of str, default=("attention", "selection")
            Also ``"attribution"`` (`Explanation.attribution`: which value of which variable moved
            the forecast by how much; ``6 * baselines`` passes back through the network for each
            forecast, more where it is not smooth: name the ``horizons`` that you care about),
            ``"sensitivity"`` (that of `Explanation.importance` on all windows; otherwise at most
            64 of them, evenly spaced, are tried), ``"paths"`` (what each path of the network
            carries), ``"regimes"`` (windows that look elsewhere than in training) and ``"memory"``
            (use of its slots, and the training windows nearest in it).
        checks : {"fast", "full"} or None, default=None
            Evidence, as the frame ``trust``: ``"fast"`` costs a few passes over the windows,
            ``"full"`` also computes the attribution and removes what it names. Where attention is
            asked for without attribution, and fails, an `ExplanationWarning` says so.
        context : DataFrame, default=None
            History that replaces the memory of its series for this call.
        max_windows : int, default=64
            The most windows (series and cutoff) to explain; more are thinned evenly, with a
            `DataWarning` where X asked for them.
        lags_of : str or list of str, default=None
            Past variables (target, observed, known or calendar) of which to find, beside the
            attention, the lags that the forecast hangs on, by exchanging single values. Costs one
            pass over the windows per variable and past step.
        baselines : int, default=4
            Training windows of the same phase (position in the season) from which the attribution
            of a window starts, drawn for each window by ``random_state``, its series and its
            cutoff. Other baselines tell another story of a single forecast: take more where it
            matters, at the price of as many more passes.

        Returns
        -------
        Explanation
            Labelled tables. Where a column has the name of a calendar variable (``hour``), that of
            the calendar is called ``hour (calendar)``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            As `predict`; if a row lies past the horizon, if ``lags_of`` names no past variable, if
            a parameter is out of its range, or if a series column has the name of a column of the
            tables (``cutoff``).
        """
        fitted, asked, memory, rows = self._to_explain(
            X, context, max_windows=max_windows, lags_of=lags_of, horizons=horizons,
            quantile=quantile, methods=methods, checks=checks, baselines=baselines,
        )  # fmt: skip
        return self._explained(fitted, asked, memory, rows)

    def explain_average(
        self, X: Any = None, *, horizons: Any = None, quantile: float = 0.5,
        methods: Any = ("attention", "selection"), context: Any = None, max_windows: int = 1024,
        baselines: int = 4,
    ) -> AverageExplanation:  # fmt: skip
        """Say what many forecasts looked at and what moved them, on average.

        The same averages as those of `explain`, of any number of windows: they are explained some
        hundred at a time, added up and let go, so that memory does not grow with their number.

        Parameters
        ----------
        X, horizons, quantile, context, baselines
            As for `explain`.
        methods : sequence of str, default=("attention", "selection")
            Also ``"attribution"``, which lays out the whole known history for its baselines.
        max_windows : int, default=1024
            The most windows (series and cutoff) to explain, evenly spaced; with a `DataWarning`
            where X asked for more.

        Returns
        -------
        AverageExplanation
            With `importance`, `temporal_patterns`, `top_lags`, `summary` and plots.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            As `explain`.

        See Also
        --------
        explain : With all that is known of each forecast.

        Examples
        --------
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import make_panel
        >>> table = make_panel(3, 60, random_state=0)[["series", "date", "sales", "price"]]
        >>> model = FusionForecaster(
        ...     horizon=2, time="date", series="series", target="sales", known="price",
        ...     context_length=8, hidden_size=8, max_epochs=1, verbose=0,
        ... ).fit(table)
        >>> model.explain_average(max_windows=50)
        AverageExplanation(100 forecasts from 50 windows, 8 past steps)
        """
        fitted, asked, memory, rows = self._to_explain(
            X, context, max_windows=max_windows, lags_of=None, horizons=horizons,
            quantile=quantile, methods=methods, checks=None, baselines=baselines,
        )  # fmt: skip
        from tsfusion.explain.aggregate import average_history, average_rows

        if rows is None:
            return average_history(fitted, self.model_, memory, asked)
        return average_rows(fitted, self.model_, memory, rows, asked)

    def _explain_next(self, future: Any, context: Any, *, method: str) -> Explanation:
        """Explain what `forecast` gives for the rows to come of every series of ``context``."""
        memory, rows = self._following(future, self._fitted.horizon, context)
        count = len(np.unique(rows.series))
        fitted, asked = self._to_explain_with(
            max_windows=max(1, count), lags_of=None, horizons=None, quantile=0.5,
            methods=(method,), checks=None, baselines=1,
        )  # fmt: skip
        return self._explained(fitted, asked, memory, rows)

    def _explained(
        self, fitted: Fitted, asked: Any, memory: Rows, rows: Rows | None
    ) -> Explanation:
        from tsfusion.explain.build import explain_history, explain_rows
        from tsfusion.explain.explanation import own_columns

        # The time has a name of its own in these tables.
        own = own_columns(asked.methods, asked.quantile)
        check_result_columns(fitted.encoder.roles.series, own)
        if self._calibration is not None:
            asked = replace(asked, calibrated=self._calibrated)
        if rows is None:
            return explain_history(fitted, self.model_, memory, asked)
        plan = plan_rows(fitted, memory, rows)
        return explain_rows(fitted, self.model_, memory, plan, asked)

    def _to_explain_with(self, **options: Any) -> tuple[Fitted, Any]:
        """Return what was learned, with a name of its own for every variable, and what is asked."""
        from tsfusion.explain.parts import Asked, named_apart

        asked = Asked.of(
            self._fitted.horizon, random_state=self.random_state,
            xla=self.jit_compile is not False, verbose=int(self.verbose), **options,
        )  # fmt: skip
        return named_apart(self._fitted), asked

    def _to_explain(
        self, X: Any, context: Any, **options: Any
    ) -> tuple[Fitted, Any, Rows, Rows | None]:
        """Return also the history, and the rows of X if there are any."""
        check_is_fitted(self)
        fitted, asked = self._to_explain_with(**options)
        newer = self._read_context(context)
        memory = self._recall(newer)
        if X is None:
            return fitted, asked, memory, None
        rows = self._read_asked(X, "X", newer)
        _check_seen(rows, memory, "X")
        return fitted, asked, memory, rows

    def what_if(
        self, changes: Any, *, start: Any = None, end: Any = None, series: Any = None,
        future: Any = None, horizon: int | None = None, quantiles: Any = None, context: Any = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Forecast with and without changes to known or observed values.

        What comes back is how the network answers, which is not what would happen: it learned
        what goes together, not what causes what.

        Parameters
        ----------
        changes : dict
            Column -> new value, or a function of the present values (numeric columns, in which
            True and False are 1 and 0), such as
            ``{"price": lambda x: 0.9 * x, "promo": "yes"}``. Known columns change in the history
            and in the steps forecast, observed ones in the history.
        start, end : time, default=None
            The period of the change, both ends included; None for open.
        series : label or list of labels, default=None
            Whose values to change; None for all.
        future, horizon, quantiles, context
            As for `forecast`.

        Returns
        -------
        DataFrame
            Series and time columns, ``statistic`` (``mean``, ``q0.1``, ...), ``forecast``,
            ``changed`` and ``difference``, in units of the target.

        Raises
        ------
        ValueError
            As `forecast`; if a column is neither known nor observed, a series is not known, the
            period holds nothing to change, or the series or time column is called as one of the
            result's own.

        Warns
        -----
        ExplanationWarning
            If a new value lies outside of the training range, or a category was never met.

        Examples
        --------
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import make_panel
        >>> table = make_panel(2, 60, random_state=0)[["series", "date", "sales", "price"]]
        >>> model = FusionForecaster(
        ...     horizon=2, time="date", series="series", target="sales", known="price",
        ...     context_length=8, hidden_size=8, max_epochs=1, verbose=0,
        ... ).fit(table)
        >>> future = model.make_future_dataframe().assign(price=table["price"].median())
        >>> found = model.what_if({"price": table["price"].min()}, future=future)
        >>> found.columns.tolist()
        ['series', 'date', 'statistic', 'forecast', 'changed', 'difference']
        """
        check_is_fitted(self)
        from tsfusion.explain.what_if import OWN_COLUMNS, Change, paired

        levels = check_levels(self.quantiles if quantiles is None else quantiles)
        self._check_result(OWN_COLUMNS)
        change = Change(self._fitted.encoder, changes, start=start, end=end, series=series)
        memory, rows = self._following(future, horizon, context)
        change.check_reaches(memory, rows)
        other = change.applied(memory, self._memory), change.applied(rows, self._memory)
        found = [self._answer(memory, rows, "future", levels)]
        with warnings.catch_warnings():
            # Whatever there is to say of these rows has been said once.
            warnings.simplefilter("ignore")
            found.append(self._answer(*other, "future", levels))
        trained = len(self.levels_)
        values = [
            np.column_stack([mean_of_quantiles(v[:, :trained], self.levels_), v[:, trained:]])
            for v in found
        ]
        found = paired(self._keys(rows), ["mean", *quantile_names(levels)], *values)
        return _by_label(found, rows)

    def backtest(
        self, X: Any, y: Any = None, *, models: Any = None, **options: Any
    ) -> pd.DataFrame:
        """Forecast from several cutoffs in the past, each time fitted on what came before.

        Parameters
        ----------
        X : DataFrame
            The panel, as for `fit`.
        y : array-like, default=None
            The target; None takes the ``target`` column.
        models : str, list or dict, default=None
            What to show beside this estimator: names of baselines, or a dict of names and these or
            objects with ``fit`` and ``forecast``.
        **options
            Passed to `tsfusion.evaluation.backtest`: ``n_windows``, ``step``, ``gap``, ``window``,
            ``refit``, ``out`` and more. The horizon and the columns are this estimator's.

        Returns
        -------
        DataFrame
            One row per model, cutoff, series and time: ``y``, ``mean`` and quantiles, for
            `tsfusion.evaluation.evaluate`. A cutoff is the first time that is forecast.

        Notes
        -----
        Clones are fitted; what this estimator has learned is neither used nor changed.

        Examples
        --------
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import load_air_passengers
        >>> model = FusionForecaster(
        ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
        ... )
        >>> table = model.backtest(load_air_passengers(), models="seasonal_naive", n_windows=1)
        >>> table.groupby("model").size()
        model
        FusionForecaster    6
        seasonal_naive      6
        dtype: int64
        """
        from tsfusion.evaluation.backtesting import backtest, named_models

        beside = {} if models is None else named_models(models)
        compared = {type(self).__name__: self, **beside}
        columns = {name: getattr(self, name) for name in ("time", "series", "target", "freq")}
        options = {"quantiles": self.quantiles, **options}
        return backtest(compared, X, y, horizon=self.horizon, **columns, **options)

    def save(self, path: str | os.PathLike, *, history: str = "full") -> None:
        """Write the fitted estimator to one file, without pickle.

        The file is a zip of JSON and plain arrays: parameters, what was learned about the data, the
        history in memory, and the weights. It can be read on another Keras backend.

        Parameters
        ----------
        path : str or path
            The file. One that is there is replaced once the new one is complete; if anything fails,
            a full disk too, it stays as it is.
        history : {"full", "tail"}, default="full"
            Which rows of the memory to write. ``"tail"`` leaves out what forecasts after the
            present end do not need: of each series, all but the last ``context_length_`` rows up to
            its last known target, and what comes after. Backcasts of earlier rows, and
            explanations of the history, then see these rows alone. Without a time column, where
            rows are numbered from the first, all are kept.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError
            If a parameter, label or category is of a type that the file cannot hold; the message
            names it.

        Warns
        -----
        DataWarning
            If an optimizer, loss or callback was given as an object: forecasts do not need it, and
            it is None after `load`. An attribute that is no part of the estimator is left out too.

        See Also
        --------
        load : The other way.

        Notes
        -----
        A column selector is written as the columns that it found. Of ``time_features``, the file
        holds the names; hand the functions themselves to `load`. Time zones of pytz come back as
        those of ``zoneinfo``. Requests of metadata routing are not written.

        Examples
        --------
        >>> import os, tempfile
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.data import load_air_passengers
        >>> model = FusionForecaster(
        ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
        ... ).fit(load_air_passengers())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "passengers.tsfusion")
        ...     model.save(path, history="tail")
        ...     loaded = FusionForecaster.load(path)
        >>> loaded.forecast().equals(model.forecast())
        True
        """
        check_is_fitted(self)
        from tsfusion.files import save_forecaster

        save_forecaster(self, path, history=history)

    @classmethod
    def load(
        cls, path: str | os.PathLike, *, time_features: dict[str, Any] | None = None
    ) -> FusionForecaster:
        """Read a fitted estimator from a file that `save` wrote.

        Nothing in the file is run, and everything is checked before a network is made: to load a
        file from elsewhere does no harm. Whether to trust its forecasts is another matter, since
        the digests in it tell of damage, not of who wrote it.

        Parameters
        ----------
        path : str or path
            The file.
        time_features : dict of str to callable, default=None
            The functions of time that the estimator was fitted with, by the same names. Needed
            where there were any, for a file holds no code.

        Returns
        -------
        FusionForecaster
            Fitted. It forecasts exactly what the saved one did, on the same backend.

        Raises
        ------
        tsfusion.exceptions.FileFormatError
            If the file is damaged, was not written by `save`, or was by a later release.
        ValueError
            If ``time_features`` are not those that the file needs.

        See Also
        --------
        save : The other way, with an example.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from tsfusion import FusionForecaster
        >>> from tsfusion.exceptions import FileFormatError
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "notes.txt")
        ...     _ = path.write_text("no forecaster")
        ...     try:
        ...         FusionForecaster.load(path)
        ...     except FileFormatError as error:
        ...         print(error)
        /.../notes.txt: expected a file that save wrote, received 13 bytes, which is too short...
        """
        from tsfusion.files import load_forecaster

        return load_forecaster(cls, path, time_features=time_features)

    def export(
        self, path: str | os.PathLike, format: str = "tf_saved_model", *, quantiles: Any = None,
        overwrite: bool = False,
    ) -> None:  # fmt: skip
        """Write the forecaster as a graph for serving, which needs nothing of this package.

        The graph takes windows of the user's own values and gives forecasts in units of the
        target. Scaling of numbers, the calendar, the target's transform and its inverse, and the
        interpolation of quantiles are inside. A window is a series' last ``context_length_`` steps
        (T) up to its last known target and the ``horizon`` steps (H) after; the number of windows
        (B) is free. Inputs, by name; those of no columns are left out:

        ======================  =============  =================================================
        ``series``              (B,)           int32: 1 + the place in the metadata's labels; 0
                                               for a series that was not in training. Only where
                                               there are series columns
        ``past_target``         (B, T)         float64, NaN where unknown
        ``past_real``           (B, T, .)      float64, NaN where unknown
        ``past_categorical``    (B, T, .)      int32: 1 + the place in the column's categories;
                                               0 where unknown or not among them
        ``past_time``           (B, T)         int64: seconds since 1970 on the local clock; only
                                               where the frequency has calendar variables
        ``future_real``, ``future_categorical``, ``future_time``      the same for H steps
        ``static_real``, ``static_categorical``                       (B, .)
        ======================  =============  =================================================

        Outputs are ``quantiles`` (B, H, Q) and ``mean`` (B, H), float64. Steps before a series'
        first row have NaN, 0 and any time. A forecast of step h does not depend on what is given
        for later steps, so fewer than H can be asked for. Columns that ``holidays`` and
        ``time_features`` made are columns like others here, in the units they were made in.

        Which column stands where, categories, labels, levels, frequency and lengths are in the
        metadata, a JSON text: the file ``tsfusion.json`` in the folder of a SavedModel, the entry
        ``tsfusion`` of an ONNX file's metadata.

        Parameters
        ----------
        path : str or path
            The folder of the SavedModel, or the ONNX file. It appears once it is complete.
        format : {"tf_saved_model", "onnx"}, default="tf_saved_model"
            The signature ``serving_default`` of a TensorFlow SavedModel, or ONNX, which needs the
            extra ``export``.
        quantiles : sequence of float, default=None
            Levels to give; None takes the estimator's.
        overwrite : bool, default=False
            Whether to replace an export that is there.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If the format is not known, or the forecaster is calibrated: the graph has no
            corrections.
        FileExistsError
            If something is at the path, without ``overwrite``; with it, if that is no export.
        RuntimeError
            If Keras does not run on TensorFlow: save, and export in a process where it does.
        ImportError
            If the tools for ONNX are missing.

        See Also
        --------
        save : For processes that have this package.

        Examples
        --------
        ``examples/serve_onnx.py`` makes the inputs from tables with pandas alone.
        """
        check_is_fitted(self)
        from tsfusion.serving import export_forecaster

        export_forecaster(self, path, format=format, quantiles=quantiles, overwrite=overwrite)

    def _calibration_rows(self, X: Any, y: Any) -> tuple[Rows, Any, Any, np.ndarray]:
        """Return history, the first origin and last target (S,) of each series, and which count."""
        memory = self._memory
        boundary = self._fitted.encoder.boundary
        if X is None:
            if boundary is None:
                raise ValueError(
                    "calibrate: expected X, for fit kept no validation tail (validation_size=0, or "
                    "too few rows). Pass rows that it did not train on."
                )
            n = len(memory.labels)
            return memory, np.full(n, boundary), None, np.ones(n, bool)
        rows = self._read_history(X, y).sorted()
        self._warn_of_trained(rows)
        first, until, wanted = _spans(rows)
        return memory.upsert(rows, ties=True), first, until, wanted

    def _warn_of_trained(self, rows: Rows) -> None:
        """Warn of rows that fit trained on, or may have."""
        memory, boundary = self._memory, self._fitted.encoder.boundary
        first, last, known = _spans(memory.take(np.isfinite(memory.target)), len(rows.labels))
        stop = last if boundary is None else np.minimum(last, boundary - 1)
        of = rows.series
        trained = known[of] & (rows.ordinal >= first[of]) & (rows.ordinal <= stop[of])
        if trained.any():
            warnings.warn(
                f"calibrate: {int(trained.sum())} of {len(rows)} rows lie within the history that "
                "fit trained on. Forecasts of rows already seen are too good, and the intervals "
                "will be too narrow. Pass rows that it did not train on.",
                CalibrationWarning,
                stacklevel=4,
            )

    def _rolled(self, calibration: Calibration, memory: Rows, rows: Rows) -> Calibration:
        """Return the calibration with the scores that ``rows``, now in memory, make known."""
        from tsfusion.uncertainty.origins import score_origins

        n_series = len(memory.labels)
        calibration = calibration.known_as(memory.labels)
        new, _, wanted = _spans(rows)
        resumed, has = calibration.resume()
        first = new.copy()
        first[: len(has)][has] = resumed[has]
        # Earlier origins have their scores, or were left out; before the horizon none can be new.
        at = np.zeros(n_series, np.int64)
        place = np.arange(len(memory))
        late = memory.ordinal >= new[memory.series]
        at[memory.series[late][::-1]] = place[late][::-1]
        start = np.append(0, np.cumsum(memory.counts()))[:-1]
        oldest = memory.ordinal[np.maximum(at - self._fitted.horizon, start).clip(0)]
        first = np.maximum(first, oldest)
        series, origin, scores = score_origins(
            self._fitted, self.model_, memory, first, wanted, most=calibration.window,
            verbose=self.verbose,
        )  # fmt: skip
        known = pd.MultiIndex.from_arrays([calibration.series, calibration.origin])
        again = pd.MultiIndex.from_arrays([series, origin]).isin(known)
        kept = again | (origin >= new[series])
        return calibration.roll(series[kept], origin[kept], scores[kept], n_series)

    def _architecture(self, panel: Panel, fitted: Fitted) -> dict[str, Any]:
        """Describe the network in plain values, from which it can be made again."""
        encoder, calendar = fitted.encoder, fitted.calendar
        roles = encoder.roles
        sizes = {name: len(values) + 1 for name, values in encoder.vocabularies.items()}
        known = [sizes[name] for name in roles.known_categorical] + list(calendar.cardinalities)
        observed = 1 + panel.n_observed_real
        network = {
            "horizon": int(self.horizon),
            "quantiles": list(fitted.levels),
            "hidden_size": int(self.hidden_size),
            "num_heads": int(self.num_heads),
            "dropout": float(self.dropout),
            "num_past_real": panel.real.shape[1],
            "past_cardinalities": [sizes[n] for n in roles.observed_categorical] + known,
            "num_future_real": panel.real.shape[1] - observed,
            "future_cardinalities": known,
            "num_static_real": len(roles.static_real),
            "static_cardinalities": [sizes[name] for name in roles.static_categorical],
        }
        if self.architecture == "fusion":
            network |= {
                "long_window": fitted.context_length,
                "short_window": self._short(encoder, fitted.context_length),
                "memory_size": int(self.memory_size),
            }
        return {
            "architecture": self.architecture,
            "members": int(self.n_estimators),
            "num_observed": panel.n_observed_real,
            "network": network,
        }

    def _short(self, encoder: PanelEncoder, context_length: int) -> int:
        if self.short_window is not None:
            return min(int(self.short_window), context_length)
        wanted = max(2 * encoder.timeline.season, int(self.horizon), _LEAST_SHORT)
        return min(wanted, _MOST_SHORT, context_length)

    def _become(self, state: dict[str, Any]) -> None:
        """Take a new state in place of all that was learned, at once: Ctrl-C finds no half."""
        kept = {
            name: value
            for name, value in vars(self).items()
            if (name[0] == "_" or not name.endswith("_")) and name != "_calibration"
        }
        self.__dict__ = {**kept, **state}

    def _column_names(self) -> list[Any]:
        names: list[Any] = [self.time, self.target, self.weight]
        for value in (self.series, self.known, self.observed, self.static):
            if not callable(value):
                names += list(value) if isinstance(value, (list, tuple)) else [value]
        return names

    def _read_frame(self, X: Any, kind: str = "X") -> pd.DataFrame:
        frame = as_frame(X, self._column_names())
        is_table = hasattr(X, "columns") or hasattr(X, "column_names")
        if not is_table and frame.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{kind} has {frame.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        return frame

    def _read_history(self, X: Any, y: Any) -> Rows:
        """Return rows with their targets, in the order of X, that may join the memory."""
        frame = self._read_frame(X)
        _check_not_empty(frame)
        rows = self._fitted.encoder.read(
            frame,
            _aligned(y, X),
            kind="X",
            memory=self._memory,
            with_target=True,
            first=len(self._memory),
        )
        _check_new(rows, self._memory, "X")
        self._fitted.check_history(rows)
        return rows

    def _steps(self, horizon: int | None) -> int:
        if horizon is None:
            return self._fitted.horizon
        if isinstance(horizon, bool) or not isinstance(horizon, Integral) or horizon < 1:
            raise ValueError(f"horizon: expected an integer >= 1, received {horizon!r}.")
        return int(horizon)

    def _following(self, future: Any, horizon: int | None, context: Any) -> tuple[Rows, Rows]:
        """Return the memory, and the rows that follow it: those of ``future``, or the next."""
        steps = self._steps(horizon)
        newer = self._read_context(context)
        if future is None:
            wanted = self._wanted(newer)
            memory = self._recall(newer, wanted)
            return memory, self._next_rows(memory, wanted, steps)
        rows = self._read_asked(future, "future", newer).sorted()
        memory = self._recall(newer, np.unique(rows.series))
        _check_seen(rows, memory, "future")
        self._check_follows(memory, rows)
        if horizon is not None:
            rows = rows.take(_within_series(rows) < steps)
        return memory, rows

    def _read_context(self, context: Any) -> Rows | None:
        """Return the rows that stand in place of the memory of their series, sorted."""
        if context is None:
            return None
        frame = self._read_frame(context, "context")
        _check_not_empty(frame)
        rows = self._fitted.encoder.read(
            frame, kind="context", memory=self._memory, with_target=True
        ).sorted()
        _check_new(rows, self._memory, "context")
        self._fitted.check_history(rows)
        return rows

    def _read_asked(self, X: Any, kind: str, newer: Rows | None) -> Rows:
        """Return the rows of X to forecast, whose series are those of the memory and ``newer``."""
        frame = self._read_frame(X, kind)
        # Labels and static values are all that is asked of the memory.
        memory = self._memory if newer is None else newer.take(np.zeros(0, np.int64))
        first = 0
        if self._fitted.encoder.roles.time is None:
            first = len(self._recall(newer))
        return self._fitted.encoder.read(
            frame, kind=kind, memory=memory, with_target=False, first=first
        )

    def _wanted(self, newer: Rows | None) -> np.ndarray:
        """Return the codes of the series to forecast: those of the context, or all."""
        if newer is None:
            return np.flatnonzero(self._memory.counts())
        return np.unique(newer.series)

    def _recall(self, newer: Rows | None, series: np.ndarray | None = None) -> Rows:
        """Return the memory, in which ``newer`` stands in place of its series.

        Of some ``series`` (sorted codes) alone where no other matters: on an irregular timeline
        the steps of all tell how far apart the next ones are.
        """
        memory = self._memory
        if series is None or not self._fitted.encoder.timeline.is_regular:
            series = np.arange(len(memory.labels))
        if newer is None:
            return memory.of_series(series)
        return memory.of_series(np.setdiff1d(series, newer.series)).upsert(newer, ties=True)

    def _answer(
        self, memory: Rows, rows: Rows, kind: str, levels: Sequence[float] = ()
    ) -> np.ndarray:
        """Return (R, Q + L) quantiles of rows at the trained levels and at further ones."""
        _check_seen(rows, memory, kind)
        if len(rows) == 0:
            return np.zeros((0, len(self.levels_) + len(levels)))
        plan = plan_rows(self._fitted, memory, rows)
        self._check_horizon(plan)
        calibration = self._calibration
        if calibration is None or not levels:
            return forecast_rows(
                self._fitted, self.model_, plan, beyond=self.beyond, levels=levels,
                verbose=self.verbose,
            )  # fmt: skip
        series = self._codes(plan)
        short = calibration.shortfall(levels, series)
        if short is not None:
            warnings.warn(short, CalibrationWarning, stacklevel=3)

        def calibrated(values: np.ndarray) -> np.ndarray:
            return calibration.quantiles(values, series, plan.step, levels)

        return forecast_rows(
            self._fitted, self.model_, plan, beyond=self.beyond, further=calibrated,
            verbose=self.verbose,
        )  # fmt: skip

    def _codes(self, plan: RowPlan) -> np.ndarray:
        """Return (R,) the series of planned rows as codes of the memory, -1 where it has none."""
        codes = self._memory.labels.get_indexer(plan.panel.labels)
        return codes[plan.windows.series[plan.window]]

    def _calibrated(self, values: np.ndarray, labels: pd.Index, step: np.ndarray) -> np.ndarray:
        """Return (E, Q) calibrated quantiles of trained ones, in the network's units."""
        assert self._calibration is not None
        codes = self._memory.labels.get_indexer(labels)
        return self._calibration.quantiles(values, codes, step, self.levels_)

    def _check_horizon(self, plan: RowPlan) -> None:
        past = plan.step > self._fitted.horizon
        if not past.any():
            return
        text = (
            f"{int(past.sum())} rows lie past the horizon of {self._fitted.horizon} steps (the "
            f"furthest at step {int(plan.step.max())})"
        )
        if self.beyond == "raise":
            raise ValueError(
                f"{text}, and beyond='raise'. Fit with a longer horizon, pass fewer rows, or use "
                "beyond='roll'."
            )
        action = "rolled forward from the median" if self.beyond == "roll" else "given NaN"
        warnings.warn(f"{text}: they are {action}.", BeyondHorizonWarning, stacklevel=4)

    def _check_result(self, own: Sequence[str], target: Any = None) -> None:
        """Raise if a column that a result takes from the panel has the name of one of its own."""
        roles = self._fitted.encoder.roles
        given = roles.series if target is None else (*roles.series, target)
        # A time without a name of the user's, such as an index, goes by one of ours.
        check_result_columns(given, [*own, roles.time_label])
        check_result_columns([roles.time_label], own)

    def _keys(self, rows: Rows) -> dict[Any, Any]:
        """Return the series and time columns of rows, in the user's names and types."""
        roles = self._fitted.encoder.roles
        table: dict[Any, Any] = {}
        labels = rows.labels[rows.series]
        for i, name in enumerate(roles.series):
            table[name] = labels.get_level_values(i) if len(roles.series) > 1 else labels
        table[roles.time_label] = self._fitted.encoder.timeline.times(rows.ordinal)
        return table

    def _blank_rows(self, memory: Rows, wanted: np.ndarray, steps: int) -> Rows:
        """Return the ``steps`` rows after the last known target of each series, values unknown."""
        end = known_end(memory)[wanted]
        silent = wanted[end < 0]
        if len(silent):
            raise ValueError(
                f"Series {memory.labels[silent[0]]!r} has no known target "
                f"({len(silent)} such series): there is nothing to forecast from. Give it rows "
                "with one, by update or context=, or leave its rows out."
            )
        series = np.repeat(wanted, steps)
        n = len(series)
        timeline = self._fitted.encoder.timeline
        ahead = np.tile(np.arange(1, steps + 1), len(wanted))
        last = np.repeat(memory.ordinal[end], steps)
        ordinal = last + ahead if timeline.is_regular else _rows_ahead(memory, series, last, ahead)
        return replace(
            memory,
            series=series,
            ordinal=ordinal,
            target=np.full(n, np.nan),
            real=np.full((n, memory.real.shape[1]), np.nan, np.float32),
            categorical=np.zeros((n, memory.categorical.shape[1]), np.int32),
            weight=np.ones(n, np.float32),
            row=np.arange(n),
        )

    def _next_rows(self, memory: Rows, wanted: np.ndarray, steps: int) -> Rows:
        """Return the next rows; their known values come from memory, or there must be none."""
        blank = self._blank_rows(memory, wanted, steps)
        roles = self._fitted.encoder.roles
        if not roles.known:
            return blank
        end = known_end(memory)[memory.series]
        ahead = memory.take((np.arange(len(memory)) > end) & np.isin(memory.series, wanted))
        ahead = ahead.take(_within_series(ahead) < steps)
        lacking = np.bincount(ahead.series, minlength=len(memory.labels))[wanted] < steps
        if lacking.any():
            series = memory.labels[wanted[lacking.argmax()]]
            where = f" for series {series!r}" if roles.series else ""
            raise ValueError(
                f"Missing future values of the known columns {list(roles.known)}{where}: pass "
                "future= with them for every step to forecast (make_future_dataframe() gives its "
                "rows), or declare them as observed."
            )
        return ahead

    def _check_follows(self, memory: Rows, rows: Rows) -> None:
        """Raise unless rows (sorted) follow directly after each series' last known target."""
        timeline = self._fitted.encoder.timeline
        _, first = np.unique(rows.series, return_index=True)
        end = known_end(memory)[rows.series]
        last = np.where(end >= 0, memory.ordinal[end], 0)
        if timeline.is_regular:
            wrong = (end >= 0) & (rows.ordinal != last + 1 + _within_series(rows))
        else:
            wrong = (end >= 0) & (rows.ordinal <= last)
        if not wrong.any():
            return
        at = int(wrong.argmax())
        times = timeline.times(np.array([rows.ordinal[at], last[at]]))
        label = rows.labels[rows.series[at]]
        where = f" of series {label!r}" if self._fitted.encoder.roles.series else ""
        wanted = ""
        if timeline.is_regular:
            step = last[at] + 1 + _within_series(rows)[at]
            wanted = f", expected {timeline.times(np.array([step]))[0]}"
        place = "starts" if at in first else "goes on"
        raise ValueError(
            f"future{where} {place} at {times[0]}{wanted}: its rows must follow the last known "
            f"target ({times[1]}) step by step. See make_future_dataframe()."
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Categories and text are taken from columns of a table. scikit-learn's tags speak of arrays
        # that hold nothing else, where no column could be the time.
        tags.input_tags.allow_nan = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        model = state.pop("model_", None)
        if model is not None:
            state["_weights"] = [np.asarray(weight) for weight in model.get_weights()]
        from tsfusion.files.state import plain_state

        return plain_state(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        from tsfusion.files.state import full_state

        state = full_state(dict(state))
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            from tsfusion.models.factory import make_model

            self.model_ = make_model(self._architecture_)
            self.model_.set_weights(weights)


def _warn_of_skill(model: FusionForecaster) -> None:
    """Warn if a naive forecast was at least as good on the validation tail."""
    losses = dict(model.validation_losses_)
    if not losses or not model.skill_ <= 0:
        return
    network = losses.pop("network")
    best = min(losses, key=lambda name: losses[name])
    warnings.warn(
        f"On the validation tail the network's quantile loss is {network:.3g}, that of a naive "
        f"forecast ({best}) {losses[best]:.3g}: so far it is no better. Train longer "
        "(max_epochs=), on more rows or columns, or use the naive forecast "
        "(tsfusion.evaluation.baseline_forecast).",
        SkillWarning,
        stacklevel=3,
    )


def _aligned(y: Any, X: Any) -> Any:
    """Drop the index of y where X has none: the order of the rows is all there is to go by."""
    if isinstance(X, pd.DataFrame) or not isinstance(y, (pd.Series, pd.DataFrame)):
        return y
    return y.reset_index(drop=True)


def _check_not_empty(frame: pd.DataFrame) -> None:
    if len(frame) == 0:
        raise ValueError(
            "X is empty: expected at least two rows, found array with 0 sample(s) (shape="
            f"{frame.shape}) while a minimum of 1 is required."
        )


def _check_seen(rows: Rows, memory: Rows, kind: str) -> None:
    """Raise if a row belongs to a series without history."""
    unseen = memory.counts(len(rows.labels))[rows.series] == 0
    if not unseen.any():
        return
    label = rows.labels[rows.series[unseen.argmax()]]
    hint = "".join(differing_types([label], memory.labels).values())
    raise _not_seen(kind, label, hint, len(np.unique(rows.series[unseen])) - 1)


def _check_new(rows: Rows, memory: Rows, kind: str) -> None:
    """Raise if history begins a series whose label is a known one's, but of another type."""
    twins = differing_types(rows.labels[len(memory.labels) :], memory.labels)
    if twins:
        label, hint = next(iter(twins.items()))
        raise _not_seen(kind, label, hint, len(twins) - 1)


def _not_seen(kind: str, label: Any, hint: str, others: int) -> ValueError:
    what_to_do = "Pass its history in context=, or add it with update()."
    if hint:
        what_to_do = "Convert the labels to the type that they had in fit, with .astype."
    return ValueError(
        f"{kind}: series {label!r} was not seen in fit{hint}"
        f"{f', nor were {others} others' if others else ''}. {what_to_do}"
    )


def _check_time_variables(roles: Any, features: dict, with_holidays: bool) -> None:
    """Raise unless time features are named functions, and no column bears a name that is added."""
    for name, function in features.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(
                "time_features: expected a dict of names and functions of time, received "
                f"{name!r}: {function!r}."
            )
    columns = {roles.target, *roles.known, *roles.observed, *roles.static}
    names = {"time_features": features, "holidays": HOLIDAY_NAMES if with_holidays else ()}
    for parameter, added in names.items():
        taken = next((name for name in added if name in columns), None)
        if taken is not None:
            raise ValueError(
                f"{parameter}: adds a variable {taken!r}, but a column of X has that name. Rename "
                "the column, or leave one of them out."
            )


def _spans(rows: Rows, n_series: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (S,) the first and last step of each series of sorted rows, and if it has any."""
    n = len(rows.labels) if n_series is None else n_series
    first, last = np.zeros(n, rows.ordinal.dtype), np.zeros(n, rows.ordinal.dtype)
    last[rows.series] = rows.ordinal
    first[rows.series[::-1]] = rows.ordinal[::-1]
    return first, last, np.bincount(rows.series, minlength=n) > 0


def _ranks(labels: pd.Index) -> np.ndarray:
    """Return (S,) the places of labels in their order; of what has none, in that of coming."""
    ranks = np.arange(len(labels))
    if not labels.is_monotonic_increasing:
        with contextlib.suppress(TypeError):
            ranks[labels.argsort()] = np.arange(len(labels))
    return ranks


def _by_label(table: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """Return a table of as many rows for each of ``rows``, with the series in their labels' order.

    The memory has those that came later behind those of `fit`.
    """
    if rows.labels.is_monotonic_increasing:
        return table
    series = np.repeat(_ranks(rows.labels)[rows.series], len(table) // max(1, len(rows)))
    return table.iloc[np.argsort(series, kind="stable")].reset_index(drop=True)


def _within_series(rows: Rows) -> np.ndarray:
    """Return (R,) the place of each row in its series, from 0; rows are sorted."""
    count = rows.counts()
    return np.arange(len(rows)) - (np.cumsum(count) - count)[rows.series]


def _rows_ahead(
    memory: Rows, series: np.ndarray, last: np.ndarray, ahead: np.ndarray
) -> np.ndarray:
    """Guess the times of steps to come where every row is one step: the median distance on."""
    return (last + ahead * typical_gap(memory)).astype(memory.ordinal.dtype)
