"""Where a network of few windows begins, beside scikit-learn's ridge regression."""

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from tsfusion import FusionForecaster
from tsfusion.training import fit as fit_module
from tsfusion.training import start as start_module
from tsfusion.training.schedule import epoch, seen, usual_rate
from tsfusion.training.start import _PENALTIES, _scaled, linear_start

LEVELS = (0.1, 0.5, 0.9)
SHAPE = {"context_length": 12, "horizon": 3}


def frame(rows=90, seed=0, **columns):
    random = np.random.default_rng(seed)
    steps = np.arange(rows)
    y = 50 + 0.1 * steps + 10 * np.sin(2 * np.pi * steps / 6) + random.normal(0, 1, rows)
    return pd.DataFrame({"t": steps, "y": y, **columns})


def forecaster(**parameters):
    given = {
        "horizon": 3, "context_length": 12, "time": "t", "target": "y", "hidden_size": 4,
        "num_heads": 1, "quantiles": LEVELS, "random_state": 0, "verbose": 0, "max_epochs": 1,
        "steps_per_epoch": 8, "batch_size": 32, "jit_compile": False,
    }  # fmt: skip
    return FusionForecaster(**{**given, **parameters})


def learned(data, **parameters):
    """Return a model that was not trained, and what a fit would train it on."""
    estimator = forecaster(**parameters)
    found = {}

    def stop(model, panel, training, validation, plan, starts, **rest):
        found.update(model=model, panel=panel, training=training, validation=validation, **rest)
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "train", stop)
        with pytest.raises(InterruptedError):
            estimator.fit(data)
    return found


def begin(found):
    return linear_start(
        found["model"], found["panel"], found["training"], found["validation"],
        stop=found["stop"], **SHAPE,
    )  # fmt: skip


