"""Whether what was read from a file fits together, before a network is made of it.

Relies on the classes of ``tsfusion.data``; Keras is imported where the network's weights are asked
for. A value that passes here can neither run code nor lead outside an array.
"""

from __future__ import annotations

import inspect
import math
import threading
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.calendar import calendar_features, parse_frequency
from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.panel import CalendarCodes, Units
from tsfusion.data.scaling import TargetScaler
from tsfusion.data.time_features import (
    HolidayCalendar,
    TimeFunction,
    calendar_frequency,
    check_region,
)
from tsfusion.data.timeline import Timeline
from tsfusion.exceptions import FileFormatError
from tsfusion.files.scalars import shown
from tsfusion.prediction import Fitted

__all__ = ["check_architecture", "check_fitted", "check_rows", "declared_weights", "split_weights"]

_DAY = 86_400_000_000_000  # nanoseconds
# 64 bits of them reach from October 1677 to April 2262, 3507 months either way of 1970.
_MONTH = 2**63 / 3507.5
# A window of a million steps takes more memory than there is, whatever the network.
_MOST_STEPS, _MOST_UNITS = 1 << 20, 1 << 20
_CARDINALITIES = ("past_cardinalities", "future_cardinalities", "static_cardinalities")


def _expect(good: Any, what: str, received: Any) -> None:
    if not good:
        raise FileFormatError(f"expected {what:.400}, received {shown(received)}.")


def _texts(values: Any) -> bool:
    return all(type(value) is str for value in values)


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def check_fitted(fitted: Fitted) -> None:
    """Raise unless the parts of what was learned about the data belong together."""
    for name in ("context_length", "horizon"):
        value = getattr(fitted, name)
        _expect(0 < value <= _MOST_STEPS, f"{name} from 1 to {_MOST_STEPS}", value)
    levels = fitted.levels
    good = levels and all(type(level) is float and 0 < level < 1 for level in levels)
    _expect(good and list(levels) == sorted(set(levels)), "increasing quantile levels", levels)
    pair = fitted.bounds
    good = len(pair) == 2 and all(type(bound) is float for bound in pair) and pair[0] < pair[1]
    _expect(good, "bounds of the target, the first below the second", pair)
    encoder = fitted.encoder
    _check_timeline(encoder.timeline)
    _check_encoder(encoder)
    _check_calendar(fitted.calendar, encoder)
    _check_units(fitted.units)


def _check_timeline(timeline: Timeline) -> None:
    kinds = {"tick": True, "month": True, "business": True, "number": False, "rows": None}
    dates = timeline.is_datetime
    _expect(kinds.get(timeline.kind, not dates) in (dates, None), "a known kind of time", timeline)
    _expect(timeline.day_rule in ("start", "end", "day"), "a known day_rule", timeline.day_rule)
    _expect(timeline.unit in ("s", "ms", "us", "ns"), "a unit of time", timeline.unit)
    _expect(1 <= timeline.day <= 31, "a day of the month", timeline.day)
    _expect(0 <= timeline.time_of_day < _DAY, "a time of the day", timeline.time_of_day)
    _expect(_positive(timeline.step), "a step above 0", timeline.step)
    _expect(math.isfinite(timeline.phase), "a finite phase", timeline.phase)
    if timeline.kind in ("tick", "month", "business"):
        _expect(type(timeline.step) is type(timeline.phase) is int, "whole steps", timeline)
        parse_frequency(timeline.freq)
    if timeline.kind == "number":
        whole = type(timeline.step) is type(timeline.phase) is int
        _expect(whole or not timeline.is_integer, "steps as the numbers of the times", timeline)


