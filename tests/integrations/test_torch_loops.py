"""What can go wrong in a torch loop: changed models and probes, a resumed run, settings that cannot be meant."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from entclip.cli.app import app
from entclip.integrations.torch import EntropyLedger
from entclip.ledger.folder import open_run, read_frame
from entclip.support.errors import SpecError
from tests.integrations.loops import logits_of, made, sample, train


def test_what_a_rollout_cannot_tell_is_said(tmp_path):
    """NaN gradients, empty completions, all rewards equal, a group of one: no row where there is nothing to say, and why."""
    model, optimizer = made()
    wide = (1.0, math.inf)  # its loss clips nothing
    ledger = EntropyLedger(model, optimizer, clip=wide, logits=logits_of, every=1, out=tmp_path)
    contexts, actions, old, advantages, mask = sample(model, 0)

    def update(advantages, mask, spoil=False):
        log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
        ledger.minibatch(log_probs, old, advantages, mask)
        loss = -(torch.exp(log_probs - old) * advantages[:, None] * mask).sum() / mask.sum().clamp(min=1)
        (loss * (float("nan") if spoil else 1.0)).backward()
        if spoil or bool(loss.isnan()):
            with pytest.warns(RuntimeWarning, match="NaN"):
                ledger_step(skip=True)
        elif not mask.any():
            with pytest.warns(RuntimeWarning, match="no token of its minibatch counted"):
                ledger_step()
        else:
            ledger_step()

    def ledger_step(skip=False):
        if skip:  # as a loop that guards itself does; the hooks run, the weights stay
            for p in model.parameters():
                p.data, kept = p.data.clone(), p.data.clone()
                p._kept = kept
        optimizer.step()
        if skip:
            for p in model.parameters():
                p.data.copy_(p._kept)
        optimizer.zero_grad()

    ledger.rollout(contexts, flat_groups=0.0)
    update(advantages, mask)
    update(advantages, mask, spoil=True)
    update(torch.zeros(8, dtype=torch.float64), mask)  # all rewards of every group equal
    update(advantages, torch.zeros_like(mask))  # every completion empty
    update(torch.full((8,), torch.nan, dtype=torch.float64), mask)  # std of a group of one
    some = mask.clone()
    some[:3] = False  # three empty completions among others
    update(advantages, some)
    ledger.close()
    frame = ledger.to_frame()
    assert list(frame["step"]) == [0, 2, 5]
    flat = frame.iloc[1]
    assert flat[["measured", "unclipped", "clip_low", "clip_high", "count_plus", "count_minus"]].abs().max() == 0
    assert len(ledger.notes) == 3
    said = open_run(tmp_path)
    assert "update 1: the gradient held NaN" in said.experiment().description
    assert "a group of one has no spread" in said.experiment().description
    assert said.summary()["arms"]["run"]["skipped"] == 3
    parts = said.summary()["arms"]["run"]
    assert parts["measured"] == pytest.approx(parts["entropy_end"] - parts["entropy_start"], abs=1e-14)


def test_a_frozen_model_is_refused():
    model, optimizer = made()
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(SpecError, match="trains no parameter of the model"):
        EntropyLedger(model, other, logits=logits_of)
    for p in model.parameters():
        p.requires_grad_(False)
    with pytest.raises(SpecError, match="trains no parameter of the model"):
        EntropyLedger(model, optimizer, logits=logits_of)


def test_a_changed_probe_set_is_refused():
    model, optimizer = made()
    probe = [torch.arange(6), torch.arange(6, 12)]
    ledger = EntropyLedger(model, optimizer, logits=logits_of, probe=probe, every=1)
    train(ledger, model, optimizer, rollouts=1)
    probe[1][0] = 3
    with pytest.raises(SpecError, match="probe set has changed"):
        train(ledger, model, optimizer, rollouts=1)


def test_a_resumed_run_goes_on_where_it_was(tmp_path):
    through, halves = made(torch.optim.AdamW, lr=0.05), made(torch.optim.AdamW, lr=0.05)
    with EntropyLedger(*through, logits=logits_of, every=2) as whole:
        train(whole, *through, rollouts=4)
    with EntropyLedger(*halves, logits=logits_of, every=2, out=tmp_path) as first:
        train(first, *halves, rollouts=2)
    saved = copy.deepcopy({"model": halves[0].state_dict(), "optimizer": halves[1].state_dict(), "ledger": first.state_dict()})
    model, optimizer = made(torch.optim.AdamW, lr=0.05, seed=9)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    stranger = EntropyLedger(model, optimizer, logits=logits_of, every=2, out=tmp_path)
    with pytest.raises(SpecError, match=r"holds manifest\.json, of another run.*load_state_dict"):
        stranger.rollout(torch.arange(12))
    stranger.close()
    other = EntropyLedger(model, optimizer, logits=logits_of, every=2, probe=[torch.arange(3)])
    with pytest.raises(SpecError, match="not that of the run it resumes"):
        other.load_state_dict(saved["ledger"])
    other.close()
    with EntropyLedger(model, optimizer, logits=logits_of, every=2, out=tmp_path) as second:
        second.load_state_dict(saved["ledger"])
        train(second, model, optimizer, rollouts=2, first=2)
    assert second.to_frame().equals(whole.to_frame())
    assert np.allclose(read_frame(tmp_path)["measured"], whole.to_frame()["measured"], rtol=0, atol=0)
    assert second.to_frame("rollouts").equals(whole.to_frame("rollouts"))


def test_weights_that_moved_outside_the_optimiser_are_not_accounted():
    model, optimizer = made()
    with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
        contexts, actions, old, advantages, mask = sample(model, 0)
        ledger.rollout(contexts)
        for update in range(2):
            log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
            ledger.minibatch(log_probs, old, advantages, mask)
            ratio, a = torch.exp(log_probs - old), advantages[:, None]
            (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
            if update == 0:
                with torch.no_grad():
                    model.head[:, 0] += 0.5
    arm = ledger.ledger().summary()["arms"]["run"]
    rows = ledger.to_frame()
    moved = rows["entropy_before"].iloc[1] - rows["entropy"].iloc[0]
    assert abs(moved) > 1e-3
    assert arm["unaccounted"] == pytest.approx(moved, abs=1e-14)
    assert arm["measured"] == pytest.approx(arm["entropy_end"] - arm["entropy_start"], abs=1e-14)


def test_sampled_positions_are_unbiased_with_their_error():
    """Over all choices of one position in turn the mean is that of all positions; and the error is that of a sample."""
    model, optimizer = made()
    contexts, *_ = sample(model, 0)
    every = EntropyLedger(model, optimizer, logits=logits_of, every=1, probe=[contexts[:5], contexts[5:]])
    train(every, model, optimizer, rollouts=1, updates=1)
    change, chosen = every.rows[0]["measured"], []
    for seed in range(40):
        model, optimizer = made()
        some = EntropyLedger(
            model, optimizer, logits=logits_of, every=1, probe=[contexts[:5], contexts[5:]], positions=8, seed=seed
        )
        train(some, model, optimizer, rollouts=1, updates=1)
        chosen.append((some.rows[0]["measured"], some.rows[0]["position_se"]))
    values, errors = np.array(chosen).T
    # 8 of 32 without replacement: the spread of the means is sqrt(1 - 8/32) of what position_se, of independent draws, says.
    spread = values.std(ddof=1)
    assert abs(values.mean() - change) < 5 * spread / np.sqrt(40)
    assert spread < np.sqrt((errors**2).mean())
    assert spread > 0.5 * np.sqrt((errors**2).mean())


def test_commands_read_the_folder(tmp_path):
    model, optimizer = made(torch.optim.AdamW, lr=0.05)
    seen = []
    with EntropyLedger(
        model, optimizer, logits=logits_of, every=1, out=tmp_path, name="mine", log=lambda v, k: seen.append((k, v))
    ) as ledger:
        train(ledger, model, optimizer, norm=0.1)
    assert [k for k, _ in seen] == list(range(6))
    assert seen[-1][1]["entclip/clip_low"] == ledger.rows[-1]["clip_low"]
    shown = CliRunner().invoke(app, ["ledger", str(tmp_path)], env={"COLUMNS": "80"}, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "norm" in shown.stdout
    assert "0.0% had no advantage (flat groups). The low bound could act on at most" in " ".join(shown.stdout.split())
    assert CliRunner().invoke(app, ["report", str(tmp_path)], catch_exceptions=False).exit_code == 0
    page = (tmp_path / "report.md").read_text()
    assert "recorded while it happened: the model Table, trained with AdamW by torch, 6 updates in 2 rollouts" in page
    assert "the high bound on at most" in page
    assert "Recorded in a training loop outside entclip, which alone can repeat it" in page
    refused = CliRunner().invoke(app, ["run", str(tmp_path / "experiment.toml")])
    assert isinstance(refused.exception, SpecError)
    assert "cannot run it" in str(refused.exception)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"old": a["old"][:, :-1]}, r"old_log_probs has shape \(8, 3\)"),
        (lambda a: a | {"advantages": a["advantages"][:-1]}, r"advantages has shape \(7"),
        (lambda a: a | {"old": a["old"].exp()}, "a log-probability is at most 0"),
        (lambda a: a | {"mask": a["mask"][:, :2]}, r"mask has shape \(8, 2\)"),
        (lambda a: a | {"mask": a["mask"] * 0.5}, r"mask holds 0\.5: it says what counts, 0 or 1"),
        (lambda a: a | {"weights": "mean"}, 'choose "token" or "sequence"'),
        (lambda a: a | {"weights": a["mask"][:1].double()}, r"weights has shape \(1, 4\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, message):
    model, optimizer = made()
    ledger = EntropyLedger(model, optimizer, logits=logits_of)
    contexts, actions, old, advantages, mask = sample(model, 0)
    log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
    with pytest.raises(SpecError, match="before the first rollout"):
        ledger.minibatch(log_probs, old, advantages, mask)
    with pytest.raises(SpecError, match="no probe set"):
        ledger.rollout()
    ledger.rollout(contexts)
    given = change({"old": old, "advantages": advantages, "mask": mask, "weights": "token"})
    with pytest.raises(ValueError, match=message):
        ledger.minibatch(log_probs, given["old"], given["advantages"], given["mask"], weights=given["weights"])


def test_a_loss_weighed_otherwise_is_said():
    model, optimizer = made()
    ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1)
    contexts, actions, old, advantages, mask = sample(model, 0)
    ledger.rollout(contexts)
    log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
    ledger.minibatch(log_probs, old, advantages, mask)
    (-(torch.exp(log_probs - old) * advantages[:, None] * mask).sum()).backward()
    with pytest.raises(SpecError, match=f"it is {float(mask.sum()):.4g} times as long, the cosine between them 1.0000"):
        optimizer.step()


def test_no_such_setting():
    model, optimizer = made()
    for options, message in (({"every": 0}, "every = 0"), ({"positions": 0}, "positions = 0"), ({"temperature": 0.0}, "above 0")):
        with pytest.raises(SpecError, match=message):
            EntropyLedger(model, optimizer, logits=logits_of, **options)
