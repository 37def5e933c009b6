"""Attention within a short and a long window, added up."""

from __future__ import annotations

from typing import Any

import keras

from tsfusion.components._attention import (
    CarryMask,
    attend,
    bare,
    combine_masks,
    either_mask,
    score_spec,
    split_masks,
)
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank, check_sources, shapes_of

__all__ = ["HierarchicalAttention"]


@register
class HierarchicalAttention(Layer):
    r"""Attend to a short and a long window apart, and add what both give.

    .. math::

        Z = \mathrm{MHA}_s(q, W_s X_s) + \mathrm{MHA}_l(q, W_l X_l)

    with :math:`X_s` (B, Ts, Ds) the short and :math:`X_l` (B, Tl, Dl) the long window,
    :math:`W_s, W_l` a Dense layer each (with bias) to ``units``. The two branches share no
    weights. Who asks (:math:`q`) depends on the call:

    - ``layer([short, long])``: each window asks itself, :math:`q = W_s X_s` and
      :math:`q = W_l X_l`. Both must have the same length T, and :math:`Z` is (B, T, units).
    - ``layer([short, long], query=query)``: both branches attend from ``query`` (B, Tq, D), and
      :math:`Z` is (B, Tq, units). The lengths Ts, Tl and Tq are free.

    Parameters
    ----------
    units : int
        Width of both projections and of the output.
    num_heads : int
        Number of attention heads N of each branch.
    key_dim : int, default=None
        Width of each attention head; None for ``units``.
    **kwargs
        Keywords of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises
    ------
    ValueError
        If a parameter is not an integer >= 1; if the input is not a list of two
        rank-3 tensors; if their lengths differ and no ``query`` is given; if a layer that was
        built with a query is called without one, or the reverse.

    See Also
    --------
    MultiModalEmbedding : Embeds several sources before the attention.
    LearnedNormalization : Normalises both windows before the attention.

    Notes
    -----
    Masks come with the inputs, or as ``mask=[short_mask, long_mask]`` (each may be None) and
    ``query_mask``. Masked steps are never looked at; a step that is masked or that has no step to
    look at in a window gets zeros from that window. Without a query, the output carries the mask
    of the steps that count in either window; with one, the mask of the query.

    With ``return_attention_scores=True`` the call returns
    ``(output, (short_scores, long_scores))``, of shapes (B, N, Tq, Ts) and (B, N, Tq, Tl), in
    float32.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1 and section 3.2.2, for
    each branch.

    Examples
    --------
    >>> import keras
    >>> from tsfusion.components import HierarchicalAttention
    >>> short_term = keras.random.normal((32, 10, 64))
    >>> long_term = keras.random.normal((32, 10, 64))
    >>> ha = HierarchicalAttention(units=64, num_heads=4)
    >>> tuple(ha([short_term, long_term]).shape)
    (32, 10, 64)

    Two time scales, seen from the four steps of a horizon:

    >>> year = keras.random.normal((32, 52, 8))
    >>> horizon = keras.random.normal((32, 4, 16))
    >>> ha = HierarchicalAttention(units=64, num_heads=4)
    >>> tuple(ha([short_term, year], query=horizon).shape)
    (32, 4, 64)
    """

    def __init__(
        self, units: int, num_heads: int, *, key_dim: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = check_positive_int(owner, "units", units)
        self.num_heads = check_positive_int(owner, "num_heads", num_heads)
        if key_dim is not None:
            key_dim = check_positive_int(owner, "key_dim", key_dim)
        self.key_dim = key_dim
        self.supports_masking = True
        self._built_with_query: bool | None = None
        self.short_term_dense = self._dense("short_term_dense")
        self.long_term_dense = self._dense("long_term_dense")
        self.short_term_attention = self._attention("short_term_attention")
        self.long_term_attention = self._attention("long_term_attention")
        self.carry_mask = CarryMask(dtype=self.dtype_policy, name="carry_mask")

    def _dense(self, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(self.units, dtype=self.dtype_policy, name=name)

    def _attention(self, name: str) -> keras.layers.MultiHeadAttention:
        # `output_shape`, because a query may have another width than the output.
        return keras.layers.MultiHeadAttention(
            self.num_heads,
            key_dim=self.units if self.key_dim is None else self.key_dim,
            output_shape=self.units,
            dtype=self.dtype_policy,
            name=name,
        )

    def _check_shapes(
        self, inputs_shape: Any, query_shape: Any
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...], tuple[int | None, ...] | None]:
        owner = type(self).__name__
        short, long = check_sources(owner, inputs_shape, ("short_term", "long_term"))
        check_rank(owner, "short_term", short, 3, "(B, Ts, Ds)")
        check_rank(owner, "long_term", long, 3, "(B, Tl, Dl)")
        with_query = query_shape is not None
        if self._built_with_query is not None and with_query != self._built_with_query:
            wanted, got = ("a", "none") if self._built_with_query else ("no", "one")
            raise ValueError(
                f"{owner}: expected {wanted} `query`, as in the call that built the layer, "
                f"received {got}: use one layer for each way of calling."
            )
        if with_query:
            query_shape = tuple(query_shape)
            check_rank(owner, "query", query_shape, 3, "(B, Tq, D)")
        elif None not in (short[1], long[1]) and short[1] != long[1]:
            raise ValueError(
                f"{owner}: expected short_term and long_term of the same length, received "
                f"lengths {short[1]} and {long[1]}: pass `query=` to attend to windows of "
                f"different lengths."
            )
        return short, long, query_shape

    def build(self, inputs_shape: Any, query_shape: Any = None) -> None:
        """Build both branches."""
        short, long, query = self._check_shapes(inputs_shape, query_shape)
        self.short_term_dense.build(short)
        self.long_term_dense.build(long)
        short, long = (*short[:-1], self.units), (*long[:-1], self.units)
        self.short_term_attention.build(short if query is None else query, short)
        self.long_term_attention.build(long if query is None else query, long)
        self.carry_mask.build([short, short])
        self._built_with_query = query is not None

    def call(
        self,
        inputs: Any,
        query: Any = None,
        mask: Any = None,
        inputs_mask: Any = None,
        query_mask: Any = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
        uniform: bool = False,
    ) -> Any:
        """Return (B, T, units) or (B, Tq, units), and both scores if asked for.

        Parameters
        ----------
        inputs : list of tensor
            ``[short_term, long_term]``, of shapes (B, Ts, Ds) and (B, Tl, Dl).
        query : tensor, optional
            (B, Tq, D): who attends to both windows; each window to itself if None.
        mask, inputs_mask : list of bool tensor, optional
            Padding masks (B, Ts) and (B, Tl); Keras fills in the one or the other.
        query_mask : bool tensor, optional
            Padding mask (B, Tq) of the query.
        use_causal_mask : bool
            Whether a step may only look at itself and earlier steps; not with ``query``.
        return_attention_scores : bool
            Whether to return the scores of both branches as well.
        training : bool, optional
            Without effect: there is no dropout.
        uniform : bool
            Whether to look at all steps alike, whatever they hold: what the attention adds to that
            is what it is worth.
        """
        owner = type(self).__name__
        self._check_shapes(shapes_of(inputs), None if query is None else shapes_of(query))
        if use_causal_mask and query is not None:
            raise ValueError(
                f"{owner}: expected `use_causal_mask=False` with a `query`, received True: the "
                f"steps of a query and of a window have no common clock."
            )
        short_mask, long_mask = split_masks(mask if mask is not None else inputs_mask, 2)
        masks = (short_mask, long_mask, query_mask)
        asked = None if query is None else bare(query, *masks, own=[query_mask])
        parts = []
        for tensor, own_mask, dense, attention in (
            (inputs[0], short_mask, self.short_term_dense, self.short_term_attention),
            (inputs[1], long_mask, self.long_term_dense, self.long_term_attention),
        ):
            window = dense(bare(tensor, *masks, own=[own_mask]))
            who = window if asked is None else asked
            who_mask = own_mask if asked is None else query_mask
            allowed = combine_masks(
                who, window, query_mask=who_mask, key_mask=own_mask, causal=use_causal_mask
            )
            parts.append(
                attend(
                    attention,
                    who,
                    # Keys that are equal are looked at equally.
                    window * 0 if uniform else window,
                    window,
                    mask=allowed,
                    return_scores=return_attention_scores,
                    training=training,
                )
            )
        (short, short_scores), (long, long_scores) = parts
        output = keras.ops.add(short, long)
        if query is not None and query_mask is not None:
            output = self.carry_mask([output, asked], mask=[None, query_mask])
        return (output, (short_scores, long_scores)) if return_attention_scores else output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the steps that count in either window; None if a query asks."""
        return None if self._built_with_query else either_mask(mask)

    def compute_output_shape(self, inputs_shape: Any, query_shape: Any = None) -> Any:
        """Return (B, T, units), T being the length of the query, or of both windows."""
        short, long, query = self._check_shapes(inputs_shape, query_shape)
        if query is not None:
            return (*query[:-1], self.units)
        return (short[0], short[1] if short[1] is not None else long[1], self.units)

    def compute_output_spec(
        self,
        inputs: Any,
        query: Any = None,
        mask: Any = None,
        inputs_mask: Any = None,
        query_mask: Any = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
        uniform: bool = False,
    ) -> Any:
        """Return the symbolic output, and both symbolic scores if asked for."""
        shapes = shapes_of(inputs)
        query_shape = None if query is None else shapes_of(query)
        shape = self.compute_output_shape(shapes, query_shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if query is not None and query_mask is not None:
            output = self.carry_mask([output, query], mask=[None, query_mask])
        if not return_attention_scores:
            return output
        scores = tuple(
            score_spec(
                shape[0],
                self.num_heads,
                window[1] if query is None else shape[1],
                window[1],
            )
            for window in shapes
        )
        return output, scores

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        config = {**super().get_config(), "units": self.units, "num_heads": self.num_heads}
        return config if self.key_dim is None else {**config, "key_dim": self.key_dim}
