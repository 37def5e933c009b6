"""Which inputs moved a forecast away from a baseline, and how far; relies on NumPy and Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex
from tsfusion.explain.donors import Batch, Donors
from tsfusion.explain.gradients import padded, runner, slopes
from tsfusion.prediction import Fitted

__all__ = ["Attribution", "Task", "attribute", "level_weights", "run_in_chunks"]

# Samples in one pass through the network; memory is bounded by it.
_PASSES = 256
# Points of the Gauss-Legendre rule on a piece of a line; with the two ends, eight samples.
_NODES = 6
_SAMPLES = _NODES + 2
# A piece that does not add up is halved, so many times at most: a network may be next to a step.
_HALVINGS = 7
# Share of the typical distance from forecast to baseline up to which a line adds up: half of the
# 1 % that is promised. The errors of several lines to one forecast have different signs.
_TOLERANCE = 0.005


@dataclass(frozen=True)
class Attribution:
    """Attributions of E forecasts to the cells of their windows, in units of the target.

    Attributes
    ----------
    values : dict of ndarray of float32
        ``past_real`` (E, T, Vp), ``past_categorical`` (E, T, Cp), ``future_real`` (E, H, Vf),
        ``future_categorical`` (E, H, Cf), ``static_real`` (E, Vs), ``static_categorical`` (E, Cs);
        keys of width zero are left out.
    forecast, baseline : ndarray of float64, shape (E,)
        What was forecast, and the mean forecast of the baselines.
    residual : ndarray of float64, shape (E,)
        ``forecast - baseline`` less the sum of the values.
    """

    values: dict[str, np.ndarray]
    forecast: np.ndarray
    baseline: np.ndarray
    residual: np.ndarray

    def __repr__(self) -> str:
        return f"Attribution({len(self.forecast)} forecasts, of {', '.join(self.values)})"


@dataclass(frozen=True)
class Task:
    """Forecasts to explain: a window, a step and one quantile for each.

    Attributes
    ----------
    fitted : Fitted
    model : keras.Model
        From the batch to (B, H, Q) in network units.
    panel : Panel
    windows : WindowIndex
        W of them.
    batch : dict of ndarray
        Their inputs.
    window, step : ndarray of int, shape (E,)
        The window and the step (from 1) of each forecast.
    weights : ndarray of float64, shape (Q,)
        The quantile as a sum of the trained ones; see `level_weights`.
    """

    fitted: Fitted
    model: Any
    panel: Panel
    windows: WindowIndex
    batch: Batch
    window: np.ndarray
    step: np.ndarray
    weights: np.ndarray

    def in_user_units(self, entry: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return network values (R,) of forecasts ``entry`` (R,) in the user's units."""
        series = self.windows.series[self.window[entry]]
        return self.fitted.in_user_units(self.panel, series, values[:, None])[:, 0]

    def slope_of_units(self, entry: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return (R,) the user's units to a network unit, at network values (R,)."""
        if self.fitted.units.scaler is None:
            return self.panel.unit[self.windows.series[self.window[entry]]]
        ahead = self.in_user_units(entry, values + 1e-4)
        return (ahead - self.in_user_units(entry, values - 1e-4)) / 2e-4

    def forecasts(self, inputs: Batch) -> np.ndarray:
        """Return (B, H) the quantile asked for, in network units."""
        return run_in_chunks(self.model, inputs).astype(np.float64) @ self.weights


def level_weights(levels: tuple[float, ...], quantile: float) -> np.ndarray:
    """Return (Q,) how much each trained quantile counts in the one asked for.

    Examples
    --------
    >>> level_weights((0.1, 0.5, 0.9), 0.5).tolist()
    [0.0, 1.0, 0.0]
    """
    from tsfusion.quantiles import interpolate_quantiles

    return interpolate_quantiles(np.eye(len(levels)), levels, [quantile])[:, 0]


def run_in_chunks(
    model: Any, inputs: Batch, *, size: int = 64, times: int = 1, **options: Any
) -> Any:
    """Run a model by chunks of one size (the last is padded), so that one shape is compiled.

    Parameters
    ----------
    model : keras.Model
    inputs : dict of ndarray (B, ...)
    size : int, default=64
        Windows in a chunk.
    times : int, default=1
        How often this will be done with the same model; see `runner`.
    **options
        Passed to the model's call.

    Returns
    -------
    ndarray or dict of ndarray
        What the model gives for all B.
    """
    total = len(inputs["past_real"])
    run = runner(model, calls=times * -(-total // size), **options)
    parts = []
    for first in range(0, total, size):
        part = {name: value[first : first + size] for name, value in inputs.items()}
        parts.append(run(padded(part, size)))
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts])[:total] for name in parts[0]}
    return np.concatenate(parts)[:total]


