"""Attention of one sequence to another."""

from __future__ import annotations

from typing import Any

import keras

from tsfusion.components._attention import (
    attend,
    bare,
    combine_masks,
    first_mask,
    score_spec,
    split_masks,
)
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank, check_sources, shapes_of

__all__ = ["CrossAttention"]


@register
class CrossAttention(Layer):
    r"""Let one sequence attend to another.

    .. math::

        H = \mathrm{MHA}(q = W_1 S_1,\; k = v = W_2 S_2)

    with :math:`S_1` (B, T1, D1) the sequence that asks, :math:`S_2` (B, T2, D2) the one that is
    looked at, :math:`W_1, W_2` a Dense layer each (with bias) to ``units``, and :math:`H`
    (B, T1, units). The lengths T1 and T2 and the widths D1 and D2 may differ.

    Parameters
    ----------
    units : int
        Width of both projections, of each attention head and of the output.
    num_heads : int
        Number of attention heads N, each of width ``units``.
    **kwargs
        Keywords of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises
    ------
    ValueError
        If ``units`` or ``num_heads`` is not an integer >= 1, or the input is not a list of two
        rank-3 tensors.

    See Also
    --------
    HierarchicalAttention : Attention within a short and a long window.
    MemoryAugmentedAttention : Attention to a learned memory.

    Notes
    -----
    Masks come with the inputs, or as ``mask=[mask1, mask2]`` of shapes (B, T1) and (B, T2), each
    of which may be None. Masked steps of the second sequence are never looked at. A step of the
    first sequence that is masked, or that has no step to look at, gives zeros. The output carries
    the mask of the first sequence.

    ``attention_mask`` (B, T1, T2) or (T1, T2) narrows further who sees whom. With
    ``return_attention_scores=True`` the call returns ``(output, scores)``, the scores
    (B, N, T1, T2) in float32.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1 and section 3.2.2.

    Examples
    --------
    >>> import keras
    >>> from tsfusion.components import CrossAttention
    >>> source1 = keras.random.normal((32, 10, 64))
    >>> source2 = keras.random.normal((32, 14, 16))
    >>> cross_attn = CrossAttention(units=64, num_heads=4)
    >>> tuple(cross_attn([source1, source2]).shape)
    (32, 10, 64)
    >>> outputs, scores = cross_attn([source1, source2], return_attention_scores=True)
    >>> tuple(scores.shape)
    (32, 4, 10, 14)
    """

    def __init__(self, units: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = check_positive_int(owner, "units", units)
        self.num_heads = check_positive_int(owner, "num_heads", num_heads)
        self.supports_masking = True
        self.source1_dense = keras.layers.Dense(
            self.units, dtype=self.dtype_policy, name="source1_dense"
        )
        self.source2_dense = keras.layers.Dense(
            self.units, dtype=self.dtype_policy, name="source2_dense"
        )
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads, key_dim=self.units, dtype=self.dtype_policy, name="attention"
        )

    def _check_shapes(self, shapes: Any) -> list[tuple[int | None, ...]]:
        owner = type(self).__name__
        shapes = check_sources(owner, shapes, ("source1", "source2"))
        check_rank(owner, "source1", shapes[0], 3, "(B, T1, D1)")
        check_rank(owner, "source2", shapes[1], 3, "(B, T2, D2)")
        return shapes

    def build(self, input_shape: Any) -> None:
        """Build both projections and the attention."""
        first, second = self._check_shapes(input_shape)
        self.source1_dense.build(first)
        self.source2_dense.build(second)
        self.attention.build((*first[:-1], self.units), (*second[:-1], self.units))

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return (B, T1, units), and the scores (B, N, T1, T2) if asked for.

        Parameters
        ----------
        inputs : list of tensor
            ``[source1, source2]``, of shapes (B, T1, D1) and (B, T2, D2).
        mask : list of bool tensor, optional
            Padding masks (B, T1) and (B, T2).
        inputs_mask : list of bool tensor, optional
            The same; Keras fills it in when ``attention_mask`` is given too.
        attention_mask : bool tensor, optional
            Of shape (B, T1, T2) or (T1, T2).
        return_attention_scores : bool
            Whether to return the scores as well.
        training : bool, optional
            Without effect: there is no dropout.
        """
        self._check_shapes(shapes_of(inputs))
        mask1, mask2 = split_masks(mask if mask is not None else inputs_mask, 2)
        query = self.source1_dense(bare(inputs[0], mask2, own=[mask1]))
        key = self.source2_dense(bare(inputs[1], mask1, own=[mask2]))
        output, scores = attend(
            self.attention,
            query,
            key,
            mask=combine_masks(
                query, key, query_mask=mask1, key_mask=mask2, attention_mask=attention_mask
            ),
            return_scores=return_attention_scores,
            training=training,
        )
        return (output, scores) if return_attention_scores else output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the first sequence."""
        return first_mask(mask)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return (B, T1, units)."""
        first, _ = self._check_shapes(input_shape)
        return (*first[:-1], self.units)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the symbolic output, and the symbolic scores if asked for."""
        first, second = self._check_shapes(shapes_of(inputs))
        output = keras.KerasTensor((*first[:-1], self.units), dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        return output, score_spec(first[0], self.num_heads, first[1], second[1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "units": self.units, "num_heads": self.num_heads}
