"""What a script sets under a condition: known where its own text decides, and otherwise with its line and what it may be."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config
from entclip.integrations.lint.values import Unresolved

RUN = "trl grpo --num_iterations 2 --epsilon 0.2 --epsilon_high $H"


def _high(script):
    return read_config(f"#!/bin/bash\n{script}\n").high.value


@pytest.mark.parametrize(
    ("script", "value"),
    [
        (f"D=0; H=.3\nif [[ $D == 1 ]]; then H=.4; fi\n{RUN}", 0.3),
        (f"D=1; H=.3\nif [[ $D == 1 ]]; then H=.4; fi\n{RUN}", 0.4),
        (f'D=${{D:-0}}; H=.3\nif [ "$D" = 1 ]; then H=.4; else H=.5; fi\n{RUN}', 0.5),
        (f"M=b\nif [ $M = a ]; then H=.1; elif [ $M = b ]; then H=.2; else H=.3; fi\n{RUN}", 0.2),
        (f"H=.3\nif true; then H=.4; fi\n{RUN}", 0.4),
        (f"H=.3; F=false\nif $F; then H=.4; fi\n{RUN}", 0.3),
        (f"H=.3; N=''\nif [ -n \"$N\" ]; then H=.4; fi\n{RUN}", 0.3),
        (f"H=.3; N=''\nif [[ -z \"$N\" && ! $H == .4* ]]; then H=.4; fi\n{RUN}", 0.4),
        (f"H=.3; N=4\nif [ $N -ge 4 ] && (( N < 5 )); then H=.4; fi\n{RUN}", 0.4),
        (f"H=.3; N=4\nif test $N -gt 4 || ! [ $N -eq 4 ]; then H=.4; fi\n{RUN}", 0.3),
        (f"D=0; H=.3\n[[ $D == 1 ]] && H=.4\n{RUN}", 0.3),
        (f"D=0; H=.3\n[[ $D != 1 && -z '' ]] && H=.4\n{RUN}", 0.4),
        (f"D=0; H=.3\n[ $D = 1 ] || H=.4\n{RUN}", 0.4),
        (f"export A=1 && H=.4\n{RUN}", 0.4),
        (f"M=wide\ncase $M in narrow) H=.1 ;; wi*|big) H=.4 ;; *) H=.2 ;; esac\n{RUN}", 0.4),
        (f'M=other\ncase "$M" in narrow) H=.1 ;; wide) H=.4 ;; *) H=.2 ;; esac\n{RUN}', 0.2),
        (f"D=1; H=.3\n[[ $D == 1 ]] && H=.4 || H=.5\n{RUN}", 0.4),
        (f"D=0; H=.3\n[[ $D == 1 ]] && H=.4 || H=.5\n{RUN}", 0.5),
        (f"A=1 && B=2 && H=.$((A + B + 1))\n{RUN}", 0.4),
        # Of a branch that is not taken nothing is set, in a branch of its own either.
        (f"D=0; H=.3\nif [ $D = 1 ]; then if true; then H=.4; fi; fi\n{RUN}", 0.3),
    ],
)
def test_a_condition_that_the_script_decides_is_decided(script, value):
    assert _high(script) == value


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (f'H=.3\nif [ -n "$WIDE" ]; then H=.4; fi\n{RUN}', '.3 or .4 (line 3, if [ -n "$WIDE" ])'),
        (
            f"if ready; then\n  H=.4\nelse\n  H=.3\nfi\n{RUN}",
            ".4 (line 2, if ready) or .3 (line 4, else of line 2)",
        ),
        (f"H=.3\ncase $HOST in\n  wide) H=.4 ;;\nesac\n{RUN}", ".3 or .4 (line 4, case $HOST in wide)"),
        (f"H=.3\nhash gpu && H=.4\n{RUN}", ".3 or .4 (line 3, hash gpu &&)"),
        (f"H=.3\nfor H in .1 .4; do\n{RUN}; done", None),
        (f"H=.3\nwhile read x; do H=.4; done\n{RUN}", ".3 or .4 (line 3, in a loop)"),
        (
            'A=(--epsilon_high .3)\nif gpu; then A+=(--epsilon_high .4); fi\ntrl grpo --num_iterations 2 "${A[@]}"',
            ".3 or .4 (line 3, if gpu)",
        ),
        (
            "A='--epsilon_high .3'\nif gpu; then A=\"$A --epsilon_high=.4\"; fi\ntrl grpo --num_iterations 2 $A",
            ".3 or .4 (line 3, if gpu)",
        ),
        (
            'A=(--bf16)\nif gpu; then A+=(--epsilon_high .4); fi\ntrl grpo --num_iterations 2 "${A[@]}"',
            "not set or .4 (line 3, if gpu)",
        ),
        ("N=3\nif gpu; then N=4; fi\ntrl grpo --num_iterations 2 --epsilon_high 0.$N", "0.$N with $N = 3 or 4 (line 3, if gpu)"),
    ],
)
def test_one_that_it_does_not_decide_is_named_with_its_line(script, why):
    value = _high(script)
    assert isinstance(value, Unresolved)
    assert str(value) == (why or "$H")
    text = " ".join(lint(read_config(f"#!/bin/bash\n{script}\n")).to_text().split())
    assert f"eps_high = {why or '$H'}" in text
    assert why is None or "A width depends on a condition of the script" in text


@pytest.mark.parametrize(
    "given",
    [
        'while [[ $# -gt 0 ]]; do case "$1" in --high) H="$2"; shift 2 ;; esac; done',
        'for each in "$@"; do H=$each; done',
        "for each; do H=$each; done",
        "while getopts 'h:' option; do H=$OPTARG; done",
        'until [ -z "$1" ]; do H=$1; shift; done',
        "if [ $# -gt 0 ]; then H=$1; fi",
        "if (( $# > 0 )); then H=$1; fi",
        '[ -n "$1" ] && H=$1',
        'case "$1" in wide) H=.4 ;; esac',
    ],
)
def test_the_arguments_of_the_script_are_taken_to_be_none_and_it_is_said(given):
    got = lint(read_config(f"#!/bin/bash\nH=.3\n{given}\n{RUN}\n"))
    assert got.config.high.value == 0.3
    assert 'Clip alive: yes, if nothing is given for "$@".' in " ".join(got.to_text().split())


def test_arguments_that_a_script_gives_to_another_are_known():
    inner = f"H=.3\nif [ $# -gt 0 ]; then H=$1; fi\n{RUN}"
    for argument, high in (("", 0.3), (" .4", 0.4)):
        config = read_config(f"#!/bin/bash\ncat > r.sh <<'EOF'\n{inner}\nEOF\nbash r.sh{argument}\n")
        assert (config.high.value, config.passes_on) == (high, False)


@pytest.mark.parametrize(
    ("script", "value"),
    [
        (f"H=.3\nfor H in .1 .4; do {RUN}; done", "$H"),
        (f"H=.3\nfor x in 1 2; do H=.4; done\n{RUN}", ".3 or .4 (line 3, in a loop)"),
        (f"N=3; (( N++ ))\nH=.$N\n{RUN}", ".$N"),
        (f"N=3; let N=4\nH=.$N\n{RUN}", ".$N"),
        (f"H=.3; printf -v H %s .4\n{RUN}", "$H"),
        (f"widen() {{\n  H=.4\n}}\nH=.3\nwiden\n{RUN}", "0.4"),
        (f"widen() {{\n  H=.4\n}}\nH=.3\nwiden\n{RUN}\nwiden", ".3 or what widen sets (line 6) or what widen sets (line 8)"),
        (f"H=.3\nwiden() {{ local H=.4; }}\nH=.3\nwiden\n{RUN}", "0.3"),
        (f"H=.4; unset H\nH=${{H:-.5}}\n{RUN}", "0.5"),
        (f"N=3; (( N <= 4 )) && H=.3\n{RUN}", "0.3"),
    ],
)
def test_what_changes_a_variable_is_seen(script, value):
    assert str(_high(script)) == value


def test_an_array_that_is_changed_at_one_place_is_not_known():
    config = read_config('A=(--epsilon .1 --num_iterations 3)\nA[1]=.4\ntrl grpo "${A[@]}"\n')
    assert config.elsewhere == ("${A[@]}",)


def test_options_that_either_branch_sets_are_read():
    run = "trl grpo --epsilon .1 --num_iterations 3 $K\n"
    config = read_config(f'if kl; then K="--beta .01 --bf16"; else K="--bf16"; fi\n{run}')
    assert (config.elsewhere, config.values["bf16"]) == ((), True)
    assert str(config.kl_coef.value) == ".01 or not set (line 1, else of line 1)"
    empty = read_config(f'if kl; then K="--beta .01"; else K=""; fi\n{run}')
    assert (empty.elsewhere, str(empty.kl_coef.value)) == ((), ".01 or not set (line 1, else of line 1)")
    for open_still in ('if kl; then K="--beta .01"; fi', 'if kl; then K="--beta .01"; elif b; then K=""; fi'):
        assert read_config(f"{open_still}\n{run}").elsewhere == ("$K",)


def test_options_that_stay_the_same_either_way_are_read():
    script = 'A=(--epsilon .1 --num_iterations 3)\nif gpu; then A+=(--beta .01); fi\ntrl grpo "${A[@]}"\n'
    config = read_config(script)
    assert (config.low.value, config.updates.count, config.elsewhere) == (0.1, 3, ())
    assert str(config.kl_coef.value) == "not set or .01 (line 2, if gpu)"


def test_commands_of_a_branch_that_is_not_taken_still_count():
    with pytest.raises(ValueError, match="2 training commands"):
        read_config("D=0\nif [ $D = 1 ]; then trl grpo --epsilon .1; else trl grpo --epsilon .2; fi\n")
