"""Values of Python, NumPy and pandas as JSON and plain arrays, and back, by a fixed table of types.

What JSON says itself stands as it is; anything else is an object of one tag from the table. Nothing
in a file names a class or a function to call.
"""

from __future__ import annotations

import datetime
import hashlib
import zoneinfo
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.panel import CalendarCodes, Units
from tsfusion.data.roles import Roles
from tsfusion.data.scaling import TargetScaler
from tsfusion.data.time_features import HolidayCalendar, TimeFunction
from tsfusion.data.timeline import Timeline, business_periods
from tsfusion.exceptions import FileFormatError
from tsfusion.files.archive import DTYPES
from tsfusion.files.scalars import (
    SCALARS,
    list_of,
    scalar_to_json,
    shown,
    text_of,
    unit_of,
    zone_from_json,
    zone_to_json,
)
from tsfusion.prediction import Fitted

__all__ = ["CLASSES", "Decoder", "Encoder"]

# Values nested deeper are neither written nor read; a level is written as up to three of JSON.
_DEEPEST = 16
_MASKED = {
    f"{sign}{size}": f"{sign}{size}" for sign in ("Int", "UInt") for size in (8, 16, 32, 64)
} | {"Float32": "Float32", "Float64": "Float64", "boolean": "boolean"}
# What pyarrow calls its types, and its functions that make them.
_ARROW = {
    "string": "string", "large_string": "large_string", "bool": "bool_", "float": "float32",
    "double": "float64", **{f"{s}int{n}": f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)},
}  # fmt: skip


class Array(NamedTuple):
    """The type of a field that holds an array."""

    dtype: tuple[str, ...]
    ndim: int


def _array(*dtype: str, ndim: int = 1) -> Array:
    return Array(dtype, ndim)


_REAL = (int, float)
_MAYBE = type(None)
_ZONE = datetime.tzinfo
# Of these, a field may hold any kind.
_BASES = (pd.Index, _ZONE, np.integer)

# The classes of ours that a file may hold: the types of their fields.
CLASSES: dict[str, tuple[type, dict[str, Any]]] = {
    "Roles": (
        Roles,
        {field.name: object for field in fields(Roles)}
        | dict.fromkeys(("series_in_index", "target_in_frame"), bool)
        | dict.fromkeys(("series", "ignored"), tuple)
        | {
            f"{role}_{kind}": tuple
            for role in ("known", "observed", "static")
            for kind in ("real", "categorical")
        },
    ),
    "Timeline": (
        Timeline,
        {
            "kind": str, "freq": (str, int, float), "step": _REAL, "phase": _REAL,
            "tz": (_ZONE, _MAYBE), "local_clock": bool, "day_rule": str, "day": int,
            "time_of_day": int, "is_datetime": bool, "is_integer": bool, "period": (str, _MAYBE),
            "unit": str,
        },
    ),
    "PanelEncoder": (
        PanelEncoder,
        {
            "roles": Roles, "freq": object, "scaler": (str, _MAYBE),
            "max_categories": (int, np.integer, _MAYBE), "timeline": Timeline,
            "boundary": (int, float, _MAYBE), "vocabularies": dict, "location": dict, "scale": dict,
        },
    ),
    "TimeFunction": (
        TimeFunction,
        {"name": str, "vocabulary": (pd.Index, _MAYBE), "location": float, "scale": float},
    ),
    "HolidayCalendar": (
        HolidayCalendar,
        {
            "regions": tuple, "by_label": (pd.Series, _MAYBE), "column": (int, _MAYBE),
            "by_code": (_array("int64"), _MAYBE), "daily": bool, "vocabulary": tuple,
            "location": float, "scale": float,
        },
    ),
    "CalendarCodes": (
        CalendarCodes,
        {
            "names": tuple, "real_names": tuple, "seen": tuple, "functions": tuple,
            "holidays": (HolidayCalendar, _MAYBE),
        },
    ),
    "TargetScaler": (
        TargetScaler,
        {
            "method": object, "by": object, "bounds": object, "labels_": (pd.Index, _MAYBE),
            "parameters_": (_array("float64", ndim=2), _MAYBE),
        },
    ),
    "Units": (
        Units,
        {
            "unit": pd.Series, "typical_unit": float, "typical_level": float,
            "usual_level": float, "scaler": (TargetScaler, _MAYBE),
        },
    ),
    "Fitted": (
        Fitted,
        {
            "encoder": PanelEncoder, "calendar": CalendarCodes, "units": Units,
            "context_length": int, "horizon": int, "levels": tuple, "bounds": tuple,
        },
    ),
    "Rows": (
        Rows,
        {
            "labels": pd.Index, "series": _array("int64"), "ordinal": _array("int64", "float64"),
            "target": _array("float64"), "real": _array("float32", ndim=2),
            "categorical": _array("int32", ndim=2), "weight": _array("float32"),
            "static_real": _array("float32", ndim=2),
            "static_categorical": _array("int32", ndim=2), "row": _array("int64"),
        },
    ),
}  # fmt: skip
_TAG_OF: dict[Any, str] = {cls: tag for tag, (cls, _) in CLASSES.items()}


