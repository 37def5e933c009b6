"""Where a fit stands, in one file, so that a fit that was killed goes on to the same weights.

Relies on the archive of `tsfusion.files`: JSON and plain arrays, written whole or not at all, and
sealed, so that damage is found before anything is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import types
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tsfusion.exceptions import FileFormatError
from tsfusion.files.archive import read_archive, write_archive

__all__ = ["Checkpoint", "CheckpointWriter", "Position", "describe", "digest"]

_NAME = "fit.checkpoint"
_KIND, _VERSION = "tsfusion.checkpoint", 1
# What is raised where the values of a file do not go together.
_WRONG = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError, TypeError,
    ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
_PLAIN = (type(None), bool, int, float, str)

History = dict[str, list[float]]


@dataclass(frozen=True)
class Position:
    """Where the training of one network stands after some epochs; arrays as bytes."""

    epoch: int
    history: History
    model: np.ndarray
    optimizer: np.ndarray
    stopping: dict[str, Any] | None
    best: np.ndarray | None


@dataclass
class Checkpoint:
    """The checkpoint of one fit; ``with`` it open, no other fit can take the same folder.

    It goes when the block ends well, and stays when an error or an interrupt ends it.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    fit : dict
        Everything that decides what training comes to, in values fit for JSON, by names to show.

    Attributes
    ----------
    seeds : list of int or None
        The seeds of the networks, None before they are set.
    finished : list of (ndarray of uint8, dict)
        Weights, as bytes, and history of each network that is trained.
    position : Position or None
        Where the network after these stands; None before the end of its first epoch.
    """

    folder: str | os.PathLike
    fit: dict[str, Any]
    seeds: list[int] | None = None
    finished: list[tuple[np.ndarray, History]] = field(default_factory=list)
    position: Position | None = None
    _lock: int | None = None

    def __post_init__(self) -> None:
        self.fit = json.loads(json.dumps(self.fit))

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder) / _NAME

    def __enter__(self) -> Checkpoint:
        try:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(
                f"checkpoint_dir: the folder {os.fspath(self.folder)} cannot be made "
                f"({error.strerror})."
            ) from error
        self._lock = _locked(self.path.parent)
        try:
            # What a write left that was killed halfway.
            for part in self.path.parent.glob(f".{_NAME}.*.part"):
                part.unlink(missing_ok=True)
            if self.path.exists():
                self._read()
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if kind is None:
                self.path.unlink(missing_ok=True)
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self) -> None:
        """Write everything in place of the former checkpoint."""
        manifest: dict[str, Any] = {
            "kind": _KIND,
            "checkpoint_version": _VERSION,
            "fit": self.fit,
            "seeds": self.seeds,
            "finished": [_to_hex(history) for _, history in self.finished],
            "position": None,
        }
        arrays = {f"finished.{i}": weights for i, (weights, _) in enumerate(self.finished)}
        if self.position is not None:
            now = self.position
            manifest["position"] = {
                "epoch": now.epoch,
                "history": _to_hex(now.history),
                "stopping": now.stopping,
            }
            arrays |= {"model": now.model, "optimizer": now.optimizer}
            arrays |= {} if now.best is None else {"best": now.best}
        write_archive(self.path, manifest, arrays)

    def _read(self) -> None:
        try:
            manifest, arrays = read_archive(self.path)
            if (manifest["kind"], manifest["checkpoint_version"]) != (_KIND, _VERSION):
                raise FileFormatError(
                    f"expected a {_KIND} of version {_VERSION}, received {manifest['kind']!r:.80} "
                    f"of version {manifest['checkpoint_version']!r:.20}."
                )
            other = _differences(manifest["fit"], self.fit)
            if not other:
                self._take(manifest, arrays)
        except FileFormatError as error:
            raise FileFormatError(f"{self.path}: {error} {self._anew}") from error.__cause__
        except _WRONG as error:
            raise FileFormatError(
                f"{self.path}: expected the checkpoint of a fit, received values that do not go "
                f"together ({type(error).__name__}: {error!s:.200}). {self._anew}"
            ) from error
        if other:
            raise ValueError(
                f"{self.path}: expected the checkpoint of this fit, received that of another: "
                f"{'; '.join(other)}. {self._anew}"
            )

    @property
    def _anew(self) -> str:
        return (
            f"To begin anew, delete the folder {os.fspath(self.folder)!r} or set another "
            "checkpoint_dir."
        )

    def _take(self, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.seeds = [int(seed) for seed in manifest["seeds"]]
        self.finished = [
            (arrays[f"finished.{i}"], _from_hex(history))
            for i, history in enumerate(manifest["finished"])
        ]
        now = manifest["position"]
        if now is not None:
            self.position = Position(
                epoch=int(now["epoch"]),
                history=_from_hex(now["history"]),
                model=arrays["model"],
                optimizer=arrays["optimizer"],
                stopping=now["stopping"],
                best=arrays.get("best"),
            )

    def unpacked(self, data: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return arrays of the shapes and types of ``like`` from their bytes."""
        expected = sum(array.nbytes for array in like)
        if len(data) != expected:
            raise FileFormatError(
                f"{self.path}: expected {expected} bytes of weights, received {len(data)}. "
                f"{self._anew}"
            )
        stops = np.cumsum([array.nbytes for array in like])
        return [
            np.frombuffer(data[stop - array.nbytes : stop].tobytes(), array.dtype).reshape(
                array.shape
            )
            for array, stop in zip(like, stops)
        ]


