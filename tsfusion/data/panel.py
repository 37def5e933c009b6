"""A panel: all series as flat columns plus offsets, on a regular grid.

Relies on NumPy; the calendar comes from pandas. Memory is O(rows): a window is never copied out
before a batch needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from tsfusion.data.calendar import calendar_features
from tsfusion.data.encoder import Rows
from tsfusion.data.outliers import level_and_spread
from tsfusion.data.scaling import TargetScaler
from tsfusion.data.time_features import HolidayCalendar, TimeFunction, calendar_frequency
from tsfusion.data.timeline import Timeline, distinct

__all__ = ["CalendarCodes", "Panel", "Units", "chunks"]

# A grid of at least this many steps that is this many times longer than its rows is refused: times
# with a stray year would fill the memory with unknowns.
_SPARSE_ROWS, _SPARSE_FACTOR = 1_000_000, 50
# Rows laid out at a time: what is made on the way to the panel stays small.
_CHUNK = 1 << 17


@dataclass(frozen=True)
class Units:
    """The units in which a network sees the target: learned from training rows alone.

    The target enters as ``(y - offset) / unit`` in float64 before it becomes float32. The offset is
    the series' first known value, the unit its spread; both cancel out again at the output. With a
    scaler, y is what the scaler makes of the user's target.
    """

    unit: pd.Series
    """Spread of each training series that has one, by label."""
    typical_unit: float
    """The unit of all others: not in training, or constant there."""
    typical_level: float
    """Median target: the level assumed where nothing of a series is known."""
    usual_level: float
    """Size of the level at which the typical unit is usual; 0 where a scaler centres each series,
    so that levels tell nothing of spreads."""
    scaler: TargetScaler | None = None

    @classmethod
    def learn(cls, rows: Rows, boundary: Any, scaler: TargetScaler | None = None) -> Units:
        """Learn the units, and a copy of the scaler, from the rows before ``boundary``."""
        train = np.isfinite(rows.target)
        if boundary is not None:
            train &= rows.ordinal < boundary
        y, codes, n = rows.target[train], rows.series[train], len(rows.labels)
        if scaler is not None:
            _check_domain(scaler, rows)
            scaler = clone(scaler).fit(y, codes, labels=rows.labels)
            y = scaler.transform(y, codes, labels=rows.labels)
        level = float(np.median(y)) if len(y) else 0.0
        levels, spread = level_and_spread(y, codes, n)
        size = float(np.abs(y).max(initial=0))
        return cls.of_spreads(rows.labels, levels, spread, level, size, scaler)

    @classmethod
    def of_spreads(
        cls, labels: pd.Index, levels: np.ndarray, spread: np.ndarray, level: float, size: float,
        scaler: TargetScaler | None = None,
    ) -> Units:  # fmt: skip
        """Return the units of series with levels and spreads (S,).

        ``level`` and ``size`` are the median and the largest size of all targets.
        """
        # A smaller unit would carry other series' levels past what float32 can hold.
        useful = spread > 1e-30 * size
        typical = abs(level) if abs(level) > 1e-30 * size else size or 1.0
        usual = typical
        if useful.any():
            typical = float(np.median(spread[useful]))
            # The median level would be that of another series than the median spread.
            with np.errstate(over="ignore"):
                usual = typical * float(np.median(np.abs(levels[useful]) / spread[useful]))
        if not (scaler is None or scaler.method in (None, "log1p")):
            usual = 0.0
        usual = min(usual, np.finfo(float).max)
        return cls(pd.Series(spread[useful], labels[useful]), typical, level, usual, scaler)

    def of(self, labels: pd.Index) -> np.ndarray:
        """Return (S,) the unit of each series."""
        position = self.unit.index.get_indexer(labels)
        units = np.append(self.unit.to_numpy(), self.typical_unit)
        return units[position]

    def unknown(self, labels: pd.Index) -> np.ndarray:
        """Return (S,) whether the spread of a series is not known: nothing of it was learned."""
        return self.unit.index.get_indexer(labels) < 0

    def check(self, rows: Rows) -> None:
        """Raise if the scaler cannot take a target; the rows are numbered as in the frame."""
        if self.scaler is not None:
            _check_domain(self.scaler, rows)

    def scaled(self, rows: Rows) -> Rows:
        """Return the rows with their target as the scaler makes it."""
        if self.scaler is None:
            return rows
        target = self.scaler.transform(rows.target, rows.series, labels=rows.labels)
        return replace(rows, target=target)

    def restored(self, values: np.ndarray, labels: pd.Index, series: np.ndarray) -> np.ndarray:
        """Return the user's units of scaled values (R,) or quantiles (R, Q) of series (codes)."""
        if self.scaler is None:
            return values
        return self.scaler.inverse_transform(values, series, labels=labels)


