"""The ledger inside TRL's GRPOTrainer: its numbers against TRL's own metrics, and against an evaluation that shares no code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

trl = pytest.importorskip("trl", reason="needs the trl extra")

from transformers import LlamaForCausalLM, TrainerCallback  # noqa: E402

from entclip.integrations.trl import EntropyLedger  # noqa: E402
from entclip.ledger.folder import open_run  # noqa: E402
from entclip.support.errors import SpecError  # noqa: E402
from entclip.support.lock import folder_lock  # noqa: E402
from tests.integrations.tiny import tiny_model, tiny_trainer  # noqa: E402

# TRL and transformers warn of their own future and of experiments of theirs.
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::RuntimeWarning:torch")]


def _checked_at_every_update(ledger):
    """Make the comparison of the loss's gradient with the surrogate's one of every update, and not of the first alone."""

    class Always(TrainerCallback):
        def on_train_begin(self, args, state, control, **_):
            ledger.ledger._watch._comparison.wanted = lambda inner_step: True

    ledger._trainer.add_callback(Always())


def _logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if "loss" in entry and name in entry]


LOSSES = [
    ("grpo", "token"),
    ("bnpo", "token"),
    ("dr_grpo", "token"),
    ("dapo", "token"),
    ("luspo", "token"),
    ("cispo", "token"),
    ("sapo", "token"),
    ("grpo", "sequence"),
    ("dapo", "sequence"),
    ("luspo", "sequence"),
    ("cispo", "sequence"),
    ("sapo", "sequence"),
    ("bnpo", "sequence"),
    ("dr_grpo", "sequence"),
]


@pytest.mark.parametrize(("loss_type", "level"), LOSSES)
def test_every_loss_has_the_gradient_that_the_ledger_takes_apart(tmp_path, loss_type, level):
    options = {"epsilon_high": 1.3} if loss_type == "cispo" else {}
    options |= {"epsilon": 0.02} if level == "sequence" and loss_type != "cispo" else {}
    options["scale_rewards"] = {"bnpo": "batch", "dr_grpo": "none"}.get(loss_type, "group")
    trainer = tiny_trainer(
        tmp_path,
        loss_type=loss_type,
        importance_sampling_level=level,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=4,
        steps_per_generation=8,
        **options,
    )
    ledger = EntropyLedger(every=1).attach(trainer)
    _checked_at_every_update(ledger)  # which raises if they differ by a thousandth
    trainer.train()
    frame = ledger.ledger.to_frame()
    assert len(frame) == 8
    if loss_type == "sapo":
        assert (frame["other"] != 0).any()
    elif loss_type == "cispo":
        assert (frame["clip_high"] != 0).any()
        assert (frame["clip_low"] == 0).all()
    else:
        assert (frame["clip_high"] != 0).any()
        assert (frame["clip_low"] != 0).any()
    said = any("ratios of sequences" in note for note in ledger.ledger.notes)
    assert said == (level == "sequence")


class Independent(TrainerCallback):
    """Entropy of the probe set by TRL's own fused head before and after every step, its gradient, and the step."""

    def __init__(self, trainer, ledger):
        self.trainer, self.ledger, self.found = trainer, ledger, []

    def _entropy(self):
        block = self.ledger.ledger._probe.given[0]
        ids, attention = (torch.cat([block[f"prompt_{k}"], block[f"completion_{k}"]], 1) for k in ("ids", "mask"))
        model = self.trainer.model
        mode = model.training
        model.eval()
        _, entropies, _ = trl.GRPOTrainer._get_per_token_logps_and_entropies(
            self.trainer, model, ids, attention, block["completion_ids"].shape[1], compute_entropy=True
        )
        model.train(mode)
        return (entropies.double() * block["completion_mask"]).sum() / block["completion_mask"].sum()

    def on_pre_optimizer_step(self, args, state, control, **_):
        parameters = list(self.trainer.model.parameters())
        entropy = self._entropy()
        gradient = torch.autograd.grad(entropy, [p for p in parameters if p.requires_grad])
        self.before = float(entropy), gradient, [p.detach().clone() for p in parameters if p.requires_grad]

    def on_optimizer_step(self, args, state, control, **_):
        entropy, gradient, start = self.before
        moved = [
            p.detach() - s for p, s in zip([p for p in self.trainer.model.parameters() if p.requires_grad], start, strict=True)
        ]
        products = [(g * d).double() for g, d in zip(gradient, moved, strict=True)]
        first = sum(float(x.sum()) for x in products), sum(float(x.abs().sum()) for x in products)
        with torch.no_grad():
            self.found.append((entropy, float(self._entropy()), *first))


