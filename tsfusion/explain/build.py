"""From windows and a trained model to an `Explanation`; relies on prediction and on Keras."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from tsfusion.data.encoder import Rows
from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, gather, training_windows
from tsfusion.exceptions import DataWarning
from tsfusion.explain.explanation import Branch, Explanation
from tsfusion.prediction import Fitted, RowPlan

__all__ = ["explain_history", "explain_rows"]

_CHUNK = 64


class _View(keras.Model):
    """A network that hands out its attention; holds no weight of its own."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="view")
        self.network = network

    def build(self, input_shape: Any = None) -> None:
        """Nothing to build: the network is."""
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return quantiles, attention and selection weights."""
        return self.network(inputs, training=False, return_attention=True)


def explain_history(
    fitted: Fitted, model: Any, memory: Rows, max_windows: int, lags_of: list[Any]
) -> Explanation:
    """Explain whole horizons at cutoffs spread evenly over the known history."""
    panel = fitted.panel(memory)
    windows = training_windows(
        panel, None, context_length=fitted.context_length, horizon=fitted.horizon
    )
    if len(windows) == 0:
        raise ValueError(
            "Nothing to explain: no series has two known targets. Pass X, or history in context=."
        )
    full = windows.origin - panel.offsets[windows.series] >= fitted.context_length
    windows = (windows.take(full) if full.any() else windows).thinned(max_windows)
    window = np.repeat(np.arange(len(windows)), fitted.horizon)
    step = np.tile(np.arange(1, fitted.horizon + 1), len(windows))
    inside = windows.origin[window] + step - 1 < panel.offsets[windows.series[window] + 1]
    return _explain(fitted, model, panel, windows, window[inside], step[inside], None, lags_of)


def explain_rows(
    fitted: Fitted, model: Any, plan: RowPlan, max_windows: int, lags_of: list[Any]
) -> Explanation:
    """Explain the forecasts of given rows."""
    past = plan.step > fitted.horizon
    if past.any():
        raise ValueError(
            f"explain: {int(past.sum())} rows lie past the horizon of {fitted.horizon} steps; what "
            "is rolled forward rests on forecasts and cannot be explained. Leave them out."
        )
    windows, window, step = plan.windows, plan.window, plan.step
    if len(windows) > max_windows:
        chosen = np.linspace(0, len(windows) - 1, max_windows).round().astype(np.int64)
        warnings.warn(
            f"explain: {len(windows)} windows asked for, {max_windows} of them explained, evenly "
            "spaced. Pass max_windows= for more.",
            DataWarning,
            stacklevel=3,
        )
        place = np.full(len(windows), -1)
        place[chosen] = np.arange(max_windows)
        kept = place[window] >= 0
        windows, window, step = windows.take(chosen), place[window[kept]], step[kept]
        known = (plan.real[kept], plan.categorical[kept])
    else:
        known = (plan.real, plan.categorical)
    return _explain(fitted, model, plan.panel, windows, window, step, known, lags_of)


def _explain(
    fitted: Fitted, model: Any, panel: Panel, windows: WindowIndex, window: np.ndarray,
    step: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None, lags_of: list[Any],
) -> Explanation:  # fmt: skip
    batch = gather(panel, windows, context_length=fitted.context_length, horizon=fitted.horizon)
    if known is not None:
        for name, values in zip(("future_real", "future_categorical"), known):
            if name in batch:
                batch[name][window, step - 1] = values
    variables = _Variables.of(fitted, panel)
    variables.check_past(lags_of)
    inputs, loc, scale = _scale(model, batch)
    outputs = _in_chunks(_View(model.network), inputs)
    series = windows.series
    median = outputs["quantiles"][:, :, fitted.median] * scale[:, :, 0] + loc[:, :, 0]
    median = fitted.in_user_units(panel, series, median)
    times = _times(fitted, panel, windows)
    context = fitted.context_length
    return Explanation(
        series_names=fitted.encoder.roles.series,
        series_labels=panel.labels[series],
        cutoffs=times[1],
        window=window,
        step=step,
        target_times=times[0][window * (context + fitted.horizon) + context + step - 1],
        source_times=times[0],
        branches=_branches(model.network, outputs, context, window, step),
        context_length=context,
        weights=variables.weights(outputs, batch),
        roles=variables.roles,
        sensitivity_shares=_sensitivity(fitted, model.network, inputs, outputs, variables),
        median=median[window, step - 1],
        lag_changes={
            name: _lag_change(fitted, model.network, inputs, outputs, variables, name, window, step)
            for name in lags_of
        },
    )


def _branches(
    network: Any, outputs: dict, context: int, window: np.ndarray, step: np.ndarray
) -> tuple[Branch, ...]:
    """Return the attention of each explained forecast, and the steps that it could look at."""

    def branch(name: str, scores: np.ndarray, first: np.ndarray, last: np.ndarray) -> Branch:
        return Branch(name, scores[window, :, step - 1], first, last)

    if "attention" in outputs:
        scores = outputs["attention"]
        steps = np.arange(scores.shape[-1]) - context
        return (branch("all", scores, steps, steps),)
    short, spans = outputs["short_attention"], network.token_spans() - context
    steps = np.arange(-short.shape[-1], 0)
    return (
        branch("short", short, steps, steps),
        branch("long", outputs["long_attention"], spans[:, 0], spans[:, 1] - 1),
    )


def _scale(model: Any, batch: dict[str, np.ndarray]) -> tuple[dict, np.ndarray, np.ndarray]:
    """Return the network's own inputs, and level and spread of each window."""
    past, loc, scale = model.scaled(batch)
    inputs = {key: value for key, value in batch.items() if key != "fallback_loc"}
    inputs["past_real"] = ops.convert_to_numpy(past)
    return inputs, ops.convert_to_numpy(loc), ops.convert_to_numpy(scale)


