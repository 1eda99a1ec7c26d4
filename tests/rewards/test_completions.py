"""Reward functions of completions: their laws, what they follow, and how TRL's own command line loads and runs them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from entclip.rewards import coin_flip, format, gaussian, rademacher

RANDOM = [(coin_flip, 0.5, 0.5), (rademacher, 0.0, 1.0), (gaussian, 0.0, 1.0)]


@pytest.mark.statistical
@pytest.mark.parametrize(("law", "mean", "std"), RANDOM)
def test_random_rewards_have_their_law_and_ignore_what_is_said(law, mean, std):
    words = ["right", "wrong"] * 10_000
    drawn = np.array(law(completions=words, prompts=["p"] * 20_000, answer=["x"] * 20_000))
    error = std / np.sqrt(len(drawn))
    assert abs(drawn.mean() - mean) < 5 * error
    assert abs(drawn.std() - std) < 5 * std / np.sqrt(2 * len(drawn))
    assert abs(drawn[::2].mean() - drawn[1::2].mean()) < 5 * 2 * error, "one answer is rewarded more than the other"


@pytest.mark.parametrize("law", [each[0] for each in RANDOM])
def test_random_rewards_follow_the_seed_the_step_and_the_batch(law):
    torch = pytest.importorskip("torch")

    def drawn(seed=0, step=0, words=("a",) * 32):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        rewards = law(completions=list(words), trainer_state=SimpleNamespace(global_step=step))
        assert torch.equal(before, torch.get_rng_state()), "training must go on as it would without the reward"
        return rewards

    first = drawn()
    assert len(set(first)) > 1, "equal completions of a batch have rewards of their own"
    assert drawn() == first
    assert len({tuple(x) for x in (first, drawn(seed=1), drawn(step=1), drawn(words=("b",) * 32))}) == 4


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        (r"so it is \boxed{42}.", 1.0),
        (r"\boxed { x^{2} }", 1.0),
        (r"\boxed{}", 0.0),
        (r"\boxed{ }", 0.0),
        ("42", 0.0),
        ("", 0.0),
        ([{"role": "assistant", "content": r"\boxed{1}"}], 1.0),
        ([{"role": "assistant", "content": None}, {"role": "assistant", "tool_calls": []}], 0.0),
    ],
)
def test_format_asks_for_a_box_with_something_in_it(completion, reward):
    assert format(completions=[completion], prompts=["?"]) == [reward]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_command_line_of_trl_runs_them(tmp_path, monkeypatch):
    """`trl grpo --reward_funcs entclip.rewards.coin_flip entclip.rewards.format`, on a tiny model, for two steps."""
    pytest.importorskip("trl", reason="needs the trl extra")
    import sys

    from trl.scripts.grpo import main, make_parser

    from tests.integrations.tiny import tiny_model, tiny_tokenizer

    monkeypatch.setattr(sys, "path", list(sys.path))  # trl puts the working directory into it
    monkeypatch.chdir(tmp_path)
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "prompts").mkdir()
    lines = "\n".join(json.dumps({"prompt": f"w{i} w{i + 1}"}) for i in range(16))
    (tmp_path / "prompts" / "train.jsonl").write_text(lines)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rewards = ["entclip.rewards.coin_flip", "entclip.rewards.format"]
    parsed = make_parser().parse_args_and_config(
        [
            "--model_name_or_path",
            "model",
            "--dataset_name",
            str(tmp_path / "prompts"),
            "--reward_funcs",
            *rewards,
            "--output_dir",
            "out",
            "--use_cpu",
            "True",
            "--bf16",
            "False",
            "--num_generations",
            "4",
            "--max_steps",
            "2",
            "--per_device_train_batch_size",
            "8",
            "--max_completion_length",
            "6",
            "--logging_steps",
            "1",
            "--report_to",
            "none",
            "--save_strategy",
            "no",
            "--disable_tqdm",
            "True",
        ]
    )
    kept = {}

    def train(self, *arguments, **options):
        kept["trainer"] = self
        return plain(self, *arguments, **options)

    import trl

    plain = trl.GRPOTrainer.train
    monkeypatch.setattr(trl.GRPOTrainer, "train", train)
    main(*parsed)
    logged = [entry for entry in kept["trainer"].state.log_history if "rewards/coin_flip/mean" in entry]
    assert len(logged) == 2
    assert all(entry["rewards/format/mean"] == 0 for entry in logged)
    assert {entry["rewards/coin_flip/mean"] * 8 % 1 for entry in logged} == {0.0}
    assert any(entry["rewards/coin_flip/std"] > 0 for entry in logged)
