"""The adapter for sktime, in an environment that has it (sktime 1.2 asks for pandas < 3.1)."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="needs the extra sktime")

from tests.conftest import SMALL
from tests.tiny import Tiny
from tsfusion import FusionForecaster
from tsfusion.adapters.sktime import SktimeFusionForecaster
from tsfusion.models.factory import NETWORKS

pytestmark = [
    pytest.mark.backends, pytest.mark.heavy, pytest.mark.usefixtures("eager"),
    pytest.mark.filterwarnings("ignore:The default of config"),
]  # fmt: skip


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(NETWORKS, "fusion", Tiny)


def panel(steps=30):
    index = pd.MultiIndex.from_product(
        [["a", "b"], pd.period_range("2020-01", periods=steps, freq="M")], names=["shop", "month"]
    )
    y = pd.DataFrame({"sales": np.sin(np.arange(len(index)))}, index=index)
    return y, pd.DataFrame({"price": np.cos(np.arange(len(index)))}, index=index)


def make(**kwargs):
    return SktimeFusionForecaster(FusionForecaster(**{**SMALL, "context_length": 6}), **kwargs)


def test_a_panel_is_one_network_and_says_what_the_forecaster_says(tiny):
    y, X = panel()
    late = y.index.get_level_values(-1) >= y.index.get_level_values(-1).unique()[-4]
    model = make().fit(y[~late], X=X[~late], fh=[1, 2, 4])
    assert model.forecaster_._fitted.horizon == 4
    assert list(model.forecaster_.series_) == ["a", "b"]
    mean = model.predict(X=X[late])
    assert mean.index.equals(y[late].index[[0, 1, 3, 4, 5, 7]])
    table = X.join(y).reset_index()
    own = FusionForecaster(
        4, time="month", series="shop", target="sales", **SMALL, context_length=6
    ).fit(table[~late])
    expected = own.predict(table[late].drop(columns="sales"), quantiles=[0.1, 0.9])
    found = model.predict_quantiles(X=X[late], alpha=[0.1, 0.9])
    assert list(found.columns) == [("sales", 0.1), ("sales", 0.9)]
    np.testing.assert_allclose(found, expected[[0, 1, 3, 4, 5, 7]], rtol=1e-6)


def test_update_adds_history_and_moves_the_cutoff(tiny):
    y, _ = panel()
    y = y.loc["a"]
    model = make(horizon=3).fit(y[:20])
    before = [weight.copy() for weight in model.forecaster_.model_.get_weights()]
    model.update(y[20:])
    assert model.predict(fh=[1]).index[0] == y.index[-1] + 1
    assert len(model.forecaster_._memory) == 30
    for old, new in zip(before, model.forecaster_.model_.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_known_columns_of_the_future_are_needed(tiny):
    y, X = panel()
    with pytest.raises(ValueError, match="Known column 'price': Input contains NaN"):
        make().fit(y, X=X, fh=[1]).predict()


@pytest.mark.slow
def test_passes_the_checks_of_sktime(tiny):
    from sktime.utils.estimator_checks import check_estimator

    found = check_estimator(SktimeFusionForecaster, raise_exceptions=False, verbose=False)
    failed = {name: result for name, result in found.items() if result != "PASSED"}
    assert failed == {}