def _check_encoder(encoder: PanelEncoder) -> None:
    roles = encoder.roles
    reals = {*roles.observed_real, *roles.known_real, *roles.static_real}
    texts = {*roles.observed_categorical, *roles.known_categorical, *roles.static_categorical}
    _expect(set(encoder.vocabularies) == texts, f"categories of {texts}", encoder.vocabularies)
    for name, vocabulary in encoder.vocabularies.items():
        good = type(vocabulary) is pd.Index and vocabulary.dtype == object and vocabulary.is_unique
        _expect(good, f"categories of {name!r}, each once", vocabulary)
    for learned in (encoder.location, encoder.scale):
        _expect(set(learned) == reals, f"a number for each of {reals}", learned)
        good = all(type(value) is float and math.isfinite(value) for value in learned.values())
        _expect(good, "finite numbers", learned)
    _expect(all(map(_positive, encoder.scale.values())), "scales above 0", encoder.scale)


def _check_calendar(calendar: CalendarCodes, encoder: PanelEncoder) -> None:
    timeline = encoder.timeline
    names: list[str] = []
    reals: list[str] = []
    sizes: tuple[int, ...] = ()
    if timeline.is_datetime:
        features = calendar_features(pd.DatetimeIndex(["2000-01-01"]), calendar_frequency(timeline))
        names, reals = [*features.categorical_names], [*features.real_names]
        sizes = features.cardinalities
    good = len(calendar.seen) == len(sizes) and all(
        isinstance(seen, np.ndarray) and seen.dtype == bool and seen.shape == (size,)
        for seen, size in zip(calendar.seen, sizes)
    )
    _expect(good, f"a calendar of {names}", calendar.seen)
    for one in calendar.functions:
        _expect(type(one) is TimeFunction, "a function of time", one)
        _expect(_positive(one.scale) and math.isfinite(one.location), "a finite scale", one.name)
        if one.vocabulary is not None:
            _expect(one.vocabulary.is_unique, "categories, each once", one.vocabulary)
        (reals if one.vocabulary is None else names).append(one.name)
    if calendar.holidays is not None:
        _check_holidays(calendar.holidays, encoder)
        names += calendar.holidays.names
        reals += calendar.holidays.real_names
    _expect(calendar.names == tuple(names), f"the categories {names} of time", calendar.names)
    _expect(calendar.real_names == tuple(reals), f"the reals {reals} of time", calendar.real_names)


def _check_holidays(holidays: HolidayCalendar, encoder: PanelEncoder) -> None:
    _expect(encoder.timeline.is_datetime, "dates, where there are holidays", encoder.timeline.kind)
    _expect(holidays.regions and _texts(holidays.vocabulary), "names of holidays", holidays)
    _expect(_positive(holidays.scale) and math.isfinite(holidays.location), "a scale", holidays)
    for region in holidays.regions:
        check_region(region)
    places = [] if holidays.by_label is None else [holidays.by_label.to_numpy()]
    if holidays.by_label is not None:
        _expect(holidays.by_label.index.is_unique, "each series once", holidays.by_label)
    _expect((holidays.column is None) == (holidays.by_code is None), "a column", holidays.column)
    if holidays.column is not None and holidays.by_code is not None:
        static = encoder.roles.static_categorical
        _expect(0 <= holidays.column < len(static), "a static column", holidays.column)
        size = len(encoder.vocabularies[static[holidays.column]]) + 1
        _expect(len(holidays.by_code) == size, f"{size} countries", holidays.by_code)
        places.append(holidays.by_code)
    for place in places:
        good = place.dtype == np.int64 and _inside(place, -1, len(holidays.regions))
        _expect(good, f"places among {len(holidays.regions)} countries", place)


def _check_units(units: Units) -> None:
    values = units.unit.to_numpy()
    good = values.dtype == np.float64 and units.unit.index.is_unique
    good = good and np.isfinite(values).all() and (values > 0).all()
    _expect(good, "units above 0 of the series", values)
    _expect(_positive(units.typical_unit), "a unit above 0", units.typical_unit)
    for level in (units.typical_level, units.usual_level):
        _expect(math.isfinite(level), "a finite level", level)
    if units.scaler is not None:
        _check_scaler(units.scaler)


