"""The line that says how far a long loop has come."""

import io

import pytest

from tsfusion import progress
from tsfusion.progress import shown

PARTS = [(0, 2), (2, 4), (4, 5)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A second passes whenever the time is asked for."""
    times = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


@pytest.mark.parametrize(("verbose", "stream"), [(0, Terminal()), (1, io.StringIO())])
def test_nothing_is_said_where_nobody_looks(clock, verbose, stream):
    assert list(shown(PARTS, 5, "forecast", verbose, stream)) == PARTS
    assert stream.getvalue() == ""


def test_a_line_from_two_seconds_on(clock):
    stream = Terminal()
    assert list(shown(PARTS, 5, "forecast", 1, stream)) == PARTS
    first, second, third = stream.getvalue().split("\r")
    assert first == ""
    assert second.rstrip() == "tsfusion: forecast 4/5  2 s, about 0 s left"
    assert third == "tsfusion: forecast 5/5  3 s, about 0 s left\n"


def test_what_is_broken_off_ends_its_line(clock):
    stream = Terminal()
    parts = shown([*PARTS, (5, 9)], 9, "calibrate", 1, stream)
    assert [next(parts) for _ in range(4)][-1] == (5, 9)
    parts.close()
    assert stream.getvalue().endswith("5/9  3 s, about 2 s left\n")


def test_what_is_quick_says_nothing():
    stream = Terminal()
    list(shown(PARTS, 5, "forecast", 1, stream))
    assert stream.getvalue() == ""