def test_a_run_of_twenty_steps_is_what_an_independent_evaluation_says(tmp_path):
    trainer = tiny_trainer(tmp_path / "trl", max_steps=20, logging_steps=1)
    ledger = EntropyLedger(tmp_path / "books", every=1).attach(trainer)
    independent = Independent(trainer, ledger)
    trainer.add_callback(independent)
    trainer.train()
    frame = ledger.ledger.to_frame()
    before, after, first, scale = np.array(independent.found).T
    assert len(frame) == len(first) == 20
    assert np.abs(frame["measured"] - (after - before)).max() < 1e-6
    assert np.abs(frame["entropy"] - after).max() < 1e-6
    causes = frame[["unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay", "norm_clip"]].sum(axis=1)
    # float32: 2^-24 of the sum of absolute terms for each of the two gradients and steps, and Adam's preconditioner in between.
    assert np.all(np.abs(causes - first) < 64 * 2.0**-24 * (1 + scale))
    for side in ("low", "high"):
        told = _logged(trainer, f"clip_ratio/{side}_mean")
        assert np.allclose(frame[f"clip_fraction_{side}"], told, rtol=0, atol=1e-7)
        assert max(told) > 0
    assert np.allclose(_logged(trainer, "entclip/measured"), frame["measured"], rtol=0, atol=1e-12)
    assert frame["inner_step"].tolist() == [0, 1, 2, 3] * 5
    rollouts = ledger.ledger.to_frame("rollouts")
    assert np.allclose(rollouts["reward"], [e["reward"] for e in trainer.state.log_history if "reward" in e])
    assert {"flat_groups", "response_tokens"} <= set(rollouts)
    run = open_run(tmp_path / "books")
    assert run.experiment().policy.program == f"TRL {trl.__version__}"
    assert run.summary()["arms"]["run"]["updates"] == 20


def test_training_is_the_same_with_a_ledger_and_without(tmp_path):
    weights = []
    for watched in (False, True):
        trainer = tiny_trainer(tmp_path)
        if watched:
            EntropyLedger(every=3).attach(trainer)
        trainer.train()
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_trainer_takes_one_ledger_once(tmp_path):
    trainer, ledger = tiny_trainer(tmp_path), EntropyLedger()
    ledger.attach(trainer)
    for again in (ledger, EntropyLedger()):
        with pytest.raises(SpecError, match=r"attach\(\) was called before"):
            again.attach(trainer)
    with pytest.raises(SpecError, match=r"attach\(\) was called before"):
        ledger.attach(tiny_trainer(tmp_path))


def test_penalties_and_bonuses_have_a_line_and_frozen_weights_none(tmp_path):
    tiny_model().save_pretrained(tmp_path / "start")  # TRL reads the reference policy of the KL penalty from a folder
    model = LlamaForCausalLM.from_pretrained(tmp_path / "start")
    trainer = tiny_trainer(
        tmp_path, model=model, beta=0.1, entropy_coef=0.05, frozen=("embed",), delta=2.0, num_iterations=2, scale_rewards="none"
    )
    ledger = EntropyLedger(every=1, positions=20).attach(trainer)
    trainer.train()
    frame = ledger.ledger.to_frame()
    assert (frame["bonus"] != 0).all()
    assert (frame["position_se"] > 0).all()
    assert frame["inner_step"].tolist() == list(range(8)), "two iterations over four minibatches are one rollout"


