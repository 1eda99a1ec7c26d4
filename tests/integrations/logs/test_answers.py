"""What answers say and how: a run that broke, numbers without dust, widths that a trainer has, whole sentences."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from entclip.integrations.diagnose import diagnose
from entclip.integrations.lint import convert
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.logs.libraries import LIBRARIES as LOGGED
from entclip.objectives.clip import Clip
from entclip.support.sentences import sentences
from tests.integrations.logs.corpus.cases import CASES, answered


def rows(count=40, **more):
    shares = [0.0, 0.01, 0.02, 0.03]
    return [
        {"step": i + 1, "entropy": 0.7 - 0.005 * i, "clip_ratio/low_mean": shares[i % 4], "clip_ratio/high_mean": shares[i % 4]}
        | {name: value[i] for name, value in more.items()}
        for i in range(count)
    ]


# A run that broke


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_ends_is_the_headline_with_its_row(bad):
    log = rows()
    for row in log[29:]:
        row["entropy"] = bad
    found = diagnose(log)
    assert found.findings[0].claim == "broken"
    assert found.level == "error"
    assert "entropy is NaN, infinite or over 1e15 from record 30 on, in 11 rows" in found.findings[0].answer
    assert found.log.rows == 29
    # What follows is what the rows before say by themselves.
    assert [f.answer for f in diagnose(rows(29)).findings if f.claim != "entropy"] == [
        f.answer for f in found.findings if f.claim not in ("broken", "entropy")
    ]


def test_what_comes_back_or_was_never_there_is_no_break():
    log = rows(kl=[math.nan] * 40)
    log[10]["entropy"] = math.nan
    found = diagnose(log)
    assert "broken" not in found
    assert "entropy in 1 of 40 (record 11)" in found["gaps"].answer
    assert found.level == "warn"
    assert "kl" not in found["gaps"].answer


def test_the_first_of_several_that_end_counts():
    log = rows(**{"sampling/importance_sampling_ratio/mean": [1.0] * 40})
    for row in log[35:]:
        row["entropy"] = math.nan
    log[-1]["clip_ratio/low_mean"] = math.nan
    assert "from record 36 on" in diagnose(log)["broken"].answer


# Numbers


def test_no_dust_of_rounding_is_printed():
    """A straight line, a constant and equal shares: differences of equal numbers are 1e-17, and no error."""
    logs = [
        [
            {"step": i, "entropy": 0.5 - 0.003 * i, "clip_fraction_low": 0.025, "clip_fraction_high": 0.014, "approx_kl": 0.003}
            for i in range(47)
        ],
        [
            {"step": i, "entropy": 0.1 + 0.2, "clip_fraction_low": 0.1 * 3, "clip_fraction_high": 0.0, "batch": i // 4}
            for i in range(40)
        ],
        [{"step": i, "entropy": 0.1 * 7 - (i % 2) * 1e-17, "approx_kl": 0.1 * 3, "kl_old_k3": 0.1 * 3} for i in range(40)],
    ]
    for log in logs:
        found = diagnose(log)
        assert not re.search(r"\de-1\d", found.to_text(80, everything=True))
        assert not re.search(r"e-1\d", str(found.to_json()))
        assert not re.search(r"\+- 0(?![.\d])", found.to_text(80, everything=True))


# Widths that a trainer has


def test_libraries_of_one_width_are_those_that_cannot_write_two():
    for name, library in LIBRARIES.items():
        assert bool(library.one_width) == ("it has one width" in convert(Clip(0.2, 0.28), name)), name


@pytest.mark.parametrize("logged", [library for library in LOGGED if library.configs], ids=lambda library: library.name)
def test_advice_names_a_width_that_the_trainer_has(logged):
    own = LIBRARIES[logged.configs[0]]
    seen = [case for case in CASES if answered(case.name).library == f"{logged.title} {logged.version}"]
    assert seen
    for case in seen:
        found = answered(case.name)
        if "change" in found and found["change"].labels not in (("nothing",), ("not-settled",)):
            text = found["change"].answer
            assert ("eps_" in text) is not bool(own.one_width), case.name
            assert not own.one_width or own.one_width in text


def test_a_configuration_of_an_older_verl_has_one_width():
    log = [{"actor/pg_clipfrac": 0.01, "actor/entropy": 0.7 - 0.01 * i + 1e-3 * (i % 3), "step": i} for i in range(40)]
    actor = "actor_rollout_ref.actor."
    config = f"main_ppo data.train_batch_size=512 {actor}ppo_mini_batch_size=128 {actor}clip_ratio=0.2"
    assert "*raise* actor_rollout_ref.actor.clip_ratio, verl's one width" in diagnose(log, config=config)["change"].answer
    assert "*raise* eps_high" in diagnose(log)["change"].answer


# Bounds that exclude nothing


def test_a_bound_above_the_change_is_no_number_in_the_answer():
    vacuous = 0
    for case in CASES:
        found = answered(case.name)
        if "cause" not in found or not found["cause"].evidence:
            continue
        bounds = {e.metric.split()[4]: abs(e.value) for e in found["cause"].evidence[:2]}
        change = abs(found["cause"].evidence[2].value)
        for side, bound in bounds.items():
            said = found["cause"].answer + (found["change"].answer if "change" in found else "")
            if bound >= change:
                vacuous += 1
                assert f"{bound:.2g}" not in re.sub(r"\([^()]* to [^()]*\)", "", said), (case.name, side)
    assert vacuous > 3
    assert "does not decide" in answered("could.trl.jsonl")["cause"].answer


# Whole sentences


def test_no_sentence_is_cut_off():
    for case in CASES:
        found = answered(case.name)
        text = " ".join(found.to_text(80).split())
        assert "..." not in text, case.name
        for finding in found.findings:
            assert " ".join(sentences(finding.answer)[0].split()) in text, (case.name, finding.claim)


def test_a_narrow_terminal_breaks_lines_and_drops_nothing_of_the_first_sentence():
    found = answered("collapse.sb3.csv")
    text = found.to_text(50)
    assert max(map(len, text.splitlines())) <= 50
    assert sentences(found["change"].answer)[0] in " ".join(text.split())


def test_evidence_of_a_constant_column_has_no_error():
    found = diagnose([{"step": i, "entropy": 0.7 - 0.01 * i, "clip_fraction": 0.1 * 3} for i in range(30)])
    assert found["clip"].evidence[0].error == 0
    assert np.isfinite(found["clip"].evidence[0].value)


# A ledger whose every is a multiple of a rollout's updates


@pytest.mark.parametrize("updates", [1, 4])
def test_first_updates_alone_say_nothing_of_the_clip(updates):
    """With one update per rollout they are all there are, and the clip never acted; with more nobody knows."""
    log = [
        {"rollout": k, "inner_step": 0, "step": k * updates, "entropy": 0.9 - 0.01 * k, "log_ratio_rms": 0.0}
        | {"clip_fraction_low": 0.0, "clip_fraction_high": 0.0}
        for k in range(40)
    ]
    found = {each.claim: each for each in diagnose(log).findings}
    if updates == 1:
        assert found["clip"].answer.startswith("No: every share is 0 in all 40 rows")
        assert found["cause"].answer.startswith("Not the clip: it never acted")
        return
    assert found["clip"].answer.startswith(
        "Not known: each of the 40 rows is the first update of its rollout, of 4. Ratios are 1"
    )
    assert "such as 5" in found["clip"].change
    assert found["cause"].answer.startswith("How much of it the clip did is not known: all rows are first updates")
    assert "noise" not in found
