"""A clip from one library's notation into another's, and into an arm of an experiment."""

from __future__ import annotations

import tomllib

import pytest

from entclip.experiments.sections import Arm
from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.report import convert, convert_command, lint
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from tests.integrations.lint.answers import EXPECTED, FIXTURES, config

SETTINGS = [
    Clip(0.2, 0.28),
    Clip(0.15, float("inf")),
    Clip(1.0, 0.2),
    DualClip(0.2, 0.28, 3.0),
    DualClip(0.1, 0.1, 10.0),
    Cispo(1.0, 4.0),
    Cispo(0.2, 0.28),
    Sapo(1.0, 1.05),
    DppoTv(0.15),
    NoClip(),
]


def numbers(text: str, library: str):
    """kind, low, high, cap of a configuration, infinite widths alike."""
    config = read_config(text, library)
    kind = "clip" if config.kind in ("clip", "dual_clip") else config.kind
    low, high = config.low.value, config.high.value
    if kind == "sapo":
        low, high = (config.get(key).value for key in config.library.sapo_keys)
    cap = config.cap.value if kind == "clip" else None
    return kind, low, "off" if high >= 1e8 else high, None if cap is None or cap >= 1e8 else cap


@pytest.mark.parametrize("clip", SETTINGS, ids=str)
@pytest.mark.parametrize("to", LIBRARIES)
def test_round_trip_through_a_library(clip, to):
    text = convert(clip, to)
    if "Not expressible" in text:
        assert all(line.startswith("#") for line in text.splitlines())
        return
    again = convert(read_config(text, to), to)
    assert numbers(again, to) == pytest.approx(numbers(text, to))
    other = convert(read_config(text, to), "entclip")
    arm = Arm.model_validate(tomllib.loads(other)["arm"][0]).build()
    if "CISPO has no lower bound" in text:
        assert arm == Cispo(1.0, clip.high)
    elif "it has no dual clip" in text:
        assert arm == Clip(clip.low, clip.high)
    else:
        assert arm == (Clip(1.0, float("inf")) if isinstance(clip, NoClip) else clip)


def test_what_cannot_be_expressed_is_said():
    assert "Not expressible in OpenRLHF 0.11.2: it has no cispo loss" in convert(Cispo(), "openrlhf")
    assert "moves a token of probability p by 0.28 p" in convert(Clip(0.2, 0.28), "prime-rl")
    assert "TRL's CISPO has no lower bound" in convert(Cispo(0.2, 0.2), "trl")
    assert "cannot be switched off" in convert(Clip(), "verl")
    assert "delta caps the ratio for both signs" in convert(DualClip(0.2, 3.0, 2.0), "trl")
    assert "KL-Cov is a penalty" in convert(read_config(FIXTURES / "verl/kl_cov.yaml"), "trl")
    assert "below 1" in convert(read_config(FIXTURES / "trl/cispo_left_at_028.yaml"), "verl")
    assert "act on token ratios" in convert(read_config(FIXTURES / "trl/gspo_paper.yaml"), "entclip")
    assert "one delta" in convert(read_config("[trainer.loss]\ndppo_mask_low = 0.1"), "entclip")


def test_notes_follow_the_source():
    assert "sampling engine" in convert(read_config("[trainer.loss]\nkl_tau = 0.0", "prime-rl"), "verl")
    assert "sampling engine" not in convert(read_config("epsilon: 0.2\nbeta: 0"), "verl")
    assert convert(Clip(0.2, 2e7), "openrlhf").endswith("0.2 20000000")


