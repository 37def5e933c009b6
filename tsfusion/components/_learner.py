"""The learner methods that every layer offers, and the file that `save` writes.

The file is one zip of stored (uncompressed) members: ``layer.json`` with the class, its
configuration, the shapes it was built for and a list of its weights, and one ``.npy`` array per
weight. No pickle.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state  # no public way: see `_on_paper`

__all__ = ["LearnerMixin"]

FORMAT = "tsfusion"
FORMAT_VERSION = 1
_MANIFEST = "layer.json"
_MAX_MANIFEST = 4 * 2**20
_MAX_WEIGHTS = 10_000
_FIELDS = {"format", "format_version", "class", "config", "build", "weights"}
# bfloat16 is no NumPy dtype: its bits are stored as uint16.
_STORED_AS = {"bfloat16": "uint16"}
_DTYPES = {"float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64"} | {
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
}
# Objects that a configuration in a file may name; anything else could be code of the file's author.
_OBJECTS = {
    "keras.initializers": keras.initializers,
    "keras.regularizers": keras.regularizers,
    "keras.constraints": keras.constraints,
    "keras.dtype_policies": keras.dtype_policies,
    "keras": keras.dtype_policies,
}
# Of `keras.layers.Layer`, not of the learner.
_LAYER_KEYS = {"name", "trainable", "dtype"}


class _ClassOrInstance:
    """A method or attribute whose function gets ``(instance or None, class)``."""

    def __init__(self, function: Callable[..., Any], *, is_method: bool) -> None:
        self.function = function
        self.is_method = is_method
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if not self.is_method:
            return self.function(instance, owner)

        def bound(*args: Any, **kwargs: Any) -> Any:
            return self.function(instance, owner, *args, **kwargs)

        bound.__name__ = self.function.__name__
        bound.__doc__ = self.function.__doc__
        return bound


def _my_params(layer: Any, owner: type) -> str:
    """The constructor call as text: the class's leading parameters, a layer's values too."""
    if layer is not None:
        given = ", ".join(f"{key}={value!r}" for key, value in layer.get_params().items())
        return f"{owner.__name__}({given})"
    signature = inspect.signature(owner.__init__)  # type: ignore[misc]
    names = [
        parameter.name
        for parameter in list(signature.parameters.values())[1:]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    return f"{owner.__name__}({', '.join(names)})"


def _load(layer: Any, owner: type, file_path: str | os.PathLike[str], format: str = FORMAT) -> Any:
    """Bring a layer back from a file that `save` wrote.

    ``layer.load(path)`` brings the weights back into this layer, building it first if need be, and
    returns it. The layer must be of the same class and parameters, and of the same shapes if it
    is built. ``Class.load(path)`` makes a new layer from the file alone.

    Parameters
    ----------
    file_path : path
        The file.
    format : str
        ``"tsfusion"``, the only one.

    Raises
    ------
    ValueError
        If the file is damaged, not a file of this kind, or of another class, other parameters or
        other shapes. The layer is then as it was.
    FileNotFoundError
        If there is no such file.
    """
    _check_format(format)
    path = Path(file_path)
    if not path.exists():
        raise FileNotFoundError(f"{owner.__name__}.load: no file {str(path)!r}.")
    try:
        return _read(layer, owner, path)
    except Exception as error:
        raise ValueError(f"{owner.__name__}.load: cannot load {str(path)!r}: {error}") from error


class LearnerMixin:
    """The learner methods of a layer: parameters, files, a summary and help.

    To be mixed into subclasses of `keras.layers.Layer` whose ``get_config`` is complete.
    """

    my_params = _ClassOrInstance(_my_params, is_method=False)
    load = _ClassOrInstance(_load, is_method=True)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor parameters by name, in the form that `get_config` gives them.

        Parameters
        ----------
        deep : bool
            Also the parameters of parameters, as ``name__parameter``. No layer of tsfusion takes
            another one as a parameter, so that both values give the same.
        """
        config = self.get_config()  # type: ignore[attr-defined]
        return {name: value for name, value in config.items() if name not in _LAYER_KEYS}

    def set_params(self, **params: Any) -> Any:
        """Change constructor parameters of a layer that is not built yet, and return the layer.

        The layer is made anew in place, under its old name. A built layer has weights that belong
        to its parameters: for it, only values that it has already are accepted.

        Raises
        ------
        ValueError
            If a name is not a parameter, a value is refused by the constructor, or the layer is
            built and a value differs. The layer is then as it was.
        """
        owner = type(self).__name__
        current = self._settable()
        unknown = sorted(set(params) - set(current))
        if unknown:
            raise ValueError(
                f"{owner}.set_params: expected parameters among {sorted(current)}, "
                f"received {unknown}."
            )
        changed = {name: value for name, value in params.items() if not _same(value, current[name])}
        if not changed:
            return self
        if self.built:  # type: ignore[attr-defined]
            raise ValueError(
                f"{owner}.set_params: expected no change of a built layer, received {changed}: "
                f"its weights belong to its parameters. Make a new layer instead: "
                f"{owner}.from_config({{**layer.get_config(), **params}})."
            )
        config = {**self.get_config(), **changed}  # type: ignore[attr-defined]
        # First on another object: a refused value must leave this layer as it was.
        type(self)(**config)
        _remake(self, config)
        return self

    def _settable(self) -> dict[str, Any]:
        """Return all parameters with their values, those left at their default included."""
        signature = inspect.signature(type(self).__init__)
        defaults = {
            parameter.name: parameter.default
            for parameter in signature.parameters.values()
            if parameter.default is not parameter.empty and parameter.name not in _LAYER_KEYS
        }
        return {**defaults, **self.get_params()}

    def save(
        self,
        file_path: str | os.PathLike[str],
        format: str = FORMAT,
        overwrite: bool = False,
    ) -> Path:
        """Write the layer (parameters, shapes, weights) to one file without pickle.

        Parameters
        ----------
        file_path : path
            Where to. The file appears whole or not at all.
        format : str
            ``"tsfusion"``, the only one.
        overwrite : bool
            Whether to replace a file that is there.

        Returns
        -------
        pathlib.Path
            The path.

        Raises
        ------
        ValueError
            If the format is not known.
        FileExistsError
            If the file is there and ``overwrite`` is False.
        """
        _check_format(format)
        path = Path(file_path)
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{type(self).__name__}.save: {str(path)!r} is there already: "
                f"pass overwrite=True to replace it."
            )
        _write_atomically(path, _encode(self), overwrite)
        return path

    def summary(self) -> str:
        """Return a short text: the parameters, and the weights with their shapes."""
        lines = [self.my_params, f"  name: {self.name}"]  # type: ignore[attr-defined]
        if not self.built:  # type: ignore[attr-defined]
            return "\n".join([*lines, "  not built: no weights yet"])
        weights = self.weights  # type: ignore[attr-defined]
        total = sum(int(np.prod(weight.shape)) for weight in weights)
        lines.append(f"  built: {len(weights)} weights, {total} numbers")
        for weight in weights:
            fixed = "" if weight.trainable else ", not trainable"
            lines.append(f"  {_local_path(self, weight)}: {tuple(weight.shape)}{fixed}")
        return "\n".join(lines)

    @classmethod
    def help(cls, **kwargs: Any) -> None:
        """Print the documentation of the class.

        Parameters
        ----------
        **kwargs
            Keywords of `print`, such as ``file``.
        """
        print(f"{cls.my_params}\n\n{inspect.getdoc(cls)}", **kwargs)


