"""The fit loop: a Keras model, windows of a panel, early stopping on a validation tail."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex
from tsfusion.models.losses import PinballLoss
from tsfusion.training.batches import (
    EpochClock,
    EvaluationBatches,
    TrainingBatches,
    as_dataset,
)
from tsfusion.training.progress import Progress

__all__ = ["TrainingPlan", "seeded", "train"]

_SEED_LOCK = threading.RLock()

# XLA takes about ten seconds to compile, and pays for it from a few hundred steps on.
_XLA_STEPS = 400


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what Keras draws its default seeds from, and put everything back afterwards.

    Keras takes the seed of each initializer and dropout from Python's `random` when it makes them.
    """
    with _SEED_LOCK:
        state = random.getstate()
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)


@dataclass(frozen=True)
class TrainingPlan:
    """How to train; the names are those of `tsfusion.FusionForecaster`."""

    context_length: int
    horizon: int
    levels: Sequence[float]
    max_epochs: int
    steps_per_epoch: int | None
    batch_size: int
    learning_rate: float
    patience: int
    optimizer: Any
    loss: Any
    callbacks: Any
    jit_compile: bool | None
    verbose: int
    seed: int


# A long panel is seen in part in each epoch, so that early stopping looks often enough; the whole
# of it is seen across epochs.
_MOST_STEPS, _MOST_VALIDATION_WINDOWS, _VALIDATION_BATCH = 100, 1024, 256
_MOST_AT_ONCE = 16


def train(
    model: keras.Model, panel: Panel, training: WindowIndex, validation: WindowIndex,
    plan: TrainingPlan, *, stop: np.ndarray,
) -> dict[str, list[float]]:  # fmt: skip
    """Train a model in place and return its history.

    Parameters
    ----------
    model : keras.Model
        Built and not compiled.
    panel : Panel
    training, validation : WindowIndex
        Without validation windows there is no early stopping.
    plan : TrainingPlan
    stop : ndarray of int, shape (S,)
        The panel row of each series from which on its targets are hidden from training.

    Returns
    -------
    dict of list of float
    """
    batch_size = min(plan.batch_size, max(len(training), 1))
    steps = plan.steps_per_epoch or min(-(-len(training) // batch_size), _MOST_STEPS)
    shape: dict[str, Any] = {"context_length": plan.context_length, "horizon": plan.horizon}
    batches = TrainingBatches(
        panel, training, batch_size=batch_size, steps=steps, seed=plan.seed, stop=stop, **shape
    )
    on_tensorflow = keras.backend.backend() == "tensorflow"
    callbacks = _listed(plan.callbacks)
    # A callback of the user's may want to see each batch.
    at_once = 1 if callbacks or not on_tensorflow else _at_once(steps)
    validation_data: Any = None
    if len(validation):
        windows, size = _even(validation)
        validation_data = EvaluationBatches(panel, windows, batch_size=size, **shape)
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=plan.patience, restore_best_weights=True, mode="min"
            )
        )
    if plan.verbose:
        callbacks.append(Progress(plan.max_epochs, plan.verbose))
    data: Any = batches
    if on_tensorflow:
        data = as_dataset(batches)
        validation_data = as_dataset(validation_data) if validation_data else None
    else:
        callbacks.append(EpochClock(batches))
    model.compile(
        optimizer=_optimizer(plan, steps * plan.max_epochs),
        loss=plan.loss or PinballLoss(plan.levels, reduction="mean_with_sample_weight"),
        jit_compile=_jit(plan.jit_compile, steps * plan.max_epochs),
        steps_per_execution=at_once,
    )
    # Made inside the compiled step, the optimizer's variables cost TensorFlow a second trace of it.
    model.optimizer.build(model.trainable_variables)
    history = model.fit(
        data,
        epochs=plan.max_epochs,
        steps_per_epoch=steps,
        validation_data=validation_data,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    return {name: [float(value) for value in values] for name, values in history.history.items()}


def _even(validation: WindowIndex) -> tuple[WindowIndex, int]:
    """Return windows that fill batches evenly, and the size of the batches: one shape to compile."""
    size = min(len(validation), _VALIDATION_BATCH)
    most = min(len(validation), _MOST_VALIDATION_WINDOWS)
    return validation.thinned(most - most % size), size


def _at_once(steps: int) -> int:
    """Return how many steps TensorFlow takes at one call from Python, a divisor of ``steps``."""
    return next(n for n in range(min(steps, _MOST_AT_ONCE), 0, -1) if steps % n == 0)


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _jit(asked: bool | None, steps: int) -> Any:
    """Use XLA where the fit is long enough to pay for it; Keras decides on other backends."""
    if asked is not None:
        return asked
    if keras.backend.backend() == "tensorflow":
        return steps >= _XLA_STEPS
    return "auto"


def _optimizer(plan: TrainingPlan, steps: int) -> keras.optimizers.Optimizer:
    if plan.optimizer is None:
        schedule = keras.optimizers.schedules.CosineDecay(
            plan.learning_rate, steps, alpha=0.05, warmup_target=None
        )
        return keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    if isinstance(plan.optimizer, str):
        optimizer = keras.optimizers.get(plan.optimizer)
        optimizer.learning_rate = plan.learning_rate
        return optimizer
    # A fitted optimizer belongs to its model: the user's own stays as it is.
    return plan.optimizer.__class__.from_config(plan.optimizer.get_config())
