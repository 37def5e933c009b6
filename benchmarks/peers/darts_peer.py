"""darts' TFT with reversible instance normalisation, on standardised columns, for the benchmarks.

The columns are standardised in pandas by what the training rows say, as darts' own
``Scaler(StandardScaler(), global_fit=True)`` does, series by series and slower.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import common
import numpy as np
import pandas as pd
import torch
from common import LEVELS, MONTH, Options, StepClock
from darts import TimeSeries
from darts.models import TFTModel
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from darts.utils.data.torch_datasets.training_dataset import SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import _batch_collate_fn_train
from darts.utils.likelihood_models.torch import QuantileRegression
from darts.utils.missing_values import fill_missing_values
from pytorch_lightning.callbacks import LambdaCallback

torch.set_num_threads(1)
for name in ("pytorch_lightning", "darts"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Series:
    """Tables to darts' series: target, observed and known columns, standardised."""

    def __init__(self, table: pd.DataFrame, observed: list[str], known: list[str]) -> None:
        self.observed, self.known = observed, known
        numbers = table[["y", *observed, *known]]
        self.mean, self.spread = numbers.mean(), numbers.std()

    def __call__(self, past: pd.DataFrame, future: pd.DataFrame | None = None) -> dict[str, Any]:
        """Return the arguments of `fit` and `predict`."""
        roles = {"series": ["y"], "past_covariates": self.observed, "future_covariates": self.known}
        series = {}
        for role, columns in roles.items():
            rows = past if future is None or role != "future_covariates" else _after(past, future)
            values = (rows[columns] - self.mean[columns]) / self.spread[columns]
            if columns:
                series[role] = by_series(rows[["series", "time"]].join(values), columns)
        return series

    def quantiles(self, forecasts: list[TimeSeries]) -> np.ndarray:
        """Return (windows, horizon, 9) in the target's units."""
        values = np.stack([forecast.values() for forecast in forecasts])
        return values * self.spread["y"] + self.mean["y"]


def _after(past: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([past, future], ignore_index=True)


def by_series(table: pd.DataFrame, columns: list[str], **kwargs: Any) -> list[TimeSeries]:
    return TimeSeries.from_group_dataframe(
        table, group_cols="series", time_col="time", value_cols=columns, **kwargs
    )


def make(options: Options, steps: int, callbacks: Sequence[Any] = (), **kwargs: Any) -> TFTModel:
    return TFTModel(
        input_chunk_length=options.context,
        output_chunk_length=options.horizon,
        hidden_size=options.hidden,
        hidden_continuous_size=options.embedding_size,
        num_attention_heads=options.heads,
        dropout=options.dropout,
        likelihood=QuantileRegression(LEVELS),
        use_static_covariates=False,
        use_reversible_instance_norm=True,
        batch_size=options.batch,
        n_epochs=steps,  # the steps below end it first
        optimizer_kwargs={"lr": options.learning_rate},
        random_state=options.seed,
        pl_trainer_kwargs={
            "max_steps": steps,
            "callbacks": list(callbacks),
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        **kwargs,
    )


def quantiles(model: TFTModel, options: Options, arguments: dict[str, Any]) -> list[TimeSeries]:
    return model.predict(
        options.horizon, **arguments, predict_likelihood_parameters=True, batch_size=512
    )


def fitted(options: Options, steps: int, callbacks: Sequence[Any] = ()) -> tuple[TFTModel, Series]:
    table = options.made(options.series, options.length)
    series = Series(table, options.observed_names, options.known_names)
    model = make(options, steps, callbacks)
    model.fit(**series(table))
    return model, series


def train(options: Options) -> dict:
    clock = StepClock()
    watch = LambdaCallback(on_train_batch_end=clock)
    model, _ = fitted(options, options.warmup + options.steps + 1, [watch])
    return clock.answer(options, sum(weight.numel() for weight in model.model.parameters()))


def predict(options: Options) -> dict:
    model, series = fitted(options, 2)

    def forecast(past: pd.DataFrame, future: pd.DataFrame) -> np.ndarray:
        return series.quantiles(quantiles(model, options, series(past, future)))

    return common.forecast_speed(options, forecast)


def first(options: Options) -> dict:
    table = options.monthly()
    series = Series(table, [], MONTH)
    model = make(options, options.steps)
    model.fit(**series(table))
    forecasts = quantiles(model, options, series(table, options.monthly_future(table)))
    return common.first_answer(options, series.quantiles(forecasts)[0])


def windows(options: Options) -> dict:
    table = common.read_table(options.table)
    categories = ["event", "sky", "region"]

    def dataset() -> SequentialTorchTrainingDataset:
        rows = table.assign(
            promotion=table["promotion"].astype(float),
            **{name: pd.factorize(table[name], sort=True)[0] for name in categories},
        )
        gaps = {"freq": "h", "fill_missing_dates": True, "drop_group_cols": "series"}
        target = by_series(rows, ["sales"], static_cols=["size", "region"], **gaps)
        past = by_series(rows, ["weather", "visits", "sky"], **gaps)
        known = by_series(rows, ["price", "discount", "promotion", "event"], **gaps)
        return SequentialTorchTrainingDataset(
            *([fill_missing_values(one) for one in many] for many in (target, past, known)),
            input_chunk_length=options.context,
            output_chunk_length=options.horizon,
        )

    data, seconds, peak = common.measured(dataset)
    module = TorchDataModule(
        data,
        batch_size=options.batch,
        collate_fn=_batch_collate_fn_train,
        dataloader_kwargs={"pin_memory": False},
    )
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "windows": len(data),
        "batch_seconds": common.batch_seconds(module.train_dataloader()),
        "peak_rss_mb": common.memory_mb(),
    }


def accuracy(options: Options) -> dict:
    table, known, observed, origin = options.filled()
    rows = table["time"] < options.train_end
    # Each series' target by its own mean and spread, as darts' `Scaler` does by default.
    by = table[rows].groupby("series")["y"]
    mean, spread = table["series"].map(by.mean()), table["series"].map(by.std())
    table = table.assign(y=(table["y"] - mean) / spread)
    series = Series(table[rows], observed, known)
    model = make(options, options.steps, add_relative_index=not known)
    weight = by_series(table[rows], ["weight"])
    model.fit(**series(table[rows]), sample_weight=weight)
    forecasts = model.historical_forecasts(
        **series(table),
        start=int(origin[0]),
        forecast_horizon=options.horizon,
        stride=options.stride,
        retrain=False,
        last_points_only=False,
        predict_likelihood_parameters=True,
    )
    values = np.stack([series.quantiles(many) for many in forecasts])
    values = values * by.std().to_numpy()[:, None, None, None]
    values += by.mean().to_numpy()[:, None, None, None]
    return common.save_quantiles(options, values, origin, options.steps * options.batch)


if __name__ == "__main__":
    common.main(
        {
            "windows": windows,
            "train": train,
            "predict": predict,
            "first": first,
            "accuracy": accuracy,
        },
        ["darts", "torch", "pytorch-lightning", "numpy", "pandas"],
    )
