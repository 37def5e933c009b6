"""How long, and how much memory, it takes to get from a DataFrame to windows ready for training.

    python benchmarks/windows.py [--rows 2000000] [--series 1000] [--repeats 5]

Batches are drawn at random. Beside them stand plain copies of as many bytes, from random places of
an array of the panel's size into an array made before: in one piece, and in as many pieces as there
are windows, which is the limit that memory sets to windows from random places. Peak memory is what
Python and NumPy allocate beyond the frame (tracemalloc).

The panel is made here: hourly, 2 % of the rows missing, rows shuffled, twelve columns (time,
series, target, four known, three observed and two static ones, of which three are categories).
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.encoder import PanelEncoder
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.roles import resolve_roles
from tsfusion.data.windowing import make_windows
from tsfusion.data.windows import gather, training_windows, validation_windows

CONTEXT, HORIZON, BATCH = 168, 24, 64
ROLES = {
    "time": "time", "series": "series", "target": "sales",
    "observed": ["weather", "visits", "sky"], "static": ["size", "region"],
}  # fmt: skip


KNOWN = ["price", "discount", "promotion", "event"]


def make_frame(rows: int, series: int, *, shuffled: bool = True) -> pd.DataFrame:
    """Return a panel of about ``rows`` rows."""
    generator = np.random.default_rng(0)
    steps = max(2, round(rows / series / 0.98))
    keep = generator.random(series * steps) > 0.02
    code = np.repeat(np.arange(series), steps)[keep]
    step = np.tile(np.arange(steps), series)[keep]
    if shuffled:
        order = generator.permutation(len(code))
        code, step = code[order], step[order]
    n = len(code)
    names = np.array([f"store {i:05d}" for i in range(series)])
    regions, skies = np.array(["north", "south", "west"]), np.array(["clear", "rain", "snow"])
    weather = generator.normal(size=n)
    weather[generator.random(n) < 0.05] = np.nan
    times = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(steps), unit="h")
    return pd.DataFrame(
        {
            "time": times[step],
            "series": names[code],
            "sales": 10 + code % 7 + generator.normal(size=n),
            "price": generator.normal(size=n),
            "discount": generator.random(n),
            "promotion": generator.random(n) < 0.1,
            "event": regions[generator.integers(0, 3, n)],
            "weather": weather,
            "visits": generator.integers(0, 100, n),
            "sky": pd.Categorical.from_codes(generator.integers(0, 3, n), skies),
            "size": (code % 11).astype(float),
            "region": regions[code % 3],
        }
    )


def encode(frame: pd.DataFrame) -> tuple[PanelEncoder, Any]:
    """DataFrame to encoded rows, sorted by series and time."""
    encoder = PanelEncoder(resolve_roles(frame, **ROLES))
    return encoder, encoder.fit(frame, None, validation_size=0.1, horizon=HORIZON)


def lay_out(encoder: PanelEncoder, rows: Any, *, release: bool = False) -> Panel:
    """Encoded rows to a panel."""
    train = rows.ordinal < encoder.boundary
    return Panel.build(
        rows,
        encoder.timeline,
        CalendarCodes.learn(encoder.timeline, rows.ordinal[train]),
        Units.learn(rows, encoder.boundary),
        n_observed_real=len(encoder.roles.observed_real),
        n_observed_categorical=len(encoder.roles.observed_categorical),
        release=release,
    )


def index(encoder: PanelEncoder, panel: Panel) -> tuple[Any, Any]:
    """Panel to training and validation windows."""
    shape = {"context_length": CONTEXT, "horizon": HORIZON}
    return (
        training_windows(panel, encoder.boundary, **shape),
        validation_windows(panel, encoder.boundary, **shape),
    )


def end_to_end(frame: pd.DataFrame) -> tuple[Any, Any]:
    """DataFrame to windows."""
    encoder, rows = encode(frame)
    return index(encoder, lay_out(encoder, rows, release=True))


def cpu_seconds(task: Callable[[], Any], repeats: int) -> float:
    """Return the median processor time of a task."""
    spent = []
    for _ in range(repeats):
        gc.collect()
        start = time.process_time()
        task()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def batch_seconds(panel: Panel, training: Any, size: int, repeats: int) -> tuple[float, int]:
    """Return the median processor time of a batch of random windows, and its bytes."""
    generator = np.random.default_rng(1)
    spent, held = [], 0
    for _ in range(repeats):
        batch = training.take(generator.integers(0, len(training), size))
        start = time.process_time_ns()
        arrays = gather(panel, batch, context_length=CONTEXT, horizon=HORIZON)
        spent.append(time.process_time_ns() - start)
        held = sum(array.nbytes for array in arrays.values())
    return statistics.median(spent) / 1e9, held


def copy_seconds(panel: Panel, size: int, pieces: int, repeats: int) -> float:
    """Return the median processor time of a plain copy of ``size`` bytes from random places."""
    generator = np.random.default_rng(2)
    source = np.zeros(max(panel.real.nbytes, 4 * size), np.uint8)
    source[:] = 1
    source = source[: len(source) // (size // pieces) * (size // pieces)]
    source = source.reshape(-1, size // pieces)
    target = np.empty((pieces, source.shape[1]), np.uint8)
    spent = []
    for _ in range(repeats):
        places = generator.integers(0, len(source), pieces)
        start = time.process_time_ns()
        if pieces == 1:
            np.copyto(target[0], source[places[0]])
        else:
            source.take(places, axis=0, out=target, mode="clip")
        spent.append(time.process_time_ns() - start)
    return statistics.median(spent) / 1e9


def traced_peak(task: Callable[[], Any]) -> float:
    """Return the most memory (MB) that a task holds beyond what was there before."""
    gc.collect()
    tracemalloc.start()
    task()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="From a DataFrame to windows: time and memory.")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    frame = make_frame(options.rows, options.series)
    ordered = frame.sort_values(["series", "time"], ignore_index=True)
    encoder, rows = encode(frame)
    panel = lay_out(encoder, rows)
    training, validation = index(encoder, panel)
    small = make_frame(100_000, 10)
    small_ordered = small.sort_values(["series", "time"], ignore_index=True)
    tasks: dict[str, Callable[[], Any]] = {
        "encode (shuffled rows)": lambda: encode(frame),
        "encode (sorted rows)": lambda: encode(ordered),
        "panel": lambda: lay_out(encoder, rows),
        "window index": lambda: index(encoder, panel),
        "DataFrame to windows": lambda: end_to_end(frame),
        "make_windows": lambda: make_windows(
            frame, context_length=CONTEXT, horizon=HORIZON, known=KNOWN, **ROLES
        ),
        "100k rows, 10 series": lambda: end_to_end(small),
        "100k rows, 10 series, sorted": lambda: end_to_end(small_ordered),
    }
    used = frame.memory_usage(deep=True).sum() / 1e6
    print(
        f"{len(frame):,} rows x {frame.shape[1]} columns ({used:,.0f} MB), {panel.n_series:,} "
        f"series, {len(panel):,} steps, {len(training):,} + {len(validation):,} windows of "
        f"{CONTEXT} + {HORIZON} steps"
    )
    print(f"{'':32}{'CPU, median':>14}{'peak memory':>14}")
    for name, task in tasks.items():
        seconds, peak = cpu_seconds(task, options.repeats), traced_peak(task)
        shown = f"{seconds:.3f} s" if seconds >= 0.05 else f"{seconds * 1e3:.2f} ms"
        print(f"{name:32}{shown:>14}{peak:>11,.0f} MB")
    rows_bytes = 4 * frame.shape[0] * frame.shape[1] / 1e6
    print(f"the frame as float32 would hold {rows_bytes:,.0f} MB")
    for size in (BATCH, 16 * BATCH):
        seconds, held = batch_seconds(panel, training, size, 200)
        print(f"a batch of {size} windows: {seconds * 1e3:.3f} ms for {held / 1e6:.2f} MB")
        for pieces in (1, size):
            copy = copy_seconds(panel, held, pieces, 200)
            print(f"  copied in {pieces} pieces: {copy * 1e3:.3f} ms, {copy / seconds:.0%} of it")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"Most resident memory of the whole run: {resident:,.0f} MB")


if __name__ == "__main__":
    main()
