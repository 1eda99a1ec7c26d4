"""The books of one update: identities (a) to (c) of the ledger, its expectations and its counts, for any state and any sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from entclip.drift.expected import expected_entropy_drift
from entclip.drift.steps import expected_step, logit_step, step_adjoint
from entclip.engines.accounting import Scheme, account
from entclip.engines.samples import Sums
from entclip.objectives.base import CAUSES, Keep, Objective
from entclip.objectives.clip import Clip
from entclip.objectives.drop import surviving
from entclip.policies.softmax import entropy, log_softmax
from entclip.rewards.advantage import GroupRelative
from entclip.rewards.reward import Bernoulli
from tests.properties.oracle import by_cause, complex_gradient, entropy_size, sample_steps
from tests.properties.strategies import SEEDS, Move, Pair, geometries, laws, objectives
from tests.seen import changed, sets
from tests.tolerances import IDENTITY, assert_identity

ULPS = IDENTITY["float64"]


@dataclass(frozen=True)
class Batch:
    """A minibatch in a context: actions of the old policy, Gaussian advantages (some of them 0), as samples and as sums."""

    pair: Pair
    objective: Objective
    geometry: Any
    learning_rate: float
    size: int
    seed: int

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        rng, old = np.random.default_rng(self.seed), self.pair.old_probs
        actions = np.searchsorted(np.cumsum(old)[:-1], rng.random(self.size), side="right")
        return actions, rng.standard_normal(self.size) * (rng.random(self.size) < 0.9)

    def sums(self) -> Sums:
        actions, a = self.samples()

        def total(x: np.ndarray) -> np.ndarray:
            return np.bincount(actions, weights=x, minlength=self.pair.vocab)[None]

        return Sums(total(np.maximum(a, 0)) / self.size, total(np.maximum(-a, 0)) / self.size, total(a > 0), total(a < 0))

    def account(self, **options: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        advantage = GroupRelative(4, "std")
        scheme = Scheme(self.objective, self.geometry, self.size, 3 / (self.size - 1))
        return account(
            scheme,
            self.pair.log_p[None],
            self.pair.log_old[None],
            options.pop("sums", self.sums()),
            options.pop("moments", advantage.moments(Bernoulli(0.3), self.pair.old_probs[None])),
            learning_rate=self.learning_rate,
            **options,
        )


# Moves stay mild and samples likely, or a natural step c/pi of a rare action leaves every float behind.
moves = st.builds(Move, st.sampled_from(["none", "flat", "sqrt", "inv_sqrt", "sparse"]), st.floats(0.01, 1.0), SEEDS)
batches = st.builds(
    Batch,
    st.builds(Pair, laws(300, scale=0.3), moves),
    objectives,
    geometries,
    st.one_of(st.floats(1e-3, 1.0), st.floats(1.0, 30.0)),
    st.integers(1, 16).map(lambda n: 4 * n),
    SEEDS,
)


@given(batches)
def test_the_books_close(batch) -> None:
    """Causes add up to <grad H, step>; all parts to the measured change; the remainder lies within its bound."""
    new, c = batch.account()
    pair, log_p = batch.pair, batch.pair.log_p
    actions, a = batch.samples()
    r, old = pair.ratio[actions], pair.old_probs[actions]
    gradient, p = complex_gradient(log_p), pair.probs
    steps, size, terms = {}, 0.0, 0.0
    slope = p * (np.abs(log_p) + entropy(log_p)) * pair.conditioning
    for cause, weight in by_cause(batch.objective, r, a, old).items():
        rate = batch.learning_rate
        steps[cause] = sample_steps(actions[None], weight[None], log_p, batch.geometry, rate)[0][0]
        parts = sample_steps(actions[None], np.abs(weight)[None], log_p, batch.geometry, rate)[1][0]
        size, terms = size + parts, terms + float(parts @ slope)
    for cause in CAUSES:
        assert_identity(c[cause], np.array([steps[cause] @ gradient]), np.array([4 * terms]))
    step = sum(steps.values())
    assert_identity(sum(c[k] for k in CAUSES), c["_inner"], np.array([16 * terms]))
    assert_identity(c["_inner"], np.array([step @ gradient]), np.array([4 * terms]))
    centred = step - p @ step
    spread = float(np.max(size)) + float(p @ size)
    quadratic = float(p @ ((size + p @ size) ** 2 * (1 + np.abs(log_p) + entropy(log_p)))) * pair.conditioning
    assert_identity(c["curvature"], np.array([-(p * centred**2) @ (log_p + entropy(log_p) + 1) / 2]), np.array([4 * quadratic]))
    assert_identity(c["step_variance"], np.array([p @ centred**2]), np.array([4 * quadratic]))
    # (a) measured: from log pi after the step, and as the sum of its parts.
    assert_identity(new[0], log_softmax(log_p + step), (1 + spread + np.abs(log_p)) * pair.conditioning)
    before, after = entropy(log_p), entropy(new[0])
    assert_identity(c["measured"], np.array([after - before]), np.array([after + before]))
    assert_identity([c["entropy"][0], c["entropy_before"][0]], [after, before], np.array([after, before]) + 1e-300)
    parts = sum(c[k] for k in (*CAUSES, "curvature", "remainder"))
    assert_identity(parts, c["measured"], sum(np.abs(c[k]) for k in (*CAUSES, "curvature", "remainder")) + after + before)
    # (c)
    assert abs(c["remainder"][0]) <= c["_bound"][0]
    assert c["_bound"][0] > 0


@given(batches)
def test_expectations_are_those_of_the_theory(batch) -> None:
    """The expected_ columns of a ledger and expected_entropy_drift are one theory on one array: equal to the last bit."""
    pair, c = batch.pair, batch.account()[1]
    e = expected_entropy_drift(
        pair.policy,
        Clip(),
        Bernoulli(0.3),
        old_policy=pair.old_policy,
        order=2,
        batch=batch.size,
        learning_rate=batch.learning_rate,
        geometry=batch.geometry,
        advantage=GroupRelative(4, "std"),
        objective=batch.objective,
    )
    for name in (*CAUSES, "curvature"):
        assert c[f"expected_{name}"][0] == getattr(e, name)


@given(batches)
def test_diagnostics(batch) -> None:
    """Counts of clipped samples, KL, ratios: straight from the samples and the definitions."""
    _, c = batch.account(moments=None)
    assert not any(name.startswith("expected_") for name in c)
    pair, (actions, a) = batch.pair, batch.samples()
    low, high = (x[actions] for x in sets(batch.objective, pair.ratio, pair.old_probs))
    acts = (a < 0, a > 0) if changed(batch.objective, pair.ratio, pair.old_probs).gated else (a != 0, a != 0)
    assert c["clip_count_low"] == np.sum(low & acts[0])
    assert c["clip_count_high"] == np.sum(high & acts[1])
    assert (c["count_plus"], c["count_minus"]) == (np.sum(a > 0), np.sum(a < 0))
    up, down = (g[actions] == 0 for g in changed(batch.objective, pair.ratio, pair.old_probs).gains[:2])
    assert (c["removed_plus"], c["removed_minus"]) == (np.sum(up & (a > 0)), np.sum(down & (a < 0)))
    log_ratio = pair.log_p - pair.log_old
    assert_identity(c["kl"][0], -(pair.old_probs @ log_ratio), pair.old_probs @ np.abs(log_ratio))
    assert_identity(c["log_ratio_sq"][0], pair.old_probs @ log_ratio**2, pair.old_probs @ log_ratio**2)
    assert c["ratio_max"] == pair.ratio.max()
    # KL is not negative, up to the rounding of its terms and of the sum of probabilities.
    assert c["kl"][0] >= -ULPS * pair.conditioning * (1 + float(pair.old_probs @ np.abs(log_ratio)))


@given(batches, st.floats(0.1, 1), st.floats(0.1, 1))
def test_a_random_drop_keeps_the_books(batch, keep_plus, keep_minus) -> None:
    """Survivors move the policy; `unclipped` is all samples' step, estimated from them; `other` takes the drop."""
    keep = Keep(keep_plus, keep_minus)
    plain, c = batch.account()[1], batch.account(keep=keep)[1]
    sums = batch.sums()
    everything = Sums(sums.plus / keep_plus, sums.minus / keep_minus, sums.n_plus, sums.n_minus)
    whole = batch.account(sums=everything)[1]
    terms = np.abs(c["_scale"]) + sum(np.abs(whole[k]) + np.abs(plain[k]) for k in CAUSES)
    terms = (terms + _absolute(batch, everything)) * batch.pair.conditioning
    assert_identity(c["unclipped"], whole["unclipped"], 4 * terms)
    for cause in ("clip_low", "clip_high", "measured", "curvature"):
        np.testing.assert_array_equal(c[cause], plain[cause])
    assert_identity(sum(c[k] for k in CAUSES), c["_inner"], 16 * terms)
    # In expectation the survivors' gains are scaled, and so are their squares: a coin's square is the coin.
    change = changed(batch.objective, batch.pair.ratio, batch.pair.old_probs)
    gains, dropped = change.gains, surviving(change, keep).gains
    for got, value, factor in zip(dropped, gains, (keep_plus, keep_minus) * 2, strict=True):
        np.testing.assert_array_equal(got, value * factor)
    same, old = batch.account(keep=Keep(1.0, 1.0))[1], batch.pair.old_probs[None]
    moments = GroupRelative(4, "std").moments(Bernoulli(0.3), old)
    mean = Sums(old * moments.by_action("plus"), old * moments.by_action("minus"), old, old)
    for cause in CAUSES:
        assert_identity(same[cause], plain[cause], 16 * terms)
        # `other` is the total less the other causes: rounding is relative to all of them.
        size = 16 * _absolute(batch, mean) * batch.pair.conditioning
        assert_identity(same[f"expected_{cause}"], plain[f"expected_{cause}"], size)


