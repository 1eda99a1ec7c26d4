"""Findings: the one rule of verdicts, the catalogue, the page of record, and `entclip reproduce` end to end on small items."""

from __future__ import annotations

import json
import math
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from scipy import stats

from entclip.experiments.load import load
from entclip.findings import runs as making
from entclip.findings.data import Catalogue, Contrast, RunSpec, load_catalogue
from entclip.findings.family.experiments import AGAINST
from entclip.findings.figures import draw
from entclip.findings.kept import read_data, write_data
from entclip.findings.page import render
from entclip.findings.runs import make, reusable
from entclip.findings.tables import contrasts_csv, tally
from entclip.findings.verdicts import Judged, expand, finding_verdict, judge_contrast
from entclip.support.errors import SpecError
from tests.called import entclip

DOCS = Path(__file__).parents[2] / "docs"
CATALOGUE = load_catalogue()


def arm(**columns):
    """An arm with ten units and enough clip events, clip_low = 1 +/- .1 unless said otherwise."""
    return {"clip_low": 1.0, "clip_low_se": 0.1, "units": 10, "clip_events_low": 100, "gap_low": 0.5} | columns


def one(arms, **keys):
    """The only contrast of a run with these arms."""
    defaults = {"run": "r", "column": "clip_low", "sign": 1} | ({} if "terms" in keys else {"arm": "a"})
    if "within" in keys:
        del defaults["sign"]
    (judged,) = judge_contrast(Contrast.model_validate(defaults | keys), arms)
    return judged


# ---- the rule of a contrast --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sign", "verdict"),
    [(1.0, 1, "reproduced"), (1.0, -1, "contradicted"), (-1.0, 1, "contradicted"), (-1.0, -1, "reproduced"), (0.2, 1, "open")],
)
def test_a_sign_is_told_by_the_whole_interval(value, sign, verdict):
    assert one({"a": arm(clip_low=value)}, sign=sign).verdict == verdict


def test_the_interval_is_students_with_the_units_that_are_independent():
    judged = one({"a": arm()})
    assert judged.interval == pytest.approx([1 - 0.1 * stats.t.ppf(0.995, 9), 1 + 0.1 * stats.t.ppf(0.995, 9)], rel=1e-12)
    # 1 is 3.2 standard errors of .31: told with ten units (3.25 needed) no, with a hundred (2.63) yes.
    assert one({"a": arm(clip_low_se=0.31)}).verdict == "open"
    assert one({"a": arm(clip_low_se=0.31, units=100)}).verdict == "reproduced"


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"units": 1}, "fewer than two independent units"),
        ({"units": None}, "fewer than two independent units"),
        ({"clip_low_se": None}, "no standard error"),
        ({"clip_events_low": 9}, "only 9 samples were clipped"),
        ({"clip_events_low": 0, "clip_low": 0.0, "clip_low_se": 0.0}, "nothing was clipped"),
    ],
)
def test_without_an_error_nothing_is_told(columns, why):
    judged = one({"a": arm(**columns)})
    assert (judged.verdict, judged.interval, judged.why) == ("open", None, why)


@pytest.mark.parametrize("columns", [{"clip_low": math.nan}, {"clip_low_se": math.inf}, {"clip_low": None}])
def test_what_is_no_number_is_refused(columns):
    with pytest.raises(SpecError, match="judge"):
        one({"a": arm(**columns)})


def test_a_predicted_size_needs_the_interval_inside():
    margin = {"factor": 2.0}
    assert one({"a": arm()}, within=margin).verdict == "reproduced"
    assert one({"a": arm(clip_low=1.9)}, within=margin).verdict == "open"
    assert one({"a": arm(clip_low=-3.0)}, within=margin).verdict == "contradicted"
    relative = {"factor": 0.5, "of": "clip_low", "of_arm": "b"}
    assert one({"a": arm(), "b": arm(clip_low=-4.0)}, within=relative).predicted == "within ±2"


