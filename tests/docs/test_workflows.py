"""Workflows of a code host: they are YAML, and call targets of the Makefile; so does .ci/run."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z0-9]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def make_targets(script, matrix):
    """Targets that a step's script calls; one that comes from the matrix stands for all its values."""
    script = re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda m: " ".join(matrix[m[1]]), script)
    calls = re.findall(r"^make ([^\n]*)", script, re.MULTILINE)
    return [word for call in calls for word in re.sub(r'\w+="[^"]*"', "", call).split()]


def test_there_are_four():
    assert [file.stem for file in FILES] == ["docs", "lint", "release", "tests"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_jobs_check_out_set_python_up_and_call_make(file):
    flow = yaml.safe_load(file.read_text("utf-8"))
    assert flow["name"] == file.stem
    assert flow[True]  # YAML 1.1 reads the key "on" so
    assert flow["permissions"] == {"contents": "read"}
    for job in flow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        used = [step["uses"].split("@")[0] for step in job["steps"] if "uses" in step]
        assert used[:2] == ["actions/checkout", "actions/setup-python"]
        assert job["timeout-minutes"] <= 60
        targets = [name for step in job["steps"] for name in make_targets(step.get("run", ""), matrix)]
        assert targets
        assert set(targets) <= TARGETS


def test_python_versions_are_those_of_the_package():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8"))
    stated = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert flow["jobs"]["locked"]["strategy"]["matrix"]["python"] == stated


def test_continuous_integration_runs_the_tests():
    assert make_targets((ROOT / ".ci" / "run").read_text("utf-8"), {}) == ["test"]
