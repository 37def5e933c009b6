"""AutoETS (statsforecast) and LightGBM on lags (mlforecast), for the accuracy benchmark.

LightGBM is a model per level (quantile objective) and step of the horizon (direct), of default
size, on lags counted from the last value; AutoETS is fitted anew at each origin on the last four
weeks of hours, or as many steps.
"""

from __future__ import annotations

import common
import lightgbm
import numpy as np
from common import LEVELS, Options
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean
from statsforecast import StatsForecast
from statsforecast.models import AutoETS

NAMES = {"series": "unique_id", "time": "ds"}
HISTORY = 672


def auto_ets(options: Options) -> np.ndarray:
    table, _, _, _ = options.filled()
    forecasts = StatsForecast([AutoETS(options.season)], freq=1).cross_validation(
        options.horizon,
        table.rename(columns=NAMES)[["unique_id", "ds", "y"]],
        step_size=options.stride,
        n_windows=None,
        test_size=int(table["time"].max()) + 1 - options.test_start,
        input_size=HISTORY,
        level=[20, 40, 60, 80],
    )
    below = [f"AutoETS-lo-{level}" for level in (80, 60, 40, 20)]
    above = [f"AutoETS-hi-{level}" for level in (20, 40, 60, 80)]
    forecasts = forecasts.sort_values(["unique_id", "cutoff", "ds"])
    return forecasts[[*below, "AutoETS", *above]].to_numpy()


def light_gbm(options: Options) -> np.ndarray:
    table, known, observed, origin = options.filled()
    horizon, steps = options.horizon, max(options.season, options.horizon)
    by = table.groupby("series")
    # The last step's observed values; of the known ones, also those of the horizon's last step.
    table[observed] = by[observed].shift()
    table = table.join(by[known].shift(1 - horizon).add_suffix("_last"))
    targets = [f"y{step}" for step in range(horizon)]
    weights = [f"weight{step}" for step in range(horizon)]
    for step in range(horizon):
        table[targets[step]], table[weights[step]] = by["y"].shift(-step), by["weight"].shift(-step)
    lags = MLForecast(
        [],
        freq=1,
        lags=[*range(1, steps + 1), *range(2 * steps, 7 * steps + 1, steps)],
        lag_transforms={1: [RollingMean(steps), RollingMean(7 * steps)]},
    )
    rows = lags.preprocess(table.rename(columns=NAMES), static_features=[], dropna=True)
    past = [name for name in rows if "lag" in name]
    last = rows["lag1"].copy()
    # A tree cannot leave the range of its targets: past and target count from the last value.
    rows[[*past, *targets]] = rows[[*past, *targets]].sub(last, axis=0)
    features = rows.drop(columns=["unique_id", "ds", "y", "weight", *targets, *weights])
    train = rows["ds"] <= options.train_end - horizon
    test = rows["ds"].isin(origin)
    values = np.empty((test.sum(), horizon, len(LEVELS)))
    for step in range(horizon):
        for i, level in enumerate(LEVELS):
            model = lightgbm.LGBMRegressor(
                objective="quantile", alpha=level, n_jobs=1, random_state=options.seed, verbosity=-1
            )
            model.fit(features[train], rows.loc[train, targets[step]],
                      sample_weight=rows.loc[train, weights[step]])  # fmt: skip
            values[:, step, i] = model.predict(features[test])
    return values + last[test].to_numpy()[:, None, None]


METHODS = {"AutoETS": auto_ets, "LightGBM": light_gbm}


def accuracy(options: Options) -> dict:
    values = METHODS[options.method](options)
    return common.save_quantiles(
        options, values, options.origins(common.read_table(options.table)), 0
    )


if __name__ == "__main__":
    common.main(
        {"accuracy": accuracy},
        ["statsforecast", "mlforecast", "lightgbm", "numpy", "pandas"],
    )
