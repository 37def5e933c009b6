"""Fit on files larger than memory: what `FusionForecaster.fit` learns from a path.

The encoders, units and calendar are those that the same rows teach in memory. The network is
trained on windows that a `WindowReader` draws, and validated on the same windows as in memory. Of
the history, the rows that forecasts need are kept.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfusion.data.encoder import Rows, _order
from tsfusion.data.frames import as_frame
from tsfusion.data.panel import Panel
from tsfusion.data.parquet import ParquetPanel, _bytes, _Files, _named, transform_in_parts
from tsfusion.data.window_reader import FileWindows, WindowReader, concatenated, pieces
from tsfusion.data.windows import (
    WindowIndex,
    evenly_spaced,
    training_windows,
    validation_windows,
)
from tsfusion.exceptions import DataWarning
from tsfusion.learning import (
    bounds_of,
    check_within,
    context_of,
    no_weight,
    warn_of_weightless_tail,
)
from tsfusion.prediction import Fitted, known_end

if TYPE_CHECKING:
    from tsfusion.forecaster import FusionForecaster

__all__ = ["FileSource", "Files", "open_files"]

# Chunks in memory together while the network is trained; each takes a third of what reading one
# takes.
_AT_ONCE = 4
_MAX_MEMORY = "512MB"
_MOST_WINDOWS = 1024
_ROLES = ("time", "series", "target", "known", "observed", "static", "weight")


def _check_paths(paths: Any) -> None:
    """Raise in words of `fit` where a path is no Parquet file."""
    for path in paths:
        ending = os.path.splitext(path)[1].lower()
        if not os.path.isdir(path) and ending not in ("", ".parquet", ".pq"):
            raise TypeError(
                f"X: expected a DataFrame, a 2-D array or the path of Parquet files, received "
                f"{os.fspath(path)!r}. Read the file first, for instance with pd.read_csv, or make "
                "Parquet files of it with tsfusion.scale.relayout."
            )
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"X: expected a DataFrame, a 2-D array or the path of Parquet files, received "
                f"{os.fspath(path)!r}, and there is no such file."
            )


def open_files(model: FusionForecaster, X: Any, y: Any) -> Files | None:
    """Return the files to fit on, or None where X is a table.

    Parameters
    ----------
    model : FusionForecaster
    X : str, path, list of them, ParquetPanel, or a table
    y : None
        The target of files is one of their columns.

    Raises
    ------
    ValueError
        If y is given, or a parameter asks for what files cannot teach.
    TypeError, FileNotFoundError
        If a path is not one of Parquet files.
    """
    listed = isinstance(X, (list, tuple)) and len(X) > 0
    paths = X if listed else [X]
    on_disk = all(isinstance(path, (str, os.PathLike)) for path in paths)
    if not on_disk and not isinstance(X, ParquetPanel):
        return None
    if on_disk:
        _check_paths(paths)
    if y is not None:
        raise ValueError("y: expected None with files, whose target= is one of their columns.")
    if model.warm_start:
        raise ValueError(
            "warm_start=True: expected none with files, for a fit on files begins anew. Fit on a "
            "table in memory, or set warm_start=False."
        )
    return Files(model, X)


class Files:
    """Files to fit on, of which only the schema was read so far.

    Attributes
    ----------
    frame : DataFrame without rows
        The columns.
    """

    def __init__(self, model: FusionForecaster, source: Any) -> None:
        self._model = model
        self._source = source
        if isinstance(source, ParquetPanel):
            self.frame = source.empty_frame()
            return
        named = _named([getattr(model, name) for name in _ROLES])
        self.frame = as_frame(_Files(source, named, 1_024).schema.empty_table())

    def learn(self, roles: Any, levels: tuple[float, ...]) -> dict[str, Any]:
        """Return what `FusionForecaster.fit` goes on with: fitted, rows, panel, windows, source."""
        panel = self._panel(roles, float(self._model.validation_size))
        if panel.weightless[0]:
            raise no_weight(roles.weight)
        found = self._learn(panel, levels)
        few, empty = len(found["source"]) == 0, panel.weightless[1]
        if panel.encoder.boundary is not None and (few or empty):
            # As with a table: without enough rows for a validation tail, do without one.
            if isinstance(self._source, ParquetPanel):
                what = "rows of the validation tail with a weight above 0"
                raise ValueError(
                    f"No {'window to train on beside the validation tail' if few else what}. Pass "
                    f"a ParquetPanel with {'a smaller' if few else 'another'} validation_size=, or "
                    "more rows."
                )
            if not few:
                warn_of_weightless_tail(roles.weight)
            found = self._learn(self._panel(roles, 0.0), levels)
        if len(found["source"]) == 0:
            raise ValueError(
                f"No window to train on in {found['source'].windows.panel!r}: expected at least "
                "one series with two known targets."
            )
        return found

    def _panel(self, roles: Any, validation_size: float) -> ParquetPanel:
        model, source = self._model, self._source
        options = {
            "freq": model.freq, "validation_size": validation_size, "horizon": int(model.horizon),
            "scaler": model.scaler,
            "max_categories": model.max_categories, "time_features": model.time_features,
            "target_transform": transform_in_parts(model.target_transform),
            "holidays": model.holidays,
        }  # fmt: skip
        if isinstance(source, ParquetPanel):
            _check_same(source, roles, options)
            return source
        memory = int(_bytes(_MAX_MEMORY) / (1 + _AT_ONCE / 3))
        given = {name: getattr(model, name) for name in _ROLES}
        with warnings.catch_warnings():
            # Of columns without a role, fit has told already.
            warnings.filterwarnings("ignore", "The columns .* have no role", DataWarning)
            # A time that was found is asked for by name.
            return ParquetPanel(
                source, **{**given, "time": roles.time}, **options, max_memory=memory
            )

    def _learn(self, panel: ParquetPanel, levels: tuple[float, ...]) -> dict[str, Any]:
        model = self._model
        labels, place = _sorted_labels(panel.series)
        units = panel.units
        by_label = np.argsort(place)
        learned = ~units.unknown(panel.series)[by_label]
        unit = pd.Series(units.of(panel.series)[by_label][learned], labels[learned])
        context_length = context_of(model, panel.encoder, panel.lengths)
        fitted = Fitted(
            encoder=panel.encoder,
            calendar=panel.calendar,
            units=replace(units, unit=unit),
            context_length=context_length,
            horizon=int(model.horizon),
            levels=levels,
            bounds=bounds_of(model),
        )
        from_boundary = model.calibration is not None
        rows, counts = _first_pass(panel, fitted, labels, from_boundary=from_boundary)
        source = FileSource(
            FileWindows(panel, context_length, fitted.horizon, counts.of_chunk), fitted
        )
        cut, training, validation = _sample(panel, fitted, labels, counts)
        return {
            "fitted": fitted, "rows": rows, "panel": cut, "training": training,
            "validation": validation, "source": source,
        }  # fmt: skip


@dataclass(frozen=True)
class FileSource:
    """Where the batches of a fit on files come from."""

    windows: FileWindows
    fitted: Fitted

    def __len__(self) -> int:
        return len(self.windows)

    def reader(self, *, batch_size: int, seed: int, **ranks: int) -> WindowReader:
        """Return a reader of training windows."""
        return WindowReader(
            self.windows, batch_size=batch_size, seed=seed, at_once=_AT_ONCE, **ranks
        )

    def content(self) -> list[Any]:
        """Return what tells these files from others: of each series, what they taught."""
        panel, units = self.windows.panel, self.fitted.units
        encoder = self.fitted.encoder
        scales = [
            [str(name), encoder.location[name], encoder.scale[name]] for name in encoder.scale
        ]
        return [
            self.windows.counts, panel.lengths, units.unit.to_numpy(), units.unit.index,
            units.typical_level, scales,
        ]  # fmt: skip


@dataclass(frozen=True)
class _Counts:
    """Windows by series, in the order of the labels, and training windows by chunk."""

    training: np.ndarray
    validation: np.ndarray
    of_chunk: np.ndarray


def _check_same(panel: ParquetPanel, roles: Any, options: dict[str, Any]) -> None:
    """Raise unless a panel was read as a forecaster asks."""
    for name, asked, given in (
        ("roles", roles, panel.roles),
        *((name, value, panel.options[name]) for name, value in options.items()),
    ):
        if name == "roles":
            differ = [role for role in _ROLES if getattr(asked, role) != getattr(given, role)]
            if differ:
                role = differ[0]
                raise ValueError(
                    f"{role}: the forecaster asks for {getattr(asked, role)!r}, the ParquetPanel "
                    f"was read with {getattr(given, role)!r}. Give both the same parameters."
                )
        elif asked != given:
            raise ValueError(
                f"{name}: the forecaster asks for {asked!r}, the ParquetPanel was read with "
                f"{given!r}. Give both the same parameters."
            )


def _sorted_labels(labels: pd.Index) -> tuple[pd.Index, np.ndarray]:
    """Return labels in the order of a frame's, and where each is among them."""
    try:
        order = np.asarray(labels.argsort())
    except TypeError:
        order = np.arange(len(labels))
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels))
    return labels[order], place


