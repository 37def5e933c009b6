"""Backtests, scores, the baselines that every forecast must beat, and audits for leaks."""

from tsfusion.evaluation._reliability import pit_histogram, reliability
from tsfusion.evaluation.backtesting import backtest
from tsfusion.evaluation.baselines import (
    baseline_forecast,
    drift,
    last_value,
    season_mean,
    seasonal_naive,
)
from tsfusion.evaluation.comparison import DieboldMariano, diebold_mariano, skill_scores
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
from tsfusion.evaluation.named import Baseline
from tsfusion.evaluation.scores import evaluate

__all__ = [
    "Baseline",
    "DieboldMariano",
    "LeakageError",
    "LeakageReport",
    "audit_leakage",
    "backtest",
    "baseline_forecast",
    "coverage",
    "diebold_mariano",
    "drift",
    "evaluate",
    "interval_width",
    "last_value",
    "mae",
    "mase",
    "pinball_loss",
    "pit_histogram",
    "reliability",
    "rmse",
    "season_mean",
    "seasonal_naive",
    "skill",
    "skill_scores",
    "weighted_quantile_loss",
    "winkler_score",
]
