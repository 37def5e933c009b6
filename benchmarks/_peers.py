"""Runs our forecaster and its peers (peers/), each in a process and an environment of its own.

    sh benchmarks/peers/setup.sh     # makes the environments, outside of this checkout

All run on one thread, so that CPU seconds can be compared; a peer whose environment is missing is
named, with the command that makes it, and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "peers"
PEERS = ("neuralforecast", "pytorch-forecasting", "darts")
BASELINES = "baselines"
OURS = "tsfusion"
ENVIRONMENTS = Path(
    os.environ.get("TSFUSION_PEERS") or Path.home() / ".cache" / "tsfusion-peers"
)  # as in setup.sh
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "",
}

Contender = tuple[str, str, dict[str, Any]]  # the name shown, the peer, its options


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer; ours is this one where setup.sh made none for it."""
    own = ENVIRONMENTS / peer / "bin" / "python"
    return Path(sys.executable) if peer == OURS and not own.exists() else own


def run(peer: str, task: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one task of one peer, and return its answer."""
    script = "ours" if peer == OURS else peer.replace("-", "_")
    command = [str(python_of(peer)), str(HERE / f"{script}_peer.py"), task]
    given = json.dumps({**options, "started": time.time()})
    done = subprocess.run(
        [*command, given], env={**os.environ, **ONE_THREAD}, capture_output=True, text=True
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise RuntimeError(f"{' '.join(command)} '{given}' failed:\n{tail}")
    return json.loads(done.stdout)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says who takes part."""
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--architectures", nargs="*", default=["fusion", "tft"])
    parser.add_argument("--rounds", type=int, default=1, help="processes per figure; medians")


def contenders(arguments: argparse.Namespace) -> list[Contender]:
    """Return who takes part: our architectures, and the peers that are installed."""
    ours = [(f"tsfusion {name}", OURS, {"architecture": name}) for name in arguments.architectures]
    return ours + [(name, name, {}) for name in present(arguments.peers)]


def present(peers: Sequence[str]) -> list[str]:
    """Return the peers that are installed, and say on standard error how to install the others."""
    for peer in peers:
        if not python_of(peer).exists():
            print(f"{peer} is not installed: sh {HERE / 'setup.sh'} {peer}", file=sys.stderr)
    return [peer for peer in peers if python_of(peer).exists()]


def collect(
    taking_part: Sequence[Contender], task: str, options: dict[str, Any], rounds: int
) -> dict[str, dict[str, Any]]:
    """Return each contender's answer, numbers as medians over rounds in which they take turns."""
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in taking_part}
    for _ in range(rounds):
        for name, peer, own in taking_part:
            print(f"{task} {options}: {name} ...", file=sys.stderr)
            answers[name].append(run(peer, task, {**options, **own}))
    return {name: _median(many) for name, many in answers.items()}


def _median(answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        key: statistics.median(answer[key] for answer in answers)
        if isinstance(value, (int, float))
        else value
        for key, value in answers[0].items()
    }


class Table:
    """Figures of the contenders, column by column, with ratios to the fastest peer's."""

    def __init__(self, taking_part: Sequence[Contender]) -> None:
        self.peers = [name for name, peer, _ in taking_part if peer != OURS]
        self.columns: dict[str, dict[str, str]] = {}
        self.versions: dict[str, dict[str, str]] = {}

    def add(
        self, title: str, answers: dict[str, dict[str, Any]], key: str, *, more_is_better: bool,
        shown: Callable[[float], str], ratio: bool = True,
    ) -> None:  # fmt: skip
        """Add a column; a ratio above one means better than the best peer."""
        while title in self.columns:  # a title may be used again
            title += " "
        values = {name: answer[key] for name, answer in answers.items()}
        theirs = [values[name] for name in self.peers] if ratio else []
        column = {}
        for name, value in values.items():
            compared = ""
            if theirs and more_is_better:
                compared = f" ({value / max(theirs):.2f})"
            elif theirs:
                compared = f" ({min(theirs) / value:.2f})"
            column[name] = shown(value) + compared
        self.columns[title] = column
        self.versions |= {name: answer["versions"] for name, answer in answers.items()}

    def print(self) -> None:
        """Print the table, and the versions below it."""
        names = list(next(iter(self.columns.values())))
        first = max(map(len, names))
        widths = {
            title: max(len(title), *map(len, column.values()))
            for title, column in self.columns.items()
        }
        print(" " * first, *(title.rjust(width) for title, width in widths.items()), sep="  ")
        for name in names:
            cells = (self.columns[title][name].rjust(width) for title, width in widths.items())
            print(name.ljust(first), *cells, sep="  ")
        if self.peers:
            print("In brackets: how many times better than the best peer.")
        seen = dict.fromkeys(
            ", ".join(f"{package} {version}" for package, version in versions.items())
            for versions in self.versions.values()
        )
        print("Versions:", "; ".join(seen))


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.3g} ms"


def rate(value: float) -> str:
    return f"{value:,.0f}"


def megabytes(value: float) -> str:
    return f"{value:,.0f} MB"