def _check_scaler(scaler: TargetScaler) -> None:
    scaler._validate_params()
    _expect(hasattr(scaler, "parameters_"), "a fitted scaler", scaler)
    rows = len(scaler.labels_) + 1
    _expect(scaler.labels_.is_unique, "each series once", scaler.labels_)
    _expect(scaler.by == "series" or rows == 1, "no series in a scaler of the panel", rows)
    table = scaler.parameters_
    good = table.shape == (rows, 4) and np.isfinite(table).all() and (table[:, [1, 3]] > 0).all()
    _expect(good, f"finite parameters of shape ({rows}, 4)", table)


def _inside(codes: np.ndarray, low: int, stop: int) -> bool:
    return codes.size == 0 or bool(codes.min() >= low and codes.max() < stop)


def check_rows(rows: Rows, fitted: Fitted) -> None:
    """Raise unless the rows in memory are sorted and of the columns that were learned."""
    roles, sizes = fitted.encoder.roles, _sizes(fitted)
    n, s = len(rows.series), len(rows.labels)
    for name in ("ordinal", "target", "real", "categorical", "weight", "row"):
        _expect(len(getattr(rows, name)) == n, f"{n} rows of {name}", len(getattr(rows, name)))
    for name in ("static_real", "static_categorical"):
        _expect(len(getattr(rows, name)) == s, f"{s} series of {name}", len(getattr(rows, name)))
    _expect(rows.labels.is_unique and s > 0, "labels of series, each once", rows.labels)
    _expect(rows.labels.nlevels == max(1, len(roles.series)), "a label per column", rows.labels)
    _expect(_inside(rows.series, 0, s), f"rows of {s} series", rows.series)
    _expect(np.isfinite(rows.ordinal).all(), "finite times", rows.ordinal)
    step = np.diff(rows.series)
    later = rows.ordinal[1:] >= rows.ordinal[:-1]
    _expect(((step > 0) | ((step == 0) & later)).all(), "rows in order of series and time", n)
    for role, reals, codes, widths in (
        ("row", rows.real, rows.categorical, (*sizes["observed"], *sizes["known"])),
        ("series", rows.static_real, rows.static_categorical, sizes["static"]),
    ):
        names = roles.static_real if role == "series" else roles.observed_real + roles.known_real
        _expect(reals.shape[1] == len(names), f"{len(names)} numbers per {role}", reals.shape)
        _expect(codes.shape[1] == len(widths), f"{len(widths)} codes per {role}", codes.shape)
        good = all(_inside(codes[:, i], 0, width) for i, width in enumerate(widths))
        _expect(good, f"codes below {widths}", codes)
    _check_times(rows.ordinal, fitted.encoder.timeline)


def _check_times(ordinal: np.ndarray, timeline: Timeline) -> None:
    """Raise if a time lies out of the range of its numbers, nanoseconds where they are dates."""
    if len(ordinal) == 0:
        return
    since, size = 0, 1.0
    if timeline.kind == "month":
        since, size = 1970 * 12, _MONTH
    elif timeline.kind == "business":
        size = 7 * _DAY / 5
    for end in (float(ordinal.min()), float(ordinal.max())):
        value = (timeline.phase + end * timeline.step - since) * size
        _expect(abs(value) < 2**63, "times in the range of 64 bits", value)
    timeline.times(ordinal[[0, -1]])


def _sizes(fitted: Fitted) -> dict[str, list[int]]:
    """Return how many codes each category column has, by role."""
    roles, vocabularies = fitted.encoder.roles, fitted.encoder.vocabularies
    columns = {
        "observed": roles.observed_categorical,
        "known": roles.known_categorical,
        "static": roles.static_categorical,
    }
    return {
        role: [len(vocabularies[name]) + 1 for name in names] for role, names in columns.items()
    }


