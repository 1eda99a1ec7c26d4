"""Causes that cancel under Adam, whose second moment is that of the step that was taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from entclip.engines.llm.optimizers import adam_reach
from entclip.integrations.torch import EntropyLedger
from entclip.ledger.cancelling import joined
from entclip.ledger.columns import causes_in
from entclip.ledger.folder import open_run
from entclip.report.explain import explain
from entclip.report.grid import causes_grid
from tests.integrations.loops import logits_of, made, sample


@pytest.mark.parametrize("updates", [1, 2, 30])
def test_no_gradient_moves_adam_further_than_its_reach(updates):
    """A gradient that comes after many that were 0 is the one that moves furthest."""
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.9, 0.99), eps=0.0)
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for k in range(updates):
        weight.grad = slope.sign() * (1e-3 if k == updates - 1 else 1e-16)
        before = weight.detach().clone()
        optimizer.step()
    moved = -float(slope @ (weight.detach() - before))
    assert moved == pytest.approx(adam_reach(optimizer, [slope]), rel=1e-9)


def _run(beyond, out=None):
    """In the first of two updates an embedding has clipped tokens alone: its second moment is 0, and eps divides."""
    model, optimizer = made(torch.optim.Adam, lr=0.05)
    contexts, actions, old, _, mask = sample(model, 0)
    with EntropyLedger(model, optimizer, logits=logits_of, every=1, out=out) as ledger:
        for rollout in range(2):
            shifted = torch.where((contexts == contexts[0, 0]) & beyond & (rollout == 0), old - 0.5, old)
            ledger.rollout(contexts)
            log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
            ledger.minibatch(log_probs, shifted, torch.ones(8, dtype=torch.float64), mask)
            (-(torch.exp(log_probs - shifted).clamp(max=1.2) * mask).sum() / mask.sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
            old = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0].detach()
    return ledger


@pytest.mark.parametrize("beyond", [False, True])
def test_causes_beyond_it_are_marked_and_summed_in_one_line(beyond, tmp_path):
    ledger = _run(beyond, tmp_path)
    frame, rollouts = ledger.to_frame(), ledger.to_frame("rollouts")
    first = frame.iloc[0]
    assert (abs(first["clip_high"]) > 1e3) == beyond
    assert abs(first["unclipped"] + first["clip_high"]) < 1
    assert frame["cancelling"].tolist() == [float(beyond), 0.0]
    said = [note for note in ledger.notes if "larger than what any gradient could do" in note]
    assert len(said) == beyond
    summary = open_run(tmp_path).summary()["arms"]["run"]
    assert summary["cancelling"] == 0.5 * beyond
    assert rollouts["cancelling"].tolist() == [float(beyond), 0.0]
    alone = frame.drop(columns="arm").assign(arm="alone")  # rows without their folder
    for books in (summary, rollouts.sum(numeric_only=True), {name: value for name, value, _ in explain(alone, {})[0].parts}):
        assert abs(books.get("clip_high", 0.0)) < 1
        causes = sum(books.get(name, 0.0) for name in causes_in(frame.columns) + ["whole_step"] * beyond)
        assert causes == pytest.approx(frame[causes_in(frame.columns)].sum().sum(), abs=1e-9)
    assert bool(rollouts.get("whole_step", np.zeros(2))[0]) == beyond
    warned = [text for text in explain(frame, {"run": summary})[0].warnings if "in 1 update (step 0) a cause is larger" in text]
    assert len(warned) == beyond
    notes = " ".join(causes_grid({"arms": {"run": summary}}).notes)
    assert ("Causes cancel under Adam in some accounted updates (run 50%)" in notes) == beyond


def test_the_mark_of_one_replica_is_that_of_its_row():
    """Arrays over units: a row is a mean over them, so that all of an update's causes go into the line."""
    columns = {"unclipped": np.array([900.0, 1.0]), "clip_low": np.array([-901.0, 2.0]), "cancelling": np.array([1.0, 0.0])}
    found = joined(columns)
    assert {name: found[name].tolist() for name in found if name != "cancelling"} == {
        "unclipped": [0.0, 0.0],
        "clip_low": [0.0, 0.0],
        "whole_step": [-1.0, 3.0],
    }
    plain = columns | {"cancelling": np.zeros(2)}
    assert joined(plain) is plain


def test_the_mark_outlives_a_checkpoint():
    """The note is made from the rows, which a resumed run has."""
    ledger, (model, optimizer) = _run(True), made(torch.optim.Adam)
    resumed = EntropyLedger(model, optimizer, logits=logits_of)
    resumed.load_state_dict(ledger.state_dict())
    assert any("In 1 update (step 0) a cause is larger" in note for note in resumed.notes)
    resumed.release()
