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
# # Forecast a DataFrame
#
# Four stores, four months of days. Price and promotion are planned, the weather is not. We fit on
# all but the last week, forecast that week, and set the forecast beside a naive one.
#
# The network is tiny and trained for a few seconds, so that the notebook can be tried at once.
# Leave out `hidden_size`, `max_epochs` and `steps_per_epoch` for real work.

# %%
import pandas as pd

from tsfusion import FusionForecaster, evaluate
from tsfusion.data import make_panel

sales = make_panel(n_series=4, n_steps=120, random_state=0)
sales = sales[["series", "date", "sales", "price", "promo", "weather", "region"]]
cutoff = sales["date"].max() - pd.Timedelta(days=7)
history, week = sales[sales["date"] <= cutoff], sales[sales["date"] > cutoff]
history.head()

# %% [markdown]
# Each column has a role. What is not named is left out, with a warning.

# %%
model = FusionForecaster(
    horizon=7,
    context_length=28,
    time="date",
    series="series",
    target="sales",
    known=["price", "promo"],
    observed=["weather"],
    static=["region"],
    hidden_size=8,
    max_epochs=2,
    steps_per_epoch=10,
    random_state=0,
    verbose=0,
).fit(history)
pd.Series(model.validation_losses_, name="loss on the validation tail").to_frame()

# %% [markdown]
# `make_future_dataframe` gives the rows to forecast; the plan fills in what is known of them.

# %%
future = model.make_future_dataframe().merge(week[["series", "date", "price", "promo"]])
forecast = model.forecast(future, quantiles=[0.1, 0.5, 0.9])
forecast.head(7)

# %%
from tsfusion.plotting import plot_forecast

plot_forecast(forecast, history, target="sales", which="store_00", steps=42)
# %% [markdown]
# One week tells little. `backtest` goes back to several cutoffs, and `evaluate` scores what came of
# it. `refit=False` fits at the first cutoff alone, which is quick.

# %%
past = model.backtest(sales, models=["seasonal_naive", "last_value"], n_windows=2, refit=False)
scores = evaluate(past, train=sales, metrics=["mae", "mase", "wql", "coverage"])
scores.round(3)

# %% [markdown]
# The model goes into a file that runs no code when it is read. New rows go in by `update`; nothing
# is trained again.

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "sales.tsf"
    model.save(path)
    loaded = FusionForecaster.load(path)
same = loaded.forecast(future, quantiles=[0.1, 0.5, 0.9]).equals(forecast)
loaded.update(week)
same, loaded.make_future_dataframe()["date"].min()
