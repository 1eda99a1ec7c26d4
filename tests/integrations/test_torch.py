"""The ledger inside a plain torch loop: the llm engine's numbers on the same tensors, and what can go wrong in a loop."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from entclip import load
from entclip.cli.app import app
from entclip.engines.base import Directive
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.precision import arithmetic
from entclip.engines.llm.replica import make_optimizer
from entclip.engines.llm.sampling import response_log_probs
from entclip.integrations.torch import EntropyLedger
from entclip.ledger.folder import open_run, read_frame
from entclip.support.errors import SpecError

CLOSE = {"float32": 1e-6, "float64": 1e-12}
PARTS = ("measured", "unclipped", "clip_low", "clip_high", "other", "curvature", "remainder", "entropy_before", "entropy", "kl",
         "pi_low", "pi_high", "mass_low", "mass_high", "log_ratio_sq", "clip_count_low", "clip_count_high", "count_plus",
         "count_minus", "removed_plus", "removed_minus", "ratio_max", "step_variance")  # fmt: skip


def _experiment(optimizer, aggregation, dtype):
    # Adam multiplies the rounding of small gradients, some 1e-9 in float32, by up to 1/eps: at 1e-8 no part is good to 1e-6.
    eps = {"float32": 1e-4, "float64": 1e-8}[dtype]
    rates = {"sgd": 0.5, "adam": 3e-3, "adamw": 3e-3}
    more = ["update.weight_decay=0.3", f"update.eps={eps}"] if optimizer != "sgd" else []
    return load(
        "llm_headline",
        ["policy.model=untrained", "replicas=1", "antithetic=false", "update.batch=16", "update.minibatches=4",
         "update.rollouts=1", "rollout.probes=4", "ledger.momentum=line", f"update.optimizer={optimizer}", *more,
         f"update.learning_rate={rates[optimizer]}", f"rollout.aggregation={aggregation}",
         'arm=[{name="both", low=0.1, high=0.1}]'],
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("optimizer", "aggregation"), [("sgd", "token"), ("adam", "sequence"), ("adamw", "token")])
def test_the_same_tensors_give_the_engines_numbers(optimizer, aggregation, dtype):
    spec = _experiment(optimizer, aggregation, dtype)
    engine, objective = LlmEngine(dtype=dtype), spec.arm[0].build()
    state = engine.start(spec, objective)
    state, rollout = engine.roll_out(state)
    replica, responses, rules = state.replicas[0], rollout.responses[0], spec.rollout_rules
    model = copy.deepcopy(replica.language.model)
    own = make_optimizer(spec.update, model)
    probe = replica.probe
    with arithmetic(dtype, "cpu"):
        ledger = EntropyLedger(
            model, own, clip=objective, every=1, probe=probe.blocks,
            logits=lambda m, block: response_log_probs(m, block, 1.0, probe.dtype, full=True)[block.mask],
        )  # fmt: skip
        ledger.rollout(reward=0.5)
    for minibatch in rollout:
        # From the same weights and moments, bit for bit: rounding of one update is no difference between two ledgers.
        model.load_state_dict(replica.language.model.state_dict())
        own.load_state_dict(copy.deepcopy(replica.optimizer.state_dict()))
        state, entry = engine.step(state, rollout, minibatch, Directive())
        rows = slice(minibatch.index * 16, minibatch.index * 16 + 16)
        batch, old, advantages = responses.sequences[rows], responses.old_log_probs[rows], responses.advantages[rows]
        with arithmetic(dtype, "cpu"):
            log_probs = response_log_probs(model, batch, rules.temperature, probe.dtype)
            ledger.minibatch(log_probs, old, advantages, batch.mask, weights=aggregation)
            ratio = torch.exp(log_probs - old)
            gain = torch.minimum(ratio * advantages, ratio.clamp(0.9, 1.1) * advantages) * batch.mask
            loss = gain.sum() / batch.mask.sum() if aggregation == "token" else (gain.sum(1) / batch.mask.sum(1)).mean()
            (-loss).backward()
            own.step()
            own.zero_grad()
        row = ledger.rows[-1]
        for name in (*PARTS, *(["momentum", "weight_decay"] if optimizer != "sgd" else [])):
            assert row[name] == pytest.approx(float(entry.columns[name][0]), rel=CLOSE[dtype], abs=CLOSE[dtype]), name
    assert sum(row["clip_count_high"] for row in ledger.rows) > 0
    assert sum(row["clip_count_low"] for row in ledger.rows) > 0
    with arithmetic(dtype, "cpu"):
        ledger.close()
    summary = ledger.ledger().summary()["arms"]["run"]
    assert summary["skipped"] == 0
    assert summary["unaccounted"] == pytest.approx(0, abs=CLOSE[dtype]), "but for the weights that were set to the engine's"


V = 7


class Table(torch.nn.Module):
    """A small policy: a table of embeddings and a head, contexts are numbers."""

    def __init__(self, seed=0, dtype=torch.float64):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.embedding = torch.nn.Parameter(torch.randn(12, 5, generator=g, dtype=dtype))
        self.head = torch.nn.Parameter(0.7 * torch.randn(5, V, generator=g, dtype=dtype))
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, contexts):
        return self.drop(self.embedding[contexts]) @ self.head


def _logits(model, contexts):
    return model(contexts)


def _sample(model, seed, rows=8, length=4):
    g = torch.Generator().manual_seed(seed)
    contexts = torch.randint(12, (rows, length), generator=g)
    with torch.no_grad():
        log_probs = torch.log_softmax(model(contexts), -1)
    actions = torch.multinomial(log_probs.exp().reshape(-1, V), 1, generator=g).reshape(rows, length)
    mask = torch.arange(length) < torch.randint(1, length + 1, (rows, 1), generator=g)
    advantages = torch.randn(rows, generator=g, dtype=log_probs.dtype)
    return contexts, actions, log_probs.gather(-1, actions[..., None])[..., 0], advantages, mask


def _train(ledger, model, optimizer, rollouts=2, updates=3, *, norm=None, penalty=0.0, first=0):
    """A training loop as a user has it: clipped surrogate, perhaps an entropy bonus and a limit on the gradient's norm."""
    for rollout in range(first, first + rollouts):
        contexts, actions, old, advantages, mask = _sample(model, rollout)
        ledger.rollout(contexts)
        for _ in range(updates):
            every = torch.log_softmax(model(contexts).float() if old.dtype == torch.bfloat16 else model(contexts), -1)
            log_probs = every.gather(-1, actions[..., None])[..., 0]
            old = old.to(log_probs.dtype)
            ledger.minibatch(log_probs, old, advantages, mask)
            ratio, a = torch.exp(log_probs - old), advantages[:, None]
            loss = -(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()
            loss = loss + penalty * (every.exp() * every).sum(-1).mean()
            loss.backward()
            if norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), norm)
            optimizer.step()
            optimizer.zero_grad()
    return ledger


