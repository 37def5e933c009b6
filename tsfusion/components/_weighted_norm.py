"""The end of variable selection with its gradient written out; relies on ``keras.ops`` alone.

Everything here has the size (V, B, T, D), the largest in the model, and is bound by memory, not by
arithmetic: written out, the gradient passes over it about a third as often as the derived one.
"""

from __future__ import annotations

from typing import Any

from keras import ops

__all__ = ["weighted_gated_norm"]


def weighted_gated_norm(
    gates: Any, skip: Any, weights: Any, gamma: Any, beta: Any, epsilon: float
) -> Any:
    """Return ``sum over v of w[v] * LayerNorm_v(skip[v] + sigmoid(a[v]) * b[v])``, (B, T, D).

    Parameters
    ----------
    gates : float32 tensor (V, B, T, 2 D)
        The two halves a and b.
    skip : float32 tensor (V, B, T, D)
        What the gate is added to.
    weights : float32 tensor (V, B, T, 1)
        The weights of the variables.
    gamma, beta : float32 tensor (V, D)
        Each variable's scale and shift of the normalisation.
    epsilon : float
        Added to the variance.
    """
    width = skip.shape[-1]

    def forward(gates: Any, skip: Any, weights: Any, gamma: Any, beta: Any) -> Any:
        opened = ops.sigmoid(gates[..., :width])
        gated = opened * gates[..., width:]
        total = skip + gated
        centred = total - ops.mean(total, axis=-1, keepdims=True)
        inverse = ops.rsqrt(ops.mean(centred * centred, axis=-1, keepdims=True) + epsilon)
        scales = weights * inverse
        outputs = ops.sum((centred * scales) * gamma[:, None, None], axis=0)
        outputs = outputs + _by_variable(weights, beta)

        def gradient(*args: Any, upstream: Any = None) -> Any:
            g = args[0] if upstream is None else upstream
            seen = centred * g
            along = inverse * _times_vector(seen, gamma)
            g_gamma = _dots(g, gamma)
            d_total = (gamma[:, None, None] * g - g_gamma / width) * scales
            d_total = d_total - centred * (scales * inverse * along / width)
            d_gates = ops.concatenate([d_total * gated * (1 - opened), d_total * opened], axis=-1)
            return (
                d_gates,
                d_total,
                along + _dots(g, beta),
                _over_rows(scales, seen),
                ops.matmul(_rows(weights)[..., 0], ops.reshape(g, (-1, width))),
            )

        return outputs, gradient

    return ops.custom_gradient(forward)(gates, skip, weights, gamma, beta)


def _rows(x: Any) -> Any:
    """Return ``x (V, B, T, E)`` as (V, B T, E)."""
    return ops.reshape(x, (x.shape[0], -1, x.shape[-1]))


def _by_variable(weights: Any, vectors: Any) -> Any:
    """Return the sum over v of ``weights[v] * vectors[v]``, (B, T, D)."""
    return ops.matmul(ops.transpose(weights[..., 0], (1, 2, 0)), vectors)


def _times_vector(x: Any, vectors: Any) -> Any:
    """Return ``x[v] . vectors[v]`` for ``x (V, B, T, D)``, (V, B, T, 1)."""
    products = ops.matmul(_rows(x), vectors[..., None])
    return ops.reshape(products, (*ops.shape(x)[:-1], 1))


def _dots(g: Any, vectors: Any) -> Any:
    """Return ``g . vectors[v]`` for ``g (B, T, D)``, (V, B, T, 1)."""
    return ops.transpose(ops.matmul(g, ops.transpose(vectors)), (2, 0, 1))[..., None]


def _over_rows(scales: Any, x: Any) -> Any:
    """Return the sum over rows of ``scales[v] * x[v]``, (V, D)."""
    return ops.matmul(ops.transpose(_rows(scales), (0, 2, 1)), _rows(x))[:, 0]
