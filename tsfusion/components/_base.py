"""The base class of every layer of ours; relies on Keras alone."""

from __future__ import annotations

from typing import TypeVar

import keras

from tsfusion.components._learner import LearnerMixin

__all__ = ["Layer", "register"]

T = TypeVar("T", bound=type)


def register(cls: T) -> T:
    """Register a class with Keras, so that files load it without ``custom_objects``."""
    return keras.saving.register_keras_serializable(package="tsfusion")(cls)


class Layer(LearnerMixin, keras.layers.Layer):
    """A Keras layer with the learner methods (``get_params``, ``set_params``, ``save``, ...)."""
