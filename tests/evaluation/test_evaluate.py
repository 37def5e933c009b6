"""Scores against plain loops over rows, and against scikit-learn."""

import math

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    root_mean_squared_error,
)

from tsfusion import DataWarning
from tsfusion.evaluation import (
    backtest,
    coverage,
    evaluate,
    interval_width,
    mase,
    weighted_quantile_loss,
    winkler_score,
)

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def made_up(seed=0, n_series=3, n_cutoffs=2, horizon=4, length=30):
    """A panel with gaps, and forecasts of two models from it."""
    rng = np.random.default_rng(seed)
    panel = pd.DataFrame(
        {
            "shop": np.repeat([f"s{i}" for i in range(n_series)], length),
            "t": np.tile(np.arange(length), n_series),
            "y": rng.normal(size=n_series * length)
            * np.repeat(10.0 ** np.arange(n_series), length),
        }
    )
    panel.loc[rng.random(len(panel)) < 0.1, "y"] = np.nan
    panel = panel[rng.random(len(panel)) > 0.05]
    parts = []
    for model in ("a", "b"):
        for k in range(n_cutoffs):
            cutoff = length - horizon * (n_cutoffs - k)
            part = panel[panel["t"].between(cutoff, cutoff + horizon - 1)].copy()
            part.insert(1, "cutoff", cutoff)
            part["step"] = part["t"] - cutoff + 1
            part["model"] = model
            parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[["shop", "cutoff", "t", "step", "model", "y"]]
    frame["mean"] = rng.normal(size=len(frame))
    quantiles = np.sort(rng.normal(size=(len(frame), len(LEVELS))), axis=1) * 3
    for i, level in enumerate(LEVELS):
        frame[f"q{level:g}"] = quantiles[:, i]
    frame.attrs = {"target": "y", "freq": 1}
    return panel, frame


def scales(panel, shop, cutoff, season, power):
    """Mean change over a season, of the rows before a cutoff, one by one."""
    past = panel[(panel["shop"] == shop) & (panel["t"] < cutoff)]
    value = dict(zip(past["t"], past["y"]))
    changes = [
        abs(value[t] - value[t - season]) ** power
        for t in value
        if t - season in value and not math.isnan(value[t]) and not math.isnan(value[t - season])
    ]
    return sum(changes) / len(changes)


def by_hand(panel, rows, season):
    """All scores of some rows, by loops."""
    rows = rows[rows["y"].notna()]
    records = rows.to_dict("records")
    n = len(records)
    result = {"count": n}

    def pinball(row):
        return sum(
            max(p * (row["y"] - row[f"q{p:g}"]), (p - 1) * (row["y"] - row[f"q{p:g}"]))
            for p in LEVELS
        ) / len(LEVELS)

    errors = [row["mean"] - row["y"] for row in records]
    sizes = [abs(row["y"]) for row in records]
    result["bias"] = sum(errors) / n
    result["mae"] = sum(map(abs, errors)) / n
    result["rmse"] = math.sqrt(sum(e**2 for e in errors) / n)
    result["mape"] = sum(abs(e) / s for e, s in zip(errors, sizes)) / n
    result["smape"] = (
        sum(2 * abs(e) / (s + abs(row["mean"])) for e, s, row in zip(errors, sizes, records)) / n
    )
    result["pinball"] = sum(map(pinball, records)) / n
    result["crps"] = 2 * result["pinball"]
    result["wql"] = 2 * sum(map(pinball, records)) / sum(sizes)
    intervals = {"0.9": ("q0.05", "q0.95"), "0.5": ("q0.25", "q0.75")}

    def winkler(row, name):
        low, high = (row[bound] for bound in intervals[name])
        miss = max(low - row["y"], 0) + max(row["y"] - high, 0)
        return high - low + 2 / (1 - float(name)) * miss

    for name, (low, high) in intervals.items():
        result[f"coverage_{name}"] = sum(r[low] <= r["y"] <= r[high] for r in records) / n
        result[f"width_{name}"] = sum(r[high] - r[low] for r in records) / n
        result[f"winkler_{name}"] = sum(winkler(r, name) for r in records) / n
    windows = {"mase": [], "rmsse": [], "sql": [], "msis_0.9": [], "msis_0.5": []}
    for (shop, cutoff), window in rows.groupby(["shop", "cutoff"]):
        scale = scales(panel, shop, cutoff, season, 1)
        part = window.to_dict("records")
        count = len(part)
        windows["mase"].append(sum(abs(r["y"] - r["mean"]) for r in part) / count / scale)
        square = sum((r["y"] - r["mean"]) ** 2 for r in part) / count
        windows["rmsse"].append(math.sqrt(square / scales(panel, shop, cutoff, season, 2)))
        windows["sql"].append(2 * sum(map(pinball, part)) / count / scale)
        for name in intervals:
            score = sum(winkler(r, name) for r in part) / count
            windows[f"msis_{name}"].append(score / scale)
    return result | {name: sum(values) / len(values) for name, values in windows.items()}


