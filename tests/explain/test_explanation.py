"""Explanations: labels, sums, agreement with the forecast, and what they find where it is known."""

import copy
import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from tests.conftest import ROLES, SMALL
from tests.report.made import made_explanation
from tsfusion import DataWarning, FusionForecaster
from tsfusion.explain.explanation import TABLES, own_columns
from tsfusion.explain.parts import METHODS
from tsfusion.explain.sensitivity import _anchor

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def explanation(fitted):
    return fitted.explain(max_windows=6, lags_of=["weather", "event"])


@pytest.mark.heavy
@pytest.mark.backends
def test_attention_sums_to_one_in_the_users_terms(fitted, future):
    found = fitted.explain(future)
    table = found.attention
    assert list(table.columns) == [
        "store", "cutoff", "horizon", "target_time", "branch", "head", "lag", "source_time",
        "source_width", "weight",
    ]  # fmt: skip
    sums = table.groupby(["store", "cutoff", "horizon", "branch", "head"])["weight"].sum()
    assert len(sums) == 3 * 7 * 2 * table["branch"].nunique()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    days = (table["target_time"] - table["source_time"]) / pd.Timedelta(days=1)
    np.testing.assert_array_equal(days, table["lag"])
    assert (table["lag"] >= 0).all()
    assert (table["cutoff"] == future["date"].min() - pd.Timedelta(days=1)).all()


@pytest.mark.heavy
@pytest.mark.backends
def test_the_forecast_explained_is_that_of_predict(fitted, future, history):
    for rows in (future, history.iloc[[3, 30, 130]]):
        found = fitted.explain(rows)
        expected = fitted.predict(rows, quantiles=[0.5])[:, 0]
        np.testing.assert_allclose(found.forecast["median"], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found.forecast["target_time"], rows["date"])


