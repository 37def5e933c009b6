"""Scalers of the target, for each series or the whole panel: fitted on training rows, inverted.

Relies on NumPy, pandas, SciPy's power functions and scikit-learn's parameter checks. No loop runs
over series: all of them are fitted at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import special
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

__all__ = ["Moments", "TargetScaler", "location_and_spread"]

_POWERS = ("box-cox", "yeo-johnson")
_LOWEST = {"box-cox": 0.0, "log1p": -1.0}
# With ten values the standard error of a power is still 1.1 at a coefficient of variation of 0.3
# (simulated); from fewer, the other series know it better.
_LEAST_VALUES = 10
# Powers tried before the search between the best one's neighbours; each further step of the golden
# section shrinks that gap to 0.618 of it, 32 of them to 2e-7.
_GRID, _STEPS = 17, 32
_GOLDEN = (5**0.5 - 1) / 2
# Where a transform has an asymptote, the nearest to it that float64 can still tell apart.
_NEAREST = 1e-12


class TargetScaler(BaseEstimator):
    r"""Transforms a target and takes its forecasts back, with parameters per series or panel.

    .. math:: z = (g(y) - m) / s

    ===============  =======================================  =====================================
    ``method``       g(y)                                     m, s
    ===============  =======================================  =====================================
    None             y                                        0, 1
    ``standard``     y                                        mean, standard deviation
    ``robust``       y                                        median, interquartile range
    ``log1p``        log(1 + y), for y > -1                   0, 1
    ``box-cox``      (y^p - 1) / p, or log y; for y > 0       mean, standard deviation of g(y)
    ``yeo-johnson``  Box-Cox of 1 + y, mirrored below 0       mean, standard deviation of g(y)
    ===============  =======================================  =====================================

    The power p maximises the normal likelihood of the training rows, as in scikit-learn's
    `PowerTransformer`, but within ``bounds``.

    Parameters
    ----------
    method : {"standard", "robust", "log1p", "box-cox", "yeo-johnson"} or None, default="standard"
        The transform.
    by : {"series", "panel"}, default="series"
        Whether each series has parameters of its own, or all share one set.
    bounds : pair of float, default=(0.0, 2.0)
        The powers allowed. From 0 to 2, every number has an inverse. A negative power (for
        Yeo-Johnson also one above 2) has an asymptote, past which a forecast would be infinite.

    Attributes
    ----------
    labels_ : Index of length S
        The series in training; none with ``by="panel"``.
    parameters_ : ndarray of float64, shape (S + 1, 4), read-only
        Power, unit, m and s of each series. The last row holds those of the panel or, with
        ``by="series"``, the medians over series, used for series that were not in training.

    Notes
    -----
    NaN stays NaN. A series with fewer than ten known values, or with a single value over and over,
    takes the median power of the others (1 if there are none); one with an interquartile range of 0
    but some spread takes its standard deviation. One without spread takes the median s, or what the
    median of s / abs(m) makes of its own m where that is less.

    Log1p and Yeo-Johnson count in units of 1: they hardly bend a target that is small beside 1.
    Box-Cox and the others do not depend on the units.

    Every g increases, so a quantile of z goes back to the same quantile of y. A mean does not: the
    inverse of the mean of log(1 + y) lies below the mean of y (Jensen). Take the mean from the
    inverted quantiles, as `FusionForecaster` does.

    What lies outside the range of g goes back to the edge of its domain: under Box-Cox with p > 0,
    z too low for any y gives 0; past an asymptote comes the largest y that float64 can still tell
    apart from it.

    The inverse is exact up to the rounding of z, which is relative to m and s: beside 1e12 under
    ``standard``, 1e-9 is lost, and so is a number on the logarithmic side of Yeo-Johnson beside
    squares of millions on the other.

    References
    ----------
    Box and Cox (1964), "An Analysis of Transformations", Journal of the Royal Statistical Society B
    26. Yeo and Johnson (2000), "A new family of power transformations to improve normality or
    symmetry", Biometrika 87.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.data import TargetScaler
    >>> y, store = np.array([1.0, 3.0, 100.0, 300.0]), ["a", "a", "b", "b"]
    >>> scaler = TargetScaler("standard").fit(y, store)
    >>> z = scaler.transform(y, store)
    >>> z.tolist()
    [-1.0, 1.0, -1.0, 1.0]
    >>> scaler.inverse_transform(z, store).tolist()
    [1.0, 3.0, 100.0, 300.0]
    """

    _parameter_constraints: ClassVar[dict] = {
        "method": [StrOptions({"standard", "robust", "log1p", *_POWERS}), None],
        "by": [StrOptions({"series", "panel"})],
        "bounds": ["array-like"],
    }

    def __init__(
        self,
        method: str | None = "standard",
        *,
        by: str = "series",
        bounds: tuple[float, float] = (0.0, 2.0),
    ) -> None:
        self.method = method
        self.by = by
        self.bounds = bounds

    def fit(self, values: Any, series: Any = None, *, labels: Any = None) -> TargetScaler:
        """Learn the parameters from training rows.

        Parameters
        ----------
        values : array-like of shape (R,)
            The target, NaN where unknown.
        series : array-like of shape (R,), default=None
            The label of each row's series; None where there is one series.
        labels : Index of length S, default=None
            If given, ``series`` holds positions in it rather than labels.

        Returns
        -------
        TargetScaler
            Itself.

        Raises
        ------
        ValueError
            If a value is infinite or outside the domain of the transform; the message names its
            series and row.
        """
        self._validate_params()
        low, high = self._bounds()
        y, index, codes = self._rows(values, series, labels)
        if y.ndim != 1:
            raise ValueError(f"values: expected one number per row, received shape {y.shape}.")
        self._check(y, index, codes)
        if self.by == "panel":
            index, codes, n = index[:0], np.zeros(len(y), np.int64), 1
        else:
            n = len(index)
        known = np.isfinite(y)
        y, codes = y[known], codes[known]
        count = np.bincount(codes, minlength=n)
        power, unit = np.ones(n), np.ones(n)
        if self.method in _POWERS:
            if self.method == "box-cox":
                log_mean = np.bincount(codes, np.log(y), n) / np.maximum(count, 1)
                unit = np.exp(_filled(log_mean, count > 0, 0.0))
            enough = (count >= _LEAST_VALUES) & (location_and_spread(y, codes, n)[1] > 0)
            power = self._powers(y, codes, unit, low, high)
            power = _filled(power, enough, float(np.clip(1.0, low, high)))
        location, spread = np.zeros(n), np.ones(n)
        if self.method in ("standard", "robust", *_POWERS):
            g = self._power(y, power[codes], unit[codes])
            location, spread = location_and_spread(g, codes, n, robust=self.method == "robust")
            location = _filled(location, count > 0, 0.0)
            # Under Box-Cox, m and s are in proportion to the level of y already.
            level = np.abs(location) if self.method != "box-cox" else np.zeros(n)
            spread = _spreads(spread, level)
        table = np.stack([power, unit, location, spread], axis=1)
        if self.by == "series":
            typical = np.median(table[count > 0], axis=0) if len(y) else np.array([1.0, 1, 0, 1])
            table = np.concatenate([table, typical[None]])
        table.flags.writeable = False
        self.labels_ = index
        self.parameters_ = table
        return self

    def transform(self, values: Any, series: Any = None, *, labels: Any = None) -> np.ndarray:
        """Return z of values y.

        Parameters
        ----------
        values : array-like of shape (R,) or (R, Q)
            In units of the target.
        series, labels
            As in `fit`. Series not seen there take the typical parameters.

        Returns
        -------
        ndarray of float64, shape as ``values``

        Raises
        ------
        ValueError
            As `fit`.
        """
        check_is_fitted(self)
        y, index, codes = self._rows(values, series, labels)
        self._check(y, index, codes)
        power, unit, location, spread = self._parameters(index, codes, y.ndim)
        return (self._power(y, power, unit) - location) / spread

    def inverse_transform(
        self, values: Any, series: Any = None, *, labels: Any = None
    ) -> np.ndarray:
        """Return y of values z, which may be quantiles.

        Parameters
        ----------
        values : array-like of shape (R,) or (R, Q)
            As `transform` returns them. Increasing quantiles stay increasing.
        series, labels
            As in `transform`.

        Returns
        -------
        ndarray of float64, shape as ``values``
            In units of the target. The inverse of a mean is no mean (see Notes).
        """
        check_is_fitted(self)
        z, index, codes = self._rows(values, series, labels)
        power, unit, location, spread = self._parameters(index, codes, z.ndim)
        return self._unpower(z * spread + location, power, unit)

    def check(
        self, values: Any, series: Any = None, *, labels: Any = None, row: Any = None
    ) -> None:
        """Raise unless every value lies in the domain of the transform.

        Parameters
        ----------
        values, series, labels
            As in `fit`.
        row : ndarray of int, shape (R,), default=None
            The number to give a row in the message; None counts from 0.

        Raises
        ------
        ValueError
            Naming the series and row of the first value that does not.
        """
        self._check(*self._rows(values, series, labels), row)

    def _bounds(self) -> tuple[float, float]:
        try:
            low, high = (float(bound) for bound in self.bounds)
        except (TypeError, ValueError) as error:
            raise ValueError(f"bounds: expected two numbers, received {self.bounds!r}.") from error
        if not -10 <= low <= high <= 10:
            raise ValueError(
                f"bounds: expected a lower and an upper power from -10 to 10, received "
                f"{self.bounds!r}."
            )
        return low, high

    def _rows(self, values: Any, series: Any, labels: Any) -> tuple[np.ndarray, pd.Index, Any]:
        """Return values as float64, the labels of their series and each row's code."""
        values = np.asarray(values, dtype=np.float64)
        if values.ndim not in (1, 2):
            raise ValueError(f"values: expected shape (R,) or (R, Q), received {values.shape}.")
        if series is None:
            return values, pd.Index([0]), np.zeros(len(values), np.int64)
        if labels is None:
            codes, index = pd.Index(series).factorize()
            if (codes < 0).any():
                raise ValueError(
                    f"series: expected a label in every row, row {int((codes < 0).argmax())} has "
                    "none."
                )
        else:
            codes, index = np.asarray(series, np.int64), pd.Index(labels)
        if len(codes) != len(values):
            raise ValueError(
                f"series: expected one label per row ({len(values)}), received {len(codes)}."
            )
        return values, index, codes

    def _check(self, y: np.ndarray, labels: pd.Index, codes: np.ndarray, row: Any = None) -> None:
        lowest = _LOWEST.get(str(self.method), -np.inf)
        bad = (y <= lowest) | np.isinf(y)
        if not bad.any():
            return
        rows = bad.reshape(len(y), -1).any(axis=1)
        at = int(rows.argmax())
        number = at if row is None else int(row[at])
        value = np.atleast_1d(y[at])[np.atleast_1d(bad[at]).argmax()]
        expected, mend = "finite numbers", "Replace it by a number or NaN."
        if np.isfinite(lowest):
            expected = f"values above {lowest:g}"
            mend = "Use 'yeo-johnson', which takes any number, or add a constant to the target."
        raise ValueError(
            f"Target under {self.method!r}: expected {expected}, received {value:g} in series "
            f"{labels[codes[at]]!r} at row {number} ({int(rows.sum())} rows in all). {mend}"
        )

    def _parameters(self, labels: pd.Index, codes: np.ndarray, ndim: int) -> list[np.ndarray]:
        """Return each row's parameters, in shapes that go with the values."""
        if self.by == "panel":
            return list(self.parameters_[-1])
        position = self.labels_.get_indexer(labels)
        shape = (-1,) if ndim == 1 else (-1, 1)
        return [column[position][codes].reshape(shape) for column in self.parameters_.T]

    def _power(self, y: np.ndarray, power: Any, unit: Any) -> np.ndarray:
        """Return g(y); Box-Cox of y in units of its geometric mean, which keeps float64 exact."""
        if self.method == "log1p":
            return np.log1p(y)
        if self.method == "box-cox":
            return special.boxcox(y / unit, power)
        if self.method == "yeo-johnson":
            return np.sign(y) * special.boxcox1p(np.abs(y), np.where(y < 0, 2 - power, power))
        return y

    def _unpower(self, g: np.ndarray, power: Any, unit: Any) -> np.ndarray:
        """Return the y of g(y), or of the nearest that has one."""
        with np.errstate(over="ignore"):
            if self.method == "log1p":
                y = np.expm1(g)
            elif self.method == "box-cox":
                y = np.exp(_log_of_inverse(g, power)) * unit
            elif self.method == "yeo-johnson":
                power = np.where(g < 0, 2 - power, power)
                y = np.sign(g) * np.expm1(_log_of_inverse(np.abs(g), power))
            else:
                return g
        largest = np.finfo(np.float64).max
        return np.clip(y, -largest, largest)

    def _powers(
        self, y: np.ndarray, codes: np.ndarray, unit: np.ndarray, low: float, high: float
    ) -> np.ndarray:
        """Return (S,) the power of the greatest likelihood: a grid, then the golden section."""
        n = len(unit)
        count = np.bincount(codes, minlength=n)
        # What the logarithm of the transform's slope gains per unit of power, summed; Box-Cox of
        # values in units of their geometric mean gains nothing.
        slope: np.ndarray = np.zeros(n)
        if self.method == "yeo-johnson":
            slope = np.bincount(codes, np.sign(y) * np.log1p(np.abs(y)), n)

        def likelihood(power: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                g = self._power(y, power[codes], unit[codes])
                _, spread = _moments(g, codes, count)
                result = (power - 1) * slope - count * np.log(spread)
            return np.where(np.isfinite(result), result, -np.inf)

        if low == high or len(y) == 0:
            return np.full(n, low)
        grid = np.linspace(low, high, _GRID)
        found = np.stack([likelihood(np.full(n, power)) for power in grid])
        best = found.argmax(axis=0)
        left, right = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, _GRID - 1)]
        a, b = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        at_a, at_b = likelihood(a), likelihood(b)
        for _ in range(_STEPS):
            lower = at_a >= at_b
            left, right = np.where(lower, left, a), np.where(lower, b, right)
            kept, at_kept = np.where(lower, a, b), np.where(lower, at_a, at_b)
            new = np.where(lower, right - _GOLDEN * (right - left), left + _GOLDEN * (right - left))
            at_new = likelihood(new)
            a, at_a = np.where(lower, new, kept), np.where(lower, at_new, at_kept)
            b, at_b = np.where(lower, kept, new), np.where(lower, at_kept, at_new)
        edge = np.where(best == 0, low, high)
        middle = (left + right) / 2
        better = found.max(axis=0) >= likelihood(middle)
        return np.where(better & ((best == 0) | (best == _GRID - 1)), edge, middle)


