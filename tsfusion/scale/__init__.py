"""Many series, many machines: a saved forecaster over a panel, shared out by series.

- `predict_panel`, `backtest_panel`, `explain_panel`: from a table and a model file to a table.
- `on_dask`, `on_ray`, `on_spark`: the same on a cluster.
- `relayout`: a data set larger than memory, laid out in buckets of whole series.
- `series_bucket`: the stable number by which series are shared out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsfusion.scale.buckets import series_bucket
    from tsfusion.scale.engines import on_dask, on_ray, on_spark
    from tsfusion.scale.layout import relayout
    from tsfusion.scale.panel import backtest_panel, explain_panel, predict_panel

_HOMES = {
    "series_bucket": "buckets",
    "on_dask": "engines",
    "on_ray": "engines",
    "on_spark": "engines",
    "backtest_panel": "panel",
    "explain_panel": "panel",
    "predict_panel": "panel",
    "relayout": "layout",
}

__all__ = [
    "backtest_panel",
    "explain_panel",
    "on_dask",
    "on_ray",
    "on_spark",
    "predict_panel",
    "relayout",
    "series_bucket",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"tsfusion.scale.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tsfusion.scale' has no attribute {name!r}")
