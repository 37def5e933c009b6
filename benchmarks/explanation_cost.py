"""What explaining costs beside forecasting, and how much memory it takes as series grow.

    python benchmarks/explanation_cost.py [--windows 1000] [--steps 24] [--series 10 100 1000 10000]

The panel and the untrained network of `serving.py` (hours, 168 -> 24, hidden 32). First: the CPU
time (medians of the rounds) of forecasting so many windows, each of its own series, and of
explaining the same rows with attention and selection, with the attribution too, and with all the
checks. Then, in a process for each number of series: the peak memory (RSS) of `explain()` over the
history with everything at its default, beyond what the process took before it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from serving import panel


def fitted(n_series: int, horizon: int):
    from tsfusion import FusionForecaster

    table = panel(n_series, 168 + 2 * horizon)
    late = table["time"] >= table["time"].iloc[168 + horizon]
    model = FusionForecaster(
        horizon, context_length=168, time="time", series="series", target="y",
        known=["price", "promo"], observed=["load"], max_epochs=1, steps_per_epoch=1,
        validation_size=0, jit_compile=False, verbose=0, random_state=0,
    ).fit(table[~late])  # fmt: skip
    return model, table.loc[late, ["series", "time", "price", "promo"]]


def cost(windows: int, steps: int, rounds: int) -> None:
    model, future = fitted(windows, steps)
    ways = {
        "predict": lambda: model.predict(future),
        "attention, selection": lambda: explain(("attention", "selection"), None),
        "and attribution": lambda: explain(("attention", "selection", "attribution"), None),
        "and the fast checks": lambda: explain(("attention", "selection", "attribution"), "fast"),
    }

    def explain(methods: tuple[str, ...], checks: str | None) -> None:
        model.explain(future, methods=methods, checks=checks, max_windows=windows)

    taken: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(rounds):
        for name, call in ways.items():
            start = time.process_time()
            call()
            taken[name].append(time.process_time() - start)
    base = np.median(taken["predict"])
    print(f"{windows} windows of 168 -> {steps}, all steps: CPU, median of {rounds}")
    for name, seconds in taken.items():
        middle = np.median(seconds)
        print(f"  {name:22s} {middle:8.2f} s  {middle / base:6.1f} x predict", flush=True)


def memory(n_series: int) -> None:
    model, _ = fitted(n_series, 24)
    model.forecast(model.make_future_dataframe().assign(price=0.0, promo="1"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    found = model.explain()
    found.importance()
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = len(model._memory)
    print(
        f"  {n_series:6d} series, {rows:9,} rows: {after - before:6.0f} MB beyond "
        f"{before:6.0f} MB, {seconds:5.1f} s CPU, {found!r}",
        flush=True,
    )


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
    cost(asked.windows, asked.steps, asked.rounds)
    print("explain() over the history, peak memory", flush=True)
    for n in asked.series:
        subprocess.run([sys.executable, __file__, "--memory-of", str(n)], check=True)


if __name__ == "__main__":
    main()
