"""Networks from plain values; relies on the models alone."""

from __future__ import annotations

from typing import Any

import keras

from tsfusion.models.ensemble import Ensemble
from tsfusion.models.fusion_transformer import FusionTransformer
from tsfusion.models.instance_scaled import InstanceScaled
from tsfusion.models.temporal_fusion_transformer import TemporalFusionTransformer

__all__ = ["make_model"]

_NETWORKS = {"fusion": FusionTransformer, "tft": TemporalFusionTransformer}


def make_model(architecture: dict[str, Any]) -> keras.Model:
    """Return a built model.

    Parameters
    ----------
    architecture : dict
        ``architecture``, ``num_observed``, the ``network``'s parameters and the number of
        ``members``.
    """
    kind, members = _NETWORKS[architecture["architecture"]], architecture["members"]
    names = ["network"] if members == 1 else [f"network_{i}" for i in range(members)]
    networks: list[keras.Model] = [kind(**architecture["network"], name=name) for name in names]
    network = networks[0] if members == 1 else Ensemble(networks, name="network")
    model = InstanceScaled(network, num_observed=architecture["num_observed"], name="forecaster")
    model.build()
    return model
