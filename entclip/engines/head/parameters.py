"""Where a head starts: hidden states (T, d), head (V, d) and base logits (V,), drawn from the seed or read from a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import HiddenSpec
from entclip.policies.laws import zipf
from entclip.support.arrays import read_npz
from entclip.support.errors import SpecError
from entclip.support.random import stream

__all__ = ["Parameters", "parameters_of", "read_parameters"]

_LARGEST = 1e9  # of a hidden state or weight: their products stay finite in float32


@dataclass(frozen=True)
class Parameters:
    """hidden (T, d), head (V, d), base (V,): logits = base + hidden head'."""

    hidden: np.ndarray
    head: np.ndarray
    base: np.ndarray


def parameters_of(experiment: Experiment) -> Parameters:
    """Return the parameters of a policy of kind "hidden".

    Drawn: h_t uniform on the unit sphere, so that a context moves its own logits as in a table of its own; W normal, so that
    h_t W' has standard deviation sd; base_a = -exponent log a.
    Raises: SpecError for another kind of policy or a file that does not fit.
    """
    spec = experiment.policy
    if not isinstance(spec, HiddenSpec):
        raise SpecError(
            f'policy.kind = {spec.kind!r} has no shared parameters: the head engine takes policy.kind = "hidden"; use the engine '
            "sampled, reduced or tokens."
        )
    if spec.path is not None:
        return read_parameters(spec.path, spec.contexts)
    vocab, contexts, dim, sd, exponent = spec.sizes().values()
    rng = stream(experiment.seed, "policy")
    hidden = rng.standard_normal((int(contexts), int(dim)))
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    head = sd * rng.standard_normal((int(vocab), int(dim)))
    return Parameters(hidden, head, zipf(int(vocab), exponent).logits)


def read_parameters(path: str, contexts: int | None = None) -> Parameters:
    """Return `hidden`, `head` and optional `base` of a .npz file, the first `contexts` rows of hidden.

    Raises: SpecError if the file cannot be read, shapes do not fit, or a number is not finite.
    """
    fix = "make one with `entclip snapshot --hidden --out FILE.npz`"
    where = f"policy.path = {path!r}"
    try:
        found = read_npz(path, ("hidden", "head", "base"), where)
    except SpecError as error:
        raise SpecError(f"{error} {fix[0].upper()}{fix[1:]}.") from None
    shapes = {name: value.shape for name, value in found.items()}
    if not {"hidden", "head"} <= found.keys():
        raise SpecError(f"{where} holds {sorted(found)}, not `hidden` (T, d) and `head` (V, d): {fix}.")
    if found["hidden"].ndim != 2 or found["head"].ndim != 2 or shapes["hidden"][1] != shapes["head"][1]:
        raise SpecError(f"{where} holds shapes {shapes}: expected hidden (T, d) and head (V, d) with the same d.")
    if 0 in shapes["hidden"]:
        raise SpecError(f"{where} holds shapes {shapes}: expected at least one context and one dimension.")
    vocab = shapes["head"][0]
    found.setdefault("base", np.zeros(vocab))
    if found["base"].shape != (vocab,) or vocab < 2:
        raise SpecError(f"{where} holds base of shape {found['base'].shape} for V = {vocab}: expected (V,), V >= 2.")
    for name, value in found.items():
        if value.dtype.kind not in "fiu" or not np.all(np.abs(value) <= _LARGEST):
            raise SpecError(f"{where}: `{name}` holds {value.dtype} with NaN or values beyond {_LARGEST:g}, or no real numbers.")
    rows = len(found["hidden"])
    if contexts is not None and contexts > rows:
        raise SpecError(f"policy.contexts = {contexts} but {path!r} holds {rows}: use at most that many.")
    return Parameters(found["hidden"][:contexts], found["head"], found["base"])
