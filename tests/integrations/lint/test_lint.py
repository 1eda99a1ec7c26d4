"""Every rule on its fixtures, thresholds and messages, and what the command prints."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter

import pytest
from typer.testing import CliRunner

from entclip.cli.app import app
from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.report import lint, lint_command
from entclip.integrations.lint.rules import rule as register
from entclip.integrations.lint.rules import rules
from entclip.objectives.catalogue import objective
from tests.integrations.lint.answers import ALL, EXPECTED, FIXTURES, ROOT, A, message, report


def found(text: str, library: str | None = None) -> set[str]:
    return {finding.id for finding in lint(read_config(text, library)).findings}


# Fixtures


def test_every_fixture_is_expected_and_there_are_enough():
    files = {str(f.relative_to(FIXTURES)) for f in FIXTURES.rglob("*") if f.is_file() and f.name != "expected.toml"}
    assert files == set(ALL)
    assert len(files) >= 120
    assert {name.split("/")[0] for name in files} == {*LIBRARIES, "refused"}
    each = Counter(name.split("/")[0] for name in files)
    assert min(each.values()) >= 3
    kinds = Counter(kind for answer in ALL.values() for kind in answer.get("kinds", []))
    assert len(kinds) == 30
    assert min(kinds.values()) >= 3


@pytest.mark.parametrize("name", [name for name in ALL if name not in EXPECTED])
def test_what_is_no_known_training_is_refused(name):
    with pytest.raises(ValueError, match=ALL[name]["refused"]):
        read_config(FIXTURES / name)


@pytest.mark.parametrize("name", EXPECTED)
def test_fixture(name):
    expected, got = EXPECTED[name], report(name)
    assert got.config.library.name == name.split("/")[0]
    assert got.liveness.alive == expected["alive"], got.liveness.reason
    assert got.config.updates.count == expected.get("updates")
    assert got.bias.net == expected["net"]
    assert sorted(f.id for f in got.findings) == expected["findings"]
    assert [key for key, _ in got.config.unknown_keys] == expected.get("unknown", [])
    # The detected library and the named one give the same answer.
    named = lint(read_config(FIXTURES / name, library=got.config.library.name)).to_json()
    assert {**named, "evidence": ""} == {**got.to_json(), "evidence": ""}


@pytest.mark.parametrize("rule", rules())
def test_every_rule_has_a_positive_and_a_negative_fixture(rule):
    checks = rules()[rule].checks
    speaks = [name for name in EXPECTED if "" in checks or name.split("/")[0] in checks]
    positive = [name for name in speaks if rule in EXPECTED[name]["findings"]]
    assert positive
    assert len(positive) < len(speaks)


def test_what_only_one_library_does_is_said_in_its_folder():
    package = ROOT / "entclip" / "integrations" / "lint"
    for path in package.glob("*.py"):
        names = {n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant)}
        assert names.isdisjoint(LIBRARIES), f"{path.name} asks for a library by its name"


def test_a_rule_is_registered_once():
    with pytest.raises(ValueError, match="registered already for trl"):
        register("singleton-group", "error", "trl")(lambda config: None)
    with pytest.raises(ValueError, match="as error"):
        register("singleton-group", "info", "another")(lambda config: None)


def test_every_rule_is_explained_in_the_docs_and_nothing_else_is():
    headings = re.findall(r"^### (\S+)$", (ROOT / "docs" / "lint.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rules())


@pytest.mark.parametrize("name", EXPECTED)
def test_messages_carry_value_and_link(name):
    for finding in report(name).findings:
        assert finding.link == f"docs/lint.md#{finding.id}"
        assert len(finding.message) > 60, finding.id
        assert "Unresolved(" not in finding.message


# Single traps that the fixtures cannot separate


def test_dead_clip_ratio_is_silent_where_it_changes_nothing():
    assert "verl-clip-ratio-dead" not in found(f"{A}clip_ratio=0.2 {A}clip_ratio_low=0.2")
    # The low side is 0.2 as asked, by default, and the high side as set.
    assert "verl-clip-ratio-dead" not in found(f"{A}clip_ratio=0.2 {A}clip_ratio_high=0.28")
    assert "verl-clip-ratio-dead" in found(f"{A}clip_ratio=0.3 {A}clip_ratio_high=0.28")
    assert "verl-clip-ratio-dead" in found(f"{A}clip_ratio=0.1 {A}clip_ratio_high=0.1 {A}clip_ratio_c=5")
    config = read_config(f"{A}clip_ratio=0.1 {A}clip_ratio_low=null {A}clip_ratio_high=null")
    assert (config.low.value, config.high.value, config.low.key) == (0.1, 0.1, A + "clip_ratio")


def test_openrlhf_pair_wins_over_the_single_width():
    config = read_config("--actor.eps_clip 0.1 --actor.eps_clip_low_high 0.2 0.27")
    assert (config.low.value, config.high.value) == (0.2, 0.27)
    assert "openrlhf-eps-shadowed" not in found("--actor.eps_clip 0.2 --actor.eps_clip_low_high 0.2 0.2")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"{A}clip_ratio=0.2 {A}clip_ratio_low=0.2 {A}clip_ratio_high=0.4", "verl-clip-ratio-dead"),
        (f"{A}clip_ratio=0.3 {A}clip_ratio_low=0.2 {A}clip_ratio_high=0.28", "verl-clip-ratio-dead"),
        ("--actor.eps_clip 0.2 --actor.eps_clip_low_high 0.2 0.27", "openrlhf-eps-shadowed"),
        ("rollout_batch_size: 64\npg_clip: 0.2\npg_clip_low: 0.1\nuse_pg_clip_range: false", "roll-clip-range-off"),
    ],
)
def test_what_is_unused_on_purpose_is_no_error(text, rule):
    report = lint(read_config(text, "roll" if "pg_clip" in text else None))
    severity = {finding.id: finding.severity for finding in report.findings}
    assert severity["width-unused"] == "info"
    assert rule not in severity
    assert not any(word in severity.values() for word in ("error",))


def test_thresholds_of_the_rules():
    assert "trl-delta-below-high" in found("epsilon_high: 0.25\ndelta: 1.25\nnum_iterations: 2")
    assert "trl-delta-below-high" not in found("epsilon_high: 0.25\ndelta: 1.26\nnum_iterations: 2")
    assert "absolute-widths" not in found("epsilon: 1\nepsilon_high: 1.28")
    assert "absolute-widths" in found("epsilon: 0.5\nepsilon_high: 1.28")
    assert "wide-sequence-width" in found("epsilon: 0.01\nepsilon_high: 0.001\nimportance_sampling_level: sequence")
    assert "tiny-token-width" not in found("epsilon: 0.005\nnum_iterations: 2")
    assert "sawtooth" not in found(f"algorithm.rollout_correction.bypass_mode=True {A}ppo_mini_batch_size=64")
    assert read_config("epsilon: 0\nnum_iterations: 2").low.value == 0


def test_messages_name_what_is_bounded():
    assert "a change of probability, pi - pi_old" in message(f"{A}policy_loss.loss_mode=dppo_tv", "probability-mask")
    assert "a divergence" in message(f"{A}policy_loss.loss_mode=dppo_kl", "probability-mask")
    assert "clip_ratio_c = 3 truncates" in message(f"{A}policy_loss.loss_mode=dppo_tv", "probability-mask")
    assert "truncates" not in message(f"{A}policy_loss.loss_mode=dppo_tv {A}clip_ratio_c=20", "probability-mask")
    assert "low side never clips" in message(f"{A}clip_ratio_low=1", "side-off")
    assert "high side never clips" in message(f"{A}clip_ratio_high=1e9", "side-off")


# Commands


def test_lint_command_reports():
    got = lint_command(FIXTURES / "verl/dapo_32b.sh", None)
    assert got.to_json()["clip_alive"] == "yes"
    assert json.loads(json.dumps(got.to_json()))["updates_per_rollout"] == 16


def test_objective_kinds_of_the_report_exist():
    """Names that the report shares with entclip's objectives mean the same there."""
    for kind in ("clip", "dual_clip", "cispo", "sapo", "dppo_tv"):
        assert objective(kind)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_short_answer_is_short_and_says_what_it_leaves_out(name):
    got = report(name)
    lines = got.to_text().splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80
    assert "..." not in " ".join(lines)
    said = [line.split(": ")[1] for line in lines if line.startswith(("error: ", "warn: ", "info: "))]
    telling = [f.id for f in got.findings if not f.common]
    told = telling[: len(said)]
    assert said == told
    assert len(told) == min(3, len(telling)) or (len(lines) == 10 and told)
    left = len(got.findings) - len(told)
    assert "--all" in lines[-1]
    assert not left or lines[-1].startswith(f"{left} more finding")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("epsilon: 0.2\nnum_iterations: 2\n", 0),
        ("epsilon: 0.2\ngradient_accumulation_steps: 8\n", 1),
        ("epsilon_high: 0.3\nloss_type: cispo\nnum_iterations: 2\n", 1),
    ],
)
def test_strict_fails_on_an_error_or_a_clip_that_cannot_act(tmp_path, text, code):
    (tmp_path / "c.yaml").write_text(text)
    done = CliRunner().invoke(app, ["lint", "--strict", str(tmp_path / "c.yaml")])
    assert done.exit_code == code
    assert CliRunner().invoke(app, ["lint", str(tmp_path / "c.yaml")]).exit_code == 0
