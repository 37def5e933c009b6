"""The estimator with a transformed target: forecasts in the user's units, nothing learned late."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import BeyondHorizonWarning, DataWarning, FusionForecaster
from tsfusion.data import TargetScaler
from tsfusion.data.roles import resolve_roles
from tsfusion.learning import encode
from tsfusion.quantiles import mean_of_quantiles

pytestmark = pytest.mark.usefixtures("eager")

LEVELS = [0.01, 0.1, 0.3, 0.5, 0.9, 0.99]


def make(**changes):
    settings = {"horizon": 7, "context_length": 14, "architecture": "tft", **ROLES, **SMALL}
    return FusionForecaster(**{**settings, **changes})


def skewed(frame):
    """The panel with a target that is positive, skewed and of other levels by series."""
    level = frame["store"].map({"s0": 1e-3, "s1": 1.0, "s2": 1e6})
    return frame.assign(sales=level * np.exp(frame["sales"] / 10))


@pytest.fixture(scope="module")
def history():
    frame = skewed(small_panel())
    return frame[frame["date"] < "2024-02-23"].reset_index(drop=True)


@pytest.fixture(scope="module")
def future():
    frame = small_panel()
    return frame.loc[frame["date"] >= "2024-02-23", ["store", "date", "price", "event"]]


@pytest.fixture(scope="module")
def model(history, eager):
    return make(target_transform="box-cox").fit(history)


@pytest.fixture(scope="module")
def scaler(model):
    return model._fitted.units.scaler


def with_scaler(model, scaler, target):
    """The same network, its memory's target and the transform around it exchanged."""
    other = copy.copy(model)
    units = dataclasses.replace(model._fitted.units, scaler=scaler)
    other._fitted = dataclasses.replace(model._fitted, units=units)
    other._memory = dataclasses.replace(model._memory, target=target)
    return other


@pytest.fixture(scope="module")
def inner(model, scaler):
    """The same network without a transform, on a target that was transformed by hand."""
    rows = model._memory
    z = scaler.transform(rows.target, rows.labels[rows.series])
    return with_scaler(model, None, z)


def test_quantiles_are_those_of_the_transformed_target_inverted(model, scaler, inner, future):
    inverted = scaler.inverse_transform(inner.predict(future, quantiles=LEVELS), future["store"])
    found = model.predict(future, quantiles=LEVELS)
    np.testing.assert_allclose(found, inverted, rtol=1e-9)
    assert (np.diff(found, axis=1) > 0).all()
    table = model.forecast(future, quantiles=LEVELS)
    np.testing.assert_allclose(table[[f"q{level:g}" for level in LEVELS]], inverted, rtol=1e-9)


def test_the_mean_is_that_of_the_inverted_quantiles(model, scaler, inner, future):
    trained = inner.predict(future, quantiles=model.levels_)
    trained = scaler.inverse_transform(trained, future["store"])
    mean = mean_of_quantiles(trained, model.levels_)
    np.testing.assert_allclose(model.predict(future), mean, rtol=1e-9)
    np.testing.assert_allclose(model.forecast(future)["mean"], mean, rtol=1e-9)


def test_forecasts_have_the_level_of_their_series(model, history, future):
    for store, rows in model.forecast(future).groupby("store"):
        known = history.loc[history["store"] == store, "sales"]
        assert rows["q0.5"].between(0.3 * known.min(), 3 * known.max()).all()


def test_past_the_horizon_too(model, scaler, inner):
    far = model.make_future_dataframe(16).assign(price=1.0, event="none")
    with pytest.warns(BeyondHorizonWarning):
        found = model.predict(far, quantiles=LEVELS)
    with pytest.warns(BeyondHorizonWarning):
        expected = scaler.inverse_transform(inner.predict(far, quantiles=LEVELS), far["store"])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_explained_forecast_is_that_of_predict(model, future):
    found = model.explain(future)
    expected = model.predict(future, quantiles=[0.5])[:, 0]
    np.testing.assert_allclose(found.forecast["median"], expected, rtol=1e-4)


