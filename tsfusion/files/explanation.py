"""An explanation in one file of JSON and plain arrays, read as untrusted as a model file is."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.exceptions import FileFormatError
from tsfusion.explain.attribution import Attribution
from tsfusion.explain.explanation import Branch, Explanation
from tsfusion.explain.regimes import MemoryUse
from tsfusion.files.archive import read_archive, write_archive
from tsfusion.files.codec import Decoder, Encoder

__all__ = ["load_explanation", "save_explanation"]

_KIND = "explanation"
_PARTS: dict[str, type] = {cls.__name__: cls for cls in (Attribution, Branch, MemoryUse)}
# What a decoded value that does not fit raises while it is put together.
_WRONG = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def save_explanation(explanation: Explanation, path: str | os.PathLike) -> None:
    """Write an explanation; see `Explanation.save`."""
    encoder = Encoder()
    values = {
        one.name: encoder.encode(_flat(getattr(explanation, one.name)), f"explanation.{one.name}")
        for one in fields(Explanation)
    }
    write_archive(Path(path), {"kind": _KIND, "values": values}, encoder.arrays)


def load_explanation(path: str | os.PathLike) -> Explanation:
    """Return the explanation in a file; see `Explanation.load`."""
    path = Path(path)
    try:
        manifest, arrays = read_archive(path)
        if manifest.get("kind") != _KIND:
            raise FileFormatError(
                f"expected an explanation, received a file of kind {manifest.get('kind')!r:.40}."
            )
        values = manifest.get("values")
        names = {one.name for one in fields(Explanation)}
        # The one field that files did not have from the beginning.
        if type(values) is not dict or names - set(values) - {"calibrated"} or set(values) - names:
            raise FileFormatError(f"expected the fields {sorted(names)}, received others.")
        decoder = Decoder(arrays)
        found = {name: decoder.decode(data, name) for name, data in values.items()}
        try:
            explanation = Explanation(**{name: _whole(value) for name, value in found.items()})
            _check(explanation)
        except _WRONG as error:
            raise FileFormatError(
                f"expected parts that fit together, received others ({error})."
            ) from error
        return explanation
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _flat(value: Any) -> Any:
    """Return a value as what an `Encoder` knows; what it does not becomes a pair with its kind."""
    if isinstance(value, dict):
        return {name: _flat(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return ("tuple", [_flat(one) for one in value])
    if isinstance(value, pd.DataFrame):
        columns = [_flat(value.iloc[:, i].to_numpy()) for i in range(value.shape[1])]
        return ("frame", [value.columns, columns])
    if isinstance(value, np.ndarray) and value.ndim > 2:
        return ("block", [list(value.shape), value.reshape(-1)])
    if type(value).__name__ in _PARTS:
        names = [one.name for one in fields(value)]
        return ("part", [type(value).__name__, {n: _flat(getattr(value, n)) for n in names}])
    return value


def _whole(value: Any) -> Any:
    """Return what `_flat` was given."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if not isinstance(value, tuple):
        return value
    kind, content = value
    if kind == "tuple":
        return tuple(_whole(one) for one in content)
    if kind == "frame":
        columns, data = content
        # A list of texts becomes a column of texts, an array of objects does not.
        listed = [one.tolist() if one.dtype == object else one for one in data]
        frame = pd.DataFrame(dict(enumerate(listed)), columns=range(len(columns)))
        return frame.set_axis(columns, axis=1)
    if kind == "block":
        shape, data = content
        return data.reshape(shape)
    if kind == "part":
        name, parts = content
        return _PARTS[name](**{key: _whole(one) for key, one in parts.items()})
    raise ValueError(f"no kind of value {kind!r:.40}")


def _check(found: Explanation) -> None:
    """Raise where the parts of an explanation do not fit together."""
    windows, entries = len(found.cutoffs), len(found.window)
    per_entry = {
        name: len(getattr(found, name)) for name in ("step", "target_times", "median", "value")
    }
    if found.calibrated is not None:
        per_entry["calibrated"] = len(found.calibrated)
    per_entry |= {f"branch {one.name}": len(one.scores) for one in found.branches}
    wrong = [name for name, size in per_entry.items() if size != entries]
    if wrong or len(found.series_labels) != windows or not found.branches:
        raise ValueError(f"{wrong or 'windows'}: another length")
    outside = entries and not 0 <= found.window.min() <= found.window.max() < windows
    if outside or (windows and len(found.source_times) % windows):
        raise ValueError("a window that is not there")
    found.importance()
    len(found.forecast)
