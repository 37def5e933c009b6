"""Small histories: ours with its defaults beside simple and statistical forecasts.

    python benchmarks/small.py [--data ../shared/data] [--datasets passengers milk] [--windows 3]
        [--seeds 1] [--baselines last_value seasonal_naive season_mean drift linear]
        [--parameters '{"n_estimators": 4}']

Some hundred rows in all, of which every model sees those before each cutoff alone. AutoETS and
AutoTheta need statsforecast. WQL is taken for each series by itself and averaged over series;
coverage is of the 80 % interval. The last lines are geometric means of our WQL over the best
baseline's, which is chosen after the fact, and over that of each. --parameters changes our
defaults.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tsfusion import FusionForecaster, backtest, evaluate

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
LEVELS = [level / 10 for level in range(1, 10)]
NAIVE = ("last_value", "seasonal_naive", "season_mean", "drift", "linear")
STATISTICAL = ("AutoETS", "AutoTheta")


@dataclass
class Task:
    """A panel of (series, time, y)."""

    table: pd.DataFrame
    freq: str
    horizon: int
    season: int


def _one(values: pd.Series, freq: str, horizon: int, season: int) -> Task:
    table = pd.DataFrame({"series": "all", "time": values.index, "y": values.to_numpy(float)})
    return Task(table.dropna().reset_index(drop=True), freq, horizon, season)


def _monthly(path: Path) -> Task:
    table = pd.read_csv(path)
    months = pd.to_datetime(table.iloc[:, 0])
    return _one(table.iloc[:, 1].set_axis(months), "MS", 12, 12)


def _daily(path: Path, time: str, target: str, how: str) -> Task:
    table = pd.read_csv(path, parse_dates=[time]).set_index(time)
    return _one(table[target].resample("D").agg(how), "D", 14, 7)


def _tourism(path: Path) -> Task:
    wide = pd.read_csv(path)
    wide.index = pd.date_range("1998-01-01", periods=len(wide), freq="QS", name="time")
    table = wide.melt(ignore_index=False, var_name="series", value_name="y").reset_index()
    return Task(table[["series", "time", "y"]], "QS", 4, 4)


TASKS = {
    "passengers": lambda data: _monthly(data / "AirPassengers.csv"),
    "milk": lambda data: _monthly(data / "monthly-milk-incomplete.csv"),
    "tourism": lambda data: _tourism(data / "australian_tourism.csv"),
    "etth1 by day": lambda data: _daily(data / "ETTh1.csv", "date", "OT", "mean"),
    "bike by day": lambda data: _daily(data / "bike_sharing.csv", "date_time", "users", "sum"),
    "air by day": lambda data: _daily(
        data / "air_quality_valencia.csv", "datetime", "pm2.5", "mean"
    ),
}


def scores(task: Task, models: dict | list, windows: int) -> pd.DataFrame:
    """Return the WQL and coverage of each model, (M, 2)."""
    frame = backtest(
        models, task.table, horizon=task.horizon, n_windows=windows, time="time",
        series="series", target="y", freq=task.freq, quantiles=LEVELS, season=task.season,
        verbose=0,
    )  # fmt: skip
    by_series = evaluate(frame, by=["model", "series"], metrics=["wql", "coverage"])
    return by_series.groupby("model")[["wql", "coverage_0.8"]].mean()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--datasets", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--baselines", nargs="*", default=None)
    parser.add_argument("--parameters", type=json.loads, default={})
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"{asked.data} is missing: give the folder of the CSV files by --data.")
    baselines = asked.baselines
    if baselines is None:
        there = importlib.util.find_spec("statsforecast") is not None
        baselines = [*NAIVE, *(STATISTICAL if there else ())]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    print(
        f"{'':14s} {'rows':>6s}  {'tsfusion WQL':>22s} {'cover':>6s}  {'best baseline':>24s} ratio"
    )
    over = []
    for name in asked.datasets:
        task = TASKS[name](asked.data)
        begin = time.process_time()
        ours = []
        for seed in range(asked.seeds):
            model = FusionForecaster(
                horizon=task.horizon, time="time", series="series", target="y", freq=task.freq,
                quantiles=LEVELS, random_state=seed, verbose=0, **asked.parameters,
            )  # fmt: skip
            ours.append(scores(task, {"tsfusion": model}, asked.windows).loc["tsfusion"])
        spent = (time.process_time() - begin) / asked.seeds / asked.windows
        wql, cover = np.mean(ours, axis=0)
        spread = f" +- {np.std([seed['wql'] for seed in ours]):.4f}" if asked.seeds > 1 else ""
        others = scores(task, baselines, asked.windows)["wql"]
        best = others.idxmin()
        over.append(wql / others)
        print(
            f"{name:14s} {len(task.table):6d}  {f'{wql:.4f}{spread}':>22s} {cover:6.2f}  "
            f"{best:>16s} {others[best]:.4f}  {wql / others[best]:.2f}  ({spent:.0f} s a fit)",
            flush=True,
        )
    logs = np.log(pd.DataFrame(over))
    print(f"over the best of each set: {np.exp(logs.max(axis=1).mean()):.3f}")
    means = np.exp(logs.mean()).sort_values(ascending=False)
    print("over each:", ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()))


if __name__ == "__main__":
    main()
