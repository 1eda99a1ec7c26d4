"""What is no policy gradient is refused by its name: SFT, DPO and its kin, reward models, distillation, generation."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config

BASE = "model_name_or_path: m\nlearning_rate: 1.0e-6\nbeta: 0.1\nper_device_train_batch_size: 2\n"
CALL = "import trl\nargs = trl.{0}Config(output_dir='o', learning_rate=1e-6)\ntrl.{0}Trainer(model='m', args=args).train()\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{BASE}loss_type: hinge\n", "DPO"),
        (f"{BASE}loss_type: [sppo_hard, nll]\n", "DPO"),
        (f"{BASE}loss_type: ['sft']\n", "SFT"),
        (f"{BASE}loss_type: simpo\ncpo_alpha: 0\n", "CPO"),
        (f"{BASE}loss_type: apo_zero_unpaired\n", "KTO"),
        (f"{BASE}undesirable_weight: 1.0\nmax_length: 512\n", "KTO"),
        (f"{BASE}f_divergence_type: js_divergence\n", "DPO"),
        (f"{BASE}dataset_name: some/feedback_preferences\n", "preferences"),
        ("model_name_or_path: m\nassistant_only_loss: true\nlearning_rate: 2e-5\n", "supervised"),
        ("model_name_or_path: m\ncenter_rewards_coefficient: 0.01\nlearning_rate: 2e-5\n", "reward model"),
        ("model_name_or_path: m\nstage: dpo\npref_beta: 0.1\npref_loss: sigmoid\n", "DPO"),
        ("model_name_or_path: m\nstage: rm\n", "reward model"),
        ("base_model: m\nrl: orpo\norpo_alpha: 0.1\ntrl:\n  beta: 0.1\n", "ORPO"),
        ("dpo:\n  reference_policy_kl_penalty: 0.05\n  max_num_steps: 150\npolicy:\n  model_name: m\n", "DPO"),
        *((CALL.format(each), name) for each, name in (("SFT", "supervised"), ("KTO", "KTO"), ("ORPO", "ORPO"), ("CPO", "CPO"))),
        *((CALL.format(each), name) for each, name in (("Reward", "reward model"), ("PRM", "process reward"), ("GKD", "distil"))),
        *((CALL.format(each), name) for each, name in (("OnlineDPO", "online DPO"), ("XPO", "XPO"), ("NashMD", "Nash-MD"))),
        (CALL.format("RLOO"), "RLOO trainer: its ratio is that of a whole sequence"),
        ("from unsloth import FastLanguageModel\nfrom trl import DPOTrainer\nt = DPOTrainer(model=m, beta=0.1)\n", "DPO"),
        ("trl dpo --model_name_or_path m --beta 0.1 --learning_rate 1e-6", "DPO"),
        ("accelerate launch --num_processes 4 -m trl.scripts.kto --dataset_name d --learning_rate 1e-6", "KTO"),
        ("trl reward --dataset_name d --learning_rate 1e-6", "reward model"),
        ("deepspeed --module openrlhf.cli.train_sft --dataset d --train.batch_size 64 --actor.lr 1e-5", "supervised"),
        ("deepspeed --module openrlhf.cli.train_rm --dataset d --train.batch_size 64 --actor.eps_clip 0.2", "reward model"),
        ("python3 -m verl.trainer.sft_trainer_ray optim.lr=1e-5 data.train_files=a", "supervised"),
        ("python3 -m verl.trainer.main_generation_server data.path=a", "generation or evaluation"),
        ("swift sft --model m --dataset d --learning_rate 1e-4", "supervised"),
        ("NPROC_PER_NODE=8 swift rlhf --rlhf_type dpo --model m --loss_type sigmoid --beta 0.1", "DPO"),
        ("accelerate launch examples/scripts/dpo_vlm.py --dataset_name d --learning_rate 1e-6", "DPO"),
        (f"#!/bin/bash\npython - <<'EOF'\n{CALL.format('DPO')}EOF", "DPO"),
        ("python run_sft.py --model m --learning_rate 1e-6", "supervised"),
        ("python scripts/train_reward_model.py --model m --learning_rate 1e-6", "reward model"),
    ],
)
@pytest.mark.parametrize("library", [None, "trl"])
def test_it_is_named_and_no_clip_is_read_into_it(text, name, library):
    with pytest.raises(ValueError, match=name) as refused:
        read_config(text, library)
    words = " ".join(str(refused.value).split())
    assert "RLOO" in words or "there is no ratio clip in it" in words
    assert name.startswith("gen") or "generation" not in words


@pytest.mark.parametrize(
    ("text", "alive"),
    [
        ("loss_type: sigmoid\nnum_generations: 8\nnum_iterations: 2\nepsilon: 0.2\n", "unknown"),
        ("loss_type: grpo\nnum_iterations: 2\nbeta: 0.1\ndataset_name: a/preferences\nnum_generations: 4\n", "yes"),
        ("trl sft --learning_rate 1e-5\ntrl grpo --epsilon 0.2 --num_iterations 2 --model_name_or_path out", "yes"),
        ("python train_grpo_after_sft.py --epsilon 0.2 --num_iterations 2 --num_generations 8", "yes"),
        ("python sft.py --epsilon 0.2 --num_iterations 2 --num_generations 8", "yes"),
        ("from trl import GRPOConfig, SFTConfig\nSFTConfig(packing=True)\nGRPOConfig(epsilon=0.2, num_iterations=2)\n", "yes"),
        ("accelerate launch -m trl.scripts.grpo --epsilon 0.2 --num_iterations 2", "yes"),
    ],
)
def test_a_policy_gradient_is_none_of_it(text, alive):
    got = lint(read_config(text))
    assert (got.config.library.name, got.liveness.alive) == ("trl", alive)
    assert ("unknown-loss" in {f.id for f in got.findings}) == (alive == "unknown")


def test_how_a_script_samples_does_not_say_what_it_trains():
    text = "from transformers import GenerationConfig\nfrom trl import Own\nOwn(GenerationConfig(top_k=5)).train()\n"
    with pytest.raises(ValueError, match="a Python script that builds no configuration known here"):
        read_config(text)
