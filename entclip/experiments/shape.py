"""How large an experiment's policy is, without making it: contexts, prefixes, actions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import AutoregressiveSpec, FileSpec, HiddenSpec, LanguageModelSpec, RecordedSpec, SnapshotSpec
from entclip.policies import snapshot
from entclip.policies.logits_file import logits_shape
from entclip.policies.sequences import PrefixTree
from entclip.support.arrays import npz_shapes

__all__ = ["Shape", "shape_of"]


@dataclass(frozen=True)
class Shape:
    """Contexts C, prefixes N of each, actions V of each prefix, whole sequences A of a context, dimension d of hidden states."""

    contexts: int
    vocab: int
    prefixes: int = 1
    sequences: int = 0
    dim: int = 0

    @property
    def outcomes(self) -> int:
        """Say what a sample of a context can be: one of its sequences, or of its actions."""
        return self.sequences or self.vocab


def shape_of(experiment: Experiment) -> Shape:
    """Return the shape of an experiment's policy; of a file its header tells it. A model counts as one context.

    Raises: SpecError for a file that cannot be read.
    """
    spec = experiment.policy
    if isinstance(spec, LanguageModelSpec | RecordedSpec):
        return Shape(1, 1)
    if isinstance(spec, SnapshotSpec):
        contexts, vocab = snapshot.sizes(spec.name)
        return Shape(spec.contexts or contexts, vocab)
    if isinstance(spec, FileSpec):
        contexts, vocab = logits_shape(spec.path)
        return Shape(spec.contexts or contexts, vocab)
    if isinstance(spec, AutoregressiveSpec):
        tree = PrefixTree(spec.vocab, spec.length)
        return Shape(spec.contexts, spec.vocab, tree.prefixes, tree.sequences)
    if isinstance(spec, HiddenSpec):
        if spec.path is None:
            sizes = spec.sizes()
            return Shape(int(sizes["contexts"]), int(sizes["vocab"]), dim=int(sizes["dim"]))
        shapes = npz_shapes(spec.path, ("hidden", "head"), f"policy.path = {spec.path!r}")
        (rows, *_), (vocab, *dim) = (shapes.get(name) or (0,) for name in ("hidden", "head"))
        return Shape(spec.contexts or rows, vocab, dim=math.prod(dim))
    return Shape(spec.contexts, spec.vocab)
