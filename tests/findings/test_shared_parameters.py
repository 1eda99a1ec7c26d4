"""Hidden states of a model, the shipped experiment on the head engine, and the measurement behind docs/shared_parameters.md."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from entclip import load
from entclip.engines.head.engine import HeadEngine
from entclip.engines.head.parameters import read_parameters
from entclip.experiments.experiment import parse_experiment
from entclip.findings.shared_parameters.figure import figure
from entclip.findings.shared_parameters.measure import EDGES, measure, noise_law
from entclip.findings.shared_parameters.numbers import change, gap, interval, pairs, total
from entclip.findings.shared_parameters.tables import arm_table, noise_table
from entclip.policies import hidden_from_model as extract
from entclip.runs.runner import check
from tests.engines.head.runs import dense, spec_of, steps_of


class Memoryless(torch.nn.Module):
    """A language model of the last token only, with a linear output layer, or one that caps its logits."""

    def __init__(self, cap):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.layer = torch.nn.Embedding(30, 5), torch.nn.Linear(5, 30)
        self.cap, self.device = cap, "cpu"

    def get_output_embeddings(self):
        return self.layer

    def forward(self, input_ids, use_cache, past_key_values=None):
        logits = self.layer(self.embedding(input_ids))
        return SimpleNamespace(logits=torch.tanh(logits) if self.cap else logits, past_key_values=None)


def _use(monkeypatch, cap):
    model = Memoryless(cap)
    monkeypatch.setattr(extract, "load_model", lambda *_: (model, None, "memoryless"))
    monkeypatch.setattr(extract, "encode_prompt", lambda _, text: [len(text), 1, 2])
    monkeypatch.setattr(extract, "stop_tokens", lambda *_: frozenset())
    return model


def test_hidden_states_give_the_models_logits(monkeypatch, tmp_path):
    model, path = _use(monkeypatch, cap=False), tmp_path / "hidden.npz"
    size = extract.hidden_from_model(path, prompts=["a", "bb", "ccc"], contexts=9, max_new_tokens=6)
    assert size == (9, 30, 5)
    found = read_parameters(str(path))
    every = model.layer(model.embedding.weight).detach().numpy()  # its logits after every token
    logits = found.base + found.hidden @ found.head.T
    nearest = np.abs(logits[:, None] - every).max(-1).min(1)
    assert np.all(nearest < 1e-5)


def test_a_model_that_caps_its_logits_is_refused(monkeypatch, tmp_path):
    _use(monkeypatch, cap=True)
    with pytest.raises(ValueError, match="not linear in its last hidden states"):
        extract.hidden_from_model(tmp_path / "hidden.npz", prompts=["a", "bb"], contexts=4, max_new_tokens=3)
    assert not (tmp_path / "hidden.npz").exists()


def test_noise_law_by_hand():
    *_, (_, state, *_) = steps_of(HeadEngine(block=100), spec_of({"rollouts": 1}))
    log_probs, old = (x.flatten().numpy() for x in dense(state))
    law = noise_law(state)
    for low, high, rms, count in zip(EDGES[:-1], EDGES[1:], law["rms"], law["count"], strict=True):
        inside = (old > np.log(low)) & (old <= np.log(high))
        assert count == inside.sum()
        if count:
            assert np.isclose(rms, np.sqrt(np.mean((log_probs - old)[inside] ** 2)), rtol=1e-10)
    assert sum(law["count"]) == 3 * 10 * 40


SMALL = ["replicas=16", "policy.vocab=64", "policy.contexts=16", "policy.dim=8", "update.minibatches=4", "update.learning_rate=8"]


@pytest.mark.statistical
def test_the_shipped_experiment_does_not_reject_the_theory():
    verdict = check(load("shared_parameters", SMALL), "head")
    assert all(arm["verdict"] != "reject" for arm in verdict.summary["arms"].values())
    assert verdict.summary["arms"]["both"]["clip_fraction_high"] > 0


def test_what_the_study_measures(tmp_path):
    spec = load("shared_parameters", SMALL)
    spec = parse_experiment(spec.model_dump(exclude_none=True) | {"replicas": 6})
    arms = dict(measure(spec, "float64", ["none", "both"]))
    assert list(arms) == ["none", "both"]
    both = arms["both"]
    assert len(both["per_replica"]["measured"]) == 6
    # The probability-weighted gap over the run is that of the ledger's own summary.
    assert np.isclose(gap(both, "high", "mass")[0], both["gap_high"], rtol=1e-9)
    assert gap(arms["none"], "high", "mass") is None
    values = pairs([1.0, 2.0, 3.0, 5.0, 6.0, 7.0])
    assert values.tolist() == [3.0, 4.0, 5.0]
    assert np.allclose(interval(values), (4.0, 4.302652729911275 / np.sqrt(3)))  # Student's t with 2 degrees of freedom
    figure({"edges": EDGES, "tiny": {"arms": arms}}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_control_variates_by_hand():
    def arm(measured, clip, expected):
        known = {} if expected is None else {"expected_clip_low": expected, "expected_curvature": [0.0] * 4}
        return {"per_replica": {"measured": measured, "clip_low": clip, "curvature": [0.0] * 4} | known}

    base = arm([1.0, 2.0, 3.0, 4.0], [0.5, 0.0, 0.0, 0.0], [0.25, 0.0, 0.0, 0.0])
    assert total(base).tolist() == [1.875, 3.0]  # pairs (1 - .25, 3) and (2, 4)
    assert change(arm([2.0] * 4, [0.0] * 4, [0.0] * 4), base).tolist() == [0.125, -1.0]
    assert change(arm([2.0] * 4, [0.0] * 4, None), base).tolist() == [0.0, -1.0]  # raw where one arm has no expectation


def test_the_page_has_the_tables_of_its_data():
    root = Path(__file__).resolve().parents[2] / "docs"
    data, page = json.loads((root / "data" / "shared_parameters.json").read_text()), (root / "shared_parameters.md").read_text()
    assert noise_table(data) in page
    for name, setting in data.items():
        if name != "edges":
            assert arm_table(setting) in page, name
