"""The mathematics that the attention layers share: masks in, masks out, scores; no state.

Letters: B batch, Tq query steps, Tk key steps, N heads. A mask is True where a step counts.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = [
    "CarryMask",
    "attend",
    "bare",
    "combine_masks",
    "either_mask",
    "first_mask",
    "is_concrete",
    "score_spec",
    "scores_of",
    "split_masks",
    "zero_dead_rows",
]


def split_masks(mask: Any, count: int) -> list[Any]:
    """Return one mask (or None) per input from a list of masks, or from None."""
    if mask is None:
        return [None] * count
    if not isinstance(mask, (list, tuple)):
        raise ValueError(f"expected a list of {count} masks (or None), received a single mask.")
    if len(mask) != count:
        raise ValueError(f"expected a list of {count} masks, received {len(mask)}.")
    return list(mask)


def first_mask(mask: Any) -> Any:
    """Return the mask of the first input, whether there is one input or a list of them."""
    return mask[0] if isinstance(mask, (list, tuple)) else mask


def either_mask(masks: Any) -> Any:
    """Return the mask of the steps that count in any of the inputs; None if all steps do."""
    if masks is None or any(mask is None for mask in masks):
        return None
    combined = masks[0]
    for mask in masks[1:]:
        combined = ops.logical_or(combined, mask)
    return combined


def bare(tensor: Any, *masks: Any, own: Any = ()) -> Any:
    """Return ``tensor`` without the mask that Keras attached to it, if any mask is in play.

    Steps that one of its ``own`` masks (each a tensor or None) leaves out become zeros: what stands
    there, be it NaN, reaches neither a product nor a gradient.

    ``keras.layers.MultiHeadAttention`` reads that mask by itself (a masked query row then has no
    key at all: NaN on some backends) and deletes it from the tensor that it was handed, so that
    the next layer of the user would not see it. A copy has no mask and nothing to lose.
    """
    own = [mask for i, mask in enumerate(own) if not any(mask is one for one in (None, *own[:i]))]
    if not own:
        return tensor if all(mask is None for mask in masks) else ops.copy(tensor)
    for mask in own:
        _check_mask(mask, tensor.shape[: len(mask.shape)])
        alive = ops.cast(mask, "bool")
        for _ in range(len(tensor.shape) - len(mask.shape)):
            alive = ops.expand_dims(alive, -1)
        tensor = zero_dead_rows(tensor, alive)
    return tensor


def _fits(shape: Any, wanted: Any) -> bool:
    """Whether a shape can be broadcast to the wanted one, as far as both are known."""
    return len(shape) == len(wanted) and all(
        size == full or size in (1, None) or full is None for size, full in zip(shape, wanted)
    )


def _check_mask(mask: Any, wanted: Any) -> None:
    short = any(
        size == 1 and full not in (1, None) for size, full in zip(mask.shape[1:], wanted[1:])
    )
    if short or not _fits(mask.shape, wanted):
        raise ValueError(
            f"expected a mask of shape {tuple(wanted)}, one value per step of its tensor, "
            f"received shape {tuple(mask.shape)}."
        )


def combine_masks(
    query: Any,
    key: Any,
    *,
    query_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    causal: bool = False,
) -> Any:
    """Return the mask of who may look at whom, (B or 1, Tq or 1, Tk or 1), or None if everyone may.

    Parameters
    ----------
    query, key : tensor
        Of shape (B, Tq, ...) and (B, Tk, ...); only their lengths are read.
    query_mask, key_mask : bool tensor, optional
        Padding masks (B, Tq) and (B, Tk).
    attention_mask : bool tensor, optional
        Of shape (B, Tq, Tk) or (Tq, Tk).
    causal : bool
        Whether query step t may only look at keys up to t.
    """
    parts = []
    if query_mask is not None:
        parts.append(ops.expand_dims(ops.cast(query_mask, "bool"), -1))
    if key_mask is not None:
        parts.append(ops.expand_dims(ops.cast(key_mask, "bool"), 1))
    if attention_mask is not None:
        attention_mask = ops.cast(attention_mask, "bool")
        rank = len(attention_mask.shape)
        wanted = (query.shape[0], query.shape[1], key.shape[1])
        wrong = rank not in (2, 3) or not _fits(attention_mask.shape, wanted[-rank:])
        if wrong:
            raise ValueError(
                "expected `attention_mask` of shape (B, Tq, Tk) or (Tq, Tk) with Tq = "
                f"{wanted[1]} and Tk = {wanted[2]}, received shape {tuple(attention_mask.shape)}."
            )
        parts.append(attention_mask if rank == 3 else ops.expand_dims(attention_mask, 0))
    if causal:
        rows = ops.expand_dims(ops.arange(ops.shape(query)[1]), -1)
        columns = ops.expand_dims(ops.arange(ops.shape(key)[1]), 0)
        parts.append(ops.expand_dims(ops.greater_equal(rows, columns), 0))
    combined = None
    for part in parts:
        combined = part if combined is None else ops.logical_and(combined, part)
    return combined


def zero_dead_rows(tensor: Any, alive: Any) -> Any:
    """Return ``tensor`` with zeros where ``alive`` (broadcast from the left) is False."""
    # `where` and not a product: a product keeps NaN.
    return ops.where(alive, tensor, ops.zeros((), dtype=tensor.dtype))


def attend(
    attention: keras.layers.MultiHeadAttention,
    query: Any,
    key: Any,
    value: Any = None,
    *,
    mask: Any = None,
    return_scores: bool = False,
    training: bool | None = None,
) -> tuple[Any, Any]:
    """Return ``(output, scores or None)`` of ``attention``; a query row without a key gives zeros.

    A row in which every key is masked has no softmax: one Keras path gives zeros there, another a
    mean of the masked values or NaN. Here such a row is allowed to see all keys, so that all paths
    are finite, and then its output and scores are set to zero: both paths agree.

    Parameters
    ----------
    query, key, value : tensor
        Of shape (B, Tq, D), (B, Tk, D), (B, Tk, D); ``value`` is ``key`` unless given.
    mask : bool tensor, optional
        From `combine_masks`, rank 3.

    Returns
    -------
    tuple
        The output (B, Tq, D') in the compute dtype, and the scores (B, N, Tq, Tk) in float32 (None
        unless ``return_scores``).
    """
    alive = None
    if mask is not None:
        alive = ops.any(mask, axis=-1, keepdims=True)
        mask = ops.logical_or(mask, ops.logical_not(alive))
    output = attention(
        query=query,
        key=key,
        value=key if value is None else value,
        attention_mask=mask,
        return_attention_scores=return_scores,
        training=training,
    )
    scores = None
    if return_scores:
        output, scores = output
        scores = ops.cast(scores, "float32")
    if alive is not None:
        output = zero_dead_rows(output, alive)
        if scores is not None:
            scores = zero_dead_rows(scores, ops.expand_dims(alive, 1))
    return output, scores


def scores_of(query: Any, key: Any, mask: Any = None) -> Any:
    r"""Return the softmax over the keys of ``query . key / sqrt(K)``, in float32.

    Parameters
    ----------
    query, key : tensor
        Projected per head: (B, Tq, N, K) and (B, Tk, N, K).
    mask : bool tensor, optional
        From `combine_masks`, rank 3. Masked keys get exactly 0, rows without any key are 0.

    Returns
    -------
    tensor
        (B, N, Tq, Tk), float32.
    """
    query = ops.multiply(query, ops.cast(query.shape[-1] ** -0.5, query.dtype))
    logits = ops.cast(ops.einsum("bqnk,bsnk->bnqs", query, key), "float32")
    if mask is None:
        return ops.softmax(logits, axis=-1)
    mask = ops.expand_dims(mask, 1)
    alive = ops.any(mask, axis=-1, keepdims=True)
    # Far below every logit, yet finite: a row of nothing but this has a softmax and a gradient.
    logits = ops.where(mask, logits, ops.full((), -1e30, dtype="float32"))
    return zero_dead_rows(ops.softmax(logits, axis=-1), alive)


class CarryMask(keras.layers.Layer):
    """Return the first of two tensors, with the mask of the second.

    Keras derives the mask of an output from the first argument of ``call`` alone; a layer whose
    output follows another argument passes it through here.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Nothing to build."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the first tensor."""
        return inputs[0]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the second mask."""
        return None if mask is None else mask[1]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the first shape."""
        return tuple(input_shape[0])


def score_spec(batch: Any, heads: Any, queries: Any, keys: Any) -> keras.KerasTensor:
    """Return the symbolic scores (B, N, Tq, Tk), float32."""
    return keras.KerasTensor((batch, heads, queries, keys), dtype="float32")


def is_concrete(tensor: Any) -> bool:
    """Return whether ``tensor`` holds numbers now (no tracer, no graph or symbolic tensor)."""
    backend = keras.backend.backend()
    if isinstance(tensor, keras.KerasTensor):
        return False
    if backend == "tensorflow":
        return hasattr(tensor, "numpy")
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    if backend == "torch":
        import torch

        return tensor.device.type != "meta" and not torch.compiler.is_compiling()
    return True
