"""The estimator inside scikit-learn: its own checks, pipelines, searches and meta-estimators."""

import os

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import VotingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.conftest import SMALL, small_panel
from tsfusion import FusionForecaster, PanelSplit

NAMES = {"time": "date", "series": "store"}
# Enough training for scikit-learn's least score on its own regression data.
CHECKED = {
    "horizon": 1, "context_length": 24, "hidden_size": 8, "batch_size": 32, "dropout": 0,
    "validation_size": 0, "max_epochs": 15, "averaging": 0.9, "jit_compile": False,
    "verbose": 0,
}  # fmt: skip
ORDER_IS_TIME = "without a time column the order of the rows is the time"


def expected_failures(estimator):
    if estimator.time is not None:
        return {}
    return {
        "check_methods_sample_order_invariance": ORDER_IS_TIME,
        "check_methods_subset_invariance": ORDER_IS_TIME,
    }


@pytest.mark.slow
@pytest.mark.backends
@pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND") != "torch",
    reason="some 300 fits: minutes on backends that compile; KERAS_BACKEND=torch runs them",
)
@parametrize_with_checks(
    # Without times the rows lie after those trained on: eight at a time are rolled forward.
    [
        FusionForecaster(time=0, freq="rows", **CHECKED),
        FusionForecaster(**{**CHECKED, "horizon": 8}),
    ],
    expected_failed_checks=expected_failures,
)
def test_passes_the_checks_of_scikit_learn(estimator, check, monkeypatch):
    # Epochs of all windows once: the 300 fits take a fifth of the time.
    monkeypatch.setattr("tsfusion.training.fit._LEAST_STEPS", 1)
    check(estimator)


@pytest.fixture(scope="module")
def table():
    return small_panel(n_series=2, n_steps=40).drop(columns=["region", "size"])


@pytest.fixture(scope="module")
def X(table):
    return table[["store", "date", "price", "event"]]


@pytest.fixture(scope="module")
def y(table):
    return table["sales"].rename("y")


def small(**kwargs):
    return FusionForecaster(**{"horizon": 5, "context_length": 6, **SMALL, **kwargs})


def late(X, days=5):
    return X["date"] > X["date"].max() - pd.Timedelta(days=days)


