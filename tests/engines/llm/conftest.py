"""Language models of the tests: the tiny model with its initial weights, which needs no training."""

import pytest
import torch

from entclip import load

ARM = 'arm=[{name="both", low=0.2, high=0.2}]'


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small():
    """A short experiment on untrained weights, with overrides."""

    def make(*overrides):
        base = [
            "policy.model=untrained",
            "replicas=2",
            "antithetic=false",
            "update.batch=16",
            "update.minibatches=4",
            "rollout.probes=4",
            "ledger.momentum=line",
            ARM,
        ]
        return load("llm_headline", [*base, *overrides])

    return make