@pytest.mark.parametrize("by", [None, "series", "step", "cutoff", ["shop", "cutoff"], ["model"]])
@pytest.mark.parametrize("season", [1, 3])
def test_every_score_by_hand(by, season):
    panel, frame = made_up()
    found = evaluate(frame, train=panel, by=by, season=season)
    named = [by] if isinstance(by, str) else list(by or [])
    keys = ["shop" if key == "series" else key for key in named if key != "model"] + ["model"]
    assert list(found.columns[: len(keys)]) == keys
    groups = frame.groupby(keys)
    assert len(found) == groups.ngroups
    for (_, rows), (_, scores) in zip(groups, found.iterrows()):
        expected = by_hand(panel, rows, season)
        assert scores["unknown"] == rows["y"].isna().sum()
        assert set(expected) == set(found.columns) - set(keys) - {"unknown"}
        for name, value in expected.items():
            np.testing.assert_allclose(scores[name], value, **CLOSE, err_msg=name)


def test_against_scikit_learn():
    _, frame = made_up(seed=1)
    frame = frame[frame["y"].notna()]
    for _, row in evaluate(frame).iterrows():
        part = frame[frame["model"] == row["model"]]
        y, f = part["y"], part["mean"]
        pinball = [mean_pinball_loss(y, part[f"q{p:g}"], alpha=p) for p in LEVELS]
        np.testing.assert_allclose(row["mae"], mean_absolute_error(y, f), **CLOSE)
        np.testing.assert_allclose(row["rmse"], root_mean_squared_error(y, f), **CLOSE)
        np.testing.assert_allclose(row["mape"], mean_absolute_percentage_error(y, f), **CLOSE)
        np.testing.assert_allclose(row["pinball"], np.mean(pinball), **CLOSE)


def test_against_the_functions_of_metrics():
    panel, frame = made_up(seed=2)
    panel = panel.set_index(["shop", "t"]).unstack("t").stack("t", future_stack=True).reset_index()
    for _, row in evaluate(frame, train=panel, season=2, by="cutoff").iterrows():
        part = frame[(frame["model"] == row["model"]) & (frame["cutoff"] == row["cutoff"])]
        quantiles = part[[f"q{p:g}" for p in LEVELS]].to_numpy()
        y, low, high = part["y"], part["q0.05"], part["q0.95"]
        wql = weighted_quantile_loss(y, quantiles, LEVELS)
        np.testing.assert_allclose(row["wql"], wql, **CLOSE)
        np.testing.assert_allclose(row["coverage_0.9"], coverage(y, low, high), **CLOSE)
        np.testing.assert_allclose(row["winkler_0.9"], winkler_score(y, low, high, 0.9), **CLOSE)
        known = part[y.notna()]
        width = interval_width(known["q0.05"], known["q0.95"])
        np.testing.assert_allclose(row["width_0.9"], width, **CLOSE)
        alone = [
            mase(
                window["y"],
                window["mean"],
                panel.loc[(panel["shop"] == shop) & (panel["t"] < row["cutoff"]), "y"],
                2,
            )
            for shop, window in part.groupby("shop")
        ]
        np.testing.assert_allclose(row["mase"], np.mean(alone), **CLOSE)


def test_only_rows_before_the_cutoff_count_for_the_scale():
    panel, frame = made_up()
    first = frame[frame["cutoff"] == frame["cutoff"].min()]
    late = panel.assign(y=panel["y"].where(panel["t"] < first["cutoff"].iloc[0], 1e6))
    assert_frame_equal(evaluate(first, train=panel), evaluate(first, train=late))


def test_a_seasonal_naive_forecast_has_a_mase_of_about_one(panel):
    columns = {"time": "date", "series": "store", "target": "sales"}
    table = backtest("seasonal_naive", panel, horizon=7, **columns)
    scores = evaluate(table, train=panel)
    assert scores["count"].item() == 63
    assert 0.5 < scores["mase"].item() < 2
    by_week = evaluate(table, train=panel, season=7)
    assert_frame_equal(scores, by_week)


def test_zero_targets():
    frame = pd.DataFrame(
        {"cutoff": 5, "t": [5, 6, 7], "step": [1, 2, 3], "model": "m", "y": [0.0, 0.0, 2.0],
         "mean": [0.0, 1.0, 1.0]}
    )  # fmt: skip
    scores = evaluate(frame).iloc[0]
    assert (scores["mape"], scores["smape"]) == (0.5, (0 + 2 + 2 / 3) / 3)


