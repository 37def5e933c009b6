"""How accurate the forecasts are: ours with its defaults beside baselines and peers' TFT.

    python benchmarks/accuracy.py [--data ../shared/data] [--datasets etth1] [--seeds 3]
        [--contenders fusion tft last-value darts] [--samples 96000] [--learning-rate 0.001]
        [--out FOLDER]

Peers see the numbers of all columns and of the calendar, gaps filled with the last value and left
out of the loss, in windows as long as ours, at our default width and batch size and at
--learning-rate (0.001 is what two of them have by default), for as many training samples as our
defaults take at most (ours may stop earlier); "fusion-equal" is ours on --samples of them,
everything else at its default. All train on the
rows before the validation tail; AutoETS is fitted anew at each origin. What has no seed runs once.

The data sets "traffic" and "taylor" come with other libraries; write what is theirs into --data:

    pip download --no-deps autots==1.0.4 && unzip -j autots*.whl '*/traffic_hourly.zip' -d FOLDER
    pip install pmdarima==2.1.1 && python -c "from pmdarima.datasets import load_taylor; \
        load_taylor(as_series=True).rename('load').to_csv('FOLDER/taylor.csv', index=False)"

MAE is of the median, in standard deviations of each series' training rows; SQL is the quantile
loss (with its factor 2) in units of the training rows' seasonal naive error, as MASE is. Answers
are kept in --out, one JSON file per contender, data set and seed, and read from there again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _peers
import numpy as np
import pandas as pd
from peers.common import LEVELS, write_table

from tsfusion.data import default_context_length
from tsfusion.evaluation import (
    baseline_forecast,
    coverage,
    mae,
    mase,
    pinball_loss,
    weighted_quantile_loss,
)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NAIVE = {"last-value": "last_value", "seasonal-naive": "seasonal_naive"}
METHODS = {"auto-ets": "AutoETS", "lightgbm": "LightGBM"}
OURS = ("fusion", "tft", "fusion-equal")
EQUAL = "fusion-equal"
CONTENDERS = (*OURS, *_peers.PEERS, *NAIVE, *METHODS)
METRICS = ("MAE", "WQL", "SQL", "MASE", "coverage 80 %")
# What a fit with our defaults takes at most: 10 epochs of 100 steps of 64 windows.
SAMPLES, BATCH, HIDDEN = 10 * 100 * 64, 64, 32
RATE = 1e-3


@dataclass
class Task:
    """A data set with its split: series as (series, time, date, y, ...), sorted and without holes
    in their steps.
    """

    table: pd.DataFrame
    test: int
    validation: float = 0.1
    horizon: int = 24
    season: int = 24
    known: list[str] = field(default_factory=list)
    observed: list[str] = field(default_factory=list)
    step: str = "h"  # of the dates, if there are any

    def __post_init__(self) -> None:
        steps = int(self.table["time"].max()) + 1
        self.test_start = steps - self.test
        self.train_end = round(self.test_start * (1 - self.validation))
        windows = (self.test - self.horizon) // self.horizon + 1
        end = self.test_start + windows * self.horizon
        self.table = self.table[self.table["time"] < end].reset_index(drop=True)
        self.origins = range(self.test_start, end, self.horizon)

    @property
    def freq(self) -> str | None:
        return self.step if "date" in self.table else None

    @property
    def targets(self) -> np.ndarray:
        """All targets, (series, steps)."""
        return self.table["y"].to_numpy(float).reshape(self.table["series"].nunique(), -1)

    def options(self, samples: int) -> dict[str, Any]:
        return {
            "known": self.known, "observed": self.observed, "train_end": self.train_end,
            "test_start": self.test_start, "stride": self.horizon, "horizon": self.horizon,
            "season": self.season, "context": default_context_length(self.freq, self.horizon),
            "hidden": HIDDEN, "batch": BATCH, "steps": samples // BATCH,
        }  # fmt: skip


def single(table: pd.DataFrame, date: str, target: str, columns: list[str]) -> pd.DataFrame:
    """Return one hourly series; hours that are missing become empty rows."""
    table = table.assign(**{date: pd.to_datetime(table[date])}).set_index(date).asfreq("h")
    table = table.reset_index(names="date")[["date", target, *columns]]
    return table.rename(columns={target: "y"}).assign(series="s", time=np.arange(len(table)))


def etth1(folder: Path) -> Task:
    """The standard split: 8640, 2880 and 2880 hours."""
    observed = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL"]
    table = pd.read_csv(folder / "ETTh1.csv").iloc[:14400]
    table = single(table, "date", "OT", observed)
    return Task(table, 2880, 0.25, observed=observed)


def bike(folder: Path) -> Task:
    known = ["holiday", "workingday"]
    observed = ["weather", "temp", "atemp", "hum", "windspeed"]
    table = pd.read_csv(folder / "bike_sharing.csv")
    table = single(table, "date_time", "users", known + observed)
    return Task(table, 2880, known=known, observed=observed)


def air(folder: Path) -> Task:
    """The last three years; 6 % of the targets are missing."""
    table = pd.read_csv(folder / "air_quality_valencia.csv").iloc[-26280:]
    observed = [name for name in table if name not in ("datetime", "pm2.5")]
    return Task(single(table, "datetime", "pm2.5", observed), 2880, observed=observed)


def exchange(folder: Path) -> Task:
    """Eight series of steps without dates, 30 ahead."""
    table = pd.read_csv(folder / "exchange_rate.csv")
    steps, series = table.shape
    table = pd.DataFrame(
        {
            "series": np.repeat([f"rate {i}" for i in range(series)], steps),
            "time": np.tile(np.arange(steps), series),
            "y": table.to_numpy(float).T.ravel(),
        }
    )
    return Task(table, 1500, horizon=30, season=1)


def traffic(folder: Path) -> Task:
    """Cars an hour on a road, and the weather; no default was chosen by it."""
    table = pd.read_csv(folder / "traffic_hourly.zip", parse_dates=["datetime"])
    table = table.drop_duplicates("datetime").sort_values("datetime")
    observed = ["clouds_all", "rain_1h", "snow_1h", "temp", "weather_main"]
    table = single(table, "datetime", "traffic_volume", observed)
    return Task(table, 2880, observed=observed)


def taylor(folder: Path) -> Task:
    """Electricity by half hours, twelve weeks of it; no default was chosen by it."""
    y = pd.read_csv(folder / "taylor.csv").iloc[:, 0].to_numpy(float)
    date = pd.date_range("2000-06-05", periods=len(y), freq="30min")
    table = pd.DataFrame({"date": date, "y": y, "series": "s", "time": np.arange(len(y))})
    return Task(table, 1008, horizon=48, season=48, step="30min")


DATASETS: dict[str, tuple[Callable[[Path], Task], str]] = {
    "etth1": (etth1, "ETTh1.csv"),
    "bike": (bike, "bike_sharing.csv"),
    "exchange": (exchange, "exchange_rate.csv"),
    "air": (air, "air_quality_valencia.csv"),
    "traffic": (traffic, "traffic_hourly.zip"),
    "taylor": (taylor, "taylor.csv"),
}


def naive(task: Task, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return quantiles (from the residuals of all earlier steps) and point forecasts."""
    rows = []
    for start in task.origins:
        rows.append(
            baseline_forecast(
                task.table.loc[task.table["time"] < start, ["series", "time", "y"]],
                name=NAIVE[name],
                series="series",
                time="time",
                target="y",
                horizon=task.horizon,
                season_length=task.season,
                quantiles=LEVELS,
            )
        )
    shape = (-1, task.horizon)
    points = [table["mean"].to_numpy().reshape(shape) for table in rows]
    levels = [f"q{level}" for level in LEVELS]
    values = [table[levels].to_numpy().reshape(*shape, len(LEVELS)) for table in rows]
    return np.stack(values, axis=1), np.stack(points, axis=1)


