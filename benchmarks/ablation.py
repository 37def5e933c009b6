"""What each choice of the default forecaster is worth: one changed at a time, on the same seeds.

    python benchmarks/ablation.py [--data ../shared/data] [--datasets etth1] [--seeds 3]
        [--variants "no averaging" "3 networks"] [--epochs 5] [--out FOLDER]

Data, splits and metrics are those of accuracy.py. A row is the WQL of a variant divided by that of
the defaults at the same seed and data set: the mean of the pairs' logarithms, as a ratio, with its
95 % interval (Student's t over the pairs); above one, the change makes forecasts worse. Of fewer
--epochs than the default, both take as many. Answers are kept in --out and read from there again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _peers
import numpy as np
from accuracy import DATASETS, SHARED, score
from peers.common import LEVELS, write_table
from scipy.stats import t as student

DEFAULTS = "defaults"
# Parameters of the estimator, arguments of the network, or the prior of the windows' spread.
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULTS: {},
    "tft": {"parameters": {"architecture": "tft"}},
    "no linear skip": {"network": {"linear": False}},
    "no long window": {"parameters": {"context_length": 48}},
    "all steps one by one": {"parameters": {"short_window": 168}},
    "selection as published": {"network": {"selection": "published"}},
    "memory of 32": {"parameters": {"memory_size": 32}},
    "no averaging": {"parameters": {"averaging": 0}},
    "constant learning rate": {"parameters": {"optimizer": "adam"}},
    "learning rate 0.003": {"parameters": {"learning_rate": 3e-3}},
    "learning rate 0.02": {"parameters": {"learning_rate": 2e-2}},
    "no prior of the spread": {"prior_steps": 0},
    "dropout 0": {"parameters": {"dropout": 0}},
    "dropout 0.3": {"parameters": {"dropout": 0.3}},
    "hidden 16": {"parameters": {"hidden_size": 16}},
    "hidden 64": {"parameters": {"hidden_size": 64}},
    "3 networks": {"parameters": {"n_estimators": 3}},
}


def answer(
    name: str, variant: str, seed: int, folder: Path, data: Path, epochs: int | None
) -> dict[str, Any]:
    """Train and score one variant in a process of its own, or read what it came to before."""
    given = VARIANTS[variant]
    shorter = "" if epochs is None else f"-{epochs}"
    if epochs is not None:
        given = {**given, "parameters": {"max_epochs": epochs, **given.get("parameters", {})}}
    path = folder / name / f"{variant.replace(' ', '-')}{shorter}-{seed}.json"
    if path.exists():
        return json.loads(path.read_text())
    print(f"{name}: {variant}, seed {seed} ...", file=sys.stderr)
    task = DATASETS[name][0](data)
    with tempfile.TemporaryDirectory() as place:
        table, saved = Path(place) / "table.npz", Path(place) / "quantiles.npy"
        write_table(task.table, table)
        given = {"table": str(table), "out": str(saved), "seed": seed, **given}
        result = _peers.run(_peers.OURS, "accuracy", {**task.options(64), **given})
        values = np.load(saved)
    result |= score(task, values, values[..., len(LEVELS) // 2])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1))
    return result


def paired(ratios: np.ndarray) -> str:
    """Return the geometric mean of ratios and its interval."""
    logs = np.log(ratios)
    if len(logs) < 2:
        return f"{ratios[0]:.3f}"
    half = student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    low, middle, high = np.exp(logs.mean() + half * np.array([-1, 0, 1]))
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of the CSV files")
    parser.add_argument("--datasets", nargs="*", default=list(DATASETS), choices=DATASETS)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS)[1:], choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of each fit, in place of the default's 10")
    parser.add_argument(
        "--out", type=Path, default=Path(tempfile.gettempdir()) / "tsfusion-ablation"
    )
    arguments = parser.parse_args()
    names = [name for name in arguments.datasets if (arguments.data / DATASETS[name][1]).exists()]
    for name in set(arguments.datasets) - set(names):
        print(f"{name}: skipped, {arguments.data / DATASETS[name][1]} is not there")
    pairs = [(name, seed) for seed in range(arguments.seeds) for name in names]
    width = max(map(len, arguments.variants), default=0)
    for variant in arguments.variants if pairs else []:
        found: dict[str, list[dict[str, Any]]] = {
            one: [
                answer(name, one, seed, arguments.out, arguments.data, arguments.epochs)
                for name, seed in pairs
            ]
            for one in (DEFAULTS, variant)
        }
        ratios = np.array(
            [changed["WQL"] / usual["WQL"] for usual, changed in zip(*found.values())]
        )
        by_name = "  ".join(
            f"{name} {np.exp(np.mean(np.log(ratios[[n == name for n, _ in pairs]]))):.3f}"
            for name in names
        )
        seconds = [np.mean([one["cpu_seconds"] for one in many]) for many in found.values()]
        cost = f"CPU x{seconds[1] / seconds[0]:.2f}"
        print(variant.ljust(width), paired(ratios), by_name, cost, sep="  ", flush=True)


if __name__ == "__main__":
    main()
