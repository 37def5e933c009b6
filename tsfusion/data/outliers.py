"""Values so far from all others that they look like slips. Relies on NumPy and `scaling`.

Values y (R,) belong to series by their codes (R,), 0 to S - 1.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.scaling import location_and_spread
from tsfusion.exceptions import DataWarning

__all__ = ["far_values", "level_and_spread", "warn_of_far_values"]

# How many times further out than 99 % of its series a value lies to look like a slip, how many
# times further than the next value, and the fewest values to judge by.
_FAR, _GAP, _FEWEST = 20, 10, 20


def level_and_spread(y: np.ndarray, codes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what `location_and_spread` does, without the values that look like slips.

    One value of 1e6 among a hundred would else be the spread of its series.

    Examples
    --------
    >>> y = np.append(np.tile([9.0, 11.0], 50), 1e6)
    >>> level_and_spread(y, np.zeros(101, int), 1)[1].tolist(), round(float(y.std()))
    ([1.0], 99009)
    """
    far = far_values(y, codes, n)
    if len(far):
        y, codes = np.delete(y, far), np.delete(codes, far)
    return location_and_spread(y, codes, n)


def far_values(y: np.ndarray, codes: np.ndarray, n: int) -> np.ndarray:
    """Return the rows of the values that look like slips, such as -9999 for what is missing.

    They lie 20 times as far from the median of their series as 99 % of it (all values but one, of
    fewer than 100), behind a gap: 10 times as far as the next. Heavy tails have no gaps. Series of
    fewer than 20 values, and those of which half are equal (demand that is mostly zero, say), are
    not judged.

    Examples
    --------
    >>> far_values(np.append(np.tile([9.0, 11.0], 50), 1e6), np.zeros(101, int), 1).tolist()
    [100]
    """
    count = np.bincount(codes, minlength=n)
    mean, spread = location_and_spread(y, codes, n)
    last, least = _least_spreads(count)
    # Only series with such a value have to be sorted.
    beyond = np.abs(y - mean[codes]) > (least * spread)[codes]
    suspect = np.zeros(n, bool)
    suspect[codes[beyond]] = True
    suspect &= count >= _FEWEST
    rows = np.flatnonzero(suspect[codes])
    if not len(rows):
        return rows
    of = (np.cumsum(suspect) - 1)[codes[rows]]
    size, last = count[suspect], last[suspect]
    start = np.cumsum(size) - size
    values = y[rows]
    ordered = values[np.lexsort((values, of))]
    median = (ordered[start + (size - 1) // 2] + ordered[start + size // 2]) / 2
    away = np.abs(values - median[of])
    order = np.lexsort((away, of))
    away, of = away[order], of[order]
    before = np.append(0.0, away[:-1])
    usual, most = away[start + size // 2], away[start + last]
    place = np.arange(len(of)) - start[of]
    behind = (place > last[of]) & (usual[of] > 0) & (away > _FAR * most[of])
    first = np.flatnonzero(behind & (away > _GAP * before))
    limit = np.full(len(size), np.inf)
    np.minimum.at(limit, of[first], away[first])
    return np.sort(rows[order[away >= limit[of]]])


def warn_of_far_values(
    name: Any, y: np.ndarray, codes: np.ndarray | None = None, labels: pd.Index | None = None
) -> bool:
    """Warn of values that look like slips, of a column or of series by ``labels``; whether so."""
    if codes is None or labels is None:
        if _surely_near(y):
            return False
        far = far_values(y, np.zeros(len(y), np.int64), 1)
    else:
        far = far_values(y, codes, len(labels))
    if not len(far):
        return False
    many, example = len(far) > 1, f"{y[far[0]]:g}"
    if codes is not None and labels is not None:
        example += f" in series {labels[codes[far[0]]]!r}"
    warnings.warn(
        f"Column {name!r}: {len(far)} training value{'s, such as' if many else ','} {example}, "
        f"{'lie' if many else 'lies'} over {_FAR} times as far out as 99 % of the "
        f"{'column' if labels is None else 'series'}. If that is a slip, or stands for a missing "
        "value, mend it before fit.",
        DataWarning,
        stacklevel=2,
    )
    return True


def _least_spreads(count: Any) -> tuple[Any, Any]:
    """Return, for so many values, the place up to which 99 % lie, and the reach of a slip.

    A value M away from the median, where all but a share f of the others lie within M / 20, is so
    many standard deviations from the mean, or more.
    """
    last = (99 * (count - 1)) // 100
    share = (count - 1 - last) / np.maximum(count, 1)
    return last, (1 - share - 1 / _FAR) / np.sqrt(1 / _FAR**2 + share)


def _surely_near(y: np.ndarray) -> bool:
    """Return whether no value of a column can be a slip, without sorting."""
    if len(y) < _FEWEST:
        return True
    mean = y.mean()
    reach = max(y.max() - mean, mean - y.min())
    return bool(reach <= _least_spreads(len(y))[1] * y.std())