class Encoder:
    """Writes values as JSON, and arrays beside it.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The arrays written so far; those of equal indices share a name.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[Any, str] = {}

    def encode(self, value: Any, where: str) -> Any:
        """Return a value fit for JSON; raise TypeError, naming ``where``, if there is none."""
        kind: Any = type(value)
        if where.count(".") > _DEEPEST:
            raise TypeError(
                f"{where}: expected a plain value, received one nested more than {_DEEPEST} deep."
            )
        if value is None:
            return value
        if kind is list:
            return self._each(value, where)
        if kind in _CONTAINERS:
            return {_CONTAINERS[kind]: self._each(value, where)}
        if kind is dict:
            pairs = enumerate(value.items())
            return {"dict": [self._each(pair, f"{where}.{i}") for i, pair in pairs]}
        if kind in _TAG_OF:
            return {_TAG_OF[kind]: self._members(value, where)}
        if isinstance(value, pd.Index):
            return {"index": self._index(value, where)}
        if kind is pd.Series:
            data = self._array(value.to_numpy(), where)
            return {"series": [self._index(value.index, f"{where}.index"), data]}
        if kind is np.ndarray:
            return self._ndarray(value, where)
        written = scalar_to_json(value)
        if written is not None:
            return written
        raise TypeError(
            f"{where}: expected a plain value (text, number, time, a list or dict of them), "
            f"received {shown(value)} of type {kind.__module__}.{kind.__qualname__}, which a file "
            "without pickle cannot hold."
        )

    def _each(self, values: Any, where: str) -> list[Any]:
        return [self.encode(value, f"{where}.{i}") for i, value in enumerate(values)]

    def _members(self, value: Any, where: str) -> dict[str, Any]:
        names = CLASSES[_TAG_OF[type(value)]][1]
        # A scaler that is a mere parameter has not been fitted.
        return {
            name: self.encode(getattr(value, name, None), f"{where}.{name.strip('_')}")
            for name in names
        }

    def _array(self, values: np.ndarray, where: str) -> str:
        """Note an array; return its name."""
        name = where.lower()
        while name in self.arrays:
            name += "_"
        self.arrays[name] = values
        return name

    def _shared(self, values: np.ndarray, where: str) -> str:
        """Note an array that may be another's as well: that of an index, which nobody changes."""
        values = np.ascontiguousarray(values)
        digest = hashlib.sha256(values.tobytes()).digest()
        key = (values.dtype.str, values.shape, digest)
        if key not in self._names:
            self._names[key] = self._array(values, where)
        return self._names[key]

    def _ndarray(self, values: np.ndarray, where: str) -> Any:
        if values.ndim in (1, 2) and values.dtype.name in DTYPES:
            return {"array": self._array(values, where)}
        if values.ndim == 1 and values.dtype == object:
            return {"objects": self._each(values.tolist(), where)}
        raise TypeError(
            f"{where}: expected an array of numbers or of objects, received {values.dtype} of "
            f"shape {values.shape}."
        )

    def _index(self, index: pd.Index, where: str) -> dict[str, Any]:
        if isinstance(index, pd.MultiIndex):
            return {
                "levels": [
                    self._index(level, f"{where}.{i}") for i, level in enumerate(index.levels)
                ],
                "codes": [
                    self._shared(np.asarray(codes, np.int64), f"{where}.{i}.codes")
                    for i, codes in enumerate(index.codes)
                ],
                "names": self._each(index.names, where),
            }
        dtype = _dtype_to_json(index.dtype)
        if dtype is None:
            raise TypeError(
                f"{where}: expected labels of text, numbers, times or periods, received the dtype "
                f"{index.dtype}. Convert the column with .astype."
            )
        return {
            "name": self.encode(index.name, where),
            "dtype": dtype,
            "values": self._index_values(index, dtype[0], where),
        }

    def _index_values(self, index: pd.Index, kind: str, where: str) -> Any:
        if kind == "numpy":
            return self._shared(index.to_numpy(), where)
        if kind in ("datetime", "timedelta", "period"):
            return self._shared(index.asi8, where)
        values = index.tolist()
        if kind in ("object", "string") and values and all(type(value) is str for value in values):
            texts = [value.encode("utf-8", "surrogatepass") for value in values]
            ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
            text = np.frombuffer(b"".join(texts), np.uint8)
            return {
                "text": self._shared(text, f"{where}.text"),
                "ends": self._shared(ends, f"{where}.ends"),
            }
        return self._each(values, where)


