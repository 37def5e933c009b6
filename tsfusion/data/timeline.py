"""The time axis: times of any kind as integer steps of one frequency, and back.

Relies on NumPy and pandas. A `Timeline` is learned once from the training rows; afterwards every
time is a 64-bit ordinal, so that neighbours in time differ by exactly one.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from tsfusion.data.calendar import season_length
from tsfusion.exceptions import DataWarning

__all__ = ["Timeline", "infer_timeline", "raw_times"]

Kind = Literal["tick", "month", "business", "number", "rows"]

_HOUR = 3_600_000_000_000  # nanoseconds
_DAY = 24 * _HOUR
# Floats count steps up to rounding noise; a time further off than this share of a step is off grid.
_ROUNDING = 1e-3
_SUPPORTED = (
    "'15min', 'h', '2h', 'D', 'B', 'W', 'MS', 'ME', 'QS', 'QE', 'YS', 'YE', a number, or 'rows'"
)


@dataclass(frozen=True)
class RawTimes:
    """Times as plain numbers: nanoseconds (of UTC and of the wall clock) or the numbers given."""

    values: np.ndarray
    """(R,) int64 nanoseconds of UTC, or int64 / float64 numbers."""
    is_datetime: bool
    tz: Any = None
    wall: np.ndarray | None = None
    """(R,) int64 nanoseconds of the local clock; None where there is no time zone."""
    period: str | None = None
    """The frequency of a period column."""
    unit: str = "ns"
    """The resolution of a datetime column."""
    count: np.ndarray | None = None
    """(R,) how many rows each time stands for; None for one each."""

    def local(self) -> np.ndarray:
        """Return nanoseconds of the local clock."""
        return self.values if self.wall is None else self.wall


def raw_times(times: pd.Series | pd.Index, name: Any) -> RawTimes:
    """Turn a time column into plain numbers, or say which row is not a time."""
    values = _plain(pd.Series(times).reset_index(drop=True))
    missing = values.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Time column {name!r}: expected a time in every row, row {int(missing.argmax())} has "
            f"none but NaN ({int(missing.sum())} in all). Drop or fill these rows."
        )
    dtype = values.dtype
    if isinstance(dtype, pd.PeriodDtype):
        alias = dtype.name.removeprefix("period[").removesuffix("]")
        with business_periods():
            return RawTimes(_in_nanoseconds(values.dt.to_timestamp(), name), True, period=alias)
    if isinstance(dtype, pd.DatetimeTZDtype):
        utc = _in_nanoseconds(values.dt.tz_convert(None), name)
        wall = _in_nanoseconds(values.dt.tz_localize(None), name)
        return RawTimes(utc, True, dtype.tz, wall, unit=dtype.unit)
    if pd.api.types.is_datetime64_dtype(dtype):
        return RawTimes(_in_nanoseconds(values, name), True, unit=np.datetime_data(dtype)[0])
    if pd.api.types.is_bool_dtype(dtype):
        raise TypeError(f"Time column {name!r}: expected times or numbers, received booleans.")
    if pd.api.types.is_integer_dtype(dtype):
        return RawTimes(values.to_numpy(dtype="int64"), False)
    if pd.api.types.is_float_dtype(dtype):
        numbers = values.to_numpy(dtype="float64")
        if not np.isfinite(numbers).all():
            row = int((~np.isfinite(numbers)).argmax())
            raise ValueError(
                f"Time column {name!r}: expected finite numbers, row {row} has {numbers[row]}."
            )
        return RawTimes(numbers, False)
    example = f" such as {values.iloc[0]!r}" if len(values) else ""
    raise TypeError(
        f"Time column {name!r}: expected datetimes, periods or numbers, received {dtype}{example}. "
        f"Convert text first: df[{name!r}] = pd.to_datetime(df[{name!r}])."
    )


@contextlib.contextmanager
def business_periods() -> Iterator[None]:
    """Keep quiet about "B" periods: pandas has told the user where the column was made."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PeriodDtype", FutureWarning)
        yield


