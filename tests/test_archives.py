"""The wheel and the sdist hold the package with its types, and no tests."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_archives import check

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Both archives, built without a registry from a copy of what goes into them."""
    setuptools = pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77")
    assert setuptools
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tsfusion", copy / "tsfusion", ignore=ignore)
    (copy / "tests").mkdir()
    shutil.copy(__file__, copy / "tests")
    code = (
        "import sys; out = sys.argv[1]; from setuptools import build_meta as build;"
        "build.build_sdist(out); build.build_wheel(out)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out


def test_they_hold_the_package_and_nothing_else(archives):
    wheel, sdist = check(archives)
    assert wheel.startswith("tsfusion-")
    assert sdist.startswith("tsfusion-")


def test_every_module_and_data_file_goes_along(archives):
    import zipfile

    (wheel,) = archives.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".csv", ".py"))}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tsfusion").rglob("*")
        if path.suffix in (".csv", ".py")
    }
    assert inside == here


def test_what_lacks_a_file_is_refused(archives, tmp_path):
    shutil.copytree(archives, tmp_path / "dist")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    import tarfile

    with tarfile.open(sdist, "w:gz"):
        pass
    with pytest.raises(SystemExit, match=r"not as expected: .*pyproject.toml"):
        check(tmp_path / "dist")
