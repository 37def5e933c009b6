"""Several networks as one: their quantiles averaged; relies on Keras alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tsfusion.components._base import register

__all__ = ["Ensemble"]


@register
class Ensemble(keras.Model):
    """The mean of what several networks say, level by level (so quantiles do not cross).

    Attention and selection weights are averaged as well; they still sum to 1.

    Parameters
    ----------
    members : sequence of keras.Model
        Networks of one kind, which take the same inputs.
    **kwargs
        Keywords of every Keras model.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell (2017), "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles", NeurIPS. Averaging quantiles rather than probabilities:
    Lichtendahl, Grushka-Cockayne and Winkler (2013), Management Science 59(7).
    """

    def __init__(self, members: Sequence[keras.Model], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not members:
            raise ValueError("Ensemble: expected at least one member, received none.")
        self.members = list(members)

    def build(self, input_shape: Any = None) -> None:
        """Make the members' weights."""
        for member in self.members:
            if not member.built:
                member.build(input_shape)
        self.built = True

    def token_spans(self) -> Any:
        """Return the steps that each token of the long window covers, (P, 2)."""
        return self.members[0].token_spans()

    @property
    def knockouts(self) -> tuple[str, ...]:
        """The paths that there are to knock out, by the names that ``without`` takes."""
        return self.members[0].knockouts

    def call(self, inputs: dict[str, Any], training: Any = None, **kwargs: Any) -> Any:
        """Return the mean of the members' outputs."""
        outputs = [member(inputs, training=training, **kwargs) for member in self.members]
        if not isinstance(outputs[0], dict):
            return sum(outputs[1:], outputs[0]) / len(outputs)
        return {
            name: sum((found[name] for found in outputs[1:]), value) / len(outputs)
            for name, value in outputs[0].items()
        }

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        members = [keras.saving.serialize_keras_object(member) for member in self.members]
        return {**super().get_config(), "members": members}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Ensemble:
        """Make the model from its configuration."""
        config = dict(config)
        members = [
            keras.saving.deserialize_keras_object(member) for member in config.pop("members")
        ]
        return cls(members, **config)
