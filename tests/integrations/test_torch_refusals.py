"""What a loop can get wrong more than once: the same tokens, two ledgers, one that is over, logits without actions."""

from __future__ import annotations

import pytest
import torch

from entclip.integrations.torch import EntropyLedger
from entclip.support.errors import SpecError
from tests.integrations.loops import logits_of, made, sample, train


class Loop:
    """One update at a time, told of in parts."""

    def __init__(self, **options):
        self.model, self.optimizer = made()
        self.ledger = EntropyLedger(self.model, self.optimizer, logits=logits_of, every=1, **options)
        self.contexts, self.actions, self.old, self.advantages, self.mask = sample(self.model, 0)

    def log_probs(self):
        return torch.log_softmax(self.model(self.contexts), -1).gather(-1, self.actions[..., None])[..., 0]

    def step(self, log_probs):
        ratio, a = torch.exp(log_probs - self.old), self.advantages[:, None]
        (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * self.mask).sum() / self.mask.sum()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def update(self):
        self.ledger.rollout(self.contexts)
        log_probs = self.log_probs()
        self.ledger.minibatch(log_probs, self.old, self.advantages, self.mask)
        self.step(log_probs)


def test_the_same_tokens_are_told_of_once():
    loop = Loop()
    loop.ledger.rollout(loop.contexts)
    log_probs = loop.log_probs()
    loop.ledger.minibatch(log_probs, loop.old, loop.advantages, loop.mask)
    with pytest.raises(ValueError, match=r"told of the same tokens twice: .* Call it once for each minibatch"):
        loop.ledger.minibatch(log_probs, loop.old, loop.advantages, loop.mask)
    with pytest.warns(RuntimeWarning, match=r"update 0 has no row .* minibatch\(\) refused a part of it"):
        loop.step(log_probs)
    loop.update()  # and the next update is as ever
    assert [row["step"] for row in loop.ledger.rows] == [1]
    assert "update 0: minibatch() refused a part of it: minibatch() was told of the same tokens twice" in loop.ledger.notes


@pytest.mark.parametrize("again", ["cleared", "in parts"])
def test_tokens_may_come_again_after_their_gradients_were_cleared_and_in_parts(again):
    loop = Loop()
    loop.ledger.rollout(loop.contexts)
    log_probs = loop.log_probs()
    masks = [loop.mask] * 2
    if again == "in parts":
        masks = [loop.mask & (torch.arange(4) % 2 == k) for k in range(2)]
    weights = loop.mask.double() / loop.mask.sum()
    for number, mask in enumerate(masks):
        loop.ledger.minibatch(log_probs, loop.old, loop.advantages, mask, weights=weights)
        if again == "cleared" and number == 0:
            log_probs.sum().backward(retain_graph=True)
            loop.optimizer.zero_grad()
    loop.step(log_probs)
    row = loop.ledger.rows[0]
    assert row["count_plus"] + row["count_minus"] == pytest.approx(row["samples"])  # each token once


def test_a_refused_minibatch_leaves_the_ledger_as_it_was():
    """Of three updates the second has a part that was refused and no row; the rows of the others are those of a loop without."""
    rows = []
    for spoiled in (False, True):
        loop = Loop()
        for number in range(3):
            if spoiled and number == 1:
                loop.ledger.rollout(loop.contexts)
                log_probs = loop.log_probs()
                with pytest.raises(ValueError, match="a log-probability is at most 0"):
                    loop.ledger.minibatch(log_probs.exp(), loop.old, loop.advantages, loop.mask)
                with pytest.warns(RuntimeWarning, match="log_probs hold"):
                    loop.step(log_probs)
            else:
                loop.update()
        loop.ledger.close()
        rows.append({row["step"]: row["measured"] for row in loop.ledger.rows})
    assert rows[1] == {step: measured for step, measured in rows[0].items() if step != 1}


def test_a_second_ledger_on_an_optimiser_is_mentioned():
    loop = Loop()
    with pytest.warns(
        RuntimeWarning,
        match=r"Another ledger that was not closed watches this optimiser: .* Call close\(\)",
    ):
        second = EntropyLedger(loop.model, loop.optimizer, logits=logits_of)
    assert any("both account for its steps" in note for note in second.notes)
    for ledger in (loop.ledger, second):
        ledger.release()
    EntropyLedger(loop.model, loop.optimizer, logits=logits_of).release()  # warnings are errors


def test_a_corrected_cell_takes_the_place_of_the_one_that_was_refused(tmp_path):
    """With the optimiser of the failed cell or with a new one, in its folder."""
    for again in (False, True):
        loop = Loop(out=tmp_path / str(again))
        loop.ledger.rollout(loop.contexts)
        with pytest.raises(ValueError, match="a log-probability is at most 0"):
            loop.ledger.minibatch(loop.log_probs().exp(), loop.old, loop.advantages, loop.mask)
        model, optimizer = made() if again else (loop.model, loop.optimizer)
        with EntropyLedger(model, optimizer, logits=logits_of, every=1, out=tmp_path / str(again)) as ledger:
            train(ledger, model, optimizer, rollouts=1)
        assert len(ledger.rows) == 3
        assert not loop.optimizer._optimizer_step_post_hooks


def test_a_ledger_that_is_over_says_so():
    loop = Loop()
    loop.update()
    loop.ledger.close()
    loop.ledger.close()
    for call in (
        lambda: loop.ledger.rollout(loop.contexts),
        lambda: loop.ledger.minibatch(loop.log_probs(), loop.old, loop.advantages, loop.mask),
        lambda: loop.ledger.load_state_dict(loop.ledger.state_dict()),
    ):
        with pytest.raises(SpecError, match=r"accounts for nothing more: it was closed or released\. Make another one"):
            call()
    failed = Loop()
    failed.ledger.rollout(failed.contexts)
    log_probs = failed.log_probs()
    failed.ledger.minibatch(log_probs, failed.old, failed.advantages, failed.mask)
    with pytest.raises(SpecError, match="2 times as long"):
        failed.step(log_probs + (log_probs - log_probs.detach()))
    with pytest.raises(SpecError, match=r"it ended with an error \(SpecError: the gradient of the loss is not that"):
        failed.ledger.rollout(failed.contexts)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (
            lambda m, x: m(x["ids"])[..., 0],
            r"of shape \(5, 4\), which is that of its contexts: it has no axis",
        ),
        (lambda m, x: m(x["ids"])[..., 0].flatten(), r"of shape \(20,\): logits are \(\.\.\., V\)"),
        (lambda m, x: m(x["ids"])[..., :1], r"of shape \(5, 4, 1\): logits are"),
        (lambda m, x: m(x["ids"])[..., : len(x["ids"])], "logits of 3 actions, and of 5 before"),
    ],
)
def test_logits_have_an_axis_of_actions(logits, message):
    model, optimizer = made()
    ids = sample(model, 0)[0]
    ledger = EntropyLedger(model, optimizer, logits=logits, probe=[{"ids": ids[:5]}, {"ids": ids[5:]}])
    with pytest.raises(SpecError, match=message):
        ledger.rollout()
    assert not optimizer._optimizer_step_post_hooks
