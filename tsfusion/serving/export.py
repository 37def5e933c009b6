"""Writing the graph of a forecaster: whole or not at all, with its metadata in it.

TensorFlow and the ONNX tools are imported when they are needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tsfusion.quantiles import check_levels
from tsfusion.serving.contract import Contract

__all__ = ["METADATA", "export_forecaster"]

# The file of a SavedModel's folder, and the key of an ONNX file's metadata, that hold the contract.
METADATA = "tsfusion.json"
ONNX_KEY = "tsfusion"
# The latest that both tf2onnx 1.17 writes and runtimes of the last three years read.
_OPSET = 17


def export_forecaster(
    model: Any, path: str | os.PathLike, *, format: str = "tf_saved_model", quantiles: Any = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a fitted forecaster as a graph; see `tsfusion.FusionForecaster.export`."""
    write = _writer(format)
    levels = check_levels(model.quantiles if quantiles is None else quantiles)
    # Of a link, what it points to is replaced.
    target = Path(os.path.realpath(path))
    _check_target(target, format, overwrite)
    if model._calibration is not None:
        raise ValueError(
            "export: expected a forecaster that is not calibrated, for the graph holds the "
            "network's quantiles and not their corrections. Export a copy after its uncalibrate(), "
            "or serve the forecaster itself (save, load)."
        )
    _check_backend()
    contract = Contract.of(model._fitted, levels)
    described = json.dumps(contract.described(), allow_nan=False)
    from tsfusion.serving.graph import Graph

    graph = Graph(contract, model.model_)
    _replacing(target, lambda part: write(graph, described, part))


def _writer(format: str) -> Callable[[Any, str, Path], None]:
    if format == "tf_saved_model":
        return _write_saved_model
    if format == "onnx":
        _onnx_tools()
        return _write_onnx
    raise ValueError(f"format: expected 'tf_saved_model' or 'onnx', received {format!r}.")


def _check_target(target: Path, format: str, overwrite: bool) -> None:
    """Raise if something is at the target that is not to be replaced."""
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"export: expected a path in a folder that is there, received {target}. Make "
            f"{target.parent} first."
        )
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"export: {target} is there already. Pass overwrite=True to replace it, or another "
            "path."
        )
    ours = (target / METADATA).is_file() if format == "tf_saved_model" else target.is_file()
    if not ours:
        kind = f"a folder with {METADATA}" if format == "tf_saved_model" else "a file"
        raise FileExistsError(
            f"export: overwrite=True replaces {kind}, and {target} is none. Pass another path."
        )


def _check_backend() -> None:
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "export: expected Keras on TensorFlow, which alone writes these formats, received the "
            f"backend {backend!r}. Save the forecaster; load and export it in a process with "
            "KERAS_BACKEND=tensorflow."
        )


def _onnx_tools() -> Any:
    """Return the modules onnx and tf2onnx."""
    try:
        import onnx
        import tf2onnx.convert
    except ImportError as error:
        raise ImportError(
            f"export: format='onnx' needs packages that are not here ({error}): "
            "pip install 'tsfusion[export]'."
        ) from error
    return onnx, tf2onnx


def _write_saved_model(graph: Any, described: str, part: Path) -> None:
    graph.save(str(part))
    (part / METADATA).write_text(described, encoding="utf-8")


def _write_onnx(graph: Any, described: str, part: Path) -> None:
    onnx, tf2onnx = _onnx_tools()
    traced = graph.traced()
    proto, _ = tf2onnx.convert.from_function(
        _Traced(traced), [], opset=_OPSET, custom_op_handlers={"SelectV2": (_choose, [])}
    )
    # The converter goes on past what it cannot write.
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise RuntimeError(
            f"export: this network cannot be written as ONNX ({error!s:.300}). Use "
            "format='tf_saved_model'."
        ) from error
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    entry = proto.metadata_props.add()
    entry.key, entry.value = ONNX_KEY, described
    onnx.save(proto, str(part))


def _choose(context: Any, node: Any, name: str, arguments: Any) -> None:
    # The converter's own choice is a sum of products, and NaN times 0 is NaN.
    node.type = "Where"


class _Traced:
    """A concrete function, where the converter asks for one that has yet to be traced."""

    def __init__(self, traced: Any) -> None:
        self.traced = traced

    def get_concrete_function(self, *signature: Any) -> Any:
        return self.traced


def _replacing(target: Path, write: Callable[[Path], None]) -> None:
    """Write beside the target, and put it there in the end; what was there stays until then."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        part = Path(folder, "part")
        write(part)
        _flush(part)
        if not target.is_dir():
            os.replace(part, target)
            return
        # No system replaces one folder by another at once.
        old = target.with_name(f".{target.name}.{secrets.token_hex(8)}.old")
        os.rename(target, old)
        try:
            os.rename(part, target)
        except BaseException:
            os.rename(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _flush(part: Path) -> None:
    """Have every file on disk before it gets its name."""
    for file in [part] if part.is_file() else part.rglob("*"):
        if file.is_file():
            with contextlib.suppress(OSError), open(file, "rb") as opened:
                os.fsync(opened.fileno())