@given(batches, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.7, 1.0]))
def test_the_mean_of_the_survivors_books_is_what_theory_expects_of_them(batch, keep_plus, keep_minus) -> None:
    """Books are linear in the sums: those of the mean sums, k pi_old E[A+-], are the expected columns, clips included."""
    keep, old = Keep(keep_plus, keep_minus), batch.pair.old_probs[None]
    moments = GroupRelative(4, "std").moments(Bernoulli(0.3), old)
    plus, minus = (old * k * moments.by_action(sign) for k, sign in zip(keep, ("plus", "minus"), strict=True))
    c = batch.account(sums=Sums(plus, minus, plus > 0, minus > 0), moments=moments, keep=keep)[1]
    whole = Sums(old * moments.by_action("plus"), old * moments.by_action("minus"), old, old)
    for cause in CAUSES:
        assert_identity(c[f"expected_{cause}"], c[cause], 16 * _absolute(batch, whole) * batch.pair.conditioning)


def _absolute(batch: Batch, sums: Sums) -> np.ndarray:
    """Sum of |price W| over actions and signs."""
    gradient = complex_gradient(batch.pair.log_p)[None]
    price = step_adjoint(
        np.abs(gradient), batch.pair.log_p, batch.pair.log_old, learning_rate=batch.learning_rate, geometry="natural"
    )
    p = batch.pair.probs
    euclid = batch.learning_rate * batch.pair.ratio * (np.abs(gradient) + p @ np.abs(gradient[0]))
    size = price if batch.geometry == "natural" else euclid
    gains = changed(batch.objective, batch.pair.ratio, batch.pair.old_probs).gains
    return np.sum(size * (sums.plus * (1 + gains.plus) + sums.minus * (1 + gains.minus)), axis=-1)


