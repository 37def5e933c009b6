"""Which bucket a series belongs to: the same in every process, on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["series_bucket"]

# Any text of 16 bytes; it is fixed, since buckets on disk rest on it.
_KEY = "tsfusion.buckets"
_ODD = np.uint64(0x9E3779B97F4A7C15)


def series_bucket(frame: pd.DataFrame, series: Sequence[Any], n_buckets: int) -> np.ndarray:
    """Return the bucket of each row, which follows from the labels of its series alone.

    A label counts as its text, so that 7 of an integer column and "7" of a text column, or a
    category and its text, share a bucket.

    Parameters
    ----------
    frame : DataFrame of R rows
    series : sequence of column names
        The columns that tell series apart; without any, all rows are in bucket 0.
    n_buckets : int
        How many buckets there are, at least 1.

    Returns
    -------
    ndarray of int64, shape (R,)
        From 0 to ``n_buckets - 1``.

    Raises
    ------
    ValueError
        If ``n_buckets`` is less than 1, or a column is not there.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"store": ["a", "b", "a", "c"]})
    >>> series_bucket(table, ["store"], 4).tolist()
    [1, 1, 1, 2]
    """
    if isinstance(n_buckets, bool) or not isinstance(n_buckets, Integral) or n_buckets < 1:
        raise ValueError(f"n_buckets: expected an integer >= 1, received {n_buckets!r}.")
    found = np.zeros(len(frame), np.uint64)
    for name in series:
        if name not in frame.columns:
            raise ValueError(
                f"series: expected the column {name!r}, the table has {list(frame.columns)[:20]}."
            )
        codes, labels = pd.factorize(frame[name], use_na_sentinel=False)
        # Once for each label, not for each row.
        text = np.asarray([str(label) for label in pd.Index(labels)], dtype=object)
        hashed = pd.util.hash_array(text, hash_key=_KEY, categorize=False)
        found = (found ^ hashed[codes]) * _ODD
    # The low bits of a product hang on the low bits of its factors alone.
    return ((found >> np.uint64(32)) % np.uint64(n_buckets)).astype(np.int64)
