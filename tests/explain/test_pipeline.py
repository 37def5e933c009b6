"""Explanations at the end of a scikit-learn pipeline: in the names that the pipeline gives."""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.conftest import ROLES, SMALL
from tsfusion import FusionForecaster


@pytest.fixture(scope="module")
def pipe(history, eager):
    columns = make_column_transformer(
        (StandardScaler(), ["price", "weather"]), remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")  # fmt: skip
    model = FusionForecaster(horizon=7, context_length=21, **ROLES, **SMALL)
    return make_pipeline(columns, model).fit(history)


def test_the_last_step_explains_what_the_others_give(pipe, history):
    rows = history[history["date"] >= history["date"].max()]
    inner = pipe[:-1].transform(rows)
    explanation = pipe[-1].explain(inner, methods=["attention", "selection", "attribution"])
    assert {"price", "weather", "event", "sales"} <= set(explanation.importance()["variable"])
    np.testing.assert_allclose(
        explanation.forecast.sort_values("store")["median"],
        pipe[-1].predict(inner.sort_values("store"), quantiles=[0.5])[:, 0],
        rtol=1e-5,
    )
    table = explanation.attribution
    assert {"price", "weather", "sales"} <= set(table["variable"])
