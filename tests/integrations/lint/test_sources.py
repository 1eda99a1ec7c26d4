"""What a configuration is read from: scripts in Python, files that wrap a command, files that are none; and whose it is."""

from __future__ import annotations

import os

import pytest

from entclip.integrations.lint import lint, read_config
from entclip.integrations.lint.detection import detect_library
from entclip.integrations.lint.source import MAX_BYTES, read_source
from entclip.integrations.lint.values import Unresolved

VERL = "python -m verl.trainer.main_ppo algorithm.adv_estimator=grpo data.train_batch_size=24 actor_rollout_ref.rollout.n=4"
MINI = "actor_rollout_ref.actor.ppo_mini_batch_size=8"


@pytest.mark.parametrize("spaces", ["", " "])
def test_keywords_of_a_python_script(spaces):
    text = (
        "from trl import GRPOConfig, GRPOTrainer\nWIDTH = 0.31\n"
        f"args = GRPOConfig(output_dir{spaces}={spaces}'out', epsilon_high=WIDTH, num_iterations=2,\n"
        "                  loss_type='bnpo', beta=f(1))\n"
        "GRPOTrainer(model='m', reward_funcs=score, args=args).train()\n"
    )
    config = read_config(text)
    assert config.library.name == "trl"
    assert (config.high.value, config.updates.count, config.objective.value) == (0.31, 2, "bnpo")
    assert config.values["beta"] == Unresolved("f(1)")
    assert "reward_funcs" not in config.values


def test_keywords_from_elsewhere_leave_the_verdict_open():
    got = lint(read_config("from trl import GRPOConfig\nargs = GRPOConfig(num_iterations=2, **options)\n"))
    assert got.liveness.alive == "unknown"
    assert "**options" in got.liveness.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torch\nmodel = torch.nn.Linear(1, 1)\n", "builds no configuration known here"),
        ("from trl import GRPOConfig\nGRPOConfig(epsilon=0.1)\nGRPOConfig(epsilon=0.2)\n", r"2 configurations \(lines 2, 3\)"),
        ("x = dict(y=(a, (b, c)))\n# run: tool --flag 1\nz = f(--n)\n run --flag\n", "does not parse"),
    ],
)
def test_python_scripts_without_one_configuration_are_refused(tmp_path, text, message):
    (tmp_path / "train.py").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / "train.py")


@pytest.mark.parametrize(
    "text",
    [
        f"resources: {{accelerators: 'A100:1'}}\nsetup: pip install verl\nrun: |\n  {VERL} \\\n    {MINI}\n",
        f"spec:\n  containers:\n  - name: a\n    command: [bash, -c]\n    args:\n    - |\n      {VERL} {MINI}\n",
        "command: [" + ", ".join(f"'{word}'" for word in f"{VERL} {MINI}".split()) + "]\n",
    ],
)
def test_a_command_that_a_file_wraps_is_read(tmp_path, text):
    (tmp_path / "job.yaml").write_text(text)
    config = read_config(tmp_path / "job.yaml")
    assert (config.library.name, config.updates.count, config.group_size.value) == ("verl", 3, 4)


@pytest.mark.parametrize("holder", ["x-widths", "_widths", ".widths"])
def test_a_block_that_is_there_to_be_merged_is_no_setting(holder):
    text = f"{holder}: &w\n  num_iterations: 2\n  epsilon: 0.1\ntrl:\n  <<: *w\n  epsilon: 0.3\n  beta: 0.0\nrl: grpo\n"
    found = lint(read_config(text))
    assert (found.config.library.name, found.config.low.value, found.config.unknown_keys) == ("axolotl", 0.3, ())
    assert found.liveness.alive == "yes"


def test_what_wandb_saves_is_unwrapped():
    text = "wandb_version: 1\n_wandb: {value: {cli: 1}}\nepsilon: {desc: null, value: 0.1}\nnum_generations: {value: 8}\n"
    assert read_source(text).values == {"epsilon": 0.1, "num_generations": 8}


def test_a_key_called_value_is_not_unwrapped():
    assert read_source("epsilon: {value: 0.1, other: 2}\nbeta: 0\n").values["epsilon.other"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model_name_or_path: m\nlearning_rate: 1.0e-5\nnum_train_epochs: 2\n",
            "not recognised .*none that decides",
        ),
        ('model = "m"\n[[eval.source]]\nname = "b"\n', "not recognised"),
        ("python3 -m verl.trainer.main_generation data.path=x rollout.temperature=0.6", "generation or evaluation, not training"),
        ("python train.py --critic_type grpo --num_samples 4 --rollout_batch_size 32 --num_ppo_epochs 2", "not recognised"),
        ("name: x\nalpha: 1\nbeta_two: 3\nepsilon: 0.2\n", "not recognised"),
    ],
)
def test_what_is_no_known_training_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_config(text)


def test_generation_beside_training_does_not_hide_it():
    text = f"python3 -m verl.trainer.main_generation data.path=x\n{VERL} {MINI}"
    assert read_config(text).updates.count == 3


def test_an_unknown_program_with_known_keys_is_read_by_its_keys():
    text = (
        "python -m mytrainer.run algorithm.adv_estimator=grpo actor_rollout_ref.rollout.n=4 data.train_batch_size=64 "
        f"reward.custom_reward_function.path=my_reward.py {MINI}"
    )
    assert detect_library(read_source(text))[0] == "verl"
    assert read_config(text).updates.count == 8


@pytest.mark.parametrize(
    "bomb", ["a: &a [x, x, x, x, x, x, x, x, x, x]\n", "a: &a {x: 1, y: 2, z: 3, u: 4, v: 5, w: 6, t: 7, s: 8}\n"]
)
def test_aliases_that_multiply_are_refused(bomb):
    for n in range(1, 9):
        last = "a" if n == 1 else f"b{n - 1}"
        bomb += f"b{n}: &b{n} [" + ", ".join([f"*{last}"] * 10) + "]\n"
    with pytest.raises(ValueError, match="more than 20,000 values"):
        read_config(bomb)


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, "{" * 5000, "a = " + "[" * 5000 + "\nb = 1"])
def test_deep_tables_are_refused(text):
    with pytest.raises(ValueError, match=r"nested too deeply|not valid"):
        read_config(f"{text}\n")


def test_files_that_are_no_text_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero"):
        with pytest.raises(ValueError, match="no regular file"):
            read_config(path)
    with open(tmp_path / "long.yaml", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match="over 2,000,000"):
        read_config(tmp_path / "long.yaml")
    with pytest.raises(ValueError, match="cannot read the configuration"):
        read_config("x" * 5000)
