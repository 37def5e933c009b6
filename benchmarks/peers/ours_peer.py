"""Our forecaster under the same protocol as its peers."""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator
from typing import Any, ClassVar

import common
import keras
import numpy as np
import pandas as pd
from common import LEVELS, Options

from tsfusion import FusionForecaster
from tsfusion.data import make_windows
from tsfusion.models import factory
from tsfusion.training import fit as training


class Stop(keras.callbacks.Callback):
    """Ends a fit after some steps, and notes the time and the number of the last at each call."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.seconds: list[float] = []
        self.taken: list[int] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.process_time())
        self.taken.append(batch + 1)
        self.model.stop_training = batch + 1 >= self.steps

    def step_seconds(self) -> np.ndarray:
        """Return the CPU seconds of a step, call by call; the first call compiles."""
        return np.diff(self.seconds) / np.diff(self.taken)


def watched(stop: Stop) -> None:
    """Add the callback behind the estimator's back: one of the user's is called at every step,
    for which the fit gives up taking several at a time.
    """
    callbacks = training._callbacks
    training._callbacks = lambda *args: [*callbacks(*args), stop]


def forecaster(options: Options, **kwargs: Any) -> FusionForecaster:
    return FusionForecaster(
        options.horizon,
        context_length=options.context,
        target="y",
        architecture=options.architecture,
        hidden_size=options.hidden,
        num_heads=options.heads,
        dropout=options.dropout,
        batch_size=options.batch,
        learning_rate=options.learning_rate,
        quantiles=LEVELS,
        validation_size=0,
        jit_compile=options.jit,
        random_state=options.seed,
        verbose=0,
        **kwargs,
    )


def fitted(options: Options, steps: int) -> tuple[FusionForecaster, Stop]:
    """Stop a fit of default length (10 epochs of 100 steps) early: XLA is used as it would be."""
    stop = Stop(steps)
    watched(stop)
    model = forecaster(
        options,
        time="time",
        series="series",
        known=options.known_names,
        observed=options.observed_names,
        steps_per_epoch=100,
    )
    return model.fit(options.made(options.series, options.length)), stop


def quantiles(table: pd.DataFrame) -> np.ndarray:
    return table[[f"q{level:g}" for level in LEVELS]].to_numpy()


def train(options: Options) -> dict:
    """At least three calls after the one that compiles, of ten steps each."""
    model, stop = fitted(options, min(max(10 + options.steps, 40), 100))
    seconds = float(np.median(stop.step_seconds()))
    return {
        "seconds_per_step": seconds,
        "samples_per_second": options.batch / seconds,
        "parameters": model.model_.count_params(),
        "xla": bool(model.model_.jit_compile),
    }


def predict(options: Options) -> dict:
    model, _ = fitted(options, 2)
    answer = common.forecast_speed(
        options, lambda past, future: model.forecast(future, context=past)
    )
    return answer | {"xla": bool(model.model_.jit_compile)}


def limit(options: Options) -> dict:
    """What a forecast costs in matrix products, how long it takes, and what products alone take."""
    import tensorflow as tf

    from tsfusion import prediction

    model, _ = fitted(options, 2)
    past, future = options.to_forecast(options.windows)
    seen: list[dict] = []
    run = prediction.run_model
    prediction.run_model = lambda network, batch: (seen.append(batch), run(network, batch))[1]
    model.forecast(future, context=past)
    prediction.run_model = run
    batch = {name: tf.constant(values) for name, values in seen[-1].items()}
    network = tf.function(lambda inputs: model.model_(inputs, training=False))
    graph = network.get_concrete_function(batch).graph
    operations = 0
    for node in graph.get_operations():
        if node.type in ("MatMul", "BatchMatMulV2"):
            across = node.get_attr("transpose_a" if node.type == "MatMul" else "adj_x")
            inner = node.inputs[0].shape[-2 if across else -1]
            operations += 2 * node.outputs[0].shape.num_elements() * inner
    # The two loops hold a product of the state with the matrix of four gates for each step.
    steps = model.model_.network.short_window + options.horizon
    rows = len(seen[-1]["past_real"])
    operations += 2 * rows * 4 * options.hidden**2 * steps

    def rate(rows: int) -> float:
        left, right = tf.ones((rows, options.hidden)), tf.ones((options.hidden, 4 * options.hidden))
        seconds = common.median_seconds(lambda: tf.matmul(left, right).numpy(), options.repeats)
        return 2 * rows * 4 * options.hidden**2 / seconds

    spent = common.median_seconds(lambda: network(batch).numpy(), 2 * options.repeats)
    whole = common.median_seconds(lambda: model.forecast(future, context=past), options.repeats)
    return {
        "operations": operations / rows,
        "operations_per_second": max(rate(rows), rate(rows * steps)),
        "network_seconds": spent / rows,
        "forecast_seconds": whole / options.windows,
    }


def first(options: Options) -> dict:
    """The calendar is the forecaster's own; the others are given month columns."""
    table = options.monthly()[["date", "y"]]
    epochs = max(options.steps // 100, 1)
    model = forecaster(
        options, time="date", max_epochs=epochs, steps_per_epoch=options.steps // epochs
    ).fit(table)
    return common.first_answer(options, quantiles(model.forecast()))


def windows(options: Options) -> dict:
    table = common.read_table(options.table)
    data, seconds, peak = common.measured(
        lambda: make_windows(
            table,
            context_length=options.context,
            horizon=options.horizon,
            min_history=options.context,
            time="time",
            series="series",
            target="sales",
            known=["price", "discount", "promotion", "event"],
            observed=["weather", "visits", "sky"],
            static=["size", "region"],
        )
    )

    def batches() -> Iterator[tuple]:
        generator = np.random.default_rng(options.seed)
        while True:
            batch = data.take(generator.integers(0, len(data), options.batch))
            yield batch.inputs(), batch.targets, batch.weights

    return {
        "seconds": seconds,
        "peak_mb": peak,
        "windows": len(data),
        "batch_seconds": common.batch_seconds(batches()),
        "peak_rss_mb": common.memory_mb(),
    }


class Changed(FusionForecaster):
    """The estimator, with some arguments of its network changed: for the ablation."""

    __init__ = FusionForecaster.__init__
    change: ClassVar[dict] = {}

    def _architecture(self, *args: Any) -> dict[str, Any]:
        made = super()._architecture(*args)
        return {**made, "network": {**made["network"], **self.change}}


def accuracy(options: Options) -> dict:
    """As the estimator comes; ``validation_size`` follows from the split of the data set."""
    table = common.read_table(options.table)
    origin = options.origins(table)
    if options.prior_steps is not None:
        factory._PRIOR_STEPS = options.prior_steps
    given = {"architecture": options.architecture, **options.parameters}
    model = Changed(
        options.horizon,
        time="date" if "date" in table else "time",
        series="series",
        target="y",
        known=options.known,
        observed=options.observed,
        quantiles=LEVELS,
        validation_size=1 - options.train_end / options.test_start,
        random_state=options.seed,
        verbose=0,
        **given,
    )
    model.change = options.network
    columns = ["series", model.time, "y", *options.known, *options.observed]
    step, table = table["time"], table[columns]
    model.fit(table[step < options.test_start])
    # Where the last targets are missing, `forecast` would begin earlier; a row of `predict` counts.
    values = [
        model.predict(
            table[(step >= start) & (step < start + options.horizon)],
            quantiles=LEVELS,
            context=table[(step < start) & (step >= start - 2 * model.context_length_)],
        ).reshape(-1, options.horizon, len(LEVELS))
        for start in origin
    ]
    epochs = len(model.history_["loss"])
    return common.save_quantiles(options, np.stack(values, axis=1), origin, epochs * 100 * 64)


if __name__ == "__main__":
    common.main(
        {
            "windows": windows,
            "train": train,
            "predict": predict,
            "limit": limit,
            "first": first,
            "accuracy": accuracy,
        },
        ["tsfusion", "keras", "tensorflow", "numpy", "pandas"],
    )
