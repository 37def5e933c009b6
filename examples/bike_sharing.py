"""Forecast the hourly rides of a bike-sharing scheme a day ahead, and explain it.

    python examples/bike_sharing.py --data PATH/bike_sharing.csv [--weather known]

Holidays and working days are known in advance. The weather is observed by default; with
``--weather known`` the model gets the weather of the day to forecast, as from a perfect weather
forecast.
"""

from __future__ import annotations

import argparse

import _hourly
import pandas as pd

WEATHER = ["weather", "temp", "atemp", "hum", "windspeed"]
DAYS = ["holiday", "workingday"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="path of bike_sharing.csv")
    parser.add_argument("--weather", choices=["observed", "known"], default="observed")
    parser.add_argument("--epochs", type=int, default=10, help="the most epochs (default: 10)")
    arguments = parser.parse_args()
    columns = ["date_time", "users", *DAYS, *WEATHER]
    frame = pd.read_csv(arguments.data, parse_dates=["date_time"])[columns]
    known = DAYS + (WEATHER if arguments.weather == "known" else [])
    model = _hourly.fit(
        frame,
        time="date_time",
        target="users",
        known=known,
        observed=[name for name in WEATHER if name not in known],
        max_epochs=arguments.epochs,
        verbose=2,
    )
    table = _hourly.rolling_forecasts(
        model, frame, time_column="date_time", target="users", known=known
    )
    _hourly.report(table, frame, "users")
    _hourly.explain(model, frame, "bike")
    _hourly.draw(table, "date_time", "users", "bike")


if __name__ == "__main__":
    main()