def test_selection_weights_sum_to_one(explanation):
    table = explanation.selection
    sums = table.groupby(["store", "cutoff", "block"])["weight"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    past = set(table.loc[table["block"] == "past", "variable"])
    assert {"sales", "weather", "price", "event", "day_of_week"} <= past
    assert set(table.loc[table["block"] == "static", "variable"]) == {"region", "size"}
    assert "weather" not in set(table.loc[table["block"] == "future", "variable"])


def test_importance_lists_every_variable_once_and_its_shares_sum_to_one(explanation):
    table = explanation.importance()
    assert table["variable"].is_unique
    assert table["sensitivity"].sum() == pytest.approx(1)
    assert table["sensitivity"].is_monotonic_decreasing
    assert dict(zip(table["variable"], table["role"]))["price"] == "known"


def test_temporal_patterns_are_the_means_of_the_attention(explanation):
    table = explanation.attention
    keys = ["branch", "horizon", "lag"]
    by_hand = table.groupby(["store", "cutoff", *keys])["weight"].sum() / 2
    by_hand = by_hand.groupby(keys).sum() / 6
    pattern = explanation.temporal_patterns().set_index(keys)["mean"]
    np.testing.assert_allclose(pattern[by_hand.index], by_hand, atol=1e-6)


def test_tables_are_copies(explanation):
    table = explanation.attention
    table["weight"] = 0.0
    assert explanation.attention["weight"].sum() > 0
    with pytest.raises(AttributeError):
        explanation.window = None


def test_windows_are_thinned_with_a_warning(fitted, history):
    with pytest.warns(DataWarning, match="159 windows asked for, 5 of them explained"):
        found = fitted.explain(history, max_windows=5)
    assert len(found.cutoffs) == 5


def test_one_window_is_compared_with_those_of_training(fitted, future):
    found = fitted.explain(future[future["store"] == "s0"])
    assert found.importance()["sensitivity"].sum() == pytest.approx(1)
    assert "sensitive to" in found.summary()


def test_without_a_window_to_compare_with_there_is_no_sensitivity(fitted, future, history):
    # Of a single day of history each, no target lies ahead of another.
    short = history[history["date"] == history["date"].max()]
    found = fitted.explain(future, context=short, lags_of="weather")
    assert found.lag_sensitivity["sensitivity"].isna().all()
    assert found.importance()["sensitivity"].isna().all()
    assert "sensitive" not in found.summary()


@pytest.mark.parametrize("size", [12, 80])
def test_sensitivity_of_many_windows_is_that_of_some_unless_all_are_asked_for(fitted, size):
    some = fitted.explain(max_windows=size).sensitivity_shares
    every = fitted.explain(max_windows=size, methods="sensitivity").sensitivity_shares
    assert sum(some.values()) == pytest.approx(1) == pytest.approx(sum(every.values()))
    close = np.allclose(list(some.values()), list(every.values()), rtol=1e-5)
    assert close == (size <= 64)


@pytest.mark.heavy
@pytest.mark.backends
def test_what_was_compiled_reads_the_weights_anew(fitted, future, compiled):
    rows = future[future["store"] == "s0"]
    before = fitted.model_.get_weights()
    expected = fitted.explain(rows).median
    try:
        fitted.model_.set_weights([0.5 * weight for weight in before])
        changed = fitted.explain(rows).median
        np.testing.assert_allclose(changed, fitted.predict(rows, quantiles=[0.5])[:, 0], rtol=1e-5)
    finally:
        fitted.model_.set_weights(before)
    assert np.abs(changed / expected - 1).max() > 1e-4
    np.testing.assert_array_equal(fitted.explain(rows).median, expected)


@keras.saving.register_keras_serializable(package="tests")
class Lagged(keras.Model):
    """A network that is known: the scaled weather at lag 3 from the anchor, and the price."""

    def call(self, inputs, training=None, return_attention=False):
        past = ops.nan_to_num(ops.convert_to_tensor(inputs["past_real"]))
        future = ops.convert_to_tensor(inputs["future_real"])
        size = ops.shape(past)[0]
        weather = ops.concatenate([past[:, -3:, 1], ops.zeros((size, 4))], axis=1)
        middle = (weather + 0.1 * future[:, :, 0])[:, :, None]
        quantiles = middle + ops.reshape(ops.arange(-4.0, 5.0) / 10, (1, 1, 9))
        if not return_attention:
            return quantiles
        scores = ops.ones((size, 2, 7, 28)) / 28
        return {"quantiles": quantiles, "attention": scores}


@pytest.fixture
def lagged(fitted):
    from tsfusion.models.instance_scaled import InstanceScaled

    model = copy.copy(fitted)
    network = Lagged()
    network.built = True
    model.model_ = InstanceScaled(network, num_observed=1)
    model.model_.built = True
    return model


def test_what_all_series_have_in_common_counts(fitted, future):
    # Of one cutoff, no other series has another day of the week.
    for found in (fitted.explain(future), fitted.explain_average(future)):
        assert found.importance().set_index("variable")["sensitivity"]["day_of_week"] > 1e-3
    found = fitted.explain(future, lags_of="day_of_week", horizons=[2])
    assert found.lag_sensitivity["sensitivity"].max() > 1e-4


def test_sensitivity_is_that_of_the_steps_asked_for(lagged, future):
    def shares(rows=None, **options):
        options["max_windows"] = 12
        whole, average = lagged.explain(rows, **options), lagged.explain_average(rows, **options)
        pd.testing.assert_frame_equal(whole.importance(), average.importance(), check_dtype=False)
        return whole.importance().set_index("variable")["sensitivity"]

    # The weather of three days ago, until it is not known any more.
    assert shares(horizons=[1, 2])["weather"] > 0.1
    assert shares(horizons=[4, 7])["weather"] == 0 < shares(horizons=[4, 7])["price"]
    first = future[future["date"] == future["date"].min()]
    assert shares(first)["weather"] > 0.1


def test_forecasts_are_explained_where_one_is_made(fitted, history):
    gappy = history.copy()
    day = gappy.groupby("store").cumcount()
    gappy.loc[day.isin([27, 28, 29, 34, 50]), "sales"] = np.nan
    gappy = gappy[~day.isin([40, 41])]
    found = fitted.explain(context=gappy, max_windows=1000).forecast
    known = gappy.dropna(subset="sales")[["store", "date"]]
    cutoffs = found[["store", "cutoff"]].drop_duplicates()
    assert len(cutoffs.merge(known, left_on=["store", "cutoff"], right_on=["store", "date"])) == (
        len(cutoffs)
    )
    assert not found.empty
    for cutoff in found["cutoff"].unique()[[5, -1]]:
        rows = found[found["cutoff"] == cutoff]
        asked = rows[["store", "target_time"]].rename(columns={"target_time": "date"})
        asked = asked.merge(history[["store", "date", "price", "event"]])
        assert len(asked) == len(rows)
        past = gappy[gappy["date"] <= cutoff]
        expected = fitted.predict(asked, context=past, quantiles=[0.5])[:, 0]
        np.testing.assert_allclose(rows["median"], expected, rtol=1e-5)


def test_a_known_lag_and_known_variables_are_found(lagged):
    found = lagged.explain(max_windows=12, lags_of="weather")
    table = found.lag_sensitivity
    moved = table[table["sensitivity"] > 1e-6]
    assert set(moved["lag"]) == {3}
    assert set(moved["horizon"]) == {1, 2, 3}
    assert found.top_lags(1, "weather")["lag"].tolist() == [3]
    shares = found.importance().set_index("variable")["sensitivity"]
    assert shares["weather"] > shares["price"] > 0
    assert shares[["event", "region", "size", "day_of_week"]].abs().max() < 1e-6
    assert shares["sales"] > 0, "the forecast starts from the last known target"


def test_quantiles_and_history_are_those_of_the_model_and_of_the_data(fitted, future, history):
    found = fitted.explain(future)
    expected = fitted.predict(future, quantiles=list(found.levels))
    np.testing.assert_allclose(found.quantiles, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.quantiles[:, 4], found.median)
    table = found.history()
    assert found.target == "sales"
    assert list(table.columns) == ["store", "time", "value"]
    last = history.sort_values(["store", "date"]).groupby("store").tail(21)
    assert list(table["time"]) == list(last["date"])
    np.testing.assert_allclose(table["value"], last["sales"], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::tsfusion.exceptions.CalibrationWarning")
def test_of_a_calibrated_forecaster_the_calibrated_quantiles_are_kept_too(fitted, future, history):
    assert fitted.explain(future).calibrated is None
    model = copy.copy(fitted).calibrate()
    for rows in (future, None):
        found = model.explain(rows, max_windows=5)
        asked = future if rows is None else rows
        assert not np.allclose(found.calibrated, found.quantiles)
        assert found.calibrated.shape == found.quantiles.shape
    found = model.explain(future)
    expected = model.predict(asked, quantiles=list(found.levels))
    np.testing.assert_allclose(found.calibrated, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.quantiles, fitted.explain(future).quantiles)


def test_tables_are_had_by_name(explanation):
    pd.testing.assert_frame_equal(explanation.to_frame("selection"), explanation.selection)
    pd.testing.assert_frame_equal(explanation.to_frame("importance"), explanation.importance())
    with pytest.raises(ValueError, match="name: expected one of .* received 'weights'"):
        explanation.to_frame("weights")
    with pytest.raises(ValueError, match="ask for it"):
        explanation.to_frame("paths")


def test_the_anchor_is_the_last_known_value():
    past = np.array([[1.0, 2.0, np.nan], [np.nan] * 3, [1.0, 5.0, 3.0]])[..., None]
    assert _anchor({"past_real": past})[:, 0].tolist() == [2.0, 0.0, 3.0]


def test_pictures_take_and_return_axes(explanation):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3)
    assert explanation.plot_attention(axes[0]) is axes[0]
    assert explanation.plot_importance(axes[1]) is axes[1]
    assert explanation.plot_lag_sensitivity("weather", axes[2]) is axes[2]
    plt.close(figure)


def test_without_a_series_column(history):
    one = history[history["store"] == "s0"].drop(columns=["store", "region", "size"])
    model = FusionForecaster(
        horizon=4, context_length=10, **{**ROLES, "series": None, "static": None}, **SMALL
    ).fit(one)
    found = model.explain(max_windows=3)
    assert list(found.attention.columns)[0] == "cutoff"
    assert len(found.forecast) == 12
    assert "windows" in found.summary()


def test_series_named_like_columns_of_the_tables_are_refused(tiny, history):
    def fit(name):
        return FusionForecaster(
            horizon=2, context_length=6, time="horizon", series=["region", name], target="sales",
            known="price", **SMALL,
        ).fit(frame.rename(columns={"store": name}))  # fmt: skip

    frame = history[["region", "store", "date", "sales", "price"]]
    frame = frame.rename(columns={"date": "horizon"})
    for name, options in (
        ("cutoff", {}), ("weight", {}), ("baseline", {"methods": "attribution"}),
        ("slot", {"methods": ("memory",)}), ("q0.9", {"quantile": 0.9}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^X: the result has a column '{name}' of its own: "):
            fit(name).explain(**options)


def test_the_columns_of_all_tables_are_known():
    made = made_explanation()
    every = own_columns(METHODS, made.quantile)
    for name in TABLES[:8]:
        if name != "paths":
            table = made.to_frame(name)
            assert list(table.columns[:2]) == ["store", "cutoff"]
            assert set(table.columns[1:]) <= set(every)
    assert set(made.history().columns[1:]) <= set(every)
    plain = dataclasses.replace(made, attributed=None, quantile=0.9, value=made.median)
    bare = set(own_columns(["attention"], 0.9))
    for table in (plain.forecast, plain.attention, plain.selection, plain.history()):
        assert set(table.columns[1:]) <= bare


def test_a_column_named_like_a_calendar_variable_keeps_its_name(fitted, history, future, tmp_path):
    calendar = [*fitted._fitted.calendar.names, *fitted._fitted.calendar.real_names]
    columns = ["price", "event", "weather", "region", "size"]
    new = dict(zip(columns, [*calendar[:2], *calendar[-2:], f"{calendar[1]} (calendar)"]))
    # What the calendar's own are called then; one of the columns has such a name as well.
    old = {name: f"{name} (calendar)" for name in [*calendar[:2], *calendar[-2:]]}
    old[calendar[1]] += " (calendar)"
    roles = {
        role: [new.get(name, name) for name in names] if isinstance(names, list) else names
        for role, names in ROLES.items()
    }
    model = FusionForecaster(horizon=7, context_length=21, **roles, **SMALL)
    model.fit(history.rename(columns=new))
    rows = future.rename(columns=new)
    pd.testing.assert_frame_equal(model.forecast(rows), fitted.forecast(future))

    def named(table):
        return table.assign(variable=table["variable"].replace({**new, **old}))

    options = {"horizons": [1], "methods": ["attribution"], "baselines": 1}
    found = model.explain(rows, lags_of=[calendar[0], old[calendar[0]]], **options)
    expected = fitted.explain(future, lags_of=["price", calendar[0]], **options)
    found.save(tmp_path / "found.tsx")
    for made in (found, found.load(tmp_path / "found.tsx")):
        assert list(made.roles) == [{**new, **old}.get(name, name) for name in expected.roles]
        for name in ("importance", "selection", "attribution", "temporal_patterns", "forecast"):
            table = expected.to_frame(name)
            table = named(table) if "variable" in table else table
            pd.testing.assert_frame_equal(made.to_frame(name), table)
        keys = ["variable", "horizon", "lag"]
        table = named(expected.lag_sensitivity).sort_values(keys, ignore_index=True)
        pd.testing.assert_frame_equal(made.lag_sensitivity, table)
    groups = {"own": list(new.values()), "calendar": list(old.values())}
    shares = found.importance(groups).set_index("variable")["attribution"]
    before = {"own": columns, "calendar": list(old)}
    known = expected.importance(before).set_index("variable")["attribution"]
    pd.testing.assert_series_equal(shares[list(groups)], known[list(groups)])
    averages = (model.explain_average(rows, **options), fitted.explain_average(future, **options))
    pd.testing.assert_frame_equal(averages[0].importance(), named(averages[1].importance()))


def test_bad_requests(fitted, future, explanation):
    with pytest.raises(ValueError, match="max_windows: expected an integer >= 1"):
        fitted.explain(future, max_windows=0)
    with pytest.raises(ValueError, match="lags_of: expected variables with a past"):
        fitted.explain(lags_of="region")
    with pytest.raises(ValueError, match="No lag sensitivities"):
        _ = fitted.explain(max_windows=2).lag_sensitivity
    with pytest.raises(ValueError, match="variable: expected one of"):
        explanation.top_lags(2, "price")
    with pytest.raises(ValueError, match="variable: expected one of"):
        explanation.plot_lag_sensitivity("price")
    far = fitted.make_future_dataframe(9).assign(price=1.0, event="none")
    with pytest.raises(ValueError, match="past the horizon of 7"):
        fitted.explain(far)
    with pytest.raises(ValueError, match="not seen in fit"):
        fitted.explain(future.assign(store="other"))