def _made(kind=torch.optim.SGD, seed=0, dtype=torch.float64, **options):
    model = Table(seed, dtype).eval()
    optimizer = kind(model.parameters(), **({"lr": 1.0} | options))
    return model, optimizer


def _causes(row):
    return {c: row[c] for c in OPTIMISER if c in row}


OPTIMISER = ("unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay", "bonus", "norm_clip", "whole_step")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"lr": 1.0}),
        (torch.optim.SGD, {"lr": 0.3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        (torch.optim.Adam, {"lr": 0.05, "amsgrad": True, "weight_decay": 0.02}),
        (torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}),
    ],
)
def test_norm_clip_and_bonus_have_lines_of_their_own_and_all_adds_up(kind, options):
    model, optimizer = _made(kind, **options)
    ledger = EntropyLedger(model, optimizer, logits=_logits, every=1, bonus=True)
    _train(ledger, model, optimizer, norm=0.01, penalty=0.03)
    ledger.close()
    frame = ledger.to_frame()
    assert len(frame) == 6
    parts = frame[[c for c in OPTIMISER if c in frame]].fillna(0.0)
    assert np.allclose(parts.sum(axis=1) + frame["curvature"] + frame["remainder"], frame["measured"], rtol=0, atol=1e-14)
    # Second order in the step: measured and the first order differ by far less than either.
    assert np.abs(frame["remainder"]).max() < 0.1 * np.abs(parts).to_numpy().max()
    assert (parts["norm_clip"] != 0).all(), "a limit of .01 is always reached"
    assert (parts["bonus"] > 0).all(), "an entropy bonus raises entropy"
    # Without momentum the limit scales every cause alike: norm_clip = (factor - 1) x the others.
    if kind is torch.optim.SGD and "momentum" not in options:
        rest = parts.drop(columns="norm_clip").sum(axis=1)
        factor = 1 + parts["norm_clip"] / rest
        assert ((factor > 0) & (factor < 1)).all()
    without = EntropyLedger(model, optimizer, logits=_logits, every=1)
    with pytest.raises(SpecError, match=r"not that of the clipped surrogate.*bonus=True"):
        _train(without, model, optimizer, penalty=0.5)


