"""The fit loop: a Keras model, windows of a panel, early stopping on a validation tail."""

from __future__ import annotations

import contextlib
import logging
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
    ReaderBatches,
    TrainingBatches,
    as_dataset,
)
from tsfusion.training.checkpoint import Checkpoint, CheckpointWriter
from tsfusion.training.devices import ALONE, Share
from tsfusion.training.on_tensorflow import quiet_about_traces, tie_gradients_to_graphs
from tsfusion.training.optimizer import adam
from tsfusion.training.progress import Progress

__all__ = ["Run", "Start", "TrainingPlan", "check_keras_objects", "seeded", "train"]

_log = logging.getLogger(__name__)

_SEED_LOCK = threading.RLock()

# The average of the weights spans one part in so many of a fit, at most.
_SPANS = 10

# Steps times width from which XLA may pay, on a GPU, for the 10 to 15 seconds that it takes to
# compile. On a CPU TensorFlow's own kernels are as fast at nearly all sizes (docs/architecture.md).
_XLA_WORK = {"fusion": 64_000, "tft": 12_800}


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

    architecture: str
    hidden_size: int
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
    averaging: float
    verbose: int


# A long panel is seen in part in each epoch, so that early stopping looks often enough; the whole
# of it is seen across epochs. A short one is seen several times in each: 10 epochs of two steps
# leave a network where it began (132 months of passengers: five times the loss of a naive forecast,
# and below it with 30 steps in each).
_LEAST_STEPS, _MOST_STEPS = 30, 100
_MOST_VALIDATION_WINDOWS, _VALIDATION_BATCH = 1024, 256
_MOST_AT_ONCE = 16
# Of weights that have a mean of one over a batch, both are the weighted mean.
_REDUCTION = {False: "mean_with_sample_weight", True: "sum_over_batch_size"}


def check_keras_objects(optimizer: Any, loss: Any, callbacks: Any) -> None:
    """Raise unless Keras can make something of each, in words that name the parameter."""
    for name, given, family, kind in (
        ("optimizer", optimizer, keras.optimizers, keras.optimizers.Optimizer),
        ("loss", loss, keras.losses, keras.losses.Loss),
    ):
        known = given is None or isinstance(given, kind) or (name == "loss" and callable(given))
        if isinstance(given, str):
            with contextlib.suppress(ValueError):
                known = family.get(given) is not None
        if not known:
            raise ValueError(
                f"{name}: expected None, the name of one in keras.{name}{_PLURAL[name]} or an "
                f"instance, received {given!r}."
            )
    for callback in _listed(callbacks):
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                f"callbacks: expected instances of keras.callbacks.Callback, received {callback!r}."
            )


_PLURAL = {"optimizer": "s", "loss": "es"}


@dataclass(frozen=True)
class Start:
    """Where a training run starts: its seed, and a value for each of the model's variables."""

    seed: int
    values: list[np.ndarray]

    @classmethod
    def of(cls, model: keras.Model, seed: int) -> Start:
        """Start from the present values of a model."""
        return cls(seed, [variable.numpy().copy() for variable in model.variables])


@dataclass(frozen=True)
class Run:
    """What a training run came to: the model's weights, and its losses by epoch."""

    weights: list[np.ndarray]
    history: dict[str, list[float]]


