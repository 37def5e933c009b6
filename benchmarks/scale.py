"""Rates of work on more data than fits the memory: layout, reader, fit and forecasts.

    python benchmarks/scale.py [--series 5000] [--steps 2000] [--days 10] [--memory 512MB]
                               [--what layout reader simulation fit predict processes]
                               [--folder DIR]

Hourly rows of ``series`` x ``steps``, written day by day as a warehouse would, every file with rows
of every series: 50 million rows are --series 25000. Each part runs in a process of its own, and
tells rates and the growth of its memory after the imports: resident at its peak (VmHWM), and
anonymous at the end (RssAnon). ``simulation`` draws batches from all over one pass over 26 billion
rows (a million series of three years), whose chunks are those on disk again and again: each batch
makes the reader go to other chunks. ``processes`` (JAX, two cores) trains with one and with two,
each bound to a core. Needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WHAT = ("layout", "reader", "simulation", "fit", "predict", "processes")
COLUMNS = {
    "time": "time", "series": "store", "target": "sales", "known": ["price"],
    "observed": ["weather"],
}  # fmt: skip
CONTEXT, HORIZON = 168, 24


def memory() -> tuple[float, float]:
    """Return resident memory at its peak and anonymous memory now, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kept = dict(line.split(":", 1) for line in lines)
    return tuple(int(kept[name].split()[0]) / 1e3 for name in ("VmHWM", "RssAnon"))  # type: ignore[return-value]


