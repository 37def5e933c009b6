"""Fit, forecast and explain, on data that comes with the package: what ``make demo`` runs.

Twenty stores sell for two years. Price and promotion are known in advance, the weather is not: it
acts on sales three days later. Because `make_panel` made the data, we know the truth, and can set
what the model found beside it.
"""

from __future__ import annotations

import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tsfusion import FusionForecaster
from tsfusion.data import make_panel
from tsfusion.evaluation import (
    baseline_forecast,
    coverage,
    mae,
    skill,
    weighted_quantile_loss,
)

HORIZON = 7
LEVELS = (0.1, 0.5, 0.9)


def main() -> None:
    begin = time.monotonic()
    frame, truth = make_panel(return_truth=True, random_state=0)
    cutoff = frame["date"].max() - pd.Timedelta(days=HORIZON)
    history, test = frame[frame["date"] <= cutoff], frame[frame["date"] > cutoff]

    model = FusionForecaster(
        horizon=HORIZON,
        context_length=21,
        time="date",
        series="series",
        target="sales",
        known=["price", "promo"],
        observed=["weather", "humidity"],
        static=["region", "size"],
        dropout=0.0,  # plenty of clean data for a small network
        learning_rate=3e-3,
        max_epochs=12,
        random_state=0,
        verbose=2,
    )
    model.fit(history)
    print(f"fitted in {time.monotonic() - begin:.0f} s\n")

    table = model.forecast(test[["series", "date", "price", "promo"]])
    print("Forecast (a tidy frame):")
    print(table.head(HORIZON).to_string(index=False, float_format="{:.1f}".format))
    score(table, history, test, truth)
    explanation = model.explain(lags_of=["weather", "humidity"])
    compare_with_truth(explanation, truth)
    draw(table, history, test, explanation)
    print(f"wrote forecast.png and attention.png; {time.monotonic() - begin:.0f} s in all")


def score(table: pd.DataFrame, history: pd.DataFrame, test: pd.DataFrame, truth) -> None:
    """Print the error on the held-out end beside the baselines and the best possible forecast."""
    joined = table.merge(test, on=["series", "date"])
    actual = joined["sales"].to_numpy()
    quantiles = joined[[f"q{level:g}" for level in LEVELS]].to_numpy()
    errors = {"tsfusion": (mae(actual, quantiles[:, 1]), actual, quantiles)}
    for name in ("seasonal_naive", "season_mean", "last_value"):
        base = baseline_forecast(
            history, name=name, series="series", time="date", target="sales", horizon=HORIZON,
            season_length=7, quantiles=LEVELS,
        ).sort_values(["series", "step"])  # fmt: skip
        values = base[[f"q{level:g}" for level in LEVELS]].to_numpy()
        errors[name] = (mae(actual, base["mean"].to_numpy()), actual, values)
    print(f"\nThe last {HORIZON} days, held out:")
    print(f"{'':<16}{'MAE':>8}{'WQL':>9}")
    losses = {}
    for name, (error, y, q) in errors.items():
        losses[name] = (error, weighted_quantile_loss(y, q, LEVELS))
        print(f"{name:<16}{error:>8.1f}{losses[name][1]:>9.4f}")
    # A normal error of standard deviation s has mean absolute value s * sqrt(2 / pi).
    oracle = float(np.mean(truth.oracle_std(HORIZON)) * np.sqrt(2 / np.pi))
    print(f"{'best possible':<16}{oracle:>8.1f}")
    ours, naive = losses["tsfusion"], losses["seasonal_naive"]
    print(
        f"skill against seasonal naive: MAE {skill(ours[0], naive[0]):.0%}, "
        f"WQL {skill(ours[1], naive[1]):.0%}"
    )
    inside = coverage(actual, quantiles[:, 0], quantiles[:, 2])
    print(f"coverage of the 80 % interval: {inside:.0%}")


def compare_with_truth(explanation, truth) -> None:
    """Print variables and lags that the model found beside those that made the data."""
    found = explanation.importance().set_index("variable")
    effects = truth.effects.groupby("variable")["share"].sum()
    print("\nWhat the forecast depends on, beside the true share of the sales' variance:")
    print(f"{'variable':<18}{'role':<10}{'sensitivity':>12}{'selection':>11}{'true share':>12}")
    for name, row in found.iterrows():
        true = f"{effects[name]:.2f}" if name in effects.index else ""
        selection = "" if np.isnan(row["past"]) else f"{row['past']:.2f}"
        print(f"{name:<18}{row['role']:<10}{row['sensitivity']:>12.2f}{selection:>11}{true:>12}")
    print("(the seasons' true shares reach the model through the calendar and past sales)")
    lags = explanation.lag_sensitivity
    near = lags[lags["horizon"] == 1].set_index(["variable", "lag"])["sensitivity"]
    best = int(near["weather"].idxmax())
    print(
        f"\nThe next day's forecast hangs most on the weather {best} days before it "
        f"(true lag: {truth.weather_lag}); a change there moves it "
        f"{near['weather'].max() / near['humidity'].max():.0f} times as much as the strongest one "
        "of humidity, which has no effect."
    )
    weekly = ", ".join(str(lag) for lag in explanation.top_lags(3)["lag"])
    print(
        f"Attention looked most at the lags {weekly} (the true season: {truth.seasons[0]:g} days)."
    )
    print(explanation.summary())


def draw(table: pd.DataFrame, history: pd.DataFrame, test: pd.DataFrame, explanation) -> None:
    """Draw four stores' forecasts, and where and at what the model looked."""
    figure, axes = plt.subplots(2, 2, figsize=(12, 7), layout="constrained", sharex=True)
    for ax, name in zip(axes.flat, table["series"].unique()):
        past = history[history["series"] == name].tail(42)
        mine, later = table[table["series"] == name], test[test["series"] == name]
        ax.plot(past["date"], past["sales"], color="black", lw=1)
        ax.plot(later["date"], later["sales"], color="black", lw=1, label="actual")
        ax.fill_between(mine["date"], mine["q0.1"], mine["q0.9"], alpha=0.3, label="80 % interval")
        ax.plot(mine["date"], mine["q0.5"], label="forecast (median)")
        ax.set_title(name)
        ax.tick_params(axis="x", rotation=30)
    axes[0, 0].legend()
    figure.suptitle("Sales and their forecast")
    figure.savefig("forecast.png", dpi=110)
    figure, axes = plt.subplots(3, 1, figsize=(10, 13), layout="constrained")
    explanation.plot_attention(axes[0])
    explanation.plot_lag_sensitivity("weather", axes[1])
    explanation.plot_importance(axes[2])
    figure.savefig("attention.png", dpi=110)


if __name__ == "__main__":
    main()