def test_a_model_without_quantiles():
    panel, frame = made_up()
    frame.loc[frame["model"] == "b", [f"q{p:g}" for p in LEVELS]] = np.nan
    scores = evaluate(frame, train=panel).set_index("model")
    assert scores.loc["a"].notna().all()
    of_quantiles = scores.columns.str.contains("pinball|wql|sql|crps|coverage|width|winkler|msis")
    assert scores.loc["b", of_quantiles].isna().all()
    assert scores.loc["b", ~of_quantiles].notna().all()


def test_missing_forecasts_and_crossed_quantiles_are_refused():
    _, frame = made_up()
    known = frame.index[frame["y"].notna()][-1]
    for column in ("mean", "q0.25"):
        worse = frame.copy()
        worse.loc[known, column] = np.nan
        with pytest.raises(ValueError, match="b: forecasts are NaN .* in 1 rows"):
            evaluate(worse)
    worse = frame.copy()
    worse.loc[known, "q0.25"] = 1e3
    with pytest.raises(ValueError, match="b: quantiles cross in 1 rows"):
        evaluate(worse)
    # Where the target is unknown, a forecast may be too.
    frame.loc[frame["y"].isna(), "mean"] = np.nan
    evaluate(frame)


def test_rows_that_one_model_lacks_or_has_twice_are_refused(panel):
    table = backtest(
        ["last_value", "drift"],
        panel,
        horizon=3,
        n_windows=2,
        time="date",
        series="store",
        target="sales",
    )
    own = table[table["model"] == "drift"]
    worst = (own["y"] - own["mean"]).abs().nlargest(4).index
    with pytest.raises(
        ValueError, match=r"'drift' lacks that of store=s\d, cutoff=.*\(4 such rows"
    ):
        evaluate(table.drop(index=worst))
    with pytest.raises(ValueError, match=r"'drift' has more than once that of .* \(3 such rows"):
        evaluate(pd.concat([table, own.head(3)]))
    with pytest.raises(ValueError, match=r"'drift' has more than once"):
        evaluate(pd.concat([own, own]))
    # What is not known is not scored: there a model may lack rows.
    unknown = table.assign(y=table["y"].mask(table["step"] == 3))
    fewer = unknown.drop(index=own.index[own["step"] == 3])
    columns = ["model", "count", "mae"]
    assert_frame_equal(evaluate(fewer)[columns], evaluate(unknown)[columns])


def test_windows_without_scale():
    panel, frame = made_up()
    flat = panel.assign(y=panel["y"].where(panel["shop"] != "s1", 3.0))
    with pytest.warns(DataWarning, match="2 of 6 windows have no scale .* of shop='s1' at 22"):
        found = evaluate(frame, train=flat, metrics=["mase", "mae"], season=1)
    others = frame[frame["shop"] != "s1"]
    expected = evaluate(others, train=flat, metrics="mase", season=1)
    np.testing.assert_allclose(found["mase"], expected["mase"], **CLOSE)
    with pytest.warns(DataWarning):
        alone = evaluate(frame, train=flat, metrics="mase", by="series", season=1)
    assert alone.loc[alone["shop"] == "s1", "mase"].isna().all()


def test_no_known_target_at_all():
    panel, frame = made_up()
    frame["y"] = np.nan
    scores = evaluate(frame, train=panel)
    assert (scores["count"] == 0).all()
    assert (scores["unknown"] == len(frame) / 2).all()
    assert scores.drop(columns=["model", "count", "unknown"]).isna().all(axis=None)


def test_errors():
    panel, frame = made_up()
    with pytest.raises(ValueError, match="pass train="):
        evaluate(frame, metrics="mase")
    with pytest.raises(ValueError, match="metrics: expected some of"):
        evaluate(frame, metrics=["mea"])
    with pytest.raises(ValueError, match="by: expected"):
        evaluate(frame, by="region")
    with pytest.raises(ValueError, match="'cutoff' is not there"):
        evaluate(frame.drop(columns="cutoff"))
    with pytest.raises(ValueError, match="needs quantiles"):
        evaluate(frame[frame.columns[:7]], metrics="crps")
    with pytest.raises(ValueError, match="levels in pairs"):
        evaluate(frame.drop(columns=["q0.05", "q0.25"]), metrics="coverage")
    with pytest.raises(ValueError, match="target: expected the column of train"):
        evaluate(frame, train=panel.rename(columns={"y": "sales"}))
    with pytest.raises(ValueError, match="received no rows"):
        evaluate(frame.iloc[:0])