def _first_pass(
    panel: ParquetPanel, fitted: Fitted, labels: pd.Index, *, from_boundary: bool
) -> tuple[Rows, _Counts]:
    """Count the windows of each series, and keep the rows that forecasts need."""
    shape = {"context_length": fitted.context_length, "horizon": fitted.horizon}
    boundary, n = fitted.encoder.boundary, len(labels)
    counts = {"training": np.zeros(n, np.int64), "validation": np.zeros(n, np.int64)}
    of_chunk = np.zeros(panel.n_chunks, np.int64)
    by_row = ("series", "ordinal", "target", "real", "categorical", "weight", "row")
    kept: dict[str, list[np.ndarray]] = {name: [] for name in by_row}
    static = {
        "static_real": np.zeros((n, len(panel.roles.static_real)), np.float32),
        "static_categorical": np.zeros((n, len(panel.roles.static_categorical)), np.int32),
    }
    for i, rows in enumerate(panel.all_rows()):
        check_within(rows, fitted.bounds, panel.row_of(i))
        part = panel.lay_out(rows)
        place = labels.get_indexer(part.labels)
        for name, find in (("training", training_windows), ("validation", validation_windows)):
            if name == "training" or boundary is not None:
                series = find(part, boundary, **shape).series
                counts[name][place] = np.bincount(series, minlength=part.n_series)
        of_chunk[i] = counts["training"][place].sum()
        for name, table in static.items():
            table[place] = getattr(rows, name)
        late = _needed(rows, fitted, from_boundary=from_boundary)
        late = replace(late, series=place[late.series], row=panel.row_of(i) + late.row)
        for name, values in kept.items():
            values.append(getattr(late, name))
    # One column at a time, so that no more than one is held twice.
    columns = {name: np.concatenate(kept.pop(name)) for name in by_row}
    order = _order(columns["series"], columns["ordinal"])
    for name in by_row if order is not None else ():
        columns[name] = columns[name][order]
    memory = Rows(labels=labels, **static, **columns)
    return memory, _Counts(counts["training"], counts["validation"], of_chunk)


