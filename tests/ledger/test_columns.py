"""The table of columns: unknown names are errors, derived lists follow it, looks are told apart, and prefixes pool as it says."""

import dataclasses
import itertools

import numpy as np
import pytest

from entclip import run
from entclip.engines.base import Directive
from entclip.engines.samples import Samples
from entclip.engines.tabular.exact import ExactEngine
from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.arm import ArmLedger
from entclip.ledger.columns import BY_NAME, COLUMNS, EXPECTED, MEANS, OPTIONAL_CAUSES, PARTS, SUMMED, column_named
from entclip.objectives.base import CAUSES
from entclip.report import glossary, grid, rollouts, style
from tests.tolerances import IDENTITY, assert_identity

V, LENGTH = 4, 3


def sequences(batch=32, **changes):
    """An autoregressive policy whose clip acts after the first update, and the controls of it."""
    data = {
        "policy": {"kind": "autoregressive", "vocab": V, "length": LENGTH, "contexts": 4},
        "reward": {"kind": "bernoulli", "p": 0.5},
        "update": {"geometry": "euclidean", "learning_rate": 4.0, "batch": batch, "minibatches": 4, "rollouts": 1},
        "arm": [
            {"name": "both", "low": 0.1, "high": 0.1},
            {"name": "dropped", "objective": "none", "control": {"kind": "drop", "like": "both"}},
        ],
    }
    return parse_experiment(data | changes)


def test_names_are_unique_and_lists_are_derived():
    assert len(BY_NAME) == len(COLUMNS)
    assert tuple(c.name for c in COLUMNS if c.kind == "cause" and not c.optional) == CAUSES, "an objective splits into these"
    assert (*CAUSES, "curvature") == PARTS
    assert (*PARTS, "remainder", "measured") == SUMMED
    assert tuple(f"expected_{p}" for p in PARTS) == EXPECTED
    assert {c.name for c in COLUMNS if c.kind == "cause"} == {*CAUSES, *OPTIONAL_CAUSES}
    assert all(c.look is not None for c in COLUMNS if c.kind in ("cause", "part")), "every part is drawn"
    assert not {"entropy", "ratio_max", "surprise_low"} & set(MEANS)
    assert set(style.CAUSES) == set(style.CAUSE_LINES) == {c.name for c in COLUMNS if c.look is not None}
    assert set(grid.PARTS) == {c.name for c in COLUMNS if c.kind == "cause" or c.expected or c.quiet}
    assert set(rollouts._ORDER) == {*grid.PARTS, "remainder"}
    assert {c.label for c in COLUMNS if c.kind == "cause"} <= {word for word, _ in glossary.glossary(c.label for c in COLUMNS)}


