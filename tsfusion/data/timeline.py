"""The time axis: times of any kind as integer steps of one frequency, and back.

Relies on NumPy and pandas. A `Timeline` is learned once from the training rows; afterwards every
time is a 64-bit ordinal, so that neighbours in time differ by exactly one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

__all__ = ["Timeline", "infer_timeline", "raw_times"]

Kind = Literal["tick", "month", "business", "number", "rows"]

_DAY = 86_400_000_000_000  # nanoseconds
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

    def local(self) -> np.ndarray:
        """Return nanoseconds of the local clock."""
        return self.values if self.wall is None else self.wall


def raw_times(times: pd.Series | pd.Index, name: Any) -> RawTimes:
    """Turn a time column into plain numbers, or say which row is not a time."""
    values = pd.Series(times).reset_index(drop=True)
    missing = values.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Time column {name!r}: expected a time in every row, row {int(missing.argmax())} has "
            f"none ({int(missing.sum())} in all). Drop or fill these rows."
        )
    dtype = values.dtype
    if isinstance(dtype, pd.PeriodDtype):
        stamps = values.dt.to_timestamp().dt.as_unit("ns")
        alias = dtype.name.removeprefix("period[").removesuffix("]")
        return RawTimes(stamps.astype("int64").to_numpy(), True, period=alias)
    if isinstance(dtype, pd.DatetimeTZDtype):
        utc = values.dt.tz_convert("UTC").dt.tz_localize(None).dt.as_unit("ns")
        wall = values.dt.tz_localize(None).dt.as_unit("ns")
        return RawTimes(
            utc.astype("int64").to_numpy(), True, dtype.tz, wall.astype("int64").to_numpy()
        )
    if pd.api.types.is_datetime64_dtype(dtype):
        return RawTimes(values.dt.as_unit("ns").astype("int64").to_numpy(), True)
    if pd.api.types.is_bool_dtype(dtype):
        raise TypeError(f"Time column {name!r}: expected times or numbers, received booleans.")
    if pd.api.types.is_integer_dtype(dtype):
        return RawTimes(values.to_numpy(dtype="int64"), False)
    if pd.api.types.is_float_dtype(dtype):
        numbers = values.to_numpy(dtype="float64")
        if not np.isfinite(numbers).all():
            row = int((~np.isfinite(numbers)).argmax())
            raise ValueError(f"Time column {name!r}: expected finite numbers, row {row} is not.")
        return RawTimes(numbers, False)
    raise TypeError(
        f"Time column {name!r}: expected datetimes, periods or numbers, received {dtype} such as "
        f"{values.iloc[0]!r}. Convert text first: df[{name!r}] = pd.to_datetime(df[{name!r}])."
    )


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

    @property
    def is_regular(self) -> bool:
        """Whether the step after a time is known from the time alone."""
        return self.kind != "rows"

    def ordinals(self, raw: RawTimes, name: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """Return (R,) step numbers of the times; raise if one lies off the grid."""
        self._check_same_type(raw, name)
        if self.kind == "rows":
            return raw.values
        values = raw.local() if self.local_clock else raw.values
        if self.kind == "tick":
            result, rest = np.divmod(values - self.phase, self.step)
            bad = rest != 0
        elif self.kind == "number":
            exact = (values - self.phase) / self.step
            result = np.rint(exact)
            bad = np.abs(exact - result) > 1e-6 * np.maximum(1.0, np.abs(exact))
            result = result.astype(np.int64)
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
            raise ValueError(
                f"Time column {name!r}: expected times every {self.freq!r}, row {row} "
                f"({self._show(raw, first)}) lies off that grid ({int(bad.sum())} rows in all). "
                "Round the times, pass freq=, or pass freq='rows' if every row is one step."
            )
        return result.astype(np.int64)

    def times(self, ordinals: np.ndarray) -> pd.Index:
        """Return the times of step numbers, in the type that the user gave."""
        ordinals = np.asarray(ordinals)
        if not self.is_datetime:
            if self.kind == "rows":
                return pd.Index(ordinals)
            numbers = self.phase + ordinals * self.step
            return pd.Index(numbers.astype(np.int64) if self.is_integer else numbers)
        nanoseconds = self._nanoseconds(ordinals)
        index = pd.DatetimeIndex(nanoseconds.astype("datetime64[ns]"))
        if self.tz is not None:
            if self.local_clock:
                index = index.tz_localize(self.tz, ambiguous=True, nonexistent="shift_forward")  # type: ignore[arg-type]
            else:
                index = index.tz_localize("UTC").tz_convert(self.tz)
        if self.period is not None:
            return index.to_period(self.period)
        return index

    def wall_clock(self, ordinals: np.ndarray) -> pd.DatetimeIndex | None:
        """Return the local clock at step numbers for calendar features, or None for numbers."""
        if not self.is_datetime:
            return None
        index = self.times(ordinals)
        if isinstance(index, pd.PeriodIndex):
            index = index.to_timestamp()
        assert isinstance(index, pd.DatetimeIndex)
        return index.tz_localize(None) if index.tz is not None else index

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
            return day == self.day
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

    def _show(self, raw: RawTimes, row: int) -> str:
        return _show(raw, row)


def _show(raw: RawTimes, row: int) -> str:
    if not raw.is_datetime:
        return repr(raw.values[row].item())
    return str(pd.Timestamp(int(raw.local()[row])))


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


def infer_timeline(raw: RawTimes, series: np.ndarray, name: Any, freq: Any = None) -> Timeline:
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

    Returns
    -------
    Timeline

    Raises
    ------
    ValueError
        If no frequency fits the times.
    """
    if freq == "rows":
        return Timeline(
            "rows", "rows", tz=raw.tz, is_datetime=raw.is_datetime,
            is_integer=raw.values.dtype.kind == "i", period=raw.period,
        )  # fmt: skip
    if not raw.is_datetime:
        return _number_timeline(raw, series, name, freq)
    if raw.period is not None:
        return _period_timeline(raw, raw.period)
    if freq is not None:
        return _datetime_timeline(raw, freq)
    return _infer_datetime(raw, series, name)


