"""Skill by loops over draws, and the Diebold-Mariano test by its formula."""

import math

import numpy as np
import pytest
from scipy import stats

from tests.evaluation.test_evaluate import made_up
from tsfusion import DataWarning
from tsfusion.evaluation import diebold_mariano, evaluate, skill_scores

METRICS = ["mae", "rmse", "pinball", "crps", "wql", "mase", "rmsse", "sql"]


@pytest.mark.parametrize("metric", METRICS)
def test_losses_are_those_of_evaluate(metric):
    panel, frame = made_up()
    found = skill_scores(frame, baseline="b", metric=metric, train=panel, n_bootstrap=50, season=1)
    loss = evaluate(frame, train=panel, metrics=metric, season=1).set_index("model")[metric]
    np.testing.assert_allclose(found[metric], loss[found["model"]], rtol=1e-9)
    np.testing.assert_allclose(found["skill"], 1 - loss[found["model"]] / loss["b"], rtol=1e-9)
    assert found.loc[found["model"] == "b", ["skill", "low", "high"]].eq(0).all(axis=None)
    assert (found["low"] <= found["high"]).all()


@pytest.mark.parametrize("resample", ["both", "series", "cutoff"])
def test_bootstrap_by_loops(resample):
    _, frame = made_up(n_series=4, n_cutoffs=3)
    found = skill_scores(
        frame, baseline="b", metric="rmse", resample=resample, n_bootstrap=40, random_state=7
    )
    shops, cutoffs = sorted(frame["shop"].unique()), sorted(frame["cutoff"].unique())
    rng = np.random.default_rng(7)
    ones = [np.ones((40, 4)), np.ones((40, 3))]
    drawn = [
        rng.multinomial(size, np.full(size, 1 / size), size=40)
        if resample in ("both", name)
        else one
        for size, name, one in ((4, "series", ones[0]), (3, "cutoff", ones[1]))
    ]
    skills = []
    for by_series, by_cutoff in zip(*drawn):
        loss = {}
        for model, part in frame[frame["y"].notna()].groupby("model"):
            weight = [
                by_series[shops.index(shop)] * by_cutoff[cutoffs.index(cutoff)]
                for shop, cutoff in zip(part["shop"], part["cutoff"])
            ]
            square = (part["y"] - part["mean"]) ** 2
            loss[model] = math.sqrt(np.average(square, weights=weight))
        skills.append(1 - loss["a"] / loss["b"])
    row = found[found["model"] == "a"].iloc[0]
    np.testing.assert_allclose(
        [row["low"], row["high"]], np.quantile(skills, [0.025, 0.975]), rtol=1e-9
    )


def test_the_same_seed_gives_the_same_interval():
    _, frame = made_up()
    first, again, other = (
        skill_scores(frame, baseline="b", random_state=seed)["low"][0] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_intervals_cover_the_skill():
    # The squared errors of a have 0.64 of the variance of b: a skill of 0.2 in the RMSE.
    _, frame = made_up(seed=3, n_series=5, n_cutoffs=5, length=40)
    frame = frame[frame["y"].notna()].copy()
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(60):
        size = np.where(frame["model"] == "a", 0.8, 1.0)
        frame["mean"] = frame["y"] + rng.normal(size=len(frame)) * size
        row = skill_scores(frame, baseline="b", metric="rmse", n_bootstrap=200).iloc[0]
        inside.append(row["low"] <= 0.2 <= row["high"])
    assert 0.85 <= np.mean(inside) <= 1


def test_one_window_has_no_interval():
    _, frame = made_up(n_series=1, n_cutoffs=1)
    found = skill_scores(frame, baseline="a")
    assert found[["low", "high"]].isna().all(axis=None)
    assert found["skill"].notna().all()


def test_errors():
    _, frame = made_up()
    with pytest.raises(ValueError, match="baseline: expected one of the models"):
        skill_scores(frame, baseline="c")
    with pytest.raises(ValueError, match="every model once in each row"):
        skill_scores(frame.iloc[1:], baseline="a")
    with pytest.raises(ValueError, match="metric: expected one of"):
        skill_scores(frame, baseline="a", metric="coverage")
    with pytest.raises(ValueError, match="resample"):
        skill_scores(frame, baseline="a", resample="rows")
    with pytest.raises(ValueError, match="pass train="):
        skill_scores(frame, baseline="a", metric="mase")


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_diebold_mariano_by_hand(horizon, loss):
    rng = np.random.default_rng(horizon)
    a, b = rng.normal(size=(2, 60))
    b = 1.3 * b
    found = diebold_mariano(a, b, horizon, loss=loss)
    power = 2 if loss == "squared" else 1
    d = [abs(x) ** power - abs(z) ** power for x, z in zip(a, b)]
    n, mean = len(d), sum(d) / len(d)
    variance = 0.0
    for k in range(horizon):
        covariance = sum((d[t] - mean) * (d[t - k] - mean) for t in range(k, n)) / n
        variance += covariance if k == 0 else 2 * covariance
    plain = mean / math.sqrt(variance / n)
    factor = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    np.testing.assert_allclose(found.statistic, plain * math.sqrt(factor), rtol=1e-9)
    p = 2 * (1 - stats.t.cdf(abs(found.statistic), df=n - 1))
    np.testing.assert_allclose(found.p_value, p, rtol=1e-9)
    other = diebold_mariano(b, a, horizon, loss=loss)
    np.testing.assert_allclose(other, [-found.statistic, found.p_value])


def test_diebold_mariano_of_horizon_one_is_a_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    # With the factor (n - 1) / n and the variance over n, the statistics are the same.
    expected = stats.ttest_1samp(a**2 - b**2, 0)
    found = diebold_mariano(a, b)
    np.testing.assert_allclose(found, [expected.statistic, expected.pvalue])


def test_diebold_mariano_at_the_edges():
    assert np.isnan(diebold_mariano([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])).all()
    holey = diebold_mariano([1.0, np.nan, 2.0, 3.0, 0.5], [2.0, 5.0, 1.0, np.nan, 0.1])
    assert holey == diebold_mariano([1.0, 2.0, 0.5], [2.0, 1.0, 0.1])
    swings = np.tile([1.0, 2.0], 10)
    with pytest.warns(DataWarning, match="not positive"):
        negative = diebold_mariano(swings, np.ones(20), 2)
    assert negative == diebold_mariano(swings, np.ones(20), 1)
    with pytest.raises(ValueError, match="more known errors than the horizon"):
        diebold_mariano([1.0, 2.0], [1.0, 3.0], 2)
    with pytest.raises(ValueError, match="one length"):
        diebold_mariano([1.0, 2.0], [1.0])