def _in_chunks(model: Any, inputs: dict[str, np.ndarray]) -> Any:
    """Predict by chunks of one size (the last is padded), so that one shape is compiled."""
    size = len(inputs["past_real"])
    parts = []
    for first in range(0, size, _CHUNK):
        part = {key: value[first : first + _CHUNK] for key, value in inputs.items()}
        short = _CHUNK - len(part["past_real"])
        if short:
            part = {k: np.concatenate([v, np.repeat(v[:1], short, 0)]) for k, v in part.items()}
        parts.append(model.predict_on_batch(part))
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts])[:size] for key in parts[0]}
    return np.concatenate(parts)[:size]


def _times(fitted: Fitted, panel: Panel, windows: WindowIndex) -> tuple[pd.Index, pd.Index]:
    """Return the times of all W * K steps of the windows, and their cutoffs."""
    timeline = fitted.encoder.timeline
    position = np.arange(-fitted.context_length, fitted.horizon)
    rows = windows.origin[:, None] + position
    low = panel.offsets[windows.series][:, None]
    high = panel.offsets[windows.series + 1][:, None] - 1
    if timeline.is_regular:
        anchor = np.clip(windows.origin, low[:, 0], high[:, 0])
        ordinal = panel.ordinal[anchor][:, None] + (rows - anchor[:, None])
    else:
        # Steps before the first row have no time of their own; their weight is 0.
        ordinal = panel.ordinal[np.clip(rows, low, high)]
    times = timeline.times(ordinal.reshape(-1))
    cutoff = np.arange(len(windows)) * len(position) + fitted.context_length - 1
    return times, times[cutoff]


