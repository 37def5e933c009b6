"""`show_versions` says what is there, and imports none of it."""

import os
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import tsfusion


def test_the_versions_are_those_installed(capsys, monkeypatch):
    monkeypatch.setattr("tsfusion._versions._requirements", lambda: {"numpy": [], "nosuch": ["x"]})
    tsfusion.show_versions()
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line)
    assert told["tsfusion"] == tsfusion.__version__
    assert told["python"] == sys.version.split()[0]
    assert told["numpy"] == version("numpy")
    assert told["nosuch"] == "not installed  (extra: x)"


def test_a_long_name_stands_apart_from_its_version(capsys, monkeypatch):
    name = "a-package-with-a-long-name"
    monkeypatch.setattr("tsfusion._versions._requirements", lambda: {"numpy": [], name: ["x"]})
    tsfusion.show_versions()
    assert f"{name} not installed" in capsys.readouterr().out


def test_requirements_come_before_extras():
    from tsfusion._versions import _requirements

    found = _requirements()
    assert found["keras"] == found["pandas"] == []
    assert "plot" in found["matplotlib"]
    assert "tsfusion" not in found
    assert [bool(extras) for extras in found.values()] == sorted(map(bool, found.values()))


@pytest.mark.parametrize(
    ("environment", "file", "expected"),
    [
        ({"KERAS_BACKEND": "jax"}, '{"backend": "torch"}', "jax"),
        ({}, '{"backend": "torch"}', "torch"),
        ({}, "{", "tensorflow"),
        ({}, None, "tensorflow"),
    ],
)
def test_nothing_heavy_is_imported(tmp_path, environment, file, expected):
    if file is not None:
        (tmp_path / "keras.json").write_text(file)
    code = (
        "import sys, tsfusion; tsfusion.show_versions();"
        "print(sorted({'keras', 'tensorflow', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    env |= {"KERAS_HOME": str(tmp_path), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    assert f"keras backend     {expected}" in lines


def test_the_oldest_releases_are_the_lower_bounds_that_are_not_installed():
    tools = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "minimum.py"))
    present = version("pytest")
    assert tools["oldest"](["pytest>=1.0,<99", f"pytest>={present}"]) == ["pytest==1.0"]
    with pytest.raises(ValueError, match="expected one lower bound, received 'pytest'"):
        tools["oldest"](["pytest"])
