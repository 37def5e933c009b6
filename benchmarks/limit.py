"""How near training and forecasts come to what the core can do in matrix products.

    python benchmarks/limit.py [--hidden 64] [--windows 512] [--rounds 3]

Operations are counted in the graph of a forecast (two for each multiplication of a matrix product,
those of the recurrence for each of its steps; nothing else), and taken three times for a training
step, as every product has two more on the way back. The limit is the rate of the recurrence's two
products alone, of the faster one. One thread, CPU time, 168 -> 24 steps, 11 variables.
"""

from __future__ import annotations

import argparse

import _peers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--windows", type=int, default=512, help="forecast at once")
    parser.add_argument("--rounds", type=int, default=3, help="processes; medians")
    arguments = parser.parse_args()
    options = {"hidden": arguments.hidden, "windows": arguments.windows}
    found: dict[str, float] = {}
    for task in ("limit", "train"):
        found |= _peers.collect([("tsfusion", _peers.OURS, {})], task, options, arguments.rounds)[
            "tsfusion"
        ]
    each = found["operations"] / 1e9
    limit = found["operations_per_second"] / 1e9
    shown = {
        "training": 3 * each * found["samples_per_second"],
        "network of a forecast": each / found["network_seconds"],
        "forecast": each / found["forecast_seconds"],
    }
    print(
        f"{1e3 * each:.1f} million operations a window, products alone {limit:.0f} billion a second"
    )
    for name, rate in shown.items():
        print(f"{name:22s} {rate:5.1f} billion a second, {rate / limit:4.0%} of the limit")


if __name__ == "__main__":
    main()
