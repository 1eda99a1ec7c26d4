"""What weight decay decays: the parameters of a table are its logits, and these start at log pi, whatever constant a file adds.

With rewards that are all equal every advantage is 0, so the optimiser sees decay alone, and its path is known in closed form.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from entclip import Experiment, run

LOGITS = np.array([[2.0, 1.0, 0.3, 0.0, -1.5], [0.1, 0.0, 0.0, 0.5, 3.0]])
RATE, DECAY, UPDATES = 0.05, 0.4, 6
BETAS, EPS = (0.9, 0.999), 1e-8
CLOSE = 1e-12  # nats, of an entropy below log 5 after six updates in float64


def entropies_of(constant: float, optimizer: str, engine: str, folder: Path) -> np.ndarray:
    """The mean entropy before the first and after each update."""
    np.save(folder / f"{constant}.npy", LOGITS + constant)
    experiment = Experiment(
        name="decay",
        policy={"kind": "file", "path": str(folder / f"{constant}.npy")},
        reward={"kind": "bernoulli", "p": 1e-12},
        advantage={"kind": "group", "size": 2},
        update={
            "geometry": "euclidean",
            "optimizer": optimizer,
            "weight_decay": DECAY,
            "betas": BETAS,
            "eps": EPS,
            "learning_rate": RATE,
            "batch": 4,
            "minibatches": UPDATES,
            "rollouts": 1,
        },
        arm=[{"name": "both", "low": 0.2, "high": 0.2}],
    )
    frame = run(experiment, engine=engine).to_frame()
    assert (frame["unclipped"] == 0).all(), "equal rewards have no advantage"
    assert frame["weight_decay"].abs().max() > 1e-3
    return np.array([frame["entropy_before"].iloc[0], *frame["entropy"]])


def by_hand(theta: np.ndarray, optimizer: str) -> np.ndarray:
    """The same from the definition of the optimiser, on parameters theta."""
    out, first, second = [entropy(theta)], np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, UPDATES + 1):
        if optimizer == "adamw":  # the parameter shrinks; the gradient is 0, and with it the moments
            theta = theta * (1 - RATE * DECAY)
        else:  # decay is the gradient
            gradient = -DECAY * theta
            first = BETAS[0] * first + (1 - BETAS[0]) * gradient
            second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
            theta = theta + RATE * first / (1 - BETAS[0] ** step) / (np.sqrt(second / (1 - BETAS[1] ** step)) + EPS)
        out.append(entropy(theta))
    return np.array(out)


def entropy(theta: np.ndarray) -> float:
    log_probs = theta - np.log(np.exp(theta).sum(axis=-1, keepdims=True))
    return float(-(np.exp(log_probs) * log_probs).sum(axis=-1).mean())


def log_probs_of(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("engine", ["tokens", "reduced"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_decay_acts_on_log_pi(optimizer: str, engine: str, tmp_path: Path) -> None:
    wanted = by_hand(log_probs_of(LOGITS), optimizer)
    for constant in (0.0, 7.0):
        found = entropies_of(constant, optimizer, engine, tmp_path)
        assert np.abs(found - wanted).max() < CLOSE, constant
    assert wanted[-1] - wanted[0] > 1e-3, "decay pulls towards uniform"
    if optimizer == "adam":
        # The falsifier: decay of the logits as the file has them is another path. AdamW shows no constant: softmax drops it.
        assert np.abs(by_hand(LOGITS + 7.0, optimizer) - wanted).max() > 1e-3
