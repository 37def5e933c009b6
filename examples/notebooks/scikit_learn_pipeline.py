# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # In a scikit-learn pipeline
#
# The forecaster is a regressor: transformers go in front of it, a search tries its parameters, a
# splitter by time keeps the future out. The networks here are tiny, and trained for one epoch.

# %%
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

from tsfusion import FusionForecaster, PanelSplit
from tsfusion.data import make_panel

names = {"time": "date", "series": "series"}
sales = make_panel(n_series=3, n_steps=80, random_state=0)
X, y = sales[["series", "date", "price", "promo"]], sales["sales"]
X.head()

# %% [markdown]
# The transformer must hand on a DataFrame with the names that the forecaster knows. That is what
# `set_output` and `verbose_feature_names_out=False` are for.

# %%
columns = ColumnTransformer(
    [("price", PowerTransformer(), ["price"])],
    remainder="passthrough",
    verbose_feature_names_out=False,
).set_output(transform="pandas")
forecaster = FusionForecaster(
    horizon=7,
    context_length=14,
    **names,
    hidden_size=8,
    max_epochs=1,
    steps_per_epoch=5,
    random_state=0,
    verbose=0,
)
pipeline = make_pipeline(columns, forecaster)
pipeline

# %% [markdown]
# Rows must not be split at random: `PanelSplit` cuts all series at the same days.

# %%
cv = PanelSplit(n_splits=2, horizon=7, **names)
errors = -cross_val_score(pipeline, X, y, cv=cv, scoring="neg_mean_absolute_error")
errors.round(1)

# %%
search = GridSearchCV(
    pipeline,
    {"fusionforecaster__dropout": [0.0, 0.2]},
    cv=cv,
    scoring="neg_mean_absolute_error",
).fit(X, y)
search.best_params_

# %% [markdown]
# `predict` answers rows in their order; the last step of the pipeline also gives quantiles.

# %%
prepared = search.best_estimator_[:-1].transform(X[-7:])
quantiles = search.best_estimator_[-1].predict(prepared, quantiles=[0.1, 0.5, 0.9])
search.predict(X[-7:]).shape, quantiles.shape

# %% [markdown]
# Did a later row reach an earlier forecast somewhere? The audit changes what comes after a cutoff,
# and looks whether the forecasts made at it move.

# %%
from tsfusion import audit_leakage

report = audit_leakage(pipeline, X, y, cutoffs=1, cv=cv, **names)
report
