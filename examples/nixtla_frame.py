"""A long frame of Nixtla's libraries (unique_id, ds, y) needs no adapter: three names say it all.

python examples/nixtla_frame.py
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from tsfusion import FusionForecaster
from tsfusion.data import make_panel

HORIZON = 14


def main(**options: Any) -> pd.DataFrame:
    frame = make_panel(n_series=5, n_steps=365).rename(
        columns={"series": "unique_id", "date": "ds", "sales": "y"}
    )
    frame = frame[["unique_id", "ds", "y", "price", "promo"]]
    last = frame["ds"] > frame["ds"].max() - pd.Timedelta(days=HORIZON)
    model = FusionForecaster(
        HORIZON, time="ds", series="unique_id", target="y", verbose=0, random_state=0,
        **{"hidden_size": 16, "max_epochs": 3, "steps_per_epoch": 30, **options},
    ).fit(frame[~last])  # fmt: skip
    # What those libraries call X_df or futr_df: the known columns of the days to come.
    table = model.forecast(frame[last].drop(columns="y"))
    print(table.head())
    return table


if __name__ == "__main__":
    main()
