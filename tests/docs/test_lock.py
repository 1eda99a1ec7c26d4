"""constraints/lock.txt: one exact version of everything that pyproject.toml asks for, and nothing that depends on a machine."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins(name):
    lines = (ROOT / "constraints" / name).read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def version(pin):
    (spec,) = pin.specifier
    assert spec.operator == "=="
    return spec.version


def test_every_line_is_one_exact_public_version():
    text = (ROOT / "constraints" / "lock.txt").read_text("utf-8")
    assert not re.search(r"https?:|--|\+|@", text)  # an index, a hash, a build's local version, a file
    assert all(version(pin) for pin in pins("lock.txt"))
    assert [version(pin) for pin in pins("lock.txt") if pin.name == "torch"] == [version(pin) for pin in pins("torch.txt")]


# Releases in which reading a file can run code, by the notice that says so.
UNSAFE = (("pyarrow", "14.0.0", "CVE-2023-47248"), ("torch", "2.5.1", "CVE-2025-32434"))


@pytest.mark.parametrize(("name", "release", "notice"), UNSAFE)
def test_lower_bounds_leave_out_releases_in_which_a_file_can_run_code(name, release, notice):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    bounds = [r.specifier for r in map(Requirement, wanted) if r.name == name]
    assert bounds
    assert not any(release in bound for bound in bounds), notice


def test_every_dependency_is_locked_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    tools = (ROOT / "constraints" / "tools.in").read_text("utf-8")
    wanted = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *(line for extra in extras for line in extra),
    ]
    wanted += [line for line in tools.splitlines() if not line.startswith("#")]
    locked = {canonicalize_name(pin.name): version(pin) for pin in pins("lock.txt")}
    for requirement in map(Requirement, wanted):
        if requirement.name != "entclip":
            assert locked[canonicalize_name(requirement.name)] in requirement.specifier, f"{requirement}: run make lock"