@given(batches, st.floats(0.05, 1))
def test_visited_prefixes(batch, visits) -> None:
    """A natural step is divided by d(s), a euclidean one is not; the mean natural step is free of d, the euclidean carries it."""
    d = np.array([visits])
    plain, c = batch.account()[1], batch.account(visits=d)[1]
    terms = _absolute(batch, batch.sums()) * batch.pair.conditioning
    natural = batch.geometry == "natural"
    for cause in CAUSES:
        assert_identity(c[cause] * (visits if natural else 1.0), plain[cause], 4 * terms)
        assert_identity(
            c[f"expected_{cause}"], plain[f"expected_{cause}"] * (1.0 if natural else visits), np.abs(plain[f"expected_{cause}"])
        )
    assert np.all(np.abs(c["remainder"]) <= c["_bound"])


@given(batches)
def test_steps_are_linear_and_their_adjoint_prices_them(batch) -> None:
    """<g, step(W)> = sum_a adjoint(g)_a W_a for any g and W; the expected step is that of W = pi0 w."""
    pair, rng = batch.pair, np.random.default_rng(batch.seed)
    w, g = rng.standard_normal((2, pair.vocab)) * np.array([pair.old_probs, np.ones(pair.vocab)])
    args = dict(learning_rate=batch.learning_rate, geometry=batch.geometry)
    step = logit_step(w, pair.log_p, pair.log_old, **args)
    price = step_adjoint(g, pair.log_p, pair.log_old, **args)
    # |W| r and |W|/pi0 are the largest factors either side multiplies; the mean of r W is subtracted with weights pi.
    size = (np.abs(w) / pair.old_probs if batch.geometry == "natural" else np.abs(w) * pair.ratio) * batch.learning_rate
    total = float(np.sum(np.abs(g) * size) + (pair.probs @ np.abs(g)) * np.sum(size)) * pair.conditioning
    assert_identity(price @ w, g @ step, 4 * total)
    if batch.geometry == "euclidean":
        assert_identity(np.sum(step), 0.0, 4 * float(np.sum(size)) * pair.conditioning)
    mean = batch.learning_rate * expected_step(w / pair.old_probs, pair.log_p, geometry=batch.geometry)
    assert_identity(mean, step, 4 * pair.conditioning * (size + pair.probs * np.sum(size)))


@given(batches)
def test_no_step_no_change(batch) -> None:
    """Advantages that are all 0 move nothing, exactly."""
    zero = np.zeros((1, batch.pair.vocab))
    new, c = batch.account(sums=Sums(zero, zero, zero, zero))
    for name in (*CAUSES, "curvature"):
        assert c[name] == 0
    assert entropy_size(batch.pair.log_p) * ULPS >= abs(c["measured"][0])
    assert_identity(new[0], batch.pair.log_p, 1 + np.abs(batch.pair.log_p))
