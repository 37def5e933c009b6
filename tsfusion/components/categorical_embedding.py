"""The embedding of categorical variables; relies on Keras alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank

__all__ = ["CategoricalEmbedding"]

Shape = tuple[Any, ...]


@register
class CategoricalEmbedding(Layer):
    r"""``e[..., v, :] = table[offset[v] + code[..., v]]``, one table and one gather for all.

    ``code (B, T, V)`` integers in ``[0, cardinalities[v])``; ``table (sum(cardinalities), units)``;
    result ``(B, T, V, units)``. Code 0 stands for what was never seen or is not known: its row
    starts at zero. A code out of range is read as 0.

    Parameters
    ----------
    cardinalities : sequence of int
        For each variable, the number of its codes, code 0 included.
    units : int
        Width of a variable's embedding.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021), section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import CategoricalEmbedding
    >>> layer = CategoricalEmbedding(cardinalities=[3, 5], units=4)
    >>> tuple(layer(np.array([[[1, 4], [0, 2]]])).shape)
    (1, 2, 2, 4)
    """

    def __init__(self, cardinalities: Sequence[int], units: int, **kwargs: Any) -> None:
        # Codes are integers, and a float that carries them must not lose them to bfloat16.
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        owner = type(self).__name__
        if isinstance(cardinalities, (str, int)) or len(cardinalities) == 0:
            raise ValueError(
                f"{owner}: expected `cardinalities` to be a sequence of at least one integer, "
                f"received {cardinalities!r}."
            )
        self.cardinalities = [
            check_positive_int(owner, "cardinalities", size) for size in cardinalities
        ]
        self.units = check_positive_int(owner, "units", units)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Create the table, the rows of code 0 at zero."""
        self._check_shape(input_shape)
        offsets = np.concatenate([[0], np.cumsum(self.cardinalities)[:-1]])
        self._offsets = offsets.astype("int32")
        self.table = self.add_weight(
            shape=(sum(self.cardinalities), self.units), initializer=self._start, name="table"
        )
        self.built = True

    def _start(self, shape: Shape, dtype: Any = None) -> Any:
        # The spread of a real variable's embedding, so that neither kind drowns the other.
        limit = (6.0 / (1 + self.units)) ** 0.5
        rows = keras.initializers.RandomUniform(-limit, limit)(shape, dtype=dtype)
        known = np.ones((shape[0], 1), "float32")
        known[self._offsets] = 0.0
        return rows * ops.cast(known, dtype)

    def call(self, inputs: Any) -> Any:
        """Return the embeddings, ``(B, T, V, units)``."""
        codes = ops.cast(inputs, "int32")
        sizes = ops.convert_to_tensor(self.cardinalities, "int32")
        codes = ops.where((codes >= 0) & (codes < sizes), codes, 0)
        offsets = ops.convert_to_tensor(self._offsets, "int32")
        rows = ops.take(self.table, codes + offsets, axis=0)
        return ops.cast(rows, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the embeddings."""
        self._check_shape(input_shape)
        return (*input_shape, self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "cardinalities": list(self.cardinalities),
            "units": self.units,
        }

    def _check_shape(self, shape: Shape) -> None:
        owner = type(self).__name__
        check_rank(owner, "inputs", shape, 3, "(B, T, V)")
        if shape[-1] != len(self.cardinalities):
            raise ValueError(
                f"{owner}: expected `inputs` of shape (B, T, {len(self.cardinalities)}), one "
                f"variable for each of `cardinalities`, received shape {tuple(shape)}."
            )
