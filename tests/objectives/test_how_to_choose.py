"""The page on choosing says what its two experiments gave, and the experiments give that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from entclip import load, objective, run
from entclip.experiments.experiment import parse_experiment

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to-choose.md").read_text("utf-8")
DATA = {name: json.loads((DOCS / "data" / f"objectives_{name}.json").read_text("utf-8")) for name in ("headline", "true_reward")}
ROWS = {name: {row["objective"]: row for row in data["rows"]} for name, data in DATA.items()}
RANDOM, TRUE = ROWS["headline"], ROWS["true_reward"]
PARTS = ("clip_low", "clip_high", "other", "curvature")
SHOWN = {"headline": PARTS, "true_reward": ("reward_end", "reward_difference", "unclipped", *PARTS)}


def shown(value: float) -> str:
    text = f"{value:+.4f}".replace("+0.", "+.").replace("-0.", "-.")
    return "0" if float(text) == 0 else text


def with_half(row: dict[str, Any], name: str) -> str:
    """A paired difference from the clip, with half of its 95 % interval where it has one."""
    half = row[f"{name}_half_width"]
    return shown(row[name]) + (f" ± {shown(half)[1:]}" if half else "")


def line_of(row: dict[str, Any], first: tuple[str, ...]) -> str:
    best, worst, clip = row["rank_best"], row["rank_worst"], row["objective"] == "clip"
    cells = {"reward_difference": "-" if clip else with_half(row, "reward_difference")} if "reward_difference" in first else {}
    parts = [*(cells.get(part) or shown(row[part]) for part in first), shown(row.get("bonus", 0.0))]
    places = "-" if row["difference_half_width"] is None else str(best) if best == worst else f"{best}-{worst}"
    against = "-" if clip else with_half(row, "difference")
    return " | ".join([row["objective"], shown(row["change"]), against, places, *parts])


@pytest.mark.parametrize("name", DATA)
def test_the_page_has_the_numbers_of_the_data(name: str) -> None:
    for row in DATA[name]["rows"]:
        assert f"| {line_of(row, SHOWN[name])} |" in PAGE
    for left_out in (*DATA[name]["failed"], *DATA[name]["unfit"]):
        assert f"`{left_out}`" in PAGE


def test_what_the_page_says_of_the_random_reward_is_in_the_data() -> None:
    assert abs(sum(RANDOM["abc_grpo"][part] for part in ("clip_low", "clip_high", "other"))) < 1e-12
    assert [shown(RANDOM["abc_grpo"][part]) for part in ("clip_low", "clip_high", "other")] == ["+.3768", "-.3793", "+.0025"]
    (plain,) = DATA["headline"]["others"]
    assert plain["objective"] == "clip(low=.4,high=.2)"
    assert plain["change"] == RANDOM["bapo"]["change"]
    assert f"{with_half(plain, 'difference')[1:]} below the clip (.2, .2)" in PAGE
    rose = sorted((name for name, row in RANDOM.items() if row["change"] > 0), key=lambda name: -RANDOM[name]["change"])
    assert rose == ["cde", "repo", "entropy_bonus", "repo_r"]
    for rows in ROWS.values():
        assert all(
            rows[name]["change"] == rows["clip"]["change"] for name in ("dual_clip", "clip_b", "clip_v", "entropic", "aer")
        )
        for name in ("dppo_tv", "dppo_kl", "ripo", "cispo_trl"):
            assert abs(rows[name]["change"] - rows["none"]["change"]) < 5e-4, name


def test_what_the_page_says_of_the_true_reward_is_in_the_data() -> None:
    def against(name: str, column: str) -> float:
        return float(TRUE[name][column] - TRUE["clip"][column])

    def on_curve(reward: float, left: str, right: str) -> str:
        """What that much more reward than the clip's costs in entropy on the line between two others."""
        x, y = ([against(name, column) for name in (left, right)] for column in ("reward_end", "change"))
        return f"{y[0] + (reward - x[0]) / (x[1] - x[0]) * (y[1] - y[0]):.4f}"

    for name in ("entropy_bonus", "erc", "parl", "positive_weight", "w_reinforce", "qae", "repo_r", "bapo"):
        for column, other in (("reward_difference", "reward_end"), ("difference", "change")):
            assert TRUE[name][column] == pytest.approx(against(name, other), abs=1e-12)
            assert with_half(TRUE[name], column)[1:] in PAGE
    erc = TRUE["erc"]
    assert on_curve(erc["reward_difference"], "calibrl", "gapo") == "-0.0331"
    assert abs(erc["difference"] + 0.0331) < erc["difference_half_width"], "nothing says that it is off the curve"
    bonus = TRUE["entropy_bonus"]
    assert on_curve(bonus["reward_difference"], "positive_weight", "clip") == "0.0013"
    assert bonus["difference"] - bonus["difference_half_width"] > 0.0013 + bonus["reward_difference_half_width"], "off the curve"
    assert on_curve(TRUE["parl"]["reward_difference"], "clip", "leave_one_out") == "-0.0053"
    assert TRUE["parl"]["difference"] + TRUE["parl"]["difference_half_width"] < -0.0053
    assert on_curve(TRUE["bapo"]["reward_difference"], "steer", "random_drop") == "-0.1469"
    assert TRUE["bapo"]["difference_half_width"] is None
    assert all(abs(against(name, "change")) < 1e-12 for name in ("abc_grpo", "cispo_torchrl"))
    assert abs(TRUE["clip_cov"]["change"] - TRUE["none"]["change"]) < 7e-4
    # More reward for less entropy: of all pairs that differ by .02 in either, nearly all are ordered so.
    pairs = [
        (a["change"] - b["change"]) * (a["reward_end"] - b["reward_end"]) < 0
        for a in TRUE.values()
        for b in TRUE.values()
        if abs(a["change"] - b["change"]) > 0.02 and abs(a["reward_end"] - b["reward_end"]) > 0.02
    ]
    assert sum(pairs) / len(pairs) > 0.98