def test_the_loop_trains_as_it_would_without_a_ledger():
    plain, watched = _made(torch.optim.AdamW, lr=0.05), _made(torch.optim.AdamW, lr=0.05)

    class Nobody:
        def rollout(self, contexts): ...
        def minibatch(self, *arguments): ...

    torch.manual_seed(1)
    plain[0].train()
    _train(Nobody(), *plain, norm=0.5)
    torch.manual_seed(1)
    watched[0].train()
    with EntropyLedger(*watched, logits=_logits, every=2) as ledger:
        _train(ledger, *watched, norm=0.5)
    assert all(torch.equal(a, b) for a, b in zip(plain[0].parameters(), watched[0].parameters(), strict=True))
    assert watched[0].training
    assert watched[0].drop.training
    assert len(ledger.rows) == 3
    assert not watched[0].embedding._post_accumulate_grad_hooks


def test_another_optimiser_has_one_line_and_says_so(tmp_path):
    model, optimizer = _made(torch.optim.Adagrad, lr=0.1)
    with EntropyLedger(model, optimizer, logits=_logits, every=1, out=tmp_path) as ledger:
        _train(ledger, model, optimizer)
    frame = ledger.to_frame()
    assert (frame[["unclipped", "clip_low", "clip_high", "other"]] == 0).all(axis=None)
    assert np.allclose(frame["whole_step"] + frame["curvature"] + frame["remainder"], frame["measured"], rtol=0, atol=1e-14)
    assert "steps of Adagrad are not split" in open_run(tmp_path).experiment().description


def test_bfloat16_weights_have_their_rounding_in_a_line():
    model, optimizer = _made(dtype=torch.bfloat16, lr=0.5)
    with EntropyLedger(model, optimizer, logits=_logits, every=1) as ledger:
        _train(ledger, model, optimizer)
    frame = ledger.to_frame()
    assert (frame["whole_step"] != 0).any()
    assert np.abs(frame["whole_step"]).max() < np.abs(frame["unclipped"]).max()
    causes = frame[[c for c in OPTIMISER if c in frame]].sum(axis=1)
    assert np.allclose(causes + frame["curvature"] + frame["remainder"], frame["measured"], rtol=0, atol=1e-12)


def test_accumulated_minibatches_are_one():
    whole, parts = _made(lr=0.7), _made(lr=0.7)
    books = []
    for (model, optimizer), cuts in ((whole, [slice(0, 8)]), (parts, [slice(0, 4), slice(4, 8)])):
        ledger = EntropyLedger(model, optimizer, logits=_logits, every=1)
        contexts, actions, old, advantages, mask = _sample(model, 5)
        ledger.rollout(contexts)
        for _ in range(2):
            for rows in cuts:
                every = torch.log_softmax(model(contexts[rows]), -1)
                log_probs = every.gather(-1, actions[rows][..., None])[..., 0]
                share = mask[rows] / mask.sum()
                ledger.minibatch(None, old[rows], advantages[rows], mask[rows], weights=share,
                                 logits=every, actions=actions[rows])  # fmt: skip
                ratio, a = torch.exp(log_probs - old[rows]), advantages[rows][:, None]
                (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * share).sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
        ledger.close()
        books.append(ledger.to_frame().select_dtypes("number"))
    assert np.allclose(*books, rtol=0, atol=1e-13, equal_nan=True)


def test_what_a_rollout_cannot_tell_is_said(tmp_path):
    """NaN gradients, empty completions, all rewards equal, a group of one: no row where there is nothing to say, and why."""
    model, optimizer = _made()
    ledger = EntropyLedger(model, optimizer, logits=_logits, every=1, out=tmp_path)
    contexts, actions, old, advantages, mask = _sample(model, 0)

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
    model, optimizer = _made()
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(SpecError, match="trains no parameter of the model"):
        EntropyLedger(model, other, logits=_logits)
    for p in model.parameters():
        p.requires_grad_(False)
    with pytest.raises(SpecError, match="trains no parameter of the model"):
        EntropyLedger(model, optimizer, logits=_logits)


def test_a_changed_probe_set_is_refused():
    model, optimizer = _made()
    probe = [torch.arange(6), torch.arange(6, 12)]
    ledger = EntropyLedger(model, optimizer, logits=_logits, probe=probe, every=1)
    _train(ledger, model, optimizer, rollouts=1)
    probe[1][0] = 3
    with pytest.raises(SpecError, match="probe set has changed"):
        _train(ledger, model, optimizer, rollouts=1)


