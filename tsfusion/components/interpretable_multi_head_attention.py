"""`keras.layers.MultiHeadAttention` that keeps its scores for inspection."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tsfusion.components._attention import attend, bare, combine_masks, is_concrete
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rate

__all__ = ["InterpretableMultiHeadAttention"]


def _plain(value: Any) -> Any:
    return value


def _seed(value: Any) -> Any:
    """Return a seed that fits into JSON."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if value is not None and not whole:
        raise ValueError(
            "InterpretableMultiHeadAttention: expected `seed` to be an integer or None, received "
            f"{value!r}."
        )
    return value if value is None else int(value)


def _serializer(family: Any) -> Callable[[Any], Any]:
    """Return what turns an object of ``keras.<family>`` into JSON; names stay names."""

    def serialize(value: Any) -> Any:
        return value if value is None or isinstance(value, str) else family.serialize(value)

    return serialize


def _resolver(family: Any) -> Callable[[Any], Any]:
    """Return what checks a value, and turns a configuration into an object of the family."""

    def resolve(value: Any) -> Any:
        found = family.get(value)
        return value if value is None or isinstance(value, str) else found

    return resolve


# What the inner attention takes besides heads, width and dropout: how to check and to serialise it.
_INNER: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "value_dim": (_plain, _plain),
    "use_bias": (_plain, _plain),
    "output_shape": (_plain, _plain),
    "attention_axes": (_plain, _plain),
    "seed": (_seed, _plain),
}
for _family, _names in (
    (keras.initializers, ("kernel_initializer", "bias_initializer")),
    (keras.regularizers, ("kernel_regularizer", "bias_regularizer", "activity_regularizer")),
    (keras.constraints, ("kernel_constraint", "bias_constraint")),
):
    for _name in _names:
        _INNER[_name] = (_resolver(_family), _serializer(_family))


