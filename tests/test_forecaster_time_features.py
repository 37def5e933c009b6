"""The estimator with holidays and functions of time: known variables that nobody has to hand in."""

import pickle

import numpy as np
import pytest

from tests.conftest import ROLES, SMALL
from tsfusion import DataWarning, FusionForecaster

pytestmark = pytest.mark.usefixtures("eager")

COUNTRIES = {"s0": "DE", "s1": "US-CA", "s2": None}
ADDED = ["holiday", "days_to_holiday", "payday", "season"]


def payday(times):
    return times.day == 15


def season(times):
    return np.where(times.month == 1, "sales", "usual")


FEATURES = {"payday": payday, "season": season}


def make(**changes):
    settings = {"horizon": 7, "context_length": 14, "architecture": "tft", **ROLES, **SMALL}
    return FusionForecaster(**{**settings, **changes})


@pytest.fixture(scope="module")
def model(history, eager):
    return make(holidays=COUNTRIES, time_features=FEATURES).fit(history)


@pytest.fixture(scope="module")
def explanation(model, future):
    return model.explain(future)


def test_the_future_needs_no_further_columns(model, future):
    assert np.isfinite(model.predict(future)).all()
    assert len(model.forecast(future)) == 21


def test_the_network_has_a_place_for_each(model, history):
    calendar = model._fitted.calendar
    assert set(ADDED) <= {*calendar.names, *calendar.real_names}
    network = model._architecture_["network"]
    panel = model._fitted.panel(model._memory)
    assert network["num_past_real"] == panel.real.shape[1]
    assert len(network["past_cardinalities"]) == panel.categorical.shape[1]
    assert (panel.categorical.max(axis=0) < network["past_cardinalities"]).all()


def test_explanations_name_them(explanation):
    table = explanation.importance().set_index("variable")
    assert table.loc[ADDED, "role"].tolist() == ["calendar"] * 4
    assert set(ADDED) <= set(explanation.selection["variable"])


def test_the_holidays_of_a_row_are_those_of_its_series(model, history):
    panel = model._fitted.panel(model._memory)
    codes = panel.categorical[:, -1]
    vocabulary = ["unseen", "none", *model._fitted.calendar.holidays.vocabulary]
    times = model._fitted.encoder.timeline.times(panel.ordinal)
    first = [vocabulary[codes[(times == "2024-01-15") & (panel.series_of_rows() == s)][0]]
             for s in range(3)]  # fmt: skip
    assert first == ["none", "Martin Luther King Jr. Day", "none"]


def test_answers_depend_neither_on_the_batch_nor_on_a_pickle(model, future):
    together = model.predict(future)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(again.predict(future), together, rtol=1e-5)
    one = future[future["store"] == "s1"]
    np.testing.assert_allclose(model.predict(one), together[future["store"] == "s1"], rtol=1e-5)


def test_history_of_a_series_without_a_country(model, history, future):
    new = history[history["store"] == "s1"].assign(store="new")
    rows = future[future["store"] == "s1"].assign(store="new")
    with pytest.warns(DataWarning, match="no country is known for series 'new'"):
        assert np.isfinite(model.predict(rows, context=new)).all()


def test_bad_requests(history):
    cases = {
        "time_features: expected a dict of names and functions": {"time_features": {"a": 3}},
        "adds a variable 'price', but a column": {"time_features": {"price": season}},
        "'Germany' is neither a country code": {"holidays": "Germany"},
        "a country for every series, 's2' has none": {"holidays": {"s0": "DE", "s1": "DE"}},
    }  # fmt: skip
    for message, changes in cases.items():
        with pytest.raises((TypeError, ValueError), match=message):
            make(**changes).fit(history)
    with pytest.raises(ValueError, match="holidays: adds a variable 'holiday', but a column of X"):
        make(holidays="DE", known=None).fit(history.assign(holiday="no"))
