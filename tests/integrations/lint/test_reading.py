"""Scripts, flags and files are read as a shell and a trainer read them, or refused with cause and fix."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.detection import detect_library
from entclip.integrations.lint.libraries import LIBRARIES, library_named
from entclip.integrations.lint.report import lint
from entclip.integrations.lint.source import read_source
from entclip.integrations.lint.values import Unresolved
from tests.integrations.lint.answers import FIXTURES, A, report


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
        ("if ready; then\n x=1\nfi\nrun --epsilon $x", Unresolved("$x")),
        ("if true; then\n x=1\nfi\nx=2\nrun --epsilon $x", 2),
        ("run --epsilon $(cat file) --seed 1", Unresolved("$(catfile)")),
        ("run --epsilon ${E:-${F:-0.3}}", 0.3),
        ("cat <<EOF > note\nit's --epsilon 9\nEOF\nrun --epsilon 0.1 2>&1 | tee log", 0.1),
        ('OPTS="--epsilon 0.4 --beta 0"\nrun $OPTS', 0.4),
        ("OPTS=(--epsilon 0.4)\nOPTS+=(--beta 0) # more\nrun ${OPTS[@]}", 0.4),
        ("run --epsilon \\\n  # the width\n  0.5", 0.5),
        ("bash -c 'trl grpo --epsilon 0.6'", 0.6),
        ("""sbatch -N1 --wrap="srun bash -c 'trl grpo --epsilon 0.6'\"""", 0.6),
        ("""sbatch --wrap="srun bash -c 'module load x && trl grpo --epsilon 0.6'\"""", 0.6),
        ("""ssh host "bash -lc 'srun sh -c \\"trl grpo --epsilon 0.6\\"'\"""", 0.6),
        ("sbatch --wrap='E=0.6; trl grpo --epsilon $E'", 0.6),
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
        ("run --epsilon 1" + " && x" * 600, "joins over 500 commands"),
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


def _notebook(*cells):
    body = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "epsilon = 9"}, *body]})


def test_a_notebook_is_its_code():
    """Lines for the shell, and cells that are no Python, hold no settings; lists of lines and texts are the same."""
    config = "cfg = GRPOConfig(num_iterations=3,\n                 epsilon=0.1)"
    for cells in (
        ["from trl import GRPOConfig", config],
        [["!pip install trl\n", "from trl import GRPOConfig"], "%%bash\nls -l", config],
    ):
        got = lint(read_config(_notebook(*cells)))
        assert (got.config.library.name, got.config.updates.count, got.config.low.value) == ("trl", 3, 0.1)
    with pytest.raises(ValueError, match="builds no configuration known here"):
        read_config(_notebook("print(1)"))


def test_settings_under_the_name_of_what_is_trained():
    block = "  policy: M\n  n_steps: 64\n  batch_size: 32\n  n_epochs: 2\n  clip_range: 0.1\n  n_timesteps: 1e5\n"
    got = lint(read_config(f"Maze-v1:\n{block}"))
    assert (got.config.library.name, got.config.updates.count) == ("sb3", 4)
    with pytest.raises(ValueError, match=r"2 configurations of Stable-Baselines3 by name \(Maze-v1, Cart-v2, ...\)"):
        read_config(f"Maze-v1:\n{block}Cart-v2:\n{block}")
    ordered = "!!python/object/apply:collections.OrderedDict\n- - [n_epochs, 2]\n  - [clip_range, 0.1]\n"
    assert lint(read_config(ordered)).config.low.value == 0.1
    for broken in ("- 3\n", "- - [1, 2, 3]\n", "- - 3\n"):
        with pytest.raises(ValueError, match="YAML"):
            read_config(f"!!python/object/apply:collections.OrderedDict\n{broken}")
    with pytest.raises(ValueError, match="YAML"):
        read_config("!!python/object/apply:os.system\n- ls\n")


def test_what_another_trainer_of_a_library_reads_is_refused():
    for text in ("epsilon: 0.2\nnum_iterations: 2\nnormalize_advantages: true", "trl rloo --epsilon 0.2 --num_iterations 2"):
        for library in (None, "trl"):
            with pytest.raises(ValueError, match="product of its tokens' ratios"):
                read_config(text, library)


def test_a_script_is_no_library_s_by_a_common_name():
    """Anybody's trainer may be ppo_something.py: its keys decide."""
    assert (
        lint(read_config("python ppo_mine.py --cliprange 0.2 --ppo_epochs 4 --init_kl_coef 0.1")).config.library.name == "trl-ppo"
    )
    with pytest.raises(ValueError, match="not recognised"):
        read_config("python ppo_mine.py --gamma 0.9 --lr 1e-4")


@pytest.mark.parametrize(
    "value", ["!!float", "!!float x", "!!int x", "!!int", "!!bool maybe", "!!timestamp x", "2026-13-45", "!!set 3"]
)
def test_a_value_that_is_not_what_its_tag_says_is_refused(value):
    with pytest.raises(ValueError, match="not valid YAML"):
        read_source(f"epsilon: {value}\nnum_generations: 8\n")
