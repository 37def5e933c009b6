"""What a fitted `FusionForecaster` consists of in a file, and how it is made again from one."""

from __future__ import annotations

import contextlib
import os
import struct
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tsfusion.data.encoder import Rows
from tsfusion.data.roles import INDEX
from tsfusion.exceptions import DataWarning, FileFormatError
from tsfusion.files.archive import read_archive, write_archive
from tsfusion.files.checks import check_architecture, check_fitted, check_rows, split_weights
from tsfusion.files.codec import Decoder, Encoder
from tsfusion.files.scalars import shown
from tsfusion.prediction import Fitted, tail, typical_gap
from tsfusion.uncertainty.calibration import COVERAGES, METHODS, Calibration

__all__ = ["describe", "load_forecaster", "save_forecaster"]

_KIND = "tsfusion.FusionForecaster"
# Without them, a fitted forecaster predicts as before.
_DROPPED = ("optimizer", "loss", "callbacks")
_SELECTORS = ("known", "observed", "static")
# Of one machine: a file says nothing of where a later fit writes, and on what it runs.
_LOCAL = {"checkpoint_dir", "distribution"}
# Attributes of their own; the others follow from these and from what was learned.
_ATTRIBUTES = {
    "histories_": list, "n_features_in_": int, "feature_names_in_": np.ndarray,
    "validation_losses_": dict,
}  # fmt: skip
_STATE = ("_fitted", "_memory", "_architecture_", "model_", "_calibration")
_DERIVED = ("history_", "levels_", "context_length_", "freq_")
_FIELDS = {
    "kind": str, "tsfusion": str, "parameters": dict, "time_features": dict, "fitted": dict,
    "memory": dict, "attributes": dict, "calibration": list, "architecture": dict, "weights": list,
}  # fmt: skip
# What is raised where values of a hostile file do not go together.
_WRONG = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError,
    RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def save_forecaster(model: Any, path: str | os.PathLike, *, history: str = "full") -> None:
    """Write a fitted forecaster; see `FusionForecaster.save`."""
    if history not in ("full", "tail"):
        raise ValueError(f"history: expected 'full' or 'tail', received {history!r}.")
    encoder = Encoder()
    parameters, functions = _parameters(model)
    fitted: Fitted = model._fitted
    rows = model._memory if history == "full" else _tail(model._memory, fitted)
    weights = [np.asarray(weight) for weight in model.model_.get_weights()]
    other = sorted({str(weight.dtype) for weight in weights} - {"float32"})
    if other:
        raise TypeError(f"save: expected a network with weights of float32, received {other[0]}.")
    manifest = {
        "kind": _KIND,
        "tsfusion": _version(),
        "parameters": {
            name: encoder.encode(value, f"parameters.{name}") for name, value in parameters.items()
        },
        "time_features": functions,
        "fitted": encoder.encode(fitted, "fitted"),
        "memory": encoder.encode(rows, "memory"),
        "attributes": {
            name: encoder.encode(vars(model)[name], f"attributes.{name.strip('_')}")
            for name in _ATTRIBUTES
            if name in vars(model)
        },
        "calibration": _calibration(model._calibration, encoder),
        "architecture": model._architecture_,
        "weights": [
            [variable.path, list(weight.shape)]
            for variable, weight in zip(model.model_.weights, weights)
        ],
    }
    encoder.arrays["weights"] = np.concatenate([weight.reshape(-1) for weight in weights])
    _warn_of_left_out(model)
    write_archive(Path(path), manifest, encoder.arrays)


