"""The functions of `tsfusion.scale.panel` on Dask, Ray and Spark: series shared out by bucket.

Each engine brings the rows of a bucket together and calls the function on them. Rows shared out in
any other way would tear series apart, and the answers would be wrong without an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pandas as pd

from tsfusion.data.roles import INDEX
from tsfusion.scale.buckets import series_bucket

__all__ = ["on_dask", "on_ray", "on_spark"]

_BUCKET = "tsfusion_bucket"

Function = Callable[..., pd.DataFrame]


def on_dask(
    function: Function, frame: Any, path: str | os.PathLike, *, n_buckets: int | None = None,
    **options: Any,
) -> Any:  # fmt: skip
    """Call a function of a panel on every bucket of series of a Dask frame.

    Parameters
    ----------
    function : callable
        `predict_panel`, `backtest_panel` or `explain_panel`.
    frame : dask.dataframe.DataFrame
        History, and with known columns the rows to forecast too, with an unknown target; series
        may be torn over partitions.
    path : str or path
        The model file, which every worker can read.
    n_buckets : int, default=None
        Partitions of the result; None takes as many as the frame has. A bucket is held in memory
        whole.
    **options
        Passed to the function, ``future`` excepted.

    Returns
    -------
    dask.dataframe.DataFrame
        Not yet computed; the same rows as ``function(frame, path)`` on one machine, by bucket.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError
        If ``frame`` is no Dask frame.

    Examples
    --------
    ``examples/batch_scoring.py`` scores a set of Parquet files.
    """
    _load("dask.dataframe", "dask")
    _check(frame, "npartitions", "a Dask frame", options)
    series, number = _series(path, options), n_buckets or frame.npartitions
    bucketed = frame.map_partitions(_with_bucket, series, number)
    shared = bucketed.shuffle(_BUCKET, npartitions=number)
    call = _call(function, os.fspath(path), options)
    return shared.map_partitions(call, meta=call(bucketed._meta))


def on_ray(
    function: Function, frame: Any, path: str | os.PathLike, *, n_buckets: int = 64,
    **options: Any,
) -> Any:  # fmt: skip
    """Call a function of a panel on every bucket of series of a Ray dataset.

    Parameters
    ----------
    function, path, **options
        As in `on_dask`.
    frame : ray.data.Dataset
        As in `on_dask`.
    n_buckets : int, default=64
        Groups of series, each held in memory whole.

    Returns
    -------
    ray.data.Dataset
        Not yet computed.

    Raises
    ------
    ImportError
        If Ray is not installed.
    TypeError
        If ``frame`` is no Ray dataset.
    """
    _load("ray.data", "ray")
    _check(frame, "map_batches", "a Ray dataset", options)
    with_bucket = {"series": _series(path, options), "n_buckets": n_buckets}
    bucketed = frame.map_batches(_with_bucket, fn_kwargs=with_bucket, batch_format="pandas")
    call = _call(function, os.fspath(path), options)
    return bucketed.groupby(_BUCKET).map_groups(call, batch_format="pandas")


def on_spark(
    function: Function, frame: Any, path: str | os.PathLike, *, n_buckets: int = 64,
    **options: Any,
) -> Any:  # fmt: skip
    """Call a function of a panel on every bucket of series of a Spark frame.

    Parameters
    ----------
    function, path, **options
        As in `on_dask`.
    frame : pyspark.sql.DataFrame
        As in `on_dask`.
    n_buckets : int, default=64
        Groups of series, each held in memory whole.

    Returns
    -------
    pyspark.sql.DataFrame
        Not yet computed.

    Raises
    ------
    ImportError
        If PySpark is not installed.
    TypeError
        If ``frame`` is no Spark frame.
    """
    types = _load("pyspark.sql.pandas.types", "spark")
    functions = _load("pyspark.sql.functions", "spark")
    _check(frame, "groupBy", "a Spark frame", options)
    import pyarrow as pa

    series = _series(path, options)

    def numbered(*columns: pd.Series) -> pd.Series:
        table = pd.concat(columns, axis=1, keys=series)
        return pd.Series(series_bucket(table, series, n_buckets))

    bucket = functions.lit(0)
    if series:
        bucket = functions.pandas_udf(numbered, "long")(*series)
    call = _call(function, os.fspath(path), options)
    found = call(frame.limit(0).toPandas())
    schema = types.from_arrow_schema(pa.Schema.from_pandas(found, preserve_index=False))
    return frame.withColumn(_BUCKET, bucket).groupBy(_BUCKET).applyInPandas(call, schema)


def _call(function: Function, path: str, options: dict[str, Any]) -> Function:
    """Return a function of a bucket alone; a worker is sent the path in place of a model."""

    def call(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.drop(columns=_BUCKET, errors="ignore").reset_index(drop=True)
        return function(frame, path, **options)

    return call


def _with_bucket(frame: pd.DataFrame, series: list[Any], n_buckets: int) -> pd.DataFrame:
    return frame.assign(**{_BUCKET: series_bucket(frame, series, n_buckets)})


def _series(path: str | os.PathLike, options: dict[str, Any]) -> list[Any]:
    """Return the series columns of a model."""
    from tsfusion.scale.panel import load_model

    roles = load_model(path, options.get("time_features"))._fitted.encoder.roles
    if roles.series_in_index or roles.time is None or roles.time is INDEX:
        raise ValueError(
            f"{os.fspath(path)}: expected a model whose series and times are columns, received one "
            "that took them from the index, which these engines do not keep. Fit it on "
            "frame.reset_index()."
        )
    return list(roles.series)


def _check(frame: Any, attribute: str, name: str, options: dict[str, Any]) -> None:
    if not hasattr(frame, attribute):
        raise TypeError(f"frame: expected {name}, received {type(frame).__name__}.")
    if options.get("future") is not None:
        raise ValueError(
            "future: expected None. Add the rows to forecast to the frame, with an unknown target, "
            "so that they travel with the history of their series."
        )


def _load(module: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} is needed, but cannot be imported ({error}): pip install "
            f"'tsfusion[{extra}]'."
        ) from error
