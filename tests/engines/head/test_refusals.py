"""What the head engine refuses, and files of hidden states that do not fit."""

import numpy as np
import pytest
import torch

from entclip import SpecError, run
from entclip.engines.head.engine import HeadEngine
from entclip.engines.head.parameters import read_parameters
from tests.engines.head.runs import spec_of


@pytest.mark.parametrize(
    ("update", "sections", "message"),
    [
        ({"geometry": "natural"}, {}, "a head moves by the gradient in its parameters"),
        ({"minibatch": "shuffled"}, {}, "subsets of contexts"),
        ({"minibatches": 11}, {}, "11 subsets of 10 contexts"),
        ({}, {"reward": {"kind": "table", "values": [0.0, 1.0] * 20}}, "rewards that ignore the action"),
        ({}, {"policy": {"kind": "uniform", "contexts": 10}}, "has no shared parameters"),
        ({"rollouts": 1}, {"perturbation": {"law": "flat"}}, "which shared parameters cannot"),
        ({}, {"replicas": 10**9}, "GiB"),
        ({}, {"policy": {"kind": "hidden", "path": "nowhere.npz"}}, "cannot be read: No such file"),
    ],
)
def test_what_the_engine_refuses(update, sections, message):
    with pytest.raises(SpecError, match=message):
        run(spec_of(update, **sections), "head")


def test_sizes_come_from_one_place():
    with pytest.raises(SpecError, match="brings its own sizes"):
        spec_of(policy={"kind": "hidden", "path": "x.npz", "vocab": 5})


@pytest.mark.parametrize("engine", ["sampled", "exact"])
def test_tabular_engines_refuse_shared_parameters(engine):
    with pytest.raises(SpecError, match='run it on the engine "head"'):
        run(spec_of(), engine)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_cuda_without_a_device():
    with pytest.raises(SpecError, match="sees no CUDA device"):
        HeadEngine("cuda")
    with pytest.raises(SpecError, match="runs on cpu or cuda"):
        HeadEngine("tpu")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"hidden": np.ones((2, 3))}, "not `hidden`"),
        ({"hidden": np.ones((2, 3)), "head": np.ones((5, 4))}, "with the same d"),
        ({"hidden": np.ones((2, 3)), "head": np.ones((5, 3)), "base": np.ones(4)}, "expected \\(V,\\)"),
        ({"hidden": np.full((2, 3), np.nan), "head": np.ones((5, 3))}, "NaN"),
        ({"hidden": np.full((2, 3), 1e10), "head": np.ones((5, 3))}, "beyond 1e"),
        ({"hidden": np.ones(()), "head": np.ones(())}, "with the same d"),
        ({"hidden": np.ones((0, 3)), "head": np.ones((5, 3))}, "at least one context and one dimension"),
        ({"hidden": np.ones((2, 0)), "head": np.ones((5, 0))}, "at least one context and one dimension"),
        ({"hidden": np.ones((2, 3)), "head": np.ones((0, 3))}, "V >= 2"),
        (
            {"hidden": np.array([["a"]]), "head": np.ones((5, 3))},
            "expected real numbers. Make one with `entclip snapshot --hidden",
        ),
    ],
)
def test_files_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SpecError, match=message):
        read_parameters(str(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", hidden=np.ones((2, 3)), head=np.ones((5, 3)))
    with pytest.raises(SpecError, match="use at most that many"):
        read_parameters(str(tmp_path / "y.npz"), 3)
