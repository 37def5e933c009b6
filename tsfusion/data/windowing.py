"""Windows of a frame for anybody: arrays, masks, targets and the index of each window.

Relies on NumPy and pandas. Nothing is copied out of the panel before it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from tsfusion.data.encoder import PanelEncoder
from tsfusion.data.frames import as_frame
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.roles import Roles, resolve_roles
from tsfusion.data.timeline import Timeline
from tsfusion.data.windows import WindowIndex, ahead, gather, training_windows
from tsfusion.exceptions import DataWarning

__all__ = ["Windows", "make_windows"]

_ORIGINS = ("training", "all", "last")
_SAMPLINGS = ("series", "length", "weight")


def make_windows(
    df: Any,
    *,
    context_length: int,
    horizon: int,
    target: Any,
    time: Any = None,
    series: Any = None,
    known: Any = None,
    observed: Any = None,
    static: Any = None,
    weight: Any = None,
    freq: Any = None,
    origins: str = "training",
    stride: int = 1,
    min_history: int = 1,
    calendar: bool = False,
    sampling: str | None = None,
    n_windows: int | None = None,
    random_state: Any = None,
) -> Windows:
    """Cut a panel into windows of a past and a horizon, in the user's own units.

    Parameters
    ----------
    df : table of R rows
        One row per series and time, in any order; pandas, polars or pyarrow.
    context_length : int
        Past steps in a window, T.
    horizon : int
        Steps ahead, H.
    target : str or int
        The column to forecast.
    time, series, known, observed, static, weight, freq
        Roles and frequency, as in `tsfusion.FusionForecaster`, but for ``known=None``, which is no
        column here.
    origins : {"training", "all", "last"}, default="training"
        Which steps a horizon may start at. ``"training"``: its whole horizon lies inside the
        series, and a target is known on both sides (a series too short for that gives windows with
        part of a horizon). ``"all"``: any step with ``min_history`` before it, also the one after
        the end; what lies past the end is unknown. ``"last"``: the one right after each series'
        last known target, to forecast from.
    stride : int, default=1
        Steps between the origins of a series, counted back from its last one.
    min_history : int, default=1
        Steps of its series, known or missing, that a window needs before its origin; what lacks to
        ``context_length`` is padded with unknowns.
    calendar : bool, default=False
        Whether to add what the calendar tells of each step (hour, weekday, ...) as known columns.
    sampling : {"series", "length", "weight"}, default=None
        Draw ``n_windows`` of the windows with replacement: each series as likely as any other; each
        window as likely as any other, so that series count by their length; or in proportion to the
        sum of the row weights in the horizon. None takes every window once, in order.
    n_windows : int, default=None
        How many to draw; needed with ``sampling``.
    random_state : int, RandomState or None, default=None
        Seed of the draw.

    Returns
    -------
    Windows

    Warns
    -----
    DataWarning
        If columns have no role and are left out, and if some series give no window: how many, and
        the first of them.

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range, a column is not there or does not fit its role, or there is
        no window.

    See Also
    --------
    tsfusion.data.PanelSplit : Splits by time, for windows that must not share targets.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers, make_windows
    >>> windows = make_windows(
    ...     load_air_passengers(), context_length=24, horizon=6, time="month", target="passengers"
    ... )
    >>> windows
    Windows(138 windows of 1 series, 24 past steps and 6 ahead)
    >>> windows.past_real.shape, windows.targets.shape
    ((138, 24, 1), (138, 6))
    >>> X, y, weights = windows.flatten()
    >>> list(X.columns[-2:]), list(y.columns[:2])
    (['passengers[t-1]', 'passengers[t]'], ['passengers[t+1]', 'passengers[t+2]'])
    """
    sizes = {"context_length": context_length, "horizon": horizon, "stride": stride}
    _check_whole({**sizes, "min_history": min_history})
    _check_choice("origins", origins, _ORIGINS)
    _check_sampling(sampling, n_windows)
    frame = as_frame(df)
    roles = resolve_roles(
        frame,
        time=time,
        series=series,
        target=target,
        known=[] if known is None else known,
        observed=observed,
        static=static,
        weight=weight,
    )
    if roles.ignored:
        warnings.warn(
            f"make_windows: the columns {list(roles.ignored)} have no role and are left out; list "
            "them in known=, observed= or static=, or drop them.",
            DataWarning,
            stacklevel=2,
        )
    if len(frame) == 0:
        raise ValueError("make_windows: expected at least one row, received an empty table.")
    encoder = PanelEncoder(roles, freq, scaler=None)
    rows = encoder.fit(frame, None, validation_size=0.0, horizon=horizon)
    codes = CalendarCodes((), (), ())
    if calendar:
        codes = CalendarCodes.learn(encoder.timeline, rows.ordinal)
    panel = Panel.build(
        rows,
        encoder.timeline,
        codes,
        Units(pd.Series(1.0, rows.labels), 1.0, 0.0, 0.0),
        n_observed_real=len(roles.observed_real),
        n_observed_categorical=len(roles.observed_categorical),
        release=True,
    )
    panel.real[:, 0] = panel.target
    index = _index(panel, origins, int(context_length), int(horizon), stride, min_history)
    if len(index) == 0:
        raise ValueError(
            f"make_windows: no window fits. The longest of {panel.n_series} series has "
            f"{int(panel.lengths.max(initial=0))} steps, {int(np.isfinite(panel.target).sum())} of "
            f"{len(frame)} rows have a known target; asked for were min_history={min_history} and "
            f"a horizon of {horizon}."
        )
    _warn_of_series_without(index, panel)
    if sampling is not None:
        index = _draw(panel, index, sampling, int(horizon), n_windows, random_state)
    return Windows(
        panel=panel,
        windows=index,
        context_length=int(context_length),
        horizon=int(horizon),
        roles=roles,
        timeline=encoder.timeline,
        calendar=codes,
        vocabularies={
            **encoder.vocabularies,
            **{
                name: pd.RangeIndex(size - 1)
                for name, size in zip(codes.names, codes.cardinalities, strict=True)
            },
        },
    )


@dataclass(frozen=True)
class Windows:
    """Windows of a panel; each property copies them out of it when asked for.

    Made by `make_windows`. W windows, T past steps, H steps ahead. Unknown numbers are NaN, codes
    of unknown categories 0; code i + 1 of a column stands for entry i of its vocabulary.

    Attributes
    ----------
    panel : Panel
        All rows, as flat columns plus offsets.
    windows : WindowIndex
        Which of its rows the horizons start at.
    context_length, horizon : int
        T and H.
    roles : Roles
        Which column plays which part.
    timeline : Timeline
        From steps to times.
    calendar : CalendarCodes
        What was added from the calendar.
    vocabularies : dict
        Category column -> Index of its categories.
    """

    panel: Panel
    windows: WindowIndex
    context_length: int
    horizon: int
    roles: Roles
    timeline: Timeline
    calendar: CalendarCodes
    vocabularies: dict[Any, pd.Index]

    def __len__(self) -> int:
        return len(self.windows)

    def __repr__(self) -> str:
        count = len(np.unique(self.windows.series))
        return (
            f"Windows({len(self)} windows of {count} series, {self.context_length} past steps and "
            f"{self.horizon} ahead)"
        )

    @property
    def names(self) -> dict[str, list[Any]]:
        """The columns of each block of `inputs`, in their order."""
        roles = self.roles
        real = [*roles.known_real, *self.calendar.real_names]
        codes = [*roles.known_categorical, *self.calendar.names]
        return {
            "past_real": [roles.target, *roles.observed_real, *real],
            "past_categorical": [*roles.observed_categorical, *codes],
            "future_real": real,
            "future_categorical": codes,
            "static_real": list(roles.static_real),
            "static_categorical": list(roles.static_categorical),
        }

    @property
    def index(self) -> pd.DataFrame:
        """The series and the cutoff of each window: the time of its last past step."""
        labels, table = self.panel.labels[self.windows.series], {}
        for i, name in enumerate(self.roles.series):
            table[name] = labels.get_level_values(i) if len(self.roles.series) > 1 else labels
        table["cutoff"] = self.timeline.times(self.panel.ordinal[self.windows.origin - 1])
        return pd.DataFrame(table)

    def inputs(self) -> dict[str, np.ndarray]:
        """Return what the models in `tsfusion.models` take.

        Returns
        -------
        dict of ndarray
            ``past_real`` (W, T, .), ``past_categorical``, ``past_mask`` (W, T) of steps of which
            something is known, ``future_real`` (W, H, .), ``future_categorical``,
            ``static_real`` (W, .) and ``static_categorical``; blocks without columns are left out.
        """
        return self._gather([*self.names, "past_mask"])

    def _gather(self, only: list[str]) -> dict[str, np.ndarray]:
        return gather(
            self.panel, self.windows, context_length=self.context_length, horizon=self.horizon,
            only=only,
        )  # fmt: skip

    def _block(self, name: str) -> np.ndarray:
        found = self._gather([name]).get(name)
        if found is not None:
            # Without the columns that lie beside those of the block.
            return np.ascontiguousarray(found)
        steps = {"past": (self.context_length,), "future": (self.horizon,), "static": ()}
        kind = np.float32 if name.endswith("real") else np.int32
        return np.zeros((len(self), *steps[name.split("_")[0]], 0), kind)

    @property
    def past_real(self) -> np.ndarray:
        """(W, T, .) float32: target, observed and known numbers."""
        return self._block("past_real")

    @property
    def past_categorical(self) -> np.ndarray:
        """(W, T, .) int32: codes of observed and known categories."""
        return self._block("past_categorical")

    @property
    def past_mask(self) -> np.ndarray:
        """(W, T) bool: steps of which a target or something observed is known."""
        return self._block("past_mask")

    @property
    def future_real(self) -> np.ndarray:
        """(W, H, .) float32: known numbers."""
        return self._block("future_real")

    @property
    def future_categorical(self) -> np.ndarray:
        """(W, H, .) int32: codes of known categories."""
        return self._block("future_categorical")

    @property
    def future_mask(self) -> np.ndarray:
        """(W, H) bool: steps for which the table has a row."""
        return ahead(self.panel.present, self.panel, self.windows, self.horizon, blank=False)

    @property
    def static_real(self) -> np.ndarray:
        """(W, .) float32: numbers of the series."""
        return self._block("static_real")

    @property
    def static_categorical(self) -> np.ndarray:
        """(W, .) int32: codes of categories of the series."""
        return self._block("static_categorical")

    @property
    def targets(self) -> np.ndarray:
        """(W, H) float64: the target ahead, NaN where unknown."""
        return ahead(self.panel.target, self.panel, self.windows, self.horizon)

    @property
    def target_mask(self) -> np.ndarray:
        """(W, H) bool: where the target ahead is known."""
        return np.isfinite(self.targets)

    @property
    def weights(self) -> np.ndarray:
        """(W, H) float32: row weights, 0 where the target is unknown."""
        weight = ahead(self.panel.weight, self.panel, self.windows, self.horizon)
        return np.where(self.target_mask, weight, np.float32(0))

    def take(self, index: Any) -> Windows:
        """Return some of the windows (an index vector or a mask), nothing copied out."""
        index = np.asarray(index)
        return replace(
            self, windows=self.windows.take(index.astype(np.int64) if index.size == 0 else index)
        )

    def batches(self, size: int) -> Iterator[Windows]:
        """Yield the windows in order, ``size`` at a time (the last may be fewer).

        Examples
        --------
        >>> from tsfusion.data import load_air_passengers, make_windows
        >>> roles = {"time": "month", "target": "passengers"}
        >>> windows = make_windows(load_air_passengers(), context_length=24, horizon=6, **roles)
        >>> [len(batch) for batch in windows.batches(64)]
        [64, 64, 10]
        """
        _check_whole({"size": size})
        for first in range(0, len(self), size):
            yield self.take(np.arange(first, min(first + size, len(self))))

    def flatten(self) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
        """Return one row per window, for regressors that know no time.

        Returns
        -------
        X : DataFrame of W rows
            Past columns as ``name[t-k]`` with ``t`` the cutoff, known ones ahead as ``name[t+k]``,
            static ones by their name. Categories are of pandas' categorical dtype.
        y : DataFrame of shape (W, H)
            Columns ``name[t+1]`` to ``name[t+H]``, NaN where unknown.
        weights : ndarray of float32, shape (W, H)

        Raises
        ------
        ValueError
            If two columns would have one name.
        """
        inputs, names = self.inputs(), self.names
        past = [f"[t-{k}]" if k else "[t]" for k in range(self.context_length - 1, -1, -1)]
        ahead = [f"[t+{k}]" for k in range(1, self.horizon + 1)]
        steps = {"past": past, "future": ahead}
        columns: dict[str, Any] = {}

        def add(column: str, values: Any) -> None:
            if column in columns:
                raise ValueError(f"flatten: two columns would be called {column!r}. Rename one.")
            columns[column] = values

        for block in names:
            values = inputs.get(block)
            if values is None:
                continue
            moments = steps.get(block.split("_")[0])
            for i, name in enumerate(names[block]):
                codes = block.endswith("categorical")
                if moments is None:
                    add(str(name), self._column(name, values[:, i], codes))
                    continue
                for k, moment in enumerate(moments):
                    add(f"{name}{moment}", self._column(name, values[:, k, i], codes))
        y = pd.DataFrame(self.targets, columns=[f"{self.roles.target}{moment}" for moment in ahead])
        return pd.DataFrame(columns), y, self.weights

    def _column(self, name: Any, values: np.ndarray, codes: bool) -> Any:
        if not codes:
            return values
        # Code 0, the unknown, becomes -1, which pandas shows as missing.
        return pd.Categorical.from_codes(values - 1, self.vocabularies[name])


def _index(
    panel: Panel, origins: str, context_length: int, horizon: int, stride: int, min_history: int
) -> WindowIndex:
    """Return the windows asked for, in order of series and time."""
    if origins == "training":
        index = training_windows(panel, None, context_length=context_length, horizon=horizon)
    elif origins == "last":
        known = np.flatnonzero(np.isfinite(panel.target))
        last = np.full(panel.n_series, -1)
        last[panel.series_of_rows()[known]] = known
        found = np.flatnonzero(last >= 0)
        index = WindowIndex(last[found] + 1, found)
    else:
        index = WindowIndex(np.arange(len(panel)) + 1, panel.series_of_rows())
    index = index.take(index.origin - panel.offsets[index.series] >= min_history)
    if stride > 1:
        final = np.zeros(panel.n_series, np.int64)
        # In order of time: the last origin of a series stays.
        final[index.series] = index.origin
        index = index.take((final[index.series] - index.origin) % stride == 0)
    return index


def _warn_of_series_without(index: WindowIndex, panel: Panel) -> None:
    without = np.flatnonzero(np.bincount(index.series, minlength=panel.n_series) == 0)
    if len(without):
        first = without[0]
        warnings.warn(
            f"make_windows: {len(without)} of {panel.n_series} series give no window; the first is "
            f"{panel.labels[first]!r} with {int(panel.lengths[first])} steps. They are too short "
            "for min_history and horizon, or have no known target where one is needed.",
            DataWarning,
            stacklevel=3,
        )


def _draw(
    panel: Panel, index: WindowIndex, sampling: str, horizon: int, n_windows: Any, random_state: Any
) -> WindowIndex:
    """Draw windows with replacement."""
    random = check_random_state(random_state)
    if sampling == "length":
        return index.take(random.randint(len(index), size=n_windows))
    if sampling == "series":
        weight = 1 / np.bincount(index.series, minlength=panel.n_series)[index.series]
    else:
        weight = ahead(panel.weight, panel, index, horizon, blank=0).sum(axis=1, dtype=np.float64)
        if not weight.any():
            raise ValueError("sampling='weight': expected some row weight above 0, all are 0.")
    total = np.cumsum(weight)
    return index.take(np.searchsorted(total, random.random_sample(n_windows) * total[-1], "right"))


def _check_whole(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name}: expected an integer >= 1, received {value!r}.")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {choices}, received {value!r}.")


def _check_sampling(sampling: Any, n_windows: Any) -> None:
    if sampling is None:
        if n_windows is not None:
            raise ValueError(
                f"n_windows={n_windows!r} needs sampling= to say how to draw: one of {_SAMPLINGS}."
            )
        return
    _check_choice("sampling", sampling, _SAMPLINGS)
    _check_whole({"n_windows": n_windows})
