"""Which column plays which part: time, series, target, known, observed, static.

Relies on pandas. `resolve_roles` reads the user's parameters against the training frame.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.frames import is_numeric_objects

__all__ = ["INDEX", "Roles", "Time", "check_result_columns", "resolve_roles"]


class Time(Enum):
    """Where times are that no column holds; not a text, which would be the name of a column."""

    INDEX = "index"


INDEX = Time.INDEX


@dataclass(frozen=True)
class Roles:
    """The resolved roles; reals and categories apart, in the order of the frame's columns."""

    time: Any
    """A column name, ``INDEX``, or None where rows are simply in order."""
    time_label: Any
    """The name that the time has in frames that we return."""
    series: tuple[Any, ...]
    series_in_index: bool
    target: Any
    target_in_frame: bool
    weight: Any
    known_real: tuple[Any, ...]
    known_categorical: tuple[Any, ...]
    observed_real: tuple[Any, ...]
    observed_categorical: tuple[Any, ...]
    static_real: tuple[Any, ...]
    static_categorical: tuple[Any, ...]
    ignored: tuple[Any, ...] = ()
    """Columns without a role, where ``known`` was given."""

    @property
    def known(self) -> tuple[Any, ...]:
        """Columns whose future is known."""
        return self.known_real + self.known_categorical

    @property
    def observed(self) -> tuple[Any, ...]:
        """Columns known up to the cutoff only."""
        return self.observed_real + self.observed_categorical

    @property
    def static(self) -> tuple[Any, ...]:
        """Columns with one value per series."""
        return self.static_real + self.static_categorical


def missing_column(name: Any, parameter: str, columns: Any) -> ValueError:
    """Describe a column that is not there, with the likeliest slip."""
    names = [str(column) for column in columns]
    near = [column for column in names if column.split("__", 1)[-1] == str(name)]
    near = near or difflib.get_close_matches(str(name), names, n=1, cutoff=0.7)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(
        f"{parameter}: expected a column of X, received {name!r}, which is not there.{hint} "
        f"The columns are {names[:20]}{' ...' if len(names) > 20 else ''}."
    )


def check_result_columns(names: Iterable[Any], own: Iterable[Any], parameter: str = "X") -> None:
    """Raise if a column of the panel would stand in a result under the name of another column."""
    taken = set(own)
    for name in names:
        if name in taken:
            raise ValueError(
                f"{parameter}: the result has a column {name!r} of its own: "
                "rename that of the panel."
            )


def _names(value: Any, parameter: str, frame: pd.DataFrame) -> list[Any]:
    """Return the column names that a list, a name or a column selector stands for."""
    if value is None:
        return []
    if callable(value):
        return list(value(frame))
    many = isinstance(value, (list, tuple, set, frozenset, pd.Index, pd.Series, np.ndarray))
    # With several rows of column names, a tuple may be the name of one column.
    if isinstance(value, tuple) and isinstance(frame.columns, pd.MultiIndex):
        many = value not in frame.columns
    return [_one(name, parameter, frame) for name in dict.fromkeys(value if many else [value])]


def _one(value: Any, parameter: str, frame: pd.DataFrame) -> Any:
    if isinstance(value, (list, set, dict, pd.Index, pd.Series, np.ndarray)):
        raise TypeError(f"{parameter}: expected the name of one column, received {value!r}.")
    if value is not None and value not in frame.columns:
        raise missing_column(value, parameter, frame.columns)
    return value


def _means_index(time: Any) -> bool:
    """Whether ``time=`` asks for the index; a column of that name comes first."""
    return isinstance(time, str) and time == INDEX.value


def _find_time(time: Any, frame: pd.DataFrame, used: set[Any]) -> Any:
    """Return the time column, ``INDEX`` or None, by rule R1."""
    if time is INDEX:
        return INDEX
    if time is not None:
        if _means_index(time) and INDEX.value not in frame.columns:
            return INDEX
        if _means_index(time) and not isinstance(frame.index, pd.RangeIndex):
            raise ValueError(
                "time='index': expected one place for the times, received an index of "
                f"{frame.index.dtype} and a column 'index'. Rename the column, or reset the index."
            )
        return _one(time, "time", frame)
    index = frame.index
    last = index.get_level_values(-1) if isinstance(index, pd.MultiIndex) else index
    if isinstance(last, (pd.DatetimeIndex, pd.PeriodIndex)):
        return INDEX
    candidates = [
        column for column in frame.columns if column not in used and _is_time(frame[column])
    ]
    if len(candidates) > 1:
        raise ValueError(
            f"time: {len(candidates)} columns hold datetimes ({candidates}), which one is the time "
            f"axis? Pass time={candidates[0]!r} and drop or convert the others."
        )
    if candidates:
        return candidates[0]
    if isinstance(index, pd.MultiIndex):
        if pd.api.types.is_numeric_dtype(last.dtype):
            return INDEX
        raise ValueError(
            f"time: the last level of the MultiIndex holds {last.dtype}, expected datetimes, "
            "periods or numbers. Put the time last and convert it, or pass time= with a column."
        )
    return None


