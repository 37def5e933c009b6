"""Scores of forecasts, the baselines that every forecast must beat, and audits for leaks."""

from tsfusion.evaluation.baselines import (
    baseline_forecast,
    last_value,
    season_mean,
    seasonal_naive,
)
from tsfusion.evaluation.leakage import LeakageError, LeakageReport, audit_leakage
from tsfusion.evaluation.metrics import (
    coverage,
    interval_width,
    mae,
    mase,
    pinball_loss,
    rmse,
    skill,
    weighted_quantile_loss,
    winkler_score,
)

__all__ = [
    "LeakageError",
    "LeakageReport",
    "audit_leakage",
    "baseline_forecast",
    "coverage",
    "interval_width",
    "last_value",
    "mae",
    "mase",
    "pinball_loss",
    "rmse",
    "season_mean",
    "seasonal_naive",
    "skill",
    "weighted_quantile_loss",
    "winkler_score",
]
