"""The estimator keeps the rules R1 to R10 of its contract, on a model too small to be good."""

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tests.conftest import JIT, ROLES, SMALL, small_panel
from tsfusion import BeyondHorizonWarning, DataWarning, FusionForecaster, SkillWarning

pytestmark = pytest.mark.usefixtures("eager")
on_every_backend = pytest.mark.backends


def make(**changes):
    return FusionForecaster(**{"horizon": 7, "context_length": 21, **ROLES, **SMALL, **changes})


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def plain(history, eager):
    """Fitted as `make()` is, with the network of `tiny`."""
    from tests.tiny import Wide
    from tsfusion.models.factory import NETWORKS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "fusion", Wide)
        return make().fit(history)


# What comes back


@on_every_backend
def test_forecast_is_a_tidy_frame(fitted, future):
    table = fitted.forecast(future)
    assert list(table.columns) == ["store", "date", "mean", "q0.1", "q0.5", "q0.9"]
    assert len(table) == 21
    assert table["store"].tolist() == ["s0"] * 7 + ["s1"] * 7 + ["s2"] * 7
    assert table["date"].dtype.kind == "M"
    assert (table["q0.1"] <= table["q0.5"]).all()
    assert (table["q0.5"] <= table["q0.9"]).all()


def test_predict_answers_in_the_order_of_its_rows(fitted, future):
    shuffled = future.sample(frac=1, random_state=3)
    straight = pd.Series(fitted.predict(future), future.index)
    close(fitted.predict(shuffled), straight[shuffled.index])


@on_every_backend
def test_predict_and_forecast_agree(fitted, future):
    table = fitted.forecast(future)
    close(fitted.predict(future), table["mean"])
    close(fitted.predict(future, quantiles=[0.1, 0.5, 0.9]), table[["q0.1", "q0.5", "q0.9"]])


def test_quantiles_not_trained_lie_between_their_neighbours(fitted, future):
    low, middle, high = fitted.predict(future, quantiles=[0.5, 0.55, 0.6]).T
    assert (low < middle).all()
    assert (middle < high).all()
    extreme = fitted.predict(future, quantiles=[0.01, 0.1, 0.9, 0.99])
    assert (np.diff(extreme, axis=1) > 0).all()


@on_every_backend
@pytest.mark.heavy
def test_a_row_in_the_past_gets_the_one_step_forecast_from_the_row_before(fitted, history):
    row = history[(history["store"] == "s1") & (history["date"] == "2024-02-10")]
    before = history[(history["store"] == "s1") & (history["date"] < "2024-02-10")]
    backcast = fitted.predict(row)
    table = fitted.forecast(row[["store", "date", "price", "event"]], context=before)
    close(backcast, table["mean"])


def test_answers_do_not_depend_on_the_batch(fitted, history):
    together = fitted.predict(history)
    alone = np.concatenate([fitted.predict(history.iloc[[i]]) for i in (0, 20, 60, 130)])
    close(together[[0, 20, 60, 130]], alone)
    few = fitted.predict(history.iloc[:100])
    np.testing.assert_allclose(few[[0, 20, 60]], alone[:3], rtol=1e-12)


# No leakage


@on_every_backend
@pytest.mark.heavy
def test_nothing_after_a_cutoff_changes_a_forecast_made_at_it(fitted, history):
    cutoff = pd.Timestamp("2024-02-01")
    rows = history[history["date"] <= cutoff + pd.Timedelta(days=1)]
    later = history["date"] > cutoff
    changed = history.copy()
    changed.loc[later, "sales"] = 1e6
    changed.loc[later, "weather"] = -1e6
    usual = fitted.predict(rows, context=history)
    perturbed = fitted.predict(rows, context=changed)
    np.testing.assert_array_equal(usual, perturbed)


def test_predict_never_reads_the_target_or_observed_columns_of_its_rows(fitted, panel, future):
    rows = panel.loc[future.index]
    poisoned = rows.assign(sales=np.nan, weather=1e9)
    np.testing.assert_array_equal(fitted.predict(rows), fitted.predict(poisoned))
    np.testing.assert_array_equal(fitted.predict(rows), fitted.predict(future))


