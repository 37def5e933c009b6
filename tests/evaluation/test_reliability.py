"""Reliability and PIT beside counting with pandas, and on forecasts known to be calibrated."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from tsfusion.evaluation import evaluate, pit_histogram, reliability

LEVELS = [0.1, 0.3, 0.5, 0.9]


def forecasts(n_cutoffs=30, horizon=4, shift=0.0, seed=0):
    """Two models of two series: standard normal truths, one model right, one ``shift`` too low."""
    rng = np.random.default_rng(seed)
    frames = []
    for series in ("a", "b"):
        for cutoff in range(n_cutoffs):
            y = rng.normal(size=horizon)
            for model, moved in (("right", 0.0), ("low", -shift)):
                rows = pd.DataFrame(
                    {
                        "store": series, "cutoff": cutoff, "day": cutoff + 1 + np.arange(horizon),
                        "step": 1 + np.arange(horizon), "model": model, "y": y, "mean": moved,
                    }
                )  # fmt: skip
                for level in LEVELS:
                    rows[f"q{level}"] = ndtri(level) + moved
                frames.append(rows)
    return pd.concat(frames, ignore_index=True)


def test_counts_are_those_of_pandas():
    frame = forecasts(shift=0.4)
    frame.loc[5, "y"] = np.nan
    found = reliability(frame, by=["series", "step"])
    assert list(found.columns) == [
        "store", "step", "model", "level", "observed", "count", "standard_error",
    ]  # fmt: skip
    assert len(found) == 2 * 4 * 2 * 4
    known = frame[frame["y"].notna()]
    for _, row in found.iterrows():
        mine = known[
            (known[["store", "step", "model"]] == row[["store", "step", "model"]]).all(axis=1)
        ]
        below = mine["y"] <= mine[f"q{row['level']}"]
        assert row["observed"] == pytest.approx(below.mean())
        assert row["count"] == len(mine)
        # One row of each window: its standard error is the usual one.
        assert row["standard_error"] == pytest.approx(below.std(ddof=1) / np.sqrt(len(mine)))


def test_the_standard_error_is_that_of_window_means():
    frame = forecasts()
    found = reliability(frame)
    frame["below"] = (frame["y"] <= frame["q0.3"]).astype(float)
    means = frame[frame["model"] == "right"].groupby(["store", "cutoff"])["below"].mean()
    row = found[(found["model"] == "right") & (found["level"] == 0.3)].iloc[0]
    assert row["standard_error"] == pytest.approx(means.std(ddof=1) / np.sqrt(len(means)))
    one = reliability(frame[(frame["cutoff"] == 0) & (frame["store"] == "a")])
    assert one["standard_error"].isna().all()


def test_a_calibrated_forecast_is_reliable_and_flat_and_a_low_one_is_not():
    frame = forecasts(n_cutoffs=800, shift=1.0)
    found = reliability(frame).set_index("model")
    right, low = found.loc["right"], found.loc["low"]
    assert (abs(right["observed"] - right["level"]) < 4 * right["standard_error"]).all()
    assert (low["observed"] < low["level"] - 10 * low["standard_error"]).all()
    bins = pit_histogram(frame).set_index("model")
    np.testing.assert_allclose(bins.loc["right", "density"], 1, atol=0.15)
    assert bins.loc["low", "density"].is_monotonic_increasing
    np.testing.assert_allclose(bins.groupby("model")["share"].sum(), 1)
    np.testing.assert_allclose(
        bins["density"] * (bins["high"] - bins["low"]), bins["share"], atol=1e-12
    )
    # What lies between two levels is what `evaluate` calls the coverage.
    inner = bins.loc["right"].query("low >= 0.1 and high <= 0.9")["share"].sum()
    scores = evaluate(frame, metrics="coverage").set_index("model")
    assert inner == pytest.approx(scores.loc["right", "coverage_0.8"], abs=1e-3)


def test_models_without_quantiles_are_left_out_and_none_is_an_error():
    frame = forecasts()
    quantiles = [f"q{level}" for level in LEVELS]
    frame.loc[frame["model"] == "low", quantiles] = np.nan
    assert set(reliability(frame)["model"]) == {"right"}
    with pytest.raises(ValueError, match=r"expected columns of quantiles such as 'q0.1'"):
        reliability(frame.drop(columns=quantiles))
    with pytest.raises(ValueError, match="expected rows with a known y and quantiles"):
        pit_histogram(frame.assign(y=np.nan))
    with pytest.raises(ValueError, match="by: expected 'series' or columns"):
        reliability(frame, by="shop")


def test_truths_at_a_bound_are_spread_over_the_levels_that_lie_there():
    """A calibrated forecast of max(x, 0) and of min(x, 0): one as reliable as that of x."""
    levels = np.arange(1, 10) / 10
    rng = np.random.default_rng(0)
    x, centre = rng.normal(size=(2, 20_000))
    for least, most in ((0, np.inf), (-np.inf, 0)):
        frame = pd.DataFrame({
            "model": "m", "cutoff": 0, "time": np.arange(len(x)), "step": 1,
            "y": np.clip(x + centre, least, most), "mean": 0.0,
        })  # fmt: skip
        for level in levels:
            frame[f"q{level:g}"] = np.clip(centre + ndtri(level), least, most)
        found = reliability(frame)
        np.testing.assert_allclose(found["observed"], levels, atol=0.05)
        assert pit_histogram(frame)["density"].between(0.7, 1.3).all()
    # All quantiles at the truth: what level it has, nobody can tell.
    constant = frame.assign(y=0.0, **{f"q{level:g}": 0.0 for level in levels})
    np.testing.assert_allclose(reliability(constant)["observed"], levels)
    # A single one that the truth meets counts as at or below, as ever.
    single = frame.assign(y=5.0, **{f"q{level:g}": 50 * level for level in levels})
    assert reliability(single)["observed"].tolist() == [1.0] * 9
