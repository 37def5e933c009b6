"""Which window answers which row, and the forecasts of those windows.

One rule answers every row: it gets the forecast made from the last known target strictly before it.
Relies on the panel (data) and on a built model; knows nothing of the estimator.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.windows import WindowIndex, fallback_scale, gather
from tsfusion.progress import shown
from tsfusion.quantiles import interpolate_quantiles

__all__ = [
    "Fitted",
    "RowPlan",
    "forecast_rows",
    "in_batches",
    "known_end",
    "one_shape",
    "plan_rows",
    "run_model",
    "tail",
    "typical_gap",
]

_PREDICTING = threading.Lock()
_CHUNK = 512
# Batches are padded to these sizes, so that a backend compiles a few shapes and no more.
_SIZES = (4, 128, _CHUNK)
# TensorFlow sums a matrix product in another order where it has more rows. Up to so many windows,
# all go through in the smallest size, so that a forecast is the same to the last digit however few
# are asked for at once; beyond, it may differ by 1e-7 of its size.
_FEW = 32
# Set by `one_shape`: the size of every batch.
_ONE_SIZE: ContextVar[int | None] = ContextVar("one_size", default=None)


@contextlib.contextmanager
def one_shape(size: int = 128) -> Iterator[None]:
    """Run the network on batches of one size within, so that no number hangs on how many there are.

    Parameters
    ----------
    size : int, default=128
        Windows in a batch; a smaller one is filled up.
    """
    before = _ONE_SIZE.set(size)
    try:
        yield
    finally:
        _ONE_SIZE.reset(before)


# The least and the greatest value of a target that has neither.
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Fitted:
    """What was learned about the data, apart from the network's weights."""

    encoder: PanelEncoder
    calendar: CalendarCodes
    units: Units
    context_length: int
    horizon: int
    levels: tuple[float, ...]
    bounds: tuple[float, float] = UNBOUNDED

    def panel(self, rows: Rows) -> Panel:
        """Lay sorted rows out as a panel, its target in the units of the scaler."""
        roles = self.encoder.roles
        return Panel.build(
            self.units.scaled(rows),
            self.encoder.timeline,
            self.calendar,
            self.units,
            n_observed_real=len(roles.observed_real),
            n_observed_categorical=len(roles.observed_categorical),
        )

    def in_user_units(
        self, panel: Panel, series: np.ndarray, values: np.ndarray, *, bounded: bool = True
    ) -> np.ndarray:
        """Return network values (R, Q) of series (R,) in the user's units.

        Within the bounds of the target unless ``bounded`` is False: the quantiles of a target that
        cannot leave them are those of one that could, each moved to the nearest bound.
        """
        scaled = panel.offset[series][:, None] + panel.unit[series][:, None] * values
        found = self.units.restored(scaled, panel.labels, series)
        return np.clip(found, *self.bounds) if bounded and self.is_bounded else found

    @property
    def is_bounded(self) -> bool:
        """Whether the target has a least or a greatest value."""
        return self.bounds != UNBOUNDED

    def check_history(self, rows: Rows) -> None:
        """Raise or warn where new history does not go with what was learned."""
        self.units.check(rows)
        if self.calendar.holidays is not None:
            self.calendar.holidays.warn_of_unknown(rows)

    @property
    def median(self) -> int:
        """The index of the level nearest 0.5."""
        return int(np.abs(np.asarray(self.levels) - 0.5).argmin())


