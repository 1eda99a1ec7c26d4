"""Steps that hold more than the optimiser makes of its gradients, and loops that end in an error."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from entclip.cli.app import app
from entclip.integrations.recording.turns import Turns
from entclip.integrations.torch import EntropyLedger
from entclip.ledger.folder import open_run
from entclip.support.errors import SpecError
from tests.integrations.loops import Table, logits_of, made, train


def _clamp(model):
    def hook(*_):
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-0.7, 0.7)

    return hook


def test_a_hook_that_changes_the_step_has_a_line_of_its_own(tmp_path):
    def rows(out, hooked):
        model, optimizer = made(torch.optim.AdamW, lr=0.05)
        if hooked:
            _clamp(model)()
            optimizer.register_step_post_hook(_clamp(model))
        with EntropyLedger(model, optimizer, logits=logits_of, every=1, out=out) as ledger:
            train(ledger, model, optimizer)
        return ledger

    plain, hooked = rows(tmp_path / "plain", False), rows(tmp_path / "hooked", True)
    assert "whole_step" not in plain.rows[0]
    causes = ("unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay", "norm_clip", "whole_step")
    for row in hooked.rows:
        assert row["measured"] == pytest.approx(sum(row[c] for c in (*causes, "curvature", "remainder")), abs=1e-13)
    assert max(abs(row["whole_step"]) for row in hooked.rows) > 1e-3
    assert "a hook of the optimiser changes" in open_run(tmp_path / "hooked").experiment().description
    assert CliRunner().invoke(app, ["ledger", str(tmp_path / "hooked")]).exit_code == 0


def test_a_gradient_changed_after_the_ledgers_hook_and_a_rounded_learning_rate_are_no_error():
    for spoil in ("gradient", "rate"):
        model, optimizer = made(torch.optim.AdamW, lr=torch.tensor(0.05) if spoil == "rate" else 0.05, weight_decay=0.1)
        with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
            if spoil == "gradient":
                optimizer.register_step_pre_hook(
                    lambda o, *_: [p.grad.mul_(0.5) for g in o.param_groups for p in g["params"]][:0] or None
                )
            train(ledger, model, optimizer, rollouts=1)
        assert len(ledger.rows) == 3
        assert any("a learning rate in float32" in note for note in ledger.notes)


def test_adam_with_decoupled_decay_is_adamw():
    rows = []
    for kind, more in ((torch.optim.AdamW, {}), (torch.optim.Adam, {"decoupled_weight_decay": True})):
        model, optimizer = made(kind, lr=0.05, weight_decay=0.1, **more)
        with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
            train(ledger, model, optimizer, rollouts=1)
        rows.append([row["weight_decay"] for row in ledger.rows])
    assert rows[0] == rows[1]
    assert rows[0][0] != 0


def test_the_loss_is_compared_under_an_optimiser_that_is_not_split():
    model, optimizer = made(torch.optim.RMSprop, lr=0.01)
    with pytest.raises(SpecError, match="not that of the clipped surrogate"):
        train(EntropyLedger(model, optimizer, logits=logits_of, every=1), model, optimizer, penalty=0.5)
    model, optimizer = made(torch.optim.RMSprop, lr=0.1)
    with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
        train(ledger, model, optimizer, updates=8)
    assert not any("was compared" in note for note in ledger.notes)


def test_after_an_error_the_corrected_cell_works(tmp_path):
    model, optimizer = made()
    bad = EntropyLedger(model, optimizer, logits=logits_of, every=1, out=tmp_path)
    with pytest.raises(SpecError, match="out="):
        EntropyLedger(model, optimizer, logits=logits_of, out=tmp_path)
    with pytest.raises(SpecError, match="not that of the clipped surrogate"):
        train(bad, model, optimizer, penalty=0.5)
    optimizer.zero_grad()
    with EntropyLedger(model, optimizer, logits=logits_of, every=1, out=tmp_path) as ledger:
        train(ledger, model, optimizer)
    assert (len(bad.rows), len(ledger.rows)) == (0, 6)


def test_parameters_that_train_later_are_seen():
    """Those that trained from the beginning, and those given to the optimiser in the second rollout."""
    for later in ("grad", "group"):
        model = Table().eval()
        model.head.requires_grad_(later != "grad")
        optimizer = torch.optim.SGD(list(model.parameters()) if later == "grad" else [model.embedding], lr=1.0)
        with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
            train(ledger, model, optimizer, rollouts=1)
            if later == "grad":
                model.head.requires_grad_(True)
            else:
                optimizer.add_param_group({"params": [model.head]})
            optimizer.zero_grad()
            train(ledger, model, optimizer, rollouts=1, first=1)
        assert len(ledger.rows) == 6
        assert "From update 3 on, other parameters train than before it." in ledger.notes
        # Halving the step of a smooth function divides the remainder by 8; a part left out would be of first order.
        assert all(abs(row["remainder"]) < abs(row["curvature"]) for row in ledger.rows)


def test_what_cannot_be_accounted_is_said_in_a_sentence():
    model, optimizer = made()
    for logits, words in ((torch.no_grad()(logits_of), "without a graph"), (lambda m, c: (m(c),), "returned a tuple")):
        optimizer.zero_grad()
        with pytest.raises(SpecError, match=words):
            train(EntropyLedger(model, optimizer, logits=logits, every=1), model, optimizer)
    sparse = torch.nn.Embedding(12, 7, sparse=True)
    with pytest.raises(SpecError, match="sparse=True"):
        EntropyLedger(sparse, torch.optim.SGD(sparse.parameters(), lr=1.0), logits=logits_of)
    optimizer.zero_grad()
    with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
        train(ledger, model, optimizer, rollouts=1, updates=1)
        with pytest.warns(RuntimeWarning, match="was given a closure"):
            optimizer.step(lambda: 0.0)


def test_an_every_that_shares_a_factor_with_the_updates_is_named():
    def note(every, updates, rollouts=4):
        turns = Turns(every)
        for k in range(rollouts * updates):
            if k % every == 0:
                turns.row(k % updates)
            if k % updates == updates - 1:
                turns.rollout(updates)
        return turns.note()

    assert note(17, 4) is None
    assert note(3, 1) is None
    assert "Only first updates" in note(4, 4)
    assert note(4, 4).endswith("such as 5.")
    assert "no clip can act" in note(8, 4)
    assert note(6, 4).startswith("Only updates 0, 2 of rollouts are accounted for, every = 6 with 4 updates a rollout. Choose")


def test_reports_do_not_say_that_the_clip_never_acted_where_only_first_updates_were_seen(tmp_path):
    model, optimizer = made(lr=3.0)
    with EntropyLedger(model, optimizer, logits=logits_of, every=4, out=tmp_path) as ledger:
        train(ledger, model, optimizer, rollouts=3, updates=4)
    said = " ".join(CliRunner().invoke(app, ["ledger", str(tmp_path)]).output.split())
    assert "only first updates of rollouts were accounted for" in said
    assert "never acted" not in said
