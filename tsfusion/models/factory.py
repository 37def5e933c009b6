"""Networks from plain values; relies on the models alone."""

from __future__ import annotations

from typing import Any

import keras

from tsfusion.models.fusion_transformer import FusionTransformer
from tsfusion.models.instance_scaled import InstanceScaled
from tsfusion.models.temporal_fusion_transformer import TemporalFusionTransformer

__all__ = ["make_model"]

_NETWORKS = {"fusion": FusionTransformer, "tft": TemporalFusionTransformer}


def make_model(architecture: dict[str, Any]) -> keras.Model:
    """Return a built model from ``architecture``, ``num_observed`` and the network's parameters."""
    network = _NETWORKS[architecture["architecture"]](**architecture["network"], name="network")
    model = InstanceScaled(network, num_observed=architecture["num_observed"], name="forecaster")
    model.build()
    return model
