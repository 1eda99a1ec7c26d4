"""Sizes by shares and by KL where the updates are unknown, one batch that is used several times, and the dual clip."""

import numpy as np
import pytest

from entclip import diagnose
from entclip.integrations.diagnose import noise
from entclip.integrations.diagnose.noise_sizes import by_kl, by_share, compared
from entclip.integrations.diagnose.run import Run
from entclip.integrations.logs import read_rows


def merged(share, kl, **more):
    scatter = np.tile([0.98, 1.02, 1.01, 0.99], 10)
    return [{"actor/pg_clipfrac": share * x, "actor/ppo_kl": kl * x, "actor/entropy": 0.4 * x, **more} for x in scatter]


@pytest.mark.parametrize("moving", [1.0, 0.5, 0.25, 0.1])
@pytest.mark.parametrize("updates", [2, 64])
@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3])
def test_a_run_of_one_noise_agrees_whatever_its_updates_and_its_law(updates, moving, sigma):
    """A share `moving` of the tokens has a noise of sigma / sqrt(moving), the others none: both sizes are of one noise."""
    share = moving * sum(noise.shares(sigma / moving**0.5, 0.2, 0.2, updates))
    run = Run.of(read_rows(merged(share, sigma**2 / 2 * noise.mean_square_share(updates))))
    by, kl = by_share(run), by_kl(run)
    assert by is not None
    found = compared(run, by, kl)
    # The truth is itself an end of the bounds, up to 44 halvings of a size's logarithm.
    assert found.low * (1 - 1e-9) <= found.ratio <= found.high * (1 + 1e-9)


def test_ranges_that_overlap_are_said_to():
    text = diagnose(merged(0.02, 0.02))["noise"].answer
    assert "outside" in text
    assert text.endswith("The two ranges overlap, but for no one number of updates.")
    assert "overlap" not in diagnose(merged(0.0003, 0.02))["noise"].answer


@pytest.mark.parametrize(("kl", "said"), [(-0.002, True), (0.002, False)])
def test_a_kl_below_0_is_no_size_and_is_not_passed_over(kl, said):
    assert ("actor/ppo_kl is not used" in diagnose(merged(0.02, kl))["noise"].answer) is said


@pytest.mark.parametrize(("share", "told"), [(0.0, "holds none, as cispo_clip_ratio is 0"), (0.02, "holds 2 % of them")])
def test_weights_that_are_never_held(share, told):
    rows = [{"cispo_clip_ratio": share, "entropy": 0.5, "reward": 0.1, "num_tokens": i} for i in range(8)]
    assert told in diagnose(rows)["clip"].answer


SAME = "epsilon: 0.2\ngradient_accumulation_steps: 1\nsteps_per_generation: 1\nnum_generations: 8\nnum_iterations: "


@pytest.mark.parametrize("uses", [2, 4, 8])
def test_one_batch_that_is_used_again_is_no_case_for_the_law(uses):
    low, high = noise.shares(0.1, 0.2, 0.2, uses)
    rows = [
        {
            "clip_ratio/low_mean": 2 * low * k / (uses - 1),
            "clip_ratio/high_mean": 2 * high * k / (uses - 1),
            "clip_ratio/region_mean": 2 * (low + high) * k / (uses - 1),
            "entropy": 0.5,
        }
        for _ in range(12)
        for k in range(uses)
    ]
    found = diagnose(rows, config=f"{SAME}{uses}")["noise"]
    assert "one-batch" in found.labels
    assert found.confidence == "low"
    assert f"one batch is used {uses} times" in found.answer
    apart = f"epsilon: 0.2\ngradient_accumulation_steps: 1\nsteps_per_generation: {uses}\nnum_generations: 8"
    assert "one-batch" not in diagnose(rows, config=apart)["noise"].labels


@pytest.mark.parametrize(("share", "said"), [(0.015, True), (0.0025, True), (0.00002, False), (0.0, False), (1.5, False)])
def test_the_dual_clip_is_told_where_it_acts(share, said):
    found = diagnose(merged(0.02, 0.002, **{"actor/pg_clipfrac_lower": share}))["clip"]
    assert ("dual" in found.labels) is said
    assert (f"The dual clip drops another {100 * share:.2g} % (actor/pg_clipfrac_lower)" in found.answer) is said
