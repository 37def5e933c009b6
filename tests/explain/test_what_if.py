"""What-if: the same as forecasts of changed tables, warnings and errors."""

import warnings

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL
from tsfusion import ExplanationWarning, FusionForecaster

pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.backends
def test_changes_are_forecasts_of_changed_tables(fitted, history, future):
    third, last = sorted(future["date"].unique())[2], future["date"].max()
    found = fitted.what_if(
        {"price": 1.0, "event": "fair"}, start=third, end=last, series="s1", future=future,
        quantiles=[0.5, 0.9],
    )  # fmt: skip
    assert found.columns.tolist() == [
        "store", "date", "statistic", "forecast", "changed", "difference",
    ]  # fmt: skip
    other = future.copy()
    meant = (other["store"] == "s1") & (other["date"] >= third)
    other.loc[meant, ["price", "event"]] = [1.0, "fair"]
    for column, table in (("forecast", future), ("changed", other)):
        expected = fitted.forecast(table, quantiles=[0.5, 0.9])
        expected = expected[["mean", "q0.5", "q0.9"]].to_numpy().reshape(-1)
        np.testing.assert_allclose(found[column], expected, rtol=1e-6)
    np.testing.assert_allclose(found["difference"], found["changed"] - found["forecast"])
    moved = found.loc[found["difference"].abs() > 1e-6]
    assert set(moved["store"]) == {"s1"}
    assert moved["date"].min() >= third


@pytest.mark.backends
def test_observed_values_change_in_the_history_alone(fitted, history, future):
    start = history["date"].max() - pd.Timedelta(days=2)
    found = fitted.what_if({"weather": lambda x: -x}, start=start, future=future)
    other = history.copy()
    other.loc[other["date"] >= start, "weather"] *= -1
    expected = fitted.forecast(future, context=other)["mean"]
    changed = found.loc[found["statistic"] == "mean", "changed"]
    np.testing.assert_allclose(changed, expected, rtol=1e-5)
    assert found["difference"].abs().max() > 1e-6


def test_values_out_of_the_training_range_are_warned_of(fitted, future):
    with pytest.warns(ExplanationWarning, match="'price' of 9 lies outside .* of 1 to 2"):
        fitted.what_if({"price": 9}, start=future["date"].min(), future=future)
    with pytest.warns(ExplanationWarning, match="'circus' of 'event' was not met in training"):
        fitted.what_if({"event": "circus"}, start=future["date"].min(), future=future)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExplanationWarning)
        fitted.what_if({"price": 2}, start=future["date"].min(), future=future)


def test_booleans_are_taken_as_fit_takes_them(tiny, history, future):
    history, future = (table.assign(price=table["price"] > 1) for table in (history, future))
    model = FusionForecaster(horizon=7, context_length=21, **ROLES, **SMALL).fit(history)
    start = future["date"].min()
    for values, same in (
        (future["price"] | True, [True, np.True_, 1, lambda p: p == p]),
        (future["price"] & False, [False, np.False_, 0.0, lambda p: p != p]),
        (~future["price"], [lambda p: 1 - p]),
    ):
        expected = model.forecast(future.assign(price=values))["mean"]
        for value in same:
            found = model.what_if({"price": value}, start=start, future=future)
            changed = found.loc[found["statistic"] == "mean", "changed"]
            np.testing.assert_allclose(changed, expected, rtol=1e-5)
        assert found["difference"].abs().max() > 1e-3


def test_bad_requests(fitted, future):
    for changes, options, text in (
        ({}, {}, "changes: expected a dict"),
        ({"sales": 1.0}, {}, "changes: expected known or observed columns, of .* received 'sales'"),
        ({"price": "low"}, {}, "'price' holds numbers; expected a finite number or a function"),
        ({"event": len}, {}, "'event' holds categories"),
        ({"price": lambda x: x * np.nan}, {}, "the function of 'price' gave NaN"),
        (
            {"price": lambda x: ~x},
            {},
            "function of 'price' failed with TypeError: .* an array of 159 float64 numbers such as "
            "[12] .True and False are 1 and 0.",
        ),
        ({"price": 1.0}, {"series": "other"}, "series: 'other' is not one of the known series"),
        ({"price": 1.0}, {"start": "2030-01-01"}, "no row to change of the known column 'price'"),
        ({"weather": 1.0}, {"start": future["date"].min()}, "an observed column ends with it"),
        ({"price": 1.0}, {"start": "soon"}, "start: expected a time such as .* received 'soon'"),
    ):
        with pytest.raises(ValueError, match=text):
            fitted.what_if(changes, future=future, **options)