@on_every_backend
def test_a_known_future_value_changes_its_own_and_later_steps_only(fitted, future):
    changed = future.copy()
    at = (changed["store"] == "s1") & (
        changed["date"] == changed["date"].min() + pd.Timedelta("3D")
    )
    changed.loc[at, "price"] = 9.0
    difference = np.abs(fitted.forecast(future)["mean"] - fitted.forecast(changed)["mean"])
    moved = difference.to_numpy().reshape(3, 7) > 1e-6
    assert not moved[[0, 2]].any()
    assert not moved[1, :3].any()
    assert moved[1, 3]


def test_encoders_learn_from_training_rows_alone(tiny, history):
    changed = history.copy()
    late = changed["date"] >= changed["date"].max() - pd.Timedelta(days=4)
    changed.loc[late, "price"] = 1e6
    changed.loc[late, "event"] = "surprise"
    usual, other = make().fit(history), make().fit(changed)
    assert usual._fitted.encoder.location == other._fitted.encoder.location
    assert "surprise" not in other._fitted.encoder.vocabularies["event"]
    for a, b in zip(usual.model_.get_weights(), other.model_.get_weights()):
        np.testing.assert_array_equal(a, b)


# Determinism, copies


def test_a_compiled_fit_is_the_eager_one_without_a_word(fitted, compiled, capfd, history, future):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Of two steps it has learned nothing, and says so.
        warnings.simplefilter("ignore", SkillWarning)
        found = make(verbose=0).fit(history).forecast(future)["mean"]
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch" not in err
    close(found, fitted.forecast(future)["mean"], 1e-4)


@on_every_backend
@pytest.mark.heavy
def test_the_same_seed_gives_the_same_numbers(tiny, history, future):
    a, b = make().fit(history), make().fit(history)
    np.testing.assert_array_equal(a.predict(future), b.predict(future))
    c = make(random_state=1).fit(history)
    assert np.abs(a.predict(future) - c.predict(future)).max() > 0


def test_fit_leaves_the_global_random_states_alone(tiny, history):
    import random

    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    make().fit(history)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@on_every_backend
@pytest.mark.heavy
def test_pickle_gives_the_same_forecasts(fitted, future):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(future), fitted.predict(future))
    close(copy.deepcopy(fitted).predict(future), fitted.predict(future))


def test_clone_has_the_parameters_and_nothing_learned(fitted):
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    assert not hasattr(twin, "model_")


def test_a_failed_fit_leaves_a_fitted_estimator_as_it_was(fitted, history, future):
    model = copy.deepcopy(fitted)
    usual = model.predict(future)
    with pytest.raises(ValueError, match="not there"):
        model.fit(history.drop(columns="price"))
    np.testing.assert_array_equal(model.predict(future), usual)

    import keras

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model.set_params(callbacks=Interrupt())
    with pytest.raises(KeyboardInterrupt):
        model.fit(history)
    np.testing.assert_array_equal(model.predict(future), usual)


# R1 time


def test_time_may_be_an_index(tiny, history, future, plain):
    indexed = make(time=None).fit(history.set_index("date"))
    np.testing.assert_array_equal(indexed.predict(future.set_index("date")), plain.predict(future))
    two = make(time=None, series=None).fit(history.set_index(["store", "date"]))
    np.testing.assert_array_equal(
        two.predict(future.set_index(["store", "date"])), plain.predict(future)
    )
    assert two.make_future_dataframe(2).index.names == ["store", "date"]


def test_the_only_datetime_column_is_the_time(tiny, history, future, plain):
    model = make(time=None).fit(history)
    np.testing.assert_array_equal(model.predict(future), plain.predict(future))


def test_without_a_time_rows_follow_directly_after_the_fitted_ones(tiny):
    y = np.sin(np.arange(80) / 3)
    X = np.zeros((80, 1))
    model = FusionForecaster(horizon=5, context_length=10, **SMALL).fit(X, y)
    assert model.predict(X[:5]).shape == (5,)
    close(model.predict(X[:3]), model.forecast(pd.DataFrame(X[:3]))["mean"])
    more = model.predict(X[:1], context=None)
    model.update(X[:1], y[:1])
    assert model.predict(X[:1]) != more


@pytest.mark.parametrize("kind", ["integer", "float", "period", "zone", "month"])
def test_times_of_every_kind(tiny, kind):
    n = 48
    times = {
        "integer": np.arange(n) * 5 + 100,
        "float": np.arange(n) * 0.5,
        "period": pd.period_range("2020-01", periods=n, freq="M"),
        "zone": pd.date_range("2024-03-30", periods=n, freq="h", tz="Europe/Berlin"),
        "month": pd.date_range("2020-01-31", periods=n, freq="ME"),
    }[kind]
    frame = pd.DataFrame({"t": times, "y": np.sin(np.arange(n))})
    model = FusionForecaster(horizon=4, context_length=8, time="t", target="y", **SMALL).fit(
        frame[:40]
    )
    table = model.forecast()
    assert table["t"].dtype == frame["t"].dtype
    assert table["t"].tolist() == frame["t"][40:44].tolist()


