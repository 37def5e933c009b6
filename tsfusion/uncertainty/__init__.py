"""Calibrated quantiles and sample paths from the errors of past forecasts. Relies on NumPy."""

from tsfusion.uncertainty.anomalies import conformal_p_values, strangeness
from tsfusion.uncertainty.calibration import Calibration
from tsfusion.uncertainty.conformal import (
    conformal_quantile,
    overlap_of,
    path_corrections,
    scores_needed,
    step_corrections,
    upper_scores,
)
from tsfusion.uncertainty.paths import dependent_uniforms, normal_scores, quantiles_at

__all__ = [
    "Calibration",
    "conformal_p_values",
    "conformal_quantile",
    "dependent_uniforms",
    "normal_scores",
    "overlap_of",
    "path_corrections",
    "quantiles_at",
    "scores_needed",
    "step_corrections",
    "strangeness",
    "upper_scores",
]
