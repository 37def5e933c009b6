"""Which inputs moved a forecast away from a baseline, and how far; relies on NumPy and Keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex
from tsfusion.explain.curves import Curve
from tsfusion.explain.donors import Batch, Donors
from tsfusion.explain.gradients import runner, slopes
from tsfusion.prediction import Fitted
from tsfusion.progress import shown

__all__ = [
    "Attribution", "Task", "attribute", "level_weights", "run_in_chunks", "steps_asked",
]  # fmt: skip

# Samples in one pass through the network; memory is bounded by it.
_PASSES = 512
# Points of the Gauss-Legendre rule on a piece of a line. On a trained network (8 series, 56 -> 14),
# 3, 4, 5 and 6 took 8.2, 6.3, 6.0 and 6.0 slopes a line, since fewer leave more pieces to halve.
_NODES = 6
# A piece that does not add up is halved, so many times at most. A network may be next to a step: of
# 768 lines on bike sharing, 384 pieces were left after 7 halvings and a forecast 24 % off; after
# 13, none. One that is rough everywhere is given up earlier, with more than so many pieces a line.
_HALVINGS, _HALVINGS_OF_MANY, _MANY = 14, 7, 4
# Share of the mean distance from baseline to forecast (each in the spread of its window) up to
# which a forecast's values add up: what is promised is 1 %, and the halves of a line may be off by
# more together than the line was. The errors of several lines to one forecast have different signs,
# and count together, as long as none is more than four times as large.
_TOLERANCE = 0.006
_MOST_ALONE = 4


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
    scale : ndarray, shape (W,)
        The spread of each, in network units.
    window, step : ndarray of int, shape (E,)
        The window and the step (from 1) of each forecast.
    weights : ndarray of float64, shape (Q,)
        The quantile as a sum of the trained ones; see `level_weights`.
    xla : bool
        Whether TensorFlow may use XLA, where there is much to do.
    verbose : int
        As for `tsfusion.progress.shown`.
    """

    fitted: Fitted
    model: Any
    panel: Panel
    windows: WindowIndex
    batch: Batch
    scale: np.ndarray
    window: np.ndarray
    step: np.ndarray
    weights: np.ndarray
    xla: bool = True
    verbose: int = 0

    def in_user_units(self, entry: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return network values (R,) of forecasts ``entry`` (R,) in the user's units.

        Not within `target_bounds`: at a bound nothing would move a forecast.
        """
        series = self.windows.series[self.window[entry]]
        found = self.fitted.in_user_units(self.panel, series, values[:, None], bounded=False)
        return found[:, 0]

    def slope_of_units(self, entry: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return (R,) the user's units to a network unit, at network values (R,)."""
        if self.fitted.units.scaler is None:
            return self.panel.unit[self.windows.series[self.window[entry]]]
        ahead = self.in_user_units(entry, values + 1e-4)
        return (ahead - self.in_user_units(entry, values - 1e-4)) / 2e-4

    @property
    def asked(self) -> np.ndarray:
        """(W, H) whether each step of each window is explained."""
        return steps_asked(len(self.windows), self.fitted.horizon, self.window, self.step)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return (E,) the spread of each forecast's window in the user's units.

        A transform stretches it as it does around the forecasts (E,), which are in network units.
        """
        entry, scale = np.arange(len(self.window)), self.scale[self.window]
        if self.fitted.units.scaler is None:
            return self.panel.unit[self.windows.series[self.window]] * scale
        above = self.in_user_units(entry, values + scale / 2)
        return np.abs(above - self.in_user_units(entry, values - scale / 2))

    def forecasts(self, inputs: Batch) -> np.ndarray:
        """Return (B, H) the quantile asked for, in network units."""
        return run_in_chunks(self.model, inputs).astype(np.float64) @ self.weights


def steps_asked(size: int, horizon: int, window: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return (size, horizon) whether each step is one of the given ones (E,).

    Examples
    --------
    >>> steps_asked(2, 3, np.array([0, 1]), np.array([1, 3])).astype(int).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    asked = np.zeros((size, horizon), bool)
    asked[window, step - 1] = True
    return asked


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
    model: Any, inputs: Batch, *, size: int = 512, only: str | None = None, rarely: bool = False,
    **options: Any,
) -> Any:  # fmt: skip
    """Run a model by chunks.

    Parameters
    ----------
    model : keras.Model
    inputs : dict of ndarray (B, ...)
    size : int, default=512
        Windows in a chunk.
    only : str, default=None
        What to keep of a dict that the model gives.
    rarely : bool, default=False
        As for `runner`.
    **options
        Passed to the model's call.

    Returns
    -------
    ndarray or dict of ndarray
        What the model gives for all B.
    """
    total = len(inputs["past_real"])
    run = runner(model, size=size, rarely=rarely, **options)
    parts = []
    for first in range(0, total, size):
        found = run({name: value[first : first + size] for name, value in inputs.items()})
        parts.append(found if only is None else found[only])
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def attribute(task: Task, donors: Donors, count: int, seed: int) -> Attribution:
    r"""Attribute forecasts to the cells of their windows by integrated gradients.

    With the forecast :math:`F` of a quantile at one step in the user's units, the window :math:`x`,
    baselines :math:`b_1 \dots b_K` (training windows of the same phase, `Donors`) and a way
    :math:`\gamma_k` from each to the window:

    .. math::

        A_i = \frac{1}{K} \sum_k \int_0^1 \frac{\partial F}{\partial x_i}(\gamma_k(\alpha)) \,
        \gamma_{ki}'(\alpha) \, d\alpha, \qquad
        \sum_i A_i = F(x) - \frac{1}{K} \sum_k F(b_k)

    First the static variables go, one after the other, in an order drawn by lot and its reverse:
    what they moved is the difference of forecasts, and all else is attributed for a series of the
    kind that it is. Then the rest goes at once. Known reals go straight, and so does a category
    between the embeddings of its two codes. The past of the target and of observed inputs goes in
    the values before the window's own scaling, which is differentiated through (level, spread and
    last value of the target are functions of the target's cells), so that its level and spread
    move evenly (`tsfusion.explain.curves.Curve`). An unknown cell is unknown in the baselines too,
    and gets nothing. The integral is a Gauss-Legendre sum of six points; a way whose sum is not
    yet the difference of its ends is halved, and so are its halves, unless the sums of all ways to
    a forecast are so together. How far a sum may be off is measured in the spread of its window, so
    that series of any size add up alike.

    Parameters
    ----------
    task : Task
        E forecasts of W windows.
    donors : Donors
        Where the baselines come from.
    count : int
        Baselines per window, K.
    seed : int
        Draws them: for each window by itself, so that it matters not what else is explained.

    Returns
    -------
    Attribution

    References
    ----------
    Sundararajan, Taly and Yan (2017), "Axiomatic Attribution for Deep Networks", ICML, equation 1
    and section 4.
    Erion et al. (2021), "Improving performance of deep learning models with axiomatic attribution
    priors and expected gradients", Nature Machine Intelligence 3, equation 3, for many baselines.
    """
    chosen = donors.choose(task.panel, task.windows, count, seed)
    baselines = donors.batch(task.panel, task.windows, task.batch, chosen)
    size = len(task.window)
    entry, k = np.repeat(np.arange(size), count), np.tile(np.arange(count), size)
    own = task.window[entry]
    other, at = own * count + k, task.step[entry] - 1

    def forecasts(baselines: Batch) -> np.ndarray:
        return task.in_user_units(entry, task.forecasts(baselines)[other, at])

    asked = task.forecasts(task.batch)[task.window, task.step - 1]
    forecast = task.in_user_units(np.arange(size), asked)
    start = forecasts(baselines)
    mean = start.reshape(size, count).mean(axis=1)
    static, baselines, start = _settle(
        task, baselines, start, np.random.default_rng(seed), forecasts
    )
    lines = _Lines(task, baselines, count, entry, own, other)
    distance = np.repeat(forecast, count) - start
    values = {
        name: np.zeros((size, *value.shape[1:]), np.float32)
        for name, value in task.batch.items()
        if name.endswith(("_real", "_categorical")) and not name.startswith("static")
    }
    samples = len(entry) * _NODES if task.xla else 0
    # Each in its own spread: a series in millions says nothing of one in fractions. Forecasts may
    # lie next to their baselines by chance, where they are few.
    unit = np.maximum(task.spread(asked), np.finfo(float).tiny)
    each = np.repeat(unit, count)
    typical = max((np.abs(forecast - mean) / unit).mean(), (np.abs(distance) / each).mean() / 4)
    tolerance = _TOLERANCE * typical * each
    pieces = _Pieces(np.arange(len(entry)), np.zeros(len(entry)), np.ones(len(entry)))
    for halvings in range(_HALVINGS + 1):
        last = halvings >= (_HALVINGS if len(pieces) <= _MANY * len(entry) else _HALVINGS_OF_MANY)
        pieces = lines.integrate(
            pieces, np.full_like(each, np.inf) if last else tolerance, values,
            None if halvings else distance, samples,
        )  # fmt: skip
    values |= static
    total = sum(value.reshape(size, -1).sum(axis=1, dtype=np.float64) for value in values.values())
    return Attribution(values, forecast, mean, forecast - mean - total)


def _settle(
    task: Task, baselines: Batch, start: np.ndarray, rng: np.random.Generator,
    forecasts: Callable[[Batch], np.ndarray],
) -> tuple[dict[str, np.ndarray], Batch, np.ndarray]:  # fmt: skip
    """Give baselines the static values of their windows, one variable after the other.

    Return what each variable moved the forecasts by, (E, S), the baselines as they are then, and
    their forecasts (L,), of which ``start`` are those before.
    """
    size = len(task.window)
    count = len(start) // max(size, 1)
    of = np.repeat(np.arange(len(task.windows)), count)
    shares = {
        name: np.zeros((size, value.shape[1]), np.float32)
        for name, value in task.batch.items()
        if name in ("static_real", "static_categorical")
    }
    columns = [(name, i) for name, share in shares.items() for i in range(share.shape[1])]
    now = {**baselines, **{name: baselines[name].copy() for name in shares}}
    # Every other baseline goes the opposite way round, so that pairs of variables share evenly.
    order = [rng.permutation(len(columns)) for _ in range(-(-count // 2))]
    order = [some for one in order for some in (one, one[::-1])][:count]
    for place in range(len(columns)):
        turn = [columns[one[place]] for one in order]
        for k, (name, i) in enumerate(turn):
            now[name][k::count, i] = task.batch[name][of[k::count], i]
        moved = forecasts(now)
        for k, (name, i) in enumerate(turn):
            shares[name][:, i] += (moved - start)[k::count] / count
        start = moved
    return shares, now, start


def _straight(factor: np.ndarray, slope: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return the integrals (P, ...) of slopes (P, N, ...) where inputs go straight by ``moved``."""
    still = ~np.isfinite(moved) | (moved == 0)
    mean = np.matmul(factor[:, None], slope.reshape(*factor.shape, -1)).reshape(moved.shape)
    return np.where(still, 0, mean * np.where(still, 0, moved))


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

    ``entry``, ``own`` and ``other`` (L,) are the forecast, its window and its baseline; ``count``
    lines in a row lead to one forecast.
    """

    task: Task
    baselines: Batch
    count: int
    entry: np.ndarray
    own: np.ndarray
    other: np.ndarray

    def integrate(
        self, pieces: _Pieces, tolerance: np.ndarray, values: dict[str, np.ndarray],
        distance: np.ndarray | None, samples: int,
    ) -> _Pieces:  # fmt: skip
        """Add what the integrals along pieces share to ``values``; return halves of the others.

        Those are the pieces whose sum is further than the ``tolerance`` (L,) of their line from the
        difference of their ends (less for a shorter piece). ``distance`` (L,) is that difference
        where the pieces are all lines, whole; otherwise the ends are run too.
        """
        if len(pieces) == 0:
            return pieces
        per_pass = _PASSES // (_NODES if distance is not None else _NODES + 2)
        if distance is not None:
            per_pass = max(per_pass // self.count, 1) * self.count
        reals = [name for name in values if name.endswith("_real")]
        roles = [name.split("_")[0] for name in values if name.endswith("_categorical")]
        names = [*reals, *(f"{role}_share" for role in roles)]
        run = slopes(self.task.model, names, size=_PASSES, samples=samples)
        failed = []
        size = len(pieces)
        spans = ((first, min(first + per_pass, size)) for first in range(0, size, per_pass))
        what = "attribution" if distance is not None else "attribution, rough lines again"
        for first, stop in shown(spans, size, what, self.task.verbose):
            some = pieces.take(slice(first, stop))
            known = None if distance is None else distance[some.line]
            parts, error = self._integrals(some, run, values, roles, known)
            # The errors of many pieces of one line may have one sign.
            most = tolerance[some.line]
            alone = most if distance is not None else most / 2
            good = np.abs(error) <= alone * np.sqrt(some.high - some.low)
            if distance is not None:
                lines, most = error.reshape(-1, self.count), most[:: self.count]
                together = np.abs(lines.mean(axis=1)) <= most
                # Were the largest error mended alone, the others would no longer cancel.
                together &= np.abs(lines).max(axis=1) <= _MOST_ALONE * most
                good |= np.repeat(together, self.count)
            failed.append(first + np.flatnonzero(~good))
            self._add(parts, some.line, good, values)
        return pieces.take(np.concatenate(failed)).halved()

    def _add(
        self, parts: dict[str, np.ndarray], line: np.ndarray, good: np.ndarray,
        values: dict[str, np.ndarray],
    ) -> None:  # fmt: skip
        """Add the good parts, in order of their lines, to the values of their forecasts."""
        entry = self.entry[line[good]]
        if len(entry) == 0:
            return
        starts = np.flatnonzero(np.diff(entry, prepend=-1))
        for name, part in parts.items():
            values[name][entry[starts]] += np.add.reduceat(part[good], starts) / self.count

    def _integrals(
        self, pieces: _Pieces, run: Any, values: dict[str, np.ndarray], roles: list[str],
        distance: np.ndarray | None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:  # fmt: skip
        """Return the integrals (P, ...) of each input, and how far their sums (P,) are off."""
        points, weights = np.polynomial.legendre.leggauss(_NODES)
        points, weights = (points + 1) / 2, weights / 2
        if distance is None:
            points = np.concatenate([[0.0], points, [1.0]])
            weights = np.concatenate([[0.0], weights, [0.0]])
        width = (pieces.high - pieces.low)[:, None]
        place = pieces.low[:, None] + width * points
        x, b = self._ends(pieces.line)
        # Target and observed inputs, which the model sees in units of the window.
        own = slice(1 + self.task.panel.n_observed_real)
        past = Curve.between(b["past_real"][..., own], x["past_real"][..., own])
        curved, speed = past.at(place)
        along = self._along(x, b, place, roles)
        straight = along["past_real"][..., own]
        along["past_real"][..., own] = np.where(
            np.isfinite(straight), curved.reshape(straight.shape), straight
        )
        height, found = run(along, self._weights(pieces.line, len(points)))
        height = height.astype(np.float64)
        entry = np.repeat(self.entry[pieces.line], len(points))
        factor = self.task.slope_of_units(entry, height).reshape(place.shape) * width * weights
        factor = factor.astype(np.float32)
        parts = {}
        for name in values:
            role, kind = name.split("_")
            slope = found[name if kind == "real" else f"{role}_share"]
            moved = x[name] - b[name] if kind == "real" else x[name] != b[name]
            slope = slope.reshape(*place.shape, *moved.shape[1:])
            if name == "past_real":
                part = np.einsum("pn,pntv,pntv->ptv", factor, slope[..., own], speed)
                # What is unknown did not move; its slope may be NaN.
                part = np.where(np.isfinite(moved[..., own]), part, 0)
                rest = _straight(factor, slope[..., own.stop :], moved[..., own.stop :])
                parts[name] = np.concatenate([part, rest], axis=-1)
            else:
                parts[name] = _straight(factor, slope, moved)
        total = sum(
            part.reshape(len(pieces), -1).sum(axis=1, dtype=np.float64) for part in parts.values()
        )
        if distance is None:
            ends = self.task.in_user_units(entry, height).reshape(place.shape)
            distance = ends[:, -1] - ends[:, 0]
        return parts, total - distance

    def _ends(self, lines: np.ndarray) -> tuple[Batch, Batch]:
        own, other = self.own[lines], self.other[lines]
        return (
            {name: value[own] for name, value in self.task.batch.items()},
            {name: value[other] for name, value in self.baselines.items()},
        )

    def _along(self, x: Batch, b: Batch, place: np.ndarray, roles: list[str]) -> Batch:
        """Return the inputs at some places (P, N) of the lines, (P * N, ...)."""
        result = {}
        samples, share = place.shape[1], place.reshape(-1).astype(np.float32)
        for name, value in x.items():
            result[name] = np.repeat(value, samples, axis=0)
            if name.endswith("_real"):
                line = share.reshape(-1, *[1] * (value.ndim - 1))
                start = np.repeat(b[name], samples, axis=0)
                result[name] = start + line * (result[name] - start)
        for role in roles:
            codes = result[f"{role}_categorical"]
            result[f"{role}_reference"] = np.repeat(b[f"{role}_categorical"], samples, axis=0)
            line = share.reshape(-1, *[1] * (codes.ndim - 1))
            result[f"{role}_share"] = np.broadcast_to(line, codes.shape).copy()
        return result

    def _weights(self, lines: np.ndarray, samples: int) -> np.ndarray:
        """Return (L * samples, H, Q) which output of each sample is meant."""
        step = np.repeat(self.task.step[self.entry[lines]] - 1, samples)
        horizon, levels = self.task.fitted.horizon, len(self.task.weights)
        weights = np.zeros((len(step), horizon, levels), np.float32)
        weights[np.arange(len(step)), step] = self.task.weights
        return weights
