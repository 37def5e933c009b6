"""Do the intervals cover what they say: raw, calibrated, and rolled on through `update`.

    python benchmarks/calibration.py [--sets etth1 bike exchange air] [--epochs 10] [--seed 0]
    python benchmarks/calibration.py --data ../shared/data --methods cqr aci tracking

The data sets of `accuracy.py`; one whose file is not there is left out. Each is fitted without its
last 240 days (of exchange rates: 1,400), calibrated on the first half of these and judged on the
second: forecasts of the whole horizon from a cutoff every ``--stride`` steps. Printed for each
level: the coverage of raw and calibrated intervals and of those that go on adapting, the Winkler
score as a ratio to the raw one, the share of paths that lie in the band as a whole, and the
coverage of the horizon's sum, by simulated paths. Below it, the standard error of the raw coverage,
by blocks of seven cutoffs, and the worst coverage of a series.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accuracy import DATASETS

COVERAGES = (0.5, 0.8, 0.9, 0.95)
LEVELS = tuple(round((1 + sign * coverage) / 2, 4) for coverage in COVERAGES for sign in (-1, 1))
HELD_OUT = {"exchange": 700}


class Data:
    """A data set of `accuracy.py`, by step."""

    def __init__(self, folder: Path, name: str) -> None:
        self.task = DATASETS[name][0](folder)
        table = self.task.table
        self.time = "date" if "date" in table else "time"
        self.step = table["time"].to_numpy()
        self.table = table.drop(columns=[] if self.time == "time" else "time")
        self.end = int(self.step.max()) + 1
        self.held_out = HELD_OUT.get(name, 2880)
        self.n_series = table["series"].nunique()

    def between(self, first: int, stop: int) -> pd.DataFrame:
        return self.table[(self.step >= first) & (self.step < stop)]


def judge(
    model: Any, data: Data, stride: int, *, roll: bool, n_paths: int = 0
) -> dict[str, np.ndarray]:
    """Forecast from cutoffs over the last steps; return truths, quantiles and sums of paths.

    With ``roll``, the rows in between go through `update`; else they are mere context.
    """
    model = copy.copy(model)
    horizon, start = data.task.horizon, data.end - data.held_out
    if roll:
        model.update(data.between(start - data.held_out, start))
    given = ["series", data.time, *data.task.known]
    found: dict[str, list[np.ndarray]] = {"truth": [], "quantiles": [], "sums": []}
    for now in range(start, data.end - horizon + 1, stride):
        future = data.between(now, now + horizon)
        context = None if roll else data.between(now - 2 * model.context_length_, now)
        shape = (data.n_series, horizon)
        found["truth"].append(future["y"].to_numpy(float).reshape(shape))
        values = model.predict(future[given], quantiles=LEVELS, context=context)
        found["quantiles"].append(values.reshape(*shape, -1))
        if n_paths and data.between(now - 1, now)["y"].isna().any():
            # Paths follow the last known value: here they would end before the horizon does.
            found["sums"].append(np.full((data.n_series, n_paths), np.nan))
        elif n_paths:
            paths = model.simulate(future[given], n_paths, random_state=now, context=context)
            sums = paths.groupby(["series", "path"], sort=False)["value"].sum()
            found["sums"].append(sums.to_numpy().reshape(data.n_series, -1))
        if roll:
            model.update(data.between(now, now + stride))
    return {key: np.array(values) for key, values in found.items()}


def winkler(found: dict[str, np.ndarray], i: int) -> np.ndarray:
    """Return the interval scores (Gneiting and Raftery, 2007, eq. 43) of the i-th coverage."""
    low, high = found["quantiles"][..., 2 * i], found["quantiles"][..., 2 * i + 1]
    outside = np.maximum(low - found["truth"], 0) + np.maximum(found["truth"] - high, 0)
    return high - low + 2 / (1 - COVERAGES[i]) * outside


def inside(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return (cutoffs, S, H, coverages) whether the truth lies within, NaN where it is unknown."""
    low, high = found["quantiles"][..., ::2], found["quantiles"][..., 1::2]
    truth = found["truth"][..., None]
    return np.where(np.isfinite(truth), (low <= truth) & (truth <= high), np.nan)