class Decoder:
    """Reads what an `Encoder` wrote; raises `FileFormatError` at anything else.

    Parameters
    ----------
    arrays : dict of str to ndarray
    functions : dict of str to callable, default=None
        The user's functions of time, which no file holds.

    Attributes
    ----------
    used : set of str
        The arrays that were read.
    """

    def __init__(
        self, arrays: dict[str, np.ndarray], functions: dict[str, Any] | None = None
    ) -> None:
        self.arrays = arrays
        self.functions = functions or {}
        self.used: set[str] = set()

    def decode(self, data: Any, where: str, depth: int = 0) -> Any:
        """Return the value that ``data`` stands for."""
        if depth > 3 * _DEEPEST:
            raise FileFormatError(f"{where}: expected a plain value, received nested lists.")
        if data is None or type(data) in (bool, int, str, float):
            return data
        if type(data) is list:
            return [self.decode(value, where, depth + 1) for value in data]
        if type(data) is not dict or len(data) != 1:
            raise FileFormatError(f"{where}: expected a tagged value, received {shown(data)}.")
        ((tag, content),) = data.items()
        try:
            return self._tagged(tag, content, where, depth + 1)
        except FileFormatError:
            raise
        except _WRONG as error:
            raise FileFormatError(
                f"{where}: expected the content of a {tag}, received {shown(content)} ({error})."
            ) from error

    def expect(self, data: Any, cls: type, where: str) -> Any:
        """Return the value that ``data`` stands for, which must be of one class."""
        value = self.decode(data, where)
        if type(value) is not cls:
            raise FileFormatError(
                f"{where}: expected {cls.__name__}, received {type(value).__name__}."
            )
        return value

    def array(self, name: Any, where: str) -> np.ndarray:
        """Return an array by its name."""
        if type(name) is not str or name not in self.arrays:
            raise FileFormatError(
                f"{where}: expected the name of an array in the file, received {shown(name)}."
            )
        self.used.add(name)
        return self.arrays[name]

    def _tagged(self, tag: str, content: Any, where: str, depth: int) -> Any:
        if tag in CLASSES:
            return self._object(tag, content, where, depth)
        if tag in _MAKERS:
            return _MAKERS[tag](self.decode(list_of(content), where, depth))
        if tag == "dict":
            pairs = [self.decode(list_of(pair, 2), where, depth) for pair in list_of(content)]
            found = dict(pairs)
            if len(found) < len(pairs):
                raise ValueError("a key occurs twice")
            return found
        if tag == "array":
            return self.array(content, where)
        if tag == "objects":
            values = self.decode(list_of(content), where, depth)
            objects = np.empty(len(values), object)
            objects[:] = values
            return objects
        if tag == "index":
            return self._index(content, where, depth)
        if tag == "series":
            index, data = list_of(content, 2)
            return pd.Series(self.array(data, where), self._index(index, where, depth))
        if tag in SCALARS:
            return SCALARS[tag][2](content)
        raise FileFormatError(
            f"{where}: expected one of the types that a file may hold, received {shown(tag)}. A "
            "file names no class or function of its own."
        )

    def _object(self, tag: str, content: Any, where: str, depth: int) -> Any:
        cls, names = CLASSES[tag]
        if type(content) is not dict or set(content) != set(names):
            got = sorted(content) if type(content) is dict else content
            raise FileFormatError(
                f"{where}: expected {tag} of the fields {sorted(names)}, received {shown(got)}."
            )
        values = {}
        for name, kinds in names.items():
            place = f"{where}.{name}"
            values[name] = self.decode(content[name], place, depth)
            _check_type(values[name], kinds, place)
        if cls is TimeFunction:
            return TimeFunction(function=self.functions[values["name"]], **values)
        if cls is PanelEncoder:
            return _make_encoder(values)
        return _make_scaler(values) if cls is TargetScaler else cls(**values)

    def _index(self, content: Any, where: str, depth: int) -> pd.Index:
        if type(content) is dict and set(content) == {"levels", "codes", "names"}:
            return pd.MultiIndex(
                levels=[
                    self._index(level, where, depth + 1) for level in list_of(content["levels"])
                ],
                codes=[self.array(codes, where) for codes in list_of(content["codes"])],
                names=self.decode(list_of(content["names"]), where, depth + 1),
            )
        if type(content) is not dict or set(content) != {"name", "dtype", "values"}:
            raise FileFormatError(f"{where}: expected an index, received {shown(content)}.")
        name = self.decode(content["name"], where, depth + 1)
        kind, *details = list_of(content["dtype"])
        values = content["values"]
        if kind == "numpy":
            data = self.array(values, where)
            if [data.dtype.name] != details or data.ndim != 1:
                raise ValueError(f"an array of {data.dtype} is no index of {details}")
            return pd.Index(data, name=name)
        if kind in ("datetime", "timedelta", "period"):
            data = self.array(values, where)
            if data.dtype != np.int64 or data.ndim != 1:
                raise ValueError(f"an array of {data.dtype} is no {kind}")
            return _times(kind, details, data, name)
        if type(values) is dict:
            listed: list[Any] = self._texts(values, where)
        else:
            listed = self.decode(list_of(values), where, depth + 1)
        return pd.Index(listed, dtype=_dtype_from_json(kind, details), name=name)

    def _texts(self, content: dict[str, Any], where: str) -> list[str]:
        if set(content) != {"text", "ends"}:
            raise FileFormatError(f"{where}: expected texts, received {shown(content)}.")
        text, ends = (self.array(content[name], where) for name in ("text", "ends"))
        starts = np.append(0, ends[:-1])
        wrong = text.dtype != np.uint8 or ends.dtype != np.int64 or text.ndim + ends.ndim != 2
        if wrong or len(ends) == 0 or ends[-1] != len(text) or (ends < starts).any():
            raise FileFormatError(f"{where}: expected texts one after the other, received others.")
        data = text.tobytes()
        return [
            data[start:end].decode("utf-8", "surrogatepass")
            for start, end in zip(starts.tolist(), ends.tolist())
        ]