def test_the_gap_gives_the_sign():
    assert one({"a": arm(gap_low=0.5)}, sign="gap").verdict == "reproduced"
    assert one({"a": arm(gap_low=-0.5)}, sign="gap").verdict == "contradicted"
    assert one({"a": arm(gap_low=None)}, sign="gap").verdict == "open"
    high = {"clip_high": -1.0, "clip_high_se": 0.1, "units": 10}
    assert one({"a": high | {"gap_high": 0.5}}, sign="gap", column="clip_high").verdict == "reproduced"
    assert one({"a": high | {"gap_high": -0.5}}, sign="gap", column="clip_high").verdict == "contradicted"


def test_errors_of_sums_are_added():
    """Whatever the correlation, the error of a sum is at most the sum of errors."""
    arms = {"a": arm(), "b": arm(clip_low=0.4, clip_low_se=0.2, units=5)}
    judged = one(arms, terms=[{"arm": "a"}, {"arm": "b", "factor": -2.0}])
    assert (judged.value, judged.se) == (pytest.approx(0.2), pytest.approx(0.5))
    assert judged.interval == pytest.approx((0.2 - 0.5 * stats.t.ppf(0.995, 4), 0.2 + 0.5 * stats.t.ppf(0.995, 4)))
    both = one({"a": arm(clip_high=-0.4, clip_high_se=0.3, clip_events_high=50)}, column="clips")
    assert (both.value, both.se) == (pytest.approx(0.6), pytest.approx(0.4))


def test_total_is_the_mean_with_the_smaller_error_and_a_residual_has_its_own():
    columns = {"measured": 1.0, "measured_se": 0.1, "measured_cv": 2.0, "measured_cv_se": 0.2}
    assert one({"a": arm(**columns)}, column="total").value == 1.0
    assert one({"a": arm(**columns | {"measured_cv_se": 0.05})}, column="total").value == 2.0
    assert one({"a": arm(**columns | {"measured_cv": None, "measured_cv_se": None})}, column="total").value == 1.0
    judged = one({"a": arm(expected_clip_low=0.9, residual_clip_low_se=0.01)}, column="residual_clip_low")
    assert (judged.value, judged.se) == (pytest.approx(0.1), 0.01)


def test_an_exact_number_is_judged_by_its_range_over_contexts():
    exact = {"noise": 1.0, "noise_min": 0.5, "noise_max": 2.0}
    assert one({"a": exact}, column="noise").verdict == "reproduced"
    assert one({"a": exact | {"noise_min": -0.5}}, column="noise").verdict == "open"
    assert one({"a": exact}, column="noise", sign=-1).verdict == "contradicted"


def test_patterns_stand_for_every_case_that_matches():
    contrast = Contrast(run="r", column="clip_low", case="x*", arm="a", sign=1)
    assert [label for label, _ in expand(contrast, ["x1/a", "x1/b", "x2/a", "y/a"])] == ["x1: a", "x2: a"]
    with pytest.raises(SpecError, match="has no a in a case like 'x\\*'"):
        expand(contrast, ["y/a"])


# ---- the rule of a finding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ("rr", "reproduced"),
        ("cc", "contradicted"),
        ("rc", "conditional"),
        ("rco", "conditional"),
        ("oo", "inconclusive"),
        ("ro", "reproduced in part"),
        ("co", "contradicted in part"),
        ("rn", "reproduced"),
        ("nn", "not run"),
        ("on", "inconclusive"),
    ],
)
def test_a_findings_verdict(verdicts, expected):
    names = {"r": "reproduced", "c": "contradicted", "o": "open", "n": "not run"}
    contrast = Contrast(run="r", column="clip_low", arm="a", sign=1)
    assert finding_verdict([Judged(contrast, "a", None, None, None, "", names[v]) for v in verdicts]) == expected


# ---- the catalogue -----------------------------------------------------------------------------------------------------------


def names_of(run: RunSpec, quick: bool):
    return [f"{label}/{a.name}" if label else a.name for label, case in run.spec(quick).cases() for a in case.arm]