def attribute(task: Task, donors: Donors, count: int, rng: np.random.Generator) -> Attribution:
    r"""Attribute forecasts to the cells of their windows by integrated gradients.

    With the forecast :math:`F` of a quantile at one step in the user's units, the window :math:`x`
    and baselines :math:`b_1 \dots b_K` (training windows of the same phase, `Donors`):

    .. math::

        A_i = \frac{1}{K} \sum_k (x_i - b_{ki}) \int_0^1
        \frac{\partial F}{\partial x_i}(b_k + \alpha (x - b_k)) \, d\alpha, \qquad
        \sum_i A_i = F(x) - \frac{1}{K} \sum_k F(b_k)

    A real cell moves along the values before the window's own scaling, which is differentiated
    through: level, spread and last value of the target are functions of the target's cells. A
    category moves along the line between the embeddings of its two codes. An unknown cell is
    unknown in the baselines too, and gets nothing. The integral is a Gauss-Legendre sum of six
    points; a piece of a line whose sum is not yet the difference of its ends is halved.

    Parameters
    ----------
    task : Task
        E forecasts of W windows.
    donors : Donors
        Where the baselines come from.
    count : int
        Baselines per window, K.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    Attribution

    References
    ----------
    Sundararajan, Taly and Yan (2017), "Axiomatic Attribution for Deep Networks", ICML, equation 1.
    Erion et al. (2021), "Improving performance of deep learning models with axiomatic attribution
    priors and expected gradients", Nature Machine Intelligence 3, equation 3, for many baselines.
    """
    chosen = donors.choose(task.panel, task.windows, count, rng)
    baselines = donors.batch(task.panel, task.windows, task.batch, chosen)
    size = len(task.window)
    entry, k = np.repeat(np.arange(size), count), np.tile(np.arange(count), size)
    own = task.window[entry]
    lines = _Lines(task, baselines, entry, own, own * count + k)
    at = task.step[entry] - 1
    ends = task.forecasts(task.batch)[own, at], task.forecasts(baselines)[lines.other, at]
    end, start = (task.in_user_units(entry, values) for values in ends)
    distance = end - start
    tolerance = _TOLERANCE * float(np.abs(distance).mean())
    values = {
        name: np.zeros((size, *value.shape[1:]), np.float32)
        for name, value in task.batch.items()
        if name.endswith(("_real", "_categorical"))
    }
    pieces = _Pieces(np.arange(len(entry)), np.zeros(len(entry)), np.ones(len(entry)))
    for left in reversed(range(_HALVINGS + 1)):
        pieces = lines.integrate(pieces, tolerance if left else np.inf, values, 1 / count)
    mean = start.reshape(size, count).mean(axis=1)
    total = sum(value.reshape(size, -1).sum(axis=1, dtype=np.float64) for value in values.values())
    forecast = end[::count]
    return Attribution(values, forecast, mean, forecast - mean - total)


@dataclass(frozen=True)
class _Pieces:
    """Pieces of lines: the line (P,), and from where to where (P,) in [0, 1]."""

    line: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return len(self.line)

    def take(self, index: Any) -> _Pieces:
        return _Pieces(self.line[index], self.low[index], self.high[index])

    def halved(self) -> _Pieces:
        middle = (self.low + self.high) / 2
        return _Pieces(
            np.repeat(self.line, 2),
            np.stack([self.low, middle], axis=1).reshape(-1),
            np.stack([middle, self.high], axis=1).reshape(-1),
        )


