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
# # Extract attention, and ask whether to believe it
#
# `make_panel` makes data whose causes are known: the weather acts on sales three days later,
# humidity not at all. So we can set what the network found beside the truth.
#
# The network is tiny and trained for a few seconds; `make demo` trains one that finds the lag.

# %%
from tsfusion import FusionForecaster
from tsfusion.data import make_panel

sales, truth = make_panel(n_series=4, n_steps=120, random_state=0, return_truth=True)
model = FusionForecaster(
    horizon=5,
    context_length=14,
    time="date",
    series="series",
    target="sales",
    known=["price", "promo"],
    observed=["weather", "humidity"],
    static=["region", "size"],
    hidden_size=8,
    max_epochs=2,
    steps_per_epoch=10,
    random_state=0,
    verbose=0,
).fit(sales)
truth.effects

# %% [markdown]
# ## Where it looked
#
# One row for each forecast, branch, head and past step. The weights of one forecast, branch and
# head sum to 1.

# %%
explanation = model.explain()
attention = explanation.attention
attention.head()

# %%
explanation.temporal_patterns().head()

# %%
explanation.plot_attention()
# %% [markdown]
# As an array, for a forecast of your choice: heads by past steps.

# %%
first = attention[
    (attention["series"] == attention["series"].iloc[0])
    & (attention["cutoff"] == attention["cutoff"].iloc[0])
    & (attention["horizon"] == 1)
    & (attention["branch"] == "short")
]
heads = first.pivot(index="head", columns="source_time", values="weight").to_numpy()
heads.shape

# %% [markdown]
# ## What it depends on
#
# Attention says where, not how much, and selection weights are no importance. `attribution` says by
# how much each value moved the forecast away from a baseline, in units of the target.

# %%
explanation = model.explain(
    sales.tail(4),
    methods=["attention", "selection", "attribution", "paths"],
    checks="full",
    horizons=1,
)
explanation.importance().round(3)

# %%
explanation.attribution.sort_values("value", key=abs, ascending=False).head()

# %% [markdown]
# ## Whether to believe it
#
# Each check says what it found in words. A forecast that is no good has no explanation that is any.

# %%
for verdict in explanation.trust["verdict"]:
    print("-", verdict)

# %%
explanation.paths.round(3)
