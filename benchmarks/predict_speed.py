"""How fast a trained TFT forecasts, and how soon a new process has its first forecast.

    python benchmarks/predict_speed.py [--windows 512] [--hidden 64] [--peers darts] [--rounds 3]

Many series and one: from a table of history and known future to a table (or array) of quantiles
with each library's own `predict`; 168 -> 24 steps, 11 variables, a window per series, CPU time
after a warm-up. First forecast: from the start of the process over imports, a fit of 200 steps of
32 windows (hidden 16, 36 -> 12) on AirPassengers, or months like it where the file is not at hand,
to its first forecast. One thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _peers

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "AirPassengers.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _peers.add_arguments(parser)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--windows", type=int, default=512, help="series to forecast at once")
    parser.add_argument("--first-steps", type=int, default=200, help="0: no first forecast")
    parser.add_argument("--first-rounds", type=int, help="None is --rounds")
    parser.add_argument("--monthly", default=str(SHARED), help="a CSV of months and values")
    arguments = parser.parse_args()
    taking_part = _peers.contenders(arguments)
    table = _peers.Table(taking_part)
    options = {"hidden": arguments.hidden, "windows": arguments.windows}
    answers = _peers.collect(taking_part, "predict", options, arguments.rounds)
    table.add("windows/s", answers, "windows_per_second", more_is_better=True, shown=_peers.rate)
    less = {"more_is_better": False, "shown": _peers.seconds}
    table.add("one forecast", answers, "single_seconds", **less)
    memory = {"more_is_better": False, "shown": _peers.megabytes}
    table.add("peak RSS", answers, "peak_rss_mb", **memory)
    if arguments.first_steps:
        monthly = arguments.monthly if Path(arguments.monthly).exists() else ""
        options = {"steps": arguments.first_steps, "data": monthly}
        rounds = arguments.first_rounds or arguments.rounds
        answers = _peers.collect(taking_part, "first", options, rounds)
        table.add("first forecast, CPU", answers, "cpu_seconds", **less)
        table.add("wall", answers, "wall_seconds", **less)
        table.add("peak RSS", answers, "peak_rss_mb", **memory)
    print(f"Forecasts, hidden {arguments.hidden}, 168 -> 24, {arguments.windows} series, CPU time")
    table.print()


if __name__ == "__main__":
    main()