def _steps(values: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positive differences within series, and the row at which each ends."""
    if len(values) < 2:
        return values[:0], np.zeros(0, np.int64)
    difference = np.diff(values)
    inside = (np.diff(series) == 0) & (difference > 0)
    return difference[inside], np.flatnonzero(inside) + 1


def _no_steps(name: Any) -> ValueError:
    return ValueError(
        f"Time column {name!r}: cannot infer the frequency, no series has two different times. "
        f"Pass freq= ({_SUPPORTED})."
    )


def _irregular(raw: RawTimes, name: Any, row: int, step: str) -> ValueError:
    return ValueError(
        f"Time column {name!r}: the times are irregular. Most steps are {step}, but the step to "
        f"{_show(raw, row)} (row {row} in order of series and time) is no multiple of it. Pass "
        "freq= and round the times to it, or pass freq='rows' if every row is one step."
    )


def _number_timeline(raw: RawTimes, series: np.ndarray, name: Any, freq: Any) -> Timeline:
    values = raw.values
    integer = values.dtype.kind == "i"
    if freq is not None:
        if isinstance(freq, bool) or not isinstance(freq, (int, float, np.number)) or freq <= 0:
            raise ValueError(
                f"freq: expected a positive number or 'rows' for the numeric time column {name!r}, "
                f"received {freq!r}."
            )
        step = freq
    else:
        steps, rows = _steps(values, series)
        if len(steps) == 0:
            raise _no_steps(name)
        step = _most_frequent(steps)
        ratio = steps / step
        bad = np.abs(ratio - np.rint(ratio)) > 1e-6 * np.maximum(1.0, ratio)
        if bad.any():
            raise _irregular(raw, name, int(rows[bad.argmax()]), repr(step))
    step = int(step) if integer and float(step).is_integer() else float(step)
    integer = integer and isinstance(step, int)
    return Timeline("number", step, step, values[0].item(), is_integer=integer)


def _most_frequent(steps: np.ndarray) -> Any:
    unique, counts = np.unique(steps, return_counts=True)
    return unique[counts.argmax()].item()


def _datetime_timeline(raw: RawTimes, freq: Any) -> Timeline:
    from pandas.tseries import frequencies, offsets

    if isinstance(freq, (int, float)):
        raise ValueError(
            f"freq: expected an offset alias for a datetime column, received {freq!r}: one of "
            f"{_SUPPORTED}."
        )
    try:
        offset = frequencies.to_offset(freq)
    except (ValueError, TypeError) as error:
        raise ValueError(f"freq: expected {_SUPPORTED}, received {freq!r}.") from error
    n = offset.n  # type: ignore[union-attr]
    alias = offset.freqstr  # type: ignore[union-attr]
    if isinstance(offset, (offsets.MonthBegin, offsets.QuarterBegin, offsets.YearBegin)):
        months = {"M": 1, "Q": 3, "Y": 12}[offset.name[0]]
        return _month_timeline(raw, alias, months * n, "start")
    if isinstance(offset, (offsets.MonthEnd, offsets.QuarterEnd, offsets.YearEnd)):
        months = {"M": 1, "Q": 3, "Y": 12}[offset.name[0]]
        return _month_timeline(raw, alias, months * n, "end")
    if isinstance(offset, offsets.BusinessDay) and n == 1:
        return _business_timeline(raw)
    if isinstance(offset, offsets.Week):
        return _tick_timeline(raw, alias, 7 * _DAY * n)
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
    return {"tz": raw.tz, "is_datetime": True, "period": raw.period}


def _tick_timeline(raw: RawTimes, alias: str, step: int) -> Timeline:
    local = raw.wall is not None and step % _DAY == 0
    values = raw.local() if local else raw.values
    phase = int(values[0] % step) if len(values) else 0
    return Timeline("tick", alias, step, phase, local_clock=local, **_common(raw))


def _month_timeline(raw: RawTimes, alias: str, months: int, rule: str) -> Timeline:
    month, day, rest = _split_months(raw.local()[:1])
    return Timeline(
        "month", alias, months, int(month[0] % months) if len(month) else 0, local_clock=True,
        day_rule=rule, day=int(day[0]) if len(day) else 1,
        time_of_day=int(rest[0]) if len(rest) else 0, **_common(raw),
    )  # fmt: skip


def _business_timeline(raw: RawTimes) -> Timeline:
    rest = int(raw.local()[0] % _DAY) if len(raw.values) else 0
    return Timeline("business", "B", local_clock=True, time_of_day=rest, **_common(raw))


def _infer_datetime(raw: RawTimes, series: np.ndarray, name: Any) -> Timeline:
    local = raw.local()
    steps, rows = _steps(local, series)
    if len(steps) == 0:
        raise _no_steps(name)
    shortest = steps.min()
    if shortest >= 28 * _DAY:
        months = _infer_months(raw, local, series)
        if months is not None:
            return months
    if shortest >= 23 * 3_600_000_000_000:
        business = _is_business(local, steps)
        if business:
            return _business_timeline(raw)
    else:
        steps, rows = _steps(raw.values, series)
    step = _most_frequent(steps)
    bad = steps % step != 0
    if bad.any():
        raise _irregular(raw, name, int(rows[bad.argmax()]), str(pd.Timedelta(step)))
    return _tick_timeline(raw, _tick_alias(step, local[0]), step)


def _infer_months(raw: RawTimes, local: np.ndarray, series: np.ndarray) -> Timeline | None:
    month, day, rest = _split_months(local)
    if (rest != rest[0]).any():
        return None
    if (day == day[0]).all():
        rule = "start" if day[0] == 1 else "day"
    elif (day == _month_lengths(month)).all():
        rule = "end"
    else:
        return None
    steps, _ = _steps(month, series)
    gcd = int(np.gcd.reduce(steps))
    suffix = "E" if rule == "end" else "S"
    alias = {1: f"M{suffix}", 3: f"Q{suffix}", 12: f"Y{suffix}"}.get(gcd, f"{gcd}M{suffix}")
    if gcd % 12 == 0 and gcd > 12:
        alias = f"{gcd // 12}Y{suffix}"
    return _month_timeline(raw, alias, gcd, rule)


def _is_business(local: np.ndarray, steps: np.ndarray) -> bool:
    """Whether daily times avoid every weekend although they pass at least one."""
    days, rest = np.divmod(local, _DAY)
    if (rest != rest[0]).any() or (steps % _DAY != 0).any() or steps.min() != _DAY:
        return False
    return bool(np.is_busday(days.astype("datetime64[D]")).all() and (steps == 3 * _DAY).any())


def _tick_alias(step: int, first: int) -> str:
    if step % (7 * _DAY) == 0:
        day = pd.Timestamp(int(first)).strftime("%a").upper()
        count = step // (7 * _DAY)
        return f"W-{day}" if count == 1 else f"{count}W-{day}"
    for unit, alias in (
        (_DAY, "D"), (3_600_000_000_000, "h"), (60_000_000_000, "min"), (1_000_000_000, "s"),
        (1_000_000, "ms"), (1_000, "us"), (1, "ns"),
    ):  # fmt: skip
        if step % unit == 0:
            count = step // unit
            return alias if count == 1 else f"{count}{alias}"
    raise AssertionError("unreachable: every step is a whole number of nanoseconds")
