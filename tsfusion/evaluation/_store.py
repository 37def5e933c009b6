"""A folder with the forecasts of a backtest, one file per model and cutoff."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.files.archive import replacing

__all__ = ["Store", "data_digest", "model_digest"]

_MANIFEST = "backtest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Store:
    """The folder, known to belong to the data and settings at hand."""

    folder: Path

    @classmethod
    def open(cls, path: Any, settings: dict[str, Any]) -> Store:
        """Open the folder, or make it; refuse one of other data or settings."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = folder / _MANIFEST
        wanted = json.loads(json.dumps({"format": _FORMAT, **settings}, default=str))
        if not manifest.exists():
            # The files of a folder whose manifest is lost could be of anything.
            if any(folder.glob("*.npz")):
                raise ValueError(
                    f"out: {folder} has .npz files but no {_MANIFEST}: choose another."
                )
            with replacing(manifest) as file:
                file.write(json.dumps(wanted, indent=1).encode())
            return cls(folder)
        try:
            found = json.loads(manifest.read_text())
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError(f"out: {manifest} is damaged: choose another folder, or delete it.")
        other = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
        if other:
            raise ValueError(
                f"out: {folder} holds a backtest with other {', '.join(other)}: choose another "
                "folder, or delete it."
            )
        return cls(folder)

    def load(
        self, model: str, number: int, digest: str, shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return forecasts (F,) and quantiles (F, Q); None where there are none, or damaged."""
        path = self._path(model, number)
        try:
            with np.load(path, allow_pickle=False) as file:
                mean, quantiles = file["mean"], file["quantiles"]
                found = str(file["digest"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if found != digest:
            raise ValueError(
                f"out: {path} holds forecasts of {model!r} with other parameters: give the model "
                "another name, or choose another folder."
            )
        return (mean, quantiles) if quantiles.shape == shape == (len(mean), shape[1]) else None

    def save(
        self, model: str, number: int, digest: str, mean: np.ndarray, quantiles: np.ndarray
    ) -> None:
        """Write a file, whole or not at all."""
        with replacing(self._path(model, number)) as file:
            np.savez(file, mean=mean, quantiles=quantiles, digest=np.array(digest))

    def _path(self, model: str, number: int) -> Path:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", model)[:60]
        return self.folder / f"{plain}-{_sha(model.encode())[:8]}-{number:04d}.npz"


def data_digest(frame: pd.DataFrame, target: np.ndarray) -> str:
    """Return a digest of all values, the index and the names of columns."""
    total = hashlib.sha256()
    total.update(repr([(name, str(frame[name].dtype)) for name in frame.columns]).encode())
    total.update(pd.util.hash_pandas_object(frame, index=True).to_numpy().tobytes())
    total.update(np.ascontiguousarray(target).tobytes())
    return total.hexdigest()


def model_digest(model: Any) -> str:
    """Return a digest of the type and the parameters of a model, the same in every process."""
    if hasattr(model, "get_params"):
        values = model.get_params(deep=False)
    else:
        values = getattr(model, "__dict__", {})
    # What is printed or kept on the way, or which devices train, changes no forecast.
    apart = ("verbose", "checkpoint_dir", "distribution")
    shown = sorted((str(key), repr(value)) for key, value in values.items() if key not in apart)
    text = f"{type(model).__module__}.{type(model).__qualname__} {shown}"
    return _sha(re.sub(r" at 0x[0-9a-fA-F]+", "", text).encode())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
