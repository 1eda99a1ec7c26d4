"""The ledger inside TRL where only LoRA's adapters are trained, by peft itself."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trl", reason="needs the trl extra")
peft = pytest.importorskip("peft", reason="needs the test extra")

from entclip.integrations.trl import EntropyLedger  # noqa: E402
from tests.integrations.test_trl import Independent  # noqa: E402
from tests.integrations.tiny import tiny_trainer  # noqa: E402


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_adapters_alone_move_and_their_steps_are_the_causes(tmp_path):
    trainer = tiny_trainer(
        tmp_path,
        peft=peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]),
        learning_rate=2e-2,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=4,
        steps_per_generation=8,
        num_iterations=2,
    )
    assert isinstance(trainer.model, peft.PeftModel)
    trained = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    ledger = EntropyLedger(every=1).attach(trainer)
    independent = Independent(trainer, ledger)
    trainer.add_callback(independent)
    trainer.train()
    frame = ledger.ledger.to_frame()
    before, after, first, scale = np.array(independent.found).T
    assert len(frame) == 8
    assert np.abs(frame["measured"] - (after - before)).max() < 1e-6
    causes = frame[["unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay", "norm_clip"]].sum(axis=1)
    assert np.all(np.abs(causes - first) < 64 * 2.0**-24 * (1 + scale))  # as without adapters
    assert (frame["measured"].iloc[1:] != 0).all()
    assert (frame[["clip_fraction_low", "clip_fraction_high"]] > 0).any(axis=None)
