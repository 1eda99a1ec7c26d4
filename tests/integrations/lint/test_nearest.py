"""The nearest name is difflib's: what is not compared could not have been near."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.nearest import closest

KEYS = frozenset().union(*(library.keys for library in LIBRARIES.values()))
WORDS = st.text(alphabet="abc._", max_size=6)


@given(word=WORDS, names=st.frozensets(WORDS, max_size=6), cutoff=st.sampled_from([0.0, 0.4, 0.75, 1.0]))
@settings(max_examples=200, deadline=None)
def test_any_words(word: str, names: frozenset[str], cutoff: float) -> None:
    found = difflib.get_close_matches(word, sorted(names), n=1, cutoff=cutoff)
    assert closest(word, names, cutoff) == (found[0] if found else None)


@pytest.mark.parametrize("word", ["actor_rollout_ref.actor.clip_ration_low", "num_iteration", "optim.lr_sheduler", "é", ""])
def test_keys_of_the_libraries(word: str) -> None:
    found = difflib.get_close_matches(word, sorted(KEYS), n=1, cutoff=0.75)
    assert closest(word, KEYS, 0.75) == (found[0] if found else None)