def _needed(rows: Rows, fitted: Fitted, *, from_boundary: bool) -> Rows:
    """Return the rows that forecasts after the last known target read, and those after it.

    With ``from_boundary``, also what forecasts of the validation tail read.
    """
    at, context = np.arange(len(rows)), fitted.context_length
    end = known_end(rows)[rows.series]
    needed = (end < 0) | (at > end - context)
    if from_boundary and fitted.encoder.boundary is not None:
        late = np.flatnonzero(rows.ordinal >= fitted.encoder.boundary)[::-1]
        first = np.full(len(rows.labels), len(rows) + context)
        first[rows.series[late]] = late
        needed |= at >= first[rows.series] - context
    return rows.take(needed)


def _sample(
    panel: ParquetPanel, fitted: Fitted, labels: pd.Index, counts: _Counts
) -> tuple[Panel, WindowIndex, WindowIndex]:
    """Return a panel of the windows that a fit in memory would validate on, and compare with."""
    from tsfusion.training.fit import how_many

    shape = {"context_length": fitted.context_length, "horizon": fitted.horizon}
    boundary = fitted.encoder.boundary
    wanted = [
        _Wanted.of(counts.training, _MOST_WINDOWS),
        _Wanted.of(counts.validation, how_many(int(counts.validation.sum()))[0]),
    ]
    chunk_of = panel.chunk_of_series()[panel.series.get_indexer(labels)]
    cuts: list[Panel] = []
    n_rows = n_pieces = 0
    for i in np.unique(np.concatenate([chunk_of[one.series] for one in wanted])):
        part = panel.chunk(int(i))
        local = np.full(len(labels), -1)
        local[labels.get_indexer(part.labels)] = np.arange(part.n_series)
        for one, find in zip(wanted, (training_windows, validation_windows)):
            here = np.flatnonzero(chunk_of[one.series] == i)
            if len(here) == 0:
                continue
            windows = find(part, boundary, **shape)
            begin = np.searchsorted(windows.series, local[one.series[here]])
            cut, windows = pieces(part, windows.take(begin + one.place[here]), **shape)
            one.found.append(WindowIndex(windows.origin + n_rows, windows.series + n_pieces))
            one.numbers.append(here)
            cuts.append(cut)
            n_rows, n_pieces = n_rows + len(cut), n_pieces + cut.n_series
    whole = concatenated(cuts) if cuts else panel.chunk(0)
    return whole, wanted[0].windows(), wanted[1].windows()


@dataclass(frozen=True)
class _Wanted:
    """Windows that were chosen by their numbers, before any is there.

    Attributes
    ----------
    series, place : ndarray of int64, shape (W,)
        The series of each, and which of its windows it is.
    found : list of WindowIndex
        What was found of them so far.
    numbers : list of ndarray
        Which of the W these are.
    """

    series: np.ndarray
    place: np.ndarray
    found: list[WindowIndex] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, count: np.ndarray, most: int) -> _Wanted:
        """Choose at most so many among ``count`` windows of each series, in their order.

        As `WindowIndex.thinned` would, but by number: the windows of all files are no list.
        """
        number = evenly_spaced(int(count.sum()), most)
        ends = np.cumsum(count)
        series = np.searchsorted(ends, number, side="right")
        return cls(series, number - (ends - count)[series])

    def windows(self) -> WindowIndex:
        """Return the windows, in the order of their numbers."""
        if not self.found:
            return WindowIndex(np.zeros(0, np.int64), np.zeros(0, np.int64))
        origin = np.concatenate([windows.origin for windows in self.found])
        series = np.concatenate([windows.series for windows in self.found])
        return WindowIndex(origin, series).take(np.argsort(np.concatenate(self.numbers)))