# What the makers of values raise at contents that are none of theirs.
_WRONG = (
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError, NotImplementedError,
    zoneinfo.ZoneInfoNotFoundError,
)  # fmt: skip
_CONTAINERS = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_MAKERS: dict[str, Callable[[list], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def _check_type(value: Any, kinds: Any, where: str) -> None:
    options = kinds if type(kinds) is tuple else (kinds,)
    for kind in options:
        if isinstance(kind, Array):
            fits = isinstance(value, np.ndarray) and value.ndim == kind.ndim
            if fits and value.dtype.name in kind.dtype:
                return
        elif kind is object or (isinstance(value, kind) if kind in _BASES else type(value) is kind):
            return
    names = " or ".join(
        f"array of {'/'.join(kind.dtype)}" if isinstance(kind, Array) else kind.__name__
        for kind in options
    )
    got = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise FileFormatError(f"{where}: expected {names}, received {got}.")


def _make_encoder(values: dict[str, Any]) -> PanelEncoder:
    encoder = PanelEncoder(values["roles"], values["freq"])
    for name, value in values.items():
        setattr(encoder, name, value)
    return encoder


def _make_scaler(values: dict[str, Any]) -> TargetScaler:
    labels, parameters = values.pop("labels_"), values.pop("parameters_")
    scaler = TargetScaler(**values)
    if parameters is not None:
        parameters.flags.writeable = False
        scaler.labels_, scaler.parameters_ = labels, parameters
    return scaler


def _dtype_to_json(dtype: Any) -> list[Any] | None:
    """Return what kind of values an index holds, or None where there is no kind for it."""
    if isinstance(dtype, pd.StringDtype):
        return ["string", dtype.storage, "NA" if dtype.na_value is pd.NA else "nan"]
    if isinstance(dtype, pd.DatetimeTZDtype):
        zone = zone_to_json(dtype.tz)
        return None if zone is None else ["datetime", dtype.unit, zone]
    if isinstance(dtype, pd.PeriodDtype):
        return ["period", dtype.name.removeprefix("period[").removesuffix("]")]
    if isinstance(dtype, pd.ArrowDtype):
        name = str(dtype.pyarrow_dtype)
        return ["arrow", name] if name in _ARROW else None
    if str(dtype) in _MASKED:
        return ["masked", str(dtype)]
    if not isinstance(dtype, np.dtype):
        return None
    if dtype.kind in "mM":
        unit = np.datetime_data(dtype)[0]
        return ["timedelta", unit] if dtype.kind == "m" else ["datetime", unit, None]
    if dtype.kind == "O":
        return ["object"]
    return ["numpy", dtype.name] if dtype.name in DTYPES else None


def _dtype_from_json(kind: str, details: list[Any]) -> Any:
    if kind == "object" and not details:
        return object
    if kind == "string":
        storage, missing = details
        if storage not in ("python", "pyarrow") or missing not in ("NA", "nan"):
            raise ValueError("no dtype of text")
        try:
            return pd.StringDtype(storage, {"NA": pd.NA, "nan": np.nan}[missing])
        except ImportError:
            return pd.StringDtype("python", {"NA": pd.NA, "nan": np.nan}[missing])
    (name,) = details
    if kind == "masked":
        return _MASKED[name]
    if kind == "arrow":
        import pyarrow as pa

        return pd.ArrowDtype(getattr(pa, _ARROW[name])())
    raise ValueError(f"no dtype {kind!r}")


def _times(kind: str, details: list[Any], data: np.ndarray, name: Any) -> pd.Index:
    if kind == "period":
        (freq,) = details
        with business_periods():
            return pd.PeriodIndex.from_ordinals(data, freq=text_of(freq), name=name)
    unit = unit_of(details[0])
    if kind == "timedelta":
        return pd.TimedeltaIndex(data.view(f"m8[{unit}]"), name=name)
    index = pd.DatetimeIndex(data.view(f"M8[{unit}]"), name=name)
    if details[1] is None:
        return index
    return index.tz_localize("UTC").tz_convert(zone_from_json(details[1]))
