"""Attention of a sequence to a learned memory."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tsfusion.components._attention import attend, bare, score_spec, zero_dead_rows
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank, shapes_of

__all__ = ["MemoryAugmentedAttention"]


def _orthogonal(shape: tuple[int, ...], dtype: Any) -> Any:
    # Through float32: no backend has the QR decomposition for half precision.
    wide = dtype if dtype == "float64" else "float32"
    return ops.cast(keras.initializers.Orthogonal()(shape, dtype=wide), dtype)


@register
class MemoryAugmentedAttention(Layer):
    r"""Add to a sequence what it finds in a learned memory.

    .. math::

        Z = X + \mathrm{MHA}(q = X,\; k = v = M)

    with :math:`X` (B, T, units) the input, :math:`M` (memory_size, units) the trainable memory,
    the same for every series and step, and :math:`Z` of the shape of :math:`X`.

    Parameters
    ----------
    units : int
        Width of the input, of the memory, of each attention head and of the output.
    memory_size : int
        Number of memory slots.
    num_heads : int
        Number of attention heads N, each of width ``units``.
    **kwargs
        Keywords of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises
    ------
    ValueError
        If a parameter is not an integer >= 1, or the input is not of shape (B, T, units).

    See Also
    --------
    CrossAttention : Attention to another sequence.
    HierarchicalAttention : Attention within a short and a long window.

    Notes
    -----
    The slots start orthogonal. Were they equal (all zeros, say), their gradients would be equal
    too and they would stay one and the same slot for ever.

    Every query step is independent of the others here, so that all steps of a batch ask as one
    sequence, and the memory is projected once, not once for each series.

    A masked step (from the input's mask, or ``mask`` (B, T)) is passed on as it is: the memory
    adds zeros to it. The output carries the mask of the input. With
    ``return_attention_scores=True`` the call returns ``(output, scores)``, the scores
    (B, N, T, memory_size) in float32.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1, for the attention.
    Sukhbaatar et al., "End-To-End Memory Networks", NeurIPS 2015, section 2.1, for the addition
    of what a memory answers to what was asked.

    Examples
    --------
    >>> import keras
    >>> from tsfusion.components import MemoryAugmentedAttention
    >>> x = keras.random.normal((32, 10, 64))
    >>> maa = MemoryAugmentedAttention(units=64, memory_size=20, num_heads=4)
    >>> tuple(maa(x).shape)
    (32, 10, 64)
    >>> tuple(maa.memory.shape)
    (20, 64)
    """

    def __init__(self, units: int, memory_size: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = check_positive_int(owner, "units", units)
        self.memory_size = check_positive_int(owner, "memory_size", memory_size)
        self.num_heads = check_positive_int(owner, "num_heads", num_heads)
        self.supports_masking = True
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads, key_dim=self.units, dtype=self.dtype_policy, name="attention"
        )

    def _check_shape(self, shape: Any) -> tuple[int | None, ...]:
        owner = type(self).__name__
        shape = tuple(shape)
        check_rank(owner, "inputs", shape, 3, "(B, T, units)")
        if shape[-1] != self.units:
            raise ValueError(
                f"{owner}: expected `inputs` of width units={self.units}, since they are added to "
                f"the answer of the memory, received width {shape[-1]}: put a Dense({self.units}) "
                f"before the layer."
            )
        return shape

    def build(self, input_shape: Any) -> None:
        """Make the memory and build the attention."""
        self._check_shape(input_shape)
        self.memory = self.add_weight(
            name="memory", shape=(self.memory_size, self.units), initializer=_orthogonal
        )
        self.attention.build((1, None, self.units), (1, self.memory_size, self.units))

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return (B, T, units), and the scores (B, N, T, M) if asked for.

        Parameters
        ----------
        inputs : tensor
            (B, T, units).
        mask : bool tensor, optional
            Padding mask (B, T).
        return_attention_scores : bool
            Whether to return the scores as well.
        training : bool, optional
            Without effect: there is no dropout.
        """
        self._check_shape(shapes_of(inputs))
        shape = ops.shape(inputs)
        steps = ops.reshape(bare(inputs, own=[mask]), (1, -1, self.units))
        memory = ops.expand_dims(ops.convert_to_tensor(self.memory), 0)
        answer, scores = attend(
            self.attention,
            steps,
            memory,
            return_scores=return_attention_scores,
            training=training,
        )
        answer = ops.reshape(answer, shape)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            answer = zero_dead_rows(answer, ops.expand_dims(mask, -1))
        output = ops.add(inputs, answer)
        if not return_attention_scores:
            return output
        # (1, N, B * T, M) back to (B, N, T, M).
        scores = ops.reshape(scores, (self.num_heads, shape[0], shape[1], self.memory_size))
        scores = ops.transpose(scores, (1, 0, 2, 3))
        if mask is not None:
            scores = zero_dead_rows(scores, ops.expand_dims(ops.expand_dims(mask, 1), -1))
        return output, scores

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the input."""
        return mask

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return self._check_shape(input_shape)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Return the symbolic output, and the symbolic scores if asked for."""
        shape = self._check_shape(inputs.shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        return output, score_spec(shape[0], self.num_heads, shape[1], self.memory_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "memory_size": self.memory_size,
            "num_heads": self.num_heads,
        }