@pytest.mark.backends
@pytest.mark.parametrize("weighted", [False, True])
def test_the_map_is_that_of_the_ridge_regression_that_forecasts_best(weighted):
    weights = {"weight": np.random.default_rng(1).uniform(0.5, 2, 90)} if weighted else {}
    found = learned(frame(**weights), **({"weight": "weight"} if weighted else {}))
    start = begin(found)
    x, y, weight = _scaled(
        found["model"], found["panel"], found["training"], found["stop"], **SHAPE
    )
    x_ahead, y_ahead, _ = _scaled(
        found["model"], found["panel"], found["validation"], None, **SHAPE
    )
    assert len(x) > 50
    assert len(x_ahead) > 3
    assert (np.ptp(weight) > 0) == weighted
    top = np.linalg.norm(np.sqrt(weight)[:, None] * x, 2) ** 2

    def ridge(penalty, rows=slice(None)):
        model = Ridge(alpha=penalty * top, fit_intercept=False, solver="svd")
        return model.fit(x[rows], y[rows], sample_weight=weight[rows]).coef_.T

    losses = {penalty: np.abs(y_ahead - x_ahead @ ridge(penalty)).mean() for penalty in _PENALTIES}
    losses[np.inf] = np.abs(y_ahead).mean()
    assert start.penalty == min(losses, key=losses.get) != np.inf
    np.testing.assert_allclose(start.kernel, ridge(start.penalty), rtol=1e-4, atol=1e-6)
    # Each window's error with a map that was learned without it.
    errors = [y[n] - x[n] @ ridge(start.penalty, np.arange(len(x)) != n) for n in range(len(x))]
    start.apply(found["model"])
    inputs = {"past_real": np.ones((1, 12, 1), "float32")}
    network = found["model"].network
    if network.num_future_real or network.future_cardinalities:
        pytest.fail("this panel has nothing known of the future")
    quantiles = keras.ops.convert_to_numpy(network(inputs))
    expected = start.kernel.sum(axis=0)[None, :, None] + np.quantile(
        errors, found["model"].network.head.levels
    )
    np.testing.assert_allclose(quantiles, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.backends
def test_what_cannot_be_foreseen_begins_at_the_last_value():
    random = np.random.default_rng(3)
    walk = pd.DataFrame({"t": np.arange(120), "y": random.normal(0, 1, 120).cumsum()})
    found = learned(walk)
    with pytest.MonkeyPatch.context() as patch:
        # Of these penalties none leaves the map alone.
        patch.setattr(start_module, "_PENALTIES", np.array([1e-6]))
        start = begin(found)
    assert start.penalty == np.inf
    assert not start.kernel.any()
    assert np.isfinite(start.bias).all()


@pytest.mark.backends
def test_nothing_after_the_cutoff_counts_but_to_choose_the_penalty():
    data, other = frame(), frame()
    found = learned(data)
    tail = other.t >= found["stop"][0]
    assert 0 < tail.sum() < 20
    other.loc[tail, "y"] += 1e3
    changed = learned(other)
    for part in (0, 1, 2):
        np.testing.assert_array_equal(
            _scaled(found["model"], found["panel"], found["training"], found["stop"], **SHAPE)[
                part
            ],
            _scaled(
                changed["model"], changed["panel"], changed["training"], changed["stop"], **SHAPE
            )[part],
        )


@pytest.mark.backends
@pytest.mark.parametrize("value", [0.0, 5.0, 1e-9, 1e12])
def test_a_constant_begins_at_itself(value):
    data = frame(40).assign(y=value)
    start = begin(learned(data))
    assert np.isfinite(start.kernel).all()
    assert np.isfinite(start.bias).all()
    fitted = forecaster(learning_rate=1e-12).fit(data)
    forecast = fitted.forecast()
    np.testing.assert_allclose(forecast["q0.5"], value, rtol=1e-5, atol=1e-11)


@pytest.mark.backends
def test_few_windows_begin_linear_and_many_do_not(monkeypatch):
    asked = []

    def noted(*args, **kwargs):
        asked.append(linear_start(*args, **kwargs))
        return asked[-1]

    monkeypatch.setattr(fit_module, "linear_start", noted)
    data = frame()
    fitted = forecaster(learning_rate=1e-12, n_estimators=2).fit(data)
    assert len(asked) == 1, "the members of an ensemble begin at one map"
    for network in fitted.model_.network.members:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(network.linear_kernel), asked[0].kernel, atol=1e-6
        )
    forecaster(steps_per_epoch=2).fit(data)
    assert len(asked) == 1, "an epoch of two steps does not see these windows twice"
    fitted.set_params(warm_start=True).fit(data)
    assert len(asked) == 1, "a warm start goes on from what was learned"


@pytest.mark.backends
def test_a_few_rows_and_a_network_without_a_map_begin_as_they_are():
    assert begin(learned(frame(9), validation_size=0)) is None
    assert begin(learned(frame(), architecture="tft")) is None


def test_the_fewer_windows_the_smaller_the_steps(monkeypatch):
    assert epoch(6_400, 64) == (64, 100)
    assert epoch(1_000_000, 64) == (64, 100)
    assert epoch(100, 64) == (64, 30)
    assert epoch(10, 64) == (10, 30)
    assert epoch(10, 64, 2) == (10, 2)
    assert seen(1_920, 64, 30) == seen(1_000_000, 64, 100) == 1.0
    assert seen(480, 64, 30) == 4.0
    assert usual_rate(1.0) == 0.01
    assert usual_rate(4.0) == pytest.approx(0.005)
    rates = []
    optimizer = fit_module._optimizer
    monkeypatch.setattr(
        fit_module, "_optimizer",
        lambda plan, steps: [rates.append(plan.learning_rate), optimizer(plan, steps)][1],
    )  # fmt: skip
    fitted = forecaster().fit(frame())
    times = 8 * 32 / len(learned(frame())["training"])
    assert times > 3
    assert rates == [pytest.approx(0.01 / times**0.5)]
    forecaster(learning_rate=0.3).fit(frame())
    assert rates[1] == 0.3
    assert fitted.get_params()["learning_rate"] is None
