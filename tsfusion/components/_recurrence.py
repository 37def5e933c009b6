"""Recurrences over time with their gradients written out; relies on ``keras.ops`` alone.

Written out, the weights' gradient is one product after the loop instead of one in each step, the
gates are computed again for all steps at once, and TensorFlow can compile the loop with XLA, which
refuses its own gradient of a loop of unknown length.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from keras import ops

__all__ = ["gru_states", "looped_by", "lstm_states"]

_LOOP: ContextVar[Callable[..., Any] | None] = ContextVar("loop", default=None)


@contextlib.contextmanager
def looped_by(scan: Callable[..., Any]) -> Iterator[None]:
    """Have the states made by another loop than ``ops.scan``, of the same signature.

    TensorFlow's ``ops.scan`` keeps its state in arrays, which ONNX has no loop for.
    """
    token = _LOOP.set(scan)
    try:
        yield
    finally:
        _LOOP.reset(token)


def _scan(step: Callable[..., Any], start: Any, xs: Any) -> Any:
    return (_LOOP.get() or ops.scan)(step, start, xs)


def lstm_states(projected: Any, recurrent: Any, h: Any, c: Any, keep: Any = None) -> Any:
    """Return the states ``h`` after each step of an LSTM and, after them, the last ``c``.

    Parameters
    ----------
    projected : tensor (T, B, 4 U)
        The inputs of the gates i, f, g, o, without the recurrent part.
    recurrent : tensor (U, 4 U)
        The recurrent matrix.
    h, c : tensor (B, U)
        The first state.
    keep : tensor (T, B, 1), optional
        1 for steps that count, 0 for steps that leave the state alone; by default all count.

    Returns
    -------
    tensor (T + 1, B, U)
    """
    masks = () if keep is None else (keep,)
    return ops.custom_gradient(_lstm)(projected, recurrent, h, c, *masks)


def gru_states(projected: Any, recurrent: Any, bias: Any, h: Any, keep: Any = None) -> Any:
    """Return the states ``h`` after each step of a GRU, (T, B, U).

    Parameters
    ----------
    projected : tensor (T, B, 3 U)
        The inputs of z, r, g, without the recurrent part.
    recurrent : tensor (U, 3 U)
        The recurrent matrix.
    bias : tensor (3 U,)
        The bias of the recurrent part.
    h : tensor (B, U)
        The first state.
    keep : tensor (T, B, 1), optional
        1 for steps that count, 0 for steps that leave the state alone; by default all count.
    """
    if keep is None:
        keep = ops.ones_like(projected[..., :1])
    return ops.custom_gradient(_gru)(projected, recurrent, bias, h, keep)


def _mix(keep: Any, new: Any, old: Any) -> Any:
    return ops.where(keep > 0, new, old)


def _upstream(args: tuple[Any, ...], upstream: Any) -> Any:
    return args[0] if upstream is None else upstream


def _lstm(
    projected: Any, recurrent: Any, h: Any, c: Any, keep: Any = None
) -> tuple[Any, Callable[..., Any]]:
    def step(state: Any, now: Any) -> Any:
        i, f, g, o = ops.split(now[0] + ops.matmul(state[0], recurrent), 4, axis=-1)
        cell = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
        new = (ops.sigmoid(o) * ops.tanh(cell), cell)
        if keep is not None:
            new = (_mix(now[1], new[0], state[0]), _mix(now[1], new[1], state[1]))
        return new, new

    masks = () if keep is None else (keep,)
    _, (hs, cs) = _scan(step, (h, c), (projected, *masks))

    def gradient(*args: Any, upstream: Any = None) -> Any:
        upstream = _upstream(args, upstream)
        h_before = ops.concatenate([h[None], hs[:-1]], axis=0)
        c_before = ops.concatenate([c[None], cs[:-1]], axis=0)
        i, f, g, o = ops.split(projected + ops.matmul(h_before, recurrent), 4, axis=-1)
        i, f, g, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(g), ops.sigmoid(o)
        tanh_c = ops.tanh(cs)
        slopes = ops.concatenate(
            [
                g * i * (1 - i),
                c_before * f * (1 - f),
                i * (1 - g * g),
                tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        h_to_c, forget = o * (1 - tanh_c * tanh_c), f
        if keep is not None:
            slopes, h_to_c = keep * slopes, keep * h_to_c
            forget = _mix(keep, f, ops.ones_like(f))
        back = ops.transpose(recurrent)

        def step_back(carry: Any, now: Any) -> Any:
            dz, dc, *handed_on = carry
            dh_now, slope, to_c, stay, *skip = now
            dh = sum(handed_on, dh_now + ops.matmul(dz, back))
            dc = dc + dh * to_c
            dz = ops.concatenate([dc, dc, dc, dh], axis=-1) * slope
            new = (dz, dc * stay, *(dh * share for share in skip))
            return new, new

        # A step that does not count hands the slope of h on as it is: a third part of the carry.
        handed_on = [ops.zeros_like(h) for _ in masks]
        start = (ops.zeros_like(projected[0]), upstream[-1], *handed_on)
        xs = (upstream[:-1], slopes, h_to_c, forget, *(1 - mask for mask in masks))
        (dz, dc, *handed_on), (dzs, *_) = ops.scan(step_back, start, xs, reverse=True)
        return (
            dzs,
            _outer(h_before, dzs),
            sum(handed_on, ops.matmul(dz, back)),
            dc,
            *(ops.zeros_like(mask) for mask in masks),
        )

    return ops.concatenate([hs, cs[-1:]], axis=0), gradient


def _gru(projected: Any, recurrent: Any, bias: Any, h: Any, keep: Any) -> tuple[Any, Any]:
    def step(state: Any, now: Any) -> Any:
        z, r, g = ops.split(now[0], 3, axis=-1)
        z2, r2, g2 = ops.split(ops.matmul(state[0], recurrent) + bias, 3, axis=-1)
        z = ops.sigmoid(z + z2)
        hidden = z * state[0] + (1 - z) * ops.tanh(g + ops.sigmoid(r + r2) * g2)
        new = (_mix(now[1], hidden, state[0]),)
        return new, new

    _, (hs,) = _scan(step, (h,), (projected, keep))

    def gradient(*args: Any, upstream: Any = None) -> Any:
        h_before = ops.concatenate([h[None], hs[:-1]], axis=0)
        z, r, g = ops.split(projected, 3, axis=-1)
        z2, r2, g2 = ops.split(ops.matmul(h_before, recurrent) + bias, 3, axis=-1)
        z, r = ops.sigmoid(z + z2), ops.sigmoid(r + r2)
        n = ops.tanh(g + r * g2)
        to_g = keep * (1 - z) * (1 - n * n)
        to_z = keep * (h_before - n) * z * (1 - z)
        to_r = to_g * g2 * r * (1 - r)
        slopes = ops.concatenate([to_z, to_r, to_g * r], axis=-1)
        stay = _mix(keep, z, ops.ones_like(z))
        back = ops.transpose(recurrent)

        def step_back(carry: Any, now: Any) -> Any:
            dz, dh = carry
            dh_now, slope, stay_after = now
            dh = dh_now + ops.matmul(dz, back) + dh * stay_after
            new = (ops.concatenate([dh, dh, dh], axis=-1) * slope, dh)
            return new, new

        # A step hands dh on through the `stay` of the step after it.
        after = ops.concatenate([stay[1:], ops.zeros_like(stay[:1])], axis=0)
        start = (ops.zeros_like(projected[0]), ops.zeros_like(h))
        xs = (_upstream(args, upstream), slopes, after)
        (dz, dh), (dzs, dhs) = ops.scan(step_back, start, xs, reverse=True)
        units = h.shape[-1]
        inputs = ops.concatenate([dzs[..., : 2 * units], dhs * to_g], axis=-1)
        return (
            inputs,
            _outer(h_before, dzs),
            ops.sum(dzs, axis=(0, 1)),
            ops.matmul(dz, back) + dh * stay[0],
            ops.zeros_like(keep),
        )

    return hs, gradient


def _outer(x: Any, y: Any) -> Any:
    """Return the sum over time and batch of the outer products, (U, V)."""
    # Not by reshaping to rows: of a batch on several devices, each would be sent all of it.
    return ops.einsum("tbu,tbv->uv", x, y)