def is_categorical(column: pd.Series) -> bool:
    """Whether a column is to be encoded as categories rather than read as numbers."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return True
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return False
    if pd.api.types.is_object_dtype(dtype):
        return not is_numeric_objects(column)
    return pd.api.types.is_string_dtype(dtype)


def _kind(column: pd.Series) -> str:
    """Return what a column holds: its type or, of Python objects, theirs."""
    if pd.api.types.is_object_dtype(column.dtype):
        return pd.api.types.infer_dtype(column, skipna=True)
    return str(column.dtype)


def _holds_times(column: pd.Series) -> bool:
    """Whether a column holds dates, periods or durations, of whatever type."""
    dtype = column.dtype
    if pd.api.types.is_object_dtype(dtype):
        return _kind(column) in ("date", "datetime", "datetime64", "period", "timedelta")
    is_date = pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype)
    return is_date or getattr(dtype, "kind", "O") == "m"


def _is_time(column: pd.Series) -> bool:
    """Whether a column holds dates or periods, of whatever type."""
    return _holds_times(column) and "timedelta" not in _kind(column)


def _split(columns: list[Any], role: str, frame: pd.DataFrame) -> tuple[tuple, tuple]:
    """Part columns into numbers and categories; refuse dates."""
    real: list[Any] = []
    categorical: list[Any] = []
    for name in columns:
        if _holds_times(frame[name]):
            raise TypeError(
                f"{role.capitalize()} column {name!r}: expected numbers or categories, received "
                f"{_kind(frame[name])}. Turn it into a number first, such as the days since an "
                "event, or leave it out."
            )
        (categorical if is_categorical(frame[name]) else real).append(name)
    return tuple(real), tuple(categorical)


def _owners(groups: dict[str, list[Any]], selected: set[str]) -> dict[Any, str]:
    """Return the role of each column.

    What a selector (role in ``selected``) finds yields to names that were written out, and a
    selector of known columns to every other, as ``known=None`` does.
    """
    owners: dict[Any, str] = {}
    for role in sorted(groups, key=lambda role: (role in selected, role == "known")):
        for name in groups[role]:
            owner = owners.setdefault(name, role)
            if owner == role or (role in selected and (role == "known" or owner not in selected)):
                continue
            raise ValueError(
                f"Column {name!r} is named as {owner} and as {role}: a column has one role."
            )
    return owners


def resolve_roles(
    frame: pd.DataFrame,
    *,
    time: Any = None,
    series: Any = None,
    target: Any = None,
    known: Any = None,
    observed: Any = None,
    static: Any = None,
    weight: Any = None,
    y_name: Any = None,
    y_given: bool = False,
) -> Roles:
    """Read the parameters that name columns against the training frame.

    Returns
    -------
    Roles

    Raises
    ------
    ValueError
        If a named column is not there, one column has two roles, there is no target, or the time
        column is ambiguous.
    TypeError
        If a feature column holds dates.
    """
    if not y_given and target is None:
        raise ValueError(
            "No target: expected y, or target= with the name of a column of X. "
            "requires y to be passed, but the target y is None."
        )
    index = frame.index
    series_in_index = False
    if (
        series is None
        and isinstance(index, pd.MultiIndex)
        and (time is None or time is INDEX or _means_index(time))
    ):
        series_names = list(index.names[:-1])
        series_in_index = True
        unnamed = [f"level_{i}" if name is None else name for i, name in enumerate(series_names)]
        series_names = unnamed
    else:
        series_names = _names(series, "series", frame)
    weight = _one(weight, "weight", frame)
    if not y_given:
        _one(target, "target", frame)
    if target is None and isinstance(y_name, str) and y_name in frame.columns:
        # y is also a column of X: as a known column it would tell the network the answer.
        target = y_name
    target_in_frame = target is not None and target in frame.columns
    chosen = {"observed": observed, "static": static, "known": known}
    lists = {
        "observed": _names(observed, "observed", frame),
        "static": _names(static, "static", frame),
        "known": _names(known, "known", frame),
    }
    selected = {role for role, value in chosen.items() if callable(value)}
    used: set[Any] = {
        name for role, listed in lists.items() if role not in selected for name in listed
    }
    if not series_in_index:
        used |= set(series_names)
    used |= {name for name in (weight, target) if name is not None}
    time = _find_time(time, frame, used)
    if time is None and series_names:
        raise ValueError(
            f"time: expected a time column for the series of {series_names}, found none: without "
            "one, the rows are the steps of a single series in their order. Pass time=, and "
            "convert text with pd.to_datetime."
        )
    singles = {
        "time": [] if time is None or time is INDEX else [time],
        "series": [] if series_in_index else series_names,
        "target": [target] if target_in_frame else [],
        "weight": [] if weight is None else [weight],
    }
    owners = _owners({**singles, **lists}, selected)
    for role in lists:
        lists[role] = [name for name in lists[role] if owners[name] == role]
    rest = [name for name in frame.columns if name not in owners]
    if known is None:
        lists["known"], rest = rest, []
    known_real, known_categorical = _split(lists["known"], "known", frame)
    observed_real, observed_categorical = _split(lists["observed"], "observed", frame)
    static_real, static_categorical = _split(lists["static"], "static", frame)
    if time is INDEX:
        last_name = index.names[-1]
        time_label = "time" if last_name is None else last_name
    else:
        time_label = "step" if time is None else time
    if target is None:
        target = "target" if y_name is None else y_name
    return Roles(
        time=time,
        time_label=time_label,
        series=tuple(series_names),
        series_in_index=series_in_index,
        target=target,
        target_in_frame=target_in_frame,
        weight=weight,
        known_real=known_real,
        known_categorical=known_categorical,
        observed_real=observed_real,
        observed_categorical=observed_categorical,
        static_real=static_real,
        static_categorical=static_categorical,
        ignored=tuple(rest),
    )
