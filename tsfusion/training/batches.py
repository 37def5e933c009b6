"""Batches of windows for Keras: a batch is a vector of window numbers until it is needed.

On TensorFlow the windows are gathered inside the input graph (`as_dataset`); the other backends
get a `keras.utils.PyDataset` that gathers in NumPy.
"""

from __future__ import annotations

import itertools
import weakref
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, gather, targets
from tsfusion.training.devices import ALONE, Share

__all__ = ["EpochClock", "EvaluationBatches", "ReaderBatches", "TrainingBatches", "as_dataset"]

# Batches whose window numbers TensorFlow fetches from Python at once.
_BLOCK = 64


class _Batches(keras.utils.PyDataset):
    def __init__(
        self, panel: Panel, windows: WindowIndex, *, context_length: int, horizon: int,
        batch_size: int, stop: np.ndarray | None = None, share: Share = ALONE,
    ) -> None:  # fmt: skip
        super().__init__(workers=1, use_multiprocessing=False)
        self.share = share
        # A network learns in the units of the series, and of those without a spread in the typical.
        self.panel = replace(panel, unknown_spread=None)
        self.windows = windows
        self.context_length = context_length
        self.horizon = horizon
        self.batch_size = batch_size
        self.stop = stop

    def index(self, i: int) -> np.ndarray:
        """Return the numbers of the windows in batch i of this epoch."""
        raise NotImplementedError

    def __getitem__(self, i: int) -> tuple[Any, np.ndarray, np.ndarray]:
        index = self.index(i)
        windows = self.windows.take(index[self.share.part(len(index))])
        inputs = gather(
            self.panel, windows, context_length=self.context_length, horizon=self.horizon
        )
        y, weight = targets(self.panel, windows, horizon=self.horizon, stop=self.stop)
        return inputs, y, weight


class TrainingBatches(_Batches):
    """Shuffled windows: batch i of epoch e is a pure function of (seed, e, i).

    Windows are drawn without replacement until all were seen, across epochs, so that an epoch may
    be shorter or longer than the data.

    Parameters
    ----------
    panel, windows, context_length, horizon, batch_size, stop
        What to draw from; ``stop`` (S,) are the rows from which on targets are hidden.
    steps : int
        Batches per epoch.
    seed : int
        The seed of the permutations.
    """

    def __init__(self, *args: Any, steps: int, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.steps = steps
        self.seed = seed
        self.epoch = 0
        self._round = -1
        self._order = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self.steps

    def _permutation(self, round_: int) -> np.ndarray:
        if round_ != self._round:
            generator = np.random.default_rng((self.seed, round_))
            self._order, self._round = generator.permutation(len(self.windows)), round_
        return self._order

    def index(self, i: int) -> np.ndarray:
        """Return the numbers of the windows in batch i of this epoch."""
        return self.at(self.epoch * self.steps + i)

    def at(self, n: int) -> np.ndarray:
        """Return the numbers of the windows in batch n, counted over all epochs."""
        first = n * self.batch_size
        place = first + np.arange(self.batch_size)
        rounds, within = np.divmod(place, len(self.windows))
        index = np.empty(self.batch_size, np.int64)
        for round_ in np.unique(rounds):
            here = rounds == round_
            index[here] = self._permutation(int(round_))[within[here]]
        return index

    def block(self, first: int, count: int) -> np.ndarray:
        """Return (count, B, 2) int32 origin and series of the windows of batches from ``first``."""
        index = np.stack([self.at(first + i) for i in range(count)])
        windows = self.windows
        return np.stack([windows.origin[index], windows.series[index]], axis=-1).astype(np.int32)


class ReaderBatches(keras.utils.PyDataset):
    """Batches of training windows from files: batch i of epoch e is number ``e * steps + i``.

    Parameters
    ----------
    reader : tsfusion.data.window_reader.WindowReader
    steps : int
        Batches per epoch.
    share : Share
        What the reader was made for.
    """

    def __init__(self, reader: Any, *, steps: int, share: Share = ALONE) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.share = share
        self.reader = reader
        self.steps = steps
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, i: int) -> tuple[Any, np.ndarray, np.ndarray]:
        return self.reader.batch(self.epoch * self.steps + i)


