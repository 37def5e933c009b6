"""Attention that fuses the features of one sequence, or of sequences of several resolutions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

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

__all__ = ["MultiResolutionAttentionFusion"]


@register
class MultiResolutionAttentionFusion(Layer):
    r"""Fuse features by multi-head attention.

    Of one sequence :math:`X` (B, T, D), self-attention to the width ``units``:

    .. math::

        Z = \mathrm{MHA}(X, X)

    Of a list of sequences :math:`X_r` (B, T_r, D_r), r = 0 ... R - 1, of different resolutions
    (hours and days, say), the first asks and all are looked at:

    .. math::

        Z = \mathrm{MHA}(q = W_0 X_0,\; k = v = [W_0 X_0;\, W_1 X_1;\, \dots;\, W_{R-1} X_{R-1}])

    with :math:`W_r` a Dense layer each to ``units``, whose bias tells the resolutions apart, and
    [;] joining along time. :math:`Z` is (B, T, units), or (B, T_0, units).

    Parameters
    ----------
    units : int
        Width of each attention head, of the projections and of the output.
    num_heads : int
        Number of attention heads N.
    **kwargs
        Keywords of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises
    ------
    ValueError
        If a parameter is not an integer >= 1; if the input is neither (B, T, D) nor a list of
        such; if a layer built for one sequence is called with a list, or the reverse.

    See Also
    --------
    ExplainableAttention : Only the scores.
    HierarchicalAttention : One attention for each of two windows.

    Notes
    -----
    One softmax runs over the steps of all resolutions, so that they compete for attention; in
    `HierarchicalAttention` each window has a softmax of its own.

    Masks come with the inputs, or as ``mask`` (B, T) (a list of masks for a list of inputs, each
    may be None). Masked steps are not looked at; an asking step that is masked, or sees no
    step, gives zeros. The output carries the mask of the first sequence. ``attention_mask``
    (B, T_0, Tk) or (T_0, Tk), with Tk the sum of the lengths, narrows further who sees whom, as
    does ``use_causal_mask`` with a single sequence. With ``return_attention_scores=True`` the call
    returns ``(output, scores)``, the scores (B, N, T_0, Tk) in float32.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1 and section 3.2.2.

    Examples
    --------
    >>> import keras
    >>> from tsfusion.components import MultiResolutionAttentionFusion
    >>> x = keras.random.normal((32, 10, 8))
    >>> tuple(MultiResolutionAttentionFusion(units=16, num_heads=2)(x).shape)
    (32, 10, 16)
    >>> hours, days = keras.random.normal((32, 48, 8)), keras.random.normal((32, 14, 3))
    >>> fusion = MultiResolutionAttentionFusion(units=16, num_heads=2)
    >>> outputs, scores = fusion([hours, days], return_attention_scores=True)
    >>> tuple(outputs.shape), tuple(scores.shape)
    ((32, 48, 16), (32, 2, 48, 62))
    """

    def __init__(self, units: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = check_positive_int(owner, "units", units)
        self.num_heads = check_positive_int(owner, "num_heads", num_heads)
        self.supports_masking = True
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads,
            key_dim=self.units,
            output_shape=self.units,
            dtype=self.dtype_policy,
            name="attention",
        )
        # One per resolution; how many there are is known when the layer is built.
        self.resolution_dense: list[keras.layers.Dense] | None = None

    def _check_shapes(self, shape: Any) -> list[tuple[int | None, ...]]:
        """Return the shapes of the sequences (a list of one for a single tensor)."""
        owner = type(self).__name__
        is_list = len(shape) > 0 and all(isinstance(size, (list, tuple)) for size in shape)
        if not is_list:
            shape = tuple(shape)
            check_rank(owner, "inputs", shape, 3, "(B, T, D)")
        shapes = check_sources(owner, shape) if is_list else [shape]
        for index, one in enumerate(shapes):
            check_rank(owner, f"inputs[{index}]", one, 3, "(B, T, D)")
        if self.built:
            dense = self.resolution_dense
            expected = "one tensor" if dense is None else f"a list of {len(dense)} tensors"
            received = f"a list of {len(shapes)} tensors" if is_list else "one tensor"
            if expected != received:
                raise ValueError(
                    f"{owner}: expected {expected}, as in the call that built the layer, "
                    f"received {received}."
                )
        return shapes

    def build(self, input_shape: Any) -> None:
        """Build the attention, and one projection per resolution if the input is a list."""
        shapes = self._check_shapes(input_shape)
        if not isinstance(input_shape[0], (list, tuple)):
            self.attention.build(shapes[0], shapes[0])
            return
        self.resolution_dense = [
            keras.layers.Dense(self.units, dtype=self.dtype_policy, name=f"resolution_{index}")
            for index in range(len(shapes))
        ]
        for dense, shape in zip(self.resolution_dense, shapes):
            dense.build(shape)
        self.attention.build(
            (*shapes[0][:-1], self.units), (shapes[0][0], self._keys(shapes), self.units)
        )

    def _keys(self, shapes: list[tuple[int | None, ...]]) -> int | None:
        """Return the sum of the lengths, None if one is unknown."""
        total = 0
        for _, length, _ in shapes:
            if length is None:
                return None
            total += length
        return total

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return (B, T_0, units), and the scores (B, N, T_0, Tk) if asked for.

        Parameters
        ----------
        inputs : tensor or list of tensor
            (B, T, D), or a list of (B, T_r, D_r) of which the first asks.
        mask, inputs_mask : bool tensor or list of bool tensor, optional
            Padding masks (B, T_r); Keras fills in the one or the other.
        attention_mask : bool tensor, optional
            (B, T_0, Tk) or (T_0, Tk).
        use_causal_mask : bool
            Whether a step may only look at itself and earlier steps; only with one sequence.
        return_attention_scores : bool
            Whether to return the scores as well.
        training : bool, optional
            Without effect: there is no dropout.
        """
        self._check_shapes(shapes_of(inputs))
        mask = mask if mask is not None else inputs_mask
        if self.resolution_dense is None:
            query = key = bare(inputs, own=[mask])
            query_mask = key_mask = mask
        else:
            if use_causal_mask:
                raise ValueError(
                    f"{type(self).__name__}: expected `use_causal_mask=False` with a list of "
                    f"sequences, received True: their steps have no common clock."
                )
            masks = split_masks(mask, len(self.resolution_dense))
            parts = [
                dense(bare(tensor, *masks, own=[own]))
                for dense, tensor, own in zip(self.resolution_dense, inputs, masks)
            ]
            query, key = parts[0], ops.concatenate(parts, axis=1)
            query_mask, key_mask = masks[0], _join(parts, masks)
        output, scores = attend(
            self.attention,
            query,
            key,
            mask=combine_masks(
                query,
                key,
                query_mask=query_mask,
                key_mask=key_mask,
                attention_mask=attention_mask,
                causal=use_causal_mask,
            ),
            return_scores=return_attention_scores,
            training=training,
        )
        return (output, scores) if return_attention_scores else output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the (first) sequence."""
        return first_mask(mask)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return (B, T_0, units)."""
        return (*self._check_shapes(input_shape)[0][:-1], self.units)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the symbolic output, and the symbolic scores if asked for."""
        shapes = self._check_shapes(shapes_of(inputs))
        output = keras.KerasTensor((*shapes[0][:-1], self.units), dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        return output, score_spec(shapes[0][0], self.num_heads, shapes[0][1], self._keys(shapes))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "units": self.units, "num_heads": self.num_heads}


def _join(sequences: list[Any], masks: list[Any]) -> Any:
    """Return the masks (B, T_r) joined along time, True where there is none; None if all are."""
    if all(mask is None for mask in masks):
        return None
    return ops.concatenate(
        [
            ops.ones(ops.shape(sequence)[:2], dtype="bool")
            if mask is None
            else ops.cast(mask, "bool")
            for sequence, mask in zip(sequences, masks)
        ],
        axis=1,
    )