@register
class InterpretableMultiHeadAttention(Layer):
    r"""Multi-head attention whose scores can be looked at after the call.

    .. math::

        A_n = \mathrm{softmax}\left( \frac{Q W^Q_n (K W^K_n)^\top}{\sqrt{d}} \right),
        \qquad
        \mathrm{output} = \sum_{n=1}^{N} A_n V W^V_n W^O_n

    with :math:`Q` (B, Tq, E) the query, :math:`K` (B, Tk, E') the key and :math:`V` (B, Tk, E'')
    the value, :math:`W^Q_n` (E, d) and :math:`W^K_n` (E', d) and :math:`W^V_n` the projections of
    head n, d = ``d_model``, and :math:`A` (B, N, Tq, Tk) the scores (biases not shown). The output
    is (B, Tq, E), the shape of the query.

    Parameters
    ----------
    d_model : int
        Width of *each head* for query, key and value (``key_dim`` of the inner attention).
    n_head : int
        Number of attention heads N.
    dropout_rate : float
        Share of the scores dropped in training, in [0, 1). The scores that are shown are those
        before dropout.
    **mha_kwargs
        Keywords of `keras.layers.MultiHeadAttention`: ``value_dim``, ``use_bias``,
        ``output_shape``, ``attention_axes``, ``kernel_initializer``, ``bias_initializer``,
        ``kernel_regularizer``, ``bias_regularizer``, ``activity_regularizer``,
        ``kernel_constraint``, ``bias_constraint`` and ``seed``. All others go to
        `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Attributes
    ----------
    attention_scores : tensor or None
        The scores (B, N, Tq, Tk), float32, of the last call, if that call was eager and not in
        training; otherwise None. In compiled code (`fit`, `predict` where it is compiled) a stored
        tensor would be dead: ask for the scores with ``return_attention_scores=True`` there.

    Raises
    ------
    ValueError
        If a parameter is out of its range, a keyword belongs neither to the attention nor to the
        layer, or the inputs are not of rank >= 3 with the lengths of key and value equal.

    See Also
    --------
    ExplainableAttention : Only the scores.

    Notes
    -----
    ``layer(x)`` is self-attention; ``layer(query, key)`` takes the key as value too. Note the
    order: query, key, value.

    Masks come with the inputs, or as ``query_mask`` (B, Tq), ``key_mask`` and ``value_mask``
    (B, Tk) (``mask`` with a single input); ``attention_mask`` (B, Tq, Tk) or (Tq, Tk) and
    ``use_causal_mask`` narrow further who sees whom. A query step that is masked, or sees no
    step, gives zeros. The output carries the mask of the query. With inputs of rank > 3, padding
    and causal masks are refused, and ``attention_mask`` is handed to the inner attention as it
    is.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1 and section 3.2.2.

    Examples
    --------
    >>> import keras
    >>> from tsfusion.components import InterpretableMultiHeadAttention
    >>> query = keras.random.normal((32, 10, 64))
    >>> key = keras.random.normal((32, 10, 64))
    >>> value = keras.random.normal((32, 10, 64))
    >>> attention = InterpretableMultiHeadAttention(d_model=64, n_head=8, dropout_rate=0.1)
    >>> tuple(attention(query, key, value).shape)
    (32, 10, 64)
    >>> tuple(attention.attention_scores.shape)
    (32, 8, 10, 10)
    """

    def __init__(
        self, d_model: int, n_head: int, dropout_rate: float = 0.1, **mha_kwargs: Any
    ) -> None:
        inner = {name: mha_kwargs.pop(name) for name in _INNER if name in mha_kwargs}
        super().__init__(**mha_kwargs)
        owner = type(self).__name__
        self.d_model = check_positive_int(owner, "d_model", d_model)
        self.n_head = check_positive_int(owner, "n_head", n_head)
        self.dropout_rate = check_rate(owner, "dropout_rate", dropout_rate)
        self.supports_masking = True
        self.mha_kwargs = {name: _INNER[name][0](value) for name, value in inner.items()}
        self.mha = keras.layers.MultiHeadAttention(
            num_heads=self.n_head,
            key_dim=self.d_model,
            dropout=self.dropout_rate,
            dtype=self.dtype_policy,
            name="mha",
            **self.mha_kwargs,
        )
        self.attention_scores: Any = None

    def _complete(self, query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
        """Return query, key and value, where a missing one is taken from the others."""
        if key is None:
            key = query if value is None else value
        return query, key, key if value is None else value

    def _check_shapes(self, query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
        owner = type(self).__name__
        shapes = {}
        given = self._complete(query, key, value)
        for name, shape in zip(("query", "key", "value"), given):
            nested = any(isinstance(size, (list, tuple)) for size in shape)
            if nested or len(shape) < 3 or shape[-1] is None or len(shape) != len(given[0]):
                raise ValueError(
                    f"{owner}: expected `{name}` of shape (B, T, E), of the same rank as the "
                    f"query, with E known, received shape {tuple(shape)}."
                )
            shapes[name] = tuple(shape)
        for key_length, value_length in zip(shapes["key"][1:-1], shapes["value"][1:-1]):
            if None not in (key_length, value_length) and key_length != value_length:
                raise ValueError(
                    f"{owner}: expected `key` and `value` of the same length, received shapes "
                    f"{shapes['key']} and {shapes['value']}."
                )
        return shapes["query"], shapes["key"], shapes["value"]

    def build(self, query_shape: Any, key_shape: Any = None, value_shape: Any = None) -> None:
        """Build the inner attention."""
        query, key, value = self._check_shapes(query_shape, key_shape, value_shape)
        self.mha.build(query, value, key)

    def call(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        mask: Any = None,
        query_mask: Any = None,
        key_mask: Any = None,
        value_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the output (B, Tq, E), and the scores (B, N, Tq, Tk) if asked for.

        Parameters
        ----------
        query, key, value : tensor
            (B, Tq, E), (B, Tk, E'), (B, Tk, E''). ``key`` is ``value`` if only that is given, and
            the query if none is; ``value`` is the key unless given.
        mask, query_mask : bool tensor, optional
            Padding mask (B, Tq) of the query; Keras fills in the one or the other.
        key_mask, value_mask : bool tensor, optional
            Padding masks (B, Tk).
        attention_mask : bool tensor, optional
            Of shape (B, Tq, Tk) or (Tq, Tk).
        use_causal_mask : bool
            Whether query step t may only look at keys up to t.
        return_attention_scores : bool
            Whether to return the scores as well.
        training : bool, optional
            Whether the scores are dropped out.
        """
        query_mask = mask if query_mask is None else query_mask
        if key is None and value is None:
            key_mask = query_mask if key_mask is None else key_mask
        query, key, value = self._complete(query, key, value)
        self._check_shapes(query.shape, key.shape, value.shape)
        masks = (query_mask, key_mask, value_mask)
        query = bare(query, *masks, own=[query_mask])
        key, value = (bare(tensor, *masks, own=[key_mask, value_mask]) for tensor in (key, value))
        keep = is_concrete(query) and not training
        # The fused kernel of JAX wants values as wide as keys; the path that makes scores does not.
        wide = self.mha.value_dim != self.d_model
        output, scores = self._attend(
            query,
            key,
            value,
            masks,
            attention_mask,
            use_causal_mask,
            return_attention_scores or keep or wide,
            training,
        )
        self.attention_scores = ops.stop_gradient(scores) if keep else None
        return (output, scores) if return_attention_scores else output

    def _attend(
        self,
        query: Any,
        key: Any,
        value: Any,
        masks: tuple[Any, Any, Any],
        attention_mask: Any,
        causal: bool,
        return_scores: bool,
        training: bool | None,
    ) -> tuple[Any, Any]:
        if len(query.shape) == 3:
            query_mask, key_mask, value_mask = masks
            if value_mask is not None and value_mask is not key_mask:
                value_mask = ops.cast(value_mask, "bool")
                if key_mask is not None:
                    value_mask = ops.logical_and(value_mask, ops.cast(key_mask, "bool"))
                key_mask = value_mask
            allowed = combine_masks(
                query,
                key,
                query_mask=query_mask,
                key_mask=key_mask,
                attention_mask=attention_mask,
                causal=causal,
            )
            return attend(
                self.mha,
                query,
                key,
                value,
                mask=allowed,
                return_scores=return_scores,
                training=training,
            )
        if causal or any(mask is not None for mask in masks):
            raise ValueError(
                f"{type(self).__name__}: expected no padding or causal mask with inputs of rank "
                f"{len(query.shape)}, received one: pass `attention_mask=` instead."
            )
        output = self.mha(
            query=query,
            key=key,
            value=value,
            attention_mask=attention_mask,
            return_attention_scores=return_scores,
            training=training,
        )
        if not return_scores:
            return output, None
        output, scores = output
        return output, ops.cast(scores, "float32")

    def compute_mask(self, query: Any, mask: Any = None) -> Any:
        """Return the mask of the query."""
        return mask

    def _output_shape(self, query: tuple[int | None, ...]) -> tuple[int | None, ...]:
        last = self.mha_kwargs.get("output_shape") or query[-1]
        return (*query[:-1], *(last if isinstance(last, (list, tuple)) else (last,)))

    def _scores_shape(
        self, query: tuple[int | None, ...], key: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        rank = len(query)
        axes = self.mha_kwargs.get("attention_axes")
        axes = range(1, rank - 1) if axes is None else axes
        axes = (axes,) if isinstance(axes, int) else axes
        # The inner attention counts negative axes from the end of the inputs.
        axes = [axis % rank for axis in axes]
        batch = [query[axis] for axis in range(rank - 1) if axis not in axes]
        return (*batch, self.n_head, *(query[axis] for axis in axes), *(key[axis] for axis in axes))

    def compute_output_shape(
        self, query_shape: Any, key_shape: Any = None, value_shape: Any = None
    ) -> tuple[int | None, ...]:
        """Return the shape of the query, the last axis replaced by ``output_shape`` if given."""
        return self._output_shape(self._check_shapes(query_shape, key_shape, value_shape)[0])

    def compute_output_spec(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        mask: Any = None,
        query_mask: Any = None,
        key_mask: Any = None,
        value_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the symbolic output, and the symbolic scores if asked for."""
        given = (None if tensor is None else tensor.shape for tensor in (query, key, value))
        query_shape, key_shape, _ = self._check_shapes(*given)
        output = keras.KerasTensor(self._output_shape(query_shape), dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        scores = keras.KerasTensor(self._scores_shape(query_shape, key_shape), dtype="float32")
        return output, scores

    def _settable(self) -> dict[str, Any]:
        """Return all parameters with their values, those of the inner attention included."""
        inner = inspect.signature(keras.layers.MultiHeadAttention.__init__).parameters
        return {**{name: inner[name].default for name in _INNER}, **super()._settable()}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "d_model": self.d_model,
            "n_head": self.n_head,
            "dropout_rate": self.dropout_rate,
            **{name: _INNER[name][1](value) for name, value in self.mha_kwargs.items()},
        }