@dataclass
class Moments:
    """The mean and variance of values that come in parts."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        """Merge in more values (Chan, Golub and LeVeque 1979); NaN are left out."""
        values = values[np.isfinite(values)]
        if len(values) == 0:
            return
        n, mean = len(values), float(values.mean())
        away, total = mean - self.mean, self.n + n
        self.squares += float(((values - mean) ** 2).sum()) + away**2 * self.n * n / total
        self.mean += away * n / total
        self.n = total

    @property
    def spread(self) -> float:
        """The standard deviation."""
        return (self.squares / self.n) ** 0.5 if self.n else 0.0


def location_and_spread(
    values: np.ndarray, codes: np.ndarray, n_series: int, *, robust: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return (S,) mean and standard deviation, or median and interquartile range.

    Parameters
    ----------
    values : ndarray of float64, shape (R,)
        Finite numbers.
    codes : ndarray of int, shape (R,)
        The series of each.
    n_series : int
        S. A series without values gets zeros.
    robust : bool, default=False
        Median and interquartile range, as scikit-learn's `RobustScaler`. Where the latter is 0 but
        not all values are equal (mostly zeros, say), the standard deviation stands in.

    Returns
    -------
    tuple of ndarray
        The spread is 0 where it is lost in the rounding of the values.
    """
    count = np.bincount(codes, minlength=n_series)
    # From one of its own values: a sum of equal ones would round, and seem to move.
    base = np.zeros(n_series)
    base[codes] = values
    mean, spread = _moments(values - base[codes], codes, count)
    mean += base
    spread = np.where(spread > 1e-12 * np.abs(mean), spread, 0.0)
    if not robust:
        return mean, spread
    ordered = values[np.lexsort((values, codes))]
    first = np.cumsum(count) - count
    quarters = [_ordered_quantile(ordered, first, count, level) for level in (0.25, 0.5, 0.75)]
    between = quarters[2] - quarters[0]
    return quarters[1], np.where((between > 0) & (spread > 0), between, spread)


