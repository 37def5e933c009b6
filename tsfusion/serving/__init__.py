"""Forecasters as graphs for serving processes: TensorFlow SavedModel and ONNX."""

from __future__ import annotations

from tsfusion.serving.export import export_forecaster

__all__ = ["export_forecaster"]
