"""How long `predict` takes for many series, and how much of it is not the network.

    python benchmarks/serving.py [--series 1000] [--horizon 24] [--hidden 32] [--rounds 5]

A panel of hours with two known and one observed column, an untrained network of the default kind
(168 -> 24). Once warm: `predict` of all rows to come, `forecast`, the network alone on the same
batches, gathered before, and the file's save and load. The best of the rounds: wall time, and the
CPU time of all threads, which other processes disturb less.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd


def panel(n_series: int, steps: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = n_series * steps
    return pd.DataFrame(
        {
            "series": np.repeat([f"s{i:04d}" for i in range(n_series)], steps),
            "time": np.tile(pd.date_range("2024-01-01", periods=steps, freq="h"), n_series),
            "y": np.tile(np.sin(np.arange(steps) * np.pi / 12), n_series) + rng.normal(size=n),
            "price": rng.normal(size=n),
            "promo": rng.integers(0, 2, n).astype(str),
            "load": rng.normal(size=n),
        }
    )


def best(call: Callable[[], Any], rounds: int) -> np.ndarray:
    """Return wall and CPU seconds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter(), time.process_time()
        call()
        taken.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return np.min(taken, axis=0)


def shown(name: str, seconds: np.ndarray, more: str = "") -> None:
    print(f"{name:32s} {seconds[0]:7.3f} s wall {seconds[1]:7.3f} s CPU{more}")


def network_alone(model: Any, future: pd.DataFrame) -> Callable[[], Any]:
    """Return a call that runs the network, and nothing else, on what `predict` hands to it."""
    from tsfusion import prediction

    batches: list[Any] = []
    run = prediction.run_model

    def noting(network: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
        batches.append({name: value.copy() for name, value in batch.items()})
        return run(network, batch)

    prediction.run_model = noting
    try:
        model.predict(future)
    finally:
        prediction.run_model = run
    return lambda: [run(model.model_, batch) for batch in batches]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    import keras

    from tsfusion import FusionForecaster

    table = panel(asked.series, 168 + 2 * asked.horizon)
    late = table["time"] >= table["time"].iloc[168 + asked.horizon]
    history, future = table[~late], table.loc[late, ["series", "time", "price", "promo"]]
    model = FusionForecaster(
        asked.horizon, context_length=168, time="time", series="series", target="y",
        known=["price", "promo"], observed=["load"], hidden_size=asked.hidden, max_epochs=1,
        steps_per_epoch=1, validation_size=0, jit_compile=False, verbose=0, random_state=0,
    ).fit(history)  # fmt: skip
    start = time.perf_counter()
    model.predict(future)
    print(f"Keras on {keras.backend.backend()}, hidden {asked.hidden}, 168 -> {asked.horizon}")
    print(f"first predict {time.perf_counter() - start:.3f} s")
    alone = network_alone(model, future)
    # In turns, so that a disturbance falls on both.
    rounds = [(best(alone, 1), best(lambda: model.predict(future), 1)) for _ in range(asked.rounds)]
    network, whole = (
        np.min([pair[0] for pair in rounds], 0),
        np.min([pair[1] for pair in rounds], 0),
    )
    shown(f"predict, {asked.series} series", whole)
    shown("  the network alone", network)
    share = 1 - network / whole
    shown("  around it", whole - network, f": {share[0]:.0%} and {share[1]:.0%} of predict")
    shown("forecast", best(lambda: model.forecast(future), asked.rounds))
    weights = sum(np.asarray(weight).nbytes for weight in model.model_.get_weights())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        saved = best(lambda: model.save(path, history="tail"), asked.rounds)
        loaded = best(lambda: FusionForecaster.load(path), asked.rounds)
        size = path.stat().st_size
    shown("save(history='tail')", saved, f", {size / 1e6:.2f} MB")
    shown("load", loaded, f", weights alone {weights / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
