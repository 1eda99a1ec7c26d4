"""What diagnose does not claim: a bias where samples are trained on, a bound or advice where the ratio is not a token's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from entclip.integrations.diagnose import diagnose


def _cleanrl(k1: float, k3: float) -> list[dict[str, float]]:
    return [{"losses/old_approx_kl": k1 + e, "losses/approx_kl": k3 + e / 9, "losses/clipfrac": 0.02} for e in [1e-5, -1e-5] * 20]


def test_training_on_the_samples_is_no_bias():
    """E[r] - 1 of samples that are trained on is up to their KL: no mismatch. The mean ratio is not called a mean log-ratio."""
    assert "bias" not in diagnose(_cleanrl(4e-4, 2.1e-3))
    assert diagnose(_cleanrl(-0.02, 2.1e-3))["bias"].labels == ("ratio-above-one", "or-training")
    found = diagnose(_cleanrl(-0.04, 2.1e-3))["bias"]
    assert found.labels == ("ratio-above-one",)
    assert found.answer.startswith("The mean ratio, from the two KL estimates, is 1.042 and not 1.")
    assert found.confidence == "medium"


def test_no_bound_from_widths_that_the_noise_rejects():
    """Assumed widths of .2 that make the noise larger than 1 are not the run's, so that cause has no bound from them."""
    rows = [
        {"clip_ratio/low_mean": 0.09 * (i % 4), "clip_ratio/high_mean": 0.05 * (i % 4), "entropy": 0.4 - 0.002 * i}
        for i in range(40)
    ]
    assert diagnose(rows)["cause"].labels == ("unbounded",)
    config = "importance_sampling_level: sequence\nepsilon: 3e-4\nepsilon_high: 4e-4\nnum_iterations: 4"
    found = diagnose(rows, config=config)
    assert found["change"].labels == ("not-settled",)
    assert "gradients of whole sequences" in found["clip"].answer


def test_shares_in_percent_are_not_read():
    """2 and 1 percent are no shares of 200 %: that is said first, and nothing is said of the clip."""
    rows = [{"clip_fraction_low": 2.0 * (i % 4), "clip_fraction_high": 0.4 * (i % 4), "entropy": 0.5} for i in range(40)]
    found = diagnose(rows)
    assert found["clip"].labels == ("percent",)
    assert "inner-steps" not in found
    assert "ceiling" not in found
    rows = [{name: value / 100 for name, value in row.items()} for row in rows]
    assert diagnose(rows)["clip"].labels == ("low",)


def test_a_steady_entropy_beside_a_warning_is_not_all_well():
    sides = {"clip_ratio/low_mean": 0.02, "clip_ratio/high_mean": 0.01}
    rows = [sides | {"sampling/importance_sampling_ratio/mean": 0.94, "entropy": 0.5} for _ in range(40)]
    assert "mend what is warned of under bias" in diagnose(rows)["change"].answer


@pytest.mark.parametrize(("share", "word"), [(0.46, "near"), (0.505, "at"), (0.9, "above")])
def test_a_share_is_said_to_be_near_at_or_above_its_ceiling(share, word):
    """Half, where nobody knows the updates; .505 is within what rows that scatter by .04 tell from it."""
    scatter = np.random.default_rng(0).standard_normal(20)
    half = share / 2 + 0.02 * (scatter - scatter.mean())
    rows = [{"entropy": 0.5, "clip_ratio/low_mean": x, "clip_ratio/high_mean": x} for x in half]
    assert f" is {word} " in diagnose(rows)["ceiling"].answer


@pytest.mark.parametrize(("kl", "alive"), [(0.0, True), (2e-5, True), (2e-3, True), (4e-3, False), (0.01, False)])
def test_shares_of_0_beside_a_kl_are_no_sign_of_one_update(kl: float, alive: bool) -> None:
    """A normal log-ratio with E[-log r] = kl has rms sqrt(2 kl): beyond .2 for 1 % of the tokens from a KL of .0030 on."""
    rows = [
        {"actor/pg_clipfrac": 0.0, "actor/pg_clipfrac_lower": 0.0, "actor/ppo_kl": kl, "actor/entropy": 0.5} for _ in range(40)
    ]
    answer = diagnose(rows)["clip"].answer
    assert answer.startswith("No: every share is 0 in all 40 rows")
    assert ("one update" in answer) == alive
    assert ("says that ratios are not 1" in answer) != alive


@pytest.mark.parametrize(("share", "words"), [("0.000", "0.05 %"), ("0.00", "0.5 %"), ("0.0", ""), ("0", "")])
def test_a_share_that_is_rounded_to_0_is_not_known(share: str, words: str, tmp_path: Path) -> None:
    """verl printed all metrics to three decimals: .0004 of the tokens and none at all were the same line."""
    row = "step:{i} - actor/entropy:{h:.3f} - actor/pg_clipfrac:{share} - critic/score/mean:{r:.3f}\n"
    lines = [row.format(i=i, h=0.6 * 0.98**i, share=share, r=0.3 + 0.01 * i) for i in range(1, 61)]
    log = tmp_path / "run.log"
    log.write_text("".join(lines))
    found = diagnose(log)
    assert (found["clip"].labels == ("unknown", "rounded")) == bool(words)
    assert words in found["clip"].answer
    assert found["cause"].labels[0] == ("unbounded" if words else "not-the-clip")
    on_policy = "algorithm.adv_estimator=grpo data.train_batch_size=64 actor_rollout_ref.actor.ppo_mini_batch_size=64"
    assert diagnose(log, config=f"python3 -m verl.trainer.main_ppo {on_policy}")["clip"].labels == ("none",)