def test_a_cap_of_both_signs_is_the_high_width():
    """TRL drops A > 0 beyond min(1 + epsilon_high, delta) and A < 0 beyond delta: elsewhere the width is delta - 1."""
    text = "epsilon: 0.1\nepsilon_high: 0.2\nnum_generations: 8\nloss_type: grpo\ndelta: "
    for delta, high in ((1.05, 0.05), (1.5, 0.2)):
        for to in ("openrlhf", "verl", "trl"):
            low, width, cap = numbers(convert(read_config(f"{text}{delta}"), to), to)[1:4]
            assert (low, width, cap) == (0.1, high, delta)
    assert "caps the ratio of both signs" in convert(read_config(f"{text}1.05"), "openrlhf")
    with pytest.raises(ValueError, match="at or below 1"):
        convert(read_config(f"{text}1"), "verl")


def test_widths_in_percent_are_not_converted():
    with pytest.raises(ValueError, match="probably percent"):
        convert(read_config("epsilon: 20\nepsilon_high: 28\nnum_generations: 8\nloss_type: grpo"), "verl")
    assert "# TRL" in convert(read_config("epsilon: 0.2\nepsilon_high: 28\nnum_generations: 8\nloss_type: grpo"), "trl")


def test_log_space_widths_become_ratio_widths():
    text = convert(read_config(FIXTURES / "verl/geo_mean.yaml"), "trl")
    config = read_config(text)
    assert config.low.value == pytest.approx(1 - 2.718281828459045**-0.4)
    assert config.high.value == pytest.approx(2.718281828459045**0.4 - 1)
    assert "geometric mean is not converted" in text


def test_sequence_level_survives_conversion():
    for to in ("trl", "verl", "openrlhf"):
        config = read_config(convert(read_config(FIXTURES / "trl/gspo_paper.yaml"), to), to)
        assert (config.level.value, config.low.value, config.high.value) == ("sequence", 0.0003, 0.0004)
        assert "sequence-aggregation" not in {f.id for f in lint(config).findings}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("to", ["trl", "verl", "openrlhf", "prime-rl", "entclip"])
def test_every_fixture_converts_or_says_why_not(name, to):
    given = config(name)
    if any(fact.unknown for fact in (given.low, given.high, given.cap)):
        with pytest.raises(ValueError, match=r"cannot convert: .* is not in the configuration"):
            convert(given, to)
        return
    if (given.elsewhere or given.doubtful) and any(fact.key and not fact.explicit for fact in (given.low, given.high)):
        with pytest.raises(ValueError, match=r"cannot convert: .* may hold settings and cannot be read here, and .* default"):
            convert(given, to)
        return
    if given.doubtful:
        with pytest.raises(ValueError, match=r"cannot convert: .* it may decide what the clip does"):
            convert(given, to)
        return
    if "percent-widths" in EXPECTED[name]["findings"]:
        with pytest.raises(ValueError, match=r"cannot convert: .* probably percent"):
            convert(given, to)
        return
    text = convert(given, to)
    if "Not expressible" not in text:
        if to == "entclip":
            Arm.model_validate(tomllib.loads(text)["arm"][0])
        else:
            assert lint(read_config(text, to)).config.unknown_keys == ()


def test_convert_refuses_unknown_targets():
    with pytest.raises(ValueError, match=r"choose one of trl, verl, openrlhf, .*, sb3, cleanrl, trl-ppo, entclip"):
        convert(Clip(), "rllib")


def test_convert_command_takes_a_file_or_widths():
    assert "clip_ratio_high=0.28" in convert_command(None, "verl", None, 0.2, 0.28, None)
    assert "delta: 3" in convert_command(None, "trl", None, None, None, 3.0)
    assert "epsilon_high: 0.28" in convert_command(FIXTURES / "verl/dapo_32b.sh", "trl", None, None, None, None)
    with pytest.raises(ValueError, match="not both"):
        convert_command(FIXTURES / "verl/dapo_32b.sh", "trl", None, 0.2, None, None)
    with pytest.raises(ValueError, match="give a configuration file, or widths"):
        convert_command(None, "trl", None, None, None, None)
    with pytest.raises(ValueError, match=r"clip.low must be in \[0, 1\]"):
        convert_command(None, "trl", None, 1.2, None, None)
