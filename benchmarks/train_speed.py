"""How fast a TFT trains: ours beside its peers, and ours as the long window grows.

    python benchmarks/train_speed.py [--batches 64 16 128] [--hidden 64] [--peers darts]
    python benchmarks/train_speed.py --contexts 168 672 2688 --batches

Made data, one series, 168 -> 24 steps, 11 variables (target, six observed, four known). A figure is
the median training step of a process, loading its batch included, the first steps (and compiling)
left out. Ours runs as a fit of default length does. CPU time on one thread; peak memory of the
process at the first of the batch sizes.
"""

from __future__ import annotations

import argparse
from typing import Any

import _peers


def beside_peers(arguments: argparse.Namespace) -> None:
    """Print one table: steps and samples per second at each batch size."""
    taking_part = _peers.contenders(arguments)
    table = _peers.Table(taking_part)
    answers: list[dict[str, dict[str, Any]]] = []
    for batch in arguments.batches:
        options = {"hidden": arguments.hidden, "batch": batch, "steps": arguments.steps}
        answers.append(_peers.collect(taking_part, "train", options, arguments.rounds))
        for answer in answers[-1].values():
            answer["steps_per_second"] = 1 / answer["seconds_per_step"]
        more = {"more_is_better": True, "shown": _peers.rate}
        table.add(f"batch {batch}: samples/s", answers[-1], "samples_per_second", **more)
        more = {"more_is_better": True, "shown": "{:.2f}".format, "ratio": False}
        table.add("steps/s", answers[-1], "steps_per_second", **more)
    less = {"more_is_better": False, "shown": _peers.megabytes}
    table.add("peak RSS", answers[0], "peak_rss_mb", **less)
    table.add("weights", answers[0], "parameters", ratio=False, more_is_better=False,
              shown=_peers.rate)  # fmt: skip
    print(f"Training, hidden {arguments.hidden}, 168 -> 24, 11 variables, per CPU second")
    table.print()


def by_context(arguments: argparse.Namespace) -> None:
    """Print what a step of ours costs at each length of the long window."""
    print(f"Ours by the long window, hidden {arguments.hidden}, batch 64")
    for name in arguments.architectures:
        first = None
        for context in arguments.contexts:
            options = {"hidden": arguments.hidden, "steps": arguments.steps, "context": context}
            taking_part = [(name, _peers.OURS, {"architecture": name})]
            options["length"] = 2000 + 2 * context
            answer = _peers.collect(taking_part, "train", options, arguments.rounds)[name]
            step = answer["seconds_per_step"]
            first = first or (step, context)
            print(
                f"{name:>8} {context:>6} steps: {_peers.seconds(step)} a step, "
                f"{step / first[0]:.2f} times for {context / first[1]:.0f} times the window, "
                f"{_peers.megabytes(answer['peak_rss_mb'])}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _peers.add_arguments(parser)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="*", default=[64, 16, 128])
    parser.add_argument("--steps", type=int, default=12, help="training steps that are timed")
    parser.add_argument("--contexts", type=int, nargs="*", default=[], help="ours only")
    arguments = parser.parse_args()
    if arguments.batches:
        beside_peers(arguments)
    if arguments.contexts:
        by_context(arguments)


if __name__ == "__main__":
    main()
