"""Tables in and out of the command line: CSV and Parquet files, standard input and output."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsfusion.exceptions import DataWarning

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_output", "count_rows", "read_table", "write_json", "write_table"]

_PARQUET = (".parquet", ".pq")
_OTHERS = (".arrow", ".feather", ".h5", ".json", ".orc", ".pkl", ".xls", ".xlsx")
_SEPARATORS = {";", "\t", "|"}
# The cells that pandas reads as missing ones.
_MISSING = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
]  # fmt: skip
# Dates in an order that cannot be known: 31.01.2024, 01/31/24.
_DATE = r"\d{1,2}([./-])\d{1,2}\1\d{2,4}( .*)?"


def read_table(
    path: str, time: str | None = None, *, labels: Collection[str] = (),
    names: Collection[str] = (), words: Collection[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """Read a CSV or Parquet file (``-``: CSV on standard input), its times as times.

    Parameters
    ----------
    path : str
    time : str, default=None
        The column of times. None takes every column of texts that are all ISO dates.
    labels : collection of str
        Columns of a CSV file whose cells are names, such as 007 or NA: texts as they stand there,
        unless all are whole numbers as Python writes them.
    names, words : collection of str
        Columns of a CSV file that are known to hold texts, though they may look like numbers: names
        as they stand there, and words, of which NA and the like are missing ones.

    Raises
    ------
    ValueError
        If the file is no table, or texts of the time column are no times.
    """
    import pandas as pd

    if path != "-" and not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file.")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: expected a CSV or Parquet file, received a folder.")
    _check_ending(path)
    try:
        if path.lower().endswith(_PARQUET):
            frame = _read_parquet(path)
        else:
            frame = _read_csv(path, {*labels, *names}, set(words))
            for name in frame.columns.intersection(list(labels)):
                frame[name] = _whole(frame[name])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        shown = "standard input" if path == "-" else path
        raise ValueError(
            f"{shown}: expected a CSV file with a header, in UTF-8, received: {error}"
        ) from error
    if frame.shape[1] == 1 and (found := _SEPARATORS & set(str(frame.columns[0]))):
        between = found.pop()
        raise ValueError(
            f"{path}: expected columns separated by commas, received the header "
            f"{frame.columns[0]!r}, which has {between!r} between them. Write it anew, with pandas "
            f"for instance: pd.read_csv(path, sep={between!r}).to_csv(path, index=False)."
        )
    for name in frame.columns if time is None else [time]:
        if name in frame.columns and pd.api.types.is_string_dtype(frame[name].dtype):
            frame[name] = _times(frame[name], path, must=name == time)
    return frame


def count_rows(table: pd.DataFrame | str) -> int:
    """Return the rows of a table, or of the Parquet files in a folder."""
    if not isinstance(table, str):
        return len(table)
    import pyarrow.dataset

    return pyarrow.dataset.dataset(table).count_rows()


def _read_csv(path: str, names: set[str], words: set[str]) -> pd.DataFrame:
    """Read a CSV file; of ``names`` only an empty cell is missing."""
    import pandas as pd

    file = io.StringIO(sys.stdin.read()) if path == "-" else path
    if not names | words:
        return pd.read_csv(file)
    header = pd.read_csv(file, nrows=0).columns
    if isinstance(file, io.StringIO):
        file.seek(0)
    return pd.read_csv(
        file,
        dtype=dict.fromkeys(names | words, "str"),
        keep_default_na=False,
        na_values={name: [""] if name in names else _MISSING for name in header},
    )


def _whole(column: pd.Series) -> pd.Series:
    """Return texts as integers if all are whole numbers, as Python writes them."""
    import pandas as pd

    texts = pd.api.types.is_string_dtype(column.dtype)
    if not texts or not column.dropna().str.fullmatch(r"0|-?[1-9]\d{0,17}").all():
        return column
    return pd.to_numeric(column)


def _check_ending(path: str) -> None:
    """Raise where a file's name says that it is to be something that we do not read or write."""
    if path.lower().endswith(_OTHERS):
        raise ValueError(
            f"{path}: expected a .csv or .parquet file, received {os.path.splitext(path)[1]!r}."
        )


def _read_parquet(path: str) -> pd.DataFrame:
    import pandas as pd

    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(
            f"{path}: Parquet files need pyarrow: pip install 'tsfusion[parquet]'."
        ) from error
    try:
        return pd.read_parquet(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: expected a Parquet file, received: {error}") from error


def _times(column: pd.Series, path: str, *, must: bool) -> pd.Series:
    """Return texts as times; those that are none as they were, unless they must be."""
    import pandas as pd

    found = pd.to_datetime(column, format="ISO8601", errors="coerce")
    bad = found.isna() & column.notna()
    if not bad.any():
        return found if column.notna().any() else column
    if not must:
        some = column.dropna().head(100).astype(str)
        if some.str.fullmatch(_DATE).all():
            warnings.warn(
                f"{path}: column {column.name!r} is taken for categories, as {some.iloc[0]!r} is "
                "no time such as 2024-01-31. If it holds dates, write them so.",
                DataWarning,
                stacklevel=2,
            )
        return column
    row = int(bad.to_numpy().argmax())
    raise ValueError(
        f"{path}: column {column.name!r}: expected times such as 2024-01-31 or 2024-01-31 08:00, "
        f"received {column.iloc[row]!r} in row {row + 2}."
    )


def check_output(path: str | None, *, as_json: bool = False) -> None:
    """Raise if a table cannot be written there, before the work that makes it."""
    if path in (None, "-"):
        return
    from tsfusion.files.archive import check_target

    check_target(str(path))
    if not as_json:
        _check_ending(str(path))


def write_table(frame: pd.DataFrame, path: str | None, *, as_json: bool = False) -> None:
    """Write a table to a file by its ending (replaced whole), or to standard output."""
    check_output(path, as_json=as_json)
    on_disk = path not in (None, "-")
    if as_json:
        content = (frame.to_json(orient="records", date_format="iso", indent=1) + "\n").encode()
    elif on_disk and str(path).lower().endswith(_PARQUET):
        content = frame.to_parquet(index=False)
    else:
        content = frame.to_csv(index=False, lineterminator="\n").encode()
    if not on_disk:
        sys.stdout.write(content.decode())
        return
    from tsfusion.files.archive import replacing

    with replacing(Path(str(path))) as file:
        file.write(content)


def write_json(values: dict[str, Any]) -> None:
    """Print an object."""
    print(json.dumps(values, indent=1, default=_plain, allow_nan=False))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