@dataclass(frozen=True)
class RowPlan:
    """Rows to forecast as windows of a panel.

    Attributes
    ----------
    panel : Panel
    windows : WindowIndex
        The distinct windows, W of them.
    window, step : ndarray of int, shape (R,)
        Which window answers each row, and at which of its steps (from 1).
    real, categorical : ndarray, shape (R, .)
        The known values of each row itself.
    """

    panel: Panel
    windows: WindowIndex
    window: np.ndarray
    step: np.ndarray
    real: np.ndarray
    categorical: np.ndarray

    def spread(self, context_length: int) -> np.ndarray:
        """Return (R,) the spread of each row's series, as its window tells, in units of it.

        1 where it was learned. The errors of series that were not in training are measured by it.
        """
        if self.panel.unknown_spread is None or not self.panel.unknown_spread.any():
            return np.ones(len(self.window))
        found = np.ones(len(self.windows))
        for first in range(0, len(found), _CHUNK):
            part = self.windows.take(np.arange(first, min(first + _CHUNK, len(found))))
            past = gather(
                self.panel, part, context_length=context_length, horizon=1, only=("past_real",)
            )["past_real"][..., 0]
            found[first : first + _CHUNK] = fallback_scale(self.panel, part, past, constant=False)
        return found[self.window]


def known_end(rows: Rows) -> np.ndarray:
    """Return (S,) the index of the last row of each series with a known target, or -1.

    ``rows`` are sorted by series and time.
    """
    index = np.flatnonzero(np.isfinite(rows.target))
    end = np.full(len(rows.labels), -1, np.int64)
    end[rows.series[index]] = index
    return end


def tail(memory: Rows, length: int) -> np.ndarray:
    """Return where the last ``length`` rows are up to each series' last known target.

    And all rows after it, and those of series without a known target.
    """
    end = known_end(memory)[memory.series]
    return np.flatnonzero((end < 0) | (np.arange(len(memory)) > end - length))


def typical_gap(memory: Rows) -> float:
    """Return the median distance of neighbours in time, by which steps to come are guessed."""
    gaps = np.diff(memory.ordinal)[np.diff(memory.series) == 0]
    return float(np.median(gaps)) if len(gaps) else 1.0