def score(task: Task, values: np.ndarray, point: np.ndarray) -> dict[str, float]:
    """Return the metrics of quantiles (series, windows, horizon, 9) and of point forecasts."""
    past = task.targets[:, : task.train_end]
    y = task.targets[:, task.test_start :].reshape(point.shape)
    spread = np.nanstd(past, axis=1, ddof=1)[:, None, None]
    lag = np.abs(past[:, task.season :] - past[:, : -task.season])
    scale = np.nanmean(lag, axis=1)[:, None, None]
    losses = [
        pinball_loss(y / scale, values[..., i] / scale, level) for i, level in enumerate(LEVELS)
    ]
    flat = (len(y), -1)
    return {
        "MAE": mae(y / spread, point / spread),
        "WQL": weighted_quantile_loss(y, values, LEVELS),
        "SQL": 2 * float(np.mean(losses)),
        "MASE": mase(y.reshape(flat), point.reshape(flat), past, task.season),
        "coverage 80 %": coverage(y, values[..., 0], values[..., -1]),
    }


def answer(
    task: Task, contender: str, seed: int, samples: int, rate: float, table: Path
) -> dict[str, Any]:
    """Train and forecast, in a process of its own unless it is a naive forecast."""
    if contender in NAIVE:
        values, point = naive(task, contender)
        return {**score(task, values, point), "samples": 0}
    peer = _peers.OURS if contender in OURS else contender
    own: dict[str, Any] = {"architecture": contender} if contender in OURS else {}
    if contender == EQUAL:
        epochs = {"max_epochs": max(samples // (100 * BATCH), 1)}
        own = {"architecture": "fusion", "parameters": epochs}
    if contender in METHODS:
        peer, own = _peers.BASELINES, {"method": METHODS[contender]}
    saved = table.with_name("quantiles.npy")
    given = {"table": str(table), "out": str(saved), "seed": seed, "learning_rate": rate}
    result = _peers.run(peer, "accuracy", {**task.options(samples), **given, **own})
    values = np.load(saved)
    return {**score(task, values, values[..., len(LEVELS) // 2]), **result}


def run_all(arguments: argparse.Namespace, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the answers of each contender on a data set, one for each seed."""
    task = DATASETS[name][0](arguments.data)
    answers: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.npz"
        write_table(task.table, table)
        for contender in arguments.contenders:
            seeded = contender in OURS or contender in _peers.PEERS
            counted = contender in _peers.PEERS or contender == EQUAL
            budget = f"-{arguments.samples}" if counted else ""
            if contender in _peers.PEERS and arguments.learning_rate != RATE:
                budget += f"-{arguments.learning_rate:g}"
            for seed in range(arguments.seeds if seeded else 1):
                path = arguments.out / name / f"{contender}{budget}-{seed}.json"
                if not path.exists():
                    print(f"{name}: {contender}, seed {seed} ...", file=sys.stderr)
                    given = arguments.samples, arguments.learning_rate, table
                    got = answer(task, contender, seed, *given)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(got, indent=1))
                answers.setdefault(contender, []).append(json.loads(path.read_text()))
    return answers


def shown(answers: list[dict[str, Any]], metric: str) -> str:
    values = [one[metric] for one in answers]
    spread = f" ±{np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def print_table(name: str, answers: dict[str, list[dict[str, Any]]]) -> None:
    columns = (*METRICS, "samples", "CPU")
    rows = {
        contender: [
            *(shown(many, metric) for metric in METRICS),
            f"{np.mean([one['samples'] for one in many]):,.0f}",
            f"{np.mean([one.get('cpu_seconds', 0) for one in many]):,.0f} s",
        ]
        for contender, many in answers.items()
    }
    first = max(map(len, (*rows, name)))
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows.values())]
    for title, cells in {name: columns, **rows}.items():
        print(title.ljust(first), *map(str.rjust, cells, widths), sep="  ")
    seeds = max(len(many) for many in answers.values())
    print(f"Mean ± standard deviation over {seeds} seeds\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of the CSV files")
    parser.add_argument("--datasets", nargs="*", default=list(DATASETS), choices=DATASETS)
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="that a peer is trained on")
    parser.add_argument("--learning-rate", type=float, default=RATE, help="of peers")
    parser.add_argument(
        "--out", type=Path, default=Path(tempfile.gettempdir()) / "tsfusion-accuracy"
    )
    arguments = parser.parse_args()
    wanted = {contender: contender for contender in arguments.contenders}
    wanted |= dict.fromkeys(METHODS.keys() & wanted, _peers.BASELINES)
    outside = dict.fromkeys(wanted[one] for one in wanted if one not in (*OURS, *NAIVE))
    missing = set(outside) - set(_peers.present(list(outside)))
    arguments.contenders = [one for one in wanted if wanted[one] not in missing]
    for name in arguments.datasets:
        if (arguments.data / DATASETS[name][1]).exists():
            print_table(name, run_all(arguments, name))
        else:
            print(f"{name}: skipped, {arguments.data / DATASETS[name][1]} is not there")


if __name__ == "__main__":
    main()
