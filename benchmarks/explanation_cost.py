"""What explaining costs beside forecasting, and how much memory it takes as series grow.

    python benchmarks/explanation_cost.py [--windows 1000] [--steps 24] [--series 10 100 1000 10000]

The panel of `serving.py` (hours, 168 -> 24, hidden 32) and a network trained for 100 steps. First:
the CPU time, in one process on one thread, of forecasting so many windows, each of its own series,
and of explaining the same rows; the median of the rounds, but for what takes minutes, which runs
once. Then, in a process for each number of series, one cutoff each: the most memory (RSS) beyond
what the process took before the call, sampled each 5 ms.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import numpy as np
from serving import panel

# The frame of attention has a row for each forecast, head and source: 7,300 a window here.
_MOST_FRAMED = 1000


def fitted(n_series: int, horizon: int, steps: int):
    from tsfusion import FusionForecaster

    table = panel(n_series, 168 + 2 * horizon)
    late = table["time"] >= table["time"].iloc[168 + horizon]
    model = FusionForecaster(
        horizon, context_length=168, time="time", series="series", target="y",
        known=["price", "promo"], observed=["load"], max_epochs=1, steps_per_epoch=steps,
        validation_size=0, verbose=0, random_state=0,
    ).fit(table[~late])  # fmt: skip
    return model, table.loc[late, ["series", "time", "price", "promo"]]


def cost(windows: int, steps: int, rounds: int) -> None:
    model, future = fitted(windows, steps, 100)
    middle = steps // 2

    def explain(*methods: str, **options: Any) -> Any:
        return model.explain(future, methods=methods, max_windows=windows, **options)

    ways: dict[str, Callable[[], Any]] = {
        "predict": lambda: model.predict(future),
        "attention, selection": lambda: explain("attention", "selection"),
        "and their frames": lambda: [
            explain("attention", "selection").to_frame(name) for name in ("attention", "selection")
        ],
        "averages alone": lambda: model.explain_average(future, max_windows=windows),
        "and sensitivity of all": lambda: explain("attention", "selection", "sensitivity"),
        "and the fast checks": lambda: explain("attention", "selection", checks="fast"),
        "attribution of one step": lambda: explain("attribution", horizons=middle),
    }
    first = {name: seconds(call) for name, call in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            taken[name].append(seconds(call))
    base = float(np.median(taken["predict"]))
    print(f"{windows} windows of 168 -> {steps}, all steps: CPU of one thread, median of {rounds}")
    for name, found in taken.items():
        shown(name, float(np.median(found)), base, f", {first[name]:.2f} s the first time")
    every = seconds(lambda: explain("attribution"))
    shown("attribution of all steps", every, base, ", once, and with what XLA takes to compile")


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def shown(name: str, taken: float, base: float, more: str = "") -> None:
    print(f"  {name:24s} {taken:8.2f} s {taken / base:7.1f} x predict{more}", flush=True)


def resident() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak(call: Callable[[], Any]) -> float:
    """Return the most MB beyond those before the call."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = most = resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, resident())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        # Kept until the last sample is taken.
        found = call()
        most = max(most, resident())
        del found
    finally:
        done.set()
        watching.join()
    return most - before


def memory(n_series: int) -> None:
    model, future = fitted(n_series, 24, 1)
    model.explain(max_windows=600, methods=("attention", "selection"))
    every = {"max_windows": n_series}
    ways: dict[str, Callable[[], Any]] = {
        "averages": lambda: model.explain_average(future, **every),
        "of history": lambda: model.explain_average(**every),
        "explain()": lambda: model.explain(),
        "every window": lambda: model.explain(future, **every),
        "its frame": lambda: framed(model.explain(future, **every)),
        "predict": lambda: model.predict(future),
    }
    if n_series > _MOST_FRAMED:
        del ways["its frame"]
    found = {name: peak(call) for name, call in ways.items()}
    columns = ", ".join(f"{name} {mb:.0f}" for name, mb in found.items())
    print(f"  {n_series:6d} series, {len(model._memory):9,} rows known: {columns} MB", flush=True)


def framed(explanation: Any) -> Any:
    return explanation, explanation.attention


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--series", type=int, nargs="*", default=[10, 100, 1000, 10_000])
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.memory_of:
        memory(asked.memory_of)
        return
    if asked.windows:
        cost(asked.windows, asked.steps, asked.rounds)
    print("peak memory, one cutoff of each series, 24 steps", flush=True)
    for n in asked.series:
        subprocess.run([sys.executable, __file__, "--memory-of", str(n)], check=True)


if __name__ == "__main__":
    main()
