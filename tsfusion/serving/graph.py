"""The graph of a forecaster in TensorFlow: from the user's units through the network and back.

Numbers stay float64 up to the network, as in `predict`: a level of 1e9 costs no precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tsfusion.components._recurrence import looped_by
from tsfusion.data.scaling import TargetScaler
from tsfusion.data.windows import CONSTANT, TINY
from tsfusion.quantiles import interpolate_quantiles, mean_of_quantiles
from tsfusion.serving.contract import Column, Contract, minute_width

__all__ = ["Graph"]

# Days from 0000-03-01, where the years of this count begin, to 1970-01-01.
_EPOCH = 719_468
_DAY = 86_400
_SMALL_POWER = 1e-9
_LARGEST = float(np.finfo(np.float64).max)


class Graph:
    """Inputs of a contract to ``quantiles (B, H, Q)`` and ``mean (B, H)`` in units of the target.

    Parameters
    ----------
    contract : Contract
    model : keras.Model
        The network.
    """

    def __init__(self, contract: Contract, model: Any) -> None:
        self._contract = contract
        self._model = model

    def save(self, folder: str) -> None:
        """Write a SavedModel whose signature ``serving_default`` is the graph."""
        module = tf.Module(name="tsfusion")
        # Keras' models bring graphs of their own; of this one TensorFlow is shown the variables.
        module.weights = [variable.value for variable in self._model.variables]
        tf.saved_model.save(module, folder, signatures={"serving_default": self.traced()})

    def traced(self) -> Any:
        """Return the graph as a concrete function of named inputs, the batch size open."""
        specs = {
            name: tf.TensorSpec(shape, dtype, name=name)
            for name, (shape, dtype) in self._contract.inputs().items()
        }

        def forecast(**inputs: Any) -> dict[str, Any]:
            return self._forecast(inputs)

        with looped_by(_scan):
            return tf.function(forecast, autograph=False).get_concrete_function(**specs)

    def _forecast(self, inputs: dict[str, Any]) -> dict[str, Any]:
        contract = self._contract
        fitted = contract.fitted
        code = inputs.get("series")
        if code is None:
            code = tf.ones_like(inputs["past_target"][:, 0], tf.int32)
        scaling = _Scaling(fitted.units.scaler, contract, code)
        unit = _by_series(contract, fitted.units.of(contract.series), fitted.units.typical_unit)
        unit = tf.gather(unit, _place(contract, code))[:, None]
        unknown = _by_series(contract, fitted.units.unknown(contract.series).astype(float), 1.0)
        unknown = tf.gather(unknown, _place(contract, code)) > 0
        target = scaling.forward(inputs["past_target"])
        typical = fitted.units.typical_level
        offset = _first_known(target, typical)
        # TensorFlow rounds a logarithm by its place in the array: of equal targets, the scaled ones
        # may differ in the last digit, which would be all the spread of a constant series.
        as_first = inputs["past_target"] == _first_known(inputs["past_target"], np.nan)
        past = tf.where(as_first, tf.zeros_like(target), (target - offset) / unit)
        window = self._window(inputs, past)
        window["fallback_loc"] = tf.cast((typical - offset) / unit, tf.float32)[:, 0]
        usual = fitted.units.usual_level
        spread = _own_spread(past, (offset / unit)[:, 0], (usual / unit)[:, 0])
        window["fallback_scale"] = tf.where(unknown, tf.cast(spread, tf.float32), 1.0)
        values = tf.cast(self._model(window, training=False), tf.float64)
        eye = np.eye(len(fitted.levels))
        asked = tf.matmul(values, interpolate_quantiles(eye, fitted.levels, contract.quantiles))
        offset, unit = offset[:, :, None], unit[:, :, None]
        weights = mean_of_quantiles(eye, fitted.levels)

        def restored(values: Any) -> Any:
            found = scaling.inverse(offset + unit * values)
            least, most = fitted.bounds
            return tf.clip_by_value(found, least, most) if fitted.is_bounded else found

        mean = tf.reduce_sum(restored(values) * weights, axis=-1)
        return {"quantiles": restored(asked), "mean": mean}

    def _window(self, inputs: dict[str, Any], target: Any) -> dict[str, Any]:
        """Return the network's inputs; ``target`` (B, T) is in its units, NaN where unknown."""
        contract = self._contract
        known = tf.math.is_finite(target)
        window: dict[str, Any] = {}
        for role in ("past", "future", "static"):
            real = self._reals(role, inputs)
            codes = self._codes(role, inputs)
            if role == "past":
                known = self._anything_known(known, real, codes)
            made: tuple[Any, Any] = (None, None)
            if role != "static" and contract.clock:
                made = self._calendar(inputs[f"{role}_time"])
            own = [target[..., None]] if role == "past" else []
            for kind, blocks, calendar in (
                ("real", real, made[0]),
                ("categorical", codes, made[1]),
            ):
                # As `predict` has it, the calendar stands before what functions and holidays add.
                parts = [blocks[0], calendar, blocks[1]]
                parts = [part for part in parts if part is not None]
                if kind == "real":
                    parts = [tf.cast(part, tf.float32) for part in own + parts]
                if parts:
                    window[f"{role}_{kind}"] = tf.concat(parts, axis=-1)
        window["past_mask"] = known
        return window

    def _reals(self, role: str, inputs: dict[str, Any]) -> tuple[Any, Any]:
        """Return scaled numbers: the user's columns, and those made of times; None for none."""
        columns = self._contract.block(role, real=True)
        if not columns:
            return None, None
        location = np.array([column.location for column in columns])
        scale = np.array([column.scale for column in columns])
        return _parted((inputs[f"{role}_real"] - location) / scale, columns)

    def _codes(self, role: str, inputs: dict[str, Any]) -> tuple[Any, Any]:
        """Return codes in the same way, 0 where there is no such category."""
        columns = self._contract.block(role, real=False)
        if not columns:
            return None, None
        given = inputs[f"{role}_categorical"]
        sizes = np.array([len(column.categories or ()) for column in columns], np.int32)
        inside = (given >= 0) & (given <= sizes)
        return _parted(tf.where(inside, given, tf.zeros_like(given)), columns)

    def _anything_known(self, known: Any, real: tuple[Any, Any], codes: tuple[Any, Any]) -> Any:
        """Return (B, T) whether the target or anything observed is known."""
        observed = self._contract.observed
        reals = sum(column.categories is None for column in observed)
        if reals:
            known |= tf.reduce_any(tf.math.is_finite(real[0][..., :reals]), axis=-1)
        if len(observed) > reals:
            known |= tf.reduce_any(codes[0][..., : len(observed) - reals] > 0, axis=-1)
        return known

    def _calendar(self, seconds: Any) -> tuple[Any, Any]:
        """Return (B, T, K) numbers and (B, T, C) codes of times, None where there are none."""
        contract = self._contract
        calendar = contract.fitted.calendar
        clock = _Clock(seconds)
        n_real, n_codes = contract.n_calendar
        real = [clock.real(name) for name in calendar.real_names[:n_real]]
        codes = []
        width = minute_width(contract.fitted)
        for name, seen in zip(calendar.names[:n_codes], calendar.seen):
            table = np.where(seen, np.arange(1, len(seen) + 1), 0).astype(np.int32)
            place = tf.clip_by_value(clock.code(name, width), 0, len(seen) - 1)
            codes.append(tf.gather(table, place))
        return (
            tf.stack(real, axis=-1) if real else None,
            tf.stack(codes, axis=-1) if codes else None,
        )