def plan_rows(fitted: Fitted, memory: Rows, rows: Rows) -> RowPlan:
    """Find the window and step that answer each row.

    Parameters
    ----------
    fitted : Fitted
    memory : Rows
        The known history, sorted.
    rows : Rows
        The rows to forecast, labels as in memory.

    Returns
    -------
    RowPlan

    Raises
    ------
    ValueError
        If known values of a step between the last known target and a row are missing.
    """
    timeline = fitted.encoder.timeline
    used = np.unique(rows.series)
    memory, rows = memory.of_series(used).only(used), rows.only(used)
    end = known_end(memory)
    ends = np.where(end >= 0, memory.ordinal[end] if len(memory) else 0, 0)
    after = (end[rows.series] < 0) | (rows.ordinal > ends[rows.series])
    kept = tail(memory, fitted.context_length) if after.all() else None
    joined = memory.upsert(rows.take(after), kept=kept) if after.any() else memory
    panel = fitted.panel(joined)
    found = panel.find(rows.series, rows.ordinal, timeline)
    place = np.where(found >= 0, found, panel.offsets[rows.series])
    between = (found < 0) & ~np.full(len(rows), timeline.is_regular)
    if between.any():
        place[between] = panel.insertion(rows.series[between], rows.ordinal[between], side="left")
    before = place - 1
    has_past = before >= panel.offsets[rows.series]
    if after.all():
        # Where every row follows the last known target of its series, that is the cutoff.
        known = panel.find(np.arange(len(end)), ends, timeline)
        cutoff = np.where(end >= 0, known, -1)[rows.series]
    else:
        last = panel.last_known()
        cutoff = np.where(has_past, last[np.maximum(before, 0)] if len(panel) else -1, -1)
    origin = np.where(cutoff >= 0, cutoff + 1, place)
    step = place - origin + 1
    if fitted.encoder.roles.known:
        _check_no_skipped(fitted, panel, rows, origin, place, after & (found >= 0) & has_past)
    # One number for both: NumPy sorts numbers several times faster than pairs.
    size = len(panel) + 1
    key, window = np.unique(rows.series * size + origin, return_inverse=True)
    calendar_real, calendar_codes = fitted.calendar.encode(
        timeline, rows.ordinal, rows, rows.series
    )
    return RowPlan(
        panel=panel,
        windows=WindowIndex(key % size, key // size),
        window=window,
        step=step,
        real=np.concatenate([rows.real[:, panel.n_observed_real :], calendar_real], axis=1),
        categorical=np.concatenate(
            [rows.categorical[:, panel.n_observed_categorical :], calendar_codes], axis=1
        ),
    )


def _check_no_skipped(
    fitted: Fitted, panel: Panel, rows: Rows, origin: np.ndarray, place: np.ndarray,
    check: np.ndarray,
) -> None:  # fmt: skip
    """Raise if a step between the last known target and a row to forecast was not given."""
    if panel.present.all():
        return
    absent = np.concatenate([[0], np.cumsum(~panel.present)])
    skipped = check & (absent[np.maximum(place, origin)] > absent[origin])
    if not skipped.any():
        return
    row = int(skipped.argmax())
    missing = origin[row] + int((~panel.present[origin[row] : place[row]]).argmax())
    times = fitted.encoder.timeline.times(panel.ordinal[[missing, place[row]]])
    raise ValueError(
        f"Skipped steps{_of_series(fitted, panel.labels, rows.series[row])}: the row at {times[1]} "
        f"is {int(place[row] - origin[row] + 1)} steps after the last known target, but the step "
        f"at {times[0]} was not given. The known columns {list(fitted.encoder.roles.known)} are "
        "needed for every step in between: see make_future_dataframe()."
    )


def _of_series(fitted: Fitted, labels: pd.Index, code: int) -> str:
    return f" in series {labels[code]!r}" if fitted.encoder.roles.series else ""


def in_batches(n: int) -> Iterator[tuple[int, int]]:
    """Give the bounds of the batches that n windows go through the network in.

    What is left after whole ones goes in smaller ones while that is less to compute: of 200
    windows, 128 and 72 are filled up to 256 in place of 512.

    Examples
    --------
    >>> [list(in_batches(n)) for n in (6, 200, 600)]
    [[(0, 4), (4, 6)], [(0, 128), (128, 200)], [(0, 512), (512, 600)]]
    """
    few, some, many = _SIZES
    first = 0
    while first < n:
        size = _ONE_SIZE.get() or (few if n <= _FEW else many)
        if size == many and n - first <= many - some:
            size = some
        yield first, min(first + size, n)
        first += size


def forecast_rows(
    fitted: Fitted, model: Any, plan: RowPlan, *, beyond: str,
    levels: Sequence[float] = (), further: Callable[[np.ndarray], np.ndarray] | None = None,
    verbose: int = 0,
) -> np.ndarray:  # fmt: skip
    """Return (R, Q + L) quantiles of the planned rows in the user's units.

    After the trained levels come further ``levels``, interpolated before a scaler is inverted, so
    that they, too, stay in the domain of the target; or what ``further`` makes of the trained ones
    (R, Q) in units of each row's `RowPlan.spread`.

    Past the horizon, ``beyond="roll"`` feeds the median forward; the spread at the end of one pass
    is added in quadrature to that of the next (independent errors). ``"nan"`` gives NaN there.
    ``verbose`` is for `tsfusion.progress.shown`.
    """
    result = np.full((len(plan.step), len(fitted.levels)), np.nan)
    order = np.argsort(plan.window, kind="stable")
    bounds = np.searchsorted(plan.window[order], np.arange(len(plan.windows) + 1))
    deepest = np.zeros(len(plan.windows), np.int64)
    np.maximum.at(deepest, plan.window, plan.step)
    n = len(plan.windows)
    for first, stop in shown(in_batches(n), n, "forecast", verbose):
        rows = order[bounds[first] : bounds[stop]]
        passes = 1
        if beyond == "roll":
            passes = -(-int(deepest[first:stop].max()) // fitted.horizon)
        result[rows] = _forecast_chunk(fitted, model, plan, first, stop, rows, passes)
    if further is not None:
        spread = plan.spread(fitted.context_length)[:, None]
        result = np.concatenate([result, further(result / spread) * spread], axis=1)
    elif levels:
        more = interpolate_quantiles(result, fitted.levels, levels)
        result = np.concatenate([result, more], axis=1)
    return fitted.in_user_units(plan.panel, plan.windows.series[plan.window], result)


def _forecast_chunk(
    fitted: Fitted, model: Any, plan: RowPlan, first: int, stop: int, rows: np.ndarray, passes: int
) -> np.ndarray:
    """Return (len(rows), Q) in network units for windows ``first:stop``."""
    horizon, context = fitted.horizon, fitted.context_length
    window, step = plan.window[rows] - first, plan.step[rows] - 1
    result = np.full((len(rows), len(fitted.levels)), np.nan)
    windows = plan.windows.take(np.arange(first, stop))
    fed = np.zeros((len(windows), 0), np.float32)
    spread = np.zeros((len(windows), len(fitted.levels)))
    for pass_ in range(passes):
        if pass_:
            windows, window, fed, spread = _still_rolling(
                windows, window, step, fed, spread, pass_ * horizon
            )
        moved = replace(windows, origin=windows.origin + pass_ * horizon)
        batch = gather(plan.panel, moved, context_length=context, horizon=horizon)
        here = step // horizon == pass_
        at = (window[here], step[here] - pass_ * horizon)
        for name, values in (("future_real", plan.real), ("future_categorical", plan.categorical)):
            if name in batch:
                batch[name][at] = values[rows[here]]
        recent = fed[:, -context:]
        if recent.shape[1]:
            batch["past_real"][:, -recent.shape[1] :, 0] = recent
            batch["past_mask"][:, -recent.shape[1] :] = True
            if "fallback_scale" in batch:
                past = batch["past_real"][..., 0]
                batch["fallback_scale"] = fallback_scale(plan.panel, moved, past)
        quantiles = run_model(model, batch).astype(np.float64)
        median = quantiles[:, :, fitted.median, None]
        if pass_:
            away = quantiles - median
            quantiles = median + np.sign(away) * np.hypot(away, spread[:, None, :])
        result[here] = quantiles[at]
        spread = np.abs(quantiles[:, -1] - median[:, -1])
        fed = np.concatenate([fed, median[:, :, 0].astype(np.float32)], axis=1)
    return result


def _still_rolling(
    windows: WindowIndex, window: np.ndarray, step: np.ndarray, fed: np.ndarray,
    spread: np.ndarray, reached: int,
) -> tuple[WindowIndex, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Keep the windows that some row needs past step ``reached``, and renumber the rows'."""
    kept = np.unique(window[step >= reached])
    place = np.zeros(len(windows), np.int64)
    place[kept] = np.arange(len(kept))
    return windows.take(kept), place[window], fed[kept], spread[kept]


def run_model(model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Return (B, H, Q) of one batch of at most ``_CHUNK`` windows."""
    size = len(batch["past_real"])
    padded = _ONE_SIZE.get() or next(allowed for allowed in _SIZES if allowed >= size)
    if padded > size:
        batch = {
            key: np.concatenate([value, np.repeat(value[:1], padded - size, axis=0)])
            for key, value in batch.items()
        }
    from tsfusion.training.on_tensorflow import quiet_about_traces

    with _alone(), quiet_about_traces():
        return np.asarray(model.predict_on_batch(batch))[:size]


def _alone() -> contextlib.AbstractContextManager:
    """Let one thread predict at a time on JAX, where Keras hands the weights over to the call."""
    import keras

    return _PREDICTING if keras.backend.backend() == "jax" else contextlib.nullcontext()
