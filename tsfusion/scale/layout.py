"""A set of Parquet or CSV files in any order, laid out anew in buckets of whole series.

Relies on PyArrow. Two passes: the rows are dealt out to a file for each bucket, and each bucket is
put in order of series and time. No more than a block of rows, or a bucket, is in memory at once.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfusion.data.encoder import _order
from tsfusion.data.manifest import check_files, file_digest, write_manifest
from tsfusion.data.parquet import _bytes, _Files
from tsfusion.scale.buckets import series_bucket

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["relayout"]

# The share of the memory that is planned with: allocators keep some of what was freed.
_PLANNED = 0.6
# How many times a block of rows, and a bucket, are held while they are worked on.
_BLOCK_COPIES, _BUCKET_COPIES = 5, 3
# Buckets are made so much smaller than they might be, since series differ in length.
_UNEVEN = 2
# Bytes beside its values that a row takes, as often: its place in the order, its codes.
_BESIDE = 30
_SAMPLE_ROWS = 20_000
# A part of a panel is read quickest where row groups are no larger than it is.
_GROUP_ROWS = 100_000


def relayout(
    source: Any, destination: str | os.PathLike, *, series: Any, time: Any,
    n_buckets: int | None = None, rows_per_bucket: int | None = None,
    max_memory: str | int = "1GB", overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Lay out a data set anew: whole series in buckets, each in order of time.

    What `tsfusion.data.ParquetPanel` reads, and ``fit`` on files: of a data set that is partitioned
    by day, or in no order at all, no series could be read without reading everything.

    Parameters
    ----------
    source : str, path or list of them
        Parquet files or CSV files with a header, or a directory of them. Keys in directory names
        (``day=2024-01-31/``) become columns. Whole numbers of a CSV file become floats, except in
        the series and time columns, for later rows may hold fractions.
    destination : str or path
        The folder to write. It appears once it is complete, or not at all.
    series : str or list of str
        The columns that tell series apart.
    time : str
        The time column: dates, times or numbers.
    n_buckets : int, default=None
        How many buckets; None takes as many as the memory asks for. Which one a series is in
        follows from its label and this number alone (`series_bucket`).
    rows_per_bucket : int, default=None
        In its place, about how many rows a bucket has.
    max_memory : str or int, default="1GB"
        How much memory may be taken beyond what was in use before: bytes, or such as ``"2GB"``.
    overwrite : bool, default=False
        Whether to replace a folder of buckets that is there.

    Returns
    -------
    dict
        The manifest, which ``_manifest.json`` in the folder holds: ``series``, ``time``, ``rows``,
        ``n_buckets``, and for each of ``files`` its name, rows, bytes and SHA-256. Buckets without
        rows have no file.

    Raises
    ------
    ImportError
        If PyArrow is not installed.
    FileExistsError
        If the destination is there, without ``overwrite``; with it, if it is no folder of buckets.
    FileNotFoundError
        If there are no files.
    ValueError, TypeError
        If a column is not there or holds missing values, the files differ in their columns, or a
        bucket does not fit the memory.

    Notes
    -----
    A run that is killed leaves a hidden folder ``.<name>.<number>.part`` beside the destination,
    which may be deleted. While it runs, it holds up to twice the size of the data on disk.

    Examples
    --------
    >>> import os, tempfile
    >>> from tsfusion.data import ParquetPanel, make_panel
    >>> from tsfusion.scale import relayout
    >>> table = make_panel(n_series=6, n_steps=100)[["date", "series", "sales"]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.sort_values("date").to_parquet(f"{folder}/by_day.parquet")
    ...     manifest = relayout(
    ...         f"{folder}/by_day.parquet", f"{folder}/buckets", series="series", time="date",
    ...         n_buckets=3,
    ...     )
    ...     print(manifest["rows"], sorted(os.listdir(f"{folder}/buckets"))[0])
    ...     ParquetPanel(f"{folder}/buckets", time="date", series="series", target="sales")
    600 _manifest.json
    ParquetPanel(6 series, 600 steps, 1 chunks)
    """
    keys = [series] if isinstance(series, str) else list(series)
    for name, value in (("n_buckets", n_buckets), ("rows_per_bucket", rows_per_bucket)):
        whole = isinstance(value, Integral) and not isinstance(value, bool) and value >= 1
        if value is not None and not whole:
            raise ValueError(f"{name}: expected an integer >= 1, received {value!r}.")
    if n_buckets is not None and rows_per_bucket is not None:
        raise ValueError("expected n_buckets or rows_per_bucket, received both.")
    memory = int(_PLANNED * _bytes(max_memory))
    target = Path(destination).absolute()
    _check_free(target, overwrite)
    files = _source(source, keys, time, memory)
    _check_columns(files.schema, keys, time)
    sample = next(files.blocks(_SAMPLE_ROWS))
    row = _BESIDE + sample.nbytes // len(sample)
    if rows_per_bucket is not None:
        n_buckets = -(-files.rows(row) // int(rows_per_bucket))
    if n_buckets is None:
        whole_bucket = memory // (_BUCKET_COPIES * _UNEVEN)
        n_buckets = max(1, -(-files.rows(row) * row // whole_bucket))
    del sample
    part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    part.mkdir(parents=True)
    try:
        count = _deal(files, part, keys, time, int(n_buckets), memory // (_BLOCK_COPIES * row))
        written = []
        for i in np.flatnonzero(count):
            written.append(_put_in_order(part, int(i), int(count[i]), keys, time, memory))
        manifest = write_manifest(
            part, written, series=keys, time=time, rows=int(count.sum()), n_buckets=int(n_buckets)
        )
        _put_in_place(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


def _check_free(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target} is there already: pass overwrite=True to replace it.")
    from tsfusion.data.manifest import MANIFEST

    if not (target / MANIFEST).is_file():
        raise FileExistsError(
            f"{target}: expected a folder of buckets to replace, received something else. Delete "
            "it, or write elsewhere."
        )


def _put_in_place(part: Path, target: Path) -> None:
    """Let the folder appear; one that was there goes once the new one stands."""
    if not target.exists():
        part.rename(target)
        return
    old = target.parent / f".{target.name}.{secrets.token_hex(4)}.old"
    target.rename(old)
    try:
        part.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_columns(schema: pa.Schema, keys: list[str], time: str) -> None:
    import pyarrow as pa

    for role, name in (*(("series", key) for key in keys), ("time", time)):
        if name not in schema.names:
            raise ValueError(
                f"{role}: expected a column of the files, received {name!r}: there are "
                f"{schema.names[:20]}."
            )
    kind = schema.field(time).type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    if any(is_a(kind) for is_a in text):
        raise TypeError(
            f"Time column {time!r}: expected dates, times or numbers, received text ({kind}). In a "
            "CSV file, write times as 2024-01-31 or 2024-01-31 08:00:00."
        )


# Reading


def _source(source: Any, keys: list[str], time: str, memory: int) -> _Parquet | _Csv:
    """Return the rows of Parquet or of CSV files."""
    given = source if isinstance(source, (list, tuple)) else [source]
    paths = [Path(path) for path in given]
    csv = [
        found
        for path in paths
        for found in (sorted(path.rglob("*.csv*")) if path.is_dir() else [path])
        if any(suffix == ".csv" for suffix in found.suffixes)
    ]
    if not csv:
        return _Parquet(source, memory)
    if any(path.is_file() and path not in csv for path in paths):
        raise ValueError("source: expected Parquet files or CSV files, received both.")
    return _Csv(csv, {*keys, time}, memory)


class _Parquet:
    """Parquet files; see `_Csv`."""

    def __init__(self, source: Any, memory: int) -> None:
        for path in source if isinstance(source, (list, tuple)) else [source]:
            check_files(path)
        self._files = _Files(source, None, memory // 2_500)
        self.schema = self._files.schema

    def rows(self, row: int) -> int:
        return self._files.n_rows

    def blocks(self, rows: int) -> Iterator[pa.Table]:
        return self._files.blocks(list(self.schema.names), rows)


class _Csv:
    """CSV files as tables of at most so many rows; types are those of the first block."""

    def __init__(self, paths: list[Path], keys: set[str], memory: int) -> None:
        import pyarrow as pa

        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(f"source: expected files, there is no {path}.")
        self._paths = paths
        self._block = min(max(memory // 20, 1 << 16), 1 << 24)
        self._types: dict[str, Any] = {}
        with self._open(paths[0]) as file:
            found = file.schema
        for field in found:
            loose = pa.types.is_integer(field.type) or pa.types.is_null(field.type)
            kind = pa.float64() if loose and field.name not in keys else field.type
            self._types[field.name] = kind
        self.schema = pa.schema(self._types.items())

    def _open(self, path: Path) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        try:
            return csv.open_csv(
                path,
                read_options=csv.ReadOptions(use_threads=False, block_size=self._block),
                convert_options=csv.ConvertOptions(
                    column_types=self._types, strings_can_be_null=True
                ),
            )
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: expected a CSV file with a header: {error}") from error

    def rows(self, row: int) -> int:
        """Return about how many rows there are, of ``row`` bytes each in memory."""
        with self._open(self._paths[0]) as file:
            batch = file.read_next_batch()
        size = sum(path.stat().st_size for path in self._paths)
        first = min(self._block, self._paths[0].stat().st_size)
        return max(1, int(size / first * batch.num_rows))

    def blocks(self, rows: int) -> Iterator[pa.Table]:
        import pyarrow as pa

        for path in self._paths:
            with self._open(path) as file:
                if file.schema.names != self.schema.names:
                    raise ValueError(
                        f"{path}: expected the columns of {self._paths[0]}, {self.schema.names}, "
                        f"received {file.schema.names}."
                    )
                held, n = [], 0
                while True:
                    try:
                        batch = file.read_next_batch()
                    except StopIteration:
                        break
                    except pa.ArrowInvalid as error:
                        raise ValueError(
                            f"{path}: a value is of another type than in the first rows: {error}"
                        ) from error
                    held.append(batch)
                    n += batch.num_rows
                    if n >= rows:
                        yield pa.Table.from_batches(held)
                        held, n = [], 0
                if held:
                    yield pa.Table.from_batches(held)


# Writing


def _deal(
    files: _Parquet | _Csv, folder: Path, keys: list[str], time: str, n_buckets: int, rows: int
) -> np.ndarray:
    """Deal the rows out to a file for each bucket; return how many each has."""
    import pyarrow as pa

    count, at = np.zeros(n_buckets, np.int64), 0
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    for block in files.blocks(rows):
        _check_known(block, [*keys, time], at)
        bucket = _buckets(block, keys, n_buckets)
        # A dictionary would be written once for each bucket.
        block = _plain(block, files.schema)
        # Of 16 bits, numbers are sorted without comparing them.
        order = np.argsort(
            bucket.astype(np.uint16) if n_buckets < 1 << 16 else bucket, kind="stable"
        )
        block = block.take(pa.array(order))
        size = np.bincount(bucket, minlength=n_buckets)
        first = np.append(0, np.cumsum(size))
        for i in np.flatnonzero(size):
            part = block.slice(int(first[i]), int(size[i]))
            with (
                open(folder / _spilled(int(i)), "ab") as file,
                pa.ipc.new_stream(file, part.schema, options=options) as writer,
            ):
                writer.write_table(part)
        count += size
        at += len(block)
        del block, part
        pa.default_memory_pool().release_unused()
    return count


def _check_known(block: pa.Table, names: list[str], at: int) -> None:
    for name in names:
        column = block.column(name)
        if column.null_count:
            row = int(np.asarray(column.is_null()).argmax())
            raise ValueError(
                f"Column {name!r}: expected a value in every row, row {at + row} of the files has "
                "none."
            )


def _buckets(block: pa.Table, keys: list[str], n_buckets: int) -> np.ndarray:
    frame = pd.DataFrame({name: block.column(name).to_pandas() for name in keys})
    return series_bucket(frame, keys, n_buckets)


def _plain(block: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table without dictionaries."""
    import pyarrow as pa

    columns = {}
    for name in schema.names:
        column = block.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns[name] = column
    return pa.table(columns)


def _put_in_order(
    folder: Path, i: int, rows: int, keys: list[str], time: str, memory: int
) -> dict[str, Any]:
    """Write a bucket in order of series and time; return what the manifest says of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    spilled, path = folder / _spilled(i), folder / f"bucket-{i:05}.parquet"
    table = _gathered(spilled, memory, i, rows)
    order = _order(_codes(table, keys), _numbers(table.column(time)))
    if order is not None:
        table = table.take(pa.array(order))
    # Dictionaries of numbers and times would take half of the time, and no less room.
    text = [field.name for field in table.schema if pa.types.is_large_string(field.type)]
    text += [field.name for field in table.schema if pa.types.is_string(field.type)]
    pq.write_table(table, path, row_group_size=_GROUP_ROWS, compression="lz4", use_dictionary=text)
    del table
    spilled.unlink()
    pa.default_memory_pool().release_unused()
    return {
        "name": path.name, "rows": rows, "bytes": path.stat().st_size,
        "sha256": file_digest(path),
    }  # fmt: skip


def _gathered(path: Path, memory: int, i: int, rows: int) -> pa.Table:
    """Return the rows dealt to a bucket; raise if they do not fit the memory."""
    import pyarrow as pa

    tables, size = [], 0
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        while file.tell() < end:
            with pa.ipc.open_stream(file) as reader:
                tables.append(reader.read_all())
            size += tables[-1].nbytes + _BESIDE * len(tables[-1])
            if size * _BUCKET_COPIES > memory:
                raise ValueError(
                    f"Bucket {i} of {rows} rows does not fit max_memory="
                    f"{memory / _PLANNED / 1e6:,.3g} MB. Pass more buckets (n_buckets=), or more "
                    "memory if one series is as long."
                )
    return pa.concat_tables(tables)


def _codes(table: pa.Table, keys: list[str]) -> np.ndarray:
    """Return (R,) codes of series, in the order of their labels."""
    found = np.zeros(len(table), np.int64)
    for name in keys:
        codes, labels = pd.factorize(table.column(name).to_pandas())
        rank = np.empty(len(labels), np.int64)
        rank[np.argsort(labels)] = np.arange(len(labels))
        found = rank[codes] if name == keys[0] else found * len(labels) + rank[codes]
        if name != keys[0]:
            found = np.unique(found, return_inverse=True)[1]
    return found


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return times as numbers of the same order."""
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    if pa.types.is_temporal(column.type):
        wide = pa.int32() if column.type.bit_width == 32 else pa.int64()
        column = column.cast(wide)
    return column.to_numpy()


def _spilled(i: int) -> str:
    return f"spilled-{i:05}.arrow"
