"""Attention that returns who looks at whom, and nothing else."""

from __future__ import annotations

from typing import Any

import keras

from tsfusion.components._attention import bare, combine_masks, score_spec, scores_of
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank, shapes_of

__all__ = ["ExplainableAttention"]


@register
class ExplainableAttention(Layer):
    r"""Return the scores of multi-head self-attention.

    .. math::

        A_n = \mathrm{softmax}\left( \frac{(X W^Q_n + b^Q_n)(X W^K_n)^\top}{\sqrt{K}} \right),
        \qquad n = 1, \dots, N

    with :math:`X` (B, T, D) the input, :math:`W^Q_n, W^K_n` (D, K) and :math:`b^Q_n` (K,) the
    projections of head n, K = ``key_dim``, and :math:`A` (B, N, T, T). Each row sums to 1.

    Parameters
    ----------
    num_heads : int
        Number of attention heads N.
    key_dim : int
        Width K of the query and key projections of each head.
    **kwargs
        Keywords of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises
    ------
    ValueError
        If a parameter is not an integer >= 1, or the input is not of shape (B, T, D).

    See Also
    --------
    CrossAttention : Attention of one sequence to another.
    MultiResolutionAttentionFusion : Fuses features by multi-head attention.

    Notes
    -----
    These are the scores of ``keras.layers.MultiHeadAttention`` with the same query and key
    weights. The layer has only the weights that the scores depend on: no value and no output
    projection, and no bias on the keys, which would add the same number to a whole row and so
    leave its softmax as it is.

    Masked steps (from the input's mask, or ``mask`` (B, T)) get a score of zero, and rows of masked
    steps, or with nothing to look at, are all zeros. The scores are float32 whatever the dtype
    policy, and carry no mask.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1 without the values.

    Examples
    --------
    >>> import keras
    >>> from tsfusion.components import ExplainableAttention
    >>> x = keras.random.normal((32, 10, 64))
    >>> ea = ExplainableAttention(num_heads=4, key_dim=64)
    >>> tuple(ea(x).shape)
    (32, 4, 10, 10)
    """

    def __init__(self, num_heads: int, key_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.num_heads = check_positive_int(owner, "num_heads", num_heads)
        self.key_dim = check_positive_int(owner, "key_dim", key_dim)
        self.supports_masking = True
        self.query_dense = keras.layers.EinsumDense(
            "btd,dnk->btnk",
            output_shape=(None, self.num_heads, self.key_dim),
            bias_axes="nk",
            dtype=self.dtype_policy,
            name="query",
        )
        self.key_dense = keras.layers.EinsumDense(
            "btd,dnk->btnk",
            output_shape=(None, self.num_heads, self.key_dim),
            dtype=self.dtype_policy,
            name="key",
        )

    def _check_shape(self, shape: Any) -> tuple[int | None, ...]:
        shape = tuple(shape)
        check_rank(type(self).__name__, "inputs", shape, 3, "(B, T, D)")
        return shape

    def build(self, input_shape: Any) -> None:
        """Build the query and the key projection."""
        shape = self._check_shape(input_shape)
        self.query_dense.build(shape)
        self.key_dense.build(shape)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the scores (B, N, T, T).

        Parameters
        ----------
        inputs : tensor
            (B, T, D).
        mask, inputs_mask : bool tensor, optional
            Padding mask (B, T); Keras fills in the one or the other.
        attention_mask : bool tensor, optional
            Who may look at whom, (B, T, T) or (T, T).
        use_causal_mask : bool
            Whether a step may only look at itself and earlier steps.
        training : bool, optional
            Without effect.
        """
        self._check_shape(shapes_of(inputs))
        mask = mask if mask is not None else inputs_mask
        inputs = bare(inputs, own=[mask])
        allowed = combine_masks(
            inputs,
            inputs,
            query_mask=mask,
            key_mask=mask,
            attention_mask=attention_mask,
            causal=use_causal_mask,
        )
        return scores_of(self.query_dense(inputs), self.key_dense(inputs), allowed)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: scores (B, N, T, T) have no time axis for a mask (B, T)."""
        return None

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return (B, N, T, T)."""
        batch, steps, _ = self._check_shape(input_shape)
        return (batch, self.num_heads, steps, steps)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        training: bool | None = None,
    ) -> keras.KerasTensor:
        """Return the symbolic scores, float32."""
        batch, heads, queries, keys = self.compute_output_shape(inputs.shape)
        return score_spec(batch, heads, queries, keys)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "num_heads": self.num_heads, "key_dim": self.key_dim}
