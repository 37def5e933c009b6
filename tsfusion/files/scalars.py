"""Single values as JSON, and back: numbers, times and the like, by a fixed table of types.

Relies on NumPy and pandas. Types come back exactly: 1 is neither 1.0 nor True nor
``numpy.int64(1)``.
"""

from __future__ import annotations

import datetime
import decimal
import math
import pathlib
import reprlib
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.roles import Time
from tsfusion.data.timeline import business_periods
from tsfusion.files.archive import DTYPES

__all__ = [
    "SCALARS",
    "list_of",
    "scalar_from_json",
    "scalar_to_json",
    "shown",
    "text_of",
    "unit_of",
    "zone_from_json",
    "zone_to_json",
]

_UNITS = ("s", "ms", "us", "ns")


def scalar_to_json(value: Any) -> Any:
    """Return a single value fit for JSON, or None where the table has no place for its type.

    What JSON says itself stands as it is; the rest is an object of one tag. (None itself is not a
    case of this function.)
    """
    kind = type(value)
    if kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    for tag, (kinds, to_json, from_json) in SCALARS.items():
        if not isinstance(value, kinds):
            continue
        written = to_json(value)
        # A type that would come back as another is refused, not guessed.
        good = written is not None and (tag in _LOOSE or _same(from_json(written), value))
        return {tag: written} if good else None
    return None


def scalar_from_json(data: Any) -> Any:
    """Return the value that ``data`` stands for; raise one of many errors if it is none."""
    if type(data) in (bool, int, float, str):
        return data
    if type(data) is not dict or len(data) != 1:
        raise ValueError("no single value")
    ((tag, content),) = data.items()
    return SCALARS[tag][2](content)


def _same(back: Any, value: Any) -> bool:
    return back is value or (type(back) is type(value) and bool(back == value))


def shown(value: Any) -> str:
    """Return the beginning of a value's repr, without writing out all of it."""
    return reprlib.repr(value)[:200]


def list_of(data: Any, length: int | None = None) -> list[Any]:
    """Return ``data`` if it is a list, of a length if one is given."""
    if type(data) is not list or length not in (None, len(data)):
        raise ValueError(f"expected a list{'' if length is None else f' of {length}'}")
    return data


def text_of(data: Any) -> str:
    """Return ``data`` if it is text."""
    if type(data) is not str:
        raise TypeError("expected text")
    return data


def whole_of(data: Any) -> int:
    """Return ``data`` if it is an integer."""
    if type(data) is not int:
        raise TypeError("expected an integer")
    return data


def unit_of(data: Any) -> str:
    """Return ``data`` if it is a unit that pandas has."""
    if data not in _UNITS:
        raise ValueError(f"expected one of {_UNITS}")
    return data


def zone_to_json(zone: Any) -> Any:
    """Return a zone's name or its offset in seconds, None where it has neither.

    Zones of pytz come back as those of the standard library.
    """
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if isinstance(name, str):
        return name
    if isinstance(zone, datetime.timezone):
        return zone.utcoffset(None).total_seconds()
    return None


def zone_from_json(data: Any) -> datetime.tzinfo:
    """Return the zone of a name or of an offset in seconds."""
    if type(data) is str:
        try:
            return zoneinfo.ZoneInfo(data)
        except zoneinfo.ZoneInfoNotFoundError as error:
            raise ValueError(
                "no time zone known here; if there is such a zone: pip install --upgrade tzdata"
            ) from error
    if type(data) not in (int, float):
        raise TypeError("expected the name or offset of a time zone")
    if data == 0:
        return datetime.UTC
    return datetime.timezone(datetime.timedelta(seconds=data))


def _numpy_to_json(value: np.generic) -> list[Any] | None:
    dtype: Any = value.dtype
    if dtype.kind in "mM" and np.datetime_data(dtype)[1] == 1:
        kind = "datetime64" if dtype.kind == "M" else "timedelta64"
        return [kind, np.datetime_data(dtype)[0], int(value.astype(np.int64))]
    if dtype.kind == "U":
        return ["str", str(value)]
    if dtype.name not in DTYPES:
        return None
    number = value.item()
    return [dtype.name, repr(number) if dtype.kind == "f" else number]


_NUMPY_UNITS = {"Y", "M", "W", "D", "h", "m", *_UNITS}


def _numpy_from_json(content: Any) -> np.generic:
    name, *details = list_of(content)
    if name in ("datetime64", "timedelta64"):
        unit, number = details
        if unit not in _NUMPY_UNITS:
            raise ValueError("no unit of time")
        return getattr(np, name)(whole_of(number), unit)
    (value,) = details
    if name == "str":
        return np.str_(text_of(value))
    if name == "bool" and type(value) is bool:
        return np.bool_(value)
    if name not in DTYPES:
        raise ValueError("no number of NumPy")
    kind = np.dtype(name).type
    return kind(float(text_of(value)) if name.startswith("float") else whole_of(value))


def _timestamp_to_json(value: pd.Timestamp) -> list[Any] | None:
    zone = None if value.tz is None else zone_to_json(value.tz)
    if value.tz is not None and zone is None:
        return None
    return [int(value.to_datetime64().astype(np.int64)), value.unit, zone]


