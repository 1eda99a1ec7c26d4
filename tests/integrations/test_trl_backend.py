"""entclip llm --backend trl: the experiment that the llm engine runs, trained by TRL, in the files that every run leaves."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("trl", reason="needs the trl extra")

from entclip import load
from entclip.cli.app import app
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.language import load_language
from entclip.engines.llm.task import task_named
from entclip.engines.named import engine_named
from entclip.engines.samples import draw_rewards
from entclip.integrations.trl_backend.rewards import reward_function
from entclip.integrations.trl_backend.settings import AS_TRL
from entclip.integrations.trl_backend.training import train_with_trl
from entclip.ledger.folder import open_run
from entclip.support.errors import SpecError
from entclip.support.random import stream

SMALL = ["update.batch=8", "update.minibatches=3", "rollout.probes=4", "update.learning_rate=1e-3"]


def spec(*overrides):
    return load("llm", [f"{key}={value}" for key, value in AS_TRL.items()] + [*SMALL, *overrides])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_experiment_of_the_llm_engine_runs_on_trl(tmp_path):
    words = ["llm", "--backend", "trl", "--rollouts", "2", "--replicas", "4", "--arm", "none", "--arm", "both"]
    result = CliRunner().invoke(
        app, [*words, *(x for key in SMALL for x in ("--set", key)), "--out", str(tmp_path)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "Under TRL update.minibatch = shuffled and ledger.momentum = line" in " ".join(result.output.split())
    run = open_run(tmp_path)
    experiment = run.experiment()
    assert run.manifest.engine == "trl"
    assert (experiment.policy.kind, experiment.update.minibatch) == ("language_model", "shuffled")
    frame, rollouts = run.frame(), run.frame("rollouts")
    assert frame["step"].tolist() == list(range(6)) * 2
    none, both = (frame[frame["arm"] == name] for name in ("none", "both"))

    # The starting policy and the probe contexts are the engine's.
    engine = LlmEngine()
    begins = engine.observe(engine.start(experiment, experiment.arm[0].build()))["entropy"].mean()
    assert np.allclose(frame["entropy_before"][frame["step"] == 0], begins, rtol=0, atol=1e-6)
    # Arms of a replica draw the same responses while their policies agree: nothing is clipped in the first update.
    same = ["measured", "unclipped", "momentum", "curvature"]
    assert np.array_equal(none[same].iloc[0], both[same].iloc[0])
    assert (both[["clip_low", "clip_high"]] != 0).any(axis=None)
    assert (none[["clip_low", "clip_high"]] == 0).all(axis=None)
    # Mirrored rewards: the mean over a pair is that of the law, and pairs are the units.
    assert np.allclose(rollouts["reward"], 0.5, rtol=0, atol=1e-7)
    summary = run.summary()["arms"]["both"]
    assert summary["units"] == 2
    assert summary["measured"] == pytest.approx(summary["entropy_end"] - summary["entropy_start"], abs=1e-12)
    parts = ("unclipped", "clip_low", "clip_high", "momentum", "weight_decay", "curvature", "remainder")
    assert sum(summary[part] for part in parts) == pytest.approx(summary["measured"], abs=1e-9)
    assert {"pass_at_1", "pass_at_8", "response_tokens", "flat_groups"} <= set(rollouts)
    assert 0 < rollouts["pass_at_1"].min() <= rollouts["pass_at_8"].max() <= 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert CliRunner().invoke(app, ["report", str(tmp_path)], catch_exceptions=False).exit_code == 0
    assert "entclip llm experiment.toml --backend trl --device cpu --dtype float32" in (tmp_path / "report.md").read_text()
    told = CliRunner().invoke(app, ["ledger", str(tmp_path), "--json"], catch_exceptions=False)
    assert json.loads(told.stdout)[str(tmp_path)][1]["measured"][0] == summary["measured"]


def test_processes_share_the_rewards_of_one(monkeypatch):
    """Half of a rollout each: random rewards are the engine's, right answers are counted by response and by group."""
    experiment, task, language = (
        spec("update.batch=16", "update.minibatches=2"),
        task_named("digits"),
        load_language("tiny", "cpu", "float32"),
    )
    asked = task.ask(stream(0, "tasks", 3, 1), 4)
    question = [place for place in range(4) for _ in range(8)]
    ids = [language.encode(asked[place].answer if k % 3 else "#0;") for k, place in enumerate(question)]
    found, logged = [], []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        own = slice(16 * rank, 16 * rank + 16)
        state = types.SimpleNamespace(global_step=6)
        for mirror in (False, True):
            reward = reward_function(experiment, task, language.decode, asked, 1, mirror=mirror)
            made = reward(
                completion_ids=ids[own],
                question=question[own],
                trainer_state=state,
                log_metric=lambda *pair: logged.append(pair),
                prompts=None,
            )
            found.append(made)
    drawn = draw_rewards(experiment, (32,), stream(0, "rewards", 3, 1))
    assert found[0] + found[2] == drawn.tolist()
    assert found[1] + found[3] == (1 - drawn).tolist()
    assert sum(value for name, value in logged if name == "pass_at_1") == 2 * sum(k % 3 != 0 for k in range(32))
    assert [value for name, value in logged if name == "pass_at_8"] == [1.0] * 8
    judged = reward_function(spec("rollout.reward=correct", "antithetic=false"), task, language.decode, asked, 1)
    assert judged(ids, question, state, lambda *_: None) == [float(k % 3 != 0) for k in range(32)]


def test_other_machines_and_names_are_refused():
    with pytest.raises(SpecError, match="dtype = 'float64': the backend trl trains in float32"):
        train_with_trl(spec(), dtype="float64")
    with pytest.raises(SpecError, match=r"'trl' is no engine: it trains in a loop of its own\. Use entclip llm --backend trl"):
        engine_named("trl")
    refused = CliRunner().invoke(app, ["llm", "--backend", "verl"])
    assert isinstance(refused.exception, SpecError)
    assert "--backend 'verl': choose entclip or trl" in str(refused.exception)
