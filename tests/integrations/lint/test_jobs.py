"""Jobs' files: a command that is cut into two entries is one command line, and it has the variables that the job gives it."""

from __future__ import annotations

import json

import pytest

from entclip.integrations.lint import read_config

A = "actor_rollout_ref.actor."
VERL = ["python3", "-m", "verl.trainer.main_ppo"]
GIVEN = ["data.train_batch_size=512", f"{A}ppo_mini_batch_size=64", f"{A}clip_ratio_low=0.2", f"{A}clip_ratio_high=0.28"]
LINE = " ".join([*VERL, *GIVEN])
MINI = LINE.replace("=64", "=$MB")


def _read(tmp_path, job):
    path = tmp_path / "job.yaml"  # JSON is YAML
    path.write_text(json.dumps(job))
    config = read_config(path)
    return config.updates.count, config.low.value, config.high.value


def _container(**entries):
    return {"spec": {"template": {"spec": {"containers": [{"name": "t", **entries}]}}}}


@pytest.mark.parametrize(
    "job",
    [
        _container(command=VERL, args=GIVEN),
        _container(command=["/bin/bash", "-lc"], args=[f"cd /root && {LINE}"]),
        _container(command=["sh", "-c"], args=["cd /root\n" + LINE.replace(" data", " \\\n  data") + "\n"]),
        {"services": {"t": {"entrypoint": VERL, "command": GIVEN}}},
        {"services": {"t": {"entrypoint": " ".join(VERL), "command": " ".join(GIVEN)}}},
        {"services": {"t": {"entrypoint": VERL, "command": [*GIVEN, "trainer.experiment_name=two words"]}}},
        {"Entrypoint": VERL, "Cmd": GIVEN},
        {"ContainerEntrypoint": VERL, "ContainerArguments": GIVEN},
        {"replicas": {"Master": _container(command=VERL, args=GIVEN), "Worker": _container(command=VERL, args=GIVEN)}},
    ],
)
def test_a_program_and_its_arguments_in_two_entries_are_one_command(tmp_path, job):
    assert _read(tmp_path, job) == (8, 0.2, 0.28)


@pytest.mark.parametrize(
    "job",
    [
        {"envs": {"MB": 64, "KEY": None}, "run": MINI},
        {"envs": {"MB": "64"}, "run": f'if [ "$RANK" == 0 ]; then\n  {MINI}\nfi\n'},
        _container(command=["bash", "-c", MINI], env=[{"name": "MB", "value": "64"}, {"name": "KEY", "valueFrom": {}}]),
        _container(command=VERL, args=MINI.replace("$MB", "$(MB)").split()[3:], env=[{"name": "MB", "value": "64"}]),
        {"services": {"t": {"environment": ["MB=64", "KEY"], "command": MINI}}},
        {"services": {"t": {"environment": {"MB": 64}, "entrypoint": VERL, "command": MINI.split()[3:]}}},
    ],
)
def test_the_variables_of_a_job_are_those_of_its_command(tmp_path, job):
    assert _read(tmp_path, job) == (8, 0.2, 0.28)


def test_variables_of_another_part_of_the_job_are_not(tmp_path):
    job = {"services": {"a": {"environment": {"MB": 64}}, "t": {"command": MINI}}}
    assert _read(tmp_path, job) == (None, 0.2, 0.28)


@pytest.mark.parametrize("script", ["train.py", "/opt/slime/train.py"])
def test_a_script_of_no_known_name_is_told_by_its_options(tmp_path, script):
    options = {
        "rollout-batch-size": 32,
        "n-samples-per-prompt": 8,
        "global-batch-size": 64,
        "eps-clip": 0.1,
        "eps-clip-high": 0.3,
    }
    args = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert _read(tmp_path, _container(command=["python3", script], args=args)) == (4, 0.1, 0.3)