def test_a_resumed_run_goes_on_where_it_was(tmp_path):
    through, halves = _made(torch.optim.AdamW, lr=0.05), _made(torch.optim.AdamW, lr=0.05)
    with EntropyLedger(*through, logits=_logits, every=2) as whole:
        _train(whole, *through, rollouts=4)
    with EntropyLedger(*halves, logits=_logits, every=2, out=tmp_path) as first:
        _train(first, *halves, rollouts=2)
    saved = copy.deepcopy({"model": halves[0].state_dict(), "optimizer": halves[1].state_dict(), "ledger": first.state_dict()})
    model, optimizer = _made(torch.optim.AdamW, lr=0.05, seed=9)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    stranger = EntropyLedger(model, optimizer, logits=_logits, every=2, out=tmp_path)
    with pytest.raises(SpecError, match=r"holds manifest\.json, of another run.*load_state_dict"):
        stranger.rollout(torch.arange(12))
    stranger.close()
    other = EntropyLedger(model, optimizer, logits=_logits, every=2, probe=[torch.arange(3)])
    with pytest.raises(SpecError, match="not that of the run it resumes"):
        other.load_state_dict(saved["ledger"])
    other.close()
    with EntropyLedger(model, optimizer, logits=_logits, every=2, out=tmp_path) as second:
        second.load_state_dict(saved["ledger"])
        _train(second, model, optimizer, rollouts=2, first=2)
    assert second.to_frame().equals(whole.to_frame())
    assert np.allclose(read_frame(tmp_path)["measured"], whole.to_frame()["measured"], rtol=0, atol=0)
    assert second.to_frame("rollouts").equals(whole.to_frame("rollouts"))


def test_weights_that_moved_outside_the_optimiser_are_not_accounted():
    model, optimizer = _made()
    with EntropyLedger(model, optimizer, logits=_logits, every=1) as ledger:
        contexts, actions, old, advantages, mask = _sample(model, 0)
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
    model, optimizer = _made()
    contexts, *_ = _sample(model, 0)
    every = EntropyLedger(model, optimizer, logits=_logits, every=1, probe=[contexts[:5], contexts[5:]])
    _train(every, model, optimizer, rollouts=1, updates=1)
    change, chosen = every.rows[0]["measured"], []
    for seed in range(40):
        model, optimizer = _made()
        some = EntropyLedger(
            model, optimizer, logits=_logits, every=1, probe=[contexts[:5], contexts[5:]], positions=8, seed=seed
        )
        _train(some, model, optimizer, rollouts=1, updates=1)
        chosen.append((some.rows[0]["measured"], some.rows[0]["position_se"]))
    values, errors = np.array(chosen).T
    # 8 of 32 without replacement: the spread of the means is sqrt(1 - 8/32) of what position_se, of independent draws, says.
    spread = values.std(ddof=1)
    assert abs(values.mean() - change) < 5 * spread / np.sqrt(40)
    assert spread < np.sqrt((errors**2).mean())
    assert spread > 0.5 * np.sqrt((errors**2).mean())


def test_commands_read_the_folder(tmp_path):
    model, optimizer = _made(torch.optim.AdamW, lr=0.05)
    seen = []
    with EntropyLedger(
        model, optimizer, logits=_logits, every=1, out=tmp_path, name="mine", log=lambda v, k: seen.append((k, v))
    ) as ledger:
        _train(ledger, model, optimizer, norm=0.01)
    assert [k for k, _ in seen] == list(range(6))
    assert seen[-1][1]["entclip/clip_low"] == ledger.rows[-1]["clip_low"]
    shown = CliRunner().invoke(app, ["ledger", str(tmp_path)], env={"COLUMNS": "80"}, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "norm" in shown.stdout
    assert CliRunner().invoke(app, ["report", str(tmp_path)], catch_exceptions=False).exit_code == 0
    page = (tmp_path / "report.md").read_text()
    assert "recorded while it happened: the model Table, trained with AdamW by torch, 6 updates in 2 rollouts" in page
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
        (lambda a: a | {"weights": "mean"}, 'choose "token" or "sequence"'),
        (lambda a: a | {"weights": a["mask"][:1].double()}, r"weights has shape \(1, 4\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, message):
    model, optimizer = _made()
    ledger = EntropyLedger(model, optimizer, logits=_logits)
    contexts, actions, old, advantages, mask = _sample(model, 0)
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
    model, optimizer = _made()
    ledger = EntropyLedger(model, optimizer, logits=_logits, every=1)
    contexts, actions, old, advantages, mask = _sample(model, 0)
    ledger.rollout(contexts)
    log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
    ledger.minibatch(log_probs, old, advantages, mask)
    (-(torch.exp(log_probs - old) * advantages[:, None] * mask).sum()).backward()
    with pytest.raises(SpecError, match=f"it is {float(mask.sum()):.4g} times as long, the cosine between them 1.0000"):
        optimizer.step()


def test_no_such_setting():
    model, optimizer = _made()
    for options, message in (({"every": 0}, "every = 0"), ({"positions": 0}, "positions = 0"), ({"temperature": 0.0}, "above 0")):
        with pytest.raises(SpecError, match=message):
            EntropyLedger(model, optimizer, logits=_logits, **options)
