"""A forecaster as an MLflow model of the pyfunc flavour.

    pip install mlflow-skinny
    python examples/mlflow_model.py

The artifact is the one file that `FusionForecaster.save` writes, the model is this file: no pickle.
Rows in, forecasts out; ``params`` may ask for quantiles.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import pandas as pd
from mlflow.models import infer_signature

from tsfusion import FusionForecaster
from tsfusion.data import make_panel

HORIZON = 14
PARAMS = {"quantiles": [0.1, 0.5, 0.9]}


class ForecasterModel(mlflow.pyfunc.PythonModel):
    """Answers each row with the mean of its forecast and the quantiles asked for."""

    def load_context(self, context: Any) -> None:
        self.forecaster = FusionForecaster.load(context.artifacts["forecaster"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        return answer(self.forecaster, model_input, list((params or PARAMS)["quantiles"]))


def answer(forecaster: FusionForecaster, rows: pd.DataFrame, levels: list[float]) -> pd.DataFrame:
    quantiles = forecaster.predict(rows, quantiles=levels)
    table = pd.DataFrame(quantiles, columns=[f"q{level:g}" for level in levels])
    table.insert(0, "mean", forecaster.predict(rows))
    return table


def save_model(forecaster: FusionForecaster, path: Path, example: pd.DataFrame) -> None:
    """Write a fitted forecaster as an MLflow model into a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "forecaster.tsfusion"
        forecaster.save(file)
        forecast = answer(forecaster, example, PARAMS["quantiles"])
        mlflow.pyfunc.save_model(
            path,
            # As code and not as a pickle: MLflow keeps this file, and finds the model by set_model.
            python_model=__file__,
            artifacts={"forecaster": str(file)},
            signature=infer_signature(example, forecast, params=PARAMS),
            pip_requirements=["tsfusion"],
        )


def main(**options: Any) -> pd.DataFrame:
    sales = make_panel(n_series=5, n_steps=365)
    last = sales["date"] > sales["date"].max() - pd.Timedelta(days=HORIZON)
    columns = ["series", "date", "price", "promo"]
    forecaster = FusionForecaster(
        HORIZON, time="date", series="series", verbose=0, random_state=0,
        **{"hidden_size": 16, "max_epochs": 3, "steps_per_epoch": 30, **options},
    ).fit(sales.loc[~last, columns], sales.loc[~last, "sales"])  # fmt: skip
    future = sales.loc[last, columns].reset_index(drop=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_model(forecaster, path, future)
        served = mlflow.pyfunc.load_model(str(path))
        forecast = served.predict(future)
        tails = served.predict(future, params={"quantiles": [0.01, 0.99]})
    print(pd.concat([future[["series", "date"]], forecast, tails[["q0.01", "q0.99"]]], axis=1))
    same = forecast.equals(answer(forecaster, future, PARAMS["quantiles"]))
    print(f"the same as those of the forecaster itself: {same}")
    return forecast


mlflow.models.set_model(ForecasterModel())

if __name__ == "__main__":
    main()
