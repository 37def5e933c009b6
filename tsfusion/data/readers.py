"""Files in the formats of the field's benchmarks, as one tidy long frame each.

Relies on NumPy and pandas, and on pyarrow for Parquet. Whatever the file calls them, the columns
are ``series``, ``time`` and ``value``, then what else the file holds; ``frame.attrs["roles"]`` are
the arguments of `FusionForecaster` that say so.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from tsfusion.data.timeline import infer_timeline, raw_times
from tsfusion.exceptions import DataWarning

__all__ = ["read_ett", "read_m4", "read_nixtla", "read_tsf", "read_wide"]

_COLUMNS = ("series", "time", "value")
_DAY = np.timedelta64(1, "D").astype("m8[s]")

# Zhou et al., "Informer" (2021), table of the ETDataset: six power loads and the oil temperature.
_ETT_LOADS = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL"]

_UNITS = {
    "second": (np.timedelta64(1, "s"), "s"),
    "minute": (np.timedelta64(60, "s"), "min"),
    "hour": (np.timedelta64(3600, "s"), "h"),
    "day": (_DAY, "D"),
    "week": (7 * _DAY, "W"),
    "month": (np.timedelta64(1, "M"), "M"),
    "quarter": (np.timedelta64(3, "M"), "Q"),
    "year": (np.timedelta64(12, "M"), "Y"),
}
# Names of the Monash archive (Godahewa et al. 2021) beside "4_seconds", "10_minutes" and the like.
_FREQUENCIES = {
    "yearly": "1_year", "quarterly": "1_quarter", "monthly": "1_month", "weekly": "1_week",
    "daily": "1_day", "hourly": "1_hour", "half_hourly": "30_minutes", "minutely": "1_minute",
    "secondly": "1_second",
}  # fmt: skip

# By the first letter of an id: name, pandas alias, horizon (M4 Competitor's Guide, 2018).
_M4 = {
    "Y": ("yearly", "YS", 6),
    "Q": ("quarterly", "QS", 8),
    "M": ("monthly", "MS", 18),
    "W": ("weekly", "W-MON", 13),
    "D": ("daily", "D", 14),
    "H": ("hourly", "h", 48),
}
# Nothing that the competitors were given when it opened can have been measured later.
_M4_OPENED = np.datetime64("2018-01-01", "s")
_M4_CHUNK = 1000


def read_ett(path: str | os.PathLike) -> pd.DataFrame:
    """Read a CSV of the electricity transformer data (ETTh1, ETTh2, ETTm1, ETTm2).

    Parameters
    ----------
    path : str or path-like
        A file with the columns ``date``, ``HUFL``, ``HULL``, ``MUFL``, ``MULL``, ``LUFL``, ``LULL``
        and ``OT``; gzipped where its name ends in ``.gz``.

    Returns
    -------
    DataFrame
        One series, named after the file: ``series``, ``time``, ``value`` (the oil temperature
        ``OT``, in degrees Celsius) and the six loads, which are observed. To forecast all seven as
        a panel, use ``read_wide(path, time="date")``. ``attrs`` holds ``frequency`` (``"h"`` or
        ``"15min"``), ``horizon`` (None) and ``roles`` for `FusionForecaster`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the header is another, a line is malformed, a time occurs twice, or there are no rows.

    References
    ----------
    Zhou et al., "Informer: Beyond Efficient Transformer for Long Sequence Time-Series Forecasting",
    AAAI 2021.

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion.data import read_ett
    >>> path = os.path.join(tempfile.mkdtemp(), "ETTh1.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\\n"
    ...                    "2016-07-01 00:00:00,5.8,2.0,1.6,0.5,4.2,1.3,30.5\\n"
    ...                    "2016-07-01 01:00:00,5.7,2.1,1.5,0.4,4.1,1.4,27.8\\n")
    >>> df = read_ett(path)
    >>> df[["series", "time", "value", "HUFL"]]
      series                time  value  HUFL
    0  ETTh1 2016-07-01 00:00:00   30.5   5.8
    1  ETTh1 2016-07-01 01:00:00   27.8   5.7
    >>> df.attrs["frequency"], df.attrs["roles"]["target"]
    ('h', 'value')
    """
    path = _existing(path, "read_ett")
    expected = ["date", *_ETT_LOADS, "OT"]
    frame = _read_csv(path)
    if list(frame.columns) != expected:
        raise ValueError(
            f"{path}: expected the header {','.join(expected)}, found {_shown(frame.columns)}. For "
            "other files with a time column, use read_wide or read_nixtla."
        )
    time = _as_times(frame["date"], path)
    result = pd.DataFrame(
        {"series": path.name.split(".")[0], "time": time, "value": _as_numbers(frame["OT"], path)}
        | {name: _as_numbers(frame[name], path) for name in _ETT_LOADS}
    )
    _check_unique(result, path)
    frequency = None
    if len(time) > 1:
        raw = raw_times(time.sort_values(), "date")
        frequency = infer_timeline(raw, np.zeros(len(time), np.int64), "date").freq
    return _with_attrs(result, frequency, None, observed=_ETT_LOADS)


def read_m4(
    train: str | os.PathLike,
    test: str | os.PathLike | None = None,
    info: str | os.PathLike | None = None,
) -> pd.DataFrame:
    """Read CSV files of the M4 competition: one frequency, one line a series.

    Parameters
    ----------
    train : str or path-like
        Such as ``Weekly-train.csv``: the id in ``V1``, then the values, padded at the end by empty
        fields; gzipped where its name ends in ``.gz``.
    test : str or path-like, default=None
        The values that follow, such as ``Weekly-test.csv``, of the same series in any order.
    info : str or path-like, default=None
        ``M4-info.csv``. Gives the column ``category`` and, where it has a ``StartingDate``, real
        dates.

    Returns
    -------
    DataFrame
        Rows by series, as in ``train``, and time: ``series``, ``time``, ``value``, with a test file
        ``test`` (whether the row comes from it), with ``info`` ``category`` (static). Without dates
        ``time`` counts a series' values from 0. Padding is left out; a value missing further inside
        is NaN. ``attrs`` holds ``frequency``, ``horizon`` (of ``info``, otherwise that of the
        competition) and ``roles`` for `FusionForecaster`. Drop the column ``test`` before fitting.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a header is another, a line is malformed or without values, an id occurs twice, the files
        hold different series, or a date cannot be read.

    Notes
    -----
    The starting dates come as ``dd-mm-yy hh:mm`` (``01-06-76 12:00``) and a few as
    ``yyyy-mm-dd hh:mm:ss``. They are only roughly right, and two digits do not tell the century:

    - A year of two digits gets the latest century that puts the last training value before
      1 January 2018, when the competition opened: later values could not have been handed out.
    - A date stands for the year, quarter, month, week (from Monday), day or hour that it lies in,
      whose first moment is the time, so that all series of a frequency share one grid.
    - Long yearly series may start before 1678, which `FusionForecaster` refuses; use integer times
      there.

    References
    ----------
    Makridakis, Spiliotis, Assimakopoulos, "The M4 Competition: 100,000 time series and 61
    forecasting methods", International Journal of Forecasting 36 (2020).

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion.data import read_m4
    >>> folder = tempfile.mkdtemp()
    >>> train, test = (os.path.join(folder, name) for name in ("train.csv", "test.csv"))
    >>> with open(train, "w") as file:
    ...     _ = file.write('"V1","V2","V3","V4"\\n"W1","1.5","2","3"\\n"W2","7",,\\n')
    >>> with open(test, "w") as file:
    ...     _ = file.write('"V1","V2"\\n"W1","4"\\n"W2","8"\\n')
    >>> df = read_m4(train, test)
    >>> df
      series  time  value   test
    0     W1     0    1.5  False
    1     W1     1    2.0  False
    2     W1     2    3.0  False
    3     W1     3    4.0   True
    4     W2     0    7.0  False
    5     W2     1    8.0   True
    >>> df.attrs["frequency"], df.attrs["horizon"]
    ('W-MON', 13)
    """
    path = _existing(train, "read_m4")
    ids, lengths, values = _read_m4_values(path)
    owner = np.repeat(np.arange(len(ids)), lengths)
    further: dict[str, Any] = {}
    if test is not None:
        owner, later, values = _add_m4_test(_existing(test, "read_m4"), ids, owner, values)
        further["test"] = later
    time: np.ndarray = _positions(np.bincount(owner))
    letters = ids.str[:1].unique()
    name, frequency, horizon = _M4.get(letters[0] if len(letters) == 1 else "", (None, None, None))
    if info is not None:
        known = _read_m4_info(_existing(info, "read_m4"), ids)
        further["category"] = known["category"].to_numpy()[owner]
        horizons = known["Horizon"].unique()
        horizon = int(horizons[0]) if len(horizons) == 1 else None
        if "StartingDate" in known:
            if name is None:
                raise ValueError(
                    f"{path}: expected series of one frequency, such as W1, W2, ..., to give them "
                    f"dates, found ids such as {_shown(ids)}. Read one file per frequency, or "
                    "leave out info."
                )
            step, _ = _step(name)
            time = _advance(_m4_starts(known["StartingDate"], lengths, step)[owner], time, step)
    result = pd.DataFrame({"series": ids.take(owner), "time": time, "value": values} | further)
    static = ["category"] if info is not None else []
    return _with_attrs(result, frequency, horizon, static=static)


def read_tsf(path: str | os.PathLike) -> pd.DataFrame:
    """Read a ``.tsf`` file of the Monash forecasting archive.

    Parameters
    ----------
    path : str or path-like
        The file, in UTF-8, cp1252 or latin-1; gzipped where its name ends in ``.gz``.

    Returns
    -------
    DataFrame
        Rows by series, as in the file, and time: ``series`` (the attribute ``series_name``, or
        ``T1``, ``T2``, ... where there is none), ``time``, ``value`` (``?`` is NaN) and the other
        attributes, which are static. ``time`` is counted in steps of ``@frequency`` from the
        attribute ``start_timestamp`` (or the only attribute that is a date); without one it counts
        a series' values from 0. ``attrs`` holds ``frequency`` (a pandas alias; None where the file
        names none, or no alias says on which day of the month a step stands), ``horizon`` (None
        where the file names none) and ``roles`` for `FusionForecaster`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the header or a line is malformed (with its number), a series occurs twice, a frequency
        is not known, or there is no data.

    Warns
    -----
    DataWarning
        If series start at different places of the step (on different weekdays, say), so that they
        share no grid; if there are starting times but no ``@frequency``, so that integers must do;
        if a header line is not known.

    Notes
    -----
    A monthly, quarterly or yearly series that starts on the last day of a month stays on last days;
    any other keeps its day, cut to the length of the month.

    References
    ----------
    Godahewa et al., "Monash Time Series Forecasting Archive", NeurIPS Datasets and Benchmarks 2021.

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion.data import read_tsf
    >>> path = os.path.join(tempfile.mkdtemp(), "demo.tsf")
    >>> with open(path, "w") as file:
    ...     _ = file.write("@relation demo\\n@attribute series_name string\\n"
    ...                    "@attribute start_timestamp date\\n@attribute state string\\n"
    ...                    "@frequency monthly\\n@horizon 2\\n@missing true\\n"
    ...                    "@equallength false\\n@data\\n"
    ...                    "T1:1979-01-01 00-00-00:NSW:1.5,?,3\\n"
    ...                    "T2:1979-02-01 00-00-00:VIC:7,8\\n")
    >>> df = read_tsf(path)
    >>> df
      series       time  value state
    0     T1 1979-01-01    1.5   NSW
    1     T1 1979-02-01    NaN   NSW
    2     T1 1979-03-01    3.0   NSW
    3     T2 1979-02-01    7.0   VIC
    4     T2 1979-03-01    8.0   VIC
    >>> df.attrs["frequency"], df.attrs["horizon"], df.attrs["roles"]["static"]
    ('MS', 2, ['state'])
    """
    path = _existing(path, "read_tsf")
    for encoding in ("utf-8-sig", "cp1252"):
        with suppress(UnicodeDecodeError):
            return _tsf_frame(_parse_tsf(path, encoding), path)
    return _tsf_frame(_parse_tsf(path, "latin-1"), path)


def read_nixtla(path: str | os.PathLike, *, date_format: str | None = None) -> pd.DataFrame:
    """Read a long file with the columns of Nixtla's libraries: ``unique_id``, ``ds``, ``y``.

    Parameters
    ----------
    path : str or path-like
        A CSV (gzipped where its name ends in ``.gz``) or Parquet (``.parquet``, ``.pq``) file.
    date_format : str, default=None
        The format of text in ``ds``, such as ``"%d/%m/%Y"``; None infers it from the first row,
        where ``01/02/2024`` is the second of January.

    Returns
    -------
    DataFrame
        Rows in the file's order: ``series``, ``time`` (datetimes, or numbers as they are),
        ``value``, and the further columns under their own names. ``attrs`` holds ``frequency`` and
        ``horizon`` (None: the format has neither) and ``roles`` for `FusionForecaster`; which of
        the further columns are known in the future, only you can say.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If pyarrow is missing for a Parquet file.
    ValueError
        If a column is not there, a line is malformed, a series has a time twice, a time cannot be
        read, or there are no rows.

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion.data import read_nixtla
    >>> path = os.path.join(tempfile.mkdtemp(), "sales.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("unique_id,ds,y,price\\na,2024-01-01,3,9.5\\na,2024-01-02,4,9.0\\n")
    >>> read_nixtla(path)
      series       time  value  price
    0      a 2024-01-01    3.0    9.5
    1      a 2024-01-02    4.0    9.0
    """
    path = _existing(path, "read_nixtla")
    if path.suffix in (".parquet", ".pq"):
        frame = _read_parquet(path)
    else:
        frame = _read_csv(path)
    absent = [name for name in ("unique_id", "ds", "y") if name not in frame.columns]
    if absent:
        raise ValueError(
            f"{path}: expected the columns unique_id, ds and y, {absent} are not there. Found "
            f"{_shown(frame.columns)}."
        )
    _check_named(frame.columns, path)
    further = [name for name in frame.columns if name not in ("unique_id", "ds", "y")]
    _check_no_clash(further, path)
    missing = frame["unique_id"].isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{path}: expected a unique_id in every row, {_place(path, missing.argmax())} has none "
            f"({int(missing.sum())} in all)."
        )
    result = pd.DataFrame(
        {
            "series": frame["unique_id"],
            "time": _as_times(frame["ds"], path, date_format),
            "value": _as_numbers(frame["y"], path),
        }
        | {name: frame[name] for name in further}
    )
    _check_unique(result, path)
    return _with_attrs(result, None, None)


def read_wide(
    path: str | os.PathLike,
    time: str | None = None,
    *,
    start: Any = None,
    freq: Any = None,
    header: bool = True,
    date_format: str | None = None,
) -> pd.DataFrame:
    """Read a CSV with one column per series, and one for the time or none.

    Parameters
    ----------
    path : str or path-like
        The file; gzipped where its name ends in ``.gz``.
    time : str, default=None
        The time column (``"Unnamed: 0"`` for a first column without a name); None where the rows
        are simply in order.
    start : timestamp, default=None
        Without a time column, the time of the first row; None counts rows from 0.
    freq : str or offset, default=None
        With ``start``, the pandas frequency of the rows.
    header : bool, default=True
        Whether the first line names the columns; otherwise they are ``"0"``, ``"1"``, ...
    date_format : str, default=None
        The format of text in the time column, such as ``"%d/%m/%Y"``; None infers it from the first
        row, where ``01/02/2024`` is the second of January.

    Returns
    -------
    DataFrame
        Rows by series, as in the file from left to right, and then as in the file: ``series`` (the
        column's name), ``time``, ``value``. Empty fields are NaN. ``attrs`` holds ``frequency``
        (``freq`` as a pandas alias), ``horizon`` (None) and ``roles`` for `FusionForecaster`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the time column is not there, two columns have one name, a line is malformed, a time
        occurs twice or cannot be read, or there are no rows or no series.

    Examples
    --------
    The exchange rates of Lai et al. (2018) come without dates and may be given some:

    >>> import os, tempfile
    >>> from tsfusion.data import read_wide
    >>> path = os.path.join(tempfile.mkdtemp(), "rates.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("AUD,GBP\\n0.7855,1.611\\n0.7818,1.610\\n")
    >>> read_wide(path, start="1990-01-01", freq="D")
      series       time   value
    0    AUD 1990-01-01  0.7855
    1    AUD 1990-01-02  0.7818
    2    GBP 1990-01-01  1.6110
    3    GBP 1990-01-02  1.6100
    """
    path = _existing(path, "read_wide")
    if (start is None) != (freq is None) or (start is not None and time is not None):
        raise ValueError(
            "read_wide: expected time=, or start= and freq= together, or none of them; received "
            f"time={time!r}, start={start!r}, freq={freq!r}."
        )
    frame = _read_csv(path, header=header)
    if time is not None and time not in frame.columns:
        raise ValueError(
            f"{path}: expected the time column {time!r}, which is not there. Found "
            f"{_shown(frame.columns)}."
        )
    names = [name for name in frame.columns if name != time]
    _check_named(names, path)
    if not names:
        raise ValueError(f"{path}: expected at least one column beside the time {time!r}.")
    frequency = None
    if time is not None:
        times = _as_times(frame[time], path, date_format)
    elif start is not None:
        dates = _dates_from(start, len(frame), freq, path)
        frequency, times = dates.freqstr, pd.Series(dates)
    else:
        times = pd.Series(np.arange(len(frame)))
    twice = times.duplicated().to_numpy()
    if twice.any():
        raise ValueError(
            f"{path}: expected each time once, {times[twice.argmax()]} occurs again at "
            f"{_place(path, twice.argmax(), header)} ({int(twice.sum())} repeats in all). Long "
            "files with an id in every row are for read_nixtla."
        )
    values = [_as_numbers(frame[name], path, header) for name in names]
    result = pd.DataFrame(
        {
            "series": pd.Index(names, dtype="str").repeat(len(frame)),
            "time": pd.concat([times] * len(names), ignore_index=True),
            "value": np.concatenate(values),
        }
    )
    return _with_attrs(result, frequency, None)


def _dates_from(start: Any, count: int, freq: Any, path: Path) -> pd.DatetimeIndex:
    """Return ``count`` dates from ``start`` on; warn where it is none of the frequency itself."""
    dates = pd.date_range(start, periods=count, freq=freq)
    if count and dates[0] != pd.Timestamp(start):
        warnings.warn(
            f"{path}: start={start!r} is no time of freq={dates.freqstr!r}, so that the first row "
            f"is of {dates[0]}. Pass start={str(dates[0])!r} if this is meant, or another freq.",
            DataWarning,
            stacklevel=3,
        )
    return dates


def _with_attrs(
    frame: pd.DataFrame,
    frequency: Any,
    horizon: int | None,
    *,
    static: list[str] | None = None,
    observed: list[str] | None = None,
) -> pd.DataFrame:
    roles: dict[str, Any] = {"series": "series", "time": "time", "target": "value"}
    if static:
        roles["static"] = list(static)
    if observed:
        roles["observed"] = list(observed)
    frame.attrs = {"frequency": frequency, "horizon": horizon, "roles": roles}
    return frame


def _existing(path: str | os.PathLike, reader: str) -> Path:
    found = Path(path)
    if not found.is_file():
        what = "a folder" if found.is_dir() else "not there"
        raise FileNotFoundError(f"{reader}: expected a file, {str(found)!r} is {what}.")
    return found


def _shown(names: Any) -> str:
    """Return the first names, for a message."""
    shown = ", ".join(map(str, names[:10]))
    return f"{shown}, ..." if len(names) > 10 else shown or "none"


def _open(path: Path, encoding: str) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return open(path, encoding=encoding, newline="")


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each line of a CSV that is not blank."""
    with _open(path, "utf-8-sig") as file:
        reader = csv.reader(file)
        for fields in reader:
            if fields:
                yield reader.line_num, fields


def _place(path: Path, row: Any, header: bool = True) -> str:
    """Return the line of a row (the row itself in Parquet)."""
    if path.suffix in (".parquet", ".pq"):
        return f"row {row}"
    return f"line {next(n for i, (n, _) in enumerate(_records(path)) if i == row + header)}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in our words what pandas and Python find wrong with a file."""
    try:
        yield
    except (pd.errors.ParserError, csv.Error) as error:
        text = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise ValueError(
            f"{path}: malformed: {text}. The first line sets the number of fields."
        ) from error
    except (UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, gzipped only where the name ends in .gz ({error})."
        ) from error


def _read_csv(path: Path, *, header: bool = True, **options: Any) -> Any:
    """Return the frame of a CSV (or its chunks), after checks that pandas does not make."""
    names = _header(path, header)
    options = {"names": names, "header": 0 if header else None, "encoding": "utf-8-sig"} | options
    compression: Any = "gzip" if path.suffix == ".gz" else None
    with _reading(path):
        result = pd.read_csv(path, compression=compression, **options)
    if "chunksize" in options:
        return result
    if not len(result):
        raise ValueError(f"{path}: expected rows after the header, found none.")
    if result.iloc[:, -1].isna().any():
        # pandas fills a line that is too short, so that it would pass for missing values.
        for number, fields in _records(path):
            if len(fields) < len(names):
                raise ValueError(
                    f"{path}, line {number}: expected {len(names)} fields as in the first line, "
                    f"found {len(fields)}."
                )
    return result


def _header(path: Path, header: bool = True) -> list[str]:
    """Return the names of the columns; pandas would rename the second of two alike."""
    with _reading(path):
        first = list(islice(_records(path), 2))
    if not first:
        raise ValueError(f"{path}: expected a header and rows, the file is empty.")
    fields = first[0][1]
    number, following = first[-1]
    if len(following) > len(fields):
        # pandas would take the fields too many for an index.
        raise ValueError(
            f"{path}, line {number}: expected {len(fields)} fields as in the first line, found "
            f"{len(following)}."
        )
    if not header:
        return [str(i) for i in range(len(fields))]
    numbers = pd.to_numeric(pd.Series(fields), errors="coerce")
    if numbers.notna().all() and (numbers % 1 != 0).any():
        raise ValueError(
            f"{path}: expected names in the first line, found numbers ({_shown(fields)}). If the "
            "file has no header, read it with read_wide(..., header=False)."
        )
    names = [name or f"Unnamed: {i}" for i, name in enumerate(fields)]
    twice = pd.Index(names).duplicated()
    if twice.any():
        raise ValueError(
            f"{path}: expected unique column names, {names[twice.argmax()]!r} occurs twice."
        )
    return names


def _check_named(names: Any, path: Path) -> None:
    unnamed = [name for name in names if str(name).startswith("Unnamed: ")]
    if unnamed:
        raise ValueError(
            f"{path}: column {unnamed[0].removeprefix('Unnamed: ')} (counted from 0) has no name. "
            "Give it one in the first line (to_csv(index=False) writes no index); in read_wide, "
            f"time={unnamed[0]!r} makes it the time."
        )


def _check_no_clash(names: list[Any], path: Path) -> None:
    clash = [name for name in names if name in _COLUMNS]
    if clash:
        raise ValueError(
            f"{path}: the column {clash[0]!r} clashes with the one of that name that the reader "
            "makes. Rename it in the file."
        )


def _check_unique(frame: pd.DataFrame, path: Path) -> None:
    twice = frame.duplicated(["series", "time"]).to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise ValueError(
            f"{path}: series {frame['series'].iloc[row]!r} has the time {frame['time'].iloc[row]} "
            f"twice, again at {_place(path, row)} ({int(twice.sum())} repeats in all)."
        )


def _as_numbers(column: pd.Series, path: Path, header: bool = True) -> np.ndarray:
    """Return a column as float64, or say which line holds no number."""
    numbers = pd.to_numeric(column, errors="coerce")
    bad = numbers.isna() & column.notna()
    if bad.any():
        row = bad.idxmax()
        raise ValueError(
            f"{path}, {_place(path, row, header)}: expected a number in column {column.name!r}, "
            f"found {str(column[row])!r} ({int(bad.sum())} such fields in all)."
        )
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _as_times(column: pd.Series, path: Path, date_format: str | None = None) -> pd.Series:
    """Return text as datetimes, times and numbers as they are."""
    times = column
    if not pd.api.types.is_numeric_dtype(column.dtype) or date_format is not None:
        text = column if date_format is None else column.astype("str")
        try:
            with warnings.catch_warnings():
                # pandas warns where it infers no format; what it cannot read is refused below.
                warnings.simplefilter("ignore", UserWarning)
                times = pd.to_datetime(text, format=date_format, errors="coerce")
        except ValueError as error:
            raise ValueError(f"{path}: column {column.name!r}: {error}") from error
    bad = times.isna()
    if bad.any():
        row = bad.idxmax()
        raise ValueError(
            f"{path}, {_place(path, row)}: expected a time in column {column.name!r}, written as "
            f"in the other rows, found {str(column[row])!r} ({int(bad.sum())} such rows in all). "
            "Mend the file, or say how times are written with date_format= where there is one."
        )
    return times


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{path}: reading Parquet needs pyarrow: pip install "tsfusion[parquet]".'
        ) from error
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except ValueError as error:
        raise ValueError(f"{path}: expected a Parquet file ({error}).") from error
    if frame.index.names != [None]:
        frame = frame.reset_index()
    if not len(frame):
        raise ValueError(f"{path}: expected rows, found none.")
    return frame.reset_index(drop=True)


def _positions(lengths: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... within each series."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _step(name: str, place: Any = "frequency") -> tuple[np.timedelta64, str]:
    """Return the step (seconds or months) and the alias of a frequency such as "10_minutes"."""
    text = _FREQUENCIES.get(name.lower(), name.lower())
    match = re.fullmatch(r"(\d+)_([a-z]+?)s?", text)
    if match is None or match[2] not in _UNITS or int(match[1]) < 1:
        raise ValueError(
            f"{place}: expected a frequency such as {', '.join(_FREQUENCIES)}, 10_minutes or "
            f"4_seconds, found {name!r}."
        )
    step, alias = _UNITS[match[2]]
    count = int(match[1])
    return step * count, alias if count == 1 else f"{count}{alias}"


def _counts_months(step: np.timedelta64) -> bool:
    return np.datetime_data(step.dtype)[0] == "M"


def _advance(
    start: np.ndarray, count: np.ndarray, step: np.timedelta64, keep_end: bool = True
) -> np.ndarray:
    """Return the times ``count`` steps after ``start``, both (R,)."""
    if _counts_months(step):
        return _add_months(start, count * step.astype(np.int64), keep_end)
    return start + count * step


def _month_parts(times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return month, seconds since its start, and whether the day is its last, each (R,)."""
    month = times.astype("M8[M]")
    past = times - month.astype("M8[s]")
    return month, past, past // _DAY + 1 == _days_in(month)


def _days_in(month: np.ndarray) -> np.ndarray:
    return ((month + 1).astype("M8[D]") - month.astype("M8[D]")).astype(np.int64)


def _add_months(times: np.ndarray, months: np.ndarray, keep_end: bool = True) -> np.ndarray:
    """Return the times months later; a month's last day stays one, unless ``keep_end`` is False."""
    month, past, is_last = _month_parts(times)
    month = month + months
    longest = _days_in(month) - 1
    day = np.where(is_last & keep_end, longest, np.minimum(past // _DAY, longest))
    return month.astype("M8[s]") + day * _DAY + past % _DAY


def _read_m4_values(path: Path) -> tuple[pd.Index, np.ndarray, np.ndarray]:
    """Return ids (S,), lengths (S,) and values (R,), without ever holding the padding of all."""
    names = _header(path)
    if names != [f"V{i + 1}" for i in range(len(names))] or len(names) < 2:
        raise ValueError(
            f"{path}: expected the header of an M4 file (V1, V2, V3, ...), found {_shown(names)}."
        )
    ids, lengths, values = [], [], []
    with _reading(path):
        for chunk in _read_csv(path, dtype={"V1": "str"}, chunksize=_M4_CHUNK):
            block = np.column_stack([_as_numbers(chunk[name], path) for name in names[1:]])
            known = ~np.isnan(block)
            length = np.where(known.any(axis=1), block.shape[1] - known[:, ::-1].argmax(axis=1), 0)
            ids.append(chunk["V1"])
            lengths.append(length)
            values.append(block[np.arange(block.shape[1]) < length[:, None]])
    if not sum(map(len, ids)):
        raise ValueError(f"{path}: expected series after the header, found none.")
    labels, length = pd.Index(pd.concat(ids)), np.concatenate(lengths)
    for bad, what in (
        (labels.isna(), "expected an id, found none"),
        (labels.duplicated(), "the id {} occurs a second time"),
        (length == 0, "series {} has no values"),
    ):
        if bad.any():
            row = bad.argmax()
            what = f"{what.format(labels[row])} ({int(bad.sum())} in all)"
            raise ValueError(f"{path}, {_place(path, row)}: {what}.")
    return labels, length, np.concatenate(values)


def _add_m4_test(
    path: Path, ids: pd.Index, owner: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return series, whether from the test file, and value of each row, by series and time."""
    test_ids, lengths, test_values = _read_m4_values(path)
    codes = ids.get_indexer(test_ids)
    unknown, absent = test_ids[codes < 0], ids.difference(test_ids, sort=False)
    if len(unknown) or len(absent):
        raise ValueError(
            f"{path}: expected the series of the training file; {len(unknown)} others are there "
            f"({_shown(unknown)}) and {len(absent)} are not ({_shown(absent)})."
        )
    owner = np.append(owner, np.repeat(codes, lengths))
    order = np.argsort(owner, kind="stable")
    return owner[order], order >= len(values), np.append(values, test_values)[order]


def _read_m4_info(path: Path, ids: pd.Index) -> pd.DataFrame:
    """Return the lines of M4-info.csv for these series, in their order."""
    frame = _read_csv(path)
    absent = [name for name in ("M4id", "category", "Horizon") if name not in frame.columns]
    if absent:
        raise ValueError(
            f"{path}: expected the header of M4-info.csv, {absent} are not there. Found "
            f"{_shown(frame.columns)}."
        )
    twice = frame["M4id"].duplicated().to_numpy()
    if twice.any():
        raise ValueError(
            f"{path}, {_place(path, twice.argmax())}: the M4id "
            f"{frame['M4id'].iloc[twice.argmax()]!r} occurs a second time."
        )
    found = pd.Index(frame["M4id"]).get_indexer(ids)
    if (found < 0).any():
        raise ValueError(
            f"{path}: expected a line for every series, {int((found < 0).sum())} have none (such "
            f"as {_shown(ids[found < 0])})."
        )
    return frame.take(found)


def _m4_starts(dates: pd.Series, lengths: np.ndarray, step: np.timedelta64) -> np.ndarray:
    """Return (S,) starting times on one grid, two-digit years in the latest century possible."""
    text = dates.astype("str").str.strip()
    short = pd.to_datetime(text, format="%d-%m-%y %H:%M", errors="coerce")
    full = pd.to_datetime(text, format="%Y-%m-%d %H:%M:%S", errors="coerce")
    bad = (short.isna() & full.isna()).to_numpy()
    if bad.any():
        raise ValueError(
            "info: expected a StartingDate such as 01-06-76 12:00 or 1882-07-01 12:00:00, found "
            f"{str(dates.iloc[bad.argmax()])!r} ({int(bad.sum())} such in all). Without info, the "
            "times are integers."
        )
    start = _floor(short.fillna(full).to_numpy().astype("M8[s]"), step)
    last = _advance(start, lengths - 1, step)
    years = (last.astype("M8[Y]") - _M4_OPENED.astype("M8[Y]")).astype(np.int64)
    centuries = np.where(short.notna(), np.maximum(years // 100 + 1, 0), 0)
    if not centuries.any():
        return start
    # Floored again: a century is no whole number of weeks.
    return _floor(_add_months(start, -1200 * centuries), step)


def _floor(times: np.ndarray, step: np.timedelta64) -> np.ndarray:
    """Return the first moment of the year, quarter, month, week (from Monday), day or hour."""
    if _counts_months(step):
        months = times.astype("M8[M]").astype(np.int64)
        return (months - months % step.astype(np.int64)).astype("M8[M]").astype("M8[s]")
    # The first day of the epoch was a Thursday.
    monday = np.datetime64("1970-01-05", "s")
    return times - (times - monday) % step


@dataclass
class _Tsf:
    """What a .tsf file says."""

    attributes: list[tuple[str, str]] = field(default_factory=list)
    """Names and types: string, numeric, date."""
    frequency: str | None = None
    horizon: int | None = None
    fields: list[list[str]] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    """The number of the line of each series."""
    unknown: list[str] = field(default_factory=list)
    """Header lines that are not known."""

    def column(self, i: int) -> pd.Series:
        """Return an attribute of all series as text."""
        return pd.Series([fields[i] for fields in self.fields], dtype="str").str.strip()


def _parse_tsf(path: Path, encoding: str) -> _Tsf:
    with _open(path, encoding) as file:
        lines = ((n, line.strip()) for n, line in enumerate(file, 1))
        numbered = ((n, line) for n, line in lines if line and not line.startswith("#"))
        result = _parse_tsf_header(numbered, path)
        expected = len(result.attributes)
        for number, line in numbered:
            *fields, values = line.split(":")
            if len(fields) != expected:
                raise ValueError(
                    f"{path}, line {number}: expected {expected} attributes and the values, "
                    f"separated by colons, found {len(fields) + 1} parts."
                )
            result.fields.append(fields)
            result.values.append(_parse_values(values, path, number))
            result.lines.append(number)
    if not result.lines:
        raise ValueError(f"{path}: expected series after @data, found none.")
    return result


def _parse_tsf_header(lines: Iterator[tuple[int, str]], path: Path) -> _Tsf:
    result = _Tsf()
    for number, line in lines:
        tag, _, rest = line.partition(" ")
        tag, words = tag.lower(), rest.split()
        if tag == "@data":
            return result
        if tag == "@attribute" and len(words) == 2 and words[1] in ("string", "numeric", "date"):
            if words[0] in (name for name, _ in result.attributes):
                raise ValueError(f"{path}, line {number}: a second attribute {words[0]!r}.")
            result.attributes.append((words[0], words[1]))
        elif tag == "@frequency" and len(words) == 1:
            _step(words[0], f"{path}, line {number}")
            result.frequency = words[0]
        elif tag == "@horizon" and len(words) == 1 and words[0].isdecimal():
            result.horizon = int(words[0])
        elif tag in ("@attribute", "@frequency", "@horizon") or not tag.startswith("@"):
            raise ValueError(
                f"{path}, line {number}: expected '@attribute NAME string|numeric|date', "
                "'@frequency NAME', '@horizon NUMBER', another @ line or @data, found "
                f"{line[:60]!r}."
            )
        elif tag not in ("@relation", "@missing", "@equallength"):
            result.unknown.append(line)
    raise ValueError(f"{path}: expected a line @data and series after it, found none.")


def _parse_values(text: str, path: Path, number: int) -> np.ndarray:
    if "?" in text:
        text = text.replace("?", "nan")
    try:
        values = np.fromstring(text, sep=",")
    except ValueError:
        values = np.empty(0)
    # A comma at the end ends the text without an error.
    if text.strip() and len(values) == text.count(",") + 1:
        return values
    parts = pd.Series(text.split(","), dtype="str").str.strip()
    bad = pd.to_numeric(parts, errors="coerce").isna() & (parts != "nan")
    at = int(bad.to_numpy().argmax())
    raise ValueError(
        f"{path}, line {number}: expected numbers or ?, separated by commas, found {parts[at]!r} "
        f"as value {at + 1} of {len(parts)}."
    )


def _tsf_frame(file: _Tsf, path: Path) -> pd.DataFrame:
    if file.unknown:
        warnings.warn(
            f"{path}: {len(file.unknown)} header lines are not known and were left out "
            f"({_shown(file.unknown)}).",
            DataWarning,
            stacklevel=3,
        )
    names = [name for name, _ in file.attributes]
    labels = _tsf_labels(file, path)
    lengths = np.array([len(values) for values in file.values])
    owner = np.repeat(np.arange(len(lengths)), lengths)
    time: np.ndarray = _positions(lengths)
    alias = None if file.frequency is None else _step(file.frequency)[1]
    start = _start_attribute(file)
    if start is not None and file.frequency is not None:
        starts = _tsf_dates(file, names.index(start), path)
        step, alias = _step(file.frequency)
        time = _advance(starts[owner], time, step, _at_month_end(starts))
        alias = _shared_alias(starts, step, alias, path)
    elif start is not None:
        warnings.warn(
            f"{path}: there is no @frequency to count on from {start}, so in each of the "
            f"{len(labels)} series the times are integers from 0.",
            DataWarning,
            stacklevel=3,
        )
    elif alias in ("M", "Q", "Y"):
        alias += "S"
    static = _tsf_static(file, path, {"series_name", start})
    result = pd.DataFrame(
        {"series": labels.take(owner), "time": time, "value": np.concatenate(file.values)}
        | {name: column.take(owner).array for name, column in static.items()}
    )
    usable = [name for name, column in static.items() if column.dtype.kind != "M"]
    return _with_attrs(result, alias, file.horizon, static=usable)


def _tsf_labels(file: _Tsf, path: Path) -> pd.Index:
    names = [name for name, _ in file.attributes]
    if "series_name" not in names:
        return pd.Index([f"T{i + 1}" for i in range(len(file.lines))], dtype="str")
    labels = pd.Index(file.column(names.index("series_name")))
    twice = labels.duplicated()
    if twice.any():
        row = int(twice.argmax())
        raise ValueError(
            f"{path}, line {file.lines[row]}: series {labels[row]!r} occurs a second time, first "
            f"in line {file.lines[list(labels).index(labels[row])]}."
        )
    return labels


def _start_attribute(file: _Tsf) -> str | None:
    dates = [name for name, kind in file.attributes if kind == "date"]
    if "start_timestamp" in dates:
        return "start_timestamp"
    return dates[0] if len(dates) == 1 else None


def _tsf_dates(file: _Tsf, i: int, path: Path) -> np.ndarray:
    text = file.column(i)
    dates = pd.to_datetime(text, format="%Y-%m-%d %H-%M-%S", errors="coerce")
    bad = dates.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{path}, line {file.lines[row]}: expected a time such as 1979-01-31 00-00-00 as "
            f"{file.attributes[i][0]}, found {text[row]!r} ({int(bad.sum())} such lines in all)."
        )
    return dates.to_numpy().astype("M8[s]")


def _tsf_static(file: _Tsf, path: Path, used: set[str | None]) -> dict[str, pd.Series]:
    """Return the further attributes of each series, "?" as missing."""
    columns = {}
    for i, (name, kind) in enumerate(file.attributes):
        if name in used:
            continue
        text = file.column(i)
        columns[name] = text.mask(text == "?")
        if kind == "date":
            columns[name] = pd.Series(_tsf_dates(file, i, path))
        elif kind == "numeric":
            columns[name] = pd.to_numeric(columns[name], errors="coerce").astype("float64")
            bad = (columns[name].isna() & (text != "?")).to_numpy()
            if bad.any():
                row = int(bad.argmax())
                raise ValueError(
                    f"{path}, line {file.lines[row]}: expected a number as the attribute {name!r}, "
                    f"found {text[row]!r} ({int(bad.sum())} such lines in all)."
                )
    _check_no_clash(list(columns), path)
    return columns


def _at_month_end(starts: np.ndarray) -> bool:
    """Whether a start on the last day of its month means the end of every month.

    Not where all series start on one day, of which only some months end: 30 March and 30 April
    are both the 30th.
    """
    _, past, is_last = _month_parts(starts)
    return bool(is_last.all()) or len(np.unique(past)) > 1


def _shared_alias(starts: np.ndarray, step: np.timedelta64, alias: str, path: Path) -> str | None:
    """Return the pandas alias of the grid that all series share, None if there is none for it."""
    grid, one_place, named = starts, True, True
    if _counts_months(step):
        month, past, is_last = _month_parts(starts)
        at_end = bool(is_last.all()) and len(np.unique(past % _DAY)) == 1
        one_place = at_end or len(np.unique(past)) == 1
        named = at_end or bool((past < _DAY).all())
        alias += "E" if at_end else "S"
        # Series with a day in common share a grid if their months do.
        grid = month.astype("M8[s]") + (_days_in(month) - 1) * at_end * _DAY
    raw = raw_times(pd.Series(grid), "start_timestamp")
    timeline = infer_timeline(raw, np.zeros(len(grid), np.int64), "start_timestamp", alias)
    with suppress(ValueError):
        timeline.ordinals(raw, "start_timestamp")
        if one_place:
            return timeline.freq if named else None
    warnings.warn(
        f"{path}: the {len(starts)} series do not start on one grid of {alias!r} (different "
        f"weekdays, days of the month or the like; they start from {pd.Timestamp(starts.min())} to "
        f"{pd.Timestamp(starts.max())}). Move their times to one before fitting a panel, such as "
        "df['time'].dt.to_period('W').dt.start_time for weeks.",
        DataWarning,
        stacklevel=4,
    )
    return alias