def _parted(values: Any, columns: tuple[Column, ...]) -> tuple[Any, Any]:
    """Return the user's own columns and those made of times, None for none."""
    own = sum(column.source == "column" for column in columns)
    return (
        values[..., :own] if own else None,
        values[..., own:] if own < len(columns) else None,
    )


class _Clock:
    """Fields of times given in seconds since 1970, as pandas gives them.

    Year, month and day by the count of days in eras of 400 years from 0000-03-01 (H. Hinnant,
    "chrono-Compatible Low-Level Date Algorithms"). All numbers are positive, so that a runtime
    that cuts towards zero divides alike.
    """

    def __init__(self, seconds: Any) -> None:
        # What stands for no time (pandas' least integer) becomes some time.
        seconds = tf.maximum(seconds, -_EPOCH * _DAY) + _EPOCH * _DAY
        day = seconds // _DAY
        self.second = seconds - day * _DAY
        era = day // 146_097
        of_era = day - era * 146_097
        year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
        since_march = of_era - (365 * year + year // 4 - year // 100)
        months = (5 * since_march + 2) // 153
        self.day = since_march - (153 * months + 2) // 5 + 1
        self.month = tf.where(months < 10, months + 3, months - 9)
        year = year + era * 400 + tf.cast(self.month <= 2, tf.int64)
        fourth, hundredth = year - year // 4 * 4 == 0, year - year // 100 * 100 == 0
        leap = fourth & (~hundredth | (year - year // 400 * 400 == 0))
        self.leap = tf.cast(leap, tf.int64)
        shifted = day + (3 - _EPOCH) % 7
        self.day_of_week = shifted - shifted // 7 * 7

    def code(self, name: str, minute_width: int) -> Any:
        """Return (B, T) a category of the calendar, from 0."""
        hour = self.second // 3600
        made: dict[str, Callable[[], Any]] = {
            "minute_of_hour": lambda: (self.second - hour * 3600) // 60 // minute_width,
            "hour": lambda: hour,
            "day_of_week": lambda: self.day_of_week,
            "month": lambda: self.month - 1,
            "quarter": lambda: (self.month - 1) // 3,
        }
        return made[name]()

    def real(self, name: str) -> Any:
        """Return (B, T) a sine or cosine of the calendar."""
        cycle, wave = name.rsplit("_", 1)
        position = self._position(cycle)
        return {"sin": tf.sin, "cos": tf.cos}[wave](2 * np.pi * position)

    def _position(self, cycle: str) -> Any:
        if cycle == "day_of_month":
            lengths = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
            february = tf.cast(self.month == 2, tf.int64)
            length = tf.gather(lengths, self.month - 1) + february * self.leap
            return _float(self.day - 1) / _float(length)
        before = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])
        gone = tf.gather(before, self.month - 1) + self.day - 1
        gone = gone + self.leap * tf.cast(self.month > 2, tf.int64)
        share = _float(gone) / _float(365 + self.leap)
        return {"day_of_year": share, "week_of_year": share, "week_of_year_twice": 2 * share}[cycle]


class _Scaling:
    """The target's scaler, with the parameters of each window's series."""

    def __init__(self, scaler: TargetScaler | None, contract: Contract, code: Any) -> None:
        self.method = None if scaler is None else scaler.method
        if scaler is None:
            return
        table = scaler.parameters_[-1:]
        if scaler.by == "series":
            table = scaler.parameters_[scaler.labels_.get_indexer(contract.series)]
            table = np.concatenate([scaler.parameters_[-1:], table])
            table = tf.gather(tf.constant(table), _place(contract, code))
        else:
            table = tf.constant(table)
        self.power, self.unit, self.location, self.spread = (table[:, i] for i in range(4))

    def forward(self, y: Any) -> Any:
        """Return z of targets (B, T)."""
        if self.method is None:
            return y
        power, unit, location, spread = self._shaped(y)
        if self.method == "log1p":
            g = tf.math.log(1 + y)
        elif self.method == "box-cox":
            g = _powered(tf.math.log(y / unit), power)
        elif self.method == "yeo-johnson":
            power = tf.where(y < 0, 2 - power, power)
            g = tf.sign(y) * _powered(tf.math.log(1 + tf.abs(y)), power)
        else:
            g = y
        return (g - location) / spread

    def inverse(self, z: Any) -> Any:
        """Return y of values (B, H, Q)."""
        if self.method is None:
            return z
        power, unit, location, spread = self._shaped(z)
        g = z * spread + location
        if self.method == "log1p":
            y = tf.exp(g) - 1
        elif self.method == "box-cox":
            y = tf.exp(_log_of_inverse(g, power)) * unit
        elif self.method == "yeo-johnson":
            power = tf.where(g < 0, 2 - power, power)
            y = tf.sign(g) * (tf.exp(_log_of_inverse(tf.abs(g), power)) - 1)
        else:
            return g
        return tf.minimum(tf.maximum(y, -_LARGEST), _LARGEST)

    def _shaped(self, values: Any) -> list[Any]:
        axes = [1] * (len(values.shape) - 1)
        return [
            tf.reshape(part, [-1, *axes])
            for part in (self.power, self.unit, self.location, self.spread)
        ]


def _powered(log_y: Any, power: Any) -> Any:
    """Return (y^p - 1) / p of log y; log y itself at power 0."""
    straight = tf.abs(power) < _SMALL_POWER
    safe = tf.where(straight, tf.ones_like(power), power)
    return tf.where(straight, log_y, (tf.exp(safe * log_y) - 1) / safe)


def _log_of_inverse(g: Any, power: Any) -> Any:
    """Return log(1 + power * g) / power, or the nearest that exists, as the scaler has it."""
    straight = tf.abs(power) < _SMALL_POWER
    safe = tf.where(straight, tf.ones_like(power), power)
    edge = tf.where(safe < 0, tf.fill(tf.shape(safe), tf.constant(1e-12 - 1, tf.float64)), -1.0)
    return tf.where(straight, g, tf.math.log(1 + tf.maximum(safe * g, edge)) / safe)


def _place(contract: Contract, code: Any) -> Any:
    """Return the row of a table by series: 0 for a series that was not in training."""
    inside = (code >= 0) & (code <= len(contract.series))
    return tf.where(inside, code, tf.zeros_like(code))


def _by_series(contract: Contract, values: np.ndarray, typical: float) -> Any:
    return tf.constant(np.append(typical, values).astype(np.float64))


def _own_spread(past: Any, zero: Any, usual: Any) -> Any:
    """Return (B,) what `tsfusion.data.windows.fallback_scale` makes of windows (B, T)."""
    # It takes the window as the network sees it.
    past = _float(tf.cast(past, tf.float32))
    known = tf.math.is_finite(past)
    one, none = tf.ones_like(zero), tf.zeros_like(past)
    values = tf.where(known, past, none)
    count = tf.maximum(tf.reduce_sum(_float(known), axis=1), one)
    mean = tf.reduce_sum(values, axis=1) / count
    away = tf.where(known, values - mean[:, None], none)
    spread = tf.sqrt(tf.reduce_sum(away * away, axis=1) / count)
    level = tf.abs(zero + mean)
    lower = (level > 0) & (usual > level)
    share = tf.where(lower, level / tf.maximum(usual, TINY), one)
    equal = spread <= CONSTANT * tf.reduce_max(tf.abs(values), axis=1)
    own = tf.pow(tf.where(equal, one, spread), (count - 1) / count)
    own = tf.where(equal, tf.maximum(share, TINY) / count, own)
    return tf.where(count < 2, one, own)


def _first_known(values: Any, default: float) -> Any:
    """Return (B, 1) the first known of values (B, T), or the default."""
    known = tf.math.is_finite(values)
    steps = values.shape[1]
    left = tf.where(known, np.arange(steps, 0, -1, dtype=np.int32)[None], 0)
    most = tf.reduce_max(left, axis=1, keepdims=True)
    first = tf.where(known & (left == most), values, tf.zeros_like(values))
    first = tf.reduce_sum(first, axis=1, keepdims=True)
    return tf.where(most > 0, first, default)


def _float(values: Any) -> Any:
    return tf.cast(values, tf.float64)


def _scan(step: Callable[..., Any], start: Any, xs: Any) -> Any:
    """Loop as ``ops.scan``, with a state of plain tensors, which every format has a loop for."""
    length = xs[0].shape[0]
    rows = [tf.TensorArray(x.dtype, length, element_shape=x.shape[1:]).unstack(x) for x in xs]
    made = [tf.TensorArray(part.dtype, length, element_shape=part.shape) for part in start]

    def body(i: Any, state: Any, made: Any) -> Any:
        state, outputs = step(state, tuple(row.read(i) for row in rows))
        return i + 1, state, tuple(array.write(i, y) for array, y in zip(made, outputs))

    _, state, made = tf.while_loop(
        lambda i, state, made: i < length, body, (tf.constant(0), tuple(start), tuple(made))
    )
    return state, tuple(array.stack() for array in made)