def _check_format(format: str) -> None:
    if format == FORMAT:
        return
    reason = ""
    if format in ("pickle", "joblib", "pkl"):
        reason = " A pickle runs code of whoever wrote it when it is loaded, so none is written."
    raise ValueError(f"expected format={FORMAT!r}, received {format!r}.{reason}")


def _same(first: Any, second: Any) -> bool:
    """Whether two parameter values are equal, a list and a tuple of the same items included."""
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_same, first, second))
    try:
        return type(first) is type(second) and bool(first == second)
    except Exception:
        return first is second


def _remake(layer: Any, config: dict[str, Any]) -> None:
    """Run the constructor of an unbuilt layer again, as if it had been made with ``config``."""
    # `Layer.__new__` leaves wrappers in the object (around `build`, for instance) that belong to
    # this very object; the constructor would keep what it tracked before. So all goes but those.
    owner: Any = type(layer)
    pristine = vars(owner.__new__(owner, **config))
    bound = {name: vars(layer)[name] for name in pristine if callable(pristine[name])}
    vars(layer).clear()
    vars(layer).update(pristine)
    vars(layer).update(bound)
    layer.__init__(**config)


def _local_path(layer: Any, weight: Any) -> str:
    """Return the path of a weight below its layer: the same wherever the layer is used."""
    return weight.path.removeprefix(f"{layer.path}/")