@pytest.mark.parametrize("run", [r for r in CATALOGUE.run if r.exact is None], ids=lambda run: run.name)
def test_contrasts_refer_to_arms_and_columns_that_exist(run):
    """In both modes; of the columns, those that every ledger has."""
    parts = ("unclipped", "clip_low", "clip_high", "curvature")
    known = {*parts, "clips", "total", *(f"residual_{p}" for p in parts)}
    arms = {quick: names_of(run, quick) for quick in (False, True)}
    if run.pretrained is not None:
        minus = [f"minus_{arm}" for arm in arms[False]]
        judged = run.spec(False).rollout_rules.reward != "random"
        known = {"total", *minus, *(f"{score}_{name}" for score in ("pass_at_1", "pass_at_8") for name in minus if judged)}
    if run.family is not None:
        known |= {"own", *(f"minus_{arm}" for arm in AGAINST[run.family])}
    for finding in CATALOGUE.findings:
        for contrast in finding.contrast:
            if contrast.run == run.name:
                assert contrast.column in known, finding.id
                assert all(expand(contrast, arms[quick]) for quick in arms)


def test_every_experiment_that_bears_on_a_sign_is_listed():
    """No regime is left out because of what it says: each case in which a random reward is clipped at a side has its contrast."""
    for finding, side, off in (("clip-low-raises", "low", 1.0), ("clip-high-lowers", "high", math.inf)):
        (chosen,) = (f for f in CATALOGUE.findings if f.id == finding)
        for run in CATALOGUE.run:
            # knob moves the widths of policies and steps that sign_map has; objectives side by side are judged as such
            if run.exact is not None or run.family is not None or run.name == "knob":
                continue
            spec = run.spec(False)
            random = spec.reward.kind != "table" and spec.rollout_rules.reward == "random"
            for label, case in spec.cases() if random else []:
                if any(getattr(a.build(), side, off) != off for a in case.arm):
                    covered = [c for c in chosen.contrast if c.run == run.name and fnmatchcase(label, c.case)]
                    assert covered, (finding, run.name, label)


def test_every_shipped_experiment_is_run_or_says_nothing_about_a_clip():
    from entclip.experiments.load import experiment_names

    unused = set(experiment_names()) - {r.experiment for r in CATALOGUE.run}
    # brorl clips nothing; llm has two antithetic pairs, whose interval (one degree of freedom) tells nothing. The page says so.
    assert unused == {"brorl", "llm"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["paper"][0]["contrast"][0].update(run="nowhere"), "there is no run 'nowhere'"),
        (lambda d: d["paper"][0]["contrast"][0].update(sign=None), "either sign or within"),
        (lambda d: d["paper"][0]["contrast"][0].update(column="total", sign="gap"), "is about clip_low or clip_high"),
        (lambda d: d["paper"].append(d["paper"][0]), "two of the findings"),
        (lambda d: d["run"][0].update(pretrained=None), "give one of experiment, exact, family and pretrained"),
    ],
)
def test_a_wrong_catalogue_is_refused(change, message):
    data = json.loads(CATALOGUE.model_dump_json())
    change(data)
    with pytest.raises(ValueError, match=message):
        Catalogue.model_validate(data)


def test_the_pretrained_model_is_judged_first():
    for finding in CATALOGUE.findings:
        pretrained = [CATALOGUE.runs[c.run].pretrained is not None for c in finding.contrast]
        assert pretrained == sorted(pretrained, reverse=True), finding.id


def test_a_regime_counts_once_however_many_contrasts_it_has():
    def called(regime, *verdicts):
        contrast = Contrast(run="headline", column="clip_low", arm="both", sign=1, regime=regime)
        return [Judged(contrast, "both", None, None, None, "", verdict) for verdict in verdicts]

    judged = [
        *called("for", "reproduced", "reproduced", "open"),
        *called("against", "contradicted"),
        *called("divided", "reproduced", "contradicted"),
        *called("open", "open", "open", "open"),
        *called("not run", "not run"),
    ]
    assert tally(CATALOGUE, judged) == (1, 1, 1, 1)
    assert tally(CATALOGUE, [*judged, *called("for too", "reproduced")]) == (2, 1, 1, 1)


