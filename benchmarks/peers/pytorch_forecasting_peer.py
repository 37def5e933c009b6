"""pytorch-forecasting's TFT with the target normalizer that it chooses, for the benchmarks."""

from __future__ import annotations

import logging
from typing import Any

import common
import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from common import LEVELS, MONTH, Options, StepClock
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.metrics import QuantileLoss

torch.set_num_threads(1)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def dataset(
    table: pd.DataFrame, options: Options, observed: list[str], known: list[str], **kwargs: Any
) -> TimeSeriesDataSet:
    """Windows of a table; ``target_normalizer="auto"`` scales each by its own past values."""
    return TimeSeriesDataSet(
        table,
        time_idx="time",
        target="y",
        group_ids=["series"],
        max_encoder_length=options.context,
        min_encoder_length=options.context,
        max_prediction_length=options.horizon,
        min_prediction_length=options.horizon,
        time_varying_known_reals=known,
        time_varying_unknown_reals=["y", *observed],
        **kwargs,
    )


def fit(
    data: TimeSeriesDataSet, options: Options, steps: int, callbacks: list[Any] | None = None
) -> TemporalFusionTransformer:
    pl.seed_everything(options.seed)
    model = TemporalFusionTransformer.from_dataset(
        data,
        hidden_size=options.hidden,
        hidden_continuous_size=options.embedding_size,
        attention_head_size=options.heads,
        dropout=options.dropout,
        learning_rate=options.learning_rate,
        output_size=len(LEVELS),
        loss=QuantileLoss(LEVELS),
        logging_metrics=torch.nn.ModuleList([]),
    )
    # The norm that the gradients are cut to is that of the library's tutorial.
    trainer = pl.Trainer(
        max_steps=steps, gradient_clip_val=0.1, callbacks=callbacks, accelerator="cpu",
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data.to_dataloader(train=True, batch_size=options.batch, num_workers=0))
    return model


def quantiles(
    model: TemporalFusionTransformer, data: TimeSeriesDataSet, batch_size: int
) -> np.ndarray:
    """Return (windows, horizon, 9)."""
    loader = data.to_dataloader(train=False, batch_size=batch_size, num_workers=0)
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    return model.predict(loader, mode="quantiles", trainer_kwargs=quiet).numpy()


def made(options: Options) -> TimeSeriesDataSet:
    table = options.made(options.series, options.length)
    return dataset(table, options, options.observed_names, options.known_names)


def train(options: Options) -> dict:
    clock = StepClock()
    watch = pl.callbacks.LambdaCallback(on_train_batch_end=clock)
    model = fit(made(options), options, options.warmup + options.steps + 1, [watch])
    return clock.answer(options, sum(weight.numel() for weight in model.parameters()))


def predict(options: Options) -> dict:
    data = made(options)
    model = fit(data, options, 2)

    def forecast(past: pd.DataFrame, future: pd.DataFrame) -> np.ndarray:
        # It wants numbers for the future columns that nobody knows.
        unknown = dict.fromkeys(["y", *options.observed_names], 0.0)
        rows = pd.concat([past, future.assign(**unknown)], ignore_index=True)
        wanted = TimeSeriesDataSet.from_dataset(data, rows, predict=True)
        return quantiles(model, wanted, options.windows)

    return common.forecast_speed(options, forecast)


def first(options: Options) -> dict:
    table = options.monthly()
    future = options.monthly_future(table).assign(y=0.0)
    data = dataset(table, options, [], MONTH)
    model = fit(data, options, options.steps)
    rows = pd.concat([table, future], ignore_index=True)
    wanted = TimeSeriesDataSet.from_dataset(data, rows, predict=True)
    return common.first_answer(options, quantiles(model, wanted, 1)[0])


def windows(options: Options) -> dict:
    table = common.read_table(options.table)

    def ready() -> TimeSeriesDataSet:
        hours = (table["time"] - table["time"].min()) // pd.Timedelta("1h")
        rows = table.assign(
            time=hours.astype("int64"),
            promotion=table["promotion"].astype(float),
            visits=table["visits"].astype(float),
            weather=table["weather"].fillna(table["weather"].mean()),
            sky=table["sky"].astype("str"),
        ).rename(columns={"sales": "y"})
        return dataset(
            rows,
            options,
            ["weather", "visits"],
            ["price", "discount", "promotion"],
            time_varying_known_categoricals=["event"],
            time_varying_unknown_categoricals=["sky"],
            static_categoricals=["region"],
            static_reals=["size"],
            allow_missing_timesteps=True,
        )

    data, seconds, peak = common.measured(ready)
    batches = data.to_dataloader(train=True, batch_size=options.batch, num_workers=0)
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "windows": len(data),
        "batch_seconds": common.batch_seconds(batches),
        "peak_rss_mb": common.memory_mb(),
    }


def accuracy(options: Options) -> dict:
    table, known, observed, origin = options.filled()
    data = dataset(
        table[table["time"] < options.train_end], options, observed, known, weight="weight"
    )
    model = fit(data, options, options.steps)
    tail = table[table["time"] >= options.test_start - options.context].assign(weight=1.0)
    tested = TimeSeriesDataSet.from_dataset(data, tail, stop_randomization=True).filter(
        lambda index: (index.time_idx_first_prediction - options.test_start) % options.stride == 0
    )
    values = quantiles(model, tested, 512)
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
        ["pytorch-forecasting", "torch", "lightning", "numpy", "pandas"],
    )
