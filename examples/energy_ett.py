"""Forecast a transformer's oil temperature (ETTh1) a day ahead, and explain it.

    python examples/energy_ett.py --data PATH/ETTh1.csv

The six loads are observed: known up to the present, not in the future.
"""

from __future__ import annotations

import argparse

import _hourly
import pandas as pd

LOADS = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="path of ETTh1.csv")
    parser.add_argument("--epochs", type=int, default=10, help="the most epochs (default: 10)")
    arguments = parser.parse_args()
    frame = pd.read_csv(arguments.data, parse_dates=["date"])
    # One noisy series: more dropout than the default of 0.1 keeps the intervals honest.
    model = _hourly.fit(
        frame,
        time="date",
        target="OT",
        observed=LOADS,
        dropout=0.3,
        max_epochs=arguments.epochs,
        verbose=2,
    )
    table = _hourly.rolling_forecasts(model, frame, time_column="date", target="OT", known=[])
    _hourly.report(table, frame, "OT")
    _hourly.explain(model, frame, "ett")
    _hourly.draw(table, "date", "OT", "ett")


if __name__ == "__main__":
    main()
