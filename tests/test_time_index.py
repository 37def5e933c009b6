"""Times in the index of a table that has a column called index besides, as reset_index leaves."""

import warnings

import numpy as np
import pandas as pd
import pytest

from tests.conftest import SMALL
from tsfusion import DataWarning, FusionForecaster

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def table():
    times = pd.date_range("2024-01-01", periods=40, name="day")
    y = np.sin(np.arange(40.0)) + np.arange(40) % 7
    return pd.DataFrame({"y": y, "p": np.arange(40) % 3.0}, times)


def make(**changes):
    return FusionForecaster(horizon=3, context_length=9, target="y", known="p", **SMALL, **changes)


def ahead(frame):
    return frame.set_axis(frame.index + pd.Timedelta(days=len(frame)))[:3].drop(columns="y")


@pytest.mark.parametrize("time", [None, "index"])
def test_a_column_called_index_does_not_take_the_place_of_the_index(table, time):
    model = make(time=time).fit(table)
    assert model.freq_ == "D"
    expected = model.predict(ahead(table))
    # Rows of other days, were the column the time.
    other = ahead(table).assign(index=pd.date_range("2024-03-01", periods=3))
    np.testing.assert_array_equal(model.predict(other), expected)


def test_a_table_may_have_both(table):
    with pytest.warns(DataWarning, match=r"\['index'\] have no role"):
        model = make().fit(table.assign(index=range(40)))
    assert model.freq_ == "D"
    assert model.make_future_dataframe().index[0] == pd.Timestamp("2024-02-10")
    np.testing.assert_array_equal(
        model.predict(ahead(table)), make().fit(table).predict(ahead(table))
    )
    with pytest.raises(ValueError, match="Rename the column, or reset the index"):
        make(time="index").fit(table.assign(index=range(40)))


def test_a_column_called_index_may_be_the_time(table, tmp_path):
    named = table.rename_axis("index").reset_index()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        model = make(time="index").fit(named)
    future = model.make_future_dataframe()
    assert future.columns.tolist() == ["index"]
    assert model.forecast(future.assign(p=0.0)).columns[0] == "index"
    for one in (model, make().fit(table)):
        one.save(tmp_path / "model.tsf")
        back = FusionForecaster.load(tmp_path / "model.tsf")
        assert back._fitted.encoder.roles == one._fitted.encoder.roles
