"""Forecast many series and say why: an explainable Temporal Fusion Transformer on Keras 3.

The public names are loaded when they are first used, so that ``import tsfusion`` costs little:

- `FusionForecaster`: fit, predict, forecast, explain.
- `PanelSplit`: cross-validation by time.
- `backtest` and `evaluate`: forecasts from past cutoffs, beside those of baselines, and scores.
- `audit_leakage`: does the future reach a forecast?
- `tsfusion.components`: the attention layers and the parts of the network, as Keras layers.
- `tsfusion.models`: the networks.
- `tsfusion.data`: panels, windows, calendars and data sets.
- `tsfusion.evaluation`: metrics and baselines.
- `tsfusion.uncertainty`: calibrated quantiles and sample paths, on arrays.
- `show_versions`: what is installed, for a report of a defect.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsfusion import components, data, evaluation, models, uncertainty
    from tsfusion._versions import show_versions
    from tsfusion.data import PanelSplit
    from tsfusion.evaluation import audit_leakage, backtest, evaluate
    from tsfusion.exceptions import (
        BeyondHorizonWarning,
        CalibrationWarning,
        DataWarning,
        ExplanationWarning,
        FileFormatError,
        SkillWarning,
        TsfusionWarning,
    )
    from tsfusion.explain import Explanation
    from tsfusion.forecaster import FusionForecaster

__version__ = "0.1.0.dev0"

__all__ = [
    "BeyondHorizonWarning",
    "CalibrationWarning",
    "DataWarning",
    "Explanation",
    "ExplanationWarning",
    "FileFormatError",
    "FusionForecaster",
    "PanelSplit",
    "SkillWarning",
    "TsfusionWarning",
    "audit_leakage",
    "backtest",
    "components",
    "data",
    "evaluate",
    "evaluation",
    "models",
    "show_versions",
    "uncertainty",
]

_HOMES = {
    "BeyondHorizonWarning": "tsfusion.exceptions",
    "CalibrationWarning": "tsfusion.exceptions",
    "DataWarning": "tsfusion.exceptions",
    "ExplanationWarning": "tsfusion.exceptions",
    "FileFormatError": "tsfusion.exceptions",
    "SkillWarning": "tsfusion.exceptions",
    "TsfusionWarning": "tsfusion.exceptions",
    "Explanation": "tsfusion.explain",
    "FusionForecaster": "tsfusion.forecaster",
    "PanelSplit": "tsfusion.data.splits",
    "audit_leakage": "tsfusion.evaluation",
    "backtest": "tsfusion.evaluation",
    "evaluate": "tsfusion.evaluation",
    "show_versions": "tsfusion._versions",
}
_MODULES = {"components", "data", "evaluation", "models", "uncertainty"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"tsfusion.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tsfusion' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
