"""Raise unless the wheel and the sdist in a folder hold what they must, and nothing else.

python tools/check_archives.py dist
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

MUST = ("py.typed", "__init__.py", "forecaster.py", "cli/main.py")


def check(folder: Path) -> list[str]:
    """Return the names of the archives in the folder, once they have been checked."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = next(name for name in names if name.endswith("/entry_points.txt"))
        _expect("tsfusion = tsfusion.cli:main" in archive.read(scripts).decode(), wheel, scripts)
    _expect(any(name.endswith("licenses/LICENSE") for name in names), wheel, "LICENSE")
    # A file of the checkout that must go along and does not would be missed by users alone.
    wanted = {f"tsfusion/{name}" for name in MUST}
    _expect(wanted <= set(names), wheel, sorted(wanted - set(names)))
    others = [name for name in names if not re.match(r"tsfusion(/|-[^/]+\.dist-info/)", name)]
    _expect(not others, wheel, others)
    with tarfile.open(sdist) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
    wanted |= {"pyproject.toml", "README.md", "LICENSE"}
    _expect(wanted <= inside, sdist, sorted(wanted - inside))
    folders = {name.partition("/")[0] for name in inside if "/" in name}
    _expect(folders <= {"tsfusion", "tsfusion.egg-info"}, sdist, sorted(folders))
    return [wheel.name, sdist.name]


def _expect(true: bool, archive: Path, what: object) -> None:
    if not true:
        raise SystemExit(f"{archive}: not as expected: {what}")


if __name__ == "__main__":
    print("checked:", *check(Path(sys.argv[1])))
