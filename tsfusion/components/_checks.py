"""Checks of constructor values and input shapes, with one way of saying what is wrong."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

__all__ = [
    "check_count",
    "check_positive_int",
    "check_rank",
    "check_rate",
    "check_sources",
    "shapes_of",
]


def check_positive_int(owner: str, name: str, value: Any) -> int:
    """Return ``value`` as an int, or raise ``ValueError`` if it is not an integer >= 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{owner}: expected `{name}` to be an integer >= 1, received {value!r}.")
    return int(value)


def check_count(owner: str, name: str, value: Any) -> int:
    """Return ``value`` as an int, or raise ``ValueError`` if it is not an integer >= 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{owner}: expected `{name}` to be an integer >= 0, received {value!r}.")
    return int(value)


def check_rate(owner: str, name: str, value: Any) -> float:
    """Return ``value`` as a float, or raise ``ValueError`` if it is not in [0, 1)."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= float(value) < 1:
        raise ValueError(
            f"{owner}: expected `{name}` to be a number in [0, 1), received {value!r}."
        )
    return float(value)


def check_rank(owner: str, name: str, shape: Sequence[int | None], rank: int, letters: str) -> None:
    """Raise ``ValueError`` if ``shape`` has not ``rank`` axes or its last axis is unknown."""
    if len(shape) != rank:
        raise ValueError(
            f"{owner}: expected `{name}` of shape {letters}, received shape {tuple(shape)}."
        )
    if shape[-1] is None:
        raise ValueError(
            f"{owner}: expected `{name}` of shape {letters} with a known last axis, "
            f"received shape {tuple(shape)}."
        )


def check_sources(
    owner: str, shapes: Any, names: Sequence[str] | None = None
) -> list[tuple[int | None, ...]]:
    """Return the shapes of a list of tensors as tuples.

    ``ValueError`` if it is not a list, or has not one tensor per name (any number >= 1 without
    ``names``). Shapes that went through JSON are lists, hence the conversion.
    """
    wanted = "a list of tensors" if names is None else f"a list [{', '.join(names)}]"
    is_list = isinstance(shapes, (list, tuple)) and all(
        isinstance(shape, (list, tuple)) for shape in shapes
    )
    if not is_list:
        raise ValueError(f"{owner}: expected {wanted}, received a tensor of shape {shapes}.")
    if not shapes or (names is not None and len(shapes) != len(names)):
        raise ValueError(f"{owner}: expected {wanted}, received a list of {len(shapes)} tensors.")
    return [tuple(shape) for shape in shapes]


def shapes_of(inputs: Any) -> Any:
    """Return the shape of a tensor, or the list of shapes of a list of tensors, as tuples."""
    if isinstance(inputs, (list, tuple)):
        return [tuple(tensor.shape) for tensor in inputs]
    return tuple(inputs.shape)
