"""Panels larger than memory: whole series from Parquet files, some at a time.

Relies on PyArrow (the extra ``parquet``). What is learned from the files is what `PanelEncoder` and
`Units` would learn from all rows in memory.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd

from tsfusion.data.encoder import PanelEncoder, Rows, _order, _tail_start
from tsfusion.data.frames import as_frame
from tsfusion.data.manifest import check_files
from tsfusion.data.outliers import level_and_spread, warn_of_far_values
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.roles import resolve_roles
from tsfusion.data.scaling import Moments, TargetScaler
from tsfusion.data.time_features import holiday_calendar
from tsfusion.data.timeline import RawTimes, distinct, infer_timeline, warn_of_coarser_series
from tsfusion.exceptions import DataWarning

__all__ = ["ParquetPanel"]

# The share of the memory that is planned with: allocators keep some of what was freed.
_PLANNED = 0.6
# Measured on three million rows: bytes that a row takes while series and times are scanned.
_SCAN_BYTES = 500
_INTERVALS = 65_536
_SIGN = np.uint64(1 << 63)


class ParquetPanel:
    """A panel in Parquet files, read as whole series within a bound on memory.

    Three passes learn what `PanelEncoder` learns from a frame (frequency, vocabularies, scalers,
    units and lengths of the series); `chunks` then gives the panel in parts, each the same,
    array for array, as its series in the panel made from all rows in memory.

    Parameters
    ----------
    path : str, path or list of them
        A Parquet file, a directory of them, or several files, whose rows count in the order of the
        files. Keys in directory names (``store=a/``) may be named as columns; those that are not
        named are no columns.
    time, series, target, known, observed, static, weight : optional
        The roles of the columns, as in `FusionForecaster`. The rows of a series must lie together;
        a time column is needed.
    freq : str, number or None, default=None
        The frequency; None infers it from all times.
    validation_size : float, default=0.1
        The share of the time span at the end that teaches the encoder nothing.
    horizon : int, default=12
        The least length of that tail, in steps.
    scaler : {"standard", "robust"}, default="standard"
        As in `FusionForecaster`. The quartiles of "robust" take up to five passes over each column
        of numbers.
    max_categories : int or None, default=1000
        The most categories of a column with a code of their own, as in `FusionForecaster`.
    time_features : dict of str to callable, default=None
        Functions of time as further known variables, as in `FusionForecaster`.
    target_transform : "log1p" or `TargetScaler` of it, default=None
        As in `FusionForecaster`. The others learn from all rows at once, and are refused.
    holidays : str, pair or mapping, default=None
        As in `FusionForecaster`; takes one more pass.
    max_memory : str or int, default="512MB"
        How much memory reading may take beyond what was in use before, the part last given and the
        next one together: bytes, or such as ``"2GB"``. Some 200 bytes for every series and every
        distinct time come on top; below 64 MB, so do Arrow's own buffers.

    Attributes
    ----------
    roles : Roles
    encoder : PanelEncoder
        Holds the timeline, the vocabularies, the scalers and the boundary of the validation tail.
    calendar : CalendarCodes
    units : Units
    series : Index of length S
        The labels, in the order of the files.
    lengths : ndarray of int64, shape (S,)
        Steps of each series, gaps included.
    options : dict
        The parameters that decide what is learned.
    weightless : list of two bools
        Whether the known targets of the training rows, and of the validation tail, all have the
        weight 0.
    n_series, n_rows, n_chunks : int
        `len` gives the steps of all series, as it does for a `Panel`.

    Raises
    ------
    ImportError
        If PyArrow is not installed.
    FileNotFoundError
        If there are no files.
    ValueError, TypeError
        If the files have no rows or differ in their columns, a column is not there or does not fit
        its role, the rows of a series do not lie together, or a series does not fit the memory.

    Notes
    -----
    Means and variances are merged by Chan, Golub and LeVeque (1979), "Updating formulae and a
    pairwise algorithm for computing sample variances". The median target is found exactly, by
    counting how many values lie in each of 65,536 intervals and again within one of them.

    Parts are found quickest in any order where row groups are no larger than they are, such as
    100,000 rows.

    Examples
    --------
    >>> import tempfile
    >>> from tsfusion.data import ParquetPanel, make_panel
    >>> frame = make_panel(n_series=6, n_steps=100)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     frame.to_parquet(f"{folder}/sales.parquet")
    ...     panel = ParquetPanel(
    ...         folder, time="date", series="series", target="sales", known=["price", "promo"],
    ...         observed=["weather", "humidity"], static=["region", "size"], max_memory="1MB",
    ...     )
    ...     print(panel)
    ...     parts = [part.n_series for part in panel.chunks(seed=0)]
    ParquetPanel(6 series, 600 steps, 1 chunks)
    >>> parts
    [6]
    """

    def __init__(
        self,
        path: Any,
        *,
        time: Any = None,
        series: Any = None,
        target: Any = None,
        known: Any = None,
        observed: Any = None,
        static: Any = None,
        weight: Any = None,
        freq: Any = None,
        validation_size: float = 0.1,
        horizon: int = 12,
        scaler: str = "standard",
        max_categories: int | None = 1000,
        time_features: Mapping[str, Any] | None = None,
        target_transform: str | TargetScaler | None = None,
        holidays: Any = None,
        max_memory: str | int = "512MB",
    ) -> None:
        self.options = {
            "freq": freq, "validation_size": validation_size, "horizon": horizon, "scaler": scaler,
            "max_categories": max_categories, "time_features": time_features,
            "target_transform": transform_in_parts(target_transform), "holidays": holidays,
        }  # fmt: skip
        if scaler not in ("standard", "robust"):
            raise ValueError(f"scaler: expected 'standard' or 'robust', received {scaler!r}.")
        self.max_memory = _bytes(max_memory)
        self._memory = int(_PLANNED * self.max_memory)
        parameters = {
            "time": time, "series": series, "target": target, "known": known,
            "observed": observed, "static": static, "weight": weight,
        }  # fmt: skip
        self._files = _Files(path, _named(parameters.values()), self._memory // 2_500)
        self.roles = resolve_roles(as_frame(self._files.schema.empty_table()), **parameters)
        if self.roles.time not in self._files.schema.names:
            raise ValueError(
                f"time: expected a column of the files, received {time!r}: pass time= with one of "
                f"{self._files.schema.names[:20]}."
            )
        if self.roles.ignored:
            warnings.warn(
                f"The columns {list(self.roles.ignored)} have no role and are left out; list them "
                "in known=, observed= or static=.",
                DataWarning,
                stacklevel=2,
            )
        self.encoder = PanelEncoder(self.roles, freq, scaler=scaler, max_categories=max_categories)
        if isinstance(holidays, Mapping) or holidays not in self.roles.static_categorical:
            # A wrong country ends it now, and not after two passes.
            holiday_calendar(holidays, self.encoder)
        columns = self.encoder.columns
        self._columns = [name for name in self._files.schema.names if name in columns]
        self._learn_times(self._scan(), validation_size, horizon)
        self._transform = None
        if self.options["target_transform"] is not None:
            self._transform = TargetScaler("log1p").fit([], [], labels=self.series)
        self._plan()
        self._learn_values()

    @property
    def n_rows(self) -> int:
        """Rows of the files, R."""
        return self._files.n_rows

    @property
    def n_series(self) -> int:
        """The number of series, S."""
        return len(self.series)

    @property
    def n_chunks(self) -> int:
        """The number of parts that `chunks` gives."""
        return len(self._first_series) - 1

    def __len__(self) -> int:
        return int(self.lengths.sum())

    def __repr__(self) -> str:
        return f"ParquetPanel({self.n_series} series, {len(self)} steps, {self.n_chunks} chunks)"

    def chunk_order(self, seed: int | None = None, epoch: int = 0) -> np.ndarray:
        """Return the order of the chunks: that of the files, or shuffled by seed and epoch alone.

        Returns
        -------
        ndarray of int64, shape (n_chunks,)
        """
        if seed is None:
            return np.arange(self.n_chunks)
        return np.random.default_rng([seed, epoch]).permutation(self.n_chunks)

    def chunks(self, seed: int | None = None, epoch: int = 0, start: int = 0) -> Iterator[Panel]:
        """Give the panel in parts of whole series.

        Parameters
        ----------
        seed : int, default=None
            Shuffles the parts; None keeps the order of the files.
        epoch : int, default=0
            Another epoch has another order, which follows from ``(seed, epoch)`` alone.
        start : int, default=0
            How many parts to pass over, unread: to go on where a reader was stopped.

        Returns
        -------
        iterator of Panel
        """
        if not 0 <= start <= self.n_chunks:
            raise ValueError(f"start: expected 0 to {self.n_chunks}, received {start!r}.")
        if seed is None:
            return map(self.lay_out, map(self._read, self._tables(start, self.n_chunks)))
        return map(self.chunk, self.chunk_order(seed, epoch)[start:])

    def all_rows(self) -> Iterator[Rows]:
        """Give the encoded rows of every part, in the order of the files, as `rows` does."""
        return map(self._read, self._tables(0, self.n_chunks))

    def row_of(self, i: int) -> int:
        """Return the first row of part i in the files."""
        return int(self._first_row[self._first_series[i]])

    def steps_of(self, chosen: Any) -> int:
        """Return the steps of some parts together."""
        bounds = self._first_series
        return sum(int(self.lengths[bounds[i] : bounds[i + 1]].sum()) for i in chosen)

    def chunk_of_series(self) -> np.ndarray:
        """Return (S,) the part that holds each of ``series``."""
        return np.repeat(np.arange(self.n_chunks), np.diff(self._first_series))

    def empty_frame(self) -> pd.DataFrame:
        """Return a table of all columns of the files, without rows."""
        return as_frame(self._files.schema.empty_table())

    def chunk(self, i: int) -> Panel:
        """Return part i of the panel, in the order of the files."""
        return self.lay_out(self.rows(i))

    def rows(self, i: int) -> Rows:
        """Return the encoded rows of part i, sorted by series and time; ``row`` counts in it."""
        if not 0 <= i < self.n_chunks:
            raise IndexError(f"chunk: expected 0 to {self.n_chunks - 1}, received {i!r}.")
        return self._read(next(self._tables(i, i + 1)))

    def _tables(self, first: int, stop: int) -> Iterator[Any]:
        """Give the Arrow table of each chunk from first to stop."""
        bounds = self._first_row[self._first_series]
        return self._files.tables(self._columns, bounds[first : stop + 1])

    def _read(self, table: Any) -> Rows:
        nothing = np.zeros(0, np.int64)
        roles = self.roles
        blank = Rows(
            labels=self.series[:0], series=nothing, ordinal=nothing, target=nothing, real=nothing,
            categorical=nothing, weight=nothing, row=nothing,
            static_real=np.zeros((0, len(roles.static_real)), np.float32),
            static_categorical=np.zeros((0, len(roles.static_categorical)), np.int32),
        )  # fmt: skip
        return self.encoder.read(table, kind="the files", memory=blank, with_target=True).sorted()

    def lay_out(self, rows: Rows) -> Panel:
        """Return rows of a part as a panel."""
        return Panel.build(
            self.units.scaled(rows),
            self.encoder.timeline,
            self.calendar,
            self.units,
            n_observed_real=len(self.roles.observed_real),
            n_observed_categorical=len(self.roles.observed_categorical),
        )

    def _scan(self) -> _Scan:
        """Find the series, and which times follow on which."""
        labels: list[pd.Index] = []
        rows, first, last = [], [], []
        seen: set[Any] = set()
        times: _Times | None = None
        for at, frame, found, starts in self._whole_series():
            labels.append(found)
            rows.append(starts + at)
            if found.has_duplicates or not seen.isdisjoint(found):
                raise self._torn(labels[0].append(labels[1:]), np.concatenate(rows))
            seen.update(found)
            with _counted_from(at):
                raw = self.encoder._times(frame)
            run = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(frame))))
            order = _order(run, raw.values)
            order = np.arange(len(run)) if order is None else order
            values = raw.values[order]
            before = np.roll(values, 1)
            before[starts] = values[starts]
            times = _Times.tally(times, before, values, order + at)
            first.append(values[starts])
            last.append(np.append(values[starts[1:] - 1], values[-1]))
        assert times is not None
        return _Scan(
            labels[0].append(labels[1:]),
            np.append(np.concatenate(rows), self.n_rows),
            np.concatenate(first),
            np.concatenate(last),
            times,
            raw,
        )

    def _whole_series(self) -> Iterator[tuple[int, pd.DataFrame, pd.Index, np.ndarray]]:
        """Give blocks of whole series: their first row, times, and each series' label and start."""
        import pyarrow as pa

        columns = [*dict.fromkeys([*self.roles.series, self.roles.time])]
        held, at = None, 0
        for table in self._files.blocks(columns, self._memory // _SCAN_BYTES):
            if held is not None:
                table = pa.concat_tables([held, table])
            frame = as_frame(table)
            with _counted_from(at):
                labels, codes = self.encoder._series(frame)
            starts = np.flatnonzero(np.diff(codes, prepend=-1))
            end = len(codes) if at + len(codes) == self.n_rows else int(starts[-1])
            held = table.slice(end)
            self._check_fits(labels[codes[-1]], len(codes) - end)
            starts = starts[starts < end]
            if end:
                yield at, frame.iloc[:end], labels[codes[starts]], starts
            at += end

    def _torn(self, labels: pd.Index, rows: np.ndarray) -> ValueError:
        """Name the first series that begins twice."""
        second = int(labels.duplicated().argmax())
        codes = labels[: second + 1].factorize()[0]
        first = int((codes == codes[second]).argmax())
        keys = [*self.roles.series, self.roles.time]
        return ValueError(
            f"Series {labels[second]!r} is torn apart: its rows begin at row {rows[first]} and "
            f"again at row {rows[second]} of the files, with other series between. The rows of a "
            "series must lie together: lay the files out anew with tsfusion.scale.relayout (or "
            f"the command tsfusion relayout), or sort them by {keys}."
        )

    def _learn_times(self, scan: _Scan, validation_size: float, horizon: int) -> None:
        """Learn the frequency, the validation tail, the calendar and the lengths of the series."""
        encoder, name = self.encoder, self.roles.time_label
        self.series, self._first_row = scan.labels, scan.rows
        # Numbers count from the first time of the first label, as they do in a sorted frame.
        lead = 0
        with contextlib.suppress(TypeError):
            lead = scan.labels.argsort()[0]
        values, count, rows = scan.times.as_series(scan.first[lead])
        raw = _with_values(scan.raw, values, count)
        series = np.repeat(np.arange(len(values) // 2), 2)
        encoder.timeline = infer_timeline(raw, series, name, encoder.freq, rows)
        ordinal = distinct(encoder.timeline.ordinals(raw, name, rows))
        encoder.boundary = _tail_start(ordinal, validation_size, horizon)
        train = ordinal[self.encoder.in_training(ordinal)]
        self.calendar = CalendarCodes.learn(
            encoder.timeline, train, functions=self.options["time_features"]
        )
        self.lengths = np.diff(self._first_row)
        if encoder.timeline.is_regular:
            first, last = (
                encoder.timeline.ordinals(_with_values(scan.raw, side), name)
                for side in (scan.first, scan.last)
            )
            self.lengths = last - first + 1

    def _row_bytes(self) -> int:
        """Return the memory that a row takes at most while a chunk is read."""
        table = sum(_width(self._files.schema.field(name).type) for name in self._columns)
        columns = len(self.roles.observed) + len(self.roles.known)
        return 2 * table + 3 * (36 + 4 * columns) + 160

    def _step_bytes(self) -> int:
        """Return what a step takes: in the panel still in use, in the next, and to make that."""
        columns = len(self.roles.observed) + len(self.roles.known)
        calendar = len(self.calendar.real_names) + len(self.calendar.names)
        calendar += 0 if self.options["holidays"] is None else 2
        return 3 * (29 + 4 * (columns + calendar)) + 80

    def _plan(self) -> None:
        """Divide the series into chunks that fit the memory."""
        rows, steps = np.diff(self._first_row), self.lengths
        size = rows * self._row_bytes() + steps * self._step_bytes()
        at = int(size.argmax())
        self._check_fits(self.series[at], int(rows[at]), int(steps[at]), int(size[at]))
        total = np.append(0, np.cumsum(size))
        starts = [0]
        while starts[-1] < self.n_series:
            most = total[starts[-1]] + self._memory
            starts.append(int(np.searchsorted(total, most, side="right")) - 1)
        self._first_series = np.array(starts)

    def _check_fits(self, label: Any, rows: int, steps: int = 0, size: int | None = None) -> None:
        size = rows * self._row_bytes() if size is None else size
        needed = size / _PLANNED
        if size > self._memory:
            raise ValueError(
                f"Series {label!r} alone takes {needed / 1e6:,.3g} MB or more ({rows} rows, "
                f"{max(rows, steps)} steps), max_memory is {self.max_memory / 1e6:,.3g} MB. Pass a "
                "larger max_memory=; if there are far more steps than rows, look for a wrong date."
            )

    def _learn_values(self) -> None:
        """Learn scalers, vocabularies and units, and check every value."""
        learned = _Learned(
            {name: Moments() for name in self._names("real")},
            {name: {} for name in self._names("categorical")},
            np.zeros(self.n_series),
            np.zeros(self.n_series),
        )
        tables = self._tables(0, self.n_chunks)
        for row in self._first_row[self._first_series[:-1]]:
            with _counted_from(int(row)):
                # No name for the table: it would stay in memory beside the next one.
                self._learn_chunk(as_frame(next(tables)), learned)
        for name, moments in learned.reals.items():
            self.encoder._set_scale(name, *self._center_and_spread(name, moments))
        for name, count in learned.categories.items():
            self.encoder._learn_vocabulary(name, count)
        level = _median(self._training_targets, learned.targets, self._memory // 100)
        self.units = Units.of_spreads(
            self.series, learned.level, learned.spread, level, learned.size, self._transform
        )
        self.weightless = (learned.knows & ~learned.weighs).tolist()
        holidays = holiday_calendar(self.options["holidays"], self.encoder)
        if holidays is not None:
            parts = map(self._training_steps, self.all_rows())
            learned_of = holidays.learn_in_parts(self.encoder.timeline, parts)
            self.calendar = self.calendar.with_holidays(learned_of)

    def _learn_chunk(self, frame: pd.DataFrame, learned: _Learned) -> None:
        encoder = self.encoder
        labels, codes = encoder._series(frame)
        ordinal = encoder.timeline.ordinals(encoder._times(frame), self.roles.time_label)
        order = _order(codes, ordinal)
        order = np.arange(len(codes)) if order is None else order
        encoder._check_unique(codes[order], ordinal[order], order, labels, frame)
        if encoder.freq is None and not learned.warned:
            learned.warned = warn_of_coarser_series(
                encoder.timeline, ordinal[order], codes[order], labels
            )
        raw, weight = encoder._target(frame, None, frame), encoder._weights(frame)
        target, train = self._transformed(raw, codes, labels), self.encoder.in_training(ordinal)
        known = np.isfinite(raw)
        learned.weighs |= [(known & part & (weight > 0)).any() for part in (train, ~train)]
        learned.knows |= [(known & part).any() for part in (train, ~train)]
        useful = order[(train & np.isfinite(target))[order]]
        learned.warn_of_far(self.roles.target, raw[useful], codes[useful], labels)
        learned.add_targets(target[useful], codes[useful], self.series.get_indexer(labels))
        first = np.zeros(len(labels), np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        for name, role in self._names("real").items():
            values = encoder._real(frame, name, role)
            learned.reals[name].add(values[train])
            learned.warn_of_far(name, values[train & np.isfinite(values)])
            if role == "static":
                encoder._check_constant(frame[name], values, codes, first, labels)
        for name, role in self._names("categorical").items():
            shown, found = encoder._categories(frame, name, role)
            count = np.bincount(shown[train & (shown >= 0)], minlength=len(found))
            so_far = learned.categories[name]
            for i in np.flatnonzero(count):
                so_far[found[i]] = so_far.get(found[i], 0) + int(count[i])
            if role == "static":
                encoder._check_constant(frame[name], shown, codes, first, labels)

    def _target(self, frame: pd.DataFrame) -> np.ndarray:
        return self._transformed(self.encoder._target(frame, None, frame))

    def _transformed(self, target: np.ndarray, codes: Any = None, labels: Any = None) -> np.ndarray:
        """Return the target as the network sees it, of rows of series (codes) if they are known."""
        if self._transform is None:
            return target
        return self._transform.transform(target, codes, labels=labels)

    def _training_steps(self, rows: Rows) -> tuple[np.ndarray, Rows, np.ndarray]:
        """Return the steps of a part's training rows, the part, and their series in it."""
        train = self.encoder.in_training(rows.ordinal)
        return rows.ordinal[train], rows, rows.series[train]

    def _names(self, kind: str) -> dict[Any, str]:
        """Return the role of each column of reals or categories."""
        roles = ("observed", "known", "static")
        return {name: role for role in roles for name in getattr(self.roles, f"{role}_{kind}")}

    def _center_and_spread(self, name: Any, moments: Moments) -> tuple[float, float]:
        """Return what `PanelEncoder` scales a column by."""
        if self.encoder.scaler == "standard" or not moments.n:
            return moments.mean, moments.spread
        role = self._names("real")[name]

        def values() -> Iterator[np.ndarray]:
            return self._of_training(name, lambda frame: self.encoder._real(frame, name, role))

        low, center, high = _quartiles(values, moments.n, self._memory // 100)
        return center, high - low or moments.spread

    def _training_targets(self) -> Iterator[np.ndarray]:
        """Give the known targets of the training rows."""
        return self._of_training(self.roles.target, self._target)

    def _of_training(
        self, column: Any, read: Callable[[pd.DataFrame], np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Give the known values of a column in the training rows."""
        encoder, columns = self.encoder, [self.roles.time, column]
        for table in self._files.blocks(columns, self._memory // _SCAN_BYTES):
            frame = as_frame(table)
            ordinal = encoder.timeline.ordinals(encoder._times(frame), self.roles.time_label)
            values = read(frame)
            yield values[encoder.in_training(ordinal) & np.isfinite(values)]


def transform_in_parts(given: Any) -> str | None:
    """Return the name of a transform of the target that learns nothing, or raise."""
    name = given.method if isinstance(given, TargetScaler) else given
    if name in (None, "log1p"):
        return name
    raise ValueError(
        f"target_transform={given!r}: expected None or 'log1p' with files, for the others learn "
        "from all rows at once. Fit on a table in memory."
    )


class _Files:
    """Parquet files as one table of rows, read in batches.

    ``schema`` holds the columns of the files and the keys in their paths (those that are named, or
    all for None), text as text.
    """

    def __init__(self, path: Any, named: set[Any] | None, batch: int) -> None:
        files, self._filesystem = _find_files(path)
        self._batch = min(max(batch, 1_024), 65_536)
        paths = [file.path for file in files]
        keys = {
            name: values for name, values in _keys_of(paths).items()
            if (named is None or name in named) and name not in files[0].physical_schema.names
        }  # fmt: skip
        self._groups: list[_Group] = []
        self.n_rows = 0
        for i, file in enumerate(files):
            _check_same_columns(files[0], file)
            for group in file.row_groups:
                of_file = {name: values[i] for name, values in keys.items()}
                self._groups.append(_Group(paths[i], group.id, self.n_rows, of_file))
                self.n_rows += group.num_rows
        if self.n_rows == 0:
            raise ValueError(f"{path}: the Parquet files hold no rows.")
        self.schema = _plain_schema(files[0].physical_schema, keys)

    def blocks(self, columns: list[Any], rows: int) -> Iterator[Any]:
        """Give all rows, so many at a time."""
        yield from self.tables(columns, [*range(0, self.n_rows, max(rows, 1_024)), self.n_rows])

    def tables(self, columns: list[Any], bounds: Any) -> Iterator[Any]:
        """Give the rows between neighbouring bounds, as Arrow tables with dictionaries for text."""
        held: list[Any] = []
        at, ends = int(bounds[0]), iter(bounds[1:])
        end = next(ends, None)
        if end is None:
            return
        for batch in self._batches(columns, at, int(bounds[-1])):
            while end is not None and at + batch.num_rows >= end:
                held.append(batch.slice(0, end - at))
                batch = batch.slice(end - at)
                at, end = end, next(ends, None)
                yield _joined(held)
            held.append(batch)
            at += batch.num_rows

    def _batches(self, columns: list[Any], start: int, stop: int) -> Iterator[Any]:
        """Give the rows from start to stop, batch by batch."""
        import pyarrow.parquet as pq

        first = np.array([group.first for group in self._groups])
        wanted = self._groups[int(np.searchsorted(first, start, side="right")) - 1 :]
        wanted = [group for group in wanted if group.first < stop]
        for path, groups in itertools.groupby(wanted, key=lambda group: group.path):
            of_file = list(groups)
            at = of_file[0].first
            stored = [name for name in columns if name not in of_file[0].keys]
            # Read ahead or unbuffered, Arrow would hold whole row groups.
            with pq.ParquetFile(
                path, filesystem=self._filesystem, read_dictionary=self._text(stored),
                pre_buffer=False, buffer_size=65_536,
            ) as file:  # fmt: skip
                for batch in file.iter_batches(
                    self._batch, [group.number for group in of_file], stored, use_threads=False
                ):
                    low = min(max(start - at, 0), batch.num_rows)
                    high = min(max(stop - at, 0), batch.num_rows)
                    at += batch.num_rows
                    if low < high:
                        yield _with_keys(batch.slice(low, high - low), of_file[0].keys, columns)

    def _text(self, columns: list[Any]) -> list[Any]:
        import pyarrow as pa

        text = (pa.types.is_string, pa.types.is_large_string)
        return [
            name for name in columns if any(is_a(self.schema.field(name).type) for is_a in text)
        ]


@dataclass(frozen=True)
class _Group:
    path: str
    number: int
    first: int
    keys: dict[Any, Any]


def _find_files(path: Any) -> tuple[list[Any], Any]:
    """Return the files with their footers, and the file system they lie in."""
    try:
        import pyarrow as pa
        import pyarrow.dataset as ds
    except ImportError as error:
        raise ImportError(
            "Parquet files are read with PyArrow: pip install 'tsfusion[parquet]'."
        ) from error
    source = [str(one) for one in path] if isinstance(path, (list, tuple)) else str(path)
    if isinstance(source, str):
        check_files(source)
    try:
        dataset = ds.dataset(source, format="parquet")
        files = list(dataset.get_fragments())
        for file in files:
            file.ensure_complete_metadata()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"path: expected a Parquet file, a directory of them or a list of files, received "
            f"{path!r}, which is not there ({error})."
        ) from error
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"path: expected Parquet files alone in {path!r}; tsfusion.scale.relayout (the command "
            f"tsfusion relayout) makes such of others. {error}"
        ) from error
    if not files:
        raise FileNotFoundError(f"path: there are no Parquet files in {path!r}.")
    return files, dataset.filesystem


def _keys_of(paths: list[str]) -> dict[str, list[Any]]:
    """Return the values of ``key=value`` directories; as integers where all are."""
    found = [dict(part.split("=", 1) for part in p.split("/")[:-1] if "=" in part) for p in paths]
    keys: dict[str, list[Any]] = {}
    for key in found[0]:
        values = [unquote(one[key]) for one in found if key in one]
        if len(values) == len(paths):
            numeric = all(re.fullmatch(r"-?\d+", value) for value in values)
            keys[key] = [int(value) for value in values] if numeric else values
    return keys


def _plain_schema(schema: Any, keys: dict[str, list[Any]]) -> Any:
    """Return the columns with text as text, without pandas' unnamed index, and the keys."""
    import pyarrow as pa

    fields = [
        (name, schema.field(name).type) for name in schema.names
        if not name.startswith("__index_level_") or pa.types.is_temporal(schema.field(name).type)
    ]  # fmt: skip
    return pa.schema([*fields, *((name, pa.scalar(keys[name][0]).type) for name in keys)])


def _check_same_columns(first: Any, other: Any) -> None:
    """Raise if a file has other columns, or columns of other types, than the first one."""
    expected, found = (
        {field.name: _type(field.type) for field in file.physical_schema} for file in (first, other)
    )
    if expected == found:
        return
    name = next(name for name in {**expected, **found} if expected.get(name) != found.get(name))
    raise ValueError(
        f"Column {name!r} is {expected.get(name, 'missing')} in {first.path} but "
        f"{found.get(name, 'missing')} in {other.path}: expected the same columns in all files. "
        "Write them anew with one schema."
    )


def _type(of: Any) -> str:
    """Name an Arrow type; text is text, however it is stored."""
    import pyarrow as pa

    of = of.value_type if pa.types.is_dictionary(of) else of
    return str(of).removeprefix("large_").removesuffix("_view")


def _width(of: Any) -> int:
    """Return the bytes of a value; text is read as codes."""
    try:
        return max(of.bit_width // 8, 1)
    except ValueError:
        return 8


def _with_keys(batch: Any, keys: dict[Any, Any], columns: list[Any]) -> Any:
    """Add the keys in the file's path as columns, and put all in order."""
    import pyarrow as pa

    arrays = dict(zip(batch.schema.names, batch.columns))
    for name in keys:
        code = pa.repeat(pa.scalar(0, pa.int32()), batch.num_rows)
        arrays[name] = pa.DictionaryArray.from_arrays(code, pa.array([keys[name]]))
    return pa.table({name: arrays[name] for name in columns})


def _joined(tables: list[Any]) -> Any:
    """Return tables as one; the list is emptied, so that nothing keeps their memory."""
    import pyarrow as pa

    table = pa.concat_tables(tables)
    tables.clear()
    return table.unify_dictionaries()


def _named(parameters: Iterable[Any]) -> set[Any]:
    """Return the column names among parameters."""
    names: set[Any] = set()
    for value in parameters:
        if not callable(value):
            names.update(value if pd.api.types.is_list_like(value) else [value])
    return names


def _bytes(size: str | int) -> int:
    """Read a number of bytes, such as 1000 or "512MB"."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kMGT]?)B?\s*", str(size))
    number = float(match[1]) if match and match[1].count(".") < 2 else 0.0
    if not match or number <= 0 or isinstance(size, bool):
        raise ValueError(
            f"max_memory: expected a number of bytes such as 512_000_000 or '512MB', received "
            f"{size!r}."
        )
    return int(number * 1_000 ** " kMGT".index(match[2] or " "))


@contextlib.contextmanager
def _counted_from(row: int) -> Iterator[None]:
    """Say in errors from where on the rows that they name are counted."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if row == 0:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error} (Rows are counted from row {row} of the files.)") from error


@dataclass(frozen=True)
class _Scan:
    """Labels (S,), first rows (S + 1,), first and last times (S,), and the times of all rows."""

    labels: pd.Index
    rows: np.ndarray
    first: np.ndarray
    last: np.ndarray
    times: _Times
    raw: RawTimes


@dataclass(frozen=True)
class _Times:
    """The distinct pairs of a time and the one before it in its series, and how often they occur.

    The first time of a series is paired with itself. A frequency is inferred from these as from all
    rows, and there are little more of them than distinct times.
    """

    before: np.ndarray
    time: np.ndarray
    count: np.ndarray
    row: np.ndarray

    @classmethod
    def tally(
        cls, have: _Times | None, before: np.ndarray, time: np.ndarray, row: np.ndarray
    ) -> _Times:
        """Count pairs and add them to those there are."""
        count = np.ones(len(time), np.int64)
        if have is not None:
            before = np.concatenate([have.before, before])
            time = np.concatenate([have.time, time])
            count = np.concatenate([have.count, count])
            row = np.concatenate([have.row, row])
        order = np.lexsort((time, before))
        before, time, count, row = before[order], time[order], count[order], row[order]
        new = np.append(True, (np.diff(before) != 0) | (np.diff(time) != 0))
        starts = np.flatnonzero(new)
        return cls(before[starts], time[starts], np.add.reduceat(count, starts), row[starts])

    def as_series(self, first: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return times, counts and rows of series of two times each, with ``first`` in front."""
        lead = np.flatnonzero((self.before == first) & (self.time == first))
        order = np.append(lead, np.delete(np.arange(len(self.time)), lead))
        pairs = np.stack([self.before, self.time], 1)[order].ravel()
        count = np.stack([np.zeros_like(self.count), self.count], 1)[order].ravel()
        return pairs, count, np.repeat(self.row[order], 2)


def _with_values(raw: RawTimes, values: np.ndarray, count: np.ndarray | None = None) -> RawTimes:
    """Return other times of the same kind."""
    wall = None
    if raw.wall is not None:
        index = pd.DatetimeIndex(values.astype("datetime64[ns]"), tz="UTC").tz_convert(raw.tz)
        wall = index.tz_localize(None).asi8
    return replace(raw, values=values, wall=wall, count=count)


@dataclass
class _Learned:
    """What the training rows have taught so far."""

    reals: dict[Any, Moments]
    categories: dict[Any, dict[Any, int]]
    level: np.ndarray
    spread: np.ndarray
    size: float = 0.0
    targets: int = 0
    knows: np.ndarray = field(default_factory=lambda: np.zeros(2, bool))
    weighs: np.ndarray = field(default_factory=lambda: np.zeros(2, bool))
    """Whether training and validation tail have a known target, and one with a weight."""
    warned: bool = False
    far: set[Any] = field(default_factory=set)
    """Columns that were warned of for values far out."""

    def add_targets(self, y: np.ndarray, codes: np.ndarray, place: np.ndarray) -> None:
        """Learn level and spread of whole series; ``place`` is each code's place among all."""
        self.level[place], self.spread[place] = level_and_spread(y, codes, len(place))
        self.size = max(self.size, float(np.abs(y).max(initial=0)))
        self.targets += len(y)

    def warn_of_far(
        self, name: Any, y: np.ndarray, codes: np.ndarray | None = None,
        labels: pd.Index | None = None,
    ) -> None:  # fmt: skip
        """Warn once of a column with values that look like slips."""
        if name not in self.far and warn_of_far_values(name, y, codes, labels):
            self.far.add(name)


def _median(values: Callable[[], Iterable[np.ndarray]], n: int, most: int) -> float:
    """Return the median of n values that come in parts, at most ``most`` of them held; 0 of none.

    ``values`` gives the parts anew each time it is called.
    """
    if n == 0:
        return 0.0
    return sum(_ranked(values, [(n - 1) // 2, n // 2], n, most)) / 2


def _quartiles(values: Callable[[], Iterable[np.ndarray]], n: int, most: int) -> list[float]:
    """Return the quartiles of n values, at least one, as `_median` does; NumPy's ``"linear"``."""
    places = [level * (n - 1) for level in (0.25, 0.5, 0.75)]
    ranks = [int(end) for place in places for end in (np.floor(place), np.ceil(place))]
    found = _ranked(values, ranks, n, most)
    result = []
    for place, low, high in zip(places, found[::2], found[1::2]):
        share = place - np.floor(place)
        near_high = high - (high - low) * (1 - share)
        result.append(float(near_high if share >= 0.5 else low + (high - low) * share))
    return result


@dataclass
class _Search:
    """Looks for the value with ``rank`` of the ``inside`` values from low to high before it."""

    rank: int
    inside: int
    low: int = 0
    high: int = 2**64 - 1

    def width(self) -> int:
        return (self.high - self.low) // _INTERVALS + 1

    def narrow(self, count: np.ndarray) -> None:
        """Go on in one interval, of counts (I,) of those between low and high."""
        upto = np.cumsum(count)
        at, width = int(np.searchsorted(upto, self.rank, side="right")), self.width()
        self.inside = int(count[at])
        self.rank -= int(upto[at]) - self.inside
        self.high = min(self.high, self.low + (at + 1) * width - 1)
        self.low += at * width


def _ranked(
    values: Callable[[], Iterable[np.ndarray]], ranks: list[int], n: int, most: int
) -> list[float]:
    """Return for each rank the value that so many of n values lie before."""
    searches = {rank: _Search(rank, n) for rank in ranks}
    most //= len(searches)
    while wide := [one for one in searches.values() if one.inside > most and one.low < one.high]:
        counts = np.zeros((len(wide), _INTERVALS), np.int64)
        for part in values():
            keys = _keys(part)
            for one, count in zip(wide, counts):
                place = (_between(keys, one) - np.uint64(one.low)) // np.uint64(one.width())
                count += np.bincount(place.astype(np.int64), minlength=_INTERVALS)
        for one, count in zip(wide, counts):
            one.narrow(count)
    held: dict[int, list[np.ndarray]] = {
        rank: [] for rank, one in searches.items() if one.low < one.high
    }
    for part in values() if held else ():
        keys = _keys(part)
        for rank, parts in held.items():
            parts.append(_between(keys, searches[rank]))
    found = {
        rank: np.sort(np.concatenate(held[rank]))[one.rank] if rank in held else np.uint64(one.low)
        for rank, one in searches.items()
    }
    keys = np.array([found[rank] for rank in ranks], np.uint64)
    negative = keys >> np.uint64(63) == 0
    return np.where(negative, ~keys, keys ^ _SIGN).view(np.float64).tolist()


def _keys(values: np.ndarray) -> np.ndarray:
    """Return the keys of float64 values: integers in the order of the values."""
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits ^ _SIGN)


def _between(keys: np.ndarray, search: _Search) -> np.ndarray:
    return keys[(keys >= np.uint64(search.low)) & (keys <= np.uint64(search.high))]
