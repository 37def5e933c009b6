"""A line that says how far a long loop has come; relies on nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

__all__ = ["shown"]

# Seconds before the first line, and between two.
_WAIT, _PAUSE = 2.0, 0.5


def shown(
    parts: Iterable[tuple[int, int]], total: int, what: str, verbose: int,
    stream: TextIO | None = None,
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Yield parts ``(first, stop)`` of ``total``; say on a terminal how many are done.

    One line on standard error that is written over, from two seconds on.

    Parameters
    ----------
    parts : iterable of pair of int
    total : int
    what : str
        What is done.
    verbose : int
        0: nothing is said.
    stream : text stream, default=None
        Where to; None for standard error.

    Examples
    --------
    >>> list(shown([(0, 2), (2, 3)], 3, "forecast", verbose=0))
    [(0, 2), (2, 3)]
    """
    stream = sys.stderr if stream is None else stream
    if not verbose or not stream.isatty():
        yield from parts
        return
    begin = time.monotonic()
    last, width = begin + _WAIT - _PAUSE, 0
    try:
        for part in parts:
            yield part
            now = time.monotonic()
            if now - last < _PAUSE or part[1] == 0:
                continue
            gone, done = now - begin, part[1]
            left = gone * (total / done - 1)
            text = f"tsfusion: {what} {done}/{total}  {gone:.0f} s, about {left:.0f} s left"
            stream.write("\r" + text.ljust(width))
            stream.flush()
            last, width = now, len(text)
    finally:
        if width:
            stream.write("\n")
            stream.flush()