class CheckpointWriter(keras.callbacks.Callback):
    """Takes a network back to where a checkpoint left it, and writes one after each epoch.

    It comes after the callbacks whose state it keeps. There is no checkpoint after the last epoch
    of a network: what is written then is its weights.

    Parameters
    ----------
    checkpoint : Checkpoint
    optimizer : keras.optimizers.Optimizer
        That of the model, built.
    averaging : keras.callbacks.SwapEMAWeights, default=None
    stopping : keras.callbacks.EarlyStopping, default=None
    """

    def __init__(
        self, checkpoint: Checkpoint, optimizer: Any, averaging: Any = None, stopping: Any = None
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        now = checkpoint.position
        self.begin = 0 if now is None else now.epoch
        self.history: History = {} if now is None else dict(now.history)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Go back to where the checkpoint was written, once the other callbacks have begun."""
        now = self.checkpoint.position
        if now is None:
            return
        for variables, data in (
            (self.model.variables, now.model),
            (self.optimizer.variables, now.optimizer),
        ):
            values = self.checkpoint.unpacked(data, _values(variables))
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        if self.averaging is not None:
            # Written at the end of an epoch, when the averages stand in the model.
            self.averaging._ema_weights_in_model = True
        if self.stopping is not None and now.stopping is not None:
            best = now.stopping["best"]
            self.stopping.best = None if best is None else float.fromhex(best)
            self.stopping.wait = int(now.stopping["wait"])
            self.stopping.best_epoch = int(now.stopping["best_epoch"])
            if now.best is not None:
                weights = self.model.get_weights()
                self.stopping.best_weights = self.checkpoint.unpacked(now.best, weights)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write the checkpoint."""
        self.history = {
            **self.history,
            **{
                name: [*self.history.get(name, []), float(value)]
                for name, value in (logs or {}).items()
            },
        }
        if self.model.stop_training or epoch == self.params["epochs"] - 1:
            return
        stopping, best = None, None
        if self.stopping is not None:
            loss = self.stopping.best
            stopping = {
                "best": None if loss is None else float(loss).hex(),
                "wait": self.stopping.wait,
                "best_epoch": self.stopping.best_epoch,
            }
            weights = self.stopping.best_weights
            best = None if weights is None else _packed(weights)
        self.checkpoint.position = Position(
            epoch=epoch + 1,
            history=self.history,
            model=_packed(_values(self.model.variables)),
            optimizer=_packed(_values(self.optimizer.variables)),
            stopping=stopping,
            best=best,
        )
        self.checkpoint.write()

    def finish(self, weights: Sequence[np.ndarray], history: History) -> None:
        """Write that the network is trained."""
        self.checkpoint.finished.append((_packed(weights), history))
        self.checkpoint.position = None
        self.checkpoint.write()


def digest(*parts: Any) -> str:
    """Return the SHA-256 of arrays, indexes, data classes of these, lists and plain values."""
    found = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        elif isinstance(part, pd.Index):
            add(pd.util.hash_pandas_object(part, index=False).to_numpy())
        elif hasattr(part, "__dataclass_fields__"):
            for each in fields(part):
                add(getattr(part, each.name))
        elif isinstance(part, (list, tuple)):
            found.update(f"{len(part)}".encode())
            for each in part:
                add(each)
        else:
            found.update(json.dumps(part, sort_keys=True).encode())

    add(parts)
    return found.hexdigest()


def describe(value: Any) -> Any:
    """Describe a loss or an optimizer in plain values, the same in every process.

    A function is told by its code, its defaults and what plain values it encloses; an object by
    its class, the code of that, and its configuration.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return digest(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return [describe(each) for each in value]
    if isinstance(value, Mapping):
        # Keras numbers its names: they say how many there were before.
        return {str(k): describe(each) for k, each in sorted(value.items()) if k != "name"}
    if isinstance(value, types.MethodType):
        return [describe(value.__func__), describe(value.__self__)]
    if isinstance(value, types.FunctionType):
        enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
        known = [each if isinstance(each, _PLAIN) else type(each).__name__ for each in enclosed]
        text = repr((_code(value.__code__), describe(value.__defaults__), known))
        return f"{_name(value)} {hashlib.sha256(text.encode()).hexdigest()[:12]}"
    kind = type(value)
    code = [_code(f.__code__) for _, f in sorted(vars(kind).items()) if hasattr(f, "__code__")]
    config = describe(value.get_config()) if hasattr(value, "get_config") else None
    text = repr((code, config))
    return f"{_name(kind)} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _code(code: types.CodeType) -> tuple:
    constants = tuple(
        _code(each) if isinstance(each, types.CodeType)
        # The order of a set is another one in every process.
        else sorted(map(repr, each)) if isinstance(each, frozenset)
        else repr(each)
        for each in code.co_consts
    )  # fmt: skip
    return code.co_code, code.co_names, constants


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _packed(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the bytes of arrays, one after the other, whatever their types."""
    parts = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def _to_hex(history: History) -> dict[str, list[str]]:
    """Write every bit of each loss; JSON has no NaN."""
    return {name: [float(value).hex() for value in values] for name, values in history.items()}


def _from_hex(history: dict[str, list[str]]) -> History:
    return {name: [float.fromhex(value) for value in values] for name, values in history.items()}


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Say in which the fit of a checkpoint differs from this one."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return [
        f"the {name} differ" if name in ("data", "weights")
        else f"{name} is {there.get(name)!r:.80} there, {here.get(name)!r:.80} here"
        for name in names
    ]  # fmt: skip


def _locked(folder: Path) -> int | None:
    """Take a folder for this fit; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no locks on folders.
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(
            f"checkpoint_dir: the folder {os.fspath(folder)!r} is in use by another fit. Give each "
            "fit a folder of its own."
        ) from None
    except OSError:  # Some file systems have none either.
        os.close(handle)
        return None
    return handle
