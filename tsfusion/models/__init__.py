"""Keras models for forecasting, built from the layers in ``tsfusion.components``."""

from tsfusion.models.fusion_transformer import FusionTransformer
from tsfusion.models.temporal_fusion_transformer import TemporalFusionTransformer

__all__ = ["FusionTransformer", "TemporalFusionTransformer"]
