"""Print the oldest releases that pyproject.toml allows of what the package needs.

    python tools/minimum.py

What is installed in that release already is left out.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version


def oldest(requirements: list[str]) -> list[str]:
    """Return a pin for each requirement whose lower bound is not what is installed."""
    pins = []
    for text in requirements:
        one = Requirement(text)
        bounds = [bound.version for bound in one.specifier if bound.operator == ">="]
        if len(bounds) != 1:
            raise ValueError(f"expected one lower bound, received {text!r}.")
        if Version(version(one.name)) != Version(bounds[0]):
            pins.append(f"{one.name}=={bounds[0]}")
    return pins


if __name__ == "__main__":
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    print(*oldest(tomllib.loads(project.read_text())["project"]["dependencies"]))
