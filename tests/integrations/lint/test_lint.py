"""Reading trainers' configurations, the traps, the clip's liveness, and conversion between notations."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from entclip.cli.app import app
from entclip.experiments.sections import Arm
from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.detection import detect_library
from entclip.integrations.lint.libraries import LIBRARIES, library_named
from entclip.integrations.lint.report import Report, convert, convert_command, lint, lint_command
from entclip.integrations.lint.rules import rule as register
from entclip.integrations.lint.rules import rules
from entclip.integrations.lint.source import read_source
from entclip.integrations.lint.values import Unresolved
from entclip.objectives.catalogue import objective
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo

ROOT = Path(__file__).parents[3]
FIXTURES = Path(__file__).with_name("fixtures")
ALL = tomllib.loads((FIXTURES / "expected.toml").read_text())
EXPECTED = {name: answer for name, answer in ALL.items() if "refused" not in answer}
A = "actor_rollout_ref.actor."


def report(name: str) -> Report:
    return lint(read_config(FIXTURES / name))


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
    assert len(kinds) == 24
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


# Is the clip alive: the arithmetic of each library, by hand


@pytest.mark.parametrize(
    ("text", "count", "alive"),
    [
        ("epsilon: 0.2\ngradient_accumulation_steps: 8", 1, "no"),
        ("epsilon: 0.2\ngradient_accumulation_steps: 8\nsteps_per_generation: 4", 1, "no"),
        ("epsilon: 0.2\ngradient_accumulation_steps: 4\nsteps_per_generation: 6", 1.5, "yes"),
        ("epsilon: 0.2\ngradient_accumulation_steps: 4\nsteps_per_generation: 64", 16, "yes"),
        ("epsilon: 0.2\nnum_iterations: 3", 3, "yes"),
        ("epsilon: 0.2\ngeneration_batch_size: 512", None, "unknown"),
        (f"data.train_batch_size=8192 {A}ppo_mini_batch_size=512", 16, "yes"),
        (f"data.train_batch_size=512 {A}ppo_mini_batch_size=512", 1, "no"),
        (f"data.train_batch_size=512 {A}ppo_mini_batch_size=512 {A}ppo_epochs=2", 2, "yes"),
        (f"data.train_batch_size=512 {A}ppo_mini_batch_size=$M", None, "unknown"),
        ("--rollout.batch_size 64 --rollout.n_samples_per_prompt 16 --train.batch_size 256", 4, "yes"),
        ("--rollout.batch_size 16 --rollout.n_samples_per_prompt 16 --train.batch_size 256", 1, "no"),
        ("--rollout.batch_size 16 --rollout.n_samples_per_prompt 16 --train.batch_size 256 --train.max_epochs 3", 3, "yes"),
    ],
)
def test_updates_per_rollout(text, count, alive):
    got = lint(read_config(text))
    assert got.config.updates.count == count
    assert got.liveness.alive == alive
    if count is None:
        assert "$M" in got.liveness.reason or "processes" in got.liveness.reason


@pytest.mark.parametrize(
    ("text", "alive"),
    [
        (f"{A}clip_ratio_low=1 {A}clip_ratio_high=1e9", "no"),
        (f"{A}policy_loss.loss_mode=gpg {A}clip_ratio_low=.2", "no"),
        (f"{A}policy_loss.loss_mode=mine {A}clip_ratio_low=.2", "unknown"),
        ("loss_type: sapo\nnum_iterations: 2", "yes"),
        ("loss_type: sapo\nepsilon: 0.2", "no"),
        ("loss_type: cispo\nepsilon_high: 0.28", "yes"),
        ("loss_type: cispo\nepsilon_high: 5.0", "no"),
        ("epsilon: ${EPS}\nnum_iterations: 2", "yes"),
    ],
)
def test_liveness_follows_the_objective(text, alive):
    assert lint(read_config(text)).liveness.alive == alive


@pytest.mark.parametrize(("low", "high", "net"), [(0.2, 0.2, "down"), (0.2, 0.28, "either"), (0.15, 1e9, "up"), (1, 0.2, "down")])
def test_bias_states_both_readings(low, high, net):
    bias = lint(read_config(f"{A}clip_ratio_low={low} {A}clip_ratio_high={high}")).bias
    assert bias.net == net
    assert bias.low == ("none" if low == 1 else "raises")
    assert bias.high == ("none" if high == 1e9 else "lowers")
    assert "*clipping at* the high bound lowers" in bias.text
    assert "*raising* eps_high (less such clipping) raises" in bias.text
    assert "gap_low > 0" in bias.text


def test_bounds_name_both_notations():
    got = lint(read_config(f"{A}policy_loss.loss_mode=geo_mean {A}clip_ratio_low=0.4 {A}clip_ratio_high=0.4")).to_json()["bounds"]
    assert got["low"]["key"] == A + "clip_ratio_low"
    assert got["low"]["ratio"] == pytest.approx(0.670320046)
    assert got["high"]["ratio"] == pytest.approx(1.491824698)
    plain = lint(read_config("epsilon: 0.2\nepsilon_high: 0.28"))
    assert "eps_high = 0.28: no gradient where A > 0 and ratio > 1.28; from epsilon_high" in plain.to_text(everything=True)
    assert "eps_low = 0.2: no gradient where A < 0 and ratio < 0.8; from epsilon" in plain.to_text(everything=True)


def test_defaults_are_marked_as_such():
    got = lint(read_config("epsilon: 0.2\nnum_generations: 4")).to_json()["facts"]
    assert got["group size"] == {"value": 4, "key": "num_generations", "explicit": True}
    assert got["temperature"] == {"value": 1.0, "key": "temperature", "explicit": False}


# Single traps that the fixtures cannot separate


def test_dead_clip_ratio_is_silent_where_it_changes_nothing():
    assert "verl-clip-ratio-dead" not in found(f"{A}clip_ratio=0.2 {A}clip_ratio_low=0.2")
    assert "verl-clip-ratio-dead" in found(f"{A}clip_ratio=0.2 {A}clip_ratio_high=0.28")
    config = read_config(f"{A}clip_ratio=0.1 {A}clip_ratio_low=null {A}clip_ratio_high=null")
    assert (config.low.value, config.high.value, config.low.key) == (0.1, 0.1, A + "clip_ratio")


def test_openrlhf_pair_wins_over_the_single_width():
    config = read_config("--actor.eps_clip 0.1 --actor.eps_clip_low_high 0.2 0.27")
    assert (config.low.value, config.high.value) == (0.2, 0.27)
    assert "openrlhf-eps-shadowed" not in found("--actor.eps_clip 0.2 --actor.eps_clip_low_high 0.2 0.2")


@pytest.mark.parametrize(("pos", "neg", "net"), [(1.0, 1.0, "none"), (1.0, 1.05, "either")])
def test_sapo_sign_depends_on_its_temperatures(pos, neg, net):
    text = f"loss_type: sapo\nsapo_temperature_pos: {pos}\nsapo_temperature_neg: {neg}\nnum_iterations: 2"
    assert lint(read_config(text)).bias.net == net


def message(text: str, rule: str) -> str:
    return next(f.message for f in lint(read_config(text)).findings if f.id == rule)


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


def test_reasons_carry_the_numbers():
    trl = read_config("epsilon: 0.2\nsteps_per_generation: 6\ngradient_accumulation_steps: 4\nnum_iterations: 2").updates
    assert trl.formula == "steps_per_generation x num_iterations / gradient_accumulation_steps = 6 x 2 / 4"
    rlhf = read_config("--rollout.batch_size 64 --rollout.n_samples_per_prompt 16 --train.batch_size 256").updates
    assert rlhf.formula.endswith("/ train.batch_size x train.max_epochs = 64 x 16 / 256 x 1")
    assert "is expected to raise it" in report("verl/kl_cov.yaml").bias.text
    assert "reward's covariance" in report("verl/on_policy.txt").bias.text


def test_json_says_which_side_is_off():
    low = lint(read_config(f"{A}clip_ratio_low=1 {A}clip_ratio_high=0.2")).to_json()["bounds"]
    assert (low["low"]["off"], low["high"]["off"]) == (True, False)
    high = lint(read_config(f"{A}clip_ratio_low=0.2 {A}clip_ratio_high=1e9")).to_json()["bounds"]
    assert (high["low"]["off"], high["high"]["off"], high["high"]["key"]) == (False, True, A + "clip_ratio_high")


def test_max_rl_divides_by_the_mean():
    assert read_config('[orchestrator.algo]\ntype = "max_rl"', "prime-rl").advantage.value == "mean"
    assert read_config('[orchestrator.algo]\ntype = "grpo"', "prime-rl").advantage.value == "none"


# Reading


def test_shell_scripts_are_read_like_a_shell():
    script = """
    #!/bin/bash
    export CLIP=0.28
    low=0.2; python3 -m verl.trainer.main_ppo --config-name=ppo_trainer \\
        # actor_rollout_ref.actor.ppo_epochs=9 \\
        actor_rollout_ref.actor.clip_ratio_high=${CLIP} \\
        +actor_rollout_ref.actor.clip_ratio_c='10.0' \\
        data.train_files="['a.parquet', 'b.parquet']" \\
        data.train_batch_size=$((16 * NODES)) actor_rollout_ref.actor.entropy_coeff=0 # data.train_batch_size=4
    """
    values = read_source(script).values
    assert values[A + "clip_ratio_high"] == 0.28
    assert values[A + "clip_ratio_c"] == 10
    assert values[A + "entropy_coeff"] == 0
    assert values["data.train_batch_size"] == Unresolved("$((16*NODES))")
    assert A + "ppo_epochs" not in values


def test_scripts_with_arrays_and_defaults_are_read():
    config = read_config(FIXTURES / "verl/arrays.sh")
    assert config.values["data.train_batch_size"] == 512
    assert config.values[A + "clip_ratio_high"] == 0.28
    assert config.values[A + "entropy_coeff"] == Unresolved("$(set-under-a-condition)")
    assert config.values[A + "ppo_mini_batch_size"] == 64
    assert config.shell_defaults == ("BATCH=512", "HIGH=0.28")
    assert "the environment may override" in lint(config).to_text(everything=True)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("x=1\nx=2\nrun --epsilon $x", 2),
        ("x=${X:-}\nx=${x:-3}\nrun --epsilon $x", 3),
        ("if true; then\n x=1\nfi\nrun --epsilon $x", Unresolved("$x")),
        ("if true; then\n x=1\nfi\nx=2\nrun --epsilon $x", 2),
        ("run --epsilon $(cat file) --seed 1", Unresolved("$(catfile)")),
        ("run --epsilon ${E:-${F:-0.3}}", 0.3),
        ("cat <<EOF > note\nit's --epsilon 9\nEOF\nrun --epsilon 0.1 2>&1 | tee log", 0.1),
        ('OPTS="--epsilon 0.4 --beta 0"\nrun $OPTS', 0.4),
        ("OPTS=(--epsilon 0.4)\nOPTS+=(--beta 0) # more\nrun ${OPTS[@]}", 0.4),
        ("run --epsilon \\\n  # the width\n  0.5", 0.5),
        ("bash -c 'trl grpo --epsilon 0.6'", 0.6),
        (r"run --epsilon \0.7", 0.7),
        (r'run --epsilon "\$x" --seed 1', Unresolved("$x")),
        (r'run --epsilon "\"0.8\""', '"0.8"'),
        ("run --epsilon [0.1", "[0.1"),
        ('[[ "$X" =~ =(a|b) ]] && echo y\nrun --epsilon 0.2', 0.2),
        ('A="--beta 0 \\\n  --epsilon 0.9"\nrun $A', 0.9),
        ('D=$HOME/m\nA="--model $D --epsilon 0.9"\nrun $A', 0.9),
        ("n=3\nrun --epsilon $((n * 4 + 10 / 3))", 15),
        ("run --epsilon $((n * 4))", Unresolved("$((n*4))")),
        ('P="ends in\n# a mark"\nrun --epsilon 0.3 --note "$P"', 0.3),
        ("[ -z $x ] && x=1\nrun --epsilon $x", Unresolved("$x")),
        ("for x in 1 2; do run --epsilon $x; done", Unresolved("$x")),
        ("x=1\nread x\nrun --epsilon $x", Unresolved("$x")),
        ("x=0\nx+=.5\nrun --epsilon $x", 0.5),
    ],
)
def test_what_a_shell_would_do(script, expected):
    assert read_source(script).values["epsilon"] == expected


def test_a_script_that_writes_a_script_is_read():
    text = "cat > job.sh << 'EOF'\ntrl grpo --epsilon 0.4\nEOF\nssh node bash job.sh"
    assert read_source(text).values == {"epsilon": 0.4}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("A=xxxxxxxxxx\n" + "A=$A$A\n" * 40 + "run --epsilon $A", "variables multiply"),
        ("A=(x y)\n" + 'A=("${A[@]}" "${A[@]}")\n' * 40 + "run --epsilon ${A[@]}", "variables multiply"),
        ("run --epsilon 1 #" + "x" * 250_000, "over 250,000"),
    ],
)
def test_scripts_that_would_not_end_are_refused(script, message):
    with pytest.raises(ValueError, match=message):
        read_source(script)


def test_a_part_that_is_no_bash_leaves_the_verdict_open():
    got = lint(read_config("trl grpo --epsilon 0.2 --num_iterations 2 --note a)b"))
    assert got.liveness.alive == "unknown"


def test_arguments_from_outside_leave_the_verdict_open():
    got = lint(read_config("trl grpo --epsilon 0.2 --num_iterations 2 $EXTRA"))
    assert got.liveness.alive == "unknown"
    assert "$EXTRA may hold settings" in got.liveness.reason
    assert lint(read_config('trl grpo --epsilon 0.2 --num_iterations 2 "$@"')).liveness.alive == "yes"


def test_flags_take_every_form():
    values = read_source("trl grpo --epsilon=0.2 --epsilon-high 0.28 --use_vllm --beta -1e-3 --reward_funcs a.b c.d").values
    assert values == {"epsilon": 0.2, "epsilon_high": 0.28, "use_vllm": True, "beta": -1e-3, "reward_funcs": ["a.b", "c.d"]}


@pytest.mark.parametrize("text", ["epsilon: 0.2\nbeta: 1e-3", '{"epsilon": 0.2, "beta": 0.001}', "epsilon = 0.2\nbeta = 1e-3"])
def test_yaml_json_and_toml_say_the_same(text):
    assert read_source(text).values == {"epsilon": 0.2, "beta": 0.001}


def test_values_that_differ_between_entries_are_unresolved():
    group = report("prime-rl/two_environments.toml").config.group_size
    assert group.unknown
    assert "orchestrator.train.source.group_size" in report("prime-rl/two_environments.toml").to_json()["unresolved"]


@pytest.mark.parametrize(
    ("text", "library"),
    [
        ("--actor.eps_clip 0.1", "openrlhf"),
        ("--eps_clip 0.1 --micro_rollout_batch_size 4", "openrlhf"),
        (A + "clip_ratio=0.1", "verl"),
        ("epsilon_high: 0.3\n", "trl"),
        ("[trainer.loss]\nkl_tau = 0", "prime-rl"),
        ("[orchestrator]\nmax_of_policy_steps = 0", "prime-rl"),
    ],
)
def test_library_is_detected_with_evidence(text, library):
    name, evidence = detect_library(read_source(text))
    assert name == library
    assert evidence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\ntemperature: 1.0", "not recognised .*knows 2 of 2 keys, and none that decides.*--library"),
        ("colour: red\nshape: round", "not recognised .*knows 0 of 2 keys"),
        ("a: [1\nb: 2", "not valid YAML"),
        ('{"epsilon": 0.2,,}', "not valid JSON"),
        ("- epsilon\n- 0.2", "a table of keys and values"),
        ("   \n  ", "configuration is empty"),
        ("trl grpo --epsilon '0.2", "cannot be split into words"),
        ('trl grpo --epsilon "0.2', "cannot be split into words"),
        ("A=(1 2\nrun --epsilon 1", "no closing parenthesis"),
        ("run --epsilon ${A", "no closing bracket"),
        ("trl grpo --epsilon .2\ntrl grpo --epsilon .3", "2 training commands"),
        ("epsilon: low\nnum_generations: 8", "epsilon must be a number, got 'low'"),
        ("epsilon: -0.2\nnum_generations: 8", "epsilon must be at least 0, got -0.2"),
        ("epsilon: true\nnum_generations: 8", "epsilon must be a number"),
        ("epsilon: .nan\nnum_generations: 8", "epsilon must be at least 0"),
        ("num_iterations: 0\nepsilon: 0.2", "whole number at least 1, got 0"),
        ("num_iterations: 1.5\nepsilon: 0.2", "whole number at least 1, got 1.5"),
        ("--actor.eps_clip_low_high 0.2", "takes two widths"),
        ("--actor.eps_clip_low_high 0.2 x", "takes two widths"),
        (f"{A}clip_ratio_low=1{'0' * 400} {A}x=1", "must be"),
    ],
)
def test_bad_input_is_refused_with_cause_and_fix(text, message):
    if message == "must be":
        assert read_config(text).low.value == float("inf")
        return
    with pytest.raises(ValueError, match=message):
        read_config(text)


def test_a_path_may_be_a_string(tmp_path):
    (tmp_path / "c.json").write_text('{"epsilon": 0.3, "beta": 0}')
    assert read_config(str(tmp_path / "c.json")).low.value == 0.3


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read the configuration"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot read the configuration"):
        read_config(tmp_path / "binary.yaml")
    with pytest.raises(ValueError, match="choose one of trl, verl, openrlhf, prime-rl"):
        read_config("epsilon: 0.2\n", library="rllib")


def test_yaml_without_pyyaml_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match=r"pip install 'pyyaml>=6'"):
        read_config("epsilon: 0.2\nbeta: 0")


KEYS = ["epsilon", "epsilon_high", "delta", "loss_type", "num_iterations", "scale_rewards", "temperature", "top_p", "bf16"]
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80) | st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1).map(json.dumps))
def test_any_text_is_read_or_refused(text):
    try:
        config = read_config(text + "\n")
    except ValueError:
        return
    got = lint(config)
    json.dumps(got.to_json())
    assert got.to_text(everything=True)


# Unknown keys


def test_unknown_keys_are_reported_with_the_nearest_known():
    config = read_config("epsilon: 0.2\nepsilon_hi: 0.28\nnum_iteration: 4\nzzz: 1")
    assert config.unknown_keys == (("epsilon_hi", "epsilon_high"), ("num_iteration", "num_iterations"), ("zzz", None))
    assert config.high.value == 0.2
    assert config.updates.count == 1
    assert "num_iteration (nearest known: num_iterations)" in lint(config).to_text(everything=True)


@pytest.mark.parametrize("name", LIBRARIES)
def test_key_lists_hold_every_default(name):
    library = library_named(name)
    known = [library, *([library.builds_on] if library.builds_on else [])]
    assert [key for key in library.defaults if not any(each.knows(key) for each in known)] == []
    # Of the two that are not for language models PPO has 27 arguments, a script 41 flags with those of its variants.
    assert len(library.keys) > {"sb3": 29, "cleanrl": 43, "easyr1": 125, "skyrl": 149, "areal": 148}.get(name, 150)
    assert library.closest("q") is None


def test_open_groups_accept_any_key():
    assert library_named("verl").knows("actor_rollout_ref.rollout.engine_kwargs.vllm.anything")
    assert not library_named("verl").knows("actor_rollout_ref.rollout.anything")


# Conversion

SETTINGS = [
    Clip(0.2, 0.28),
    Clip(0.15, float("inf")),
    Clip(1.0, 0.2),
    DualClip(0.2, 0.28, 3.0),
    DualClip(0.1, 0.1, 10.0),
    Cispo(1.0, 4.0),
    Cispo(0.2, 0.28),
    Sapo(1.0, 1.05),
    DppoTv(0.15),
    NoClip(),
]


def numbers(text: str, library: str):
    """kind, low, high, cap of a configuration, infinite widths alike."""
    config = read_config(text, library)
    kind = "clip" if config.kind in ("clip", "dual_clip") else config.kind
    low, high = config.low.value, config.high.value
    if kind == "sapo":
        low, high = (config.get(key).value for key in config.library.sapo_keys)
    cap = config.cap.value if kind == "clip" else None
    return kind, low, "off" if high >= 1e8 else high, None if cap is None or cap >= 1e8 else cap


@pytest.mark.parametrize("clip", SETTINGS, ids=str)
@pytest.mark.parametrize("to", LIBRARIES)
def test_round_trip_through_a_library(clip, to):
    text = convert(clip, to)
    if "Not expressible" in text:
        assert all(line.startswith("#") for line in text.splitlines())
        return
    again = convert(read_config(text, to), to)
    assert numbers(again, to) == pytest.approx(numbers(text, to))
    other = convert(read_config(text, to), "entclip")
    arm = Arm.model_validate(tomllib.loads(other)["arm"][0]).build()
    if "CISPO has no lower bound" in text:
        assert arm == Cispo(1.0, clip.high)
    elif "it has no dual clip" in text:
        assert arm == Clip(clip.low, clip.high)
    else:
        assert arm == (Clip(1.0, float("inf")) if isinstance(clip, NoClip) else clip)


def test_what_cannot_be_expressed_is_said():
    assert "Not expressible in OpenRLHF 0.11.2: it has no cispo loss" in convert(Cispo(), "openrlhf")
    assert "moves a token of probability p by 0.28 p" in convert(Clip(0.2, 0.28), "prime-rl")
    assert "TRL's CISPO has no lower bound" in convert(Cispo(0.2, 0.2), "trl")
    assert "cannot be switched off" in convert(Clip(), "verl")
    assert "delta caps the ratio for both signs" in convert(DualClip(0.2, 3.0, 2.0), "trl")
    assert "KL-Cov is a penalty" in convert(read_config(FIXTURES / "verl/kl_cov.yaml"), "trl")
    assert "below 1" in convert(read_config(FIXTURES / "trl/cispo_left_at_028.yaml"), "verl")
    assert "act on token ratios" in convert(read_config(FIXTURES / "trl/gspo_paper.yaml"), "entclip")
    assert "one delta" in convert(read_config("[trainer.loss]\ndppo_mask_low = 0.1"), "entclip")


def test_notes_follow_the_source():
    assert "sampling engine" in convert(read_config("[trainer.loss]\nkl_tau = 0.0", "prime-rl"), "verl")
    assert "sampling engine" not in convert(read_config("epsilon: 0.2\nbeta: 0"), "verl")
    assert convert(Clip(0.2, 2e7), "openrlhf").endswith("0.2 20000000")


def test_log_space_widths_become_ratio_widths():
    text = convert(read_config(FIXTURES / "verl/geo_mean.yaml"), "trl")
    config = read_config(text)
    assert config.low.value == pytest.approx(1 - 2.718281828459045**-0.4)
    assert config.high.value == pytest.approx(2.718281828459045**0.4 - 1)
    assert "geometric mean is not converted" in text


def test_sequence_level_survives_conversion():
    for to in ("trl", "verl", "openrlhf"):
        config = read_config(convert(read_config(FIXTURES / "trl/gspo_paper.yaml"), to), to)
        assert (config.level.value, config.low.value, config.high.value) == ("sequence", 0.0003, 0.0004)
        assert "sequence-aggregation" not in {f.id for f in lint(config).findings}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("to", ["trl", "verl", "openrlhf", "prime-rl", "entclip"])
def test_every_fixture_converts_or_says_why_not(name, to):
    config = read_config(FIXTURES / name)
    if any(fact.unknown for fact in (config.low, config.high, config.cap)):
        with pytest.raises(ValueError, match=r"cannot convert: .* is not in the configuration"):
            convert(config, to)
        return
    text = convert(config, to)
    if "Not expressible" not in text:
        if to == "entclip":
            Arm.model_validate(tomllib.loads(text)["arm"][0])
        else:
            assert lint(read_config(text, to)).config.unknown_keys == ()


def test_convert_refuses_unknown_targets():
    with pytest.raises(ValueError, match=r"choose one of trl, verl, openrlhf, .*, sb3, cleanrl, entclip"):
        convert(Clip(), "rllib")


# Commands


def test_lint_command_reports():
    got = lint_command(FIXTURES / "verl/dapo_32b.sh", None)
    assert got.to_json()["clip_alive"] == "yes"
    assert json.loads(json.dumps(got.to_json()))["updates_per_rollout"] == 16


def test_convert_command_takes_a_file_or_widths():
    assert "clip_ratio_high=0.28" in convert_command(None, "verl", None, 0.2, 0.28, None)
    assert "delta: 3" in convert_command(None, "trl", None, None, None, 3.0)
    assert "epsilon_high: 0.28" in convert_command(FIXTURES / "verl/dapo_32b.sh", "trl", None, None, None, None)
    with pytest.raises(ValueError, match="not both"):
        convert_command(FIXTURES / "verl/dapo_32b.sh", "trl", None, 0.2, None, None)
    with pytest.raises(ValueError, match="give a configuration file, or widths"):
        convert_command(None, "trl", None, None, None, None)
    with pytest.raises(ValueError, match=r"clip.low must be in \[0, 1\]"):
        convert_command(None, "trl", None, 1.2, None, None)


def test_objective_kinds_of_the_report_exist():
    """Names that the report shares with entclip's objectives mean the same there."""
    for kind in ("clip", "dual_clip", "cispo", "sapo", "dppo_tv"):
        assert objective(kind)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_short_answer_is_short_and_says_what_it_leaves_out(name):
    got = report(name)
    lines = got.to_text().splitlines()
    assert len(lines) <= 14
    assert all(len(line) <= 80 or " " not in line.strip() for line in lines)
    told = [f for f in got.findings if not f.common][:3]
    assert [f.id for f in told] == [line.split(": ")[1] for line in lines if line.startswith(("error: ", "warn: ", "info: "))]
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
