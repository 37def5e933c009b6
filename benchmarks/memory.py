"""Does memory grow over many fits? Ours beside a plain Keras model, built and fitted as often.

    KERAS_BACKEND=torch python benchmarks/memory.py [--fits 200] [--every 20] [--what ours plain]

Each runs in a process of its own, which drops every model before it makes the next; what is printed
is the resident memory (RSS) after each so many fits, and the growth over the second half of them,
when everything that is loaded once is there. Needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WHAT = ("ours", "plain")


def resident() -> float:
    """Return this process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def fit_ours(seed: int) -> None:
    import numpy as np
    import pandas as pd

    from tsfusion import FusionForecaster

    times = pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame({"t": times, "y": np.sin(np.arange(60.0))})
    model = FusionForecaster(
        2, time="t", target="y", context_length=8, hidden_size=4, num_heads=1, max_epochs=1,
        steps_per_epoch=2, batch_size=16, jit_compile=False, verbose=0, random_state=seed,
    )  # fmt: skip
    model.fit(frame).forecast()


def fit_plain(seed: int) -> None:
    """Build and fit a network of Keras' own with about as many layers and the same data flow."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 1))
    x = keras.layers.LSTM(4, return_sequences=True)(inputs)
    for _ in range(8):
        x = keras.layers.LayerNormalization()(keras.layers.Dense(4, activation="elu")(x) + x)
    x = keras.layers.MultiHeadAttention(1, 4)(x, x)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    model.compile("adam", "mae", jit_compile=False)
    data = np.zeros((32, 8, 1), "float32"), np.zeros((32, 2), "float32")
    model.fit(*data, batch_size=16, epochs=1, verbose=0, validation_data=data)
    model.predict_on_batch(data[0][:16])


def run(what: str, fits: int, every: int) -> None:
    fit = {"ours": fit_ours, "plain": fit_plain}[what]
    seen = []
    for number in range(1, fits + 1):
        fit(number)
        if number % every == 0:
            gc.collect()
            seen.append(resident())
            print(f"{what}: {number:4d} fits, {seen[-1]:,.0f} MB", flush=True)
    half = seen[len(seen) // 2 - 1 :]
    growth = (half[-1] - half[0]) / max(1, (len(half) - 1) * every)
    print(f"{what}: {1000 * growth:,.0f} kB a fit over the second half", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--alone", action="store_true", help="in this process: one of --what")
    asked = parser.parse_args()
    if asked.alone:
        run(asked.what[0], asked.fits, asked.every)
        return
    for what in asked.what:
        options = ["--fits", str(asked.fits), "--every", str(asked.every), "--what", what]
        subprocess.run([sys.executable, __file__, "--alone", *options], check=True)


if __name__ == "__main__":
    main()
