"""Networks from plain values; relies on the models alone."""

from __future__ import annotations

from typing import Any

import keras

from tsfusion.models.ensemble import Ensemble
from tsfusion.models.fusion_transformer import FusionTransformer
from tsfusion.models.instance_scaled import InstanceScaled
from tsfusion.models.temporal_fusion_transformer import TemporalFusionTransformer

__all__ = ["NETWORKS", "make_model"]

# A window of two or three values may have next to no spread by chance; in its units, what follows
# would be enormous, and the loss with it.
_PRIOR_STEPS = 1.0

NETWORKS = {"fusion": FusionTransformer, "tft": TemporalFusionTransformer}


def make_model(architecture: dict[str, Any]) -> keras.Model:
    """Return a built model.

    Parameters
    ----------
    architecture : dict
        ``architecture``, ``num_observed``, the ``network``'s parameters and the number of
        ``members``.
    """
    kind, members = NETWORKS[architecture["architecture"]], architecture["members"]
    names = ["network"] if members == 1 else [f"network_{i}" for i in range(members)]
    networks: list[keras.Model] = [kind(**architecture["network"], name=name) for name in names]
    network = networks[0] if members == 1 else Ensemble(networks, name="network")
    model = InstanceScaled(
        network,
        num_observed=architecture["num_observed"],
        prior_steps=_PRIOR_STEPS,
        name="forecaster",
    )
    model.build()
    return model
