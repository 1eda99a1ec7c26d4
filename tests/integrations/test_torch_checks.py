"""What the ledger asks of a torch loop: the declared clip, a graph, logits that are none, and gradients that are not scaled."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from entclip.integrations.recording.comparison import Comparison
from entclip.integrations.torch import EntropyLedger
from entclip.ledger.folder import open_run
from entclip.objectives.clip import Clip
from entclip.objectives.sapo import Sapo
from entclip.support.errors import SpecError
from tests.integrations.loops import V, logits_of, made, sample, train


def _taken(model, contexts, actions):
    return torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]


@pytest.mark.parametrize("widths", [(0.05, 0.05), (0.2, 0.6), (0.5, 0.2), (1.0, math.inf)])
def test_a_clip_that_is_not_the_losss_own_is_found_where_it_can_be(widths):
    """At the first update all ratios are 1, and every clip has the same gradient."""
    model, optimizer = made(lr=3.0)
    ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1, clip=widths)
    with pytest.raises(SpecError, match=r"Or its clip is not the declared one, for some ratios are not 1 here"):
        train(ledger, model, optimizer, rollouts=1, updates=8)
    assert 1 <= len(ledger.rows) < 8


def test_the_folder_says_where_the_clip_was_never_seen(tmp_path):
    said = "No update with a token beyond {} was compared with the gradient of the loss"
    for updates, words in ((1, "the low bound or the high bound"), (8, None)):
        model, optimizer = made(lr=3.0)
        with EntropyLedger(model, optimizer, logits=logits_of, every=1, out=tmp_path / str(updates)) as ledger:
            train(ledger, model, optimizer, rollouts=1, updates=updates)
        found = open_run(tmp_path / str(updates)).experiment().description
        assert (said.format(words) in found) if words else ("was compared" not in found)
        assert any("was compared" in note for note in ledger.notes) == (words is not None)


def test_comparisons_are_few():
    """The first update, up to eight off-policy ones, and then only those after one in which an unseen bound acted."""
    same = [torch.ones(3)]

    def wanted(marks, objective=None, updates=40):
        comparison, asked = Comparison(objective or Clip()), []
        for update in range(updates):
            asked.append(comparison.wanted(update % 4))
            comparison.saw(marks(update), same, same if asked[-1] else None, on_a_bound=False)
        return comparison.unseen, [k for k, yes in enumerate(asked) if yes]

    assert wanted(lambda k: set()) == ({"moved", "clip_low", "clip_high"}, [0, 1, 2, 3, 5, 6, 7, 9])
    both = {"moved", "clip_low", "clip_high"}
    assert wanted(lambda k: both if k % 4 == 2 else set()) == (set(), [0, 1, 2, 3, 5, 6, 7, 9])
    assert wanted(lambda k: both if k % 4 else set()) == (set(), [0, 1, 2, 3])
    late = {20: {"moved", "clip_low"}, 21: {"moved", "clip_low"}, 30: {"clip_high"}}
    assert wanted(lambda k: late.get(k, set())) == ({"clip_high"}, [0, 1, 2, 3, 5, 6, 7, 9, 21, 31])
    assert wanted(lambda k: {"moved"}, Sapo()) == (set(), [0, 1, 2])
    missed = wanted(lambda k: {"clip_low"} if k % 2 else set(), updates=200)  # acts just where nothing is compared
    assert len(missed[1]) <= 32
    assert Comparison(Clip(1.0, 0.2)).unseen == {"moved", "clip_high"}
    with pytest.raises(SpecError, match="the cosine between them"):
        Comparison(Clip()).saw(set(), same, [2 * same[0]], on_a_bound=False)
    Comparison(Clip()).saw(set(), same, [2 * same[0]], on_a_bound=True)  # rounding may have decided a token


def test_a_ratio_on_a_bound_shows_nothing():
    model, optimizer = made()
    ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1)
    contexts, actions, _, _, mask = sample(model, 0)
    ledger.rollout(contexts)
    for log_ratio, count in ((math.log(1.2), int(mask.sum())), (math.log(1.19), 0)):
        log_probs = _taken(model, contexts, actions)
        ledger.minibatch(log_probs, log_probs.detach() - log_ratio, torch.ones(8), mask)
        assert ledger._told._waiting[-1].gathered.on_a_bound == count


class Scaled:
    """A loop with torch's loss scaler, as a run in float16 has it."""

    def __init__(self, scale=2.0**12):
        self.model, self.optimizer = made(lr=1.0)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)

    def train(self, ledger, updates=3, spoiled=(), norm=None):
        contexts, actions, old, advantages, mask = sample(self.model, 0)
        ledger.rollout(contexts)
        for update in range(updates):
            log_probs = _taken(self.model, contexts, actions)
            ledger.minibatch(log_probs, old, advantages, mask)
            ratio, a = torch.exp(log_probs - old), advantages[:, None]
            loss = -(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()
            self.scaler.scale(loss * (math.inf if update in spoiled else 1.0)).backward()
            if norm is not None:
                self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
        ledger.close()
        return ledger


@pytest.mark.parametrize("norm", [None, 0.02])
def test_a_loss_scaler_changes_no_number(norm):
    model, optimizer = made(lr=1.0)
    plain = EntropyLedger(model, optimizer, logits=logits_of, every=1)
    train(plain, model, optimizer, rollouts=1, norm=norm)
    plain.close()
    loop = Scaled()
    ledger = EntropyLedger(loop.model, loop.optimizer, logits=logits_of, every=1, scaler=loop.scaler)
    loop.train(ledger, norm=norm)
    # A power of two scales float64 exactly, but for the square root in the norm.
    names = [name for name in plain.rows[0] if isinstance(plain.rows[0][name], float)]
    for ours, theirs in zip(ledger.rows, plain.rows, strict=True):
        assert [ours[name] for name in names] == pytest.approx([theirs[name] for name in names], rel=1e-12, abs=1e-14)


def test_a_step_that_the_scaler_leaves_out_is_no_part_of_the_next():
    whole, spoiled = Scaled(), Scaled()
    rows = []
    for loop, options in ((whole, {"updates": 2}), (spoiled, {"updates": 3, "spoiled": (1,)})):
        ledger = EntropyLedger(loop.model, loop.optimizer, logits=logits_of, every=1, scaler=loop.scaler)
        rows.append(loop.train(ledger, **options).rows)
    assert [row["measured"] for row in rows[0]] == [row["measured"] for row in rows[1]]
    assert [row["count_plus"] for row in rows[0]] == [row["count_plus"] for row in rows[1]]
    assert "The loss scaler left out a step before update 1." in ledger.notes


def test_scaled_gradients_are_no_bonus():
    loop = Scaled()
    ledger = EntropyLedger(loop.model, loop.optimizer, logits=logits_of, every=1, bonus=True)
    with pytest.raises(SpecError, match=r"4096 times as long as the surrogate's and 4096 times .* \(scaler=\)"):
        loop.train(ledger)


def test_arrays_and_lists_are_as_good_as_tensors():
    rows = []
    for change in (lambda x: x, lambda x: x.numpy(), lambda x: x.tolist()):
        model, optimizer = made()
        with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
            contexts, actions, old, advantages, mask = sample(model, 0)
            ledger.rollout(contexts)
            logits = model(contexts)
            others = [change(x) for x in (old, advantages, mask)]
            ledger.minibatch(None, *others, logits=logits, actions=change(torch.where(mask, actions, -100)))
            log_probs = torch.log_softmax(logits, -1).gather(-1, actions[..., None])[..., 0]
            (-(torch.exp(log_probs - old) * advantages[:, None] * mask).sum() / mask.sum()).backward()
            optimizer.step()
        rows.append([value for value in ledger.rows[0].values() if isinstance(value, float)])
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_probs": lambda x: x.exp()}, r"log_probs hold 0\.\d+: a log-probability is at most 0"),
        ({"log_probs": lambda x: x.detach()}, r"log_probs has no graph: give the tensor .* before detach\(\)"),
        ({"log_probs": lambda x: x.detach().numpy()}, "log_probs is a ndarray: give the tensor"),
        ({"log_probs": lambda x: None}, r"minibatch\(\) has no log_probs: give those of the tokens taken, or logits="),
        ({"logits": lambda x: torch.softmax(x, -1)}, "logits look like probabilities"),
        ({"logits": lambda x: x[0, 0]}, r"actions has shape \(8, 4\), logits without its last axis \(\)"),
        ({"actions": lambda x: x + V}, r"actions hold 0 to 13 and V = 7: they are the indices of the tokens taken"),
        ({"actions": lambda x: x + 0.5}, r"actions hold 0 to 6\.5 and V = 7"),
        ({"advantages": lambda x: ["a"] * 8}, "advantages has dtype <U1: expected numbers"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(change, message):
    model, optimizer = made()
    ledger = EntropyLedger(model, optimizer, logits=logits_of)
    contexts, actions, old, advantages, mask = sample(model, 0)
    ledger.rollout(contexts)
    given = {"logits": model(contexts), "actions": actions, "old_log_probs": old, "advantages": advantages, "mask": mask}
    given["log_probs"] = None if {"logits", "actions"} & set(change) else _taken(model, contexts, actions)
    if given["log_probs"] is not None:
        given |= {"logits": None}
    given |= {name: f(given[name]) for name, f in change.items()}
    with pytest.raises(ValueError, match=message):
        ledger.minibatch(**given)


def test_no_gradient_has_a_cause_and_a_fix():
    from torch.utils.checkpoint import checkpoint

    def minibatch(reentrant=None, before=True):
        model, optimizer = made()
        ledger = EntropyLedger(model, optimizer, logits=logits_of)
        contexts, actions, old, advantages, mask = sample(model, 0)
        ledger.rollout(contexts)
        rows = model.embedding[contexts]
        logits = rows @ model.head if reentrant is None else checkpoint(torch.matmul, rows, model.head, use_reentrant=reentrant)
        log_probs = torch.log_softmax(logits, -1).gather(-1, actions[..., None])[..., 0]
        if not before:
            log_probs.sum().backward()
        ledger.minibatch(log_probs, old, advantages, mask)

    minibatch(reentrant=False)
    with pytest.raises(SpecError, match=r"reentrant checkpointing.* Use use_reentrant=False"):
        minibatch(reentrant=True)
    with pytest.raises(SpecError, match=r"minibatch\(\) came after loss.backward\(\)"):
        minibatch(before=False)


def test_illegal_actions_of_the_probe_set_have_probability_0():
    """Logits of -inf: the ledger is that of the legal actions alone; another set of them after a step is refused."""
    legal, books = 5, []
    for masked in (True, False):
        model, optimizer = made(lr=2.0)

        illegal = [legal]

        def logits(m, contexts, masked=masked, illegal=illegal):
            x = m(contexts)
            if not masked:
                return x[..., :legal]
            return x.masked_fill(torch.arange(V) >= illegal[0], -math.inf)

        with EntropyLedger(model, optimizer, logits=logits, every=1) as ledger:
            contexts, actions, _, advantages, mask = sample(model, 3)
            actions = actions % legal
            ledger.rollout(contexts)
            old = torch.log_softmax(logits(model, contexts), -1).gather(-1, actions[..., None])[..., 0].detach()
            for _ in range(3):
                log_probs = torch.log_softmax(logits(model, contexts), -1).gather(-1, actions[..., None])[..., 0]
                ledger.minibatch(log_probs, old, advantages, mask)
                ratio, a = torch.exp(log_probs - old), advantages[:, None]
                (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()).backward()
                optimizer.step()
                optimizer.zero_grad()
        books.append(ledger.to_frame().select_dtypes("number"))
        if masked:
            illegal[0] = legal + 1
            with pytest.raises(ValueError, match=r"an action is illegal .* before the update and legal after it"):
                ledger._probe.log_probs(model, 0)
    assert np.allclose(*books, rtol=0, atol=1e-12, equal_nan=True)
    assert books[0]["measured"].abs().min() > 1e-5


def test_probabilities_are_no_logits_of_a_probe_set():
    model, optimizer = made()
    ledger = EntropyLedger(model, optimizer, logits=lambda m, contexts: torch.softmax(m(contexts), -1))
    with pytest.raises(ValueError, match="logits of the probe set look like probabilities"):
        ledger.rollout(torch.arange(12))


def test_log_ratios_are_those_of_the_minibatch_and_those_of_the_probe_set():
    """Of the tokens: mean and root mean square. Under pi_old on the probe set: root mean square and KL."""
    model, optimizer = made(lr=2.0)
    ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1)
    contexts, actions, old, advantages, mask = sample(model, 1)
    begun = torch.log_softmax(model(contexts).detach(), -1)
    ledger.rollout(contexts)
    for _ in range(3):
        log_probs = _taken(model, contexts, actions)
        told, now = (log_probs.detach() - old)[mask], torch.log_softmax(model(contexts).detach(), -1)
        ledger.minibatch(log_probs, old, advantages, mask)
        ratio, a = torch.exp(log_probs - old), advantages[:, None]
        (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
        row = ledger.rows[-1]
        of_probe = (begun.exp() * (now - begun) ** 2).sum(-1).mean(), (begun.exp() * (begun - now)).sum(-1).mean()
        assert row["log_ratio_mean"] == pytest.approx(float(told.mean()), rel=1e-12, abs=1e-14)
        assert row["token_log_ratio_rms"] == pytest.approx(float((told**2).mean().sqrt()), rel=1e-12, abs=1e-14)
        assert (row["log_ratio_rms"] ** 2, row["kl"]) == pytest.approx([float(x) for x in of_probe], rel=1e-9, abs=1e-14)
    assert abs(row["token_log_ratio_rms"] / row["log_ratio_rms"] - 1) > 0.01, "two quantities"


def test_an_error_in_the_loop_leaves_the_folder_to_others(tmp_path):
    model, optimizer = made()
    with pytest.raises(ZeroDivisionError), EntropyLedger(model, optimizer, logits=logits_of, out=tmp_path):
        raise ZeroDivisionError
    assert not optimizer._optimizer_step_post_hooks
    with EntropyLedger(model, optimizer, logits=logits_of, every=1, out=tmp_path) as ledger:
        train(ledger, model, optimizer)
    assert open_run(tmp_path).summary()["arms"]["run"]["updates"] == 6
