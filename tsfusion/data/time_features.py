"""What a user knows of time beside the calendar: public holidays, and functions of time.

Relies on NumPy and pandas; the dates of holidays come from the `holidays` package (the extra
``holidays``), without a network.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.calendar import parse_frequency
from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.frames import numbers
from tsfusion.data.roles import is_categorical
from tsfusion.data.scaling import Moments
from tsfusion.data.timeline import Timeline
from tsfusion.exceptions import DataWarning

__all__ = [
    "HOLIDAY_NAMES",
    "HolidayCalendar",
    "TimeFunction",
    "calendar_frequency",
    "check_region",
    "holiday_calendar",
]

HOLIDAY_NAMES = ("holiday", "days_to_holiday", "holidays")
_NANOS_PER_DAY = 86_400_000_000_000
# Further than a week before it, a holiday is seldom felt.
_LOOK_AHEAD = 7
_UNSEEN, _NO_HOLIDAY, _FIRST = 0, 1, 2

Region = tuple[str, str | None]


@dataclass(frozen=True)
class HolidayCalendar:
    """The public holidays of each series' country, as known variables.

    Where a step is a day or less, there are two: the category ``holiday`` (which one, by the local
    date; "none" has a code of its own) and ``days_to_holiday`` (0 on the day, at most 7). The
    latter tells of a holiday to come, which a network that reads the future step by step cannot
    see; one that has passed it remembers. Where a step is longer, there is ``holidays``, how many
    days of the step are holidays. A step reaches from its own day to the next step, and with times
    at the end of the month from the step before to its own day.

    Attributes
    ----------
    regions : tuple of (country, subdivision) or None
        None is a region without holidays.
    by_label : Series or None
        The place in ``regions`` of each series; None where all share the first.
    column, by_code : int and ndarray, or None
        A column of the static categories, and the place in ``regions`` of each of its codes.
    vocabulary : tuple of str
        Names of the holidays seen in training.
    location, scale : float
        Mean and standard deviation of the real variable over the training rows.
    """

    regions: tuple[Region | None, ...]
    by_label: pd.Series | None = None
    column: int | None = None
    by_code: np.ndarray | None = None
    daily: bool = True
    vocabulary: tuple[str, ...] = ()
    location: float = 0.0
    scale: float = 1.0

    @property
    def real_names(self) -> tuple[str, ...]:
        """Names of the real variables."""
        return ("days_to_holiday",) if self.daily else ("holidays",)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories."""
        return ("holiday",) if self.daily else ()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes: unseen, none, and each holiday seen in training."""
        return (_FIRST + len(self.vocabulary),) if self.daily else ()

    def learn(
        self, timeline: Timeline, ordinal: np.ndarray, rows: Rows, series: np.ndarray
    ) -> HolidayCalendar:
        """Learn from training rows: their steps and the codes of their series in ``rows``."""
        return self.learn_in_parts(timeline, [(ordinal, rows, series)])

    def learn_in_parts(
        self, timeline: Timeline, parts: Iterable[tuple[np.ndarray, Rows, np.ndarray]]
    ) -> HolidayCalendar:
        """Learn from training rows that come in parts of whole series, each as for `learn`."""
        if not timeline.is_datetime:
            raise ValueError(
                f"holidays: expected times that are dates, received numbers ({timeline.freq!r}). "
                "Leave holidays out, or pass time= with a column of dates."
            )
        learned = replace(self, daily=_within_a_day(timeline))
        moments, vocabulary = Moments(), set()
        unknown: list[Any] = []
        later: list[Any] = []
        for ordinal, rows, series in parts:
            region = learned._regions_of(rows)
            unknown += list(_without(region, rows, series))
            later += list(_without(region, rows, rows.series))
            if unknown:
                continue
            holiday, names, real = learned._look_up(timeline, ordinal, region[series])
            here = np.bincount(holiday[holiday >= 0], minlength=len(names)) > 0
            vocabulary |= {name for name, seen in zip(names, here) if seen}
            moments.add(real)
        if unknown:
            raise ValueError(
                f"holidays: expected a country for every series, {unknown[0]!r} has none "
                f"({len(unknown)} series in all). Add it, or give it None for no holidays."
            )
        _warn_of_unknown(later)
        return replace(
            learned,
            vocabulary=tuple(sorted(vocabulary)),
            location=moments.mean,
            scale=moments.spread if moments.spread > 1e-9 else 1.0,
        )

    def encode(
        self, timeline: Timeline, ordinal: np.ndarray, rows: Rows, series: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (R, 1) float32 reals and (R, C) int32 codes of steps of series.

        Of a series whose country is not known, the code is 0 and the real the mean.
        """
        region = self._regions_of(rows)[series]
        holiday, names, real = self._look_up(timeline, ordinal, np.maximum(region, 0))
        real = np.where(region < 0, 0.0, (real - self.location) / self.scale)
        if not self.daily:
            return real.astype(np.float32)[:, None], np.zeros((len(ordinal), 0), np.int32)
        codes = {name: _FIRST + i for i, name in enumerate(self.vocabulary)}
        # Without a holiday the number is -1, which is the last place.
        code_of = np.array([*(codes.get(name, _UNSEEN) for name in names), _NO_HOLIDAY])
        code = np.where(region < 0, _UNSEEN, code_of[holiday])
        return real.astype(np.float32)[:, None], code.astype(np.int32)[:, None]

    def warn_of_unknown(self, rows: Rows) -> None:
        """Say which series have no known country."""
        _warn_of_unknown(_without(self._regions_of(rows), rows, rows.series))

    def _regions_of(self, rows: Rows) -> np.ndarray:
        """Return (S,) the place of each series in the regions, -1 where it is not known."""
        if self.column is not None and self.by_code is not None:
            return self.by_code[rows.static_categorical[:, self.column]]
        if self.by_label is not None:
            position = self.by_label.index.get_indexer(rows.labels)
            return np.append(self.by_label.to_numpy(), -1)[position]
        return np.zeros(len(rows.labels), np.int64)

    def _look_up(
        self, timeline: Timeline, ordinal: np.ndarray, region: np.ndarray
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Return (R,) which holiday (-1 for none), what the numbers stand for, (R,) the real."""
        if len(ordinal) == 0:
            return np.zeros(0, np.int64), [], np.zeros(0)
        start, stop = _days(timeline, ordinal, self.daily)
        first, last = int(start.min()), int(stop.max()) + _LOOK_AHEAD
        table, names = _holiday_table(self.regions, first, last)
        if self.daily:
            place = np.arange(table.shape[1])
            ahead = np.where(table >= 0, place, table.shape[1] + _LOOK_AHEAD)
            ahead = np.minimum.accumulate(ahead[:, ::-1], axis=1)[:, ::-1] - place
            day = start - first
            real = np.minimum(ahead, _LOOK_AHEAD)[region, day]
            return table[region, day], names, real.astype(np.float64)
        until = np.zeros((len(table), table.shape[1] + 1), np.int64)
        np.cumsum(table >= 0, axis=1, out=until[:, 1:])
        real = until[region, stop - first] - until[region, start - first]
        return np.full(len(ordinal), -1), names, real.astype(np.float64)


def _without(region: np.ndarray, rows: Rows, series: np.ndarray) -> pd.Index:
    """Return the labels of those of some rows' series (codes) whose place in the regions is -1."""
    return rows.labels[np.unique(series[region[series] < 0])]


def _warn_of_unknown(labels: Sequence[Any] | pd.Index) -> None:
    if len(labels):
        warnings.warn(
            f"holidays: no country is known for series {labels[0]!r} ({len(labels)} series in "
            "all): their holidays count as unknown. Name them in holidays= and fit again.",
            DataWarning,
            stacklevel=4,
        )


@dataclass(frozen=True)
class TimeFunction:
    """A user's function of time as a known variable: standardised numbers, or categories.

    Attributes
    ----------
    name : str
    function : callable
        Takes a DatetimeIndex of the local clock (without zone), or an Index of numbers where the
        times are numbers; returns a number or a text for each. Each value must depend on its own
        time alone.
    vocabulary : Index or None
        The categories seen in training; None for numbers.
    location, scale : float
        Mean and standard deviation over the training steps.
    """

    name: str
    function: Callable[[pd.Index], Any]
    vocabulary: pd.Index | None = None
    location: float = 0.0
    scale: float = 1.0

    def learn(self, times: pd.Index) -> TimeFunction:
        """Learn from the distinct times of the training rows, after checks of the function."""
        values = self._values(times)
        some = self._values(times[::2])
        same = values[::2].reset_index(drop=True)
        if not (same.equals(some) if is_categorical(some) else np.allclose(same, some)):
            raise ValueError(
                f"time_features[{self.name!r}]: expected a function of each time alone, but half "
                "of the times get other values than among all of them. Do not number, shift or "
                "average the times inside it."
            )
        if is_categorical(values):
            kept = list(values.unique())
            with contextlib.suppress(TypeError):
                kept = sorted(kept)
            return replace(self, vocabulary=pd.Index(kept, dtype=object))
        found = values.to_numpy()
        spread = float(found.std())
        mean = float(found.mean())
        flat = spread <= 1e-12 * abs(mean)
        return replace(self, location=mean, scale=1.0 if flat else spread)

    def encode(self, times: pd.Index) -> np.ndarray:
        """Return (T,) float32 numbers or int32 codes (0 for a category not seen) of times."""
        is_real = self.vocabulary is None
        if len(times) == 0:
            return np.zeros(0, np.float32 if is_real else np.int32)
        values = self._values(times)
        if is_categorical(values) == is_real:
            kinds = ("numbers", "categories") if is_real else ("categories", "numbers")
            raise TypeError(
                f"time_features[{self.name!r}]: expected {kinds[0]} as in fit, received {kinds[1]} "
                f"such as {values.iloc[0]!r}."
            )
        if self.vocabulary is None:
            return ((values.to_numpy() - self.location) / self.scale).astype(np.float32)
        return (self.vocabulary.get_indexer(pd.Index(values, dtype=object)) + 1).astype(np.int32)

    def _values(self, times: pd.Index) -> pd.Series:
        """Call the function and check what comes: one finite number or category per time."""
        found = self.function(times)
        where = f"time_features[{self.name!r}]"
        if np.ndim(found) != 1 or len(found) != len(times):
            received = f"shape {np.shape(found)}" if np.ndim(found) else f"{found!r}"
            raise ValueError(
                f"{where}: expected one value for each of {len(times)} times, received {received}."
            )
        values = pd.Series(found).reset_index(drop=True)
        if is_categorical(values):
            bad = values.isna().to_numpy()
        else:
            values = pd.Series(numbers(values, self.name, "time feature"))
            bad = ~np.isfinite(values.to_numpy())
        if bad.any():
            at = int(bad.argmax())
            raise ValueError(
                f"{where}: expected a finite number or a category for every time, received "
                f"{values.tolist()[at]!r} at {times[at]} ({int(bad.sum())} times in all)."
            )
        return values


def holiday_calendar(given: Any, encoder: PanelEncoder) -> HolidayCalendar | None:
    """Read the estimator's ``holidays`` parameter.

    Parameters
    ----------
    given : str, pair, mapping or None
        A country (``"DE"``), with its subdivision (``"US-CA"`` or ``("US", "CA")``); a mapping of
        series labels to countries, None for no holidays; or the name of a static column of
        countries.
    encoder : PanelEncoder
        Fitted; tells the static columns.

    Returns
    -------
    HolidayCalendar or None
        Not yet learned.

    Raises
    ------
    ImportError
        If the ``holidays`` package is missing.
    ValueError
        If a country or subdivision is not known; the message lists near ones.
    """
    if given is None:
        return None
    static = encoder.roles.static_categorical
    if isinstance(given, Mapping):
        # Each country once: a look takes milliseconds, and there may be thousands of series.
        checked: dict[str, Region | None] = {}
        for label, value in given.items():
            if repr(value) not in checked:
                checked[repr(value)] = check_region(value, f" of series {label!r}")
        regions = [checked[repr(value)] for value in given.values()]
        known = list(dict.fromkeys(regions))
        labels = pd.Index(list(given))
        return HolidayCalendar(
            tuple(known), by_label=pd.Series([known.index(region) for region in regions], labels)
        )
    if given in static:
        regions = [
            check_region(value, f" in column {given!r}") for value in encoder.vocabularies[given]
        ]
        known = list(dict.fromkeys(regions)) or [None]
        return HolidayCalendar(
            tuple(known),
            column=static.index(given),
            by_code=np.array([-1, *(known.index(region) for region in regions)]),
        )
    return HolidayCalendar((check_region(given, ""),))


def check_region(value: Any, where: str = "") -> Region | None:
    """Return country and subdivision, after a look whether there are such."""
    if value is None:
        return None
    country, subdivision = value, None
    if isinstance(value, (tuple, list)) and len(value) == 2:
        country, subdivision = value
    elif isinstance(value, str) and "-" in value:
        country, subdivision = value.split("-", 1)
    if not isinstance(country, str) or not isinstance(subdivision, (str, type(None))):
        raise TypeError(
            f"holidays{where}: expected a country such as 'DE', 'US-CA' or ('US', 'CA'), received "
            f"{value!r}."
        )
    package = _package()
    countries = package.list_supported_countries()
    if country not in countries:
        raise ValueError(
            f"holidays{where}: {country!r} is neither a country code nor a static column."
            f"{_near(country, countries, package)}"
        )
    if subdivision is not None:
        try:
            package.country_holidays(country, subdivision)
        except NotImplementedError:
            parts = countries[country]
            known = [*parts, *package.country_holidays(country).subdivisions_aliases]
            near = difflib.get_close_matches(subdivision, known, n=3, cutoff=0.6)
            hint = f" Did you mean one of {near}?" if near else f" Known are {parts[:20]}."
            raise ValueError(
                f"holidays{where}: {subdivision!r} is no subdivision of {country!r} known here."
                f"{hint}"
            ) from None
    return country, subdivision


def _near(country: str, countries: Any, package: Any) -> str:
    """Return a hint at the codes that are spelled, or whose country is called, like ``country``."""
    names = {name.replace("_", " "): codes[1] for name, codes in package.registry.COUNTRIES.items()}
    alike = difflib.get_close_matches(country.lower(), names, n=3, cutoff=0.7)
    codes = [names[name] for name in alike]
    codes += difflib.get_close_matches(country.upper(), countries, n=5, cutoff=0.5)
    return f" Did you mean one of {list(dict.fromkeys(codes))[:5]}?" if codes else ""


def _package() -> Any:
    try:
        import holidays
        import holidays.registry
    except ImportError as error:
        raise ImportError(
            "holidays= needs the package of that name: pip install 'tsfusion[holidays]'."
        ) from error
    return holidays


def _holiday_table(
    regions: tuple[Region | None, ...], first: int, last: int
) -> tuple[np.ndarray, list[str]]:
    """Return (regions, days) the holiday of each day from ``first`` to ``last``, and the names.

    Days count from 1970-01-01; -1 is none. What follows a name in brackets ("observed",
    "estimated") is no other holiday, and of two on one day the first by name counts.
    """
    table = np.full((len(regions), last - first + 1), -1, np.int64)
    numbers: dict[str, int] = {}
    low, high = (np.array([first, last], "datetime64[D]").astype(object)).tolist()
    years = range(low.year, high.year + 1)
    for i, region in enumerate(regions):
        if region is None:
            continue
        # Without a language, the package takes that of the machine.
        found = _package().country_holidays(*region, years=years, language="en_US")
        for day, text in found.items():
            if low <= day <= high:
                name = min(re.sub(r"\s*\([^)]*\)$", "", part) for part in text.split("; "))
                place = (day - low).days
                table[i, place] = numbers.setdefault(name, len(numbers))
    return table, list(numbers)


def calendar_frequency(timeline: Timeline) -> str:
    """Return the frequency for the calendar; where every row is one step, that of days."""
    return "D" if timeline.kind == "rows" else timeline.freq


def _within_a_day(timeline: Timeline) -> bool:
    """Whether a step is a day or less, or a business day."""
    frequency = parse_frequency(calendar_frequency(timeline))
    if frequency.unit in ("sub-hourly", "hourly"):
        return frequency.multiple <= _NANOS_PER_DAY
    return frequency.unit in ("daily", "business") and frequency.multiple == 1


def _days(timeline: Timeline, ordinal: np.ndarray, daily: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the first day of each step and the day after its last, counted from 1970-01-01."""
    values, inverse = np.unique(ordinal, return_inverse=True)
    here = _day_numbers(timeline, values)
    if daily:
        start, stop = here, here + 1
    elif timeline.day_rule == "end":
        start, stop = _day_numbers(timeline, values - 1) + 1, here + 1
    else:
        start, stop = here, _day_numbers(timeline, values + 1)
    return start[inverse], stop[inverse]


def _day_numbers(timeline: Timeline, ordinal: np.ndarray) -> np.ndarray:
    clock = timeline.wall_clock(ordinal)
    assert clock is not None
    return clock.to_numpy().astype("datetime64[D]").astype(np.int64)