def _moments(
    values: np.ndarray, codes: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (S,) mean and standard deviation of each series, 0 where it has no values."""
    n, divisor = len(count), np.maximum(count, 1)
    mean = np.bincount(codes, values, n) / divisor
    return mean, np.sqrt(np.bincount(codes, (values - mean[codes]) ** 2, n) / divisor)


def _ordered_quantile(
    ordered: np.ndarray, first: np.ndarray, count: np.ndarray, level: float
) -> np.ndarray:
    """Return (S,) a quantile of each series' sorted values, by linear interpolation."""
    if len(ordered) == 0:
        return np.zeros(len(count))
    place = level * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    a, b = (ordered[np.minimum(first + i, len(ordered) - 1)] for i in (low, high))
    return np.where(count > 0, a + (b - a) * (place - low), 0.0)


def _filled(values: np.ndarray, useful: np.ndarray, default: float) -> np.ndarray:
    """Return values, with the median of the useful ones in place of the others."""
    typical = float(np.median(values[useful])) if useful.any() else default
    return np.where(useful, values, typical)


def _spreads(spread: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the spreads, with one for each series that has none: by its level, if it has one."""
    moves = spread > 0
    result = _filled(spread, moves, 1.0)
    told = moves & (level > 0)
    if told.any():
        share = float(np.median(spread[told] / level[told]))
        own = level * share
        result = np.where(~moves & (own > 0), np.minimum(own, result), result)
    return result


def _log_of_inverse(g: np.ndarray, power: Any) -> np.ndarray:
    """Return log(1 + power * g) / power (g itself at power 0), or the nearest that exists."""
    power = np.asarray(power, np.float64)
    straight = power == 0
    inside = np.maximum(power * g, np.where(power < 0, _NEAREST - 1, -1.0))
    with np.errstate(divide="ignore"):
        return np.where(straight, g, np.log1p(inside) / np.where(straight, 1.0, power))
