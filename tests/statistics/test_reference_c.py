"""Reference C: one euclidean update at pi != pi_old, where first and second order are known and a sampled mean is published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from entclip.experiments.experiment import parse_experiment
from entclip.runs.runner import run


@pytest.mark.statistical
@pytest.mark.parametrize(("eta", "published", "published_se"), [(1.0, 0.006313, 0.000045), (4.0, 0.019384, 0.000190)])
def test_sampled_update_agrees_with_theory_and_with_the_published_mean(eta, published, published_se):
    experiment = parse_experiment(
        {
            "policy": {"kind": "zipf", "vocab": 64},
            "perturbation": {"law": "array", "values": tuple(0.3 * np.sin(np.arange(1, 65)))},
            "update": {"geometry": "euclidean", "learning_rate": eta, "batch": 1024, "minibatches": 1, "rollouts": 1},
            "replicas": 20_000,
        }
    )
    arm = run(experiment).summary()["arms"]["both"]
    assert arm["verdict"] == "agree"
    assert abs(arm["measured"] - published) <= 5 * math.hypot(arm["measured_se"], published_se)
    assert math.isclose(arm["expected_clip_low"] + arm["expected_clip_high"], eta * (0.0127347 - 0.0058286), rel_tol=1e-4)
    # Curvature must be seen: the first order alone is rejected.
    first = arm["expected_clip_low"] + arm["expected_clip_high"]
    assert abs(arm["measured_cv"] - first) > 5 * arm["measured_cv_se"]
