"""scripts/constraints.txt pins what pyproject.toml asks for, on every Python."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins(python: str) -> dict[str, str]:
    environment = {"python_full_version": f"{python}.0", "python_version": python}
    result = {}
    for line in (ROOT / "scripts/constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            (specifier,) = pin.specifier
            assert specifier.operator == "==" and pin.name not in result, line
            result[canonicalize_name(pin.name)] = specifier.version
    return result


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_direct_dependency_is_pinned_within_its_bounds(python: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    pinned = pins(python)
    for requirement in map(Requirement, wanted):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: scripts/lock is due"


def test_older_python_has_the_older_jax():
    assert pins("3.11")["jax"] < pins("3.12")["jax"] == pins("3.13")["jax"]
