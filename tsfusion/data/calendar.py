"""What a frequency says about time: calendar features, season lengths, default look-back windows.

Relies on pandas for offset aliases and calendar fields, and on NumPy alone otherwise.
"""

from __future__ import annotations

import functools
import math
import numbers
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries import offsets
from pandas.tseries.frequencies import to_offset

__all__ = [
    "CalendarFeatures",
    "Frequency",
    "calendar_features",
    "default_context_length",
    "parse_frequency",
    "season_length",
]

_NANOS_PER_MINUTE = 60 * 10**9
_NANOS_PER_HOUR = 60 * _NANOS_PER_MINUTE
_NANOS_PER_DAY = 24 * _NANOS_PER_HOUR

# Subclasses of one another stand in the order in which they must be asked (a business day is no
# plain day), and every anchored alias (W-SUN, QS-DEC, YE-MAR) lands on its unit.
_CALENDAR_UNITS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("business", (offsets.BusinessDay,)),
    ("weekly", (offsets.Week,)),
    (
        "monthly",
        (
            offsets.MonthBegin,
            offsets.MonthEnd,
            offsets.BusinessMonthBegin,
            offsets.BusinessMonthEnd,
        ),
    ),
    (
        "quarterly",
        (
            offsets.QuarterBegin,
            offsets.QuarterEnd,
            offsets.BQuarterBegin,
            offsets.BQuarterEnd,
        ),
    ),
    (
        "yearly",
        (offsets.YearBegin, offsets.YearEnd, offsets.BYearBegin, offsets.BYearEnd),
    ),
)

# Steps of one unit until the pattern that matters most comes back.
_SEASON_LENGTHS = {
    "daily": 7,
    "business": 5,
    "weekly": 52,
    "monthly": 12,
    "quarterly": 4,
    "yearly": 1,
}

# Several of the unit's seasons: eight weeks of days, twelve of business days, two years of weeks,
# three of months, four of quarters.
_CONTEXT_LENGTHS = {
    "daily": 56,
    "business": 60,
    "weekly": 104,
    "monthly": 36,
    "quarterly": 16,
    "yearly": 10,
}
_CONTEXT_WITHOUT_FREQUENCY = 64
_LONGEST_SUB_HOURLY_CONTEXT = 336


@dataclass(frozen=True)
class Frequency:
    """A step of time as a multiple of a unit.

    Attributes
    ----------
    unit : str
        ``sub-hourly``, ``hourly``, ``daily``, ``business``, ``weekly``, ``monthly``,
        ``quarterly`` or ``yearly``.
    multiple : int
        Units in a step; nanoseconds for the first two, whose steps need not be whole units.
    """

    unit: str
    multiple: int


@dataclass(frozen=True, eq=False)
class CalendarFeatures:
    """What the calendar says of R times, as a model reads it.

    Attributes
    ----------
    categorical : ndarray of int32, shape (R, C)
        Codes that start at 0; column ``c`` stays below ``cardinalities[c]`` for any times.
    categorical_names : tuple of str
        Names of the C categorical columns.
    cardinalities : tuple of int
        How many values each categorical column can take, whatever the times given.
    real : ndarray of float32, shape (R, K)
        Sines and cosines of the position in a cycle.
    real_names : tuple of str
        Names of the K real columns.
    """

    categorical: npt.NDArray[np.int32]
    categorical_names: tuple[str, ...]
    cardinalities: tuple[int, ...]
    real: npt.NDArray[np.float32]
    real_names: tuple[str, ...]


@functools.lru_cache(maxsize=64)
def _offset(freq: str) -> Any:
    """Return pandas' offset; read once, since filters of warnings are shared by all threads."""
    # Older pandas only warn of 'M' and 'H', and read them; here they are refused everywhere.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return to_offset(freq)


