"""The forecaster among other tools: a Nixtla frame, a pipeline, a search by time, a file.

    python examples/scikit_learn.py

Some ten short fits: half a minute with KERAS_BACKEND=torch, a few minutes on TensorFlow, which
compiles each.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

from tsfusion import FusionForecaster, PanelSplit
from tsfusion.data import make_panel

HORIZON = 14


def main() -> None:
    # The long format of Nixtla's libraries needs no adapter: three names say it all.
    names = {"time": "ds", "series": "unique_id"}
    sales = make_panel(n_series=5, n_steps=365).rename(
        columns={"date": "ds", "series": "unique_id", "sales": "y"}
    )
    X = sales[["unique_id", "ds", "price", "promo"]]
    y = sales["y"]
    last = X["ds"] > X["ds"].max() - HORIZON * (X["ds"].iloc[1] - X["ds"].iloc[0])

    # A transformer before it must keep the names of the columns: set_output("pandas").
    columns = ColumnTransformer(
        [("price", PowerTransformer(), ["price"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    forecaster = FusionForecaster(
        HORIZON,
        **names,
        hidden_size=16,
        max_epochs=3,
        steps_per_epoch=30,
        random_state=0,
        verbose=0,
    )
    pipeline = make_pipeline(columns, forecaster)

    # Cutoffs in time, never rows at random: what follows a cutoff is forecast, and scored.
    search = GridSearchCV(
        pipeline,
        {"fusionforecaster__dropout": [0.0, 0.2]},
        cv=PanelSplit(n_splits=2, horizon=HORIZON, **names),
        scoring="neg_mean_absolute_error",
    ).fit(X[~last], y[~last])
    print("mean absolute error by dropout:")
    for parameters, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"]
    ):
        print(f"  {parameters['fusionforecaster__dropout']:.1f}  {-score:.2f}")

    forecast = search.predict(X[last])
    print(f"on the {HORIZON} days after: {abs(forecast - y[last]).mean():.2f}")

    # A file of plain arrays: no pickle, nothing in it is run.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sales.tsfusion"
        search.best_estimator_[-1].save(path)
        loaded = FusionForecaster.load(path)
        prepared = search.best_estimator_[:-1].transform(X[last])
        print(f"the same from a file of {path.stat().st_size / 1e3:.0f} kB:",
              bool((loaded.predict(prepared) == forecast).all()))  # fmt: skip


if __name__ == "__main__":
    main()