def _timestamp_from_json(content: Any) -> pd.Timestamp:
    number, unit, zone = list_of(content, 3)
    value = pd.Timestamp(np.int64(whole_of(number)).view(f"M8[{unit_of(unit)}]"))
    if zone is None:
        return value
    return value.tz_localize("UTC").tz_convert(zone_from_json(zone))


def _timedelta_from_json(content: Any) -> pd.Timedelta:
    number, unit = list_of(content, 2)
    return pd.Timedelta(np.int64(whole_of(number)).view(f"m8[{unit_of(unit)}]"))


def _period_from_json(content: Any) -> pd.Period:
    number, freq = list_of(content, 2)
    with business_periods():
        return pd.Period(ordinal=whole_of(number), freq=text_of(freq))


def _interval_to_json(value: pd.Interval) -> list[Any] | None:
    ends = [scalar_to_json(end) for end in (value.left, value.right)]
    return None if None in ends else [*ends, value.closed]


def _interval_from_json(content: Any) -> pd.Interval:
    left, right, closed = list_of(content, 3)
    ends: list[Any] = [scalar_from_json(end) for end in (left, right)]
    return pd.Interval(*ends, closed=closed)


def _datetime_to_json(value: datetime.datetime) -> list[Any] | None:
    zone = None if value.tzinfo is None else zone_to_json(value.tzinfo)
    if value.tzinfo is not None and zone is None:
        return None
    return [value.replace(tzinfo=None).isoformat(), value.fold, zone]


def _datetime_from_json(content: Any) -> datetime.datetime:
    iso, fold, zone = list_of(content, 3)
    value = datetime.datetime.fromisoformat(text_of(iso)).replace(fold=whole_of(fold))
    return value if zone is None else value.replace(tzinfo=zone_from_json(zone))


def _random_to_json(value: np.random.RandomState) -> list[Any] | None:
    name, keys, place, has_gauss, gauss = value.get_state()
    if name != "MT19937":
        return None
    return [np.asarray(keys).tolist(), int(place), int(has_gauss), repr(float(gauss))]


def _random_from_json(content: Any) -> np.random.RandomState:
    keys, place, has_gauss, gauss = list_of(content, 4)
    random = np.random.RandomState(0)
    state = np.array([whole_of(key) for key in list_of(keys, 624)], np.uint32)
    if not 0 <= whole_of(place) <= 624:
        raise ValueError("no state of a random generator")
    random.set_state(("MT19937", state, place, whole_of(has_gauss), float(text_of(gauss))))
    return random


def _offset_from_json(content: Any) -> Any:
    return pd.tseries.frequencies.to_offset(text_of(content))


_MISSING = {"NaT": pd.NaT, "NA": pd.NA}

# Tag: the types that bear it, how they are written (None for one that cannot be) and read.
SCALARS: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "float": (
        (),
        repr,
        lambda content: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content],
    ),
    "missing": (
        (type(pd.NaT), type(pd.NA)),
        lambda value: "NaT" if value is pd.NaT else "NA",
        lambda content: _MISSING[content],
    ),
    "time_of": (Time, lambda value: value.value, Time),
    "numpy": (np.generic, _numpy_to_json, _numpy_from_json),
    "timestamp": (pd.Timestamp, _timestamp_to_json, _timestamp_from_json),
    "timedelta": (
        pd.Timedelta,
        lambda value: [int(value.to_timedelta64().astype(np.int64)), value.unit],
        _timedelta_from_json,
    ),
    "period": (pd.Period, lambda value: [value.ordinal, value.freqstr], _period_from_json),
    "interval": (pd.Interval, _interval_to_json, _interval_from_json),
    "offset": (pd.tseries.offsets.BaseOffset, lambda value: value.freqstr, _offset_from_json),
    "zone": (datetime.tzinfo, zone_to_json, zone_from_json),
    "datetime": (datetime.datetime, _datetime_to_json, _datetime_from_json),
    "date": (
        datetime.date,
        lambda value: value.isoformat(),
        lambda content: datetime.date.fromisoformat(text_of(content)),
    ),
    "time": (
        datetime.time,
        lambda value: None if value.tzinfo else value.isoformat(),
        lambda content: datetime.time.fromisoformat(text_of(content)),
    ),
    "duration": (
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda content: datetime.timedelta(*[whole_of(part) for part in list_of(content, 3)]),
    ),
    "decimal": (decimal.Decimal, str, lambda content: decimal.Decimal(text_of(content))),
    "uuid": (uuid.UUID, str, lambda content: uuid.UUID(text_of(content))),
    "path": (pathlib.PurePath, str, lambda content: pathlib.Path(text_of(content))),
    "bytes": (bytes, bytes.hex, lambda content: bytes.fromhex(text_of(content))),
    "random_state": (np.random.RandomState, _random_to_json, _random_from_json),
}
# Those that do not compare, or may come back as an equal of another class.
_LOOSE = {"random_state", "zone", "numpy"}
