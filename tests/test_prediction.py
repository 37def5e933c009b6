"""The windows and batches that forecasts are made of."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import FusionForecaster
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


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("freq", [None, "rows"])
def test_rows_of_the_past_beside_it_do_not_change_a_forecast(freq):
    """Where all rows follow the last known targets, their cutoffs are found another way."""
    table = small_panel(n_series=4, n_steps=60)
    day = table.groupby("store").cumcount()
    gone = (table["store"] == "s1") & day.isin([20, 21, 51])  # s1 ends in a gap,
    silent = (table["store"] == "s2") & (day >= 50)  # s2 in unknown targets,
    late = (table["store"] == "s3") & (day < 48)  # and s3 is short.
    history = table.assign(sales=table["sales"].mask(silent))[~gone & ~late & (day < 54)]
    future = table[(day >= 54) & (day < 57)].drop(columns=["sales", "weather"])
    if freq is None:
        # What is missing between the two has to be given; what is silent is known already.
        future = pd.concat([future, table[gone & (day > 50)].drop(columns=["sales", "weather"])])
    model = FusionForecaster(10, context_length=14, freq=freq, **ROLES, **SMALL).fit(history)
    alone = pd.Series(model.predict(future), future.index)
    past = history.groupby("store").tail(9).drop(columns=["sales", "weather"])
    both = pd.concat([past[~past.index.isin(future.index)], future]).sample(frac=1, random_state=0)
    together = pd.Series(model.predict(both), both.index)
    assert len(both) > len(future)
    np.testing.assert_allclose(together[alone.index], alone, rtol=1e-6)
