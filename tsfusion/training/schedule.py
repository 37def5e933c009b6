"""How long an epoch is, and the learning rate that goes with it, in plain numbers."""

from __future__ import annotations

__all__ = ["epoch", "seen", "usual_rate"]

# A long panel is seen in part in each epoch, so that early stopping looks often enough; the whole
# of it is seen across epochs. A short one is seen several times in each: 10 epochs of two steps
# leave a network where it began (132 months of passengers: five times the loss of a naive forecast,
# and below it with 30 steps in each).
_LEAST_STEPS, _MOST_STEPS = 30, 100
_RATE = 1e-2


def epoch(n_windows: int, batch_size: int, steps: int | None = None) -> tuple[int, int]:
    """Return windows per batch and batches per epoch, as asked for or usual."""
    batch_size = min(batch_size, max(n_windows, 1))
    if steps is None:
        steps = min(max(-(-n_windows // batch_size), _LEAST_STEPS), _MOST_STEPS)
    return batch_size, steps


def seen(n_windows: int, batch_size: int, steps: int) -> float:
    """Return how often an epoch sees each window, at least 1."""
    return max(steps * batch_size / max(n_windows, 1), 1.0)


def usual_rate(times: float) -> float:
    """Return the learning rate for windows that an epoch sees so many times."""
    return _RATE / times**0.5