def test_what_is_said_of_the_runs_of_findings() -> None:
    """Advice that goes by `family_true` and its like: numbers as they are kept."""
    kept = {
        name: json.loads((DOCS / "data" / "findings" / f"{name}.json").read_text("utf-8"))["arms"]
        for name in ("headline", "family_true", "family_euclidean")
    }
    true = kept["family_true"]
    clip, higher = (kept["headline"][arm]["measured_cv"] for arm in ("both", "clip_higher"))
    assert round(higher - clip, 4) == 0.0172
    assert round(true["clip"]["minus_clip_higher"], 4) == 0.0741
    half = stats.t.ppf(0.995, true["clip"]["units"] - 1) * true["clip"]["minus_clip_higher_se"]
    assert f"{half:.4f}" == "0.0019"
    assert [round(true[arm]["policy_reward"], 3) for arm in ("clip", "clip_higher")] == [0.554, 0.605]
    assert round(kept["family_euclidean"]["clip"]["minus_clip_higher"], 4) == 0.0075
    assert kept["family_euclidean"]["clip"]["gap_high"] < 0
    assert round(true["steer"]["minus_clip_higher"], 4) == 0.0136
    assert round(true["clip_higher"]["policy_reward"] - true["steer"]["policy_reward"], 4) == 0.0076
    for arms in (true, kept["family_euclidean"]):
        assert arms["clip_cov_0.2"]["minus_clip_higher"] < 0 < arms["clip_cov_0.0002"]["minus_none"]


def test_symptoms_have_the_numbers_of_their_runs() -> None:
    """Explosion, both gaps negative, and a clip that is dead."""
    assert round(RANDOM["entropy_bonus"]["bonus"], 4) == 0.0956
    model = json.loads((DOCS / "data" / "controllers.json").read_text())["language model"]
    rise = {name: 100 * (model[name]["entropy"][-1] / model[name]["target"] - 1) for name in ("fixed", "predictive")}
    assert {name: f"{value:.1f}" for name, value in rise.items()} == {"fixed": "8.1", "predictive": "-0.8"}
    text = (DOCS / "findings.md").read_text()
    knobs = text[text.index("### Which way do the knobs turn?") : text.index("### Is eps_low the stronger knob")]
    assert "`zipf:1,update:euclidean:0.743:64:64:1: low_15 - low_25` | total | -0.0128 |" in knobs
    assert "`zipf:1,update:euclidean:0.743:64:64:1: high_25 - high_15` | total | -0.0126 |" in knobs
    signs = {row.split(" | ")[0].split(":")[-1]: row for row in knobs.splitlines() if "zipf:1,update:euclidean" in row}
    assert all(" | -0.0" in row and "/ -0." in row for row in signs.values()), "both gaps are negative"
    assert "**Reproduced** (9 reproduced)" in text[text.index("### Is a clip that hardly ever acts enough?") :][:200]


def test_bapo_is_the_clip_at_its_first_widths() -> None:
    """In a few contexts of the first experiment, unit by unit; a share that the samples do not have widens it."""
    arms = {"bapo": objective("bapo"), "clip": objective("clip", low=0.4, high=0.2), "more": objective("bapo", target=0.9)}
    spec = load("headline", ["policy.contexts=4", "update.rollouts=1"]).model_dump(exclude_none=True)
    found = run(parse_experiment(spec | {"arm": [{"name": n, "objective": o} for n, o in arms.items()]})).arms
    ours, theirs, more = (found[name].rows[-1]["measured"] for name in arms)
    assert ours == theirs != more


@pytest.mark.parametrize(("name", "member"), [("headline", "abc_grpo"), ("true_reward", "qae"), ("true_reward", "leave_one_out")])
def test_the_experiments_give_the_data(name: str, member: str) -> None:
    """A row again: with the same seed it is the same number up to rounding."""
    experiment = load(name).model_dump(exclude_none=True) | {"arm": [{"name": member, "objective": member}]}
    arm = run(parse_experiment(experiment)).summary()["arms"][member]
    assert arm["measured_cv"] == pytest.approx(ROWS[name][member]["change"], rel=1e-9)
    assert arm["expected_clip_low"] == pytest.approx(ROWS[name][member]["clip_low"], rel=1e-9)
