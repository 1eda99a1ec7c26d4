"""The size of the noise that `diagnose` and `predict --from --log` find, on logs whose truth is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

from entclip.integrations.diagnose import diagnose, law
from entclip.integrations.diagnose.logged import logged
from entclip.integrations.diagnose.noise import shares, update_points
from entclip.integrations.diagnose.noise_sizes import by_kl, by_share
from entclip.integrations.diagnose.run import Run
from entclip.integrations.lint.config import read_config
from entclip.integrations.logs import read_rows
from entclip.report.forecast import logged_lines

ENTROPY = 0.6
KS = (2, 3, 4, 16)
BELOW, ABOVE = math.log(0.8), math.log(1.2)


def of_smollm2(sigma, updates):
    """Sign-gated shares of both sides in each update k = 0, ..., K - 1, as the definitions have them: nothing of the law's code
    but its policy. sigma: rms of log r over tokens after all K updates."""
    log_probs, counts = law._at_entropy(ENTROPY)
    probs = np.exp(log_probs)
    mass = counts * probs
    shape = np.maximum(1 - 2 * probs + np.sum(mass * probs, axis=1, keepdims=True), 0)
    shape *= sigma**2 / np.mean(np.sum(mass * shape, axis=1))
    out = [(0.0, 0.0)]
    for k in range(1, updates):
        sd = np.sqrt(shape * k / updates) + 1e-12
        low, high = ndtr((BELOW + sd**2 / 2) / sd), ndtr(-(ABOVE + sd**2 / 2) / sd)
        out.append(tuple(float(np.mean(np.sum(mass * side, axis=1))) / 2 for side in (low, high)))
    return out


def of_one_law(sigma, updates, moving):
    """The same where a share `moving` of the tokens has one normal law and the others do not move."""
    out = [(0.0, 0.0)]
    for k in range(1, updates):
        sd = sigma * math.sqrt(k / updates / moving)
        out.append((moving * float(ndtr((BELOW + sd**2 / 2) / sd)) / 2, moving * float(ndtr(-(ABOVE + sd**2 / 2) / sd)) / 2))
    return out


def each_update(sides, rollouts=24):
    """TRL's rows: every update by itself."""
    rows = [dict(zip(("clip_ratio/low_mean", "clip_ratio/high_mean"), side, strict=True)) for side in sides] * rollouts
    return [row | {"step": i + 1, "entropy": ENTROPY} for i, row in enumerate(rows)]


def each_rollout(sides, sigma, rollouts=24):
    """verl's rows: means over the updates of a rollout, the first with its 0 included, and of KL likewise."""
    updates = len(sides)
    share = sum(map(sum, sides)) / updates
    kl = sum(sigma**2 * k / updates / 2 for k in range(updates)) / updates
    return [{"step": i + 1, "actor/entropy": ENTROPY, "actor/pg_clipfrac": share, "actor/ppo_kl": kl} for i in range(rollouts)]


def verl(updates):
    actor = "actor_rollout_ref.actor"
    return read_config(f"data.train_batch_size={64 * updates} {actor}.ppo_mini_batch_size=64 {actor}.clip_ratio=0.2")


def trl(updates):
    return read_config(f"epsilon: 0.2\nnum_generations: 8\ngradient_accumulation_steps: 1\nsteps_per_generation: {updates}")


@pytest.mark.parametrize("sigma", [0.06, 0.2])
@pytest.mark.parametrize("updates", KS)
def test_the_noise_of_the_stated_law_is_found(updates, sigma):
    """Whether rows are updates or means of a rollout. 1e-4: sums over up to 13 updates are exact, over 16 to 1e-6 of a share."""
    sides = of_smollm2(sigma, updates)
    own = by_share(Run.of(read_rows(each_update(sides)), trl(updates)))
    mean = by_share(Run.of(read_rows(each_rollout(sides, sigma)), verl(updates)))
    kl = by_kl(Run.of(read_rows(each_rollout(sides, sigma)), verl(updates)))
    for size in (own, mean, kl):
        assert size.rms == pytest.approx(sigma, rel=1e-4)
        assert size.bounds[0] <= size.rms <= size.bounds[1]


@pytest.mark.parametrize("moving", [1.0, 0.4, 0.1])
@pytest.mark.parametrize(("updates", "sigma"), [(2, 0.06), (2, 0.095), (3, 0.08), (4, 0.2), (16, 0.07)])
def test_the_bounds_hold_whoever_moves(updates, sigma, moving):
    """Tokens of one law, all of them or a part, are no policy's: the bounds are for such. Shares have no error here."""
    size = by_share(Run.of(read_rows(each_update(of_one_law(sigma, updates, moving))), trl(updates)))
    assert size.bounds[0] * (1 - 1e-4) <= sigma <= size.bounds[1] * (1 + 1e-4)
    assert size.bounds[1] < 4 * size.bounds[0]  # and they say something