def check_architecture(architecture: dict[str, Any], fitted: Fitted) -> None:
    """Raise unless a network of this description reads the windows of these data."""
    from tsfusion.models.factory import NETWORKS

    names = {"architecture", "members", "num_observed", "network"}
    _expect(set(architecture) == names, f"an architecture of {sorted(names)}", architecture)
    network = architecture["network"]
    _expect(architecture["architecture"] in (*NETWORKS,), f"one of {[*NETWORKS]}", architecture)
    _expect(type(network) is dict, "the parameters of a network", network)
    members = architecture["members"]
    _expect(type(members) is int and 1 <= members <= _MOST_UNITS, "members of an ensemble", members)
    kind = NETWORKS[architecture["architecture"]]
    allowed = [
        name
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD and name != "self"
    ]
    for name, value in network.items():
        _expect(name in allowed, f"parameters of {kind.__name__}", name)
        whole = type(value) is not int or 0 <= value <= _MOST_UNITS
        plain = type(value) in (bool, int, float, str, type(None), list)
        _expect(plain and whole, f"a plain value of {name}, up to {_MOST_UNITS}", value)
    for name, value in (*_of_data(fitted).items(), ("long_window", fitted.context_length)):
        if name == "num_observed":
            _expect(architecture[name] == value, f"num_observed={value}", architecture[name])
        elif name in allowed:
            _expect(network.get(name) == value, f"{name}={value}", network.get(name))


def _of_data(fitted: Fitted) -> dict[str, Any]:
    """Return the parameters of a network that follow from the data."""
    roles, calendar, sizes = fitted.encoder.roles, fitted.calendar, _sizes(fitted)
    future = len(roles.known_real) + len(calendar.real_names)
    known = [*sizes["known"], *calendar.cardinalities]
    return {
        "horizon": fitted.horizon,
        "quantiles": list(fitted.levels),
        "num_observed": len(roles.observed_real),
        "num_past_real": 1 + len(roles.observed_real) + future,
        "num_future_real": future,
        "num_static_real": len(roles.static_real),
        "past_cardinalities": [*sizes["observed"], *known],
        "future_cardinalities": known,
        "static_cardinalities": sizes["static"],
    }


def declared_weights(architecture: dict[str, Any]) -> list[tuple[str, tuple[int, ...], str]]:
    """Return the path, shape and dtype of each weight of a network, without making it.

    In a stateless scope, a variable of Keras is its shape and dtype, and takes no memory. Keras
    keeps a list of such variables for each thread, to make them later; that of a thread of its own
    goes with the thread.
    """
    import keras

    from tsfusion.models.factory import make_model
    from tsfusion.training.fit import seeded

    found: list[Any] = []

    def declare() -> None:
        try:
            with keras.StatelessScope(initialize_variables=False):
                weights = make_model({**architecture, "members": 1}).weights
                found.extend((w.path, tuple(w.shape), str(w.dtype)) for w in weights)
        except Exception as error:
            found.append(error)

    with seeded(0):
        thread = threading.Thread(target=declare)
        thread.start()
        thread.join()
    if found and isinstance(found[-1], Exception):
        raise found[-1]
    return found


def split_weights(
    architecture: dict[str, Any], listed: Any, values: np.ndarray
) -> list[np.ndarray]:
    """Return the weights one by one, after a comparison with those that the network declares.

    Parameters
    ----------
    architecture : dict
        Of the network.
    listed : list of [str, list of int]
        Path and shape of each weight in the file.
    values : ndarray of float32, shape (P,)
        All weights one after the other.
    """
    _expect(values.dtype == np.float32 and values.ndim == 1, "weights of float32", values.dtype)
    members = architecture["members"]
    _expect(type(listed) is list and len(listed) % members == 0, "a list of weights", listed)
    declared, count = declared_weights(architecture), len(listed)
    _expect(
        count == members * len(declared), f"{members} networks of {len(declared)} weights", count
    )
    ensemble = [
        (path if members == 1 else path.replace("/network/", f"/network/network_{i}/", 1), shape)
        for i in range(members)
        for path, shape, dtype in declared
    ]
    for (path, shape), given in zip(ensemble, listed):
        _expect(given == [path, [*shape]], f"the weight {path} of shape {shape}", given)
    sizes = [math.prod(shape) for _, shape in ensemble]
    _expect(sum(sizes) == len(values), f"{sum(sizes)} weights", len(values))
    parts = np.split(values, np.cumsum(sizes[:-1]))
    return [part.reshape(shape) for part, (_, shape) in zip(parts, ensemble)]