def parse_frequency(freq: str) -> Frequency:
    """Unit and multiple of a pandas offset alias.

    Parameters
    ----------
    freq : str
        Such as ``"15min"``, ``"2h"``, ``"D"``, ``"W-SUN"`` or ``"QS-DEC"``. Anything else raises
        an error that lists what is read; so do the aliases that pandas has renamed.

    Returns
    -------
    Frequency

    Examples
    --------
    >>> parse_frequency("W-SUN"), parse_frequency("14D")
    (Frequency(unit='weekly', multiple=1), Frequency(unit='weekly', multiple=2))
    """
    if not isinstance(freq, str):
        raise TypeError(f"freq: expected a pandas offset alias such as 'D', got {freq!r}.")
    try:
        offset = _offset(freq)
    except (ValueError, Warning):
        raise ValueError(_unread(freq)) from None
    if offset is None or offset.n < 1:
        raise ValueError(_unread(freq))
    multiple = int(offset.n)
    if isinstance(offset, offsets.Day):
        return _fixed(_NANOS_PER_DAY * multiple)
    if isinstance(offset, offsets.Tick):
        return _fixed(offset.nanos)
    for unit, classes in _CALENDAR_UNITS:
        if isinstance(offset, classes):
            return Frequency(unit, multiple)
    raise ValueError(_unread(freq))


