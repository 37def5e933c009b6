"""The TFT's attention, whose heads share their values; relies on Keras alone."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tsfusion.components._attention import bare
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank, check_rate
from tsfusion.components._math import TimeSharedDropout, glorot, masked_softmax

__all__ = ["TemporalSelfAttention"]

Shape = tuple[Any, ...]


@register
class TemporalSelfAttention(Layer):
    r"""``y = (mean over n of A[n]) (k Wv) Wo``, attention whose heads share their values.

    ``A[n] = softmax(q Wq[n] (k Wk[n])' / sqrt(d))``, with ``q (B, Tq, D)`` and ``k (B, Tk, D)``, by
    default the same; ``d = hidden_size / num_heads``; ``Wq[n], Wk[n], Wv (D, d)``;
    ``Wo (d, hidden_size)``; ``A (B, N, Tq, Tk)``; result ``(B, Tq, hidden_size)``. Since the heads
    share their values, their mean says where the layer looks; and the mean is taken first, so
    that the values are multiplied once. A query that may see no key answers zero.

    Parameters
    ----------
    hidden_size : int
        Width of the result, a multiple of ``num_heads``.
    num_heads : int
        Number of heads.
    dropout_rate : float, default=0.0
        Share of the result's features dropped in training, at all steps at once.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021), equations 13-16.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import TemporalSelfAttention
    >>> layer = TemporalSelfAttention(hidden_size=8, num_heads=2)
    >>> steps = np.ones((2, 5, 8), "float32")
    >>> y, scores = layer(steps[:, 3:], steps, return_attention_scores=True)
    >>> tuple(y.shape), tuple(scores.shape)
    ((2, 2, 8), (2, 2, 2, 5))
    """

    def __init__(
        self, hidden_size: int, num_heads: int, dropout_rate: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.hidden_size = check_positive_int(owner, "hidden_size", hidden_size)
        self.num_heads = check_positive_int(owner, "num_heads", num_heads)
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"{owner}: expected `hidden_size` to be a multiple of `num_heads`, received "
                f"hidden_size={hidden_size!r} and num_heads={num_heads!r}."
            )
        self.dropout_rate = check_rate(owner, "dropout_rate", dropout_rate)
        self.dropout = TimeSharedDropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)
        self.supports_masking = True

    @property
    def _head_size(self) -> int:
        return self.hidden_size // self.num_heads

    def build(self, query_shape: Shape, key_shape: Shape | None = None) -> None:
        """Create the projections; keys and values come from one product."""
        key_shape = query_shape if key_shape is None else key_shape
        self._check_shapes(query_shape, key_shape)
        width, d = query_shape[-1], self._head_size
        self.query_kernel = self.add_weight(
            shape=(width, self.hidden_size), initializer=glorot(width, d), name="query_kernel"
        )
        self.key_value_kernel = self.add_weight(
            shape=(key_shape[-1], self.hidden_size + d),
            initializer=glorot(key_shape[-1], d),
            name="key_value_kernel",
        )
        self.output_kernel = self.add_weight(
            shape=(d, self.hidden_size), initializer="glorot_uniform", name="output_kernel"
        )
        self.dropout.build((*query_shape[:-1], self.hidden_size))
        self.built = True

    def call(
        self,
        query: Any,
        key: Any | None = None,
        attention_mask: Any | None = None,
        mask: Any | None = None,
        query_mask: Any | None = None,
        key_mask: Any | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
        uniform: bool = False,
    ) -> Any:
        """Return the attended values and, on request, each head's scores.

        Parameters
        ----------
        query : tensor (B, Tq, D)
            The steps that ask.
        key : tensor (B, Tk, D), optional
            The steps that are looked at; by default those of ``query``.
        attention_mask : bool tensor (B, Tq, Tk) or (Tq, Tk), optional
            True where a query may see a key.
        mask, query_mask : bool tensor (B, Tq), optional
            The padding mask of ``query``; it counts only where the queries are the keys.
        key_mask : bool tensor (B, Tk), optional
            True for keys that may be seen at all.
        use_causal_mask : bool, default=False
            Whether a query sees only keys that are not later than itself, the last query
            standing at the last key.
        return_attention_scores : bool, default=False
            Whether to return the scores too.
        training : bool, optional
            Whether to drop features.
        uniform : bool, default=False
            Whether to look at all visible keys alike, whatever they hold.

        Returns
        -------
        tensor (B, Tq, hidden_size), or a tuple of it and the float32 scores (B, N, Tq, Tk)
        """
        if key is None:
            key = query
            if key_mask is None:
                key_mask = mask if mask is not None else query_mask
        if key_mask is not None:
            # What stands at a masked step, be it NaN, reaches neither a product nor a gradient.
            if key is query:
                # A masked step may ask, as long as it can.
                query = ops.where(ops.isfinite(query), query, bare(query, own=[key_mask]))
            key = bare(key, own=[key_mask])
        visible = self._visible(query, key, attention_mask, key_mask, use_causal_mask)
        scores = self._scores(query, key * 0 if uniform else key, visible)
        values = ops.matmul(key, self.key_value_kernel[:, self.hidden_size :])
        heads = ops.cast(ops.mean(scores, axis=1), values.dtype)
        outputs = ops.matmul(ops.matmul(heads, values), self.output_kernel)
        outputs = self.dropout(outputs, training=training)
        return (outputs, scores) if return_attention_scores else outputs

    def _visible(
        self, query: Any, key: Any, attention_mask: Any, key_mask: Any, causal: bool
    ) -> Any | None:
        visible = None
        if attention_mask is not None:
            visible = ops.cast(attention_mask, "bool")
            visible = visible[None] if len(visible.shape) == 2 else visible
        if causal:
            queries, keys = ops.shape(query)[1], ops.shape(key)[1]
            steps = ops.arange(queries)[:, None] + (keys - queries)
            earlier = (ops.arange(keys)[None, :] <= steps)[None]
            visible = earlier if visible is None else visible & earlier
        if key_mask is not None:
            known = ops.cast(key_mask, "bool")[:, None, :]
            visible = known if visible is None else visible & known
        return None if visible is None else visible[:, None]

    def _scores(self, query: Any, key: Any, visible: Any | None) -> Any:
        queries = ops.matmul(query, self.query_kernel * self._head_size**-0.5)
        keys = ops.matmul(key, self.key_value_kernel[:, : self.hidden_size])
        split = (self.num_heads, self._head_size)
        queries = ops.reshape(queries, (-1, ops.shape(query)[1], *split))
        keys = ops.reshape(keys, (-1, ops.shape(key)[1], *split))
        logits = ops.matmul(ops.transpose(queries, (0, 2, 1, 3)), ops.transpose(keys, (0, 2, 3, 1)))
        return masked_softmax(logits, visible)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Pass on the mask of the queries."""
        return previous_mask

    def compute_output_shape(self, query_shape: Shape, key_shape: Shape | None = None) -> Shape:
        """Return the shape of the attended values."""
        self._check_shapes(query_shape, query_shape if key_shape is None else key_shape)
        return (*query_shape[:-1], self.hidden_size)

    def compute_output_spec(
        self,
        query: Any,
        key: Any | None = None,
        attention_mask: Any | None = None,
        return_attention_scores: bool = False,
        **masks_and_flags: Any,
    ) -> Any:
        """Return the symbolic values and, on request, scores."""
        key = query if key is None else key
        shape = self.compute_output_shape(query.shape, key.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        shape = (query.shape[0], self.num_heads, query.shape[1], key.shape[1])
        return outputs, keras.KerasTensor(shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "num_heads": self.num_heads,
            "dropout_rate": self.dropout_rate,
        }

    def _check_shapes(self, query_shape: Shape, key_shape: Shape) -> None:
        owner = type(self).__name__
        check_rank(owner, "query", query_shape, 3, "(B, Tq, D)")
        check_rank(owner, "key", key_shape, 3, "(B, Tk, D)")
