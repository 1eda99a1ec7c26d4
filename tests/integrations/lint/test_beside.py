"""Configurations that a launch script names and that lie beside it; options that a missing backslash cuts off."""

from __future__ import annotations

from pathlib import Path

import pytest

from entclip.integrations.lint import lint, read_config

SETTINGS = "data: {rollout_batch_size: 512}\nworker: {actor: {global_batch_size: 128, clip_ratio_low: 0.25}, rollout: {n: 5}}\n"
SCRIPT = "python3 -m verl.trainer.main config=examples/grpo.yaml worker.actor.clip_ratio_high=0.31\n"


def repository(root: Path) -> Path:
    (root / "examples/math").mkdir(parents=True)
    (root / "examples/grpo.yaml").write_text(SETTINGS)
    script = root / "examples/math/run.sh"
    script.write_text(SCRIPT)
    return script


@pytest.mark.parametrize("kind", [str, Path])
def test_a_configuration_of_the_repository_is_read(tmp_path: Path, kind: type) -> None:
    report = lint(read_config(kind(repository(tmp_path))))
    assert (report.config.low.value, report.config.high.value) == (0.25, 0.31)
    assert report.liveness.alive == "yes"
    assert "with examples/grpo.yaml beside it" in report.config.evidence
    assert not any(finding.id == "singleton-group" for finding in report.findings)


def test_what_the_command_says_is_stronger_than_the_file(tmp_path: Path) -> None:
    script = repository(tmp_path)
    script.write_text(SCRIPT.replace("clip_ratio_high", "clip_ratio_low"))
    assert read_config(script).low.value == 0.31


def test_a_text_has_no_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert lint(read_config(SCRIPT)).liveness.alive == "unknown"


def test_two_files_that_fit_are_none(tmp_path: Path) -> None:
    script = repository(tmp_path)
    (script.parent / "examples").mkdir()
    (script.parent / "examples/grpo.yaml").write_text(SETTINGS.replace("0.25", "0.1"))
    assert lint(read_config(script)).liveness.alive == "unknown"


def test_a_file_that_the_script_writes_is_not_looked_for(tmp_path: Path) -> None:
    script = repository(tmp_path)
    script.write_text(f"generate > examples/grpo.yaml\n{SCRIPT}")
    assert lint(read_config(script)).liveness.alive == "unknown"


@pytest.mark.parametrize("folder", ["", "--config_path=math ", "--config_path=$HERE "])
def test_the_name_of_a_configuration_is_hydras(tmp_path: Path, folder: str) -> None:
    script = repository(tmp_path)
    (script.parent / "own.yaml").write_text("use_pg_clip_range: true\npg_clip_low: 0.23\npg_clip_high: 0.27\n")
    script.write_text(f"python examples/start_rlvr_pipeline.py {folder}--config_name own\n")
    config = read_config(script)
    assert (config.low.value, config.high.value) == (0.23, 0.27)


@pytest.mark.parametrize("line", ["--eps-clip-high 0.28 --n-samples-per-prompt 8", "${GRPO_ARGS[@]} \\\n  --eps-clip-high 0.28"])
def test_a_missing_backslash_makes_nothing_certain(line: str) -> None:
    report = lint(read_config(f"python3 train.py --colocate --rollout-batch-size 8 --num-rollout 9 --eps-clip 0.2\n   {line}\n"))
    assert report.liveness.alive == "unknown"
    assert "options that a missing backslash cuts off" in report.liveness.reason
    assert not any(finding.severity == "error" for finding in report.findings)


@pytest.mark.parametrize(("size", "error"), [(8, False), (1, True)])
def test_an_agentic_pipeline_of_roll_has_groups_of_environments(size: int, error: bool) -> None:
    text = (
        "rollout_batch_size: 64\nadv_estimator: grpo\nuse_pg_clip_range: false\npg_clip: 0.2\n"
        f"train_env_manager: {{num_env_groups: 8, group_size: {size}}}\nactor_train: {{training_args: {{seed: 1}}}}\n"
    )
    report = lint(read_config(text))
    assert report.config.library.name == "roll"
    assert any(finding.id == "singleton-group" for finding in report.findings) == error


def test_of_two_scripts_the_one_that_trains_is_read() -> None:
    data = "uv run examples/make_data.py --output_dir data\n"
    train = (
        "uv run python examples/own_entry.py trainer.algorithm.advantage_estimator=grpo trainer.algorithm.eps_clip_low=0.17 \\\n"
    )
    train += "  trainer.algorithm.eps_clip_high=0.3 trainer.train_batch_size=64 trainer.policy_mini_batch_size=16\n"
    for text in (data + train, train + data):
        config = read_config(text)
        assert (config.library.name, config.low.value, config.high.value) == ("skyrl", 0.17, 0.3)


MEGATRON = (
    "NPROC_PER_NODE=8 megatron rlhf --rlhf_type grpo --num_generations 8 --micro_batch_size 1 --epsilon 0.2 --epsilon_high 0.29"
)


@pytest.mark.parametrize(
    ("options", "alive", "updates"),
    [
        ("", "no", 1),
        (" --steps_per_generation 4", "yes", 4),
        (" --generation_batch_size 96 --global_batch_size 32", "yes", 3),
        (" --generation_batch_size 32", "yes", 2),
        (" --generation_batch_size $SIZE", "unknown", None),
    ],
)
def test_updates_of_ms_swift_under_megatron(options: str, alive: str, updates: float | None) -> None:
    report = lint(read_config(MEGATRON + options + "\n"))
    assert (report.config.library.name, report.config.high.value) == ("ms-swift", 0.29)
    assert (report.liveness.alive, report.config.updates.count) == (alive, updates)


def test_ms_swifts_rollout_server_beside_the_training_is_not_the_training() -> None:
    report = lint(read_config(f"swift rollout --model m --vllm_max_model_len 9\n{MEGATRON} --steps_per_generation 2\n"))
    assert report.liveness.alive == "yes"
    with pytest.raises(ValueError, match="supervised fine-tuning"):
        read_config("megatron sft --model m --micro_batch_size 1 --global_batch_size 8\n")