def test_identities_stand_apart_from_evidence():
    """None of them is counted among the findings, and none of their runs' verdicts can be read as evidence about a model."""
    page = render(CATALOGUE, read_data(DOCS))
    claims, identities = (page.split(f"### {name}\n")[1].split("\n### ")[0] for name in ("The paper's claims", "Identities"))
    for finding in CATALOGUE.findings:
        assert (f"[{finding.title}](" in identities) == finding.identity
        assert not (finding.identity and f"[{finding.title}](" in claims)
    assert not any(CATALOGUE.runs[c.run].pretrained for f in CATALOGUE.findings if f.identity for c in f.contrast)


# ---- the page of record ------------------------------------------------------------------------------------------------------


def test_the_page_is_what_its_data_say():
    """If this fails: entclip reproduce --out results/findings, then copy findings.md, data and figures into docs."""
    results = read_data(DOCS)
    assert set(results) == set(CATALOGUE.runs)
    assert {r["mode"] for r in results.values()} == {"full"}
    assert render(CATALOGUE, results) == (DOCS / "findings.md").read_text()
    assert contrasts_csv(CATALOGUE, results) == (DOCS / "data" / "findings" / "contrasts.csv").read_text()


def test_its_data_are_those_of_the_experiments_that_ship():
    for name, data in read_data(DOCS).items():
        run = CATALOGUE.runs[name]
        if run.exact is None:
            assert data["digest"] == run.spec(False).digest, f"{name} was changed: entclip reproduce {name}"


def test_swapped_sides_turn_the_verdicts():
    """The falsifier: with low and high exchanged, what is reproduced is contradicted, and the other way round."""
    data = read_data(DOCS)["headline"]["arms"]
    other = {"low": "high", "high": "low"}
    swapped = {
        name: {"_".join(other.get(word, word) for word in key.split("_")): value for key, value in columns.items()}
        for name, columns in data.items()
    }
    low = Contrast(run="headline", column="clip_low", arm="both", sign=1)
    high = Contrast(run="headline", column="clip_high", arm="both", sign=-1)
    for contrast in (low, high):
        assert judge_contrast(contrast, data)[0].verdict == "reproduced"
        assert judge_contrast(contrast, swapped)[0].verdict == "contradicted"
        assert judge_contrast(contrast.model_copy(update={"sign": -contrast.sign}), data)[0].verdict == "contradicted"


def test_figures_are_drawn_from_the_data(tmp_path):
    made = draw(CATALOGUE, read_data(DOCS), tmp_path)
    assert {p.name for p in made} == {"findings_signs.png", "findings_headline.png", "findings_noise.png"}
    assert all((DOCS / "figures" / p.name).is_file() for p in made)
    assert draw(CATALOGUE, {}, tmp_path) == []


# ---- making it again ---------------------------------------------------------------------------------------------------------

SMALL = ("policy.contexts=4", "update.minibatches=3", "update.rollouts=2", "update.batch=64")
TINY = RunSpec(name="tiny", regime="x", experiment="headline", full=SMALL, quick=SMALL)


def reproduce(*arguments):
    return entclip("reproduce", *arguments)


