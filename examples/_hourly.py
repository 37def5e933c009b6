"""What the two hourly examples share: the split, rolling forecasts, scores and pictures."""

from __future__ import annotations

import time

import matplotlib
import numpy as np
import pandas as pd

from tsfusion import FusionForecaster
from tsfusion.evaluation import coverage, mae, skill, weighted_quantile_loss

# Hours of training, validation (early stopping) and test, as in the literature on ETTh1.
TRAIN, VALIDATION, TEST = 8640, 2880, 2880
HORIZON, SEASON = 24, 24
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def fit(frame: pd.DataFrame, **parameters) -> FusionForecaster:
    """Fit on the training and validation hours."""
    model = FusionForecaster(
        horizon=HORIZON,
        quantiles=LEVELS,
        validation_size=VALIDATION / (TRAIN + VALIDATION),
        random_state=0,
        **parameters,
    )
    begin, cpu = time.monotonic(), time.process_time()
    model.fit(frame[: TRAIN + VALIDATION])
    print(
        f"fitted in {time.monotonic() - begin:.0f} s ({time.process_time() - cpu:.0f} s of CPU), "
        f"{len(model.history_['loss'])} epochs"
    )
    return model


def rolling_forecasts(
    model: FusionForecaster, frame: pd.DataFrame, *, time_column: str, target: str, known: list
) -> pd.DataFrame:
    """Forecast every day of the test hours from its midnight, and set the baselines beside."""
    tables = []
    first = TRAIN + VALIDATION
    history = 2 * model.context_length_
    for cutoff in range(first, first + TEST - HORIZON + 1, HORIZON):
        past = frame[cutoff - history : cutoff]
        future = frame[cutoff : cutoff + HORIZON]
        table = model.forecast(future[[time_column, *known]], context=past)
        table["cutoff"] = past[time_column].iloc[-1]
        table["actual"] = future[target].to_numpy()
        table["last value"] = past[target].iloc[-1]
        table["seasonal naive"] = past[target].to_numpy()[-SEASON:]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def report(table: pd.DataFrame, frame: pd.DataFrame, target: str) -> None:
    """Print errors, z-scored by the training hours, beside the baselines."""
    training = frame[target][:TRAIN]
    spread = training.std()
    actual = table["actual"].to_numpy()
    quantiles = table[[f"q{level:g}" for level in LEVELS]].to_numpy()
    residual = (training - training.shift(SEASON)).dropna().to_numpy()
    rows = {
        "tsfusion": (
            mae(actual, table["q0.5"].to_numpy()) / spread,
            weighted_quantile_loss(actual, quantiles, LEVELS),
        )
    }
    for name in ("seasonal naive", "last value"):
        point = table[name].to_numpy()
        shifts = (
            np.quantile(residual, LEVELS) if name == "seasonal naive" else np.zeros(len(LEVELS))
        )
        rows[name] = (
            mae(actual, point) / spread,
            weighted_quantile_loss(actual, point[:, None] + shifts, LEVELS),
        )
    print(f"\n{len(table) // HORIZON} test days, {HORIZON} hours ahead:")
    print(f"{'':<16}{'MAE (z-scored)':>16}{'WQL':>10}")
    for name, (error, loss) in rows.items():
        print(f"{name:<16}{error:>16.4f}{loss:>10.4f}")
    ours, naive = rows["tsfusion"], rows["seasonal naive"]
    inside = coverage(actual, table["q0.1"].to_numpy(), table["q0.9"].to_numpy())
    print(f"skill against seasonal naive: MAE {skill(ours[0], naive[0]):.1%}", end=", ")
    print(f"WQL {skill(ours[1], naive[1]):.1%}")
    print(f"coverage of the 80 % interval: {inside:.1%}")


def explain(model: FusionForecaster, frame: pd.DataFrame, name: str) -> None:
    """Print what the model looked at and draw it."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    explanation = model.explain(context=frame[TRAIN : TRAIN + VALIDATION])
    print("\n" + explanation.summary())
    print(explanation.importance().head(8).round(3).to_string(index=False))
    figure, axes = plt.subplots(2, 1, figsize=(10, 9), layout="constrained")
    explanation.plot_attention(axes[0])
    explanation.plot_importance(axes[1])
    figure.savefig(f"{name}_attention.png", dpi=110)
    print(f"wrote {name}_attention.png")


def draw(table: pd.DataFrame, time_column: str, target: str, name: str) -> None:
    """Draw the last week of forecasts with the 80 % interval."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    week = table.tail(7 * HORIZON)
    figure, ax = plt.subplots(figsize=(11, 4), layout="constrained")
    ax.fill_between(week[time_column], week["q0.1"], week["q0.9"], alpha=0.3, label="80 % interval")
    ax.plot(week[time_column], week["q0.5"], label="forecast (median)")
    ax.plot(week[time_column], week["actual"], color="black", lw=1, label="actual")
    ax.set(title=f"{target}: forecasts of each day from its midnight", ylabel=target)
    ax.legend()
    figure.savefig(f"{name}_forecast.png", dpi=110)
    print(f"wrote {name}_forecast.png")
