"""Pickle, copies and skops: plain values go in, the same forecaster comes out."""

import copy
import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL, small_panel
from tests.tiny import Tiny
from tsfusion import FusionForecaster
from tsfusion.models.factory import NETWORKS

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("eager")]


def is_weekend(times):
    return np.where(times.day_of_week > 4, "yes", "no")


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setitem(NETWORKS, "fusion", Tiny)
    table = small_panel(n_series=2, n_steps=40)
    return FusionForecaster(
        horizon=3, context_length=14, time_features={"weekend": is_weekend},
        target_transform="yeo-johnson", **ROLES, **SMALL,
    ).fit(table)  # fmt: skip


def ahead(model):
    return model.make_future_dataframe().assign(price=1.0, event="fair")


def same(one, other):
    pd.testing.assert_frame_equal(one.forecast(ahead(one)), other.forecast(ahead(other)))
    assert one.series_.equals(other.series_)
    assert one.get_params()["time_features"] == other.get_params()["time_features"]


def test_skops_asks_about_our_class_and_functions_of_the_user_alone(model):
    io = pytest.importorskip("skops.io", reason="needs skops")
    data = io.dumps(model)
    assert io.get_untrusted_types(data=data) == [
        "tests.test_pickle.is_weekend",
        "tsfusion.forecaster.FusionForecaster",
    ]
    same(io.loads(data, trusted=io.get_untrusted_types(data=data)), model)
    with pytest.raises(io.exceptions.UntrustedTypesFoundException):
        io.loads(data)


def test_a_calibrated_forecaster_and_one_not_fitted_go_through_skops(model):
    io = pytest.importorskip("skops.io", reason="needs skops")
    table = small_panel(n_series=2, n_steps=60)
    model.calibrate(table[table["date"] > "2024-02-09"], min_origins=1)
    data = io.dumps(model)
    trusted = [name for name in io.get_untrusted_types(data=data) if name.startswith("tsf")]
    assert trusted == [
        "tsfusion.forecaster.FusionForecaster",
        "tsfusion.uncertainty.calibration.Calibration",
    ]
    same(io.loads(data, trusted=io.get_untrusted_types(data=data)), model)
    empty = FusionForecaster(horizon=17)
    data = io.dumps(empty)
    loaded = io.loads(data, trusted=["tsfusion.forecaster.FusionForecaster"])
    assert loaded.get_params() == empty.get_params()


def test_a_pickle_holds_no_class_of_pandas(model):
    data = pickle.dumps(model)
    assert b"pandas" not in data
    same(pickle.loads(data), model)
    same(copy.deepcopy(model), model)


def test_labels_that_no_file_holds_are_pickled_as_they_are(model, tmp_path):
    table = small_panel(n_series=2, n_steps=40)
    names = {"s0": Fraction(1, 2), "s1": Fraction(1, 3)}
    table["store"] = pd.Series([names[store] for store in table["store"]], dtype=object)
    model = FusionForecaster(horizon=3, context_length=14, **ROLES, **SMALL).fit(table)
    with pytest.raises(TypeError, match="without pickle"):
        model.save(tmp_path / "model")
    same(pickle.loads(pickle.dumps(model)), model)