# R3, R4


def test_columns_without_a_role_are_known_unless_known_is_given(tiny, history):
    model = make(known=None, max_epochs=1).fit(history)
    assert set(model._fitted.encoder.roles.known) == {"price", "event"}
    with pytest.warns(DataWarning, match="event"):
        model = make(known="price").fit(history)
    assert model._fitted.encoder.roles.known == ("price",)


def test_a_category_never_seen_is_answered(fitted, future):
    values = fitted.predict(future.assign(event="carnival"))
    assert np.isfinite(values).all()


def test_static_values_are_remembered(fitted, future, panel):
    rows = panel.loc[future.index]
    np.testing.assert_array_equal(fitted.predict(rows), fitted.predict(future))


# R5, R6 memory


def test_update_and_context_give_equal_answers(fitted, panel, history, future):
    new = panel.loc[future.index]
    late = future[["store", "date"]].assign(date=future["date"] + pd.Timedelta(days=7))
    late = late.assign(price=1.0, event="none")
    updated = copy.deepcopy(fitted).update(new)
    context = pd.concat([history, new])
    close(updated.predict(late), fitted.predict(late, context=context), 1e-6)


def test_series_that_came_later_stand_where_their_labels_do(tiny):
    frame = small_panel(n_series=4, n_steps=40).drop(columns=["price", "event"])
    names = {**ROLES, "known": None}
    model = FusionForecaster(3, context_length=14, **{**names, **SMALL})
    model.fit(frame[frame["store"] != "s1"]).update(frame[frame["store"] == "s1"])
    assert model.series_.tolist() == ["s0", "s2", "s3", "s1"]
    model.calibrate(frame[frame["date"] > frame["date"].max() - pd.Timedelta(days=10)], window=3)
    stores = ["s0", "s1", "s2", "s3"]
    found = model.forecast()
    assert found["store"].tolist() == list(np.repeat(stores, 3))
    assert found["date"].is_monotonic_increasing is False
    for store in stores:
        own = frame[frame["store"] == store]
        alone = model.forecast(context=own)
        part = found[found["store"] == store].reset_index(drop=True)
        assert part["date"].tolist() == alone["date"].tolist()
        close(part["mean"], alone["mean"], 1e-6)
    assert model.make_future_dataframe()["store"].tolist() == list(np.repeat(stores, 3))
    paths = model.simulate(n_paths=2, random_state=0)
    assert paths["store"].tolist() == list(np.repeat(stores, 6))
    changed = model.what_if({"weather": 0.0}, horizon=1, quantiles=[0.5])
    assert changed["store"].tolist() == list(np.repeat(stores, 2))
    for part in (paths, changed):
        assert (
            part.groupby("store")["date"].min() == frame["date"].max() + pd.Timedelta(days=1)
        ).all()


def test_update_replaces_rows_already_known(fitted, history, future):
    twice = copy.deepcopy(fitted).update(history)
    close(twice.predict(future), fitted.predict(future), 1e-6)
    changed = history.assign(sales=history["sales"] + 5)
    assert (
        np.abs(copy.deepcopy(fitted).update(changed).predict(future) - fitted.predict(future)).min()
        > 1
    )


def test_an_unseen_series_is_answered_with_its_history(fitted, history, future):
    mine = history[history["store"] == "s0"].assign(store="new")
    rows = future[future["store"] == "s0"].assign(store="new")
    with pytest.raises(ValueError, match="series 'new' was not seen in fit"):
        fitted.predict(rows)
    answer = fitted.predict(rows, context=mine)
    # All but equal: the usual spread of a series stands in for its own, as one of 22 values.
    close(answer, fitted.predict(future[future["store"] == "s0"]), 5e-3)
    table = fitted.forecast(rows, context=mine)
    assert table["store"].unique().tolist() == ["new"]
    updated = copy.deepcopy(fitted).update(mine)
    close(updated.predict(rows), answer)
    assert "new" in updated.series_


