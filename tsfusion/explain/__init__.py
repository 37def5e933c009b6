"""Explanations of forecasts: what a model looked at, labelled in the user's own terms."""

from tsfusion.explain.averages import AverageExplanation
from tsfusion.explain.explanation import Explanation

__all__ = ["AverageExplanation", "Explanation"]
