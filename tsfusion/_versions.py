"""What is installed, for reports of defects; relies on the metadata of packages alone."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

__all__ = ["show_versions"]


def show_versions() -> None:
    """Print the versions of Python, tsfusion and what it stands on, and Keras' backend.

    Nothing is imported: the versions are those of the installed packages, the backend is the one
    in use if Keras was imported, else the one that it will take.

    Examples
    --------
    >>> import tsfusion
    >>> tsfusion.show_versions()
    python            3...
    platform          ...
    tsfusion          ...
    keras backend     ...
    <BLANKLINE>
    keras             3...
    ...
    """
    width = 18
    print(f"{'python':<{width}}{sys.version.split()[0]}")
    print(f"{'platform':<{width}}{platform.platform()}")
    print(f"{'tsfusion':<{width}}{_own()}")
    print(f"{'keras backend':<{width}}{_backend()}")
    print()
    for name, extras in _requirements().items():
        extra = f"  (extra: {', '.join(extras)})" if extras else ""
        print(f"{name:<{width - 1}} {_version(name)}{extra}")


def _own() -> str:
    from tsfusion import __version__

    return __version__


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _backend() -> str:
    """Return the backend as Keras finds it: in use, from the environment, from its file."""
    keras = sys.modules.get("keras")
    if keras is not None:
        return str(keras.backend.backend())
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        return str(json.loads((home / "keras.json").read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def _requirements() -> dict[str, list[str]]:
    """Return what tsfusion needs, and what extras add: name -> extras, none for the first."""
    try:
        listed = metadata.requires("tsfusion") or []
    except metadata.PackageNotFoundError:
        listed = []
    found: dict[str, list[str]] = {}
    for name, extra in _parsed(listed):
        extras = found.setdefault(name, [])
        if extra and extra not in extras:
            extras.append(extra)
    return dict(sorted(found.items(), key=lambda item: bool(item[1])))


def _parsed(listed: list[str]) -> Iterator[tuple[str, str | None]]:
    for line in listed:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == [\"']([\w-]+)[\"']", line)
        if name and name[0] != "tsfusion":
            yield name[0], extra[1] if extra else None