def test_a_pipeline_scales_columns_before_it(eager, tiny, X, y):
    columns = ColumnTransformer(
        [("price", StandardScaler(), ["price"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipe = make_pipeline(columns, small(**NAMES))
    test = late(X)
    pipe.fit(X[~test], y[~test])
    forecast = pipe.predict(X[test])
    assert forecast.shape == (10,)
    assert np.isfinite(forecast).all()
    shuffled = X[test].sample(frac=1, random_state=0)
    by_row = pd.Series(forecast, X.index[test])
    np.testing.assert_allclose(pipe.predict(shuffled), by_row[shuffled.index], rtol=1e-6)
    assert list(pipe[-1].feature_names_in_) == ["price", "store", "date", "event"]


def test_a_pipeline_of_arrays_has_columns_by_number(eager, tiny, X, y):
    numbers = X.assign(date=(X["date"] - X["date"].min()).dt.days, store=X["store"].factorize()[0])
    numbers = numbers[["store", "date", "price"]].to_numpy(float)
    pipe = make_pipeline(FunctionTransformer(), small(time=1, series=0))
    test = late(X).to_numpy()
    forecast = pipe.fit(numbers[~test], y[~test].to_numpy()).predict(numbers[test])
    assert np.isfinite(forecast).all()


def test_names_for_an_array_get_the_advice_to_keep_names(eager, tiny, X, y):
    columns = ColumnTransformer([("price", StandardScaler(), ["price"])], remainder="passthrough")
    with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\)"):
        make_pipeline(columns, small(**NAMES)).fit(X, y)


def test_grid_search_by_time(eager, tiny, X, y):
    split = PanelSplit(n_splits=2, horizon=5, **NAMES)
    search = GridSearchCV(
        small(**NAMES), {"hidden_size": [4, 8]}, cv=split, scoring="neg_mean_absolute_error"
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.hidden_size == search.best_params_["hidden_size"]
    assert search.predict(X).shape == (len(X),)


def test_randomized_search_by_time(eager, tiny, X, y):
    search = RandomizedSearchCV(
        small(**NAMES), {"dropout": [0.0, 0.1, 0.2]}, n_iter=2, random_state=0,
        cv=PanelSplit(n_splits=2, horizon=5, **NAMES),
    ).fit(X, y)  # fmt: skip
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_halving_search_takes_epochs_for_its_resource(eager, tiny, X, y):
    search = HalvingGridSearchCV(
        small(**NAMES), {"hidden_size": [4, 8]}, resource="max_epochs", min_resources=1,
        max_resources=2, factor=2, cv=PanelSplit(n_splits=2, horizon=5, **NAMES),
    ).fit(X, y)  # fmt: skip
    assert search.n_resources_ == [1, 2]
    assert search.best_estimator_.max_epochs == 2


def test_cross_validation_of_positional_rows(eager, tiny, y):
    X = np.arange(40.0)[:, None] % 7
    scores = cross_val_score(
        small(beyond="roll"), X, y[:40].to_numpy(), cv=TimeSeriesSplit(n_splits=2, test_size=5),
        scoring="neg_mean_absolute_error", error_score="raise",
    )  # fmt: skip
    assert np.isfinite(scores).all()


def test_cross_validation_by_time(eager, tiny, X, y):
    scores = cross_val_score(
        small(**NAMES), X, y, cv=PanelSplit(n_splits=3, horizon=5, **NAMES),
        scoring="neg_mean_absolute_error", error_score="raise",
    )  # fmt: skip
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


def test_a_transformed_target_comes_back_in_its_own_units(eager, tiny, X, y):
    test = late(X)
    target = y + 100
    model = TransformedTargetRegressor(
        regressor=small(**NAMES), func=np.log, inverse_func=np.exp, check_inverse=False
    ).fit(X[~test], target[~test])
    inner = small(**NAMES).fit(X[~test], np.log(target[~test]))
    np.testing.assert_allclose(model.predict(X[test]), np.exp(inner.predict(X[test])), rtol=1e-6)


def test_a_frozen_estimator_is_not_fitted_again(eager, tiny, X, y):
    model = small(**NAMES).fit(X, y)
    before = model.predict(X[:7])
    frozen = FrozenEstimator(model).fit(X[:20], y[:20])
    np.testing.assert_array_equal(frozen.predict(X[:7]), before)


def test_a_vote_is_the_mean_of_its_voters(eager, tiny, X, y):
    vote = VotingRegressor([("a", small(**NAMES)), ("b", small(**NAMES, hidden_size=4))])
    vote.fit(X, y)
    each = [voter.predict(X[-5:]) for voter in vote.estimators_]
    np.testing.assert_allclose(vote.predict(X[-5:]), np.mean(each, axis=0))


def test_permutation_importance_of_known_columns(eager, tiny, X, y):
    model = small(**NAMES, learning_rate=0.02, steps_per_epoch=30).fit(X, y)
    found = permutation_importance(model, X, y, n_repeats=2, random_state=0)
    names = list(X.columns)
    assert found.importances_mean.shape == (4,)
    assert found.importances_mean[names.index("price")] != 0


def test_context_is_routed_through_a_pipeline(eager, tiny, X, y, table):
    test = late(X)
    with sklearn.config_context(enable_metadata_routing=True):
        model = small(**NAMES, target="sales").set_predict_request(context=True)
        pipe = make_pipeline(FunctionTransformer(), model).fit(X[~test], y[~test])
        context = table[~test].assign(sales=table["sales"][~test] + 50).drop(columns="weather")
        moved = pipe.predict(X[test], context=context)
    assert (moved - pipe[-1].predict(X[test]) > 25).all()


def test_a_clone_has_equal_parameters_and_nothing_learned(eager, tiny, X, y):
    model = small(**NAMES).fit(X, y)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "model_")
    twin.fit(X, y)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))


def test_shows_itself_in_a_notebook():
    html = FusionForecaster(horizon=17)._repr_html_()
    assert "FusionForecaster" in html
    assert "17" in html


@pytest.mark.parametrize(
    ("parameter", "value", "text"),
    [
        ("horizon", 0, r"\[1, inf\)"),
        ("dropout", 1.0, r"\[0.0, 1.0\)"),
        ("learning_rate", 0, r"\(0.0, inf\)"),
        ("beyond", "fly", r"'nan'"),
        ("architecture", "lstm", r"'fusion'"),
        ("max_epochs", 2.5, "an int in the range"),
    ],
)
def test_a_wrong_parameter_is_told_its_range(X, y, parameter, value, text):
    with pytest.raises(ValueError, match=text) as caught:
        small(**NAMES).set_params(**{parameter: value}).fit(X, y)
    assert parameter in str(caught.value)


def test_rows_of_one_time_are_steps_where_every_row_is_one(eager, tiny):
    table = pd.DataFrame({"t": [1, 1, 2, 3, 3, 4, 5, 6, 6, 7], "y": np.arange(10.0)})
    model = small(time="t", target="y", freq="rows", horizon=1, context_length=3)
    with pytest.warns(UserWarning, match=r"3 rows have the time of another, the first 1"):
        model.fit(table)
    assert len(model._memory) == 10
    twice = model.predict(pd.DataFrame({"t": [6, 6, 6]}))
    assert twice[0] == twice[1] == twice[2]
    with pytest.warns(UserWarning, match="rows have the time of another"):
        model.update(pd.DataFrame({"t": [7, 8, 8], "y": [1.0, 2.0, 3.0]}))
    assert model._memory.target[-3:].tolist() == [1.0, 2.0, 3.0]
    assert len(model._memory) == 12
