"""Training on several devices or processes: what each is given, and what must be put back."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

__all__ = ["ALONE", "Share", "distributed"]


@dataclass(frozen=True)
class Share:
    """A process's share of each batch.

    Attributes
    ----------
    replicas : int
        Devices that a batch is shared out to, over all processes.
    rank, ranks : int
        Which of how many processes this is. A process reads its part of a batch alone.
    by_replica : bool
        Whether the loss is a mean for each replica, rather than one of the whole batch. Weights of
        rows then have to be scaled beforehand, or replicas with fewer known targets would count
        too much.
    """

    replicas: int = 1
    rank: int = 0
    ranks: int = 1
    by_replica: bool = False

    def rounded(self, size: int) -> int:
        """Return the largest size of a batch up to ``size`` that can be shared out."""
        if size < self.replicas:
            raise ValueError(
                f"distribution: expected at least one window for each of {self.replicas} devices, "
                f"there are {size}. Pass a larger batch_size=, more rows, or fewer devices."
            )
        return size - size % self.replicas

    def batch(self, asked: int, n_windows: int) -> int:
        """Return the size of a training batch; warn where it is not the one asked for."""
        size = self.rounded(min(asked, n_windows))
        if asked % self.replicas and size < min(asked, n_windows):
            warnings.warn(
                f"batch_size: {asked} windows cannot be shared out evenly to {self.replicas} "
                f"devices, so that a batch has {size}. Pass a multiple of {self.replicas} for the "
                "result of one device.",
                UserWarning,
                stacklevel=6,
            )
        return size

    def part(self, size: int) -> slice:
        """Return this process's part of a batch."""
        each = size // self.ranks
        return slice(self.rank * each, (self.rank + 1) * each)


ALONE = Share()


@contextlib.contextmanager
def distributed(distribution: Any, random_state: Any) -> Iterator[Share]:
    """Make and train models on the devices of a distribution within; put everything back after.

    Parameters
    ----------
    distribution : None, keras.distribution.DataParallel or tf.distribute.Strategy
    random_state : object
        Several processes start from the same weights only if it is a number.

    Raises
    ------
    TypeError
        If it is none of these, or does not go with the backend.
    ValueError
        If it stretches over several hosts of TensorFlow, where Keras' own ``fit`` fails; or over
        processes without a seed.
    """
    backend = keras.backend.backend()
    if distribution is None:
        yield ALONE
    elif isinstance(distribution, keras.distribution.DataParallel) and backend == "jax":
        import jax

        ranks = jax.process_count()
        if ranks > 1 and not isinstance(random_state, int):
            raise ValueError(
                f"distribution: expected random_state= with a number, so that {ranks} processes "
                f"start from the same weights, received {random_state!r}."
            )
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(distribution)
        try:
            yield Share(distribution.device_mesh.devices.size, jax.process_index(), ranks)
        finally:
            keras.distribution.set_distribution(before)
    elif backend == "tensorflow" and _is_strategy(distribution):
        import tensorflow as tf

        if isinstance(distribution, tf.distribute.MultiWorkerMirroredStrategy):
            raise ValueError(
                "distribution: MultiWorkerMirroredStrategy fails in fit of Keras (issue 20585). "
                "For several hosts use keras.distribution.DataParallel on JAX (examples/"
                "train_processes.py); for one host, MirroredStrategy."
            )
        with distribution.scope():
            yield Share(distribution.num_replicas_in_sync, by_replica=True)
    else:
        raise TypeError(
            "distribution: expected None, keras.distribution.DataParallel on JAX, or a "
            f"tf.distribute.Strategy on TensorFlow, received {type(distribution).__name__} on "
            f"{backend}."
        )


def _is_strategy(distribution: Any) -> bool:
    import tensorflow as tf

    return isinstance(distribution, tf.distribute.Strategy)
