"""The ledger inside a plain torch loop: the llm engine's numbers on the same tensors, and every cause of a step."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from entclip import load
from entclip.engines.base import Directive
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.precision import arithmetic
from entclip.engines.llm.replica import make_optimizer
from entclip.engines.llm.sampling import response_log_probs
from entclip.integrations.torch import EntropyLedger
from entclip.ledger.folder import open_run
from entclip.report.explain import explain, ledger_figure, stories_grid
from entclip.report.grid import causes_grid
from entclip.support.errors import SpecError
from tests.integrations.loops import logits_of, made, sample, train

CLOSE = {"float32": 1e-6, "float64": 1e-12}
PARTS = (
    "measured",
    "unclipped",
    "clip_low",
    "clip_high",
    "other",
    "curvature",
    "remainder",
    "entropy_before",
    "entropy",
    "kl",
    "pi_low",
    "pi_high",
    "mass_low",
    "mass_high",
    "log_ratio_sq",
    "clip_count_low",
    "clip_count_high",
    "count_plus",
    "count_minus",
    "removed_plus",
    "removed_minus",
    "ratio_max",
    "step_variance",
)


def _experiment(optimizer, aggregation, dtype):
    # Adam multiplies the rounding of small gradients, some 1e-9 in float32, by up to 1/eps: at 1e-8 no part is good to 1e-6.
    eps = {"float32": 1e-4, "float64": 1e-8}[dtype]
    rates = {"sgd": 0.5, "adam": 3e-3, "adamw": 3e-3}
    more = ["update.weight_decay=0.3", f"update.eps={eps}"] if optimizer != "sgd" else []
    return load(
        "llm_headline",
        [
            "policy.model=untrained",
            "replicas=1",
            "antithetic=false",
            "update.batch=16",
            "update.minibatches=4",
            "update.rollouts=1",
            "rollout.probes=4",
            "ledger.momentum=line",
            f"update.optimizer={optimizer}",
            *more,
            f"update.learning_rate={rates[optimizer]}",
            f"rollout.aggregation={aggregation}",
            'arm=[{name="both", low=0.1, high=0.1}]',
        ],
    )


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
            model,
            own,
            clip=objective,
            every=1,
            probe=probe.blocks,
            logits=lambda m, block: response_log_probs(m, block, 1.0, probe.dtype, full=True)[block.mask],
        )
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
    model, optimizer = made(kind, **options)
    ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1, bonus=True)
    train(ledger, model, optimizer, norm=0.01, penalty=0.03)
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
    without = EntropyLedger(model, optimizer, logits=logits_of, every=1)
    with pytest.raises(SpecError, match=r"not that of the clipped surrogate.*bonus=True"):
        train(without, model, optimizer, penalty=0.5)


def test_the_loop_trains_as_it_would_without_a_ledger():
    plain, watched = made(torch.optim.AdamW, lr=0.05), made(torch.optim.AdamW, lr=0.05)

    class Nobody:
        def rollout(self, contexts): ...
        def minibatch(self, *arguments): ...

    torch.manual_seed(1)
    plain[0].train()
    train(Nobody(), *plain, norm=0.5)
    torch.manual_seed(1)
    watched[0].train()
    with EntropyLedger(*watched, logits=logits_of, every=2) as ledger:
        train(ledger, *watched, norm=0.5)
    assert all(torch.equal(a, b) for a, b in zip(plain[0].parameters(), watched[0].parameters(), strict=True))
    assert watched[0].training
    assert watched[0].drop.training
    assert len(ledger.rows) == 3
    assert not watched[0].embedding._post_accumulate_grad_hooks


def test_another_optimiser_has_one_line_and_says_so(tmp_path):
    model, optimizer = made(torch.optim.Adagrad, lr=0.1)
    with EntropyLedger(model, optimizer, logits=logits_of, every=1, out=tmp_path) as ledger:
        train(ledger, model, optimizer)
    frame = ledger.to_frame()
    assert frame[["unclipped", "clip_low", "clip_high", "other"]].isna().all(axis=None), "not known, which is not 0"
    assert np.allclose(frame["whole_step"] + frame["curvature"] + frame["remainder"], frame["measured"], rtol=0, atol=1e-14)
    run = open_run(tmp_path)
    assert "steps of Adagrad are not split" in run.experiment().description
    assert run.summary()["arms"]["run"]["clip_low"] is None
    for summaries in (run.summary()["arms"], {}):  # a folder, and its table alone
        (story,) = explain(run.frame(), summaries)
        assert story.unknown == ("unclipped", "clip_low", "clip_high", "other")
        assert any("what either side of the clip did to entropy is not known" in said for said in story.warnings)
        assert "clip low" not in stories_grid([story]).columns
        known = dataclasses.replace(story, parts=(*story.parts, ("clip_low", 1.0, None)), unknown=())
        table = stories_grid([known, story])
        assert [row[table.columns.index("clip low")].upper for row in table.rows] == ["+1.000", "-"]
    report = causes_grid(run.summary())
    assert {report.rows[0][report.columns.index(name)].upper for name in ("unclipped", "clip low", "clip high")} == {"-"}
    assert math.isfinite(story.measured[0])
    ledger_figure(frame, tmp_path / "causes.png")


def test_bfloat16_weights_have_their_rounding_in_a_line():
    model, optimizer = made(dtype=torch.bfloat16, lr=0.5)
    with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
        train(ledger, model, optimizer)
    frame = ledger.to_frame()
    assert (frame["whole_step"] != 0).any()
    assert np.abs(frame["whole_step"]).max() < np.abs(frame["unclipped"]).max()
    causes = frame[[c for c in OPTIMISER if c in frame]].sum(axis=1)
    assert np.allclose(causes + frame["curvature"] + frame["remainder"], frame["measured"], rtol=0, atol=1e-12)


def test_accumulated_minibatches_are_one():
    whole, parts = made(lr=0.7), made(lr=0.7)
    books = []
    for (model, optimizer), cuts in ((whole, [slice(0, 8)]), (parts, [slice(0, 4), slice(4, 8)])):
        ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1)
        contexts, actions, old, advantages, mask = sample(model, 5)
        ledger.rollout(contexts)
        for _ in range(2):
            for rows in cuts:
                every = torch.log_softmax(model(contexts[rows]), -1)
                log_probs = every.gather(-1, actions[rows][..., None])[..., 0]
                share = mask[rows] / mask.sum()
                ledger.minibatch(
                    None, old[rows], advantages[rows], mask[rows], weights=share, logits=every, actions=actions[rows]
                )
                ratio, a = torch.exp(log_probs - old[rows]), advantages[rows][:, None]
                (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * share).sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
        ledger.close()
        books.append(ledger.to_frame().select_dtypes("number"))
    assert np.allclose(*books, rtol=0, atol=1e-13, equal_nan=True)
