"""One zip of stored members: JSON and plain arrays, written whole or not at all, read untrusted.

Relies on NumPy and the standard library. A file ends with the digest of all that comes before, so
that any damage is found before anything is read out of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tsfusion.exceptions import FileFormatError

__all__ = [
    "DTYPES",
    "FORMAT_VERSION",
    "check_target",
    "read_archive",
    "replacing",
    "seal",
    "write_archive",
]

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
# The comment at the end of the zip: this, and 64 hexadecimal digits.
_SEAL = b"tsfusion-sha256:"
_SEAL_SIZE = len(_SEAL) + 64
# The end of a zip without its comment: no zip is shorter.
_LEAST_SIZE = 22 + _SEAL_SIZE
_MEMBER = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\.npy")
# JSON grows about twentyfold in memory, and a list most of all.
_MOST_JSON, _MOST_CONTAINERS = 32 << 20, 1_000_000
# What NumPy writes, in 128 bytes, before an array of one or two dimensions.
_MAGIC, _MOST_HEADER = b"\x93NUMPY\x01\x00", 256
_HEADER = re.compile(
    rb"\{'descr': '([<|][a-z]\d)', 'fortran_order': False, "
    rb"'shape': \((\d{1,18}),(?: (\d{1,18}))?\), \} *\n"
)
_CHUNK = 1 << 20
DTYPES = {"bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"}
DTYPES |= {"float16", "float32", "float64"}
_DTYPE_OF = {np.dtype(name).newbyteorder("<").str: np.dtype(name) for name in DTYPES}


def write_archive(path: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a file in place of ``path``, which stays as it is if that fails.

    Parameters
    ----------
    path : Path
    manifest : dict
        Fit for JSON; the digests of the arrays are added to it.
    arrays : dict of str to ndarray
        Of one or two dimensions.
    """
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            digests = {name: _write_array(archive, name, array) for name, array in arrays.items()}
            listed = {**manifest, "format_version": FORMAT_VERSION, "arrays": digests}
            text = json.dumps(listed, allow_nan=False, separators=(",", ":"))
            _check_json_size(text.encode())
            archive.writestr(zipfile.ZipInfo(MANIFEST), text)
            archive.comment = _SEAL + b"0" * 64
        seal(file)


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the manifest and arrays of a file, after every check that needs no knowledge of them.

    Raises
    ------
    FileFormatError
        If the file is damaged, or not one that `write_archive` writes.
    """
    with _open(path) as file:
        _check_seal(file)
        with zipfile.ZipFile(file) as archive:
            members = _check_members(archive, os.fstat(file.fileno()).st_size)
            manifest = _read_manifest(archive, members.pop(MANIFEST))
            digests = manifest.pop("arrays", None)
            if not isinstance(digests, dict) or set(members) != {f"{n}.npy" for n in digests}:
                named = set(digests) if isinstance(digests, dict) else set()
                off = sorted({f"{name}.npy" for name in named} ^ set(members))
                raise FileFormatError(
                    f"expected the {len(named)} arrays that {MANIFEST} lists, received others: "
                    f"{off[:3]} ({len(off)} in all) are listed or there, but not both."
                )
            arrays = {
                name: _read_array(archive, members[f"{name}.npy"], digest)
                for name, digest in digests.items()
            }
    return manifest, arrays


def seal(file: BinaryIO) -> None:
    """Write the digest of a zip, whose comment has its place, into the end of the file."""
    file.flush()
    digest = _digest(file)
    file.seek(-_SEAL_SIZE, os.SEEK_END)
    file.write(_SEAL + digest.encode())


def _digest(file: BinaryIO) -> str:
    """Return the SHA-256 of everything but the seal."""
    rest = file.seek(0, os.SEEK_END) - _SEAL_SIZE
    file.seek(0)
    found = hashlib.sha256()
    while rest > 0:
        chunk = file.read(min(_CHUNK, rest))
        if not chunk:
            break
        found.update(chunk)
        rest -= len(chunk)
    return found.hexdigest()


def check_target(path: str | os.PathLike) -> None:
    """Raise unless a file can be written there: before the work whose result it is to hold."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {folder}.")
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path}: expected the name of a file, received a folder.")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of ``path`` in the end, or goes if there is an error."""
    # Of a link, the file it points to is replaced.
    path = Path(os.path.realpath(path))
    check_target(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    file = open(part, "x+b")  # noqa: SIM115
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()
        part.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Have the new name of a file on disk too, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class _Hashing:
    """A stream that notes the SHA-256 and the length of all that passes."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.sha256 = hashlib.sha256()
        self.size = 0

    def _note(self, data: bytes) -> None:
        self.sha256.update(data)
        self.size += len(data)

    def write(self, data: bytes) -> int:
        self._note(data)
        return self.stream.write(data)

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self._note(data)
        return data


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> str:
    """Write one array; return the digest of its member."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    large = array.nbytes > 1 << 30
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=large) as member:
        hashing = _Hashing(member)
        np.lib.format.write_array(hashing, array, version=(1, 0), allow_pickle=False)
    return hashing.sha256.hexdigest()


def _open(path: Path) -> BinaryIO:
    # Before it is opened: a pipe would wait for its writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileFormatError("expected a file that save wrote, received a folder or a device.")
    return open(path, "rb")


