"""The same numbers as other libraries give: utilsforecast, fev, scoringrules, crepes."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsfusion.evaluation import evaluate, winkler_score
from tsfusion.uncertainty import conformal_quantile, step_corrections

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
QUANTILES = [f"q{level}" for level in LEVELS]
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module")
def made_up():
    """A panel of three series, and forecasts of its last six steps."""
    rng = np.random.default_rng(0)
    n, length, horizon = 3, 40, 6
    panel = pd.DataFrame(
        {
            "unique_id": np.repeat(["a", "b", "c"], length),
            "ds": np.tile(np.arange(length), n),
            "y": rng.normal(size=n * length) * np.repeat([1.0, 10.0, 100.0], length),
        }
    )
    frame = panel[panel["ds"] >= length - horizon].copy()
    frame.insert(1, "cutoff", length - horizon)
    frame["step"] = frame["ds"] - frame["cutoff"] + 1
    frame["model"] = "m"
    frame["mean"] = rng.normal(size=len(frame))
    frame[QUANTILES] = np.sort(rng.normal(size=(len(frame), len(LEVELS))), axis=1) * 3
    frame = frame[["unique_id", "cutoff", "ds", "step", "model", "y", "mean", *QUANTILES]]
    frame.attrs = {"target": "y", "freq": 1}
    return panel, frame.reset_index(drop=True)


def test_scores_are_those_of_utilsforecast(made_up):
    losses = pytest.importorskip("utilsforecast.losses")
    panel, frame = made_up
    train = panel[panel["ds"] < frame["cutoff"].iloc[0]]
    season = 4
    ours = evaluate(frame, train=panel, by="series", season=season)
    # utilsforecast names columns by model, and intervals by their coverage in per cent.
    theirs = frame.drop(columns=["cutoff", "step", "model"]).rename(
        columns={"mean": "m", "q0.1": "m-lo-80", "q0.9": "m-hi-80"}
    )
    named = theirs.rename(columns={"m-lo-80": "q0.1", "m-hi-80": "q0.9"})
    levels = np.array(LEVELS)
    scaled = {"seasonality": season, "train_df": train}
    expected = {
        "mae": losses.mae(theirs, ["m"])["m"],
        "rmse": losses.rmse(theirs, ["m"])["m"],
        "mape": losses.mape(theirs, ["m"])["m"],
        "bias": losses.bias(theirs, ["m"])["m"],
        # Without the factor 2 of M4 and fev.
        "smape": 2 * losses.smape(theirs, ["m"])["m"],
        "mase": losses.mase(theirs, ["m"], **scaled)["m"],
        "rmsse": losses.rmsse(theirs, ["m"], **scaled)["m"],
        "pinball": losses.mqloss(named, {"m": QUANTILES}, levels)["m"],
        "sql": 2 * losses.scaled_mqloss(named, {"m": QUANTILES}, levels, **scaled)["m"],
        "coverage_0.8": losses.coverage(theirs, ["m"], 80)["m"],
        "winkler_0.8": losses.winkler_score(theirs, ["m"], 80)["m"],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(ours[name], values, **CLOSE, err_msg=name)
    # Theirs is the sum over the levels by the number of them, as ours with its factor 2.
    wql = losses.scaled_crps(named, {"m": QUANTILES}, levels)["m"]
    np.testing.assert_allclose(ours["wql"], wql, rtol=1e-6)


def test_scores_are_those_of_fev(made_up):
    package = importlib.util.find_spec("fev")
    if package is None:
        pytest.skip("fev is not installed")
    # Its metrics need NumPy alone; the package itself would load the libraries of its data sets.
    path = Path(package.submodule_search_locations[0]) / "metrics.py"
    spec = importlib.util.spec_from_file_location("fev_metrics", path)
    fev = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fev)
    panel, frame = made_up
    season = 4
    ours = evaluate(frame, train=panel, by="series", season=season).set_index("unique_id")
    for label, rows in frame.groupby("unique_id"):
        past = panel[(panel["unique_id"] == label) & (panel["ds"] < frame["cutoff"].iloc[0])]
        given = {
            "y_true": rows["y"].to_numpy()[None, :, None],
            "y_pred": rows["mean"].to_numpy()[None, :, None],
            "q_pred": rows[QUANTILES].to_numpy()[None, :, None, :],
            "y_past": past["y"].to_numpy()[:, None],
            "y_past_lengths": np.array([len(past)]),
            "seasonality": season,
            "quantile_levels": list(LEVELS),
        }
        for name in ("MAE", "RMSE", "MAPE", "SMAPE", "MASE", "RMSSE", "SQL", "WQL"):
            theirs = fev.get_metric(name).compute(**given)
            assert ours.loc[label, name.lower()] == pytest.approx(theirs, rel=1e-9), name
        # Ours is without the factor 2.
        assert 2 * ours.loc[label, "pinball"] == pytest.approx(
            fev.get_metric("MQL").compute(**given), rel=1e-9
        )


def test_crps_and_interval_score_are_those_of_scoringrules(made_up):
    rules = pytest.importorskip("scoringrules")
    _, frame = made_up
    y, quantiles = frame["y"].to_numpy(), frame[QUANTILES].to_numpy()
    ours = evaluate(frame, metrics=["crps", "winkler"])
    crps = rules.crps_quantile(y, quantiles, np.array(LEVELS))
    assert ours["crps"].iloc[0] == pytest.approx(np.mean(crps), rel=1e-9)
    low, high = frame["q0.1"], frame["q0.9"]
    score = rules.interval_score(y, low.to_numpy(), high.to_numpy(), 0.2)
    assert ours["winkler_0.8"].iloc[0] == pytest.approx(np.mean(score), rel=1e-9)
    assert winkler_score(y, low, high, 0.8) == pytest.approx(np.mean(score), rel=1e-9)


# Sizes for which (n + 1) * coverage is not whole: crepes rounds it in floating point.
@pytest.mark.parametrize("n", [20, 98, 252])
def test_conformal_quantiles_are_those_of_crepes(n):
    crepes = pytest.importorskip("crepes")
    errors = np.random.default_rng(n).normal(size=n)
    regressor = crepes.ConformalRegressor().fit(residuals=errors)
    for confidence in (0.5, 0.8, 0.9, 0.95):
        _, high = regressor.predict_int(np.zeros(1), confidence=confidence)[0]
        assert conformal_quantile(np.abs(errors), confidence) == high
        # Through the corrections of a forecast that says nothing of its spread: one side.
        upper = np.abs(errors)[:, None, None]
        assert step_corrections(upper, [confidence])[0, 0] == (
            high if confidence != 0.5 else np.median(np.abs(errors))
        )
