"""The batches that forecasts are made in."""

from itertools import pairwise

import pytest

from tsfusion.prediction import in_batches, one_shape


def filled(size):
    """What a batch of so many windows is filled up to, so that few shapes are compiled."""
    return next(allowed for allowed in (4, 128, 512) if allowed >= size)


@pytest.mark.parametrize(
    "n", [0, 1, 4, 5, 32, 33, 128, 129, 384, 385, 512, 513, 640, 897, 1024, 5000]
)
def test_batches_hold_every_window_once_and_few_that_are_none(n):
    bounds = list(in_batches(n))
    assert [stop for _, stop in bounds][-1:] == ([n] if n else [])
    assert [first for first, _ in bounds][:1] == ([0] if n else [])
    assert all(stop == first for (_, stop), (first, _) in pairwise(bounds))
    computed = sum(filled(stop - first) for first, stop in bounds)
    # All in one size for few windows; else never 128 in vain.
    assert computed - n < (4 if n <= 32 else 128)
    with one_shape(128):
        assert list(in_batches(n)) == [(i, min(i + 128, n)) for i in range(0, n, 128)]