class _Variables:
    """Names and places of the network's variables in the user's terms."""

    def __init__(self, past: list, future: list, static: list, roles: dict, parts: dict) -> None:
        self.past, self.future, self.static = past, future, static
        self.roles = roles
        self.parts = parts

    @classmethod
    def of(cls, fitted: Fitted, panel: Panel) -> _Variables:
        """List them: reals first, then categories, as in the selection weights."""
        roles, calendar = fitted.encoder.roles, fitted.calendar
        target = roles.target
        role: dict[Any, str] = {target: "target"}
        role |= dict.fromkeys(roles.observed, "observed") | dict.fromkeys(roles.known, "known")
        role |= dict.fromkeys([*calendar.names, *calendar.real_names], "calendar")
        role |= dict.fromkeys(roles.static, "static")
        future_real = [*roles.known_real, *calendar.real_names]
        future_categorical = [*roles.known_categorical, *calendar.names]
        past_real = [target, *roles.observed_real, *future_real]
        past_categorical = [*roles.observed_categorical, *future_categorical]
        parts: dict[Any, list[tuple[str, int]]] = {name: [] for name in role}
        for key, names in (
            ("past_real", past_real), ("past_categorical", past_categorical),
            ("future_real", future_real), ("future_categorical", future_categorical),
            ("static_real", roles.static_real), ("static_categorical", roles.static_categorical),
        ):  # fmt: skip
            for i, name in enumerate(names):
                parts[name].append((key, i))
        return cls(
            [*past_real, *past_categorical],
            [*future_real, *future_categorical],
            [*roles.static_real, *roles.static_categorical],
            role,
            parts,
        )

    def check_past(self, names: list[Any]) -> None:
        """Raise if a variable has no past."""
        for name in names:
            if name not in self.past:
                raise ValueError(
                    f"lags_of: expected variables with a past, of {self.past}, received {name!r}."
                )

    def weights(self, outputs: dict, batch: dict) -> dict[str, pd.DataFrame]:
        """Return selection weights (W, V) per block, averaged over the steps that have any."""
        result = {}
        for block, names in (("past", self.past), ("future", self.future), ("static", self.static)):
            weight = outputs.get(f"{block}_selection")
            if weight is None:
                continue
            if weight.ndim == 3:
                counted = (weight.sum(-1, keepdims=True) > 0).astype(np.float32)
                if block == "past":
                    counted = counted * batch["past_mask"][:, -weight.shape[1] :, None]
                total = np.maximum(counted.sum(axis=1), 1)
                weight = (weight * counted).sum(axis=1) / total
            result[block] = pd.DataFrame(weight, columns=pd.Index(names, dtype=object))
        return result


def _anchor(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return (W, 1) the last known scaled target, to which the network's output is added."""
    target = inputs["past_real"][..., 0]
    known = np.isfinite(target)
    last = target.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    value = target[np.arange(len(target)), last]
    return np.where(known.any(axis=1), value, 0)[:, None]


def _median(fitted: Fitted, inputs: dict[str, np.ndarray], quantiles: np.ndarray) -> np.ndarray:
    """Return (W, H) the median forecast in units of each window."""
    return quantiles[:, :, fitted.median] + _anchor(inputs)


def _sensitivity(
    fitted: Fitted, network: Any, inputs: dict, outputs: dict, variables: _Variables
) -> dict[Any, float] | None:
    """Return each variable's share of the change when it is taken from another window.

    The donor is the window half the list away: another series or another season, never itself.
    """
    size = len(inputs["past_real"])
    if size < 2:
        return None
    donor = np.roll(np.arange(size), size // 2)
    base = _median(fitted, inputs, outputs["quantiles"])
    change = {}
    for name, parts in variables.parts.items():
        changed = dict(inputs)
        for key, i in parts:
            values = changed[key].copy()
            values[..., i] = values[donor][..., i]
            changed[key] = values
        moved = _median(fitted, changed, _in_chunks(network, changed))
        change[name] = float(np.abs(moved - base).mean())
    total = sum(change.values()) or 1.0
    return {name: value / total for name, value in change.items()}


def _lag_change(
    fitted: Fitted, network: Any, inputs: dict, outputs: dict, variables: _Variables, name: Any,
    window: np.ndarray, step: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return (T, H) mean absolute change over windows when one past value comes from a donor."""
    size, context = inputs["past_real"].shape[:2]
    asked = np.zeros((size, fitted.horizon), bool)
    asked[window, step - 1] = True
    count = asked.sum(axis=0)
    result = np.full((context, fitted.horizon), np.nan)
    if size < 2:
        return result
    donor = np.roll(np.arange(size), size // 2)
    base = _median(fitted, inputs, outputs["quantiles"])
    key, i = next(part for part in variables.parts[name] if part[0].startswith("past"))
    original = inputs[key]
    for past in range(context):
        values = original.copy()
        values[:, past, i] = original[donor, past, i]
        changed = {**inputs, key: values}
        moved = _median(fitted, changed, _in_chunks(network, changed))
        change = np.where(asked, np.abs(moved - base), 0).sum(axis=0)
        result[past] = np.where(count > 0, change / np.maximum(count, 1), np.nan)
    return result
