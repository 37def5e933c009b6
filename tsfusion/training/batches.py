"""Batches of windows for Keras; relies on the panel's gather and on `keras.utils.PyDataset`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, gather, targets

__all__ = ["EvaluationBatches", "TrainingBatches"]


class _Batches(keras.utils.PyDataset):
    def __init__(
        self, panel: Panel, windows: WindowIndex, *, context_length: int, horizon: int,
        batch_size: int, stop: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        super().__init__(workers=1, use_multiprocessing=False)
        self.panel = panel
        self.windows = windows
        self.context_length = context_length
        self.horizon = horizon
        self.batch_size = batch_size
        self.stop = stop

    def _batch(self, index: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
        windows = self.windows.take(index)
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

    def __getitem__(self, i: int) -> tuple[Any, np.ndarray, np.ndarray]:
        first = (self.epoch * self.steps + i) * self.batch_size
        place = first + np.arange(self.batch_size)
        rounds, within = np.divmod(place, len(self.windows))
        index = np.empty(self.batch_size, np.int64)
        for round_ in np.unique(rounds):
            here = rounds == round_
            index[here] = self._permutation(int(round_))[within[here]]
        return self._batch(index)


class EvaluationBatches(_Batches):
    """Windows in their order, each once."""

    def __len__(self) -> int:
        return -(-len(self.windows) // self.batch_size)

    def __getitem__(self, i: int) -> tuple[Any, np.ndarray, np.ndarray]:
        first = i * self.batch_size
        return self._batch(np.arange(first, min(first + self.batch_size, len(self.windows))))


class EpochClock(keras.callbacks.Callback):
    """Tells the training batches which epoch it is (Keras' own hook also fires before epoch 0)."""

    def __init__(self, batches: TrainingBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the epoch."""
        self.batches.epoch = epoch
