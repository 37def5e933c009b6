"""From a DataFrame to windows ready for training: ours beside what peers need for it.

    python benchmarks/windows_peers.py [--rows 2000000] [--series 1000] [--peers darts]

The panel is that of windows.py. Counted is all that a user of the library has to do with it: step
numbers, codes of categories, missing steps and values filled where the library wants that (ours
masks them, and counts as windows those whose whole past is inside the series, as the others do).
A batch is 64 random windows as the library's own loader cuts them. Memory is what the process holds
beyond the frame at the peak. One thread each.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import _peers
from peers.common import write_table
from windows import make_frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--peers", nargs="*", default=list(_peers.PEERS), choices=_peers.PEERS)
    parser.add_argument("--rounds", type=int, default=1, help="processes per figure; medians")
    arguments = parser.parse_args()
    taking_part = [(name, name, {}) for name in (_peers.OURS, *_peers.present(arguments.peers))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npz"
        write_table(make_frame(arguments.rows, arguments.series), path)
        answers = _peers.collect(taking_part, "windows", {"table": str(path)}, arguments.rounds)
    table = _peers.Table(taking_part)
    less = {"more_is_better": False}
    table.add("frame to windows, CPU", answers, "seconds", shown=_peers.seconds, **less)
    table.add("memory beyond the frame", answers, "peak_mb", shown=_peers.megabytes, **less)
    table.add("batch of 64, CPU", answers, "batch_seconds", shown=_peers.seconds, **less)
    table.add("peak RSS", answers, "peak_rss_mb", shown=_peers.megabytes, **less)
    print(f"{arguments.rows:,} rows, {arguments.series:,} series, windows of 168 + 24 steps")
    table.print()
    print("Windows:", ", ".join(f"{name} {one['windows']:,}" for name, one in answers.items()))


if __name__ == "__main__":
    main()
