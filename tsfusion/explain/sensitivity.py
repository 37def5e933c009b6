"""How far forecasts move when a variable is that of another window; relies on prediction and Keras.

A variable is exchanged in the inputs of the network, after the window's own scaling.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from tsfusion.data.encoder import Rows
from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, evenly_spaced, gather
from tsfusion.explain.attribution import run_in_chunks, steps_asked
from tsfusion.explain.donors import first_steps, whole_windows
from tsfusion.explain.parts import Part
from tsfusion.prediction import Fitted

__all__ = ["CHANGED_WINDOWS", "Changes", "Others", "lag_changes", "sensitivity"]

# Windows that sensitivities are measured on if nothing else is asked for: each takes a pass for
# every variable. And windows that are run at a time for it.
CHANGED_WINDOWS, _CHANGED = 64, 512
# Fewer pairs of windows say little: then each window is changed several times.
_PAIRS = 16
# Series, evenly spaced, whose training windows stand in for others.
_SERIES = 32

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Changes:
    """Windows whose inputs can be exchanged.

    Attributes
    ----------
    inputs : dict of ndarray (W, ...)
        Of the network.
    median : ndarray, shape (W, H)
        What it gave, in units of each window, from the last known target.
    asked : ndarray of bool, shape (W, H)
        The steps that are explained.
    first : ndarray of int64, shape (W,)
        The number of the first step to forecast.
    level : int
        The place of the median among the quantiles.
    """

    inputs: Inputs
    median: np.ndarray
    asked: np.ndarray
    first: np.ndarray
    level: int

    @classmethod
    def of(cls, fitted: Fitted, part: Part, inputs: Inputs, quantiles: np.ndarray) -> Changes:
        """Keep what the network was given and gave, (W, H, Q)."""
        asked = steps_asked(len(part.windows), fitted.horizon, part.window, part.step)
        median = quantiles[:, :, fitted.median]
        return cls(inputs, median, asked, first_steps(part.panel, part.windows), fitted.median)

    @classmethod
    def joined(cls, parts: list[Changes]) -> Changes:
        """Return the windows of all."""
        inputs = {key: np.concatenate([of.inputs[key] for of in parts]) for key in parts[0].inputs}
        return cls(
            inputs,
            np.concatenate([of.median for of in parts]),
            np.concatenate([of.asked for of in parts]),
            np.concatenate([of.first for of in parts]),
            parts[0].level,
        )

    def __len__(self) -> int:
        return len(self.first)

    def take(self, index: np.ndarray) -> Changes:
        """Return some of the windows."""
        return Changes(
            {key: value[index] for key, value in self.inputs.items()},
            self.median[index], self.asked[index], self.first[index], self.level,
        )  # fmt: skip

    def thinned(self, most: int | None) -> Changes:
        """Return at most so many windows, evenly spaced; few of them several times."""
        index = np.arange(len(self))
        if most is not None and len(index) > most:
            index = evenly_spaced(len(index), most)
        return self.take(np.repeat(index, -(-_PAIRS // max(len(index), 1))))

    def moved(self, network: Any, inputs: Inputs) -> np.ndarray:
        """Return (N, W, H) how far the median moves by changed inputs (N * W, ...)."""
        # By the function that is compiled already, with the attention.
        found = run_in_chunks(network, inputs, only="quantiles", return_attention=True)
        found = found[:, :, self.level] + _anchor(inputs)
        base = self.median + _anchor(self.inputs)
        return np.abs(found.reshape(-1, *base.shape) - base)


@dataclass(frozen=True)
class Others:
    """Training windows whose variables stand in for those of the windows explained.

    Attributes
    ----------
    fitted : Fitted
    model : keras.Model
    panel : Panel
        Of some series of the known history.
    windows : WindowIndex
        In order of time.
    first : ndarray of int64
        The number of their first step to forecast; increasing.
    """

    fitted: Fitted
    model: Any
    panel: Panel
    windows: WindowIndex
    first: np.ndarray

    @classmethod
    def of(cls, fitted: Fitted, model: Any, memory: Rows) -> Others:
        """Find windows in some series of the known history, evenly spaced."""
        series = np.flatnonzero(memory.counts())
        series = series[evenly_spaced(len(series), _SERIES)]
        panel = fitted.panel(memory.of_series(series).only(series))
        windows = whole_windows(fitted, panel)
        first = first_steps(panel, windows)
        order = np.argsort(first, kind="stable")
        return cls(fitted, model, panel, windows.take(order), first[order])

    def __len__(self) -> int:
        return len(self.windows)

    def inputs(self, first: np.ndarray) -> Inputs:
        """Return network inputs (W, ...) of other windows, spread evenly over time.

        What all series have in common at a time would seem to move nothing, were it taken from
        another series at the same time: that is avoided, as long as there is another time.
        """
        size, count = len(self), len(first)
        place = (np.arange(count) * size // count + size // (2 * count)) % size
        place = np.random.default_rng(0).permutation(place)
        place = np.where(self.first[place] == first, (place + size // 2) % size, place)
        batch = gather(
            self.panel, self.windows.take(place), context_length=self.fitted.context_length,
            horizon=self.fitted.horizon,
        )  # fmt: skip
        inputs, _, _ = self.model.to_network(batch)
        return {key: ops.convert_to_numpy(value) for key, value in inputs.items()}


def sensitivity(
    network: Any, changes: Changes, parts: dict[Any, list[tuple[str, int]]], others: Others, *,
    most: int | None,
) -> dict[Any, float] | None:  # fmt: skip
    """Return each variable's share of the change when it is taken from a training window.

    Parameters
    ----------
    network : keras.Model
    changes : Changes
    parts : dict
        The inputs and columns of each variable.
    others : Others
    most : int or None
        Windows to change, evenly spaced; None for all.

    Returns
    -------
    dict or None
        Of the mean absolute change of the steps explained; they sum to 1. None where the known
        history has no window to take a variable from.
    """
    if len(others) == 0 or len(changes) == 0:
        return None
    changes = changes.thinned(most)
    size, other = len(changes), others.inputs(changes.first)
    names = list(parts)
    per_pass = max(1, _CHANGED // size)
    found: dict[Any, float] = {}
    for start in range(0, len(names), per_pass):
        some = names[start : start + per_pass]
        changed = {
            key: np.repeat(value[None], len(some), axis=0) for key, value in changes.inputs.items()
        }
        for place, name in enumerate(some):
            for key, i in parts[name]:
                changed[key][place, ..., i] = other[key][..., i]
        changed = {key: value.reshape(-1, *value.shape[2:]) for key, value in changed.items()}
        moved = changes.moved(network, changed)[:, changes.asked]
        found |= dict(zip(some, moved.mean(axis=1, dtype=np.float64).tolist()))
    total = sum(found.values()) or 1.0
    return {name: value / total for name, value in found.items()}


def lag_changes(
    network: Any, changes: Changes, parts: Iterable[tuple[str, int]], others: Others
) -> np.ndarray:
    """Return (T, H) the mean absolute change when one past value is that of a training window.

    NaN for steps that are not explained.
    """
    context = changes.inputs["past_real"].shape[1]
    result = np.full((context, changes.asked.shape[1]), np.nan)
    if len(others) == 0 or len(changes) == 0:
        return result
    changes = changes.thinned(None)
    other = others.inputs(changes.first)
    count = changes.asked.sum(axis=0)
    key, i = next(part for part in parts if part[0].startswith("past"))
    original = changes.inputs[key]
    for past in range(context):
        values = original.copy()
        values[:, past, i] = other[key][:, past, i]
        moved = changes.moved(network, {**changes.inputs, key: values})[0]
        total = np.where(changes.asked, moved, 0).sum(axis=0)
        result[past] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


def _anchor(inputs: Inputs) -> np.ndarray:
    """Return (W, 1) the last known scaled target, to which the network's output is added."""
    target = inputs["past_real"][..., 0]
    known = np.isfinite(target)
    last = target.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    value = target[np.arange(len(target)), last]
    return np.where(known.any(axis=1), value, 0)[:, None]
