"""What fit says of the network beside naive forecasts."""

import warnings

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL
from tsfusion import FusionForecaster, SkillWarning
from tsfusion.data import load_air_passengers


def make(**parameters):
    return FusionForecaster(**{"horizon": 7, "context_length": 21, **ROLES, **SMALL, **parameters})


def test_a_network_without_skill_is_told_of(history, eager, tmp_path):
    with pytest.warns(SkillWarning, match=r"loss is .*naive forecast \((last|seas|mean).*epochs"):
        model = make().fit(history)
    assert list(model.validation_losses_) == [
        "network", "last value", "seasonal naive", "mean of the last season",
    ]  # fmt: skip
    losses = dict(model.validation_losses_)
    network = losses.pop("network")
    assert network == min(model.history_["val_loss"])
    assert model.skill_ == 1 - network / min(losses.values()) <= 0
    model.save(tmp_path / "model")
    again = FusionForecaster.load(tmp_path / "model")
    assert again.validation_losses_ == model.validation_losses_
    assert again.skill_ == model.skill_


def test_the_naive_losses_are_those_of_the_validation_rows(history, eager, tiny):
    model = make(horizon=1, validation_size=0.2).fit(history)
    panel = model._fitted.panel(model._memory)
    y = panel.real[:, 0].reshape(3, -1)
    first = np.flatnonzero(model._memory.ordinal == model._fitted.encoder.boundary)[0]
    change = np.diff(y, axis=1)
    levels = np.array(model.levels_)
    spread = np.quantile(change[:, : first - 1], levels)
    error = change[:, first - 1 :, None] - spread
    expected = 2 * np.maximum(levels * error, (levels - 1) * error).mean()
    assert model.validation_losses_["last value"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "parameters", [{"loss": "mse"}, {"validation_size": 0.0}], ids=["own loss", "no tail"]
)
def test_nothing_is_said_where_nothing_can_be_compared(history, eager, tiny, parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkillWarning)
        model = make(**parameters).fit(history)
    assert model.validation_losses_ == {}
    assert np.isnan(model.skill_)


def test_a_network_with_skill_is_not_told_of(eager, tiny):
    # What comes next is a known column; no naive forecast sees it.
    rng = np.random.default_rng(0)
    price = rng.normal(size=400)
    table = pd.DataFrame({"t": np.arange(400), "price": price, "y": 3 * price})
    model = FusionForecaster(
        horizon=2, time="t", target="y", context_length=8,
        **{**SMALL, "max_epochs": 3, "steps_per_epoch": 60, "learning_rate": 1e-2},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkillWarning)
        model.fit(table)
    assert model.skill_ > 0.2


@pytest.mark.slow
def test_the_defaults_learn_a_short_series(compiled):
    table = load_air_passengers()
    model = FusionForecaster(
        horizon=12, time="month", target="passengers", random_state=0, verbose=0
    ).fit(table[:-12])
    assert model.skill_ > 0  # of a network that is not trained: -5
    error = np.abs(model.forecast()["q0.5"].to_numpy() - table["passengers"].to_numpy()[-12:])
    assert error.mean() < 35  # the last year again: 47.8


def test_shuffled_labels_have_no_skill(eager, tiny):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"t": np.arange(300), "price": rng.normal(size=300)})
    table["y"] = rng.permutation(3 * table["price"].to_numpy())
    model = FusionForecaster(
        horizon=2, time="t", target="y", context_length=8,
        **{**SMALL, "max_epochs": 2, "steps_per_epoch": 20},
    )  # fmt: skip
    model.fit(table)
    assert model.skill_ < 0.02
