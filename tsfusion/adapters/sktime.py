"""The forecaster as one of sktime's; needs the extra ``sktime``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from tsfusion.forecaster import FusionForecaster

try:
    from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
except ImportError as error:
    raise ImportError(
        f"tsfusion.adapters.sktime needs a package that is not here ({error}): "
        "pip install 'tsfusion[sktime]'."
    ) from error

__all__ = ["SktimeFusionForecaster"]

# Names that no column of a user's is likely to have.
_TIME, _TARGET, _LEVEL = "__time__", "__target__", "__level_{}__"


class SktimeFusionForecaster(BaseForecaster):
    """`tsfusion.FusionForecaster` with sktime's ``fit(y, X, fh)`` and ``predict(fh, X)``.

    One network learns from all series of a panel or hierarchy: levels of the index before the time
    are the series. Columns of X are known ones, unless the forecaster says otherwise. Steps at or
    before the cutoff get one-step backcasts. `update` adds history; the weights stay.

    Parameters
    ----------
    forecaster : FusionForecaster, default=None
        A template, which is cloned: its ``time``, ``series`` and ``target`` are set here. None is
        ``FusionForecaster(verbose=0)``.
    horizon : int, default=None
        Steps the network is trained for; None takes the last step of the ``fh`` given to `fit`, or
        the template's.

    Attributes
    ----------
    forecaster_ : FusionForecaster
        The fitted clone.

    Notes
    -----
    Where ``fh`` leaves out steps, and X has no rows for them, their known values are those of the
    nearest row before (else after) that X has.

    Examples
    --------
    >>> from sktime.datasets import load_airline  # doctest: +SKIP
    >>> from tsfusion.adapters.sktime import SktimeFusionForecaster  # doctest: +SKIP
    >>> model = SktimeFusionForecaster().fit(load_airline(), fh=[1, 2, 3])  # doctest: +SKIP
    >>> model.predict_interval(coverage=0.8)  # doctest: +SKIP
    """

    _tags = {  # noqa: RUF012
        "authors": "tsfusion developers",
        "maintainers": "tsfusion developers",
        "python_dependencies": "tsfusion",
        "capability:multivariate": False,
        "capability:exogenous": True,
        "capability:categorical_in_X": True,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:missing_values": True,
        "capability:update": True,
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": True,
        "enforce_index_type": None,
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
    }

    def __init__(
        self, forecaster: FusionForecaster | None = None, horizon: int | None = None
    ) -> None:
        self.forecaster = forecaster
        self.horizon = horizon
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: Any = None, fh: Any = None) -> SktimeFusionForecaster:
        template = self.forecaster
        model = FusionForecaster(verbose=0) if template is None else clone(template)
        horizon = self.horizon
        if horizon is None and fh is not None:
            horizon = max(1, int(np.max(np.asarray(fh.to_relative(self.cutoff)))))
        frame = _frame(y, X)
        series = [name for name in frame if str(name).startswith("__level_")]
        model.set_params(
            horizon=model.horizon if horizon is None else horizon,
            time=_TIME,
            series=series or None,
            target=_TARGET,
            freq=_freq(y) if model.freq is None else model.freq,
        )
        self.forecaster_ = model.fit(frame)
        # Of its own: from 1.3 on, sktime keeps no data.
        self._seen_index, self._seen_X, self._names = y.index, X, y.columns
        return self

    def _predict(self, fh: Any, X: Any = None) -> pd.DataFrame:
        rows, index, asked = self._rows(fh, X)
        return pd.DataFrame(self.forecaster_.predict(rows)[asked], index=index, columns=self._names)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> pd.DataFrame:
        rows, index, asked = self._rows(fh, X)
        levels = list(dict.fromkeys(float(level) for level in alpha))
        values = self.forecaster_.predict(rows, quantiles=levels)[asked]
        columns = pd.MultiIndex.from_product([self._get_varnames(), levels])
        return pd.DataFrame(values, index=index, columns=columns)

    def _update(
        self, y: pd.DataFrame, X: Any = None, update_params: bool = True
    ) -> SktimeFusionForecaster:
        self.forecaster_.update(_frame(y, X))
        self._seen_index = self._seen_index.union(y.index)
        if X is not None:
            self._seen_X = X.combine_first(self._seen_X)
        return self

    def _rows(self, fh: Any, X: Any) -> tuple[pd.DataFrame, pd.Index, np.ndarray]:
        """Return rows up to the last of ``fh``, the index of those asked for, and their places."""
        times = fh.to_absolute_index(self.cutoff)
        relative = np.asarray(fh.to_relative(self.cutoff))
        steps = np.union1d(relative, np.arange(1, max(1, relative.max() + 1)))
        every = ForecastingHorizon(steps, is_relative=True, freq=fh.freq)
        every_times = every.to_absolute_index(self.cutoff)
        wanted = self._seen_index
        if isinstance(wanted, pd.MultiIndex):
            series = wanted.droplevel(-1).unique()
            index, full = (_product(series, part, wanted.names) for part in (times, every_times))
        else:
            index, full = times, every_times
        frame = _frame(pd.DataFrame(index=full), _filled(X, self._seen_X, full))
        rows = frame.drop(columns=_TARGET, errors="ignore")
        return rows, index, full.get_indexer(index)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's own tests."""
        small: dict[str, Any] = {
            "hidden_size": 4,
            "num_heads": 1,
            "max_epochs": 1,
            "steps_per_epoch": 1,
        }
        small |= {"context_length": 6, "validation_size": 0, "verbose": 0, "random_state": 0}
        return [
            {"forecaster": FusionForecaster(**small, jit_compile=False)},
            {"forecaster": FusionForecaster(**small, jit_compile=False), "horizon": 2},
        ]


def _frame(y: pd.DataFrame, X: Any) -> pd.DataFrame:
    """Return one table of series, time, target and the columns of X."""
    frame = pd.DataFrame(index=y.index) if X is None else X.reindex(y.index).copy()
    frame.columns = [str(name) for name in frame.columns]
    if y.shape[1]:
        frame[_TARGET] = y.iloc[:, 0].to_numpy(float)
    index = y.index
    if isinstance(index, pd.MultiIndex):
        for i in range(index.nlevels - 1):
            frame[_LEVEL.format(i)] = index.get_level_values(i)
        frame[_TIME] = index.get_level_values(-1)
    else:
        frame[_TIME] = index
    return frame.reset_index(drop=True)


def _filled(X: Any, before: Any, index: pd.Index) -> Any:
    """Return the known columns at ``index``, from those of the past where X has none."""
    if before is None:
        return None
    given = before if X is None else pd.concat([before[before.columns.intersection(X.columns)], X])
    given = given[~given.index.duplicated(keep="last")].sort_index()
    found = given.reindex(index)
    if not isinstance(index, pd.MultiIndex):
        return found.ffill().bfill()
    levels = list(range(index.nlevels - 1))
    found = found.groupby(level=levels, sort=False).ffill()
    return found.groupby(level=levels, sort=False).bfill()


def _freq(y: pd.DataFrame) -> Any:
    """Return the step of the index where it says so itself."""
    times = y.index.levels[-1] if isinstance(y.index, pd.MultiIndex) else y.index
    if isinstance(times, pd.RangeIndex) or pd.api.types.is_integer_dtype(times.dtype):
        return 1
    return None


def _product(series: pd.Index, times: pd.Index, names: Any) -> pd.MultiIndex:
    """Return every time of every series."""
    keys = [key if isinstance(key, tuple) else (key,) for key in series]
    return pd.MultiIndex.from_tuples([(*key, time) for key in keys for time in times], names=names)
