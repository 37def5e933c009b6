"""Paths and checks: shares by hand, verdicts where the truth is known, warnings."""

import copy

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from tests.conftest import ROLES, SMALL
from tsfusion import ExplanationWarning, FusionForecaster
from tsfusion.data.windows import gather, targets, training_windows
from tsfusion.explain.paths import pinball, ratio_interval
from tsfusion.explain.trust import _replaced, _top_share, overlap
from tsfusion.models.instance_scaled import InstanceScaled
from tsfusion.models.losses import PinballLoss

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def explanation(fitted):
    return fitted.explain(
        max_windows=10, horizons=[1, 4], methods=["attribution", "paths"], checks="full",
        baselines=2,
    )  # fmt: skip


@pytest.mark.heavy
@pytest.mark.backends
def test_paths_are_changes_without_them(fitted, explanation):
    table = explanation.paths
    assert table["path"].tolist() == ["short", "long", "recurrent", "linear", "static"]
    assert table["share"].sum() == pytest.approx(1)
    base = fitted._fitted
    panel = base.panel(fitted._memory)
    windows = training_windows(panel, None, context_length=21, horizon=7)
    windows = windows.take(windows.origin - panel.offsets[windows.series] >= 21).thinned(10)
    batch = gather(panel, windows, context_length=21, horizon=7)
    whole = ops.convert_to_numpy(fitted.model_(batch))
    less = ops.convert_to_numpy(fitted.model_(batch, without=("long",)))
    unit = panel.unit[windows.series][:, None]
    change = np.abs(unit * (less - whole)[:, [0, 3], 4]).mean()
    row = table.set_index("path").loc["long"]
    assert row["change"] == pytest.approx(change, rel=1e-3)
    y, _ = targets(panel, windows, horizon=7)
    losses = [
        pinball(y[:, [0, 3]], values[:, [0, 3]], np.asarray(base.levels)).sum()
        for values in (less, whole)
    ]
    assert row["loss_ratio"] == pytest.approx(losses[0] / losses[1], rel=1e-3)
    assert row["low"] <= row["loss_ratio"] <= row["high"]
    assert "changes most without the paths" in explanation.summary()


def test_the_pinball_loss_is_the_one_trained_on():
    rng = np.random.default_rng(0)
    y, quantiles, levels = rng.normal(size=(4, 3)), rng.normal(size=(4, 3, 2)), [0.1, 0.7]
    expected = ops.convert_to_numpy(PinballLoss(levels, reduction="none")(y, quantiles))
    np.testing.assert_allclose(pinball(y, quantiles, np.array(levels)), expected, rtol=1e-5)


def test_the_trust_frame(explanation):
    table = explanation.trust
    assert table.columns.tolist() == [
        "check", "value", "low", "high", "threshold", "passed", "verdict",
    ]  # fmt: skip
    rows = table.set_index("check")
    assert list(rows.index) == [
        "equals predict", "necessity", "adds up", "overlap short", "overlap long",
        "comprehensiveness 5 %", "comprehensiveness 10 %", "comprehensiveness 20 %",
        "sufficiency 5 %", "sufficiency 10 %", "sufficiency 20 %",
    ]  # fmt: skip
    assert rows.loc["equals predict", "passed"]
    assert rows.loc["equals predict", "value"] <= 1e-5
    assert rows.loc["adds up", "passed"]
    assert (rows["verdict"].str.len() > 20).all()
    for name in ("overlap short", "overlap long"):
        assert rows.loc[name, "passed"] == (rows.loc[name, "value"] >= 0.6)
    summary = explanation.summary()
    assert all(verdict in summary for verdict in table["verdict"][:5])
    # Of one check at several shares, one sentence with all figures.
    for check in ("comprehensiveness", "sufficiency"):
        few, some, many = (rows.loc[f"{check} {share} %", "value"] for share in (5, 10, 20))
        assert f" {few:.1f}x (5%), {some:.1f}x (10%) and {many:.1f}x (20%) as far " in summary
    assert summary.count("attributed most") == 2


@keras.saving.register_keras_serializable(package="tests")
class Looking(keras.Model):
    """A network that reads the weather at the last step, by an attention it can be robbed of."""

    knockouts = ()

    def call(self, inputs, training=None, return_attention=False, without=()):
        past = ops.nan_to_num(ops.convert_to_tensor(inputs["past_real"]))
        size, steps = ops.shape(past)[0], ops.shape(past)[1]
        last = ops.one_hot(steps - 1, steps)[None]
        weights = ops.ones((1, steps)) / steps if "attention" in without else last
        seen = ops.sum(past[:, :, 1] * weights, axis=1)
        middle = ops.repeat(seen[:, None, None], 7, axis=1)
        quantiles = middle + ops.reshape(ops.arange(-4.0, 5.0) / 100, (1, 1, 9))
        if not return_attention:
            return quantiles
        scores = ops.concatenate([last, ops.zeros((1, 7))], axis=1)
        scores = ops.broadcast_to(scores[:, None, None], (size, 2, 7, steps + 7))
        return {"quantiles": quantiles, "attention": scores}