def standard_error(covered: np.ndarray) -> np.ndarray:
    """Return that of the mean coverage, from the means of blocks of seven cutoffs."""
    whole = len(covered) // 7 * 7
    blocks = np.nanmean(covered[:whole].reshape(whole // 7, -1, covered.shape[-1]), axis=1)
    return blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks))


def line(label: str, values: Any, shown: str = "{:8.3f}") -> None:
    print(f"{label:>28}" + "".join(shown.format(value) for value in values), flush=True)


def report(name: str, results: dict[str, dict[str, np.ndarray]]) -> None:
    """Print the table of a data set."""
    line(name, [100 * coverage for coverage in COVERAGES], "{:7.0f}%")
    raw = results["raw"]
    for label, found in results.items():
        covered = inside(found)
        complete = np.isfinite(covered[..., 0]).all(axis=2)
        whole = covered.min(axis=2)[complete].mean(axis=0)
        if label == "path band":
            line("path band: whole paths", whole)
            continue
        line(f"{label}: coverage", np.nanmean(covered, axis=(0, 1, 2)))
        if covered.shape[1] > 1:
            mine = np.nanmean(covered, axis=(0, 2))
            worst = np.abs(mine - COVERAGES).argmax(axis=0)
            line("worst series", mine[worst, np.arange(len(COVERAGES))])
        # Each series counts alike, whatever its units.
        scores = [
            np.mean(
                np.nanmean(winkler(found, i), axis=(0, 2)) / np.nanmean(winkler(raw, i), (0, 2))
            )
            for i in range(len(COVERAGES))
        ]
        line("Winkler / raw", scores)
        line("whole paths", whole)
        if len(found["sums"]):
            total = found["truth"].sum(axis=2)
            limits = np.quantile(found["sums"], LEVELS, axis=2)
            within = (limits[::2] <= total) & (total <= limits[1::2])
            drawn = complete & np.isfinite(found["sums"]).all(axis=2)
            line("sums", within[:, drawn].mean(axis=1))
        crossed = np.diff(found["quantiles"][..., np.argsort(LEVELS)], axis=-1) < 0
        if crossed.any():
            print(f"{'':>28} {int(crossed.sum())} quantiles cross")
    line("standard error of raw", standard_error(inside(raw)))


def run(folder: Path, name: str, arguments: argparse.Namespace) -> None:
    from tsfusion import FusionForecaster

    data = Data(folder, name)
    task, stride = data.task, arguments.stride
    began = time.monotonic()
    start = data.end - 2 * data.held_out
    model = FusionForecaster(
        horizon=task.horizon, time=data.time, series="series", target="y", known=task.known,
        observed=task.observed, freq=task.freq, max_epochs=arguments.epochs,
        random_state=arguments.seed, verbose=0,
    ).fit(data.between(0, start))  # fmt: skip
    fitted = time.monotonic()
    held_out = data.between(start, start + data.held_out)
    results = {"raw": judge(model, data, stride, roll=False)}
    calibrated = copy.copy(model).calibrate(held_out)
    once = time.monotonic()
    results["calibrated"] = judge(calibrated, data, stride, roll=False, n_paths=arguments.paths)
    for method in arguments.methods:
        model.calibrate(held_out, method=method)
        results[f"rolling {method}"] = judge(
            model, data, stride, roll=True, n_paths=arguments.paths
        )
    model.calibrate(held_out, coverage="path")
    results["path band"] = judge(model, data, stride, roll=True)
    report(name, results)
    n = int(np.prod(results["raw"]["truth"].shape[:2]))
    print(
        f"{n} forecasts of {task.horizon} steps; fit {fitted - began:.0f} s, all else "
        f"{time.monotonic() - fitted:.0f} s, raw and calibrating {once - fitted:.0f} s of it\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--sets", nargs="+", choices=[*DATASETS], default=[*DATASETS])
    parser.add_argument("--methods", nargs="*", choices=["cqr", "aci", "tracking"], default=["cqr"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--stride", type=int, default=23)
    parser.add_argument("--paths", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.sets:
        if (arguments.data / DATASETS[name][1]).exists():
            run(arguments.data, name, arguments)
        else:
            print(f"{name}: left out, there is no {arguments.data / DATASETS[name][1]}")


if __name__ == "__main__":
    main()