def _plain(values: pd.Series) -> pd.Series:
    """Return times of Arrow types and Python date objects as pandas' own datetimes."""
    dtype = values.dtype
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind == "M":
        zone = getattr(dtype.pyarrow_dtype, "tz", None)
        unit = np.datetime_data(dtype.numpy_dtype)[0]
        return values.astype(pd.DatetimeTZDtype(unit, zone) if zone else f"datetime64[{unit}]")
    if pd.api.types.is_object_dtype(dtype) and len(values):
        kind = pd.api.types.infer_dtype(values, skipna=True)
        if kind in ("date", "datetime", "datetime64"):
            return pd.to_datetime(values)
        if kind == "period":
            return pd.Series(pd.PeriodIndex(values))
    return values


def _in_nanoseconds(values: pd.Series, name: Any) -> np.ndarray:
    try:
        return values.dt.as_unit("ns").astype("int64").to_numpy()
    except pd.errors.OutOfBoundsDatetime as error:
        raise ValueError(
            f"Time column {name!r}: expected times between the years 1678 and 2261. Look for a "
            "placeholder such as the year 9999."
        ) from error


@dataclass(frozen=True)
class Timeline:
    """A regular time axis (or, for ``kind="rows"``, an axis on which every row is one step).

    Attributes
    ----------
    kind : {"tick", "month", "business", "number", "rows"}
        What one step is: a fixed length of time, calendar months, business days, a number, or
        simply the next row.
    freq : str, int, float or None
        The frequency as pandas writes it (``"h"``, ``"MS"``, ...), a number, ``"rows"``.
    step : int or float
        Nanoseconds, months or numbers in one step.
    phase : int or float
        Where the grid lies: nanoseconds (tick), month index (month) or a number.
    day_rule : {"start", "end", "day"}
        On which day of its month a monthly time stands.
    """

    kind: Kind
    freq: Any
    step: Any = 1
    phase: Any = 0
    tz: Any = None
    local_clock: bool = False
    day_rule: str = "start"
    day: int = 1
    time_of_day: int = 0
    is_datetime: bool = False
    is_integer: bool = True
    period: str | None = None
    unit: str = "ns"

    @property
    def is_regular(self) -> bool:
        """Whether the step after a time is known from the time alone."""
        return self.kind != "rows"

    @property
    def season(self) -> int:
        """Steps until the main season comes back; 1 for steps without a calendar."""
        return season_length(self.freq if self.is_datetime and self.is_regular else None)

    def ordinals(self, raw: RawTimes, name: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """Return (R,) step numbers of the times; raise if one lies off the grid."""
        self._check_same_type(raw, name)
        if self.kind == "rows":
            return raw.values
        values = self._values(raw)
        if self.kind == "tick":
            result, rest = np.divmod(values - self.phase, self.step)
            bad = rest != 0
        elif self.kind == "number":
            result, bad = self._number_steps(values)
        elif self.kind == "month":
            month, day, rest = _split_months(values)
            result, off = np.divmod(month - self.phase, self.step)
            bad = (off != 0) | (rest != self.time_of_day)
            bad |= ~self._day_fits(month, day)
        else:
            days, rest = np.divmod(values, _DAY)
            dates = days.astype("datetime64[D]")
            bad = ~np.is_busday(dates) | (rest != self.time_of_day)
            result = np.busday_count(np.datetime64("1970-01-01"), dates).astype(np.int64)
        if bad.any():
            first = int(bad.argmax())
            row = first if rows is None else int(rows[first])
            count = int(bad.sum() if raw.count is None else raw.count[bad].sum())
            raise ValueError(
                f"Time column {name!r}: expected times every {self.freq!r}{self._place()}, row "
                f"{row} ({_show(raw, first)}) lies off that grid ({count} rows in all). "
                "Round the times, pass another freq=, or freq='rows' if every row is one step."
            )
        return result.astype(np.int64)

    def _values(self, raw: RawTimes) -> np.ndarray:
        """Return the numbers that lie on this grid: of the local clock, of UTC or as they are."""
        if not self.local_clock:
            return raw.values
        local = raw.local()
        if self.tz is None or len(local) == 0:
            return local
        if str(raw.tz) != str(self.tz):
            index = pd.DatetimeIndex(raw.values.astype("datetime64[ns]"), tz="UTC")
            local = index.tz_convert(self.tz).tz_localize(None).as_unit("ns").asi8
        if self.kind == "tick":
            rest = (local - self.phase) % self.step
        else:
            rest = local % _DAY - self.time_of_day
        return _before_the_gap(local, raw.values, rest, self.tz)

    def _number_steps(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return step numbers of numeric times, and which of them lie off the grid."""
        if values.dtype.kind == "i" and isinstance(self.step, int) and isinstance(self.phase, int):
            result, rest = np.divmod(values - self.phase, self.step)
            return result, rest != 0
        exact = (values - self.phase) / self.step
        result = np.rint(exact)
        return result, np.abs(exact - result) > _ROUNDING

    def _place(self) -> str:
        """Say where in its month or day a step stands, where the alias does not."""
        if self.kind == "month" and self.day_rule == "day":
            return f" on day {self.day}"
        return ""

    def times(self, ordinals: np.ndarray) -> pd.Index:
        """Return the times of step numbers, in the type that the user gave."""
        ordinals = np.asarray(ordinals)
        if not self.is_datetime:
            if self.kind == "rows":
                return pd.Index(ordinals)
            numbers = self.phase + ordinals * self.step
            return pd.Index(numbers.astype(np.int64) if self.is_integer else numbers)
        index = self._datetimes(ordinals)
        if self.period is None:
            return index
        with business_periods():
            return index.to_period(self.period)

    def wall_clock(self, ordinals: np.ndarray) -> pd.DatetimeIndex | None:
        """Return the local clock at step numbers for calendar features, or None for numbers."""
        if not self.is_datetime:
            return None
        index = self._datetimes(np.asarray(ordinals))
        return index.tz_localize(None) if index.tz is not None else index

    def _datetimes(self, ordinals: np.ndarray) -> pd.DatetimeIndex:
        """Return the times of step numbers, periods as their first moment."""
        nanoseconds = self._nanoseconds(ordinals)
        index = pd.DatetimeIndex(nanoseconds.astype("datetime64[ns]"))
        # Before the zone: to cut the unit of a localised index would be the slower way.
        index = index.as_unit(self.unit)
        if self.tz is None:
            return index
        if self.local_clock:
            return index.tz_localize(
                self.tz, ambiguous=np.ones(len(index), bool), nonexistent="shift_forward"
            )
        return index.tz_localize("UTC").tz_convert(self.tz)

    def _nanoseconds(self, ordinals: np.ndarray) -> np.ndarray:
        if self.kind == "rows":
            return ordinals.astype(np.int64)
        if self.kind == "tick":
            return self.phase + ordinals * self.step
        if self.kind == "business":
            dates = np.busday_offset(np.datetime64("1970-01-01"), ordinals, roll="forward")
            return dates.astype(np.int64) * _DAY + self.time_of_day
        months = self.phase + ordinals * self.step
        first = (months - 1970 * 12).astype("datetime64[M]")
        start = first.astype("datetime64[D]").astype(np.int64)
        length = (first + 1).astype("datetime64[D]").astype(np.int64) - start
        if self.day_rule == "end":
            start = start + length - 1
        elif self.day_rule == "day":
            start = start + np.minimum(self.day, length) - 1
        return start * _DAY + self.time_of_day

    def _day_fits(self, month: np.ndarray, day: np.ndarray) -> np.ndarray:
        if self.day_rule == "start":
            return day == 1
        if self.day_rule == "day":
            return day == np.minimum(self.day, _month_lengths(month))
        return day == _month_lengths(month)

    def _check_same_type(self, raw: RawTimes, name: Any) -> None:
        if raw.is_datetime != self.is_datetime:
            expected = "datetimes" if self.is_datetime else "numbers"
            received = "datetimes" if raw.is_datetime else "numbers"
            raise TypeError(
                f"Time column {name!r}: expected {expected} as in fit, received {received}."
            )
        if self.is_datetime and (raw.tz is None) != (self.tz is None):
            expected = f"times of zone {self.tz}" if self.tz is not None else "times without a zone"
            received = f"times of zone {raw.tz}" if raw.tz is not None else "times without a zone"
            raise TypeError(
                f"Time column {name!r}: expected {expected} as in fit, received {received}. "
                "Use .dt.tz_localize or .dt.tz_convert."
            )
        if raw.period != self.period:
            # Read as its first moment, a month would pass for a day.
            expected = f"periods of {self.period!r}" if self.period else "datetimes"
            received = f"periods of {raw.period!r}" if raw.period else "datetimes"
            raise TypeError(
                f"Time column {name!r}: expected {expected} as in fit, received {received}. Use "
                ".dt.to_period or .dt.to_timestamp."
            )


def _show(raw: RawTimes, row: int) -> str:
    if not raw.is_datetime:
        return repr(raw.values[row].item())
    return str(pd.Timestamp(int(raw.local()[row])))


def _before_the_gap(local: np.ndarray, utc: np.ndarray, rest: np.ndarray, zone: Any) -> np.ndarray:
    """Undo the clock's jump: where a local time does not exist, the step stands at the next one.

    ``rest`` (R,) is how far each local time is past its step; it is taken off where that gives the
    same instant.
    """
    off = np.flatnonzero(rest > 0)
    if len(off) == 0:
        return local
    steps = local[off] - rest[off]
    index = pd.DatetimeIndex(steps.astype("datetime64[ns]"))
    index = index.tz_localize(zone, ambiguous=np.ones(len(off), bool), nonexistent="shift_forward")
    same = index.tz_convert(None).asi8 == utc[off]
    result = local.copy()
    result[off[same]] = steps[same]
    return result


def _split_months(nanoseconds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return month index (year * 12 + month - 1), day of month (from 1), rest in nanoseconds."""
    days, rest = np.divmod(nanoseconds, _DAY)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    day = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    return months.astype(np.int64) + 1970 * 12, day, rest


def _month_lengths(month: np.ndarray) -> np.ndarray:
    first = (month - 1970 * 12).astype("datetime64[M]")
    return ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)


def infer_timeline(
    raw: RawTimes, series: np.ndarray, name: Any, freq: Any = None, rows: np.ndarray | None = None,
    labels: pd.Index | None = None,
) -> Timeline:  # fmt: skip
    """Learn the time axis of a panel from its training rows.

    Parameters
    ----------
    raw : RawTimes
        The times, rows sorted by series and time.
    series : ndarray of int, shape (R,)
        The series of each row.
    name : Any
        The name of the time column, for messages.
    freq : str, number or None, default=None
        An offset alias, a number, ``"rows"``; None infers it (gaps allowed).
    rows : ndarray of int, shape (R,), default=None
        The row of the user's frame of each row, for messages.
    labels : Index, default=None
        What the codes in ``series`` stand for, for messages.

    Returns
    -------
    Timeline

    Raises
    ------
    ValueError
        If no frequency fits the times, or some series stand between the steps of the others.

    Examples
    --------
    >>> days = pd.to_datetime(["2021-01-01", "2021-01-02", "2021-01-05"])
    >>> infer_timeline(raw_times(days, "day"), np.zeros(3, int), "day").freq
    'D'
    """
    if isinstance(freq, str) and freq == "rows":
        return Timeline(
            "rows", "rows", tz=raw.tz, is_datetime=raw.is_datetime,
            is_integer=raw.values.dtype.kind == "i", period=raw.period, unit=raw.unit,
        )  # fmt: skip
    if rows is None:
        rows = np.arange(len(raw.values))
    if raw.period is not None:
        return _period_timeline(raw, raw.period)
    if raw.is_datetime and freq is not None:
        return _datetime_timeline(raw, freq)
    times = _Times(raw, series, name, rows, labels)
    return _infer_datetime(times) if raw.is_datetime else _number_timeline(times, freq)


def warn_of_coarser_series(
    timeline: Timeline, ordinal: np.ndarray, series: np.ndarray, labels: pd.Index
) -> bool:
    """Warn where a series only ever holds every k-th step of the grid: its frequency is another.

    ``ordinal`` and ``series`` are in order of series and time. Returns whether it warned.
    """
    steps, at = _steps(ordinal, series)
    if len(steps) == 0:
        return False
    owner = series[at]
    starts = np.flatnonzero(np.append(True, np.diff(owner) != 0))
    shortest = np.minimum.reduceat(steps, starts)
    count = np.diff(np.append(starts, len(steps)))
    # Three equal steps are a rhythm, fewer may be gaps.
    for i in np.flatnonzero((shortest > 1) & (count >= 3)):
        every = int(np.gcd.reduce(steps[starts[i] : starts[i] + count[i]]))
        if every > 1:
            warnings.warn(
                f"Series {labels[owner[starts[i]]]!r} holds only one step in {every}: the panel's "
                f"step {timeline.freq!r} was inferred from all series together, and what lies "
                "between counts as unknown. Forecast series of different frequencies apart, or "
                "pass freq= if this is meant.",
                DataWarning,
                stacklevel=2,
            )
            return True
    return False


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the sorted distinct values; in one pass where they are integers close together."""
    if values.dtype.kind == "i" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < 4 * len(values):
            there = np.zeros(high - low + 1, bool)
            there[values - low] = True
            return np.flatnonzero(there) + low
    return np.unique(values)


def _steps(values: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positive differences within series, and the row at which each ends."""
    if len(values) < 2:
        return values[:0], np.zeros(0, np.int64)
    difference = np.diff(values)
    inside = (np.diff(series) == 0) & (difference > 0)
    return difference[inside], np.flatnonzero(inside) + 1


@dataclass(frozen=True)
class _Times:
    """Times in order of series and time, whose step is to be found, and how to name them."""

    raw: RawTimes
    series: np.ndarray
    name: Any
    rows: np.ndarray
    labels: pd.Index | None

    def steps(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _steps(values, self.series)

    def starts(self) -> np.ndarray:
        """Return the first row of each series."""
        return np.flatnonzero(np.diff(self.series, prepend=-1))

    def usual(self, steps: np.ndarray, at: np.ndarray) -> Any:
        """Return the commonest of steps that end at some rows."""
        return _most_frequent(steps, None if self.raw.count is None else self.raw.count[at])

    def no_steps(self) -> ValueError:
        n = len(self.raw.values)
        return ValueError(
            f"Time column {self.name!r}: cannot infer the frequency, no series has two different "
            f"times ({n} sample{'' if n == 1 else 's'} in all). Pass freq= ({_SUPPORTED})."
        )

    def irregular(self, at: int, step: str) -> ValueError:
        return ValueError(
            f"Time column {self.name!r}: the times are irregular. Most steps are {step}, but the "
            f"step to {_show(self.raw, at)} (row {self.rows[at]}) is no multiple of it. Pass "
            "freq='rows' if every row is one step (as the last business days of months are), or "
            "round the times and pass freq= with their step."
        )

    def apart(self, at: int, step: Any, finer: str | None) -> ValueError:
        who = "a series" if self.labels is None else f"series {self.labels[self.series[at]]!r}"
        mend = "or forecast it apart"
        if finer is not None:
            mend = f"forecast it apart, or pass freq={finer} (what lies between counts as unknown)"
        return ValueError(
            f"Time column {self.name!r}: {who} does not share the steps of the others. The step is "
            f"{step!r}, but {_show(self.raw, at)} (row {self.rows[at]}) is no whole number of them "
            f"from {_show(self.raw, 0)} (row {self.rows[0]}). Move its times onto theirs, {mend}."
        )


def _number_timeline(times: _Times, freq: Any) -> Timeline:
    values = times.raw.values
    integer = values.dtype.kind == "i"
    if freq is not None:
        good = isinstance(freq, (int, float, np.number)) and not isinstance(freq, bool)
        if not good or not np.isfinite(freq) or freq <= 0:
            raise ValueError(
                "freq: expected a positive number or 'rows' for the numeric time column "
                f"{times.name!r}, received {freq!r}."
            )
        step = freq
    else:
        step = _infer_number(times, integer)
    step = int(step) if integer and float(step).is_integer() else float(step)
    integer = integer and isinstance(step, int)
    phase = values[0].item() if len(values) else 0
    return Timeline("number", step, step, phase, is_integer=integer)


def _infer_number(times: _Times, integer: bool) -> Any:
    values = times.raw.values
    steps, at = times.steps(values)
    if len(steps) == 0:
        raise times.no_steps()
    starts = times.starts()
    away = values[starts] - values[0]
    if integer:
        _check_no_dates(values, steps, times.name)
        step = times.usual(steps, at)
        bad, apart = steps % step != 0, away % step != 0
        finer = repr(int(np.gcd.reduce(away, initial=step)))
    else:
        step = _float_step(times, steps, at)
        ratio, place = steps / step, away / step
        bad = (np.abs(ratio - np.rint(ratio)) > _ROUNDING) | (ratio < 0.5)
        apart, finer = np.abs(place - np.rint(place)) > _ROUNDING, None
    if bad.any():
        raise times.irregular(int(at[bad.argmax()]), repr(step))
    if apart.any():
        raise times.apart(int(starts[apart.argmax()]), step, finer)
    return step


def _float_step(times: _Times, steps: np.ndarray, at: np.ndarray) -> float:
    """Return the commonest step; differences of floats are equal up to rounding only."""
    values = times.raw.values
    size = np.rint(steps / steps.min() / _ROUNDING)
    step = float(np.median(steps[size == times.usual(size, at)]))
    # Over the whole span the rounding of one difference no longer counts.
    span = float(values.max() - values.min())
    refined = float(f"{span / max(1, round(span / step)):.12g}")
    exact = (values - values[0]) / refined
    return refined if (np.abs(exact - np.rint(exact)) <= _ROUNDING).all() else step


def _check_no_dates(values: np.ndarray, steps: np.ndarray, name: Any) -> None:
    """Refuse dates written as integers: from 20200131 to 20200201 would be seventy steps."""
    low, high = values.min(), values.max()
    if low >= 19_000_101 and high <= 21_001_231:
        pattern, (month, day) = "%Y%m%d", np.divmod(values % 10_000, 100)
    elif low >= 190_001 and high <= 210_012 and (steps >= 89).any():
        # Only a step from December to January tells months from a count.
        pattern, month, day = "%Y%m", values % 100, np.ones(1, np.int64)
    else:
        return
    if ((month < 1) | (month > 12)).any() or ((day < 1) | (day > 31)).any():
        return
    raise ValueError(
        f"Time column {name!r}: the integers look like dates such as {values[0]}, whose difference "
        f"is no time. Convert them first: pd.to_datetime(df[{name!r}], format={pattern!r}); or "
        "pass freq=1 if they are plain numbers."
    )


def _most_frequent(values: np.ndarray, count: np.ndarray | None = None) -> Any:
    """Return the commonest value, the least of equals; ``count`` says how often each counts."""
    least = values.min()
    if count is None:
        share = np.count_nonzero(values == least) / len(values)
    else:
        share = count[values == least].sum() / count.sum()
    if share > 0.5:
        return least.item()
    codes, unique = pd.factorize(values)
    counts = np.bincount(codes, count)
    return unique[counts == counts.max()].min().item()


def _datetime_timeline(raw: RawTimes, freq: Any) -> Timeline:
    from pandas.tseries import frequencies, offsets

    if isinstance(freq, (int, float)):
        raise ValueError(
            f"freq: expected an offset alias for a datetime column, received {freq!r}: one of "
            f"{_SUPPORTED}."
        )
    try:
        offset: Any = frequencies.to_offset(freq)
    except (ValueError, TypeError) as error:
        raise ValueError(f"freq: expected {_SUPPORTED}, received {freq!r}.") from error
    n, alias = offset.n, offset.freqstr
    # pandas reads "W" as "W-SUN": only an anchor that the user wrote binds the times.
    anchored = raw.period is None and ("-" in freq if isinstance(freq, str) else True)
    starts = (offsets.MonthBegin, offsets.QuarterBegin, offsets.YearBegin)
    ends = (offsets.MonthEnd, offsets.QuarterEnd, offsets.YearEnd)
    if n < 1:
        raise ValueError(f"freq: expected a positive step, received {freq!r}.")
    if isinstance(offset, starts + ends):
        months = {"M": 1, "Q": 3, "Y": 12}[offset.rule_code[0]]
        anchor = getattr(offset, "startingMonth", getattr(offset, "month", 1)) - 1
        return _month_timeline(
            raw, alias, months * n, "start" if isinstance(offset, starts) else "end",
            anchor=anchor % months if anchored and n == 1 and months > 1 else None,
        )  # fmt: skip
    if isinstance(offset, offsets.BusinessDay) and n == 1:
        if isinstance(offset, offsets.CustomBusinessDay):
            raise ValueError(
                f"freq: expected {_SUPPORTED}, received {freq!r}; a calendar with holidays is not "
                "known here. Pass freq='B' (holidays are gaps), or freq='rows'."
            )
        return _business_timeline(raw)
    if isinstance(offset, offsets.Week):
        anchor = offset.weekday if anchored else None
        return _tick_timeline(raw, alias, 7 * _DAY * n, weekday=anchor)
    if isinstance(offset, offsets.Day):
        return _tick_timeline(raw, alias, _DAY * n)
    if isinstance(offset, offsets.Tick):
        return _tick_timeline(raw, alias, int(pd.Timedelta(offset).value))
    raise ValueError(f"freq: expected {_SUPPORTED}, received {freq!r}.")


def _period_timeline(raw: RawTimes, period: str) -> Timeline:
    """Periods carry their frequency; months, quarters and years stand at their first day."""
    count, base = re.fullmatch(r"(\d*)(.*)", period.split("-")[0]).groups()  # type: ignore[union-attr]
    months = {"M": 1, "Q": 3, "Y": 12, "A": 12}.get(base)
    if months is None:
        return _datetime_timeline(raw, period)
    alias = {"M": "MS", "Q": "QS", "Y": "YS", "A": "YS"}[base]
    return _month_timeline(raw, count + alias, months * int(count or 1), "start")


def _common(raw: RawTimes) -> dict[str, Any]:
    return {"tz": raw.tz, "is_datetime": True, "period": raw.period, "unit": raw.unit}


def _tick_timeline(
    raw: RawTimes, alias: str, step: int, *, weekday: int | None = None, local: bool | None = None
) -> Timeline:
    """Steps of fixed length; ``local``: of the local clock, None chooses what fits the times."""
    if local is None:
        local = _keeps_local_clock(raw, step)
    values = raw.local() if local else raw.values
    phase = 0
    if len(values):
        phase = int(_usual_clock(raw)[0] % step) if local and step % _DAY == 0 else values[0] % step
    if weekday is not None:
        # The first day of the epoch was a Thursday.
        phase = int(phase % _DAY + (weekday - 3) % 7 * _DAY + phase // (7 * _DAY) * 7 * _DAY)
    elif step % (7 * _DAY) == 0 and raw.period is None and len(values):
        alias = _tick_alias(step, phase)
    return Timeline("tick", alias, step, int(phase), local_clock=local, **_common(raw))


def _keeps_local_clock(raw: RawTimes, step: int) -> bool:
    """Whether times with a zone are steps of the local clock rather than of UTC."""
    if raw.wall is None or len(raw.values) == 0:
        return False
    clocks = {True: _usual_clock(raw) if step % _DAY == 0 else raw.wall, False: raw.values}
    first = step % _DAY == 0
    for local in (first, not first):
        if ((clocks[local] - clocks[local][0]) % step == 0).all():
            return local
    return first


def _usual_clock(raw: RawTimes) -> np.ndarray:
    """Return local times, those moved by a gap in the local clock back at the usual time of day."""
    local = raw.local()
    if raw.wall is None or len(local) == 0:
        return local
    rest = local % _DAY
    return _before_the_gap(local, raw.values, rest - _most_frequent(rest, raw.count), raw.tz)


def _month_timeline(
    raw: RawTimes, alias: str, months: int, rule: str, *, day: int = 1, anchor: int | None = None
) -> Timeline:
    month, _, rest = _split_months(_usual_clock(raw)[:1])
    phase = anchor
    if phase is None:
        phase = int(month[0] % months) if len(month) else 0
        if months in (3, 12) and raw.period is None:
            alias = _anchored(alias, months, phase, rule)
    return Timeline(
        "month", alias, months, phase, local_clock=True, day_rule=rule, day=day,
        time_of_day=int(rest[0]) if len(rest) else 0, **_common(raw),
    )  # fmt: skip


def _anchored(alias: str, months: int, phase: int, rule: str) -> str:
    """Name the month of quarters and years unless it is the one that pandas takes anyway."""
    base = alias.split("-")[0]
    usual = months - 1 if rule == "end" else 0
    month = phase + 9 if rule == "end" and phase == 2 and months == 3 else phase
    name = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
    return base if phase == usual else f"{base}-{name[month]}"


def _business_timeline(raw: RawTimes) -> Timeline:
    rest = int(_usual_clock(raw)[0] % _DAY) if len(raw.values) else 0
    return Timeline("business", "B", local_clock=True, time_of_day=rest, **_common(raw))


def _infer_datetime(times: _Times) -> Timeline:
    raw = times.raw
    steps, at = times.steps(raw.values)
    if len(steps) == 0:
        raise times.no_steps()
    candidates = [(raw.values, steps, at, False)]
    if steps.min() >= 23 * _HOUR:
        local = _usual_clock(raw)
        days, at = (steps, at) if raw.wall is None else times.steps(local)
        if len(days):
            months = _infer_months(times, local) if days.min() >= 28 * _DAY else None
            if months is not None:
                return months
            if _is_business(times, local, days):
                return _business_timeline(raw)
            if raw.wall is not None:
                candidates.insert(0, (local, days, at, True))
    elif raw.wall is not None:
        candidates.append((raw.wall, *times.steps(raw.wall), True))
    wrong = None
    for values, steps, at, local_clock in candidates:
        if len(steps) == 0:
            continue
        step = times.usual(steps, at)
        # Few steps are longer than the usual one, and a remainder takes time.
        bad = steps != step
        bad[bad] = steps[bad] % step != 0
        starts = times.starts()
        away = values[starts] - values[0]
        apart = away % step != 0
        if not bad.any() and not apart.any():
            return _tick_timeline(raw, _tick_alias(step, values[0]), step, local=local_clock)
        if wrong is None and bad.any():
            wrong = times.irregular(int(at[bad.argmax()]), str(pd.Timedelta(step)))
        elif wrong is None:
            finer = repr(_tick_alias(np.gcd.reduce(away, initial=step), values[0]))
            row = int(starts[apart.argmax()])
            wrong = times.apart(row, _tick_alias(step, values[0]), finer)
    assert wrong is not None
    raise wrong


def _infer_months(times: _Times, local: np.ndarray) -> Timeline | None:
    month, day, rest = _split_months(local)
    if (rest != rest[0]).any():
        return None
    length = _month_lengths(month)
    latest = int(day.max())
    if (day == 1).all():
        rule = "start"
    elif (day == length).all():
        # Before a fixed day: the ends of March and December are both the 31st.
        rule = "end"
    elif (day == np.minimum(latest, length)).all():
        rule = "day"
    else:
        return None
    gcd = int(np.gcd.reduce(times.steps(month)[0]))
    starts = times.starts()
    away = month[starts] - month[0]
    if (away % gcd).any():
        finer = repr(_month_alias(int(np.gcd.reduce(away, initial=gcd)), rule))
        at = int(starts[(away % gcd != 0).argmax()])
        raise times.apart(at, _month_alias(gcd, rule), None if rule == "day" else finer)
    return _month_timeline(times.raw, _month_alias(gcd, rule), gcd, rule, day=latest)


def _month_alias(months: int, rule: str) -> str:
    suffix = "E" if rule == "end" else "S"
    if months % 12 == 0 and months > 12:
        return f"{months // 12}Y{suffix}"
    return {1: f"M{suffix}", 3: f"Q{suffix}", 12: f"Y{suffix}"}.get(months, f"{months}M{suffix}")


def _is_business(times: _Times, local: np.ndarray, steps: np.ndarray) -> bool:
    """Whether daily times avoid every weekend although they pass at least one.

    A longer gap than a long weekend passes weekends too, but says nothing of them.
    """
    if (steps % _DAY != 0).any() or steps.min() != _DAY:
        return False
    days, rest = np.divmod(local, _DAY)
    dates = days.astype("datetime64[D]")
    if (rest != rest[0]).any() or not np.is_busday(dates).all():
        return False
    worked, _ = times.steps(np.busday_count(np.datetime64("1970-01-01"), dates))
    return bool(((worked * _DAY < steps) & (steps <= 4 * _DAY)).any())


def _tick_alias(step: int, first: int) -> str:
    if step % (7 * _DAY) == 0:
        day = pd.Timestamp(int(first)).strftime("%a").upper()
        count = step // (7 * _DAY)
        return f"W-{day}" if count == 1 else f"{count}W-{day}"
    for unit, alias in (
        (_DAY, "D"), (_HOUR, "h"), (60_000_000_000, "min"), (1_000_000_000, "s"),
        (1_000_000, "ms"), (1_000, "us"), (1, "ns"),
    ):  # fmt: skip
        if step % unit == 0:
            count = step // unit
            return alias if count == 1 else f"{count}{alias}"
    raise AssertionError("unreachable: every step is a whole number of nanoseconds")