def write(folder: Path, n_series: int, steps: int, days: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    labels = pa.array([f"store {i:07}" for i in range(n_series)])
    folder.mkdir()
    for first in range(0, steps, 24 * days):
        late = np.arange(first, min(first + 24 * days, steps))
        n = len(late) * n_series
        code = pa.array(np.tile(np.arange(n_series, dtype=np.int32), len(late)))
        times = np.datetime64("2021-01-01", "us") + late * np.timedelta64(3_600, "s")
        table = pa.table(
            {
                "time": np.repeat(times, n_series),
                "store": pa.DictionaryArray.from_arrays(code, labels),
                "sales": rng.normal(size=n),
                "price": rng.normal(size=n).astype("f4"),
                "weather": rng.normal(size=n).astype("f4"),
            }
        )
        pq.write_table(table, folder / f"{first:06}.parquet", row_group_size=1_000_000)


def tell(name: str, before: tuple[float, float], **told: object) -> None:
    peak, anonymous = (now - then for now, then in zip(memory(), before))
    parts = [f"{key} {value}" for key, value in told.items()]
    parts += [f"peak +{peak:,.0f} MB", f"anonymous {before[1] + anonymous:,.0f} MB"]
    print(f"{name}: {', '.join(parts)}", flush=True)


def layout(folder: Path, limit: str) -> None:
    import pandas  # noqa: F401
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401

    from tsfusion.scale import relayout

    before, start = memory(), time.monotonic()
    found = relayout(
        folder / "raw", folder / "buckets", series="store", time="time", max_memory=limit,
        overwrite=True,
    )  # fmt: skip
    seconds = time.monotonic() - start
    tell(
        "layout", before, rows=found["rows"], buckets=len(found["files"]),
        seconds=f"{seconds:.1f}", **{"rows/s": f"{found['rows'] / seconds:,.0f}"},
    )  # fmt: skip


def read(folder: Path, limit: str):
    from tsfusion.data import ParquetPanel

    return ParquetPanel(folder / "buckets", **COLUMNS, horizon=HORIZON, max_memory=limit)


def reader(folder: Path, limit: str) -> None:
    import tsfusion.data
    from tsfusion.data.window_reader import FileWindows, WindowReader

    del tsfusion
    before, start = memory(), time.monotonic()
    panel = read(folder, limit)
    learned = time.monotonic() - start
    tell("learn", before, chunks=panel.n_chunks, seconds=f"{learned:.1f}",
         **{"rows/s": f"{panel.n_rows / learned:,.0f}"})  # fmt: skip
    windows = FileWindows.of(panel, context_length=CONTEXT, horizon=HORIZON)
    for size in (64, 512):
        batches = WindowReader(windows, batch_size=size, seed=0)
        start, n = time.monotonic(), 0
        while time.monotonic() - start < 20:
            batches.batch(n)
            n += 1
        rate = n * size / (time.monotonic() - start)
        tell("reader", before, batch=size, **{"windows/s": f"{rate:,.0f}"})


class Repeated:
    """As many chunks as asked for, each one of a panel on disk."""

    def __init__(self, panel, n_chunks: int) -> None:
        self.panel, self.n_chunks, self.encoder = panel, n_chunks, panel.encoder

    def chunk(self, i: int):
        return self.panel.chunk(i % self.panel.n_chunks)

    def steps_of(self, chosen) -> int:
        return self.panel.steps_of([i % self.panel.n_chunks for i in chosen])


def simulation(folder: Path, limit: str) -> None:
    import numpy as np

    from tsfusion.data.window_reader import FileWindows, WindowReader

    panel = read(folder, limit)
    small = FileWindows.of(panel, context_length=CONTEXT, horizon=HORIZON)
    n_chunks = -(-1_000_000 * 26_280 * panel.n_chunks // panel.n_rows)
    counts = np.resize(small.counts, n_chunks)
    windows = FileWindows(Repeated(panel, n_chunks), CONTEXT, HORIZON, counts)
    before = memory()
    batches = WindowReader(windows, batch_size=512, seed=0)
    last = len(windows) // 512
    tell("simulation", before, chunks=f"{n_chunks:,}", windows=f"{len(windows):,}")
    for tenth in range(10):
        start = time.monotonic()
        for place in np.linspace(tenth, tenth + 1, 4, endpoint=False):
            batches.batch(int(place / 10 * last))
        seconds = (time.monotonic() - start) / 4
        tell("simulation", before, passed=f"{tenth + 1}/10", **{"s a jump": f"{seconds:.2f}"})


def forecaster(hidden_size: int = 16, **options: object):
    from tsfusion import FusionForecaster

    return FusionForecaster(
        HORIZON, **COLUMNS, context_length=CONTEXT, hidden_size=hidden_size, verbose=0,
        random_state=0, **options,
    )  # fmt: skip


def fit(folder: Path, limit: str) -> None:
    import keras  # noqa: F401

    model = forecaster(max_epochs=2, steps_per_epoch=50)
    panel = read(folder, limit)
    before, start = memory(), time.monotonic()
    model.fit(panel)
    tell("fit", before, seconds=f"{time.monotonic() - start:.1f}", epochs=2, steps=50)
    model.save(folder / "model", history="tail")


def predict(folder: Path, limit: str) -> None:
    import numpy as np
    import pandas as pd

    from tsfusion.scale import predict_panel, series_bucket

    n, steps = 10_000, 200
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "time": np.tile(pd.date_range("2024-01-01", periods=steps, freq="h"), n),
            "store": np.repeat([f"s{i}" for i in range(n)], steps),
            "sales": rng.normal(size=n * steps),
        }
    )
    path = folder / "small"
    if not path.exists():
        from tsfusion import FusionForecaster

        FusionForecaster(
            HORIZON, time="time", series="store", target="sales", context_length=CONTEXT,
            hidden_size=16, max_epochs=1, steps_per_epoch=2, verbose=0,
        ).fit(frame[: 20 * steps]).save(path, history="tail")  # fmt: skip
    predict_panel(frame[:steps], path)
    before, start = memory(), time.monotonic()
    whole = predict_panel(frame, path).sort_values(["store", "time"])
    tell("predict_panel", before, series=n, seconds=f"{time.monotonic() - start:.1f}")
    bucket = series_bucket(frame, ["store"], 16)
    parts = [predict_panel(part, path) for _, part in frame.groupby(bucket)]
    found = pd.concat(parts).sort_values(["store", "time"])
    away = np.abs(found.iloc[:, 2:].to_numpy() - whole.iloc[:, 2:].to_numpy()).max()
    print(f"predict_panel: 16 buckets are {away:.1e} away from one table", flush=True)
    try:
        import dask.dataframe as dd
    except ImportError:
        print("predict_panel: no Dask here")
        return
    from tsfusion.scale import on_dask

    shared = dd.from_pandas(frame.sample(frac=1, random_state=0), npartitions=7, sort=False)
    start = time.monotonic()
    found = on_dask(predict_panel, shared, path, n_buckets=16).compute(scheduler="sync")
    found = found.sort_values(["store", "time"])
    away = np.abs(found.iloc[:, 2:].to_numpy() - whole.iloc[:, 2:].to_numpy()).max()
    print(f"Dask: {len(found)} rows in {time.monotonic() - start:.1f} s, {away:.1e} away")