def test_a_sum_over_updates_is_the_sum():
    for updates in (2, 5, 13):
        points = np.array(update_points(updates))
        assert points[:, 0] == pytest.approx(np.arange(1, updates), abs=1e-9)
        assert points[:, 1] == pytest.approx(1, abs=1e-9)
    for updates in (16, 64, 1000):
        total = [0.0, 0.0]
        for k in range(1, updates):
            sd = 0.12 * math.sqrt(k / updates)
            total[0] += float(ndtr((BELOW + sd**2 / 2) / sd)) / 2 / updates
            total[1] += float(ndtr(-(ABOVE + sd**2 / 2) / sd)) / 2 / updates
        assert shares(0.12, 0.2, 0.2, updates) == pytest.approx(total, rel=1e-5)
    assert shares(0.12, 0.2, 0.2, 1) == (0, 0)


def test_both_commands_print_one_number(tmp_path):
    """predict --from --log says of the log what diagnose says, word for word, and what its own table's number is."""
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in each_update(of_smollm2(0.11, 2))))
    config = trl(2)
    found = logged(config, path)
    said = diagnose(path, config=config)["noise"]
    assert found.told == said.answer.rstrip(".")
    assert found.told.startswith("Log-ratio rms at the end of a rollout: 0.11 by the clip shares")
    assert "after the last of a rollout's K updates" in said.reason

    path.write_text("\n".join(json.dumps(row) for row in each_rollout(of_smollm2(0.11, 3), 0.11)))
    assert diagnose(path, config=verl(3))["noise"].answer.startswith(f"{logged(verl(3), path).told}. Their ratio of 1 is within")

    class Found:
        rms, log_ratio_rms, one_width = 0.17, 0.12, "eps"

    line = logged_lines(found.source, found.told, None, Found, [], True)[0]
    assert found.told in line
    assert "logits move by 0.17 and log-ratios of sampled tokens, which normalisation damps, by 0.12." in line


@pytest.mark.parametrize("euclidean", [False, True])
@pytest.mark.parametrize(("edge", "sign"), [(BELOW, -1.0), (ABOVE, 1.0)])
@pytest.mark.parametrize(("rare", "widest"), [(1e-9, 30.0), (0.05, 1.5)], ids=["no number", "wide"])
def test_entropy_values_under_noise_without_a_second_moment(rare, widest, edge, sign, euclidean):
    """Against a grid of log r up to where pi is 1: a standard deviation of 30, whose e^(sd^2) is no number, and one of 1.5, under
    which a tenth of a token's mass would be beyond that end."""
    log_probs = np.log([[0.6, 0.3, 0.1 - rare, rare]])
    pool = law._Law.of(log_probs, np.ones_like(log_probs), 2, -0.25)
    scale = widest**2 / float(pool.shape.max()) * 2
    found = pool._value(scale, edge, sign, euclidean)
    sd = np.sqrt(scale * pool.shape[0] / 2)
    surplus = pool.surplus[0] + float(np.sum(pool.mass[0] * sd**2 / 2))
    value = average = beyond = cut = ends = 0.0
    for p, own, s in zip(pool.probs[0], sd, surplus, strict=True):
        grid = np.linspace(-(own**2) / 2 - 9 * own - 10, -math.log(p), 400_001)
        density = np.exp(-((grid + own**2 / 2) ** 2) / (2 * own**2) + grid) / own / math.sqrt(2 * math.pi)
        worth = (s - grid) * p * (np.exp(grid) * p if euclidean else 1.0)
        side = grid < edge if sign < 0 else grid > edge
        step = grid[1] - grid[0]
        # A sum over a grid is off by at most half a step of the integrand where it is cut off: at the edge, and at its end.
        at_end = abs(float(worth[-1] * density[-1])) * step / 2
        cut += abs(float(np.interp(edge, grid, worth * density))) * step / 2 + at_end
        ends += at_end
        value += float(np.sum((worth * density)[side])) * step
        average += float(np.sum(worth * density)) * step
        beyond += p * float(np.exp(log_ndtr(-(sign * edge / own - sign * own / 2))))
    assert found == pytest.approx(value - (average * beyond if euclidean else 0.0), abs=cut + ends, rel=0)


@pytest.mark.parametrize("power", law.POWERS)
@pytest.mark.parametrize("share", [0.0066, 0.3])
def test_neutral_widths_are_numbers_or_none(power, share):
    """No warning of numpy's reaches anybody (pytest makes an error of it), and a width lies where it was looked for."""
    for policy in (0.3, 2.0):
        for found in law.neutral_lows(policy, share, 0.2, 0.2, 2 if share < 0.1 else 64, power):
            assert found is None or 0.01 <= found <= 0.99
