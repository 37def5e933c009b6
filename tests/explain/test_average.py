"""Averages over blocks of windows: those of an explanation of all windows at once."""

import numpy as np
import pandas as pd
import pytest

from tsfusion import DataWarning
from tsfusion.explain import aggregate

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def small_blocks(monkeypatch):
    """A series in each block, and a few windows at a time."""
    monkeypatch.setattr(aggregate, "_ROWS", 50)
    monkeypatch.setattr(aggregate, "_WINDOWS", 4)


def _equal(average, whole):
    assert (average.forecasts, average.windows) == (len(whole.window), len(whole.cutoffs))
    for name in ("temporal_patterns", "importance", "top_lags"):
        found, expected = getattr(average, name)(), getattr(whole, name)()
        if name == "importance":  # what is next to nothing may come in any order
            found, expected = (frame.sort_values("variable") for frame in (found, expected))
            found, expected = (frame.reset_index(drop=True) for frame in (found, expected))
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-6, check_dtype=False)
    assert average.summary() == whole.summary()


@pytest.mark.heavy
@pytest.mark.backends
def test_averages_of_blocks_are_those_of_the_whole(fitted, future, history, small_blocks):
    _equal(fitted.explain_average(future), fitted.explain(future))
    options = {"max_windows": 10, "horizons": [1, 4]}
    _equal(fitted.explain_average(**options), fitted.explain(**options))
    some = history.iloc[::-3]
    with pytest.warns(DataWarning, match="windows asked for, 10 of them explained"):
        average = fitted.explain_average(some, max_windows=10)
    with pytest.warns(DataWarning, match="windows asked for, 10 of them explained"):
        _equal(average, fitted.explain(some, max_windows=10))


def test_attribution_on_average(fitted, future):
    options = {"horizons": 2, "methods": ["attribution"], "baselines": 2, "quantile": 0.9}
    average, whole = fitted.explain_average(future, **options), fitted.explain(future, **options)
    _equal(average, whole)
    with pytest.raises(ValueError, match="groups: a group's attribution"):
        average.importance({"air": ["weather", "price"]})
    # Groups of sensitivities are sums, which averages can tell.
    grouped = fitted.explain_average(future).importance({"air": ["weather", "price"]})
    assert grouped["sensitivity"].sum() == pytest.approx(1)


def test_quantiles_are_those_of_some_windows_and_the_mean_of_all(fitted, monkeypatch):
    monkeypatch.setattr(aggregate, "_SAMPLED", 5)
    keys = ["branch", "horizon", "lag"]
    average = fitted.explain_average(max_windows=40).temporal_patterns().set_index(keys)
    whole = fitted.explain(max_windows=40).temporal_patterns().set_index(keys)
    np.testing.assert_allclose(average["mean"], whole["mean"], rtol=1e-4, atol=1e-6)
    assert not np.allclose(average["p90"], whole["p90"], rtol=1e-3)


def test_pictures_of_averages(fitted):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    average = fitted.explain_average(max_windows=4)
    figure, axes = plt.subplots(2)
    assert average.plot_attention(axes[0]) is axes[0]
    assert average.plot_importance(axes[1]) is axes[1]
    plt.close(figure)


def test_bad_requests(fitted, future):
    with pytest.raises(ValueError, match=r"methods: averages are of .* received .'paths'."):
        fitted.explain_average(future, methods=["attention", "paths"])
    with pytest.raises(ValueError, match="max_windows: expected an integer >= 1"):
        fitted.explain_average(future, max_windows=0)
    with pytest.raises(ValueError, match="X has no row"):
        fitted.explain_average(future.iloc[:0])
    first = future[future["date"] == future["date"].min()]
    with pytest.raises(ValueError, match=r"no row of X is at the steps .3. .* they are at .1."):
        fitted.explain_average(first, horizons=[3])
    far = fitted.make_future_dataframe(9).assign(price=1.0, event="none")
    with pytest.raises(ValueError, match="past the horizon of 7"):
        fitted.explain_average(far)
    with pytest.raises(ValueError, match="averages hold no lag sensitivities of 'price'"):
        fitted.explain_average(max_windows=2).top_lags(2, "price")
