"""From a baseline's past to a window's own without losing its spread; relies on NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Curve"]

# Below this the mixture of two windows is not blown up any further: of opposite ones it would be
# divided by zero on half the way.
_LEAST_LIKENESS = -0.5


@dataclass(frozen=True)
class Curve:
    r"""The way from baselines (P, T, V) to windows, on which level and spread move evenly.

    On a straight line between two windows that have nothing to do with each other, half the way
    has 0.7 times their spread. A network that sees each window in its own units answers with that
    spread, so that a line would give the target's spread a large share with one sign and the
    others' with the other, although neither differs between the ends. Here, of each variable,

    .. math::

        x(\alpha) = m(\alpha) + s(\alpha) \frac{(1 - \alpha) z_b + \alpha z_x}{r(\alpha)}, \qquad
        r(\alpha)^2 = \alpha^2 + (1 - \alpha)^2 + 2 \alpha (1 - \alpha) \rho

    with mean :math:`m` and spread :math:`s` of the known steps going evenly from one end to the
    other, :math:`z` the ends in units of these, and :math:`\rho` the correlation of the two
    (at least -0.5; 1, and :math:`r = 1`, where an end is constant). Two steps with the same values
    at both ends have the same values all the way, as on a straight line.

    Attributes
    ----------
    start, end : ndarray of float32, shape (P, T, V)
        The ends in units of their own; 0 where nothing is known.
    level, spread : tuple of ndarray of float32, each (P, 1, V)
        At the start, and the difference to the end.
    rho : ndarray of float32, shape (P, 1, V)

    References
    ----------
    Sundararajan, Taly and Yan (2017), "Axiomatic Attribution for Deep Networks", ICML, section 4,
    for integrals along other ways than straight lines: their sum, too, is the difference of the
    ends.
    """

    start: np.ndarray
    end: np.ndarray
    level: tuple[np.ndarray, np.ndarray]
    spread: tuple[np.ndarray, np.ndarray]
    rho: np.ndarray

    @classmethod
    def between(cls, b: np.ndarray, x: np.ndarray) -> Curve:
        """Find it; what either end does not know (NaN) stays where it is."""
        known = np.isfinite(b) & np.isfinite(x)
        count = np.maximum(known.sum(axis=1, keepdims=True), 1)
        ends, levels, spreads = [], [], []
        for values in (b, x):
            values = np.where(known, values, 0).astype(np.float64)
            level = values.sum(axis=1, keepdims=True) / count
            rest = np.where(known, values - level, 0)
            spread = np.sqrt(np.square(rest).sum(axis=1, keepdims=True) / count)
            # As float32 knows it: what is left of equal values is no spread.
            size = np.abs(values).max(axis=1, keepdims=True, initial=0)
            spread = np.where(spread > 1e-6 * size, spread, 0)
            ends.append(rest / np.where(spread > 0, spread, 1))
            levels.append(level)
            spreads.append(spread)
        rho = (ends[0] * ends[1]).sum(axis=1, keepdims=True) / count
        varies = (spreads[0] > 0) & (spreads[1] > 0)
        rho = np.where(varies, np.clip(rho, _LEAST_LIKENESS, 1), 1)
        level, spread = (
            (first.astype(np.float32), (last - first).astype(np.float32))
            for first, last in (levels, spreads)
        )
        start, end = (one.astype(np.float32) for one in ends)
        return cls(start, end, level, spread, rho.astype(np.float32))

    def at(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values (P, N, T, V) at places (P, N) in [0, 1], and how fast they change there."""
        a = place[:, :, None, None].astype(np.float32)
        start, end, rho = (one[:, None] for one in (self.start, self.end, self.rho))
        level, spread = (
            first[:, None] + a * more[:, None] for first, more in (self.level, self.spread)
        )
        size = np.sqrt(np.square(a) + np.square(1 - a) + 2 * a * (1 - a) * rho)
        change = (2 * a - 1) * (1 - rho) / size
        mixed = ((1 - a) * start + a * end) / size
        turning = (end - start - mixed * change) / size
        speed = self.level[1][:, None] + self.spread[1][:, None] * mixed + spread * turning
        return level + spread * mixed, speed