def _encode(layer: Any) -> bytes:
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "class": type(layer).__name__,
        "config": layer.get_config(),
        "build": layer.get_build_config() if layer.built else None,
        "weights": [],
    }
    arrays = []
    for weight in layer.weights:
        array = keras.ops.convert_to_numpy(weight)
        dtype = keras.backend.standardize_dtype(weight.dtype)
        manifest["weights"].append(
            {"path": _local_path(layer, weight), "shape": list(array.shape), "dtype": dtype}
        )
        arrays.append(array.view(_STORED_AS[dtype]) if dtype in _STORED_AS else array)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        file.writestr(_MANIFEST, json.dumps(manifest, indent=1))
        for index, array in enumerate(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            file.writestr(_member(index), member.getvalue())
    return buffer.getvalue()


def _member(index: int) -> str:
    return f"weights/{index:05d}.npy"


def _write_atomically(path: Path, content: bytes, overwrite: bool) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # `mkstemp` lets only the owner read; a new file has what the umask leaves.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        if overwrite:
            os.replace(temporary, path)
        else:
            # A link, not a rename: it fails if the file has come to be since we looked.
            os.link(temporary, path)
            os.unlink(temporary)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _read(layer: Any, owner: type, path: Path) -> Any:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        _check_members(members, size)
        manifest = _read_manifest(file, owner)
        _check_names(members, len(manifest["weights"]))
        target = layer if layer is not None else owner.from_config(manifest["config"])  # type: ignore[attr-defined]
        _check_params(target, owner, manifest)
        expected = _expected_weights(target, owner, manifest)
        if expected != manifest["weights"]:
            raise ValueError(
                f"expected weights {_shortly(expected)}, received {_shortly(manifest['weights'])}."
            )
        arrays = [
            _read_array(file, _member(index), entry)
            for index, entry in enumerate(manifest["weights"])
        ]
    if manifest["build"] is not None and not target.built:
        target.build_from_config(_as_shapes(manifest["build"]))
    for weight, array in zip(target.weights, arrays):
        weight.assign(keras.ops.convert_to_tensor(array, dtype=weight.dtype))
    return target


def _shortly(weights: list[dict[str, Any]]) -> str:
    text = ", ".join(f"{entry['path']} {entry['shape']} {entry['dtype']}" for entry in weights)
    return f"[{text[:400]}]"


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse whatever could grow when read: only plain, stored members within the file's size."""
    if len(members) > _MAX_WEIGHTS + 1:
        raise ValueError(f"expected at most {_MAX_WEIGHTS + 1} members, received {len(members)}.")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
            raise ValueError(f"expected stored members, received {member.filename!r} packed.")
        if member.file_size != member.compress_size:
            raise ValueError(f"member {member.filename!r} does not say its size truly.")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its members are larger than the file.")


def _read_manifest(file: zipfile.ZipFile, owner: type) -> dict[str, Any]:
    try:
        info = file.getinfo(_MANIFEST)
    except KeyError:
        raise ValueError("it is not a file of a tsfusion layer.") from None
    if info.file_size > _MAX_MANIFEST:
        raise ValueError(f"expected {_MANIFEST} of at most {_MAX_MANIFEST} bytes.")
    manifest = json.loads(file.read(info))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError("it is not a file of a tsfusion layer.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"expected format_version {FORMAT_VERSION}, received "
            f"{manifest.get('format_version')!r}: load it with the tsfusion that wrote it."
        )
    if set(manifest) != _FIELDS:
        raise ValueError(f"expected the fields {sorted(_FIELDS)}, received {sorted(manifest)}.")
    if manifest["class"] != owner.__name__:
        raise ValueError(f"expected a {owner.__name__}, received a {manifest['class']!r}.")
    if not isinstance(manifest["config"], dict) or not isinstance(manifest["weights"], list):
        raise ValueError("its description is damaged.")
    _check_objects(manifest["config"])
    return manifest


def _check_objects(value: Any) -> None:
    """Refuse a configuration that names any object but Keras' own small ones."""
    if isinstance(value, list):
        for item in value:
            _check_objects(item)
    elif isinstance(value, dict):
        if "class_name" in value:
            family = _OBJECTS.get(str(value.get("module")))
            name = value["class_name"]
            own = family is not None and isinstance(getattr(family, str(name), None), type)
            if not own or value.get("registered_name") is not None:
                raise ValueError(f"its configuration names a foreign object {name!r}.")
        for item in value.values():
            _check_objects(item)


def _check_names(members: list[zipfile.ZipInfo], weights: int) -> None:
    names = sorted(member.filename for member in members)
    expected = sorted([_MANIFEST, *(_member(index) for index in range(weights))])
    if names != expected:
        raise ValueError(f"expected the members {expected[:3]}..., received {names[:3]}...")


def _check_params(target: Any, owner: type, manifest: dict[str, Any]) -> None:
    theirs = {name: value for name, value in manifest["config"].items() if name not in _LAYER_KEYS}
    ours = json.loads(json.dumps(target.get_params()))
    if ours != theirs:
        raise ValueError(f"expected parameters {ours}, received {theirs}.")


@contextlib.contextmanager
def _on_paper() -> Iterator[None]:
    """Let variables that are made here have a shape and no values, ever."""
    pending = global_state.get_global_attribute(
        "uninitialized_variables", default=[], set_to_default=True
    )
    before = len(pending)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        # Keras would fill them in at its next chance: with a foreign shape, all of the memory.
        del pending[before:]


def _expected_weights(target: Any, owner: type, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the weights must be, by this layer or a twin of it that is built on paper.

    In a stateless scope variables have a shape and no values, so that shapes from a foreign file
    cost no memory before they are known to be those of the arrays that came with them.
    """
    if manifest["build"] is None:
        if target.built:
            raise ValueError("expected weights, received a layer that was saved before it had any.")
        return []
    twin = target
    if not target.built:
        with _on_paper():
            twin = owner.from_config(target.get_config())  # type: ignore[attr-defined]
            twin.build_from_config(_as_shapes(manifest["build"]))
    return [
        {
            "path": _local_path(twin, weight),
            "shape": list(weight.shape),
            "dtype": keras.backend.standardize_dtype(weight.dtype),
        }
        for weight in twin.weights
    ]


def _as_shapes(value: Any) -> Any:
    """Return lists of sizes as tuples: JSON has no tuples, and `build` tells shapes by them."""
    if isinstance(value, dict):
        return {name: _as_shapes(item) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    if all(item is None or isinstance(item, int) for item in value):
        return tuple(value)
    return [_as_shapes(item) for item in value]


def _read_array(file: zipfile.ZipFile, name: str, entry: dict[str, Any]) -> np.ndarray:
    """Return an array whose header says just what the description says of it."""
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if dtype not in _DTYPES:
        raise ValueError(f"expected a dtype among {sorted(_DTYPES)}, received {dtype!r}.")
    stored = np.dtype(_STORED_AS.get(dtype, dtype))
    content = io.BytesIO(file.read(name))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"expected {name} of npy version 1.0.")
    found = np.lib.format.read_array_header_1_0(content)
    if found != (shape, False, stored):
        raise ValueError(f"expected {name} to be {stored} {shape}, received {found[2]} {found[0]}.")
    data = content.read()
    if len(data) != stored.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError(f"{name} is cut short or too long.")
    array = np.frombuffer(data, dtype=stored).reshape(shape)
    if dtype not in _STORED_AS:
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)