def test_reproduce_end_to_end_and_again(tmp_path):
    first = reproduce("theorem1", "dropped_baseline", "--quick", "--out", tmp_path, "--json")
    assert first.returncode == 0, first.stderr
    manifest = json.loads(first.stdout)
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    assert [(i["name"], i["status"]) for i in manifest["items"]] == [("theorem1", "run"), ("dropped_baseline", "run")]
    item = manifest["items"][0]
    assert item["digest"] == CATALOGUE.runs["theorem1"].spec(True).digest
    assert (item["seed"], item["engine"]) == (0, "sampled")
    assert item["wall_s"] > 0
    assert {"python", "numpy"} <= set(manifest["versions"])
    for file in [*manifest["files"], *(f for i in manifest["items"] for f in i["files"])]:
        assert Path(tmp_path / file["path"]).stat().st_size == file["bytes"]
    assert {"findings.md", "data/findings/theorem1.json", "data/findings/contrasts.csv"} <= {f["path"] for f in manifest["files"]}
    page = (tmp_path / "findings.md").read_text()
    assert "Theorem 1" in page
    assert "Not run here" in page  # what was not asked for is named
    again = reproduce("theorem1", "--quick", "--out", tmp_path)
    assert again.returncode == 0, again.stderr
    assert "theorem1: kept" in again.stderr
    assert "Not run, and so not judged: " in again.stdout
    # What an earlier command made stays on the page and in the manifest.
    assert (tmp_path / "findings.md").read_text() == page
    statuses = {i["name"]: i["status"] for i in json.loads((tmp_path / "manifest.json").read_text())["items"]}
    assert statuses == {"theorem1": "kept", "dropped_baseline": "kept"}


def test_list_and_bad_input(tmp_path):
    listed = reproduce("--list", "--json")
    assert {f["finding"] for f in json.loads(listed.stdout)["findings"]} == {f.id for f in CATALOGUE.findings}
    for arguments, message in (
        (("nonsense", "--out", tmp_path), "no finding or run named 'nonsense'"),
        ((), "give one with --out"),
        (("--out", tmp_path, "--reuse", tmp_path), "holds no summary of a run"),
    ):
        done = reproduce(*arguments)
        assert done.returncode == 2
        assert message in done.stderr


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    """Stopped in its second rollout, the first is not made again, and the numbers are those of a run in one piece."""

    def stop(name, done, total):
        if done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(TINY, False, tmp_path / "a", progress=lambda spec: stop)
    (folder,) = (tmp_path / "a" / "runs").iterdir()
    assert not (folder / "summary.json").exists()
    assert list(folder.glob(".checkpoint-*/*.npz"))
    resumed, whole = make(TINY, False, tmp_path / "a"), make(TINY, False, tmp_path / "b")
    assert resumed.data["arms"] == whole.data["arms"]
    # A finished run is not made again, whatever the mode, as long as its digest is the same.
    monkeypatch.setattr(making, "run", None)
    kept = make(TINY, True, tmp_path / "a")
    assert (kept.status, kept.data["arms"], kept.data["wall_s"]) == ("kept", whole.data["arms"], resumed.data["wall_s"])


def test_reused_and_skipped_runs_say_so(tmp_path, monkeypatch):
    item = make(TINY, False, tmp_path / "a")
    path = write_data(item.data, tmp_path / "a")
    assert read_data(tmp_path / "a") == {"tiny": item.data}
    assert path.read_text().count("\n") > len(item.data["arms"])
    found = reusable([tmp_path / "a" / "runs"])
    reused = make(TINY, False, tmp_path / "b", elsewhere=found)
    assert (reused.status, reused.folder, reused.data["arms"]) == ("reused", None, item.data["arms"])
    assert "wall_s" not in reused.data
    changed = TINY.model_copy(update={"full": (*SMALL, "seed=1")})
    assert make(changed, False, tmp_path / "b", elsewhere=found).status == "run"  # another digest is another run
    other = TINY.model_copy(update={"engine": "reduced"})
    assert make(other, False, tmp_path / "a").status == "run"  # and so is another engine in the same folder
    slow = TINY.model_copy(update={"quick_skip": "takes long"})
    skipped = make(slow, True, tmp_path / "c")
    assert (skipped.status, skipped.detail, skipped.data) == ("skipped", "takes long", None)

    def absent(name, **options):
        raise SpecError("the head engine needs torch, which is not installed: pip install '.[torch]'.")

    monkeypatch.setattr(making, "engine_named", absent)
    missing = make(TINY, False, tmp_path / "d")
    assert missing.status == "skipped"
    assert "pip install" in missing.detail


def test_committed_llm_summaries_fit_the_catalogue():
    found = reusable([DOCS / "data" / "llm"])
    for name in ("llm_headline", "llm_six", "llm_controls", "llm_true_reward"):
        assert (load(name).digest, "llm") in found
