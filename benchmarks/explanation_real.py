"""Does an explanation of real data show the day, and do the values that it names matter?

    python benchmarks/explanation_real.py [--data ../shared/data] [--datasets etth1 bike]
        [--windows 64] [--seed 0]

The default forecaster on the training rows of accuracy.py; explained are windows of the test rows.
"lag 24" is the median attention (over windows) that a step ahead pays to the values 24, 48... hours
before it, by the median of all other lags of the same branch, both averaged over steps ahead;
asked: 2. "removed" is by how much more the forecasts move where the share of values with the
largest attribution is replaced than where random ones are; asked at 10 %: 2. The verdicts are the
report's own.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import pandas as pd
from accuracy import DATASETS, SHARED

from tsfusion import FusionForecaster

DAY = 24


def of_day(patterns: pd.DataFrame) -> dict[str, float]:
    """Return, by branch, the median attention to the same hour of days before by that of all."""
    found = {}
    for branch, table in patterns.groupby("branch", sort=False):
        # A source of several steps looks at all of them: the day is in it if its hour is.
        last, width = table["lag"].to_numpy(), table["source_width"].to_numpy()
        daily = (last + width - 1) // DAY * DAY >= last
        on, off = (table[which].groupby("horizon")["p50"].median() for which in (daily, ~daily))
        # Of the means, for at single steps the median of all others may be zero.
        found[str(branch)] = float(on.mean() / off.mean()) if off.mean() > 0 else float("inf")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of the CSV files")
    parser.add_argument("--datasets", nargs="*", default=["etth1", "bike"], choices=DATASETS)
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.datasets:
        if not (options.data / DATASETS[name][1]).exists():
            print(f"{name}: skipped, {options.data / DATASETS[name][1]} is not there")
            continue
        task = DATASETS[name][0](options.data)
        columns = ["series", "date", "y", *task.known, *task.observed]
        table, step = task.table[columns], task.table["time"]
        model = FusionForecaster(
            task.horizon, time="date", series="series", target="y", known=task.known,
            observed=task.observed, validation_size=1 - task.train_end / task.test_start,
            random_state=options.seed, verbose=0,
        )  # fmt: skip
        began = time.process_time()
        model.fit(table[step < task.test_start])
        fitted = time.process_time() - began
        late = table[step >= task.test_start - model.context_length_]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = model.explain(
                context=late, max_windows=options.windows, horizons=[1, DAY // 2, DAY],
                methods=("attention", "selection", "attribution"), checks="full",
            )  # fmt: skip
        days = ", ".join(f"{b} {v:.2f}" for b, v in of_day(found.temporal_patterns()).items())
        values = found.trust.set_index("check")["value"]
        removed = [
            f"{check.removeprefix('comprehensiveness ')} {value:.2f}"
            for check, value in values.items()
            if check.startswith("comprehensiveness")
        ]
        spent = time.process_time() - began - fitted
        print(f"{name}: lag {DAY}: {days}; removed: {', '.join(removed)}", flush=True)
        print(f"  fitted in {fitted:.0f} s, explained in {spent:.0f} s of CPU", flush=True)
        print("  " + found.summary(), flush=True)
        rank = found.importance()[["variable", "attribution", "sensitivity"]].head(6)
        print(rank.to_string(index=False, float_format="{:.2f}".format), flush=True)


if __name__ == "__main__":
    main()