def test_update_context_and_series_never_seen(model, scaler, history, future):
    new = history[history["store"] == "s1"].assign(store="new")
    rows = future[future["store"] == "s1"].assign(store="new")
    by_context = model.predict(rows, context=new)
    other = pickle.loads(pickle.dumps(model)).update(new)
    np.testing.assert_allclose(other.predict(rows), by_context, rtol=1e-6)
    assert (by_context > 0).all()
    assert "new" not in scaler.labels_
    np.testing.assert_allclose(other.predict(future), model.predict(future), rtol=1e-6)


def test_the_transform_learns_from_training_rows_alone(model, scaler, history):
    boundary = model._fitted.encoder.timeline.times(np.array([model._fitted.encoder.boundary]))[0]
    assert boundary < history["date"].max()
    train = history[history["date"] < boundary]
    alone = TargetScaler("box-cox").fit(train["sales"], train["store"])
    np.testing.assert_allclose(scaler.parameters_, alone.parameters_)


def test_a_scaler_of_ones_own_and_a_target_of_both_signs(history, future):
    scaler = TargetScaler("yeo-johnson", by="panel", bounds=(0, 1))
    centred = history.assign(sales=history["sales"] - history["sales"].mean())
    model = make(target_transform=scaler).fit(centred)
    assert not hasattr(scaler, "parameters_")
    assert model._fitted.units.scaler.parameters_.shape == (1, 4)
    table = model.forecast(future)
    assert (table["q0.1"] < table["q0.9"]).all()
    same = clone(model).set_params(target_transform__by="series")
    assert (same.target_transform.by, scaler.by) == ("series", "panel")


def test_levels_far_out_stay_in_the_domain(model, future):
    rows = model._memory
    small = np.where(rows.series == 0, 0.0, rows.target / 1e6)
    scaler = TargetScaler("log1p").fit(small, rows.labels[rows.series])
    found = with_scaler(model, scaler, small).predict(future, quantiles=[1e-6, 1e-3, 0.5])
    assert (found > -1).all()
    assert (np.diff(found, axis=1) > 0).all()


def test_without_rows_there_are_none(model, future):
    assert model.predict(future.iloc[:0]).shape == (0,)
    assert model.predict(future.iloc[:0], quantiles=LEVELS).shape == (0, 6)


def test_a_target_outside_the_domain_is_named_with_the_users_row(model, history, future):
    shuffled = history.sample(frac=1, random_state=1, ignore_index=True)
    row = int(shuffled.index[(shuffled["store"] == "s2") & (shuffled["date"] == "2024-02-20")][0])
    shuffled.loc[row, "sales"] = -2.0
    message = f"received -2 in series 's2' at row {row} "
    for method in ("box-cox", "log1p"):
        with pytest.raises(ValueError, match=message):
            make(target_transform=method).fit(shuffled)
    for call in (model.update, lambda frame: model.predict(future, context=frame)):
        with pytest.raises(ValueError, match=message):
            call(shuffled)
    assert (model._memory.target > 0).all()


def test_robust_columns_and_rare_categories(history):
    spoilt = history.assign(event=np.array(["a", "b", "c", "d"])[np.arange(len(history)) % 7 % 4])
    spoilt.loc[5, "weather"] = 1e9
    roles = resolve_roles(spoilt, **ROLES)
    model = make(scaler="robust", max_categories=2)
    with pytest.warns(DataWarning, match="Column 'event' has 4 categories.* 2 most frequent"):
        encoder = encode(model, spoilt, None, roles, (0.5,), 0.1).fitted.encoder
    assert encoder.vocabularies["event"].tolist() == ["a", "b"]
    assert encoder.scale["weather"] < 10


def test_parameters_are_checked(history):
    for name, bad in (
        ("target_transform", "cube"), ("scaler", "minmax"), ("max_categories", 0),
        ("holidays", 3), ("time_features", ["hour"]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"The '{name}' parameter of FusionForecaster must be"):
            make(**{name: bad}).fit(history)