def test_a_checkpoint_holds_the_books(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 4, "logging_steps": 4, "num_train_epochs": 1}
    whole = tiny_trainer(tmp_path / "whole", **options)
    through = EntropyLedger(every=1).attach(whole)
    whole.train()
    half = tiny_trainer(tmp_path / "half", **options)
    EntropyLedger(tmp_path / "books", every=1).attach(half)
    half.args.max_steps = 4
    half.train()
    with pytest.raises(SpecError, match=r"has 4 updates of that training in its books: .* by trainer\.train\(resume_from"):
        half.train()
    rest = tiny_trainer(tmp_path / "rest", **options)
    resumed = EntropyLedger(tmp_path / "books", every=1).attach(rest)
    rest.train(resume_from_checkpoint=str(tmp_path / "half" / "checkpoint-4"))
    assert resumed.ledger.to_frame()["step"].tolist() == list(range(8))
    first = through.ledger.to_frame()["measured"].to_numpy()[:4]
    assert np.array_equal(resumed.ledger.to_frame()["measured"].to_numpy()[:4], first)
    books = open_run(tmp_path / "books").summary()["arms"]["run"]
    assert books["measured"] == pytest.approx(books["entropy_end"] - books["entropy_start"], abs=1e-12)


def _replaced(name):
    def elsewhere(self, *arguments, **options):
        raise AssertionError("never called")

    elsewhere.__module__ = "unsloth.models.rl"
    return type("UnslothGRPOTrainer", (trl.GRPOTrainer,), {name: elsewhere})


def test_what_the_ledger_would_not_see_is_refused(tmp_path, monkeypatch):
    trainer = tiny_trainer(tmp_path)

    def refused(message):
        with pytest.raises(SpecError, match=message):
            EntropyLedger().attach(trainer)

    for name in ("compute_loss", "_compute_loss"):
        monkeypatch.setattr(trainer, "__class__", _replaced(name))
        refused(rf"{name} of this trainer comes from unsloth\.models\.rl, not from TRL \(Unsloth")
        monkeypatch.undo()
    monkeypatch.setattr(trl, "__version__", "1.99.0")
    refused(r"TRL 1\.99\.0 is installed, and this ledger knows 1\.16")
    monkeypatch.undo()
    monkeypatch.setattr(trainer.args, "use_liger_kernel", True)
    refused("its fused kernels hide the logits")
    monkeypatch.undo()
    for changes, message in (
        ({"loss_type": "vespo"}, "loss_type = 'vespo' is not one that the ledger knows"),
        ({"loss_type": "cispo"}, r"epsilon_high = 0\.1 with loss_type = 'cispo': there it is the largest weight itself"),
    ):
        for key, value in changes.items():
            monkeypatch.setattr(trainer, key, value)
        refused(message)
        monkeypatch.undo()
    monkeypatch.setattr(trainer.args, "delta", 1.05)
    refused(r"delta = 1\.05 is within the band")
    monkeypatch.undo()
    with pytest.raises(SpecError, match="no GRPOTrainer"):
        EntropyLedger().attach(object())
    with pytest.raises(SpecError, match=r"never attached: call ledger\.attach"):
        EntropyLedger().on_train_begin(trainer.args, None, None)
    with pytest.raises(SpecError, match="the ledger is empty"):
        _ = EntropyLedger().ledger


def test_a_model_without_logits_is_refused(tmp_path):
    trainer = tiny_trainer(tmp_path)
    EntropyLedger(tmp_path / "books", every=1).attach(trainer)
    plain = trainer.model.forward

    def hidden(*arguments, logits_to_keep=0, **options):
        out = plain(*arguments, logits_to_keep=logits_to_keep, **options)
        if logits_to_keep and "labels" not in options and not options.get("use_cache", True):
            out.logits = None
        return out

    trainer.model.forward = hidden
    with pytest.raises(SpecError, match="the model gave no logits: a fused kernel"):
        trainer.train()
    # An error in training leaves the folder and the optimiser to whoever comes next in this process.
    assert not trainer.optimizer.optimizer._optimizer_step_post_hooks
    with folder_lock(tmp_path / "books"):
        pass
