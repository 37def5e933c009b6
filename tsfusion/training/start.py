"""Where a network begins that has few windows to learn from: at a ridge regression."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, gather, targets

__all__ = ["LinearStart", "linear_start"]

# Windows to learn from and to choose on; with fewer than the least of them, nothing is learned.
_MOST_WINDOWS, _LEAST_WINDOWS = 4096, 8
# Past steps before the last so many weigh nothing at first.
_MOST_LAGS = 512
# Penalties to choose from, in shares of the largest eigenvalue of the inputs' second moments.
_PENALTIES = 10.0 ** np.arange(-6.0, 1.5, 0.5)
# What lies further from the window's last value than so many of its spreads counts as if there.
_FURTHEST = 10.0
# Quantiles begin at least this far apart, in spreads of the window.
_CLOSEST = 0.01


@dataclass(frozen=True)
class LinearStart:
    """The linear map ``kernel`` (T, H), and the head's ``bias`` (Q,), to begin with.

    ``penalty`` is the one chosen, in shares of the largest eigenvalue; inf for no map at all.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float

    def apply(self, model: keras.Model) -> None:
        """Let the network say this, and nothing else, until it learns more."""
        network = model.network
        network.linear_kernel.assign(self.kernel)
        network.head.bias.assign(self.bias)
        network.head.kernel.assign(np.zeros(network.head.kernel.shape, "float32"))


def linear_start(
    model: keras.Model, panel: Panel, training: WindowIndex, validation: WindowIndex, *,
    context_length: int, horizon: int, stop: np.ndarray,
) -> LinearStart | None:  # fmt: skip
    r"""Return the ridge regression of what follows on the past target, in each window's units.

    .. math:: K_\lambda = (X'WX + \lambda I)^{-1} X'WY

    for windows X (N, T), Y (N, H) with weights W. Of the penalties, the one whose forecasts of the
    validation windows have the least absolute error; without such windows, the least error of
    leaving one window out. The quantiles begin at those of the latter errors, pooled over the
    horizon.

    On 14 small data sets (36 to 3,456 rows, three cutoffs each), see ``benchmarks/small.py``.

    Parameters
    ----------
    model : keras.Model
        `tsfusion.models.InstanceScaled` around a network; only its scaling is used.
    panel : Panel
    training, validation : WindowIndex
    context_length, horizon : int
        T and H.
    stop : ndarray of int, shape (S,)
        The row of each series from which on a target is hidden from training.

    Returns
    -------
    LinearStart or None
        None where the network has no linear map, or fewer than 8 windows are known whole.

    References
    ----------
    Hastie, Tibshirani and Friedman (2009), "The Elements of Statistical Learning", 2nd ed.,
    equation 7.64, for the errors of leaving one out.
    """
    network = model.network
    if getattr(network, "linear_kernel", None) is None:
        return None
    shape = {"context_length": context_length, "horizon": horizon}
    x, y, weight = _scaled(model, panel, training, stop, **shape)
    if len(x) < _LEAST_WINDOWS:
        return None
    root = np.sqrt(weight)[:, None]
    x_ahead, y_ahead, _ = _scaled(model, panel, validation, None, **shape)
    left, size, right = np.linalg.svd(root * x, full_matrices=False)
    projected = left.T @ (root * y)
    top = max(float(size[0]) ** 2, np.finfo(float).tiny)
    least, best = np.inf, (np.zeros((x.shape[1], horizon)), y, np.inf)
    for penalty in (np.inf, *_PENALTIES[::-1]):
        kept = size**2 / (size**2 + penalty * top)
        kernel = right.T @ (
            np.divide(kept, size, where=size > 0, out=0 * size)[:, None] * projected
        )
        own = np.sum(left**2 * kept, axis=1, keepdims=True)
        errors = (y - x @ kernel) / np.maximum(1 - own, 0.05)
        loss = float(np.mean(np.abs(y_ahead - x_ahead @ kernel if len(x_ahead) else errors)))
        if loss < least:
            least, best = loss, (kernel, errors, float(penalty))
    kernel, errors, penalty = best
    full = np.zeros((context_length, horizon), "float32")
    full[-len(kernel) :] = kernel
    spread = np.quantile(errors, network.head.levels)
    rises = np.log(np.expm1(np.maximum(np.diff(spread), _CLOSEST)))
    bias = np.insert(rises, network.head.middle, spread[network.head.middle])
    return LinearStart(full, bias.astype("float32"), penalty)


def _scaled(
    model: keras.Model, panel: Panel, windows: WindowIndex, stop: np.ndarray | None, *,
    context_length: int, horizon: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return past targets (N, T), what follows (N, H) and weights (N,) of windows known whole."""
    lags = min(context_length, _MOST_LAGS)
    windows = windows.thinned(_MOST_WINDOWS)
    y, weight = targets(panel, windows, horizon=horizon, stop=stop)
    whole = np.flatnonzero((weight > 0).all(axis=1))
    if len(whole) == 0:
        return np.zeros((0, lags)), np.zeros((0, horizon)), np.zeros(0)
    inputs = gather(
        panel, windows.take(whole), context_length=context_length, horizon=horizon,
        only=("past_real", "past_mask", "fallback_loc"),
    )  # fmt: skip
    past, loc, scale = (
        keras.ops.convert_to_numpy(part).astype(float) for part in model.scaled(inputs)
    )
    x = past[..., 0]
    known = np.isfinite(x) & inputs["past_mask"]
    x = np.clip(np.where(known, x, 0.0), -_FURTHEST, _FURTHEST)[:, -lags:]
    y = np.clip((y[whole] - loc[:, :, 0]) / scale[:, :, 0], -_FURTHEST, _FURTHEST)
    return x, y, weight[whole].mean(axis=1).astype(float)
