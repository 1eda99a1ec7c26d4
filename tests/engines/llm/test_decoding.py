"""Decoding step by step with the cache, under each of its names in transformers."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from entclip.engines.llm.language import load_language
from entclip.policies.decoding import decode


@pytest.fixture(scope="module")
def model():
    return load_language("untrained", "cpu", "float64").model


class Named:
    """A model whose forward and output know the cache by one name only."""

    def __init__(self, model, forward):
        self.model, self.forward = model, forward

    def __call__(self, **inputs):
        return self.forward(self.model, **inputs)


def old_names(model, *, input_ids, past_key_values=None, use_cache):
    logits, cache = decode(model, input_ids, past_key_values)
    return SimpleNamespace(logits=logits, past_key_values=cache)


def new_names(model, *, input_ids, cache=None, use_cache):
    logits, cache = decode(model, input_ids, cache)
    return SimpleNamespace(logits=logits, cache=cache)


@pytest.mark.parametrize("names", [None, old_names, new_names])
def test_steps_with_a_cache_give_the_logits_of_the_whole(model, names):
    ids = torch.tensor([[1, 5, 9, 2, 7], [3, 3, 8, 4, 0]])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = model(input_ids=ids, use_cache=False).logits
        stepper = model if names is None else Named(model, names)
        first, cache = decode(stepper, ids[:, :2], None)
        rest = []
        for k in range(2, 5):
            logits, cache = decode(stepper, ids[:, k : k + 1], cache)
            rest.append(logits)
    torch.testing.assert_close(torch.cat([first, *rest], 1), whole, rtol=0, atol=1e-12)