@pytest.fixture(scope="module")
def looking(fitted):
    """An estimator whose network is `Looking`, and whose target is the weather of yesterday."""
    network = Looking()
    network.built = True
    model = copy.copy(fitted)
    model.model_ = InstanceScaled(network, num_observed=1)
    model.model_.built = True
    return model


def _yesterday(history):
    table = history[history["store"] == "s1"].copy()
    table["weather"] = np.random.default_rng(1).normal(size=len(table))
    table["sales"] = 20 + 3 * table["weather"].shift(1).fillna(0)
    return table


def test_where_attention_carries_the_forecast_all_checks_pass(looking, history):
    table = _yesterday(history)
    rows = table.iloc[30:50].drop(columns="sales")
    found = looking.explain(
        rows, context=table, methods=["attention", "attribution"], checks="full", baselines=3
    )
    rows = found.trust.set_index("check")
    assert rows.loc["necessity", "passed"]
    assert "Attention is load-bearing: without it the error is" in rows.loc["necessity", "verdict"]
    # One value and the last target are all that counts.
    for share in (5, 10, 20):
        assert rows.loc[f"comprehensiveness {share} %", "value"] > 2
        assert rows.loc[f"sufficiency {share} %", "value"] > 2
    removed = rows["value"].filter(like="comprehensiveness")
    assert removed.is_monotonic_decreasing
    assert rows.loc["equals predict", "passed"]
    assert found.importance()["variable"].iloc[0] in ("weather", "sales")


def test_attention_that_carries_nothing_is_warned_of_where_it_stands_alone(looking, history):
    # The target does not hang on what is looked at: looking at all alike does no worse.
    table = _yesterday(history)
    table["sales"] = 20 + np.random.default_rng(2).normal(size=len(table)) / 50
    rows = table.iloc[30:50].drop(columns="sales")
    with pytest.warns(ExplanationWarning, match="explain: Attention is not load-bearing"):
        found = looking.explain(rows, context=table, checks="fast")
    row = found.trust.set_index("check").loc["necessity"]
    assert not row["passed"]
    assert row["value"] < 1.05
    assert "not load-bearing" in found.summary()


def test_without_known_targets_the_check_takes_the_history(fitted, future):
    found = fitted.explain(future, checks="fast", methods=["attribution"], horizons=1, baselines=1)
    verdict = found.trust.set_index("check").loc["necessity", "verdict"]
    assert "of the validation windows" in verdict or "of the known history" in verdict


def test_a_plain_explanation_has_no_checks(fitted, future):
    found = fitted.explain(future)
    with pytest.raises(ValueError, match="ask for it in explain.checks='fast'"):
        _ = found.trust
    with pytest.raises(ValueError, match="ask for it in explain.methods='paths'"):
        _ = found.paths


def test_a_network_without_paths_says_so(looking, future):
    with pytest.raises(ValueError, match="'paths' needs a network with paths.*Looking has none"):
        looking.explain(future, methods="paths")


def test_overlap_and_intervals_by_hand():
    first = np.array([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5]])
    second = np.array([[5.0, 1, 4, 2, 3], [5, 4, 3, 2, 1]])
    assert overlap(first, second, 2).tolist() == [0.5, 0.0]
    rng = np.random.default_rng(0)
    above = rng.gamma(2.0, size=200)
    value, low, high = ratio_interval(2 * above, above, rng)
    assert value == low == high == pytest.approx(2)
    below = rng.gamma(2.0, size=200)
    value, low, high = ratio_interval(above, below, rng)
    assert value == pytest.approx(above.sum() / below.sum())
    # The delta method: the standard error of a ratio of means.
    error = np.std(above - value * below) / below.mean() / np.sqrt(200)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_a_share_of_the_usable_cells_is_replaced():
    usable = np.array([[True] * 10 + [False] * 10])
    removed = _top_share(np.where(usable, np.arange(20.0), -1), usable, 0.2)
    assert np.flatnonzero(removed[0]).tolist() == [8, 9]
    batch = {"past_real": np.zeros((1, 4, 4)), "static_real": np.zeros((1, 4)), "x": np.ones(1)}
    other = {"past_real": np.ones((1, 4, 4)), "static_real": np.ones((1, 4))}
    mixed = _replaced(batch, other, removed, ["past_real", "static_real"])
    assert np.flatnonzero(mixed["past_real"].reshape(-1)).tolist() == [8, 9]
    assert mixed["static_real"].sum() == 0
    assert mixed["x"] is batch["x"]


def test_the_papers_network_has_paths_and_checks(panel):
    one = panel[panel["store"] == "s1"].drop(columns=["store", "region", "size"])
    roles = {**ROLES, "series": None, "static": None}
    model = FusionForecaster(horizon=3, context_length=8, architecture="tft", **roles, **SMALL)
    found = model.fit(one).explain(
        max_windows=4, horizons=1, methods=["attribution", "paths"], checks="fast", baselines=1
    )
    assert found.paths["path"].tolist() == ["recurrent"]
    assert "overlap all" in found.trust["check"].tolist()
    assert isinstance(found.trust, pd.DataFrame)
