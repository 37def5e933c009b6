"""Tables of any kind (pandas, polars, pyarrow, NumPy) as one pandas DataFrame.

Relies on narwhals for the tables of other libraries, and on scikit-learn's checks for arrays.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["as_frame", "as_target"]

# Larger numbers are nobody's measurements; in the unit of a small series float32 cannot hold them.
_LARGEST = 1e30


def as_frame(
    X: Any, names: Iterable[Any] = (), columns: Collection[Any] | None = None
) -> pd.DataFrame:
    """Return X as a pandas DataFrame; columns of an array are numbered from 0.

    Other tables are handed over one column at a time through Arrow: numbers and times without nulls
    are not copied, categories keep their codes.

    Parameters
    ----------
    X : table or array-like of shape (R, C)
        pandas, polars, pyarrow or anything that narwhals reads; or a 2-D array.
    names : iterable
        The column names among the caller's parameters, to explain an array given in place of a
        frame.
    columns : collection, default=None
        Of a table that must be converted, the columns to read; None reads all.

    Returns
    -------
    DataFrame
        Not a copy where X is a DataFrame already.

    Raises
    ------
    TypeError
        If X is no table in memory, such as a LazyFrame or a single column.
    ValueError
        If column names repeat, or X is an array that is not 2-D or comes where names are needed.

    Examples
    --------
    >>> import pyarrow as pa
    >>> as_frame(pa.table({"store": ["a", "b"], "sales": [1.5, 2.0]})).dtypes.astype(str).tolist()
    ['str', 'float64']
    """
    if isinstance(X, pd.DataFrame):
        _check_unique_names(X.columns)
        return X
    if hasattr(X, "collect") and hasattr(type(X), "columns"):
        raise TypeError(
            f"X: expected a table in memory, received {type(X).__name__}: call .collect() first."
        )
    if _is_column(X):
        raise TypeError(
            f"X: expected a table, received a single column ({type(X).__name__}). Reshape your "
            "data: X.to_frame(name='y') makes a table of it, for target='y'."
        )
    if hasattr(X, "__dataframe__") or hasattr(X, "__arrow_c_stream__"):
        return _from_table(X, columns)
    named = [name for name in names if isinstance(name, str) and name != "index"]
    from sklearn.utils import check_array

    _check_two_dimensions(X)
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


def _is_column(X: Any) -> bool:
    """Whether X is one column of some library rather than a table of them."""
    return isinstance(X, (pd.Series, pd.Index)) or (
        hasattr(X, "__arrow_c_stream__") and not hasattr(X, "columns")
    )


def _check_unique_names(names: pd.Index) -> None:
    if not names.is_unique:
        twice = names[names.duplicated()][0]
        raise ValueError(f"X: expected unique column names, {twice!r} occurs more than once.")


def _from_table(X: Any, columns: Collection[Any] | None) -> pd.DataFrame:
    import narwhals as nw
    import pyarrow as pa

    _check_unique_names(pd.Index(getattr(X, "column_names", ())))
    try:
        frame = nw.from_native(X, eager_only=True)
    except TypeError:
        frame = nw.from_native(pa.table(X), eager_only=True)
    names = [name for name in frame.columns if columns is None or name in columns]
    index = pd.RangeIndex(len(frame))
    return pd.DataFrame({name: _series(frame[name]) for name in names}, index, copy=False)


def _series(column: Any) -> pd.Series:
    """Return a column as pandas' own: dates as datetimes, decimals as floats."""
    import pyarrow as pa

    values = column.to_native()
    if not isinstance(values, pa.ChunkedArray):
        values = column.to_arrow()
    if pa.types.is_date(values.type):
        # As Python's date objects, a table of days took ten times as long to read.
        values = values.cast(pa.timestamp("s" if pa.types.is_date32(values.type) else "ms"))
    elif pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    return pd.Series(values.to_pandas(), copy=False)


def _check_two_dimensions(X: Any) -> None:
    """Refuse what has no rows and columns, in the words that scikit-learn uses for it."""
    # By way of an array, for types that have no say in how NumPy's functions take them.
    shape = X.shape if hasattr(X, "shape") else np.asarray(X, dtype=object).shape
    if len(shape) == 0:
        shown = "None" if X is None else f"{type(X).__name__} {str(X)[:40]!r}"
        hint = ""
        if isinstance(X, dict):
            hint = " Make a DataFrame of it: pd.DataFrame(X)."
        elif isinstance(X, (str, os.PathLike)) and os.path.splitext(X)[1]:
            hint = " Read the file first, for instance with pd.read_csv or pd.read_parquet."
        raise TypeError(f"X: expected a DataFrame or a 2-D array, received {shown}.{hint}")
    if len(shape) == 1 and shape[0] and isinstance(X, (list, tuple)) and isinstance(X[0], dict):
        raise TypeError(
            "X: expected a DataFrame or a 2-D array, received a list of dicts. Make a DataFrame of "
            "it: pd.DataFrame(X)."
        )
    if len(shape) == 1:
        raise ValueError(
            f"X: Expected 2D array, got 1D array of {shape[0]} values instead. Reshape your data: "
            "X.reshape(-1, 1) for one column, X.reshape(1, -1) for one row."
        )


def as_target(y: Any, frame: pd.DataFrame, X: Any) -> np.ndarray:
    """Return y as float64 of shape (R,), after checking that its rows are those of X."""
    if y is None:
        raise ValueError(
            "No target: expected y, or target= with the name of a column of X. "
            "requires y to be passed, but the target y is None."
        )
    if isinstance(y, str):
        raise TypeError(
            f"y: expected the values of the target, received the text {y!r}. To name a column of "
            f"X, use the parameter target={y!r}."
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
    from sklearn.utils import column_or_1d

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
    if len(values) != len(frame):
        raise ValueError(
            f"y: expected a value for each of the {len(frame)} rows of X, received {len(values)}: "
            f"inconsistent numbers of samples: [{len(frame)}, {len(values)}]."
        )
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
    is_text = column.map(lambda value: isinstance(value, str)).astype(bool)
    stray = is_text & pd.to_numeric(column.where(is_text).astype(object), errors="coerce").isna()
    also, how = "", "pd.to_numeric"
    if stray.any() and (column.notna() & ~stray).any():
        row = int(stray.to_numpy().argmax())
        also = f" and {column.iloc[row]!r} in row {row} ({int(stray.sum())} such rows in all)"
        how = f"pd.to_numeric(X[{name!r}], errors='coerce')"
    raise TypeError(
        f"{role.capitalize()} column {name!r}: expected numbers, received {dtype} such as "
        f"{first!r}{also}. Convert it with {how}."
    )


def check_not_infinite(values: np.ndarray, name: Any, role: str) -> None:
    """Raise if a column holds an infinity, or what would become one."""
    large = np.abs(values) > _LARGEST
    if not large.any():
        return
    infinite = np.isinf(values)
    if infinite.any():
        raise ValueError(
            f"Input contains infinity or a value too large for dtype('float64'): {role} column "
            f"{name!r}, row {int(infinite.argmax())} ({int(infinite.sum())} rows in all). "
            "Replace it by a number or NaN."
        )
    row = int(large.argmax())
    raise ValueError(
        f"{role.capitalize()} column {name!r}: expected sizes up to {_LARGEST:g}, which float32 "
        f"can hold in any unit, received {values[row]:g} in row {row} ({int(large.sum())} rows in "
        "all). If it stands for a missing value, make it NaN; else divide the column."
    )
