"""Windows of a panel on disk: some chunks of series at a time, shuffled among them.

Relies on NumPy and on `tsfusion.data.ParquetPanel`. What a batch holds follows from the seed and
its number alone, so that a reader can begin anywhere, and several can share the windows out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.panel import Panel
from tsfusion.data.parquet import ParquetPanel
from tsfusion.data.windows import (
    WindowIndex,
    boundary_rows,
    gather,
    targets,
    training_windows,
    validation_windows,
)

__all__ = ["FileWindows", "WindowReader", "concatenated", "joined", "pieces"]

Batch = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FileWindows:
    """The training windows of a panel on disk.

    Attributes
    ----------
    panel : ParquetPanel
    context_length, horizon : int
    counts : ndarray of int64, shape (n_chunks,)
        Training windows in each chunk of the panel.
    """

    panel: ParquetPanel
    context_length: int
    horizon: int
    counts: np.ndarray

    def __len__(self) -> int:
        return int(self.counts.sum())

    @classmethod
    def of(cls, panel: ParquetPanel, *, context_length: int, horizon: int) -> FileWindows:
        """Count the windows, in one pass over the files."""
        shape = {"context_length": context_length, "horizon": horizon}
        counts = [
            len(training_windows(part, panel.encoder.boundary, **shape)) for part in panel.chunks()
        ]
        return cls(panel, context_length, horizon, np.array(counts, np.int64))

    def of_chunk(self, part: Panel, kind: str = "training") -> WindowIndex:
        """Return the windows of a chunk, to train or to validate on."""
        find = training_windows if kind == "training" else validation_windows
        return find(
            part, self.panel.encoder.boundary, context_length=self.context_length,
            horizon=self.horizon,
        )  # fmt: skip


class WindowReader:
    """Batches of shuffled training windows from files, each a pure function of its number.

    The chunks of the panel are dealt out to shards. A shard goes over its chunks in rounds: in each
    in another order, ``at_once`` of them in memory together, their windows shuffled. A batch has as
    many windows of each shard. So n processes that read a shard each have together, batch by batch,
    the windows of one process that reads all n.

    Parameters
    ----------
    windows : FileWindows
    batch_size : int
        Windows in a batch over all ranks, a multiple of ``shards``.
    seed : int
        Of all that is shuffled.
    at_once : int, default=4
        Chunks of a shard in memory together: what is drawn hangs on it.
    shards : int, default=1
        Into how many parts the chunks are dealt; a multiple of ``ranks``.
    rank, ranks : int, default=0 and 1
        Which of how many readers this is. Rank r reads the shards r, r + ranks, and so on.

    Raises
    ------
    ValueError
        If a shard has no window, or the sizes do not divide.

    Notes
    -----
    In a round of a shard each of its windows is drawn once. Shards of different size go round at
    different pace.

    Examples
    --------
    >>> import tempfile
    >>> from tsfusion.data import ParquetPanel, make_panel
    >>> frame = make_panel(n_series=6, n_steps=100)[["date", "series", "sales"]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     frame.to_parquet(f"{folder}/sales.parquet")
    ...     panel = ParquetPanel(folder, time="date", series="series", target="sales")
    ...     windows = FileWindows.of(panel, context_length=8, horizon=2)
    ...     inputs, y, weight = WindowReader(windows, batch_size=4, seed=0).batch(7)
    >>> inputs["past_real"].shape, y.shape
    ((4, 8, 5), (4, 2))
    """

    def __init__(
        self, windows: FileWindows, *, batch_size: int, seed: int, at_once: int = 4,
        shards: int = 1, rank: int = 0, ranks: int = 1,
    ) -> None:  # fmt: skip
        if shards % ranks or batch_size % shards or not 0 <= rank < ranks:
            raise ValueError(
                f"expected a batch_size that shards divides, shards that ranks divides, and a rank "
                f"below it, received batch_size={batch_size}, shards={shards}, ranks={ranks}, "
                f"rank={rank}."
            )
        sizes = [int(windows.counts[s::shards].sum()) for s in range(shards)]
        if not all(sizes):
            raise ValueError(
                f"Shard {sizes.index(0)} of {shards} has no training window: there are "
                f"{len(windows.counts)} chunks with {len(windows)} windows. Take fewer ranks, or "
                "smaller chunks (a smaller max_memory= of the ParquetPanel)."
            )
        self.windows = windows
        self.batch_size = batch_size
        own = range(rank, shards, ranks)
        share = batch_size // shards
        self._shards = [
            _Shard(windows, s, shards, share=share, seed=seed, at_once=at_once) for s in own
        ]

    def batch(self, n: int) -> Batch:
        """Return this rank's part of batch n.

        Parameters
        ----------
        n : int
            From 0, counted over all epochs.

        Returns
        -------
        inputs : dict of ndarray
            As `tsfusion.data.windows.gather` gives.
        y, weight : ndarray of float32, shape (B, H)
        """
        return _stacked([part for shard in self._shards for part in shard.batch(n)])


class _Shard:
    """One shard's endless sequence of windows."""

    def __init__(
        self, windows: FileWindows, number: int, shards: int, *, share: int, seed: int, at_once: int
    ) -> None:
        self.windows = windows
        self.chunks = np.arange(number, len(windows.counts), shards)
        self.size = int(windows.counts[self.chunks].sum())
        self.share, self.seed, self.at_once = share, [seed, number], at_once
        self._held: tuple[tuple[int, int], _Group] | None = None

    def batch(self, n: int) -> list[Batch]:
        """Return its windows of batch n, in one part for each group of chunks they come from."""
        first, stop = n * self.share, (n + 1) * self.share
        parts = []
        while first < stop:
            round_, within = divmod(first, self.size)
            order = self._order(round_)
            ends = np.cumsum(self.windows.counts[order])[self.at_once - 1 :: self.at_once]
            ends = np.append(ends, self.size)
            group = int(np.searchsorted(ends, within, side="right"))
            begin = int(ends[group - 1]) if group else 0
            count = min(stop - first, int(ends[group]) - within)
            held = self._group(round_, group, order)
            parts.append(held.batch(within - begin, count))
            first += count
        return parts

    def _order(self, round_: int) -> np.ndarray:
        return np.random.default_rng([*self.seed, round_]).permutation(self.chunks)

    def _group(self, round_: int, group: int, order: np.ndarray) -> _Group:
        if self._held is None or self._held[0] != (round_, group):
            # The old one goes before the new one comes.
            self._held = None
            chosen = order[group * self.at_once : (group + 1) * self.at_once]
            rng = np.random.default_rng([*self.seed, round_, group])
            self._held = ((round_, group), _Group.read(self.windows, chosen, rng))
        return self._held[1]


@dataclass(frozen=True)
class _Group:
    """Some chunks in memory, and their windows in the order in which they are drawn."""

    source: FileWindows
    panel: Panel
    windows: WindowIndex
    stop: np.ndarray
    order: np.ndarray

    @classmethod
    def read(cls, source: FileWindows, chosen: np.ndarray, rng: np.random.Generator) -> _Group:
        files, origins, series, stops = source.panel, [], [], []
        rows = n_series = 0

        def parts() -> Any:
            nonlocal rows, n_series
            for i in chosen:
                part = files.chunk(int(i))
                found = source.of_chunk(part)
                origins.append((found.origin + rows).astype(np.int32))
                series.append((found.series + n_series).astype(np.int32))
                stops.append(boundary_rows(part, files.encoder.boundary) + rows)
                rows, n_series = rows + len(part), n_series + part.n_series
                yield part

        panel = joined(parts(), files.steps_of(chosen))
        windows = WindowIndex(np.concatenate(origins), np.concatenate(series))
        order = rng.permutation(np.arange(len(windows), dtype=np.int32))
        return cls(source, panel, windows, np.concatenate(stops), order)

    def batch(self, first: int, count: int) -> Batch:
        windows = self.windows.take(self.order[first : first + count])
        shape = self.source.horizon
        inputs = gather(
            self.panel, windows, context_length=self.source.context_length, horizon=shape
        )
        return inputs, *targets(self.panel, windows, horizon=shape, stop=self.stop)


def _stacked(parts: Sequence[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    inputs = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    y, weight = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
    return inputs, y, weight


def joined(parts: Any, steps: int) -> Panel:
    """Return panels as one of so many steps, for `gather` and `targets`; each is copied and let go.

    What they do not read is left out: the steps' numbers, and the target in the user's units.
    """
    at, offsets = 0, [np.zeros(1, np.int64)]
    columns: dict[str, Any] = {}
    of_series: dict[str, list[Any]] = {}
    part = None
    for part in parts:
        for name in ("real", "categorical", "weight"):
            values = getattr(part, name)
            if name not in columns:
                columns[name] = np.empty((steps, *values.shape[1:]), values.dtype)
            columns[name][at : at + len(part)] = values
        offsets.append(part.offsets[1:] + at)
        for name in ("offset", "unit", "fallback", "static_real", "static_categorical"):
            of_series.setdefault(name, []).append(getattr(part, name))
        at += len(part)
    assert part is not None
    assert at == steps
    n_series = sum(len(offset) for offset in offsets[1:])
    columns.update({name: np.concatenate(values) for name, values in of_series.items()})
    return Panel(
        labels=pd.RangeIndex(n_series),
        offsets=np.concatenate(offsets),
        ordinal=np.broadcast_to(np.int64(0), steps),
        target=columns["real"][:, 0],
        present=np.broadcast_to(np.True_, steps),
        n_observed_real=part.n_observed_real,
        n_observed_categorical=part.n_observed_categorical,
        **columns,
    )


def pieces(
    panel: Panel, windows: WindowIndex, *, context_length: int, horizon: int
) -> tuple[Panel, WindowIndex]:
    """Return a panel of the rows that some windows read, a series of its own for each, and them."""
    series = windows.series
    first = np.maximum(windows.origin - context_length, panel.offsets[series])
    stop = np.minimum(windows.origin + horizon, panel.offsets[series + 1])
    offsets = np.append(0, np.cumsum(stop - first))
    rows = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], stop - first)
    by_row = ("ordinal", "target", "real", "categorical", "present", "weight")
    by_series = ("offset", "unit", "fallback", "static_real", "static_categorical")
    cut = Panel(
        labels=panel.labels[series],
        offsets=offsets,
        n_observed_real=panel.n_observed_real,
        n_observed_categorical=panel.n_observed_categorical,
        **{name: getattr(panel, name)[rows] for name in by_row},
        **{name: getattr(panel, name)[series] for name in by_series},
    )
    return cut, WindowIndex(windows.origin - first + offsets[:-1], np.arange(len(windows)))


def concatenated(parts: Sequence[Panel]) -> Panel:
    """Return small panels as one, whole."""
    by_row = ("ordinal", "target", "real", "categorical", "present", "weight")
    by_series = ("offset", "unit", "fallback", "static_real", "static_categorical")
    ends = np.cumsum([len(part) for part in parts])
    offsets = [part.offsets[1:] + end - len(part) for part, end in zip(parts, ends)]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*by_row, *by_series)
    }
    return Panel(
        labels=parts[0].labels.append([part.labels for part in parts[1:]]),
        offsets=np.append(0, np.concatenate(offsets)),
        n_observed_real=parts[0].n_observed_real,
        n_observed_categorical=parts[0].n_observed_categorical,
        **columns,
    )