class EvaluationBatches(_Batches):
    """Windows in their order, each once."""

    def __len__(self) -> int:
        return -(-len(self.windows) // self.batch_size)

    def index(self, i: int) -> np.ndarray:
        """Return the numbers of the windows in batch i."""
        first = i * self.batch_size
        return np.arange(first, min(first + self.batch_size, len(self.windows)))


class EpochClock(keras.callbacks.Callback):
    """Tells the training batches which epoch it is (Keras' own hook also fires before epoch 0)."""

    def __init__(self, batches: TrainingBatches | ReaderBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the epoch."""
        self.batches.epoch = epoch


def as_dataset(batches: TrainingBatches | EvaluationBatches | ReaderBatches) -> Any:
    """Return a `tf.data.Dataset` of the same batches, gathered inside its graph.

    Training batches go on for ever, from those of ``batches.epoch`` on, whatever an epoch is;
    evaluation batches end. Those of a reader are gathered in NumPy.
    """
    import tensorflow as tf

    if isinstance(batches, ReaderBatches):
        return _read_ahead(batches)
    if isinstance(batches, TrainingBatches):
        start = batches.epoch * batches.steps
        # TensorFlow never lets go of a function that a graph calls: it must not hold the panel.
        source = weakref.ref(batches)

        def blocks() -> Any:
            for first in itertools.count(start, _BLOCK):
                alive = source()
                if alive is None:
                    return
                yield alive.block(first, _BLOCK)
                del alive

        block = tf.TensorSpec((_BLOCK, batches.batch_size, 2), tf.int32)
        dataset = tf.data.Dataset.from_generator(blocks, output_signature=block).unbatch()
    else:
        windows = batches.windows
        window = np.stack([windows.origin, windows.series], axis=1).astype(np.int32)
        even = len(window) % batches.batch_size == 0
        dataset = tf.data.Dataset.from_tensor_slices(window)
        dataset = dataset.batch(batches.batch_size, drop_remainder=even)
    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = 1
    dataset = _evened(dataset.map(_Gather(batches)), batches.share)
    dataset = dataset.prefetch(2).with_options(options)
    # They last as long as the dataset.
    dataset.batches = batches
    return dataset


def _read_ahead(batches: ReaderBatches) -> Any:
    """Return a `tf.data.Dataset` of a reader's batches, two of them ahead."""
    import tensorflow as tf

    first = batches.epoch * batches.steps
    # As above: a function that a graph calls must not hold what is read.
    source = weakref.ref(batches)

    def read() -> Any:
        for n in itertools.count(first):
            alive = source()
            if alive is None:
                return
            yield alive.reader.batch(n)
            del alive

    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec(array.shape, array.dtype), batches.reader.batch(first)
    )
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    dataset = _evened(dataset, batches.share).prefetch(2)
    dataset.batches = batches
    return dataset


def _evened(dataset: Any, share: Share) -> Any:
    """Scale the weights of each batch to a mean of one, where each replica takes its own mean."""
    if not share.by_replica:
        return dataset
    import tensorflow as tf

    def scaled(inputs: Any, y: Any, weight: Any) -> Any:
        # Keras takes the mean of a batch over the replicas to find its shape, which truth values
        # do not have; the networks take numbers for them.
        inputs = {**inputs, "past_mask": tf.cast(inputs["past_mask"], tf.int32)}
        return inputs, y, weight / tf.maximum(tf.reduce_mean(weight), 1e-12)

    return dataset.map(scaled)


class _Gather:
    """What `tsfusion.data.windows.gather` and `targets` do, as TensorFlow operations."""

    def __init__(self, batches: _Batches) -> None:
        import tensorflow as tf

        panel = batches.panel
        self.context_length, self.horizon = batches.context_length, batches.horizon
        self.rows = max(len(panel) - 1, 0)
        self.observed = 1 + panel.n_observed_real
        self.observed_categorical = panel.n_observed_categorical
        stop = panel.offsets[1:] if batches.stop is None else batches.stop
        bounds = np.stack([panel.offsets[:-1], panel.offsets[1:], stop], axis=1)
        self.bounds = tf.constant(bounds, tf.int32)
        self.real = tf.constant(panel.real)
        self.categorical = tf.constant(panel.categorical)
        self.weight = tf.constant(panel.weight)
        self.static = {
            name: tf.constant(values)
            for name, values in (
                ("static_real", panel.static_real),
                ("static_categorical", panel.static_categorical),
            )
            if values.shape[1]
        } | {"fallback_loc": tf.constant(panel.fallback)}

    def __call__(self, window: Any) -> tuple[Any, Any, Any]:
        """Return inputs, targets and weights of windows (B, 2): origin and series."""
        import tensorflow as tf

        origin, series = window[:, :1], window[:, 1]
        first, end, stop = tf.split(tf.gather(self.bounds, series), 3, axis=1)
        past = origin + tf.range(-self.context_length, 0)
        inside = (past >= first) & (past < end)
        past = tf.clip_by_value(past, 0, self.rows)
        unknown = tf.constant(np.nan, tf.float32)
        real = tf.where(inside[..., None], tf.gather(self.real, past), unknown)
        mask = tf.reduce_any(tf.math.is_finite(real[..., : self.observed]), axis=-1)
        batch = {"past_real": real}
        if self.categorical.shape[1]:
            codes = tf.where(inside[..., None], tf.gather(self.categorical, past), 0)
            batch["past_categorical"] = codes
            mask |= tf.reduce_any(codes[..., : self.observed_categorical] > 0, axis=-1)
        batch["past_mask"] = mask
        ahead = origin + tf.range(self.horizon)
        before_end = ahead < end
        known = before_end & (ahead < stop)
        ahead = tf.minimum(ahead, self.rows)
        real = tf.gather(self.real, ahead)
        y = real[..., 0]
        known &= tf.math.is_finite(y)
        weight = tf.where(known, tf.gather(self.weight, ahead), 0.0)
        if self.real.shape[1] > self.observed:
            batch["future_real"] = tf.where(
                before_end[..., None], real[..., self.observed :], unknown
            )
        if self.categorical.shape[1] > self.observed_categorical:
            codes = tf.gather(self.categorical, ahead)[..., self.observed_categorical :]
            batch["future_categorical"] = tf.where(before_end[..., None], codes, 0)
        for name, values in self.static.items():
            batch[name] = tf.gather(values, series)
        return batch, tf.where(known, y, 0.0), weight