def calendar_features(times: pd.DatetimeIndex, freq: str) -> CalendarFeatures:
    """Calendar features of each time, chosen by the frequency of the series.

    ==============  ====================================  =======================================
    Frequency       Categorical                           Sine and cosine of
    ==============  ====================================  =======================================
    below an hour   minute_of_hour, hour, day_of_week     day_of_year
    below a day     hour, day_of_week                     day_of_year
    days            day_of_week                           day_of_month, day_of_year
    weeks                                                 week_of_year (two harmonics)
    months          month
    quarters        quarter
    years
    ==============  ====================================  =======================================

    Parameters
    ----------
    times : DatetimeIndex of length R
        Any times in any order, repeats included. Times with a zone are read by their local clock.
    freq : str
        A pandas offset alias: ``"15min"``, ``"h"``, ``"2h"``, ``"D"``, ``"B"``, ``"W-SUN"``,
        ``"MS"``, ``"ME"``, ``"QS-DEC"``, ``"YS"`` and their like.

    Returns
    -------
    CalendarFeatures
        Codes (R, C), cycles (R, K), and their names; C or K may be 0.

    Examples
    --------
    >>> import pandas as pd
    >>> features = calendar_features(pd.date_range("2024-03-01", periods=2, freq="D"), "D")
    >>> features.categorical_names, features.categorical.tolist()
    (('day_of_week',), [[4], [5]])
    >>> features.real_names
    ('day_of_month_sin', 'day_of_month_cos', 'day_of_year_sin', 'day_of_year_cos')
    """
    frequency = parse_frequency(freq)
    if not isinstance(times, pd.DatetimeIndex):
        mend = ": call its to_timestamp() first" if isinstance(times, pd.PeriodIndex) else ""
        raise TypeError(f"times: expected a DatetimeIndex, got {type(times).__name__}{mend}.")
    if times.hasnans:
        row = int(np.argmax(times.isna()))
        raise ValueError(f"times: row {row} is NaT: drop it or give it a time.")

    codes: dict[str, tuple[npt.NDArray[np.int32], int]] = {}
    cycles: dict[str, npt.NDArray[np.float64]] = {}
    if frequency.unit == "sub-hourly":
        width = _minute_bucket(frequency)
        codes["minute_of_hour"] = (_field(times.minute) // np.int32(width), 60 // width)
    if frequency.unit in ("sub-hourly", "hourly"):
        codes["hour"] = (_field(times.hour), 24)
    if frequency.unit in ("sub-hourly", "hourly", "daily", "business"):
        codes["day_of_week"] = (_field(times.day_of_week), 7)
    if frequency.unit in ("daily", "business"):
        cycles |= _cycle("day_of_month", (_field(times.day) - 1) / _field(times.days_in_month))
    if frequency.unit in ("sub-hourly", "hourly", "daily", "business"):
        cycles |= _cycle("day_of_year", _year_position(times))
    if frequency.unit == "weekly":
        cycles |= _cycle("week_of_year", _year_position(times))
        # A year of weekly sales has more than one hill; one sine has not.
        cycles |= _cycle("week_of_year_twice", 2 * _year_position(times))
    if frequency.unit == "monthly":
        codes["month"] = (_field(times.month) - 1, 12)
    if frequency.unit == "quarterly":
        codes["quarter"] = (_field(times.quarter) - 1, 4)

    rows = len(times)
    return CalendarFeatures(
        categorical=np.stack([code for code, _ in codes.values()], axis=1)
        if codes
        else np.empty((rows, 0), np.int32),
        categorical_names=tuple(codes),
        cardinalities=tuple(cardinality for _, cardinality in codes.values()),
        real=np.stack(list(cycles.values()), axis=1).astype(np.float32)
        if cycles
        else np.empty((rows, 0), np.float32),
        real_names=tuple(cycles),
    )


def season_length(freq: str | None) -> int:
    """Steps until the main season of a frequency comes back.

    A day below a day, a week of days, a year of anything longer. Where the step does not divide
    the season, this is the number of steps after which both meet again: seven for ``"2D"``.

    Parameters
    ----------
    freq : str or None
        A pandas offset alias; None (steps without a calendar) has no season, which is 1.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> [season_length(freq) for freq in ("15min", "h", "2h", "D", "B", "W-SUN", "MS", "QS-DEC")]
    [96, 24, 12, 7, 5, 52, 12, 4]
    """
    if freq is None:
        return 1
    frequency = parse_frequency(freq)
    if frequency.unit in ("sub-hourly", "hourly"):
        season = _NANOS_PER_DAY
    else:
        season = _SEASON_LENGTHS[frequency.unit]
    return season // math.gcd(season, frequency.multiple)


def default_context_length(freq: str | None, horizon: int) -> int:
    """How many past steps a forecaster looks at when nobody says.

    Parameters
    ----------
    freq : str or None
        A pandas offset alias; None for steps without a calendar.
    horizon : int
        Steps to forecast, at least 1. The window is never shorter than twice the horizon.

    Returns
    -------
    int
        A week of hours, two days (336 steps at most) below an hour, eight weeks of days, twelve
        of business days, two years of weeks, three of months, four of quarters, ten years; 64
        steps without a frequency. A multiple such as ``"2h"`` covers the same time in fewer steps.

    Examples
    --------
    >>> default_context_length("h", 24), default_context_length("2h", 24)
    (168, 84)
    >>> default_context_length("D", 90)
    180
    """
    if isinstance(horizon, bool) or not isinstance(horizon, numbers.Integral):
        raise TypeError(f"horizon: expected a whole number, got {horizon!r}.")
    if horizon < 1:
        raise ValueError(f"horizon: expected at least 1, got {horizon}.")
    return max(_usual_context(freq), 2 * int(horizon))


def _usual_context(freq: str | None) -> int:
    if freq is None:
        return _CONTEXT_WITHOUT_FREQUENCY
    frequency = parse_frequency(freq)
    if frequency.unit == "sub-hourly":
        two_days = math.ceil(2 * _NANOS_PER_DAY / frequency.multiple)
        return min(two_days, _LONGEST_SUB_HOURLY_CONTEXT)
    if frequency.unit == "hourly":
        return math.ceil(7 * _NANOS_PER_DAY / frequency.multiple)
    return math.ceil(_CONTEXT_LENGTHS[frequency.unit] / frequency.multiple)


def _fixed(nanos: int) -> Frequency:
    """A step of fixed length, by the unit that it is a whole multiple of ('24h' is a day)."""
    if nanos < _NANOS_PER_HOUR:
        return Frequency("sub-hourly", nanos)
    if nanos % _NANOS_PER_DAY:
        return Frequency("hourly", nanos)
    days = nanos // _NANOS_PER_DAY
    return Frequency("daily", days) if days % 7 else Frequency("weekly", days // 7)


def _unread(freq: str) -> str:
    return (
        f"freq: {freq!r} is not a frequency known here: give a pandas offset alias such as "
        "'15min', 'h', 'D', 'B', 'W-SUN', 'MS', 'ME', 'QS-DEC' or 'YS', or a multiple such as "
        "'2h' (the old 'T', 'H', 'M', 'Q', 'Y' are now 'min', 'h', 'ME', 'QE', 'YE')."
    )


def _minute_bucket(frequency: Frequency) -> int:
    """Minutes that share a code: the step itself where an hour is a whole number of steps."""
    minutes, rest = divmod(frequency.multiple, _NANOS_PER_MINUTE)
    return minutes if minutes and not rest and 60 % minutes == 0 else 1


def _field(values: pd.Index) -> npt.NDArray[np.int32]:
    return values.to_numpy(dtype=np.int32)


def _year_position(times: pd.DatetimeIndex) -> npt.NDArray[np.float64]:
    """Share of the year gone by, (R,), in [0, 1)."""
    return (_field(times.day_of_year) - 1) / (365 + times.is_leap_year)


def _cycle(name: str, position: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    angle = 2 * np.pi * position
    return {f"{name}_sin": np.sin(angle), f"{name}_cos": np.cos(angle)}
