"""Do the intervals cover what they say: raw, calibrated, and rolled on through `update`.

    python benchmarks/calibration.py [--sets ett bike] [--epochs 15] [--seed 0] [--stride 24]
    python benchmarks/calibration.py --data ../shared/data --methods cqr aci tracking

Data sets from a folder (``ETTh1.csv``, ``bike_sharing.csv``); one that is not there is left out.
Each is fitted without its last 5,760 hours, calibrated on the first half of these (the last 1,000
cutoffs of it) and judged on the second: forecasts of 24 hours from a cutoff every ``--stride``
hours. Printed for each level: the coverage of raw and calibrated intervals and of those that go on
adapting, the Winkler score as a ratio to the raw one, the share of paths that lie in the band as a
whole, and the coverage of the horizon's sum, by simulated paths.
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

HORIZON, HELD_OUT = 24, 2880
COVERAGES = (0.5, 0.8, 0.9, 0.95)
LEVELS = tuple(round((1 + sign * coverage) / 2, 4) for coverage in COVERAGES for sign in (-1, 1))
_SETS = {
    "ett": {
        "file": "ETTh1.csv", "rows": 14400, "time": "date", "target": "OT", "known": [],
        "observed": ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL"],
    },
    "bike": {
        "file": "bike_sharing.csv", "rows": None, "time": "date_time", "target": "users",
        "known": ["holiday", "workingday"],
        "observed": ["weather", "temp", "atemp", "hum", "windspeed"],
    },
}  # fmt: skip


def read(folder: Path, name: str) -> pd.DataFrame:
    """Return a data set as a frame with its columns of a role."""
    about = _SETS[name]
    frame = pd.read_csv(folder / about["file"], nrows=about["rows"], parse_dates=[about["time"]])
    return frame[[about["time"], about["target"], *about["known"], *about["observed"]]]


def judge(
    model: Any, frame: pd.DataFrame, about: dict[str, Any], stride: int, *, roll: bool,
    n_paths: int = 0,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Forecast from cutoffs over the last rows; return truths, quantiles and sums of paths.

    With ``roll``, the rows in between go through `update`; else they are mere context.
    """
    model = copy.copy(model)
    if roll:
        model.update(frame[-2 * HELD_OUT : -HELD_OUT])
    given = [about["time"], *about["known"]]
    found: dict[str, list[np.ndarray]] = {"truth": [], "quantiles": [], "sums": []}
    start = len(frame) - HELD_OUT
    for now in range(start, len(frame) - HORIZON + 1, stride):
        future = frame[now : now + HORIZON]
        context = None if roll else frame[max(0, now - 2 * model.context_length_) : now]
        found["truth"].append(future[about["target"]].to_numpy(float))
        found["quantiles"].append(model.predict(future[given], quantiles=LEVELS, context=context))
        if n_paths:
            paths = model.simulate(future[given], n_paths, random_state=now, context=context)
            found["sums"].append(paths.groupby("path")["value"].sum().to_numpy())
        if roll:
            model.update(frame[now : now + stride])
    return {key: np.array(values) for key, values in found.items()}


def winkler(truth: np.ndarray, low: np.ndarray, high: np.ndarray, coverage: float) -> float:
    """Return the mean interval score (Gneiting and Raftery, 2007, eq. 43)."""
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return float((high - low + 2 / (1 - coverage) * outside).mean())


def inside(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return (cutoffs, H, coverages) whether the truth lies within."""
    low, high = found["quantiles"][..., ::2], found["quantiles"][..., 1::2]
    truth = found["truth"][..., None]
    return (low <= truth) & (truth <= high)


def line(label: str, values: Any, shown: str = "{:8.3f}") -> None:
    print(f"{label:>28}" + "".join(shown.format(value) for value in values), flush=True)


def report(name: str, results: dict[str, dict[str, np.ndarray]]) -> None:
    """Print the table of a data set."""
    line(name, [100 * coverage for coverage in COVERAGES], "{:7.0f}%")
    raw = results["raw"]
    for label, found in results.items():
        if label == "path band":
            line("path band: whole paths", inside(found).all(axis=1).mean(axis=0))
            continue
        line(f"{label}: coverage", inside(found).mean(axis=(0, 1)))
        scores = []
        for i, coverage in enumerate(COVERAGES):
            one, two = (
                winkler(
                    kind["truth"], kind["quantiles"][..., 2 * i], kind["quantiles"][..., 2 * i + 1],
                    coverage,
                )
                for kind in (found, raw)
            )  # fmt: skip
            scores.append(one / two)
        line("Winkler / raw", scores)
        line("whole paths", inside(found).all(axis=1).mean(axis=0))
        if len(found["sums"]):
            total = found["truth"].sum(axis=1)
            limits = np.quantile(found["sums"], LEVELS, axis=1)
            line("sums", ((limits[::2] <= total) & (total <= limits[1::2])).mean(axis=1))
        crossed = (np.diff(np.sort(LEVELS)) > 0) & (
            np.diff(found["quantiles"][..., np.argsort(LEVELS)], axis=-1) < 0
        )
        if crossed.any():
            print(f"{'':>28} {int(crossed.sum())} quantiles cross")


def run(folder: Path, name: str, arguments: argparse.Namespace) -> None:
    from tsfusion import FusionForecaster

    about = _SETS[name]
    frame = read(folder, name)
    began = time.monotonic()
    model = FusionForecaster(
        horizon=HORIZON, time=about["time"], target=about["target"], known=about["known"],
        observed=about["observed"], max_epochs=arguments.epochs, random_state=arguments.seed,
        verbose=0,
    ).fit(frame[: -2 * HELD_OUT])  # fmt: skip
    fitted = time.monotonic()
    held_out = frame[-2 * HELD_OUT : -HELD_OUT]
    results = {"raw": judge(model, frame, about, arguments.stride, roll=False)}
    calibrated = copy.copy(model).calibrate(held_out)
    once = time.monotonic()
    results["calibrated"] = judge(
        calibrated, frame, about, arguments.stride, roll=False, n_paths=arguments.paths
    )
    for method in arguments.methods:
        model.calibrate(held_out, method=method)
        results[f"rolling {method}"] = judge(
            model, frame, about, arguments.stride, roll=True, n_paths=arguments.paths
        )
    model.calibrate(held_out, coverage="path")
    results["path band"] = judge(model, frame, about, arguments.stride, roll=True)
    report(name, results)
    n = len(results["raw"]["truth"])
    print(
        f"{n} forecasts of {HORIZON} steps; fit {fitted - began:.0f} s, all else "
        f"{time.monotonic() - fitted:.0f} s, raw and calibrating {once - fitted:.0f} s of it\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--sets", nargs="+", choices=[*_SETS], default=[*_SETS])
    parser.add_argument("--methods", nargs="*", choices=["cqr", "aci", "tracking"], default=["cqr"])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--stride", type=int, default=24)
    parser.add_argument("--paths", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.sets:
        if (arguments.data / _SETS[name]["file"]).exists():
            run(arguments.data, name, arguments)
        else:
            print(f"{name}: left out, there is no {arguments.data / _SETS[name]['file']}")


if __name__ == "__main__":
    main()