def _check_seal(file: BinaryIO) -> None:
    """Raise unless the file ends with the digest of all that comes before."""
    size = file.seek(0, os.SEEK_END)
    if size < _LEAST_SIZE:
        raise FileFormatError(
            f"expected a file that save wrote, received {size} bytes, which is too short for one."
        )
    file.seek(-_SEAL_SIZE, os.SEEK_END)
    end = file.read(_SEAL_SIZE)
    if not end.startswith(_SEAL):
        raise FileFormatError(
            "expected a file that save wrote, which ends with its digest, received one that does "
            "not: it is another kind of file, or was cut short."
        )
    found = _digest(file).encode()
    if end != _SEAL + found:
        raise FileFormatError(
            f"expected contents with the SHA-256 {_shown(end[len(_SEAL) :])} that the file ends "
            f"with, received {_shown(found)}: it was damaged after save. Take another copy."
        )


def _shown(digest: bytes) -> str:
    return f"{digest[:12].decode('ascii', 'replace')}..."


def _check_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, before anything is read of them."""
    members: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in archive.infolist():
        name = info.orig_filename
        if name != MANIFEST and not _MEMBER.fullmatch(name):
            raise FileFormatError(
                f"expected members such as {MANIFEST} or weights.npy, received {name[:80]!r}."
            )
        if name in members:
            raise FileFormatError(f"expected each member once, received {name!r} twice.")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits:
            raise FileFormatError(
                f"expected members stored as they are, received {name!r} compressed, encrypted or "
                f"of unknown length (method {info.compress_type}, flags {info.flag_bits})."
            )
        total += info.file_size
        # A zip bomb says that it holds more than it has bytes.
        if info.file_size != info.compress_size or info.header_offset < 0 or total > size:
            raise FileFormatError(
                f"expected members of no more than the file's {size} bytes, received {name!r} of "
                f"{info.file_size} bytes (with the members before it {total})."
            )
        members[name] = info
    if MANIFEST not in members:
        raise FileFormatError(f"expected a member {MANIFEST}, received {sorted(members)[:3]}.")
    return members


def _check_json_size(text: bytes) -> None:
    containers = text.count(b"[") + text.count(b"{")
    if len(text) > _MOST_JSON or containers > _MOST_CONTAINERS:
        raise FileFormatError(
            f"{MANIFEST}: expected at most {_MOST_JSON} bytes and {_MOST_CONTAINERS} lists, "
            f"received {len(text)} bytes and {containers} lists."
        )


def _read_manifest(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    if info.file_size > _MOST_JSON:
        raise FileFormatError(
            f"{MANIFEST}: expected at most {_MOST_JSON} bytes, received {info.file_size}."
        )
    text = archive.read(info)
    _check_json_size(text)
    try:
        manifest = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as error:
        raise FileFormatError(f"{MANIFEST}: expected plain JSON, received nested lists.") from error
    except ValueError as error:
        raise FileFormatError(f"{MANIFEST}: expected JSON, received other text: {error}") from error
    if not isinstance(manifest, dict):
        raise FileFormatError(f"{MANIFEST}: expected an object, received a {type(manifest)}.")
    _check_version(manifest)
    return manifest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice in an object.")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON.")


def _check_version(manifest: dict[str, Any]) -> None:
    version = manifest.pop("format_version", None)
    if type(version) is not int or version < 1:
        raise FileFormatError(
            f"{MANIFEST}: expected an integer format_version from 1, received {version!r:.80}."
        )
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"expected a format_version up to {FORMAT_VERSION}, received {version}: the file was "
            f"written by a later release (tsfusion {manifest.get('tsfusion')!r:.40}). Upgrade: pip "
            "install --upgrade tsfusion."
        )


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, digest: Any) -> np.ndarray:
    """Return one array, once its header, length, CRC and digest are right."""
    name = info.filename
    with archive.open(info) as member:
        hashing = _Hashing(member)
        dtype, shape = _read_header(hashing, name)
        size = dtype.itemsize * math.prod(shape)
        if size != info.file_size - hashing.size:
            raise FileFormatError(
                f"{name}: expected {size} bytes for {dtype} of shape {shape}, received "
                f"{info.file_size - hashing.size}."
            )
        array = np.empty(shape, dtype)
        data = array.reshape(-1).view(np.uint8)
        at = 0
        while chunk := hashing.read(_CHUNK):
            data[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
            at += len(chunk)
    if hashing.sha256.hexdigest() != digest:
        raise FileFormatError(
            f"{name}: expected the SHA-256 {digest!r:.14}..., received "
            f"{hashing.sha256.hexdigest()[:12]}...: the member is damaged."
        )
    return array if sys.byteorder == "little" else array.byteswap()


def _read_header(stream: Any, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    """Return dtype and shape of an array; the header is matched, never evaluated."""
    start = stream.read(10)
    size = int.from_bytes(start[8:], "little")
    header = stream.read(size) if start.startswith(_MAGIC) and size <= _MOST_HEADER else b""
    found = _HEADER.fullmatch(header)
    if found is None or found[1].decode() not in _DTYPE_OF:
        raise FileFormatError(
            f"{name}: expected a plain array of numbers of one or two dimensions, received another "
            f"header ({start + header!r:.160})."
        )
    return _DTYPE_OF[found[1].decode()], tuple(int(axis) for axis in found.group(2, 3) if axis)