def _lightness(colour):
    """CIE L* of a colour: what is left of it in grey."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    y = float(np.dot([0.2126, 0.7152, 0.0722], [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_looks_are_told_apart_in_colour_and_in_grey():
    looks = {c.name: c.look for c in COLUMNS if c.look is not None}
    for (a, one), (b, two) in itertools.combinations(looks.items(), 2):
        assert one.colour != two.colour or {one.colour, two.colour} == {"#FFFFFF"}, f"{a} and {b} have one colour"
        # 20 of 100 steps of lightness are far apart on paper; closer ones need another hatch.
        assert abs(_lightness(one.colour) - _lightness(two.colour)) > 20 or one.hatch != two.hatch, f"{a} and {b} are one grey"
        if "measured_cv" not in (a, b) and "remainder" not in (a, b):  # which are never lines
            assert (one.dash, one.marker) != (two.dash, two.marker) or "measured" in (a, b), f"{a} and {b} are one line"


def _one_entry():
    spec = sequences(batch=8)
    engine = SampledEngine()
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    _, entry = engine.step(state, rollout, next(iter(rollout)), Directive())
    return spec, state, entry


@pytest.mark.parametrize("name", ["clip_lwo", "bonsu", "expected_momentum", "expected_measured", "clip_count_1"])
def test_an_unknown_column_is_an_error_that_names_it(name):
    with pytest.raises(ValueError, match=f"unknown column '{name}'.*ledger/columns.py"):
        column_named(name)
    spec, state, entry = _one_entry()
    more = dataclasses.replace(entry, columns=entry.columns | {name: entry.columns["kl"]})
    with pytest.raises(ValueError, match=f"unknown column '{name}'"):
        ArmLedger("", "a", spec).append(more, state)


def test_columns_of_others_and_missing_ones_are_errors():
    spec, state, entry = _one_entry()
    made = dataclasses.replace(entry, columns=entry.columns | {"gap_low": entry.columns["kl"]})
    with pytest.raises(ValueError, match="'gap_low' is filled by the ledger"):
        ArmLedger("", "a", spec).append(made, state)
    less = dataclasses.replace(entry, columns={n: x for n, x in entry.columns.items() if n != "kl"})
    with pytest.raises(ValueError, match="'kl' is missing"):
        ArmLedger("", "a", spec).append(less, state)


@pytest.mark.parametrize(("name", "message"), [("happiness", "unknown column"), ("kl", "filled by the engine, not between")])
def test_what_an_engine_observes_is_in_the_table(name, message):
    spec, state, entry = _one_entry()
    books, value = ArmLedger("", "a", spec), np.zeros(len(entry.weight))
    books.append(entry, state)
    seen = {"entropy": value, "sequence_entropy": value}
    with pytest.raises(ValueError, match=message):
        books.end_rollout(state, seen, seen | {name: value})


def test_pass_at_any_number_is_one_line_of_the_table():
    assert column_named("pass_at_1") is column_named("pass_at_16") is BY_NAME["pass_at_K"]


def _brute_force(log_probs, old, chosen, advantages):
    """Tokens of one unit's sequences (B,) by sign of the advantage, and those of them that the clip of .1 and .1 removed."""
    counts = dict.fromkeys(("count_plus", "count_minus", "clip_count_high", "clip_count_low"), 0)
    for sequence, a in zip(chosen, advantages, strict=True):
        digits = [sequence // V ** (LENGTH - 1 - t) % V for t in range(LENGTH)]
        for t, token in enumerate(digits):
            prefix = sum(V**k for k in range(t)) + int("".join(map(str, digits[:t])) or "0", V)
            ratio = np.exp(log_probs[prefix, token] - old[prefix, token])
            counts["count_plus"] += a > 0
            counts["count_minus"] += a < 0
            counts["clip_count_high"] += a > 0 and ratio > 1.1
            counts["clip_count_low"] += a < 0 and ratio < 0.9
    return counts


def test_clip_shares_of_sequences_are_shares_of_tokens():
    spec, rng = sequences(), np.random.default_rng(5)
    engine = SampledEngine()
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    books, seen = ArmLedger("", "both", spec), 0
    for minibatch in rollout:
        samples = Samples(rng.integers(0, V**LENGTH, (4, 32)), rng.choice([-0.5, 0.5], (4, 32)))
        before = state
        state, entry = engine.step(state, rollout, dataclasses.replace(minibatch, samples=samples), Directive())
        books.append(entry, before)
        want = [_brute_force(*(x[u] for x in (before.log_probs, before.old_log_probs, *samples))) for u in range(4)]
        for name in want[0]:
            np.testing.assert_array_equal(entry.columns[name], [w[name] for w in want])
        for side in ("low", "high"):
            share = sum(w[f"clip_count_{side}"] for w in want) / (4 * 32 * LENGTH)
            assert_identity(books.rows[-1][f"clip_fraction_{side}"], share, share)
            seen += share > 0
    assert seen > 2
    summary = books.summary()
    assert 0 < summary["clip_fraction_low"] + summary["clip_fraction_high"] <= 1


def test_the_exact_engine_counts_tokens_too():
    """Every outcome of two sequences of two tokens, weighted by its chance: counts are those of all tokens of all outcomes."""
    policy = {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 1}
    update = {"geometry": "euclidean", "learning_rate": 2.0, "batch": 2, "minibatches": 2, "rollouts": 1}
    spec = sequences(policy=policy, update=update, arm=[{"name": "both", "low": 0.1, "high": 0.1}])
    engine = ExactEngine()
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    first, second = rollout
    state, _ = engine.step(state, rollout, first, Directive())
    before = state
    _, entry = engine.step(state, rollout, second, Directive())
    old = np.exp(before.old_log_probs[before.origin])
    visits = before.tree.visits(before.old_log_probs[before.origin])
    outside = {"clip_count_low": np.exp(before.log_probs) < 0.9 * old, "clip_count_high": np.exp(before.log_probs) > 1.1 * old}
    for name, mask in outside.items():
        # Half of the two sequences' tokens have that sign; d(s) pi_old(a|s) of them are the token a after the prefix s.
        want = before.weight @ (2 * 0.5 * np.sum(visits[..., None] * old * mask, axis=(1, 2)))
        got = entry.weight @ entry.columns[name]
        assert want > 0
        assert abs(got - want) <= IDENTITY["float64"] * 4
    for name in ("count_plus", "count_minus"):
        assert abs(entry.weight @ entry.columns[name] - 2.0) <= IDENTITY["float64"] * 4
    assert entry.samples == 4


@pytest.mark.statistical
def test_a_drop_control_of_sequences_removes_the_share_that_the_clip_did():
    update = {"geometry": "euclidean", "learning_rate": 8.0, "batch": 512, "minibatches": 4, "rollouts": 1}
    ledger = run(sequences(replicas=8, update=update))
    frame = ledger.to_frame().set_index(["arm", "step"])
    tokens, units = 512 * LENGTH, 4 * 8
    for side, sign in (("high", "plus"), ("low", "minus")):
        clipped = frame.loc["both"]
        share = clipped[f"clip_count_{side}"] / clipped[f"count_{sign}"]
        assert 0.02 < share.max() < 0.2
        # A whole sequence has one sign and its tokens have coins of one kind: between LENGTH and 1 times the binomial error.
        se = LENGTH * np.sqrt(512 * 0.25 / units)
        left = frame.loc["dropped"][f"count_{sign}"]
        assert share.max() * tokens / 2 > 5 * se, "the drop must be large enough to be seen"
        assert np.all(np.abs(left - tokens / 2 * (1 - share)) <= 5 * se)
    assert ledger.summary()["arms"]["dropped"]["verdict"] != "reject"
