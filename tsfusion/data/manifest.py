"""What a folder of buckets must hold: its list of files, and the check of them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["MANIFEST", "check_files", "file_digest", "read_manifest", "write_manifest"]

# Arrow takes files of this first letter for no part of a data set.
MANIFEST = "_manifest.json"
_KIND, _VERSION = "tsfusion.buckets", 1
_CHUNK = 1 << 20


def write_manifest(folder: Path, files: list[dict[str, Any]], **about: Any) -> dict[str, Any]:
    """Write and return the manifest of a folder whose files are complete."""
    manifest = {"kind": _KIND, "version": _VERSION, **about, "files": files}
    with open(folder / MANIFEST, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def read_manifest(folder: str | os.PathLike) -> dict[str, Any] | None:
    """Return the manifest of a folder of buckets; None where a path has none.

    Raises
    ------
    ValueError
        If there is one that cannot be read.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        kind, version = manifest["kind"], manifest["version"]
        for file in manifest["files"]:
            if not {"name", "rows", "bytes", "sha256"} <= set(file):
                raise KeyError(file)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected the manifest of relayout; {_ANEW}") from error
    if (kind, version) != (_KIND, _VERSION):
        raise ValueError(
            f"{path}: expected a manifest of {_KIND}, version {_VERSION}, received {kind!r}, "
            f"version {version!r}; {_ANEW}"
        )
    return manifest


def check_files(folder: str | os.PathLike[str], *, digests: bool = False) -> None:
    """Raise unless a folder holds the files of its manifest, whole; one without is let pass.

    Parameters
    ----------
    folder : str or path
    digests : bool, default=False
        Read the files, and compare their digests too.

    Raises
    ------
    ValueError
        Naming the first file that is missing, torn or not listed.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return
    listed = {file["name"]: file for file in manifest["files"]}
    there = {
        entry.name: entry.stat().st_size
        for entry in os.scandir(os.fspath(folder))
        if not entry.name.startswith(("_", "."))
    }
    wrong = []
    for name in sorted({*listed, *there}):
        if name not in there:
            wrong.append(f"{name} is missing ({listed[name]['rows']} rows)")
        elif name not in listed:
            wrong.append(f"{name} is not one of its {len(listed)} files")
        elif there[name] != listed[name]["bytes"]:
            wrong.append(f"{name} has {there[name]} bytes in place of {listed[name]['bytes']}")
        elif digests and file_digest(Path(folder) / name) != listed[name]["sha256"]:
            wrong.append(f"{name} was changed")
    if wrong:
        more = f", and {len(wrong) - 1} files more" if len(wrong) > 1 else ""
        raise ValueError(f"{os.fspath(folder)}: {wrong[0]}{more}; {_ANEW}")


_ANEW = "copy the whole folder again, or make it anew with tsfusion relayout."


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