@dataclass(frozen=True)
class _Lines:
    """Lines from baselines to windows, one for each forecast and baseline.

    ``entry``, ``own`` and ``other`` (L,) are the forecast, its window and its baseline.
    """

    task: Task
    baselines: Batch
    entry: np.ndarray
    own: np.ndarray
    other: np.ndarray

    def integrate(
        self, pieces: _Pieces, tolerance: float, values: dict[str, np.ndarray], share: float
    ) -> _Pieces:
        """Add ``share`` of the integrals along pieces to ``values``; return halves of the others.

        Those are the pieces whose sum is further than ``tolerance`` from the difference of their
        ends (less for a shorter piece).
        """
        if len(pieces) == 0:
            return pieces
        per_pass = _PASSES // _SAMPLES
        reals = [name for name in values if name.endswith("_real")]
        roles = [name.split("_")[0] for name in values if name.endswith("_categorical")]
        names = [*reals, *(f"{role}_share" for role in roles)]
        run = slopes(self.task.model, names, calls=-(-len(pieces) // per_pass))
        failed = []
        for first in range(0, len(pieces), per_pass):
            some = pieces.take(slice(first, first + per_pass))
            parts, total, difference = self._integrals(some, run, values, roles)
            width = some.high - some.low
            good = np.abs(total - difference) <= tolerance * np.sqrt(width)
            for name, part in parts.items():
                np.add.at(values[name], self.entry[some.line[good]], share * part[good])
            failed.append(first + np.flatnonzero(~good))
        return pieces.take(np.concatenate(failed)).halved()

    def _integrals(
        self, pieces: _Pieces, run: Any, values: dict[str, np.ndarray], roles: list[str]
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return the integrals (P, ...) of each input, their sums and the differences (P,)."""
        points, weights = np.polynomial.legendre.leggauss(_NODES)
        points = np.concatenate([[0.0], (points + 1) / 2, [1.0]])
        weights = np.concatenate([[0.0], weights / 2, [0.0]])
        width = (pieces.high - pieces.low)[:, None]
        place = pieces.low[:, None] + width * points
        x, b = self._ends(pieces.line)
        inputs = self._along(x, b, place.reshape(-1), roles)
        inputs = padded({**inputs, "weights": self._weights(pieces.line)}, _PASSES)
        weighted = inputs.pop("weights")
        height, found = run(inputs, weighted)
        rows = len(pieces) * _SAMPLES
        height = height[:rows].astype(np.float64)
        entry = np.repeat(self.entry[pieces.line], _SAMPLES)
        factor = self.task.slope_of_units(entry, height).reshape(place.shape) * width * weights
        parts = {}
        for name in values:
            role, kind = name.split("_")
            slope = found[name if kind == "real" else f"{role}_share"][:rows]
            moved = x[name] - b[name] if kind == "real" else x[name] != b[name]
            # What is unknown did not move; its slope may be NaN.
            still = ~np.isfinite(moved) | (moved == 0)
            slope = slope.reshape(*place.shape, *slope.shape[1:])
            mean = np.einsum("pn,pn...->p...", factor, slope)
            parts[name] = np.where(still, 0, mean * np.where(still, 0, moved))
        total = sum(part.reshape(len(pieces), -1).sum(axis=1) for part in parts.values())
        ends = self.task.in_user_units(entry, height).reshape(place.shape)
        return parts, total, ends[:, -1] - ends[:, 0]

    def _ends(self, lines: np.ndarray) -> tuple[Batch, Batch]:
        own, other = self.own[lines], self.other[lines]
        return (
            {name: value[own] for name, value in self.task.batch.items()},
            {name: value[other] for name, value in self.baselines.items()},
        )

    def _along(self, x: Batch, b: Batch, share: np.ndarray, roles: list[str]) -> Batch:
        """Return the inputs at places ``share`` (P * samples,) of the lines."""
        result = {}
        for name, value in x.items():
            result[name] = np.repeat(value, _SAMPLES, axis=0)
            if name.endswith("_real"):
                line = share.reshape(-1, *[1] * (value.ndim - 1)).astype(np.float32)
                start = np.repeat(b[name], _SAMPLES, axis=0)
                result[name] = start + line * (result[name] - start)
        for role in roles:
            codes = result[f"{role}_categorical"]
            result[f"{role}_reference"] = np.repeat(b[f"{role}_categorical"], _SAMPLES, axis=0)
            line = share.reshape(-1, *[1] * (codes.ndim - 1)).astype(np.float32)
            result[f"{role}_share"] = np.broadcast_to(line, codes.shape).copy()
        return result

    def _weights(self, lines: np.ndarray) -> np.ndarray:
        """Return (L * samples, H, Q) which output of each sample is meant."""
        step = np.repeat(self.task.step[self.entry[lines]] - 1, _SAMPLES)
        horizon, levels = self.task.fitted.horizon, len(self.task.weights)
        weights = np.zeros((len(step), horizon, levels), np.float32)
        weights[np.arange(len(step)), step] = self.task.weights
        return weights
