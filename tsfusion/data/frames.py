"""Tables of any kind (pandas, polars, pyarrow, NumPy) as one pandas DataFrame.

Relies on narwhals for the tables of other libraries, and on scikit-learn's checks for arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["as_frame", "as_target"]


def as_frame(X: Any, names: Iterable[Any] = ()) -> pd.DataFrame:
    """Return X as a pandas DataFrame; columns of an array are numbered from 0.

    Parameters
    ----------
    X : table or array-like of shape (R, C)
        pandas, polars, pyarrow or anything that narwhals reads; or a 2-D array.
    names : iterable
        The column names among the caller's parameters, to explain an array given in place of a
        frame.

    Returns
    -------
    DataFrame
        Not a copy where X is a DataFrame already.
    """
    if isinstance(X, pd.DataFrame):
        if not X.columns.is_unique:
            twice = X.columns[X.columns.duplicated()][0]
            raise ValueError(f"X: expected unique column names, {twice!r} occurs more than once.")
        return X
    if hasattr(X, "collect") and hasattr(type(X), "columns"):
        raise TypeError(
            f"X: expected a table in memory, received {type(X).__name__}: call .collect() first."
        )
    if hasattr(X, "__dataframe__") or hasattr(X, "__arrow_c_stream__"):
        import narwhals as nw

        frame = nw.from_native(X, eager_only=True)
        return pd.DataFrame({name: frame[name].to_pandas() for name in frame.columns})
    named = [name for name in names if isinstance(name, str) and name != "index"]
    from sklearn.utils import check_array

    array = check_array(X, dtype=None, ensure_all_finite=False, input_name="X")
    if named:
        raise ValueError(
            f"X is an array without column names, but the parameters name the columns {named}. "
            "Pass a DataFrame, or let the step before give one: "
            "set_output(transform='pandas'); for arrays use column numbers."
        )
    if array.dtype.kind in "OUS":
        array = check_array(X, dtype="numeric", ensure_all_finite=False, input_name="X")
    return pd.DataFrame(array, copy=False)


def as_target(y: Any, frame: pd.DataFrame, X: Any) -> np.ndarray:
    """Return y as float64 of shape (R,), after checking that its rows are those of X."""
    if y is None:
        raise ValueError(
            "No target: expected y, or target= with the name of a column of X. "
            "requires y to be passed, but the target y is None."
        )
    if (
        isinstance(y, (pd.Series, pd.DataFrame))
        and isinstance(X, pd.DataFrame)
        and len(y) == len(X)
        and not y.index.equals(X.index)
    ):
        row = int(np.argmax(np.asarray(y.index != X.index)))
        raise ValueError(
            f"y is in another order than X: at row {row} the index of X is {X.index[row]!r}, that "
            f"of y is {y.index[row]!r}. Align them: y = y.loc[X.index]."
        )
    from sklearn.utils import check_consistent_length, column_or_1d

    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    if not isinstance(y, (pd.Series, np.ndarray, list, tuple)) and hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if isinstance(y, pd.Series) and isinstance(y.dtype, pd.api.extensions.ExtensionDtype):
        values = numbers(y, "y", "target")
    else:
        values = column_or_1d(y, warn=True)
        if values.dtype.kind not in "fiub":
            values = numbers(pd.Series(values), "y", "target")
    check_consistent_length(frame, values)
    values = np.asarray(values, dtype=np.float64)
    check_not_infinite(values, "y", "target")
    return values


def is_numeric_objects(column: pd.Series) -> bool:
    """Whether an object column holds numbers; the text "1" is a category, whatever its dtype."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    return kind in ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")


def numbers(column: pd.Series, name: Any, role: str) -> np.ndarray:
    """Return a column as float64 (missing values as NaN); raise if it holds no numbers."""
    dtype = column.dtype
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        if pd.api.types.is_complex_dtype(dtype):
            raise ValueError(f"Complex data not supported: {role} column {name!r}.")
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_object_dtype(dtype) and is_numeric_objects(column):
        try:
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            pass
    first = next((value for value in column if not pd.isna(value)), None)
    raise TypeError(
        f"{role.capitalize()} column {name!r}: expected numbers, received {dtype} such as "
        f"{first!r}. Convert it with pd.to_numeric."
    )


def check_not_infinite(values: np.ndarray, name: Any, role: str) -> None:
    """Raise if a column holds an infinity."""
    infinite = np.isinf(values)
    if infinite.any():
        raise ValueError(
            f"Input contains infinity or a value too large for dtype('float64'): {role} column "
            f"{name!r}, row {int(infinite.argmax())} ({int(infinite.sum())} rows in all). "
            "Replace it by a number or NaN."
        )
