"""Explanations made of random numbers, with any names: what is drawn needs no network behind it."""

import numpy as np
import pandas as pd

from tsfusion.explain import Explanation
from tsfusion.explain.attribution import Attribution
from tsfusion.explain.explanation import Branch
from tsfusion.explain.regimes import MemoryUse

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def made_explanation(
    series=("a", "b"), per_series=3, *, target="sales", horizon=4, context=12, variables=("price",),
    start="2024-01-01", seed=0, bare=False, asked=None,
):  # fmt: skip
    """Windows of a random walk for each series, with every table; ``bare`` leaves these out.

    ``asked`` are the steps ahead that are explained, by default all.
    """
    asked = range(1, horizon + 1) if asked is None else asked
    rng = np.random.default_rng(seed)
    steps, size = context + horizon, len(series) * per_series
    grid = pd.date_range(start, periods=steps + (per_series - 1) * horizon, freq="D")
    first = np.tile(np.arange(per_series) * horizon, len(series))
    walks = rng.normal(size=(len(series), len(grid))).cumsum(axis=1)
    places = first[:, None] + np.arange(steps)
    of = np.repeat(np.arange(len(series)), per_series)
    window = np.repeat(np.arange(size), len(asked))
    step = np.tile(asked, size)
    entries = len(window)
    middle = walks[of[window], places[window, context + step - 1]]
    quantiles = middle[:, None] + np.asarray(LEVELS) - 0.5
    patches = context // 4
    short, long = (rng.dirichlet(np.ones(k), size=(entries, 2)) for k in (context, patches))
    names = [target, *variables]
    pasts = rng.dirichlet(np.ones(len(names)), size)
    values = {"past_real": rng.normal(size=(entries, context, len(names))).astype(np.float32)}
    evidence = {} if bare else _evidence(rng, size, series, grid, values, entries)
    single, patch = np.arange(-context, 0), np.arange(patches) * 4 - context
    return Explanation(
        series_names=("store",),
        series_labels=pd.Index(list(series))[of],
        cutoffs=grid[first + context - 1],
        window=window,
        step=step,
        target_times=grid[places[window, context + step - 1]],
        source_times=grid[places.reshape(-1)],
        branches=(
            Branch("short", short.astype(np.float32), single, single),
            Branch("long", long.astype(np.float32), patch, patch + 3),
        ),
        context_length=context,
        weights={"past": pd.DataFrame(pasts, columns=pd.Index(names, dtype=object))},
        roles={target: "target", **dict.fromkeys(variables, "known")},
        sensitivity_shares=dict.fromkeys(names, 1 / len(names)),
        median=middle,
        lag_changes={},
        value=middle,
        spread=np.ones(entries),
        cells={"past_real": names},
        target=target,
        target_values=np.where(
            places < len(grid) - 1, walks[of[:, None], places], np.nan
        ).reshape(-1),
        levels=LEVELS,
        quantiles=quantiles,
        **evidence,
    )  # fmt: skip


def _evidence(rng, size, series, grid, values, entries):
    total = sum(value.sum(axis=(1, 2), dtype=float) for value in values.values())
    return {
        "attributed": Attribution(values, total, np.zeros(entries), np.zeros(entries)),
        "path_table": pd.DataFrame(
            {
                "path": ["short", "long"], "change": [2.0, 1.0], "share": [0.75, 0.25],
                "loss_ratio": [1.5, np.nan], "low": [1.2, np.nan], "high": [1.9, np.nan],
            }
        ),
        "trust_table": pd.DataFrame(
            {
                "check": ["necessity", "adds up"], "value": [3.2, 0.02], "low": [2.0, np.nan],
                "high": [4.0, np.nan], "threshold": [1.05, 0.01], "passed": [True, False],
                "verdict": ["Attention is load-bearing.", "The attributions do not add up."],
            }
        ),
        "regime_table": pd.DataFrame(
            {
                "distance": np.linspace(0.1, 0.5, size), "threshold": 0.4,
                "unusual": np.linspace(0.1, 0.5, size) > 0.4,
            }
        ),
        "memory_use": MemoryUse(
            rng.dirichlet(np.ones(3), size), np.full(3, 1 / 3), pd.Index([*series]),
            grid[: len(series)], np.zeros((size, 2), int), np.full((size, 2), 0.9),
        ),
    }  # fmt: skip


def made_backtest(models=("net", "seasonal_naive"), series=("a", "b"), horizon=4, seed=0):
    """A frame like that of `backtest`, of random errors."""
    rng = np.random.default_rng(seed)
    parts = []
    for cutoff in pd.to_datetime(["2024-03-01", "2024-03-08", "2024-03-15"]):
        for name in series:
            y = rng.normal(size=horizon)
            for i, model in enumerate(models):
                mean = y + rng.normal(size=horizon) * (0.5 + i)
                parts.append(
                    pd.DataFrame(
                        {
                            "store": name, "cutoff": cutoff,
                            "date": pd.date_range(cutoff, periods=horizon),
                            "step": np.arange(1, horizon + 1), "model": model, "y": y,
                            "mean": mean, "q0.1": mean - 1, "q0.5": mean, "q0.9": mean + 1,
                        }
                    )
                )  # fmt: skip
    return pd.concat(parts, ignore_index=True)