def _check_domain(scaler: TargetScaler, rows: Rows) -> None:
    scaler.check(rows.target, rows.series, labels=rows.labels, row=rows.row)


@dataclass(frozen=True)
class CalendarCodes:
    """What a step is in the calendar, to holidays and to the user's functions of time.

    Of the calendar's categories, those that the training rows did not hold count as unseen (code
    0). The user's functions come after the calendar, holidays last.
    """

    names: tuple[str, ...]
    real_names: tuple[str, ...]
    seen: tuple[np.ndarray, ...]
    functions: tuple[TimeFunction, ...] = ()
    holidays: HolidayCalendar | None = None

    @classmethod
    def learn(
        cls, timeline: Timeline, ordinal: np.ndarray, rows: Rows | None = None,
        series: np.ndarray | None = None, *, functions: Mapping[str, Any] | None = None,
        holidays: HolidayCalendar | None = None,
    ) -> CalendarCodes:  # fmt: skip
        """Learn from the steps of the training rows.

        Parameters
        ----------
        timeline : Timeline
        ordinal : ndarray, shape (R,)
            Their steps.
        rows, series : Rows and ndarray of int, shape (R,), default=None
            What ``holidays`` needs: a table of the series, and the training rows' codes in it.
        functions : mapping, default=None
            The user's functions of time by name.
        holidays : HolidayCalendar, default=None
            Not yet learned.
        """
        steps = distinct(ordinal)
        clock = timeline.wall_clock(steps)
        names, real_names, seen = [], [], []
        if clock is not None:
            features = calendar_features(clock, calendar_frequency(timeline))
            names, real_names = [*features.categorical_names], [*features.real_names]
            for i, size in enumerate(features.cardinalities):
                seen.append(np.bincount(features.categorical[:, i], minlength=size) > 0)
        times = timeline.times(steps) if clock is None else clock
        learned = tuple(
            TimeFunction(name, function).learn(times)
            for name, function in (functions or {}).items()
        )
        twice = [one.name for one in learned if one.name in (*names, *real_names)]
        if twice:
            raise ValueError(
                f"time_features: the calendar has a variable {twice[0]!r} already; name the "
                "function otherwise."
            )
        real_names += [one.name for one in learned if one.vocabulary is None]
        names += [one.name for one in learned if one.vocabulary is not None]
        codes = cls(tuple(names), tuple(real_names), tuple(seen), learned)
        if holidays is None:
            return codes
        assert rows is not None
        assert series is not None
        return codes.with_holidays(holidays.learn(timeline, ordinal, rows, series))

    def with_holidays(self, holidays: HolidayCalendar) -> CalendarCodes:
        """Return these, with holidays that have been learned after them."""
        return replace(
            self,
            names=(*self.names, *holidays.names),
            real_names=(*self.real_names, *holidays.real_names),
            holidays=holidays,
        )

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes of each category, the unseen one included."""
        sizes = [len(seen) + 1 for seen in self.seen]
        sizes += [len(one.vocabulary) + 1 for one in self.functions if one.vocabulary is not None]
        return (*sizes, *(() if self.holidays is None else self.holidays.cardinalities))

    def encode(
        self, timeline: Timeline, ordinal: np.ndarray, rows: Rows | None = None,
        series: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return (R, K) float32 reals and (R, C) int32 codes of steps.

        Holidays need ``rows``, which tells the series, and their codes ``series`` (R,) in it.
        """
        if not self.names and not self.real_names:
            return np.zeros((len(ordinal), 0), np.float32), np.zeros((len(ordinal), 0), np.int32)
        unique, inverse = _unique_steps(ordinal)
        real, codes = self._of_steps(timeline, unique)
        real, codes = real.take(inverse, axis=0), codes.take(inverse, axis=0)
        if self.holidays is None:
            return real, codes
        assert rows is not None
        assert series is not None
        more = self.holidays.encode(timeline, ordinal, rows, series)
        return np.concatenate([real, more[0]], axis=1), np.concatenate([codes, more[1]], axis=1)

    def _of_steps(self, timeline: Timeline, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what depends on the step alone: calendar and functions."""
        real, codes = [np.zeros((len(steps), 0), np.float32)], [np.zeros((len(steps), 0), np.int32)]
        clock = timeline.wall_clock(steps)
        if clock is not None:
            features = calendar_features(clock, calendar_frequency(timeline))
            real.append(features.real)
            for i, seen in enumerate(self.seen):
                code = features.categorical[:, i]
                codes.append(np.where(seen[code], code + 1, 0)[:, None])
        times = timeline.times(steps) if clock is None else clock
        for one in self.functions:
            (real if one.vocabulary is None else codes).append(one.encode(times)[:, None])
        return np.concatenate(real, axis=1), np.concatenate(codes, axis=1).astype(np.int32)


def _unique_steps(ordinal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct steps and where each row finds its own; a range where that is shorter."""
    if ordinal.dtype.kind == "i" and len(ordinal):
        low, high = int(ordinal.min()), int(ordinal.max())
        if high - low < len(ordinal):
            return np.arange(low, high + 1), ordinal - low
    return np.unique(ordinal, return_inverse=True)


@dataclass(frozen=True)
class Panel:
    """Flat columns plus offsets: rows ``offsets[s]:offsets[s + 1]`` are series s, step by step.

    Attributes
    ----------
    labels : Index of length S
    offsets : ndarray of int64, shape (S + 1,)
    ordinal : ndarray, shape (R,)
        Step number of each row (raw times where every row is one step).
    target : ndarray of float64, shape (R,)
        In the units of ``rows`` (the user's, or a scaler's), NaN where unknown or missing.
    real : ndarray of float32, shape (R, 1 + Ko + Kk + Kc)
        Target in network units, observed, known, calendar.
    categorical : ndarray of int32, shape (R, Co + Ck + Cc)
        Observed, known, calendar.
    present : ndarray of bool, shape (R,)
        Whether the user gave this row (False: a gap).
    weight : ndarray of float32, shape (R,)
    offset, unit : ndarray of float64, shape (S,)
        ``target = offset + unit * real[:, 0]``.
    fallback : ndarray of float32, shape (S,)
        The level (in network units) where nothing of a window is known.
    static_real, static_categorical : ndarray, shape (S, .)
    n_observed_real, n_observed_categorical : int
    """

    labels: pd.Index
    offsets: np.ndarray
    ordinal: np.ndarray
    target: np.ndarray
    real: np.ndarray
    categorical: np.ndarray
    present: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    unit: np.ndarray
    fallback: np.ndarray
    static_real: np.ndarray
    static_categorical: np.ndarray
    n_observed_real: int
    n_observed_categorical: int
    unknown_spread: np.ndarray | None = None
    usual_level: float = 0.0

    @classmethod
    def build(
        cls, rows: Rows, timeline: Timeline, calendar: CalendarCodes, units: Units, *,
        n_observed_real: int, n_observed_categorical: int, release: bool = False,
    ) -> Panel:  # fmt: skip
        """Lay rows (sorted by series and time, unique) out on the grid.

        Parameters
        ----------
        rows : Rows
        timeline : Timeline
        calendar : CalendarCodes
        units : Units
        n_observed_real, n_observed_categorical : int
            How many of the leading columns are observed rather than known.
        release : bool, default=False
            Take the columns out of ``rows`` one by one, so that only one at a time is held twice;
            the rows cannot be used afterwards.

        Returns
        -------
        Panel
        """
        offsets, of_row, ordinal, source = _grid(rows, timeline)
        gaps = np.flatnonzero(source < 0)
        columns = vars(rows) if release else dict(vars(rows))
        for name in ("series", "ordinal", "row"):
            del columns[name]

        def lay(name: str, result: np.ndarray, blank: float) -> np.ndarray:
            values = columns.pop(name)
            if not len(gaps):
                result[:] = values
                return result
            for part in chunks(len(source)):
                result[part] = values.take(source[part], axis=0)
            result[gaps] = blank
            return result

        size, k, c = len(source), rows.real.shape[1], rows.categorical.shape[1]
        target = lay("target", np.empty(size), np.nan)
        weight = lay("weight", np.empty(size, np.float32), 0)
        real = np.empty((size, 1 + k + len(calendar.real_names)), np.float32)
        lay("real", real[:, 1 : 1 + k], np.nan)
        categorical = np.empty((size, c + len(calendar.names)), np.int32)
        lay("categorical", categorical[:, :c], 0)
        offset = _first_known(target, offsets, units.typical_level)
        unit = units.of(rows.labels)
        # Every look-up of holidays draws up the tables of all regions: one for all rows.
        for part in chunks(size) if calendar.holidays is None else [slice(0, size)]:
            series = of_row[part]
            real[part, 0] = (target[part] - offset.take(series)) / unit.take(series)
            encoded = calendar.encode(timeline, ordinal[part], rows, series)
            real[part, 1 + k :], categorical[part, c:] = encoded
        return cls(
            labels=rows.labels,
            offsets=offsets,
            ordinal=ordinal,
            target=target,
            real=real,
            categorical=categorical,
            present=source >= 0,
            weight=weight,
            offset=offset,
            unit=unit,
            fallback=((units.typical_level - offset) / unit).astype(np.float32),
            static_real=rows.static_real,
            static_categorical=rows.static_categorical,
            n_observed_real=n_observed_real,
            n_observed_categorical=n_observed_categorical,
            unknown_spread=units.unknown(rows.labels),
            usual_level=units.usual_level,
        )

    @cached_property
    def anything_known(self) -> np.ndarray:
        """(R,) whether the target or anything observed is known in a row."""
        known = np.isfinite(self.real[:, 0])
        for i in range(1, 1 + self.n_observed_real):
            known |= np.isfinite(self.real[:, i])
        for i in range(self.n_observed_categorical):
            known |= self.categorical[:, i] > 0
        return known

    @property
    def n_series(self) -> int:
        """The number of series, S."""
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """(S,) steps of each series."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.target)

    def __repr__(self) -> str:
        return (
            f"Panel({self.n_series} series, {len(self)} steps, "
            f"{int((~self.present).sum())} of them missing)"
        )

    def series_of_rows(self) -> np.ndarray:
        """Return (R,) the series of each row."""
        return np.repeat(np.arange(self.n_series), self.lengths)

    def last_known(self) -> np.ndarray:
        """Return (R,) the last row of the same series, itself included, with a known target.

        -1 where there is none.
        """
        rows = np.arange(len(self))
        known = np.maximum.accumulate(np.where(np.isfinite(self.target), rows, -1))
        return np.where(known >= self.offsets[self.series_of_rows()], known, -1)

    def find(self, series: np.ndarray, ordinal: np.ndarray, timeline: Timeline) -> np.ndarray:
        """Return the row of each (series, step), or -1 where the panel has none."""
        if len(self) == 0 or len(series) == 0:
            return np.full(len(series), -1, np.int64)
        if timeline.is_regular:
            length = self.lengths[series]
            first = self.ordinal[np.minimum(self.offsets[series], len(self) - 1)]
            position = ordinal - first
            inside = (position >= 0) & (position < length)
            return np.where(inside, self.offsets[series] + position, -1)
        at = self.insertion(series, ordinal, side="left")
        inside = at < self.offsets[series + 1]
        found = np.minimum(at, len(self) - 1)
        return np.where(inside & (self.ordinal[found] == ordinal), found, -1)

    def insertion(self, series: np.ndarray, ordinal: Any, side: str) -> np.ndarray:
        """Return the row before which each (series, step) belongs: a search within each series.

        ``side="left"`` is before an equal step, ``"right"`` after it.
        """
        low, high = self.offsets[series], self.offsets[series + 1]
        # Twice as many rows as the longest series has, and each search is over.
        for _ in range(int(self.lengths.max(initial=0)).bit_length()):
            middle = (low + high) // 2
            step = self.ordinal[np.minimum(middle, len(self) - 1)]
            before = (step < ordinal if side == "left" else step <= ordinal) & (low < high)
            low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
        return low


def chunks(n: int) -> Iterator[slice]:
    """Yield slices that cover n rows, a moderate number at a time."""
    return (slice(first, min(first + _CHUNK, n)) for first in range(0, n, _CHUNK))


def _grid(rows: Rows, timeline: Timeline) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return offsets (S + 1,) and, per step of the grid, its series, step number and row.

    The row is -1 in a gap.
    """
    n_series = len(rows.labels)
    length = np.bincount(rows.series, minlength=n_series)
    starts = np.append(0, np.cumsum(length))
    if not timeline.is_regular or len(rows) == 0:
        return starts, rows.series, rows.ordinal, np.arange(len(rows))
    first = rows.ordinal[np.minimum(starts[:-1], len(rows) - 1)]
    last = rows.ordinal[np.maximum(starts[1:] - 1, 0)]
    length = np.where(length > 0, last - first + 1, 0)
    _check_not_sparse(length, rows, timeline)
    offsets = np.append(0, np.cumsum(length))
    size, shift = int(offsets[-1]), first - offsets[:-1]
    kind = np.int32 if size < np.iinfo(np.int32).max else np.int64
    of_row = np.repeat(np.arange(n_series, dtype=kind), length)
    ordinal, source = np.empty(size, np.int64), np.full(size, -1, kind)
    for part in chunks(size):
        ordinal[part] = np.arange(part.start, part.stop) + shift.take(of_row[part])
    for part in chunks(len(rows)):
        at = rows.ordinal[part] - shift.take(rows.series[part])
        source[at] = np.arange(part.start, part.stop)
    return offsets, of_row, ordinal, source


def _first_known(target: np.ndarray, offsets: np.ndarray, default: float) -> np.ndarray:
    """Return (S,) the first finite value of each series."""
    rows = np.flatnonzero(np.isfinite(target))
    at = np.searchsorted(rows, offsets[:-1])
    inside = at < np.searchsorted(rows, offsets[1:])
    result = np.full(len(offsets) - 1, default)
    result[inside] = target[rows[at[inside]]]
    return result


def _check_not_sparse(length: np.ndarray, rows: Rows, timeline: Timeline) -> None:
    total = int(length.sum())
    if total > _SPARSE_ROWS and total > _SPARSE_FACTOR * len(rows):
        widest = int(length.argmax())
        raise ValueError(
            f"The rows are too sparse for steps of {timeline.freq!r}: {len(rows)} rows would span "
            f"{total} steps; series {rows.labels[widest]!r} alone spans {int(length[widest])}. "
            "Look for a wrong date, pass a longer freq=, or freq='rows'."
        )