TRAIN = """
import os, sys, time
address, folder, rank, ranks, batch = *sys.argv[1:3], *map(int, sys.argv[3:])
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
import keras
distribution = None
if ranks > 1:
    keras.distribution.initialize(address, ranks, rank)
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
import pandas as pd
from benchmarks.scale import forecaster
class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and rank == 0:
            print("steps/s", 5 / (time.monotonic() - self.began), flush=True)
frame = pd.read_parquet(folder + "/some.parquet")
forecaster(max_epochs=2, steps_per_epoch=5, batch_size=batch, hidden_size=64, validation_size=0,
           distribution=distribution, callbacks=Clock()).fit(frame)
if ranks > 1:
    import jax
    jax.distributed.shutdown()
"""


def rate(folder: Path, ranks: int, batch: int) -> float:
    """Return the windows that some processes train on together in a second."""
    command = [sys.executable, "-c", TRAIN, "127.0.0.1:27431", str(folder)]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(ranks), str(batch)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "KERAS_BACKEND": "jax"}, stderr=subprocess.DEVNULL,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    try:
        told = [process.communicate()[0] for process in running]
    finally:
        for process in running:
            process.kill()
    return batch * float(told[0].split("steps/s")[1])


def processes(folder: Path, limit: str) -> None:
    """Two share the windows of a step, and add up their gradients: that takes as long, however many
    windows there are.
    """
    import pyarrow.parquet as pq

    first = sorted((folder / "buckets").glob("*.parquet"))[0]
    pq.write_table(pq.read_table(first).slice(0, 40_000), folder / "some.parquet")
    for batch in (256, 4096):
        one, two = rate(folder, 1, batch), rate(folder, 2, batch)
        print(
            f"processes: batches of {batch} windows, {one:,.0f} windows/s with one, {two:,.0f} "
            f"with two, {two / one:.2f} times as fast", flush=True,
        )  # fmt: skip


RUN: dict[str, Callable[[Path, str], None]] = {
    "layout": layout, "reader": reader, "simulation": simulation, "fit": fit, "predict": predict,
    "processes": processes,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=5_000)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=10, help="days in a raw file")
    parser.add_argument("--memory", default="512MB")
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--folder", type=Path, help="kept, and used again")
    parser.add_argument("--alone", action="store_true", help="in this process: one of --what")
    asked = parser.parse_args()
    if asked.alone:
        RUN[asked.what[0]](asked.folder, asked.memory)
        return
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    folder.mkdir(exist_ok=True)
    try:
        if not (folder / "raw").exists():
            write(folder / "raw", asked.series, asked.steps, asked.days)
        size = sum(file.stat().st_size for file in (folder / "raw").iterdir())
        print(f"{asked.series * asked.steps:,} rows, {size / 1e6:,.0f} MB", flush=True)
        parts = list(asked.what)
        laid_out = "layout" in parts or (folder / "buckets").exists()
        if not laid_out and set(parts) != {"predict"}:
            parts.insert(0, "layout")
        for what in parts:
            options = ["--alone", "--what", what, "--folder", str(folder)]
            options += ["--memory", asked.memory]
            subprocess.run([sys.executable, __file__, *options], check=True)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
