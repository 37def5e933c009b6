"""One embedding per modality, side by side."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tsfusion.components._attention import bare, either_mask, split_masks, zero_dead_rows
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank, check_sources, shapes_of

__all__ = ["MultiModalEmbedding"]


@register
class MultiModalEmbedding(Layer):
    r"""Embed each modality in its own space, and join the embeddings.

    .. math::

        Z = [X_1 W_1 + b_1,\; \dots,\; X_V W_V + b_V]

    with :math:`X_v` (B, T, D_v) the modalities (all with the same T; the widths may differ),
    :math:`W_v` (D_v, embed_dim), [,] joining along the last axis, and :math:`Z`
    (B, T, V * embed_dim).

    Parameters
    ----------
    embed_dim : int
        Width of the embedding of each modality.
    **kwargs
        Keywords of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises
    ------
    ValueError
        If ``embed_dim`` is not an integer >= 1, or the input is not a list of tensors (B, T, D_v)
        with one T.

    See Also
    --------
    HierarchicalAttention : Attention that can follow the embedding.

    Notes
    -----
    Masks come with the inputs, or as a list ``mask`` of (B, T) or None. Where a modality is
    masked, its part of the output is zero. The output carries the mask of the steps at which at
    least one modality is there (none if one modality has no mask: it is there at all steps).

    References
    ----------
    One dense embedding per input variable: Lim et al., "Temporal Fusion Transformers for
    interpretable multi-horizon time series forecasting", International Journal of Forecasting
    37(4), 2021, section 4.2.

    Examples
    --------
    >>> import keras
    >>> from tsfusion.components import MultiModalEmbedding
    >>> weather, prices = keras.random.normal((32, 10, 5)), keras.random.normal((32, 10, 2))
    >>> tuple(MultiModalEmbedding(embed_dim=8)([weather, prices]).shape)
    (32, 10, 16)
    """

    def __init__(self, embed_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embed_dim = check_positive_int(type(self).__name__, "embed_dim", embed_dim)
        self.supports_masking = True
        # One per modality; how many there are is known when the layer is built.
        self.modality_dense: list[keras.layers.Dense] | None = None

    def _check_shapes(self, input_shape: Any) -> list[tuple[int | None, ...]]:
        owner = type(self).__name__
        shapes = check_sources(owner, input_shape)
        for index, shape in enumerate(shapes):
            check_rank(owner, f"inputs[{index}]", shape, 3, "(B, T, D)")
        lengths = [shape[1] for shape in shapes]
        if len({length for length in lengths if length is not None}) > 1:
            raise ValueError(
                f"{owner}: expected modalities of the same length, received lengths {lengths}."
            )
        if self.modality_dense is not None and len(shapes) != len(self.modality_dense):
            raise ValueError(
                f"{owner}: expected {len(self.modality_dense)} modalities, as in the call that "
                f"built the layer, received {len(shapes)}."
            )
        return shapes

    def build(self, input_shape: Any) -> None:
        """Build one projection per modality."""
        shapes = self._check_shapes(input_shape)
        self.modality_dense = [
            keras.layers.Dense(self.embed_dim, dtype=self.dtype_policy, name=f"modality_{index}")
            for index in range(len(shapes))
        ]
        for dense, shape in zip(self.modality_dense, shapes):
            dense.build(shape)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return (B, T, V * embed_dim).

        Parameters
        ----------
        inputs : list of tensor
            The modalities, of shapes (B, T, D_v).
        mask : list of bool tensor, optional
            Padding masks (B, T), or None, of the modalities.
        """
        self._check_shapes(shapes_of(inputs))
        masks = split_masks(mask, len(inputs))
        parts = []
        for dense, tensor, own in zip(self.modality_dense or [], inputs, masks):
            part = dense(bare(tensor, own=[own]))
            if own is not None:
                part = zero_dead_rows(part, ops.expand_dims(ops.cast(own, "bool"), -1))
            parts.append(part)
        return ops.concatenate(parts, axis=-1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the steps at which at least one modality is there."""
        return either_mask(mask)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return (B, T, V * embed_dim)."""
        shapes = self._check_shapes(input_shape)
        lengths = [shape[1] for shape in shapes if shape[1] is not None]
        return (shapes[0][0], lengths[0] if lengths else None, len(shapes) * self.embed_dim)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "embed_dim": self.embed_dim}