def test_series_of_another_type_are_explained(tiny):
    frame = small_panel().assign(store=lambda f: f["store"].str[1:].astype(int))
    model = make().fit(frame)
    rows = model.make_future_dataframe(1).assign(price=1.0, event="none")
    with pytest.raises(ValueError, match=r"'1' is not 1"):
        model.predict(rows.assign(store="1"))


def test_history_of_a_series_of_another_type_is_refused(tiny):
    frame = small_panel().assign(store=lambda f: f["store"].str[1:].astype(int))
    old, late = frame[frame["date"] < "2024-02-20"], frame[frame["date"] >= "2024-02-20"]
    model = make().fit(old)
    as_text = late.assign(store=late["store"].astype(str))
    message = (
        r"series '0' was not seen in fit \('0' is not 0: the types differ\), nor were 2 others. "
        "Convert the labels"
    )
    for kind, use in (
        ("X", model.update), ("X", model.calibrate),
        ("context", lambda X: model.forecast(late, context=X)),
        ("context", lambda X: model.explain(late, context=X)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{kind}: {message}"):
            use(as_text)
    with pytest.raises(ValueError, match=r"unseen series '0' \('0' is not 0: the types differ\)"):
        model.update(as_text.drop(columns="size"))
    assert model.series_.tolist() == [0, 1, 2]
    # What is new, of whatever type, may come in.
    new = late[late["store"] == 0].assign(store="north")
    assert model.update(pd.concat([late, new])).series_.tolist() == [0, 1, 2, "north"]
    with pytest.raises(ValueError, match="'2' is not 2"):
        model.update(as_text[as_text["store"] == "2"])


def test_history_of_several_series_columns_of_another_type_is_refused(tiny):
    frame = small_panel().assign(number=lambda f: f["store"].str[1:].astype(int))
    model = make(series=["region", "number"], static=None).fit(frame)
    as_text = frame.assign(number=frame["number"].astype(str))
    with pytest.raises(ValueError, match=r"\('north', '0'\) is not \('north', 0\): the types"):
        model.update(as_text)
    assert len(model.update(frame.assign(number=frame["number"] + 3)).series_) == 6


@pytest.mark.parametrize(
    ("method", "role", "name"),
    [
        ("forecast", "series", "mean"),
        ("forecast", "series", "q0.5"),
        ("forecast", "time", "mean"),
        ("simulate", "series", "path"),
        ("simulate", "time", "value"),
        ("anomaly_scores", "target", "score"),
        ("anomaly_scores", "series", "expected"),
        ("anomaly_scores", "time", "p_value"),
        ("anomaly_scores", "target", "anomaly"),
        ("what_if", "series", "statistic"),
        ("what_if", "time", "difference"),
    ],
)
def test_columns_named_like_those_of_a_result_are_refused(tiny, history, method, role, name):
    roles = {"series": "store", "time": "date", "target": "sales"}
    frame = history[[*roles.values(), "price"]].rename(columns={roles[role]: name})
    roles = {**roles, role: name, "known": "price"}
    model = FusionForecaster(horizon=2, context_length=6, **roles, **SMALL).fit(frame).calibrate()
    # Before the rows are read: this is no table.
    given = {"price": 1.0} if method == "what_if" else object()
    with pytest.raises(
        ValueError, match=f"^X: the result has a column '{name}' of its own: rename"
    ):
        getattr(model, method)(given)
    rows = model.make_future_dataframe().assign(price=1.0)
    assert np.isfinite(model.predict(rows)).all()
    if method != "forecast":
        keys = [roles["series"], roles["time"]]
        pd.testing.assert_frame_equal(model.uncalibrate().forecast(rows)[keys], rows[keys])


def test_names_that_we_give_to_the_time_are_kept_apart_too(tiny):
    times = pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame({"y": np.sin(np.arange(60))}, index=times)
    options = {"horizon": 2, "context_length": 6, **SMALL}
    # An index without a name goes by "time", rows without a time by "step".
    model = FusionForecaster(target="time", **options).fit(frame.set_axis(["time"], axis=1))
    with pytest.raises(ValueError, match="the result has a column 'time' of its own"):
        model.calibrate().anomaly_scores(frame)
    model = FusionForecaster(target="step", **options)
    model.fit(frame.set_axis(["step"], axis=1).reset_index(drop=True))
    with pytest.raises(ValueError, match="the result has a column 'step' of its own"):
        model.calibrate().anomaly_scores(frame)
    index = pd.MultiIndex.from_product([["a", "b"], times], names=["time", None])
    model = FusionForecaster(target="y", **options)
    model.fit(pd.DataFrame({"y": np.sin(np.arange(120))}, index=index))
    with pytest.raises(ValueError, match="the result has a column 'time' of its own"):
        model.forecast()


# R7 past the horizon


@on_every_backend
@pytest.mark.heavy
def test_past_the_horizon(fitted, history):
    rows = fitted.make_future_dataframe(16).assign(price=1.0, event="none")
    with pytest.warns(BeyondHorizonWarning, match="27 rows lie past the horizon of 7"):
        values = fitted.predict(rows, quantiles=[0.1, 0.5, 0.9])
    assert np.isfinite(values).all()
    width = (values[:, 2] - values[:, 0]).reshape(3, 16)
    assert (width[:, 7] > width[:, 0]).all()
    nan = copy.copy(fitted).set_params(beyond="nan")
    with pytest.warns(BeyondHorizonWarning):
        assert np.isnan(nan.predict(rows)).sum() == 27
    strict = copy.copy(fitted).set_params(beyond="raise")
    with pytest.raises(ValueError, match="past the horizon"):
        strict.predict(rows)
    assert len(strict.predict(rows[rows.groupby("store").cumcount() < 7])) == 21


# R8 gaps


def test_gaps_missing_targets_and_short_series(panel):
    gappy = panel.drop(index=[5, 6, 40, 80, 81, 82]).copy()
    gappy.loc[gappy.index[30:34], "sales"] = np.nan
    gappy.loc[gappy.index[50:60], "weather"] = np.nan
    short = gappy[gappy["store"] == "s0"].tail(2).assign(store="tiny")
    gappy = pd.concat([gappy, short])
    model = make().fit(gappy)
    assert np.isfinite(model.history_["loss"]).all()
    future = model.make_future_dataframe().assign(price=1.0, event="none")
    assert np.isfinite(model.forecast(future)[["mean", "q0.1", "q0.9"]]).all(axis=None)
    assert np.isfinite(model.predict(gappy)).all()


def test_forecast_starts_after_the_last_known_target(tiny, panel, future):
    frame = panel.copy()
    frame.loc[future.index, ["sales", "weather"]] = np.nan
    model = make().fit(frame)
    table = model.forecast()
    assert table["date"].min() == future["date"].min()
    close(table["mean"], model.predict(future))


# R9, R10, other inputs


def test_every_row_one_step(tiny):
    days = pd.bdate_range("2024-01-01", periods=90)
    days = days.delete([10, 11, 40])
    frame = pd.DataFrame({"day": days, "y": np.arange(87) % 5.0})
    model = FusionForecaster(
        horizon=5, context_length=10, time="day", target="y", freq="rows", **SMALL
    ).fit(frame)
    table = model.forecast()
    assert (table["day"] > days[-1]).all()
    close(model.predict(table[["day"]]), table["mean"])
    late = pd.DataFrame({"day": [days[-1] + pd.Timedelta("3D"), days[-1] + pd.Timedelta("9D")]})
    assert np.isfinite(model.predict(late)).all()
    assert np.isfinite(model.predict(frame)).all()


def test_an_array_where_names_are_needed_says_how_to_get_a_frame(history):
    with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\)"):
        make().fit(history.to_numpy())


def test_polars_and_pyarrow_frames(tiny, history, future, plain):
    model = make().fit(pl.from_pandas(history))
    usual = plain.predict(future)
    close(model.predict(pl.from_pandas(future)), usual)
    close(model.predict(pl.from_pandas(future).to_arrow()), usual)


def test_several_series_columns(tiny):
    frame = small_panel()
    frame["item"] = "a"
    frame = pd.concat([frame, frame.assign(item="b")])
    model = make(series=["store", "item"]).fit(frame)
    future = model.make_future_dataframe(2).assign(price=1.0, event="none")
    table = model.forecast(future)
    assert list(table.columns[:3]) == ["store", "item", "date"]
    assert len(table) == 12


def test_row_weights_change_the_fit(tiny, history):
    heavy = history.assign(w=np.where(history["store"] == "s0", 1.0, 0.0))
    a = make(weight="w").fit(heavy)
    b = make().fit(history)
    assert any(
        not np.array_equal(x, y) for x, y in zip(a.model_.get_weights(), b.model_.get_weights())
    )


def test_a_tail_that_weighs_nothing_is_none(tiny, history):
    late = history["date"] > history["date"].max() - pd.Timedelta(days=12)
    weighed = history.assign(w=np.where(late, 0.0, 1.0))
    with pytest.warns(DataWarning, match="^Weight column 'w': all rows of the validation tail"):
        found = make(weight="w").fit(weighed)
    assert found._fitted.encoder.boundary is None
    assert "val_loss" not in found.history_
    expected = make(weight="w", validation_size=0).fit(weighed)
    assert found.history_["loss"] == expected.history_["loss"]
    for one, two in zip(found.model_.get_weights(), expected.model_.get_weights()):
        np.testing.assert_array_equal(one, two)
    # A weight in the tail is enough.
    weighed.loc[weighed.index[-1], "w"] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        assert make(weight="w").fit(weighed)._fitted.encoder.boundary is not None


@pytest.mark.parametrize("validation_size", [0, 0.2])
def test_rows_that_weigh_nothing_teach_nothing(history, validation_size):
    message = "^Weight column 'w': expected a number above 0 in some training row"
    with pytest.raises(ValueError, match=message):
        make(weight="w", validation_size=validation_size).fit(history.assign(w=0.0))


def test_a_loss_optimizer_and_callbacks_of_keras_pass_through(tiny, history):
    import keras

    seen = []

    class Count(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(epoch)

    optimizer = keras.optimizers.SGD(1e-3)
    model = make(optimizer=optimizer, callbacks=[Count()], loss="mse", max_epochs=2).fit(history)
    assert seen == [0, 1]
    assert not optimizer.built
    assert np.isfinite(model.history_["loss"]).all()
    assert make(optimizer="adamw").fit(history).history_["loss"]


def test_a_constant_target_and_extreme_scales_stay_finite():
    for scale in (0.0, 1e-9, 1e12):
        frame = small_panel()
        frame["sales"] = frame["sales"] * scale
        model = make().fit(frame)
        values = model.predict(frame)
        assert np.isfinite(values).all()
        assert np.isfinite(model.history_["loss"]).all()
        if scale:
            assert np.abs(values - frame["sales"]).mean() <= 30 * scale


@pytest.mark.parametrize("offset", [1e9, 1e10])
def test_a_large_offset_costs_no_precision(tiny, offset):
    frame = small_panel()
    frame["sales"] /= 100  # a spread of 1e-10 of the level and less
    usual = make(known="price").set_params(known=["price", "event"]).fit(frame)
    far = make().fit(frame.assign(sales=frame["sales"] + offset))
    rows = usual.make_future_dataframe().assign(price=1.0, event="none")
    close(far.predict(rows) - offset, usual.predict(rows), 1e-3)


# Bad input: one clear error before any work


BAD = {
    "an empty frame": (lambda f: f[:0], {}, "empty"),
    "a horizon below one": (lambda f: f, {"horizon": 0}, "horizon"),
    "an unknown architecture": (lambda f: f, {"architecture": "lstm"}, "architecture"),
    "heads that do not divide": (lambda f: f, {"num_heads": 3}, "divisor of hidden_size=8"),
    "a quantile outside": (lambda f: f, {"quantiles": (0.5, 1.0)}, "between 0 and 1"),
    "no time, rows shuffled": (
        lambda f: f[f["store"] == "s0"].drop(columns="date").sample(frac=1, random_state=0),
        {"time": None, "series": None, "static": None},
        "rows look shuffled",
    ),
    "a panel without series": (lambda f: f, {"series": None, "static": None}, r"pass series="),
    "duplicates": (
        lambda f: pd.concat([f, f.iloc[[70]]]),
        {},
        r"Series 's1' has more than one row at time 2024-01-",
    ),
    "a column not there": (lambda f: f, {"known": ["prize"]}, "Did you mean 'price'"),
    "a prefix": (
        lambda f: f.rename(columns={"date": "remainder__date"}),
        {},
        "Did you mean 'remainder__date'",
    ),
    "NaN in a known column": (
        lambda f: f.assign(price=f["price"].where(f.index != 17)),
        {},
        "Known column 'price'.*row 17",
    ),
    "infinity in a static column": (
        lambda f: f.assign(size=np.inf),
        {},
        "infinity.*static column 'size'",
    ),
    "infinity in the target": (
        lambda f: f.assign(sales=f["sales"].where(f.index != 3, np.inf)),
        {},
        "infinity.*'sales', row 3",
    ),
    "text as target": (lambda f: f.assign(sales="many"), {}, "expected numbers, received"),
    "text as time": (lambda f: f.assign(date=f["date"].astype(str)), {}, "pd.to_datetime"),
    "irregular times": (
        lambda f: f.assign(date=f["date"] + pd.to_timedelta(f.index**2 % 7, unit="min")),
        {},
        "irregular",
    ),
    "a date as a feature": (
        lambda f: f.assign(price=f["date"]),
        {},
        "Known column 'price': expected numbers or categories",
    ),
    "a static that varies": (
        lambda f: f.assign(size=np.arange(len(f)) * 1.0),
        {},
        "Static column 'size' varies within series 's0'",
    ),
    "a column with two roles": (lambda f: f, {"static": ["price"]}, "one\\s+role"),
    "no target": (lambda f: f, {"target": None}, "No target"),
    "one row": (lambda f: f[:1], {}, "freq|minimum of 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_to_fit(case, history):
    change, parameters, message = BAD[case]
    with pytest.raises((ValueError, TypeError), match=message):
        make(**parameters).fit(change(history))


def test_y_in_another_order_than_X(history):
    y = history["sales"].sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match="y is in another order than X"):
        make(target=None).fit(history.drop(columns="sales"), y)


def test_a_y_with_an_index_goes_with_rows_that_have_none(tiny, history):
    rows, y = history.drop(columns="sales"), history["sales"]
    usual = make(target=None).fit(rows, y)
    shifted = y.set_axis(np.arange(len(y))[::-1])
    model = make(target=None).fit(pl.from_pandas(rows), shifted)
    for a, b in zip(usual.model_.get_weights(), model.model_.get_weights()):
        np.testing.assert_array_equal(a, b)
    model.update(pl.from_pandas(rows), shifted)


def test_windows_that_roll_different_lengths_do_not_disturb_each_other(fitted):
    rows = fitted.make_future_dataframe(16).assign(price=1.0, event="none")
    place = rows.groupby("store").cumcount()
    uneven = rows[(rows["store"] == "s1") | (place < 3)]
    with pytest.warns(BeyondHorizonWarning):
        together = pd.Series(fitted.predict(rows), rows.index)
    with pytest.warns(BeyondHorizonWarning):
        alone = fitted.predict(uneven)
    close(alone, together[uneven.index])


def test_before_fit(future):
    for call in ("predict", "forecast", "update", "explain", "make_future_dataframe"):
        with pytest.raises(NotFittedError):
            getattr(make(), call)(*([future] if call in ("predict", "update") else []))


def test_bad_futures(fitted, future):
    with pytest.raises(ValueError, match="expected the known column 'price', which is not there"):
        fitted.forecast(future.drop(columns="price"))
    with pytest.raises(ValueError, match=r"Missing future values of the known columns \['price'"):
        fitted.forecast()
    with pytest.raises(ValueError, match="starts at .*, expected 2024-02-23"):
        fitted.forecast(future.assign(date=future["date"] + pd.Timedelta(days=1)))
    with pytest.raises(ValueError, match="Skipped steps in series 's0'.*2024-02-23"):
        fitted.predict(future[future["date"] > future["date"].min()])
    with pytest.raises(ValueError, match="horizon: expected an integer >= 1"):
        fitted.forecast(future, horizon=0)
    with pytest.raises(TypeError, match="expected times without a zone"):
        fitted.predict(future.assign(date=future["date"].dt.tz_localize("UTC")))
    with pytest.raises(TypeError, match="expected datetimes as in fit"):
        fitted.predict(future.assign(date=np.arange(len(future))))


def test_progress_lines_go_to_standard_error(tiny, capfd, history):
    make(verbose=2).fit(history)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1/1" in err


def test_import_is_light():
    code = (
        "import sys, tsfusion; "
        "heavy = {'keras', 'tensorflow', 'pandas', 'sklearn', 'jax', 'torch'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr == ""


@pytest.mark.heavy
@pytest.mark.backends
def test_the_published_network_serves_as_well(history, future):
    model = FusionForecaster(horizon=7, context_length=9, architecture="tft", **ROLES, **SMALL)
    model.fit(history)
    table = model.forecast(future)
    assert len(table) == 21
    assert table.notna().all(axis=None)
    assert set(model.explain(future).attention["branch"]) == {"all"}
    twin = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(twin.forecast(future), table)


@pytest.mark.heavy
@pytest.mark.backends
def test_an_ensemble_is_the_mean_of_what_its_seeds_give(history, future):
    parameters = {**ROLES, **SMALL, "horizon": 7, "context_length": 9}
    both = FusionForecaster(**parameters, n_estimators=2).fit(history)
    first = FusionForecaster(**parameters).fit(history)
    assert len(both.histories_) == 2
    assert both.history_ == both.histories_[0] == first.history_
    assert both.histories_[0] != both.histories_[1]
    half = len(both.model_.get_weights()) // 2
    for one, two in zip(both.model_.get_weights()[:half], first.model_.get_weights()):
        np.testing.assert_array_equal(one, two)
    asked = {"quantiles": [0.3]}
    mean = both.predict(future, **asked)
    assert not np.allclose(mean, first.predict(future, **asked))
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(both)).predict(future, **asked), mean, rtol=1e-6
    )
    attention = both.explain(future).attention
    keys = ["store", "cutoff", "horizon", "branch", "head"]
    np.testing.assert_allclose(attention.groupby(keys)["weight"].sum(), 1, atol=1e-5)


def test_the_windows_of_the_fusion_network(history):
    parameters = {**ROLES, **SMALL, "horizon": 7}
    model = FusionForecaster(**parameters, long_window=30, short_window=10).fit(history)
    assert model.context_length_ == 30
    network = model.model_.network
    assert (network.long_window, network.short_window) == (30, 10)
    with pytest.raises(ValueError, match="two names for one thing"):
        FusionForecaster(**parameters, context_length=20, long_window=30).fit(history)
    with pytest.raises(ValueError, match="at most the 30 steps seen in all, received 31"):
        FusionForecaster(**parameters, long_window=30, short_window=31).fit(history)


def test_a_memory_is_trained_with_the_rest(history, future):
    model = FusionForecaster(horizon=7, context_length=9, memory_size=4, **ROLES, **SMALL)
    model.fit(history)
    assert model.model_.network.memory.memory.shape == (4, 8)
    assert np.isfinite(model.predict(future)).all()


def test_a_warm_start_goes_on_from_the_present_weights(tiny, history, future):
    parameters = {**ROLES, **SMALL, "horizon": 7, "context_length": 9}
    model = FusionForecaster(**parameters, n_estimators=2, warm_start=True).fit(history)
    before = model.predict(future)
    encoder = model._fitted.encoder
    other = history[history["store"] != "s1"].assign(sales=lambda frame: frame["sales"] + 5)
    model.set_params(learning_rate=1e-9, averaging=0.0).fit(other)
    assert model._fitted.encoder.vocabularies is encoder.vocabularies
    assert list(model.series_) == ["s0", "s2"]
    moved = model.predict(future[future["store"] != "s1"])
    np.testing.assert_allclose(moved, before[(future["store"] != "s1").to_numpy()] + 5, rtol=1e-3)
    model.set_params(learning_rate=1e-2).fit(history)
    assert np.abs(model.predict(future) - before).max() > 1e-3
    for change, message in (
        ({"hidden_size": 16}, "hidden_size changed from 8 to 16"),
        ({"n_estimators": 3}, "members changed from 2 to 3"),
        ({"horizon": 3}, "horizon changed from 7 to 3"),
        ({"observed": [], "known": ["price", "event", "weather"]}, "the known columns changed"),
    ):
        twin = pickle.loads(pickle.dumps(model)).set_params(**change)
        with pytest.raises(ValueError, match=message):
            twin.fit(history)
    model.set_params(warm_start=False, hidden_size=16).fit(history)
    assert np.isfinite(model.predict(future)).all()


@pytest.mark.skipif(JIT is None, reason="JAX always compiles")
def test_a_fit_with_xla_forecasts_without_it(history, future):
    parameters = {**ROLES, **SMALL, "jit_compile": True}
    model = FusionForecaster(horizon=7, context_length=9, **parameters).fit(history)
    assert not model.model_.jit_compile
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict(future), model.predict(future))


def test_a_series_without_any_target_is_named(panel, tiny, eager):
    table = panel[["date", "store", "sales"]]
    table = table.assign(sales=table["sales"].where(table["store"] != "s1"))
    named = {"time": "date", "series": "store", "target": "sales"}
    model = FusionForecaster(horizon=7, context_length=21, **named, **SMALL)
    with pytest.warns(DataWarning, match=r"^1 of 3 series have no known target, .* 's1'"):
        model.fit(table)
    message = r"Series 's1' has no known target \(1 such series\).*leave its rows out"
    with pytest.raises(ValueError, match=message):
        model.forecast()
