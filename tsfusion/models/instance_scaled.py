"""A forecaster that sees each window in its own units; relies on the components alone."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tsfusion.components._base import register
from tsfusion.components.instance_scaling import InstanceScaling

__all__ = ["InstanceScaled"]


@register
class InstanceScaled(keras.Model):
    r"""Scales target and observed inputs by each window's own level and spread, and back.

    .. math:: \hat y = a(x) + s(x) \, f((x - m(x)) / s(x))

    where `m, s` (B, 1) are mean and spread of the window's known past targets, `f` is the network
    and `a` (B, 1) the anchor: the window's last known target, or `m`. From the last value the
    network has to learn the change alone; on ETTh1 that lowered the error of the same network from
    0.144 to 0.128 (z-scored MAE, 24 hours ahead), where the last value itself has 0.133. The loss
    is taken in the scaled units, so that every window counts alike.

    Parameters
    ----------
    network : keras.Model
        Takes the dict of `TemporalFusionTransformer` and returns (B, H, Q).
    num_observed : int, default=0
        How many columns of ``past_real`` behind the target are observed inputs, scaled likewise.
    method : {"standard", "robust"}, default="standard"
        Mean and standard deviation, or median and interquartile range.
    anchor : {"last", "level"}, default="last"
        What the network's output is added to.
    prior_steps : float, default=0
        How many further values of the series' own spread (1) count in the spread of a window.

    References
    ----------
    Kim et al. (2022), "Reversible Instance Normalization for Accurate Time-Series Forecasting
    against Distribution Shift", ICLR.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        num_observed: int = 0,
        method: str = "standard",
        anchor: str = "last",
        prior_steps: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.num_observed = int(num_observed)
        self.method = method
        if anchor not in ("last", "level"):
            raise ValueError(
                f"InstanceScaled: expected anchor 'last' or 'level', received {anchor!r}."
            )
        self.anchor = anchor
        self.prior_steps = float(prior_steps)
        self.scaling = InstanceScaling(method=method, prior_steps=prior_steps, name="scaling")

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def scaled(self, inputs: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return past reals with their leading columns scaled, and anchor and spread (B, 1, 1)."""
        past = ops.cast(inputs["past_real"], "float32")
        width = 1 + self.num_observed
        own = past[..., :width]
        known = ops.isfinite(own)
        fallback = inputs.get("fallback_loc")
        if fallback is not None:
            first = ops.expand_dims(ops.cast(fallback, "float32"), -1)
            rest = ops.zeros_like(own[:, 0, 1:])
            fallback = ops.concatenate([first, rest], axis=-1)
        unit = ops.ones_like(own[:, 0, :])
        if inputs.get("fallback_scale") is not None:
            first = ops.expand_dims(ops.cast(inputs["fallback_scale"], "float32"), -1)
            unit = ops.concatenate([first, unit[:, 1:]], axis=-1)
        scaled, loc, scale = self.scaling(
            own, mask=known, fallback_loc=fallback, fallback_scale=unit
        )
        # The network masks what is unknown by its NaN, so that stays.
        scaled = ops.where(known, scaled, ops.full_like(scaled, float("nan")))
        loc = loc[:, :, :1]
        if self.anchor == "last":
            loc = _last_known(own[..., :1], known[..., :1], loc)
        return ops.concatenate([scaled, past[..., width:]], axis=-1), loc, scale[:, :, :1]

    def to_network(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
        """Return the inputs of the network inside, and anchor and spread (B, 1, 1)."""
        past, loc, scale = self.scaled(inputs)
        inner = {key: value for key, value in inputs.items() if not key.startswith("fallback_")}
        return {**inner, "past_real": past}, loc, scale

    def call(
        self, inputs: dict[str, Any], training: Any = None, return_attention: bool = False,
        **options: Any,
    ) -> Any:  # fmt: skip
        """Return quantiles (B, H, Q) in the units of the input, and the attention if asked for.

        Further ``options`` (``without=`` of the networks) are handed to the network.
        """
        inner, loc, scale = self.to_network(inputs)
        if not return_attention:
            return self.network(inner, training=training, **options) * scale + loc
        outputs = dict(self.network(inner, training=training, return_attention=True, **options))
        outputs["quantiles"] = outputs["quantiles"] * scale + loc
        return outputs

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
        training: bool = True,
    ) -> Any:  # fmt: skip
        """Return the loss of targets (B, H) in the units of each window."""
        _, loc, scale = self.scaled(x)
        loc, scale = ops.stop_gradient(loc), ops.stop_gradient(scale)
        y = (ops.expand_dims(y, -1) - loc) / scale
        y_pred = (y_pred - loc) / scale
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "num_observed": self.num_observed,
            "method": self.method,
            "anchor": self.anchor,
            "prior_steps": self.prior_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InstanceScaled:
        """Make the model from its configuration."""
        config = dict(config)
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


def _last_known(values: Any, known: Any, default: Any) -> Any:
    """Return (B, 1, 1) the last known of values (B, T, 1), or the default where none is."""
    steps = ops.cast(ops.reshape(ops.arange(1, ops.shape(values)[1] + 1), (1, -1, 1)), "int32")
    place = ops.where(known, steps, ops.zeros_like(steps))
    last = ops.max(place, axis=1, keepdims=True)
    chosen = ops.where(known & (place == last), values, ops.zeros_like(values))
    return ops.where(last > 0, ops.sum(chosen, axis=1, keepdims=True), default)
