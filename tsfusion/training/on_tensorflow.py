"""Many fits in one process on TensorFlow: what it would keep of each, and say about each."""

from __future__ import annotations

import contextlib
import inspect
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import keras

__all__ = ["quiet_about_traces", "tie_gradients_to_graphs"]


@contextlib.contextmanager
def quiet_about_traces() -> Iterator[None]:
    """Have TensorFlow say nothing about traces: a new network has to be traced anew.

    It counts the traces of all networks of a process as those of one function, and warns at the
    fifth and the sixth that tracing is expensive.
    """
    logger = logging.getLogger("tensorflow")
    silence = _NoTraces()
    logger.addFilter(silence)
    try:
        yield
    finally:
        logger.removeFilter(silence)


class _NoTraces(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in str(record.msg)


class _Tied:
    """A gradient that its graph holds; it keeps neither alive."""

    def __init__(self, gradient: Any) -> None:
        self._gradient = weakref.ref(gradient)

    def __call__(self, *args: Any) -> Any:
        gradient = self._gradient()
        assert gradient is not None  # whoever asks for it has its graph
        return gradient(*args)


def tie_gradients_to_graphs() -> None:
    """Let go of the gradients of our graphs, and so of the graphs, once no one needs the graphs.

    TensorFlow registers the gradient of each ``tf.custom_gradient`` in a graph for good, and with
    it the graph: some 50 MB a fit. Ours are the graphs in which this package has written a
    gradient; those of others are left alone, and so are all where TensorFlow keeps its register in
    another way than the versions do that this was written for.
    """
    if keras.backend.backend() != "tensorflow":
        return
    from tensorflow.python.framework import ops

    register = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    if not isinstance(register, dict):
        return
    found = [
        (name, entry, *_belongs_to(entry.get("type")))
        for name, entry in list(register.items())
        if str(name).startswith("CustomGradient-") and isinstance(entry, dict)
    ]
    ours = {id(graph) for *_, graph, written_here in found if written_here}
    for name, entry, graph, _ in found:
        if id(graph) in ours or (graph is not None and graph.get_collection(_KEPT)):
            graph.add_to_collection(_KEPT, entry["type"])
            entry["type"] = _Tied(entry["type"])
            weakref.finalize(graph, register.pop, name, None)


_KEPT = "tsfusion_gradients"


def _belongs_to(gradient: Any) -> tuple[Any, bool]:
    """Return the graph that a registered gradient is of, and whether this package has written it.

    The graph is None where it cannot be told, and where the gradient has been tied to it.
    """
    held = _closure(_closure(gradient).get("tape_grad_fn"))
    results = keras.tree.flatten(held.get("result"))
    graph = getattr(results[0], "graph", None) if results else None
    module = getattr(held.get("grad_fn"), "__module__", None) or ""
    return graph, graph is not None and module.startswith("tsfusion.")


def _closure(function: Any) -> dict[str, Any]:
    return dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}