def load_forecaster(cls: type, path: str | os.PathLike, *, time_features: Any = None) -> Any:
    """Return the forecaster in a file; see `FusionForecaster.load`."""
    path = Path(path)
    with _naming(path):
        manifest, arrays = read_archive(path)
        _check_manifest(manifest)
        needed = _needed(manifest["time_features"])
    functions = _functions(needed, time_features, path)
    with _naming(path):
        decoder = Decoder(arrays, functions)
        model = _make(cls, manifest, decoder)
        weights = decoder.array("weights", "weights")
        if decoder.used != set(arrays):
            extra = sorted(set(arrays) - decoder.used)
            raise FileFormatError(f"expected the arrays that are used, received also {extra[:3]}.")
        check_architecture(model._architecture_, model._fitted)
        parts = split_weights(model._architecture_, manifest["weights"], weights)
    model.model_ = _network(model._architecture_, parts)
    return model


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """Return what a file says of its forecaster, checked as `load` does, without the network.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        Plain values: ``tsfusion`` (the version that wrote it), ``series``, ``rows``, ``first`` and
        ``last`` time of the known history, ``freq``, ``horizon``, ``context_length``, ``levels``,
        ``columns`` by role, ``weights`` (their number), ``validation_losses``, ``skill``,
        ``calibration`` (method, or None) and the ``parameters`` that are not the defaults.

    Raises
    ------
    FileFormatError
        If the file is damaged, or not one that `save` writes.
    """
    from tsfusion.forecaster import FusionForecaster

    path = Path(path)
    with _naming(path):
        manifest, arrays = read_archive(path)
        _check_manifest(manifest)
        # Of a function of time, its name alone is asked for here.
        stand_in = dict.fromkeys(_needed(manifest["time_features"]), len)
        decoder = Decoder(arrays, stand_in)
        model = _make(FusionForecaster, manifest, decoder)
        n_weights = int(np.size(decoder.array("weights", "weights")))
    roles, memory = model._fitted.encoder.roles, model._memory
    ends = memory.ordinal
    if len(memory):
        ends = np.array([ends.min(), ends.max()])
    times = [str(time) for time in model._fitted.encoder.timeline.times(ends)]
    defaults = FusionForecaster().get_params(deep=False)
    parameters = {
        name: value
        for name, value in model.get_params(deep=False).items()
        if name != "time_features" and repr(value) != repr(defaults[name])
    }
    skill = float(model.skill_)
    return {
        "tsfusion": manifest["tsfusion"],
        "series": int((memory.counts() > 0).sum()),
        "rows": len(memory),
        "first": times[0] if times else None,
        "last": times[-1] if times else None,
        "freq": str(model.freq_),
        "horizon": model.horizon,
        "context_length": model.context_length_,
        "levels": list(model.levels_),
        "columns": {
            "time": INDEX.value if roles.time is INDEX else roles.time,
            "series": list(roles.series), "target": roles.target,
            "known": list(roles.known), "observed": list(roles.observed),
            "static": list(roles.static),
        },
        "weights": n_weights,
        "validation_losses": model.validation_losses_,
        "skill": None if np.isnan(skill) else skill,
        "calibration": None if model._calibration is None else model._calibration.method,
        "parameters": parameters,
    }  # fmt: skip


def _version() -> str:
    from tsfusion import __version__

    return __version__


