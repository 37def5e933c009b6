"""What the peer scripts share: options, made data, clocks, and one JSON object as the answer.

Needs NumPy and pandas alone, since it runs in the virtual environment of each peer.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
FIRST = {"hidden": 16, "context": 36, "horizon": 12, "batch": 32, "steps": 200}
MONTH = ["month_sin", "month_cos"]


@dataclass
class Options:
    """What a task may be told; the same names for every peer."""

    # The network, and how it is trained.
    hidden: int = 64
    heads: int = 4
    dropout: float = 0.1
    context: int = 168
    horizon: int = 24
    batch: int = 64
    learning_rate: float = 1e-3
    steps: int = 12
    seed: int = 0
    # Width of a number's embedding: None is `hidden`, as published; 0 is the library's own default.
    embedding: int | None = None
    # Only ours: which network, and whether XLA compiles it (None is as a fit of default length).
    architecture: str = "fusion"
    jit: bool | None = None
    # Only ours, in the ablation: parameters, arguments of the network, the prior of the spread.
    parameters: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    prior_steps: float | None = None
    # train and predict: made data, and how often to measure.
    series: int = 1
    length: int = 2000
    n_observed: int = 6
    n_known: int = 4
    warmup: int = 3
    repeats: int = 5
    windows: int = 512
    # windows: where the runner left the table.
    table: str = ""
    # first: when the process was started (seconds since the epoch); a CSV of two columns, or none.
    started: float = 0.0
    data: str = ""
    # accuracy: besides `table`, its columns, the steps that end training and start the test.
    known: list[str] = field(default_factory=list)
    observed: list[str] = field(default_factory=list)
    train_end: int = 0
    test_start: int = 0
    stride: int = 24
    season: int = 24
    method: str = ""
    out: str = ""

    @property
    def embedding_size(self) -> int:
        """The width of a number's embedding (8 is the default of the two that have the choice)."""
        return self.hidden if self.embedding is None else self.embedding or 8

    @property
    def observed_names(self) -> list[str]:
        return [f"o{i}" for i in range(self.n_observed)]

    @property
    def known_names(self) -> list[str]:
        return [f"k{i}" for i in range(self.n_known)]

    def made(self, series: int, length: int) -> pd.DataFrame:
        """Return made series: columns series, time (integers), y, o0.., k0... ."""
        generator = np.random.default_rng(self.seed)
        names = ["y", *self.observed_names, *self.known_names]
        table = pd.DataFrame(generator.normal(size=(series * length, len(names))), columns=names)
        table.insert(0, "series", np.repeat([f"s{i:05d}" for i in range(series)], length))
        table.insert(1, "time", np.tile(np.arange(length), series))
        return table

    def to_forecast(self, series: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the history of some series, and the known columns of what follows."""
        table = self.made(series, self.context + self.horizon)
        past = table["time"] < self.context
        return table[past], table.loc[~past, ["series", "time", *self.known_names]]

    def monthly(self) -> pd.DataFrame:
        """Return 144 months (series, date, time, y, the month's sine and cosine)."""
        if self.data:
            table = pd.read_csv(self.data).iloc[:, :2].set_axis(["date", "y"], axis=1)
            table["date"] = pd.to_datetime(table["date"])
        else:
            month = np.arange(144)
            noise = np.random.default_rng(self.seed).normal(size=144)
            y = np.exp(4.8 + 0.01 * month + 0.2 * np.sin(month * np.pi / 6) + 0.03 * noise)
            table = pd.DataFrame({"date": pd.date_range("1949-01-01", periods=144, freq="MS")})
            table["y"] = y
        table["y"] = table["y"].astype(float)
        return with_month(table.assign(series="s", time=np.arange(len(table))))

    def monthly_future(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the months that follow, without targets."""
        dates = pd.date_range(table["date"].iloc[-1], periods=self.horizon + 1, freq="MS")[1:]
        time = np.arange(len(table), len(table) + self.horizon)
        return with_month(pd.DataFrame({"date": dates, "series": "s", "time": time}))

    def origins(self, table: pd.DataFrame) -> np.ndarray:
        """Return the first steps of the accuracy task's test windows."""
        last = int(table["time"].max()) + 1
        return np.arange(self.test_start, last - self.horizon + 1, self.stride)

    def filled(self) -> tuple[pd.DataFrame, list[str], list[str], np.ndarray]:
        """Return the accuracy task's table as peers want it, known and observed columns, origins.

        Numbers alone: categories as indicators, dates as sines and cosines among the known, gaps
        filled with the last value. The column ``weight`` is 0 where the target was not known.
        """
        table = read_table(self.table)
        weight = table["y"].notna().astype(float)
        known, observed = _numbers(table[self.known]), _numbers(table[self.observed])
        if "date" in table:
            known = known.join(_calendar(table["date"]))
        # pytorch-forecasting takes no dots in names.
        known.columns, observed.columns = (
            [name.replace(".", "_") for name in names] for names in (known, observed)
        )
        numbers = pd.concat([table[["y"]], known, observed], axis=1).astype(float)
        steps = numbers.groupby(table["series"])
        numbers = steps.ffill().groupby(table["series"]).bfill()
        keys = table[["series", "time"]].assign(series=table["series"].astype("str"))
        rows = keys.join(numbers).assign(weight=weight)
        return rows, list(known), list(observed), self.origins(table)


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return categories as indicators; pandas wants a column at least."""
    return pd.get_dummies(table, dtype=float) if len(table.columns) else table


def _calendar(date: pd.Series) -> pd.DataFrame:
    turns = {
        "day": date.dt.hour / 24,
        "week": date.dt.dayofweek / 7 + date.dt.hour / 168,
        "year": date.dt.dayofyear / 365.25,
    }
    waves = {"sin": np.sin, "cos": np.cos}
    return pd.DataFrame(
        {f"{name}_{wave}": of(2 * np.pi * turn) for name, turn in turns.items()
         for wave, of in waves.items()}
    )  # fmt: skip


def with_month(table: pd.DataFrame) -> pd.DataFrame:
    angle = table["date"].dt.month * (np.pi / 6)
    return table.assign(month_sin=np.sin(angle), month_cos=np.cos(angle))


class StepClock:
    """Notes the CPU time of the process (all threads) after each training step."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def __call__(self, *_: Any, **__: Any) -> None:
        self.marks.append(time.process_time())

    def __deepcopy__(self, memo: dict) -> StepClock:
        """neuralforecast copies a model and its callbacks before it trains the copy."""
        return self

    def answer(self, options: Options, parameters: int) -> dict[str, Any]:
        """Return the median step, data loading included, without the warm-up."""
        spent = np.diff(self.marks)[options.warmup :]
        step = float(np.median(spent))
        return {
            "seconds_per_step": step,
            "mean_seconds_per_step": float(spent.mean()),
            "samples_per_second": options.batch / step,
            "parameters": parameters,
        }


def memory_mb(kind: str = "VmHWM") -> float:
    """Return the resident memory of this process: VmHWM its peak, VmRSS now."""
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith(kind))
    return int(line.split()[1]) / 1e3


def measured(task: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a task's result, CPU seconds, and the MB that it held at most beyond those before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
    before = memory_mb("VmRSS")
    begin = time.process_time()
    result = task()
    return result, time.process_time() - begin, memory_mb() - before


def median_seconds(task: Callable[[], Any], repeats: int) -> float:
    """Return the median CPU seconds of a task, after one run that is not counted."""
    task()
    spent = []
    for _ in range(repeats):
        begin = time.process_time()
        task()
        spent.append(time.process_time() - begin)
    return statistics.median(spent)


def forecast_speed(
    options: Options, forecast: Callable[[pd.DataFrame, pd.DataFrame], Any]
) -> dict[str, Any]:
    """Time a function from history and future to quantile forecasts, for many series and for one.

    A window per series, from table to forecasts, as the library's own `predict` does it.
    """
    many, one = options.to_forecast(options.windows), options.to_forecast(1)
    seconds = median_seconds(lambda: forecast(*many), options.repeats)
    single = median_seconds(lambda: forecast(*one), 2 * options.repeats)
    return {"windows_per_second": options.windows / seconds, "single_seconds": single}


def first_answer(options: Options, forecast: Any) -> dict[str, Any]:
    """Return what it took from the start of the process to a first forecast."""
    spent = {
        "cpu_seconds": time.process_time(),
        "wall_seconds": time.time() - options.started if options.started else None,
    }
    values = np.asarray(forecast, float)
    if values.shape != (options.horizon, len(LEVELS)) or not np.isfinite(values).all():
        raise ValueError(f"Expected finite quantiles of {options.horizon} steps, got {values}.")
    return {**spent, "median": values[:, len(LEVELS) // 2].round(1).tolist()}


def batch_seconds(batches: Any, count: int = 20) -> float:
    """Return the median CPU seconds of a batch, the first (which draws the order) left out."""
    marks = []
    for _ in batches:
        marks.append(time.process_time())
        if len(marks) > count:
            break
    return float(np.median(np.diff(marks)))


def save_quantiles(
    options: Options, quantiles: Any, origin: np.ndarray, samples: int
) -> dict[str, Any]:
    """Save quantiles as .npy: (series, windows, horizon, 9), or one series without that axis."""
    quantiles = np.asarray(quantiles, float)
    shape = (-1, len(origin), options.horizon, len(LEVELS))
    if quantiles.size % np.prod(shape) or not np.isfinite(quantiles).all():
        raise ValueError(f"Expected finite quantiles of shape {shape}, got {quantiles.shape}.")
    np.save(options.out, np.sort(quantiles.reshape(shape), axis=-1))
    return {"samples": samples, "cpu_seconds": time.process_time()}


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as arrays, so that no environment needs Parquet; text as codes and labels."""
    arrays = {}
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column) or column.dtype.kind == "M":
            arrays[f"{name}|values"] = column.to_numpy()
        else:
            codes, labels = pd.factorize(column)
            arrays[f"{name}|codes"] = codes.astype(np.int32)
            arrays[f"{name}|labels"] = np.asarray(labels, str)
            arrays[f"{name}|category"] = np.array(column.dtype == "category")
    np.savez(path, **arrays)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read what `write_table` wrote."""
    columns = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            name, kind = key.split("|")
            if kind == "values":
                columns[name] = arrays[key]
            elif kind == "codes":
                labels = arrays[f"{name}|labels"]
                column = pd.Categorical.from_codes(arrays[key], labels)
                as_text = not arrays[f"{name}|category"]
                columns[name] = pd.Series(column).astype("str") if as_text else column
    return pd.DataFrame(columns)


def main(tasks: dict[str, Callable[[Options], dict]], packages: list[str]) -> None:
    """Run ``script.py TASK [OPTIONS AS JSON]``; the answer is one JSON object on standard output.

    All else that a library prints goes to standard error.
    """
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in tasks:
        sys.exit(f"usage: {Path(sys.argv[0]).name} {{{','.join(tasks)}}} ['{{\"hidden\": 64}}']")
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    name, given = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) == 3 else {}
    options = Options(**{**(FIRST if name == "first" else {}), **given})
    result = tasks[name](options)
    result |= {
        "peak_rss_mb": result.get("peak_rss_mb", memory_mb()),
        "versions": {package: version(package) for package in packages},
    }
    json.dump(result, answer)
    answer.write("\n")
    answer.flush()
