"""neuralforecast's TFT, per-window robust scaling (its default), for the benchmarks."""

from __future__ import annotations

import logging
from itertools import chain, repeat
from typing import Any

import common
import numpy as np
import pandas as pd
import torch
from common import LEVELS, MONTH, Options, StepClock
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import TFT
from neuralforecast.tsdataset import TimeSeriesDataset, TimeSeriesLoader
from pytorch_lightning.callbacks import LambdaCallback
from utilsforecast.preprocessing import fill_gaps

torch.set_num_threads(1)
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

NAMES = {"series": "unique_id", "time": "ds"}


def model(
    options: Options, observed: list[str], known: list[str], steps: int, **kwargs: Any
) -> TFT:
    return TFT(
        h=options.horizon,
        input_size=options.context,
        hist_exog_list=observed,
        futr_exog_list=known,
        hidden_size=options.hidden,
        n_head=options.heads,
        dropout=options.dropout,
        loss=MQLoss(quantiles=LEVELS),
        max_steps=steps,
        val_check_steps=steps,
        learning_rate=options.learning_rate,
        windows_batch_size=options.batch,
        random_seed=options.seed,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )


def quantiles(table: pd.DataFrame) -> np.ndarray:
    """Return (rows, 9) of a table of forecasts, whose columns follow the levels."""
    return table[[name for name in table.columns if name.startswith("TFT")]].to_numpy()


def fitted(options: Options, steps: int, **kwargs: Any) -> NeuralForecast:
    network = model(options, options.observed_names, options.known_names, steps, **kwargs)
    forecaster = NeuralForecast([network], freq=1)
    forecaster.fit(options.made(options.series, options.length).rename(columns=NAMES))
    return forecaster


def train(options: Options) -> dict:
    clock = StepClock()
    watch = LambdaCallback(on_train_batch_end=clock)
    steps = options.warmup + options.steps + 1
    network = fitted(options, steps, callbacks=[watch]).models[0]
    return clock.answer(options, sum(weight.numel() for weight in network.parameters()))


def predict(options: Options) -> dict:
    forecaster = fitted(options, 2, inference_windows_batch_size=options.windows)

    def forecast(past: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
        return forecaster.predict(past.rename(columns=NAMES), futr_df=future.rename(columns=NAMES))

    return common.forecast_speed(options, forecast)


def first(options: Options) -> dict:
    table = options.monthly()
    columns = ["unique_id", "ds", *MONTH]
    past = table.drop(columns="time").rename(columns={**NAMES, "date": "ds"})
    future = options.monthly_future(table).drop(columns="time")
    forecaster = NeuralForecast([model(options, [], MONTH, options.steps)], freq="MS")
    forecaster.fit(past[[*columns, "y"]])
    future = future.rename(columns={**NAMES, "date": "ds"})[columns]
    return common.first_answer(options, quantiles(forecaster.predict(futr_df=future)))


def windows(options: Options) -> dict:
    table = common.read_table(options.table)
    categories = ["event", "sky"]
    observed, known = ["weather", "visits", "sky"], ["price", "discount", "promotion", "event"]

    def dataset() -> TimeSeriesDataset:
        renamed = table.rename(columns={**NAMES, "time": "ds", "sales": "y"})
        static = renamed[["unique_id", "size", "region"]].drop_duplicates("unique_id")
        static = static.assign(region=pd.factorize(static["region"], sort=True)[0])
        rows = renamed.drop(columns=["size", "region"])
        rows = rows.assign(
            available_mask=1.0,
            promotion=rows["promotion"].astype(float),
            **{name: pd.factorize(rows[name], sort=True)[0] for name in categories},
        )
        rows = fill_gaps(rows, freq="h")
        rows["available_mask"] = rows["available_mask"].fillna(0.0)
        numbers = ["y", *observed, *known]
        rows[numbers] = rows[numbers].fillna(rows[numbers].mean())
        return TimeSeriesDataset.from_df(rows, static_df=static)[0]

    data, seconds, peak = common.measured(dataset)
    network = TFT(
        h=options.horizon,
        input_size=options.context,
        hist_exog_list=observed,
        futr_exog_list=known,
        stat_exog_list=["size", "region"],
        hidden_size=8,
        windows_batch_size=options.batch,
    )

    def batches() -> Any:
        """The batches of its training step: 32 series (its default), windows drawn from theirs."""
        loader = TimeSeriesLoader(data, batch_size=network.batch_size, shuffle=True)
        for batch in chain.from_iterable(repeat(loader)):
            cut, static, names, allowed, weight, columns = network._create_windows(batch, "train")
            drawn = torch.randperm(len(allowed))[: options.batch]
            yield network._sample_windows(cut, static, names, columns, drawn, allowed, weight)

    lengths = np.diff(data.indptr)
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "windows": int(np.maximum(lengths - options.context - options.horizon + 1, 0).sum()),
        "batch_seconds": common.batch_seconds(batches(), 10),
        "peak_rss_mb": common.memory_mb(),
    }


def accuracy(options: Options) -> dict:
    table, known, observed, origin = options.filled()
    network = model(options, observed, known, options.steps)
    forecasts = NeuralForecast([network], freq=1).cross_validation(
        table.rename(columns={**NAMES, "weight": "available_mask"}),
        n_windows=None,
        val_size=options.test_start - options.train_end,
        test_size=int(table["time"].max()) + 1 - options.test_start,
        step_size=options.stride,
    )
    forecasts = forecasts.sort_values(["unique_id", "cutoff", "ds"])
    return common.save_quantiles(
        options, quantiles(forecasts), origin, options.steps * options.batch
    )


if __name__ == "__main__":
    common.main(
        {
            "windows": windows,
            "train": train,
            "predict": predict,
            "first": first,
            "accuracy": accuracy,
        },
        ["neuralforecast", "torch", "pytorch-lightning", "numpy", "pandas"],
    )