def train(
    model: keras.Model, panel: Panel, training: WindowIndex, validation: WindowIndex,
    plan: TrainingPlan, starts: Sequence[Start], *, stop: np.ndarray,
    checkpoint: Checkpoint | None = None, source: Any = None, share: Share = ALONE,
) -> list[Run]:  # fmt: skip
    """Train a model from each start in turn, compiling it once.

    Parameters
    ----------
    model : keras.Model
        Built and not compiled; it ends with the weights of the last run.
    panel : Panel
    training, validation : WindowIndex
        Without validation windows there is no early stopping.
    plan : TrainingPlan
    starts : sequence of Start
    stop : ndarray of int, shape (S,)
        The panel row of each series from which on its targets are hidden from training.
    checkpoint : Checkpoint, default=None
        Open; training goes on from it, and writes it after each epoch.
    source : tsfusion.learning_from_files.FileSource, default=None
        Where training windows are read from in place of the panel, which holds some of them.
    share : Share, default=ALONE
        This process's part of each batch, as `tsfusion.training.devices.distributed` gives it.

    Returns
    -------
    list of Run
    """
    n_windows = len(training) if source is None else len(source)
    batch_size = share.batch(plan.batch_size, max(n_windows, 1))
    steps = plan.steps_per_epoch
    if steps is None:
        steps = min(max(-(-n_windows // batch_size), _LEAST_STEPS), _MOST_STEPS)
    on_tensorflow = keras.backend.backend() == "tensorflow"
    # A callback of the user's may want to see each batch; a strategy fails where one ends a loop.
    one_by_one = _listed(plan.callbacks) or not on_tensorflow or share.by_replica
    at_once = 1 if one_by_one else _at_once(steps)
    optimizer = _optimizer(plan, steps * plan.max_epochs)
    model.compile(
        optimizer=optimizer,
        loss=plan.loss or PinballLoss(plan.levels, reduction=_REDUCTION[share.by_replica]),
        jit_compile=_jit(plan, steps * plan.max_epochs * len(starts)),
        steps_per_execution=at_once,
    )
    # Made inside the compiled step, the optimizer's variables cost TensorFlow a second trace of it.
    optimizer.build(model.trainable_variables)
    fresh = [variable.numpy().copy() for variable in optimizer.variables]
    shape: dict[str, Any] = {"context_length": plan.context_length, "horizon": plan.horizon}
    validation_data: Any = None
    if len(validation):
        windows, size = evenly(validation, share)
        validation_data = EvaluationBatches(panel, windows, batch_size=size, share=share, **shape)
        validation_data = as_dataset(validation_data) if on_tensorflow else validation_data
    runs = _finished(checkpoint, model)
    _log.info(
        "%d windows of %d + %d steps to train on, %d to validate on; at most %d epochs of %d steps "
        "of %d windows, on %s",
        len(training), plan.context_length, plan.horizon, len(validation), plan.max_epochs, steps,
        batch_size, keras.backend.backend(),
    )  # fmt: skip
    if runs:
        model.set_weights(runs[-1].weights)
    for number, start in enumerate(starts[len(runs) :], len(runs)):
        batches: TrainingBatches | ReaderBatches
        if source is None:
            batches = TrainingBatches(
                panel, training, batch_size=batch_size, steps=steps, seed=start.seed, stop=stop,
                share=share, **shape,
            )  # fmt: skip
        else:
            reader = source.reader(
                batch_size=batch_size, seed=start.seed, shards=share.ranks, rank=share.rank,
                ranks=share.ranks,
            )  # fmt: skip
            batches = ReaderBatches(reader, steps=steps, share=share)
        _assign(model.variables, start.values)
        _assign(optimizer.variables, fresh)
        model.stop_training = False
        callbacks = _callbacks(plan, batches, len(validation) > 0, number, len(starts))
        writer = None
        if checkpoint is not None:
            writer = _writer(checkpoint, optimizer, callbacks[len(_listed(plan.callbacks)) :])
            callbacks.append(writer)
            batches.epoch = writer.begin
        with quiet_about_traces():
            history = model.fit(
                as_dataset(batches) if on_tensorflow else batches,
                epochs=plan.max_epochs,
                initial_epoch=writer.begin if writer else 0,
                steps_per_epoch=steps,
                validation_data=validation_data,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            ).history
        losses = {name: [float(value) for value in values] for name, values in history.items()}
        runs.append(Run([np.asarray(weight) for weight in model.get_weights()], losses))
        if writer is not None:
            runs[-1] = Run(runs[-1].weights, writer.history)
            writer.finish(runs[-1].weights, writer.history)
        _log_end(number + 1, len(starts), runs[-1].history)
    if on_tensorflow:
        # To forecast, XLA would compile every size of batch for some six seconds and gain 15 %.
        model.jit_compile = False
    tie_gradients_to_graphs()
    return runs


def _log_end(number: int, of: int, history: dict[str, list[float]]) -> None:
    losses = history.get("val_loss") or history["loss"]
    _log.info(
        "network %d of %d: %d epochs, best %s %.4g after epoch %d",
        number, of, len(losses), "val_loss" if "val_loss" in history else "loss", min(losses),
        int(np.argmin(losses)) + 1,
    )  # fmt: skip


def _finished(checkpoint: Checkpoint | None, model: keras.Model) -> list[Run]:
    """Return the runs that a checkpoint has whole."""
    if checkpoint is None:
        return []
    like = model.get_weights()
    return [Run(checkpoint.unpacked(data, like), losses) for data, losses in checkpoint.finished]


def _writer(checkpoint: Checkpoint, optimizer: Any, callbacks: list[Any]) -> CheckpointWriter:
    """Return the callback that keeps the state of a model, its optimizer and our callbacks."""
    by_type = {type(callback): callback for callback in callbacks}
    return CheckpointWriter(
        checkpoint,
        optimizer,
        averaging=by_type.get(keras.callbacks.SwapEMAWeights),
        stopping=by_type.get(keras.callbacks.EarlyStopping),
    )


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _callbacks(
    plan: TrainingPlan,
    batches: TrainingBatches | ReaderBatches,
    validated: bool,
    number: int,
    of: int,
) -> list[Any]:
    """Return the callbacks of one run, ours after the user's."""
    callbacks = [*_listed(plan.callbacks), EpochClock(batches)]
    if plan.averaging and plan.optimizer is None:
        # Before the one that keeps the best weights, which are then the averaged ones.
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    if validated:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=plan.patience, restore_best_weights=True, mode="min"
            )
        )
    if plan.verbose:
        name = f"network {number + 1}/{of}, " if of > 1 else ""
        callbacks.append(Progress(plan.max_epochs, plan.verbose, name=name))
    return callbacks


def evenly(validation: WindowIndex, share: Share = ALONE) -> tuple[WindowIndex, int]:
    """Return the windows to validate on, which fill batches of one shape, and its size."""
    count, size = how_many(len(validation), share)
    return validation.thinned(count), size


def how_many(validation: int, share: Share = ALONE) -> tuple[int, int]:
    """Return how many of so many windows to validate on, and how many at a time."""
    if validation == 0:
        return 0, 0
    size = share.rounded(min(validation, _VALIDATION_BATCH))
    most = min(validation, _MOST_VALIDATION_WINDOWS)
    return most - most % size, size


def _at_once(steps: int) -> int:
    """Return how many steps TensorFlow takes at one call from Python, a divisor of ``steps``."""
    return next(n for n in range(min(steps, _MOST_AT_ONCE), 0, -1) if steps % n == 0)


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _jit(plan: TrainingPlan, steps: int) -> Any:
    """Use XLA for a long fit on a GPU; Keras decides on other backends."""
    if plan.jit_compile is not None:
        return plan.jit_compile
    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    long = steps * plan.hidden_size >= _XLA_WORK[plan.architecture]
    return long and bool(tf.config.list_logical_devices("GPU"))


def _optimizer(plan: TrainingPlan, steps: int) -> keras.optimizers.Optimizer:
    # Named, or Keras counts them up, and TensorFlow keeps 36 kB for each new name of a variable.
    if plan.optimizer is None:
        schedule = keras.optimizers.schedules.CosineDecay(
            plan.learning_rate, steps, alpha=0.05, warmup_target=None
        )
        # Of the first weights, exp(-_SPANS) is left in the average at the end.
        momentum = min(plan.averaging, max(1 - _SPANS / steps, 0.0))
        averaged = {"use_ema": True, "ema_momentum": momentum} if plan.averaging else {}
        return adam(schedule, global_clipnorm=1.0, name="adam", **averaged)
    if isinstance(plan.optimizer, str):
        kind = type(keras.optimizers.get(plan.optimizer))
        return kind(learning_rate=plan.learning_rate, name=plan.optimizer.lower())
    # A fitted optimizer belongs to its model: the user's own stays as it is.
    return plan.optimizer.__class__.from_config(plan.optimizer.get_config())