def _parameters(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters as plain values, and the names of the functions of time."""
    parameters = {k: v for k, v in model.get_params(deep=False).items() if k not in _LOCAL}
    roles, calendar = model._fitted.encoder.roles, model._fitted.calendar
    for name in _SELECTORS:
        if callable(parameters[name]):
            parameters[name] = list(getattr(roles, name))
    dropped = [name for name in _DROPPED if not isinstance(parameters[name], (str, type(None)))]
    for name in dropped:
        parameters[name] = None
    if dropped:
        warnings.warn(
            f"save: a file holds no objects, so {' and '.join(dropped)} will be None after load. "
            "Forecasts do not need them; set them again (set_params) before another fit.",
            DataWarning,
            stacklevel=4,
        )
    given = parameters.pop("time_features")
    functions = {
        "parameter": None if given is None else list(given),
        "fitted": [one.name for one in calendar.functions],
    }
    return parameters, functions


def _calibration(calibration: Calibration | None, encoder: Encoder) -> list[Any]:
    """Return what was calibrated, its arrays with two axes at most; nothing where there is none."""
    if calibration is None:
        return []
    values = {field.name: getattr(calibration, field.name) for field in fields(calibration)}
    for name in ("scores", "state"):
        values[name] = values[name].reshape(-1, values["scores"].shape[1])
    return [encoder.encode(values, "calibration")]


def _warn_of_left_out(model: Any) -> None:
    known = {*model.get_params(deep=False), *_ATTRIBUTES, *_STATE, *_DERIVED}
    left_out = sorted(set(vars(model)) - known)
    if left_out:
        warnings.warn(
            f"save: the attributes {left_out} are not part of the file.", DataWarning, stacklevel=4
        )


def _tail(memory: Rows, fitted: Fitted) -> Rows:
    """Return the rows that forecasts after the present end need, and no others."""
    timeline = fitted.encoder.timeline
    if fitted.encoder.roles.time is None:
        # Rows are numbered from the first.
        return memory
    kept = memory.take(tail(memory, fitted.context_length))
    if not timeline.is_regular and typical_gap(kept) != typical_gap(memory):
        # The times of steps to come are guessed from the gaps of all rows.
        return memory
    return kept


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in what is wrong with it; make one error of all that hostile values raise."""
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error.__cause__
    except _WRONG as error:
        raise FileFormatError(
            f"{path}: expected what save writes, received values that do not go together "
            f"({type(error).__name__}: {error!s:.300})."
        ) from error


def _check_manifest(manifest: dict[str, Any]) -> None:
    if manifest.get("kind") != _KIND:
        raise FileFormatError(f"expected a {_KIND}, received {shown(manifest.get('kind'))}.")
    if set(manifest) != set(_FIELDS):
        missing, more = sorted(set(_FIELDS) - set(manifest)), sorted(set(manifest) - set(_FIELDS))
        raise FileFormatError(
            f"expected the fields {sorted(_FIELDS)}, received one without {shown(missing)} and "
            f"with {shown(more)} beside them."
        )
    for name, kind in _FIELDS.items():
        if type(manifest[name]) is not kind:
            raise FileFormatError(
                f"{name}: expected a {kind.__name__}, received {shown(manifest[name])}."
            )


def _needed(listed: dict[str, Any]) -> list[str]:
    """Return the names of the functions of time that a file does without."""
    names = [*(listed["parameter"] or []), *listed["fitted"]]
    if set(listed) != {"parameter", "fitted"} or not all(type(name) is str for name in names):
        raise FileFormatError(f"time_features: expected names, received {shown(listed)}.")
    return list(dict.fromkeys(names))


def _functions(needed: list[str], given: Any, path: Path) -> dict[str, Any]:
    """Return the functions of time by name; raise unless they are those that the file needs."""
    given = {} if given is None else dict(given)
    if set(given) != set(needed) or not all(callable(function) for function in given.values()):
        raise ValueError(
            f"{path}: expected time_features= with the functions {needed} that the forecaster was "
            f"fitted with (a file holds no code), received {shown(given)}."
        )
    return given


def _make(cls: type, manifest: dict[str, Any], decoder: Decoder) -> Any:
    """Return the forecaster without its network."""
    fitted = decoder.expect(manifest["fitted"], Fitted, "fitted")
    check_fitted(fitted)
    memory = decoder.expect(manifest["memory"], Rows, "memory")
    check_rows(memory, fitted)
    attributes = _read_attributes(manifest["attributes"], decoder)
    model = cls(**_read_parameters(cls, manifest, decoder))
    vars(model).update(attributes)
    model.history_ = model.histories_[0]
    model.levels_ = fitted.levels
    model.context_length_ = fitted.context_length
    model.freq_ = fitted.encoder.timeline.freq
    model._fitted, model._memory = fitted, memory
    for written in manifest["calibration"]:
        model._calibration = _read_calibration(decoder.expect(written, dict, "calibration"), model)
    model._architecture_ = manifest["architecture"]
    return model


def _read_parameters(cls: Any, manifest: dict[str, Any], decoder: Decoder) -> dict[str, Any]:
    written = manifest["parameters"]
    never = {"time_features"} | _LOCAL
    unknown = sorted({*written} - {*cls._get_param_names()} | ({*written} & never))
    if unknown:
        raise FileFormatError(
            f"expected the parameters of {cls.__name__}, received also {shown(unknown[:3])}: "
            f"written by tsfusion {manifest['tsfusion']:.40}, this is {_version()}. Upgrade it."
        )
    parameters = {name: decoder.decode(data, name) for name, data in written.items()}
    names = manifest["time_features"]["parameter"]
    if names is not None:
        parameters["time_features"] = {name: decoder.functions[name] for name in names}
    return parameters


def _read_attributes(written: dict[str, Any], decoder: Decoder) -> dict[str, Any]:
    if not set(_ATTRIBUTES) - {"feature_names_in_"} <= set(written) <= set(_ATTRIBUTES):
        raise FileFormatError(
            f"attributes: expected {[*_ATTRIBUTES]}, received {shown([*written])}."
        )
    found = {name: decoder.expect(data, _ATTRIBUTES[name], name) for name, data in written.items()}
    histories = found["histories_"]
    if not histories or not all(_is_history(history) for history in histories):
        raise FileFormatError(f"histories_: expected losses by epoch, received {shown(histories)}.")
    losses = found["validation_losses_"]
    if not all(type(name) is str and type(loss) is float for name, loss in losses.items()):
        raise FileFormatError(f"validation_losses_: expected losses, received {shown(losses)}.")
    names = found.get("feature_names_in_", ())
    if not all(type(name) is str for name in names):
        raise FileFormatError("feature_names_in_: expected names, received other values.")
    return found


def _read_calibration(values: dict[str, Any], model: Any) -> Calibration:
    """Return a calibration of the fitted model; raise unless its parts belong together."""
    names = [field.name for field in fields(Calibration)]
    arrays = {"levels": 1, "series": 1, "origin": 1, "scores": 2, "state": 2}
    kinds = {"method": str, "coverage": str, "rate": float}
    good = list(values) == names and all(
        isinstance(value, np.ndarray) and value.ndim == arrays[name]
        if name in arrays
        else type(value) is kinds.get(name, int)
        for name, value in values.items()
    )
    if not good:
        raise FileFormatError(f"calibration: expected {names}, received {shown(values)}.")
    levels, horizon = len(model.levels_), model._fitted.horizon
    series, scores, state = values["series"], values["scores"], values["state"]
    n, many = len(series), values["n_series"]
    scores = scores.reshape(n, horizon, levels)
    adaptive = values["method"] != "cqr"
    state = state.reshape(1 + many, horizon, -1) if adaptive else state.reshape(-1)
    made = Calibration(**{**values, "scores": scores, "state": state})
    order = np.lexsort((values["origin"], series))
    good = (
        values["method"] in METHODS
        and values["coverage"] in (COVERAGES[:1] if adaptive else COVERAGES)
        and tuple(values["levels"].tolist()) == model.levels_
        and min(values["window"], values["min_origins"]) > 0
        and 0 <= values["rate"] < np.inf
        and 0 < many <= len(model._memory.labels)
        and series.dtype == np.int64
        and n > 0
        and series.max() < many
        and values["origin"].dtype == model._memory.ordinal.dtype
        and len(values["origin"]) == n
        and (order == np.arange(n)).all()
        and scores.dtype == np.float32
        and not np.isinf(scores).any()
        and state.dtype == np.float64
        and (state.shape[2] == len(made.grid) if adaptive else state.size == 0)
        and not np.isinf(state).any()
    )
    if not good:
        raise FileFormatError(
            f"calibration: expected scores of {horizon} steps and {levels} levels that fit this "
            f"model, received {shown(values)}."
        )
    return made


def _is_history(history: Any) -> bool:
    return type(history) is dict and all(
        type(name) is str and type(losses) is list and all(type(loss) is float for loss in losses)
        for name, losses in history.items()
    )


def _network(architecture: dict[str, Any], weights: list[np.ndarray]) -> Any:
    from tsfusion.models.factory import make_model
    from tsfusion.training.fit import seeded
    from tsfusion.training.on_tensorflow import tie_gradients_to_graphs

    tie_gradients_to_graphs()  # those of networks loaded before this one
    with seeded(0):
        model = make_model(architecture)
    model.set_weights(weights)
    return model
