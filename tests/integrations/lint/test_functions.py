"""Functions of a launch script: what one sets is known inside it, and its one call gives it its arguments."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import read_config

RUN = "trl grpo --num_iterations 2 --epsilon 0.2 --epsilon_high $H"


def _high(script):
    config = read_config(f"#!/bin/bash\n{script}\n")
    assert not config.shell_defaults
    return str(config.high.value)


@pytest.mark.parametrize(
    "script",
    [
        f"f() {{\n  local H=.4\n  {RUN}\n}}\nf",
        f"f() {{\n  H=.4\n  {RUN}\n}}\nf",
        f"function f {{ declare -r H=.4; {RUN}; }}\nH=.3\nf",
        f"f() {{\n  local H=$1\n  {RUN}\n}}\nf .4",
        f"f() {{ local seed=$1; local H=${{2:-.4}}; {RUN} --seed $seed; }}\nfor s in 1 2 3; do f $s; done",
        f"f() {{ {RUN}; }}\nH=.3\nH=.4\nf",
        f"f() {{ {RUN}; }}\nH=.4 f",
        f"f() {{ {RUN}; }}\nmain() {{ local H=.4; f; }}\nmain",
        'f() { echo "$@"; "$@"; }\nf ' + RUN.replace("$H", ".4"),
        f"f() {{ if [ $# -gt 0 ]; then H=$1; fi; {RUN}; }}\nf .4",
        f"high() {{ echo .4; }}\nH=$(high)\n{RUN}",
        # Of two runs, what both have.
        f"f() {{ local H=.4; {RUN} --seed $1; }}\nf 1\nf 2",
    ],
)
def test_what_a_function_sets_or_is_given_is_known_inside_it(script):
    assert _high(script) == "0.4"


@pytest.mark.parametrize(
    ("script", "high"),
    [
        (f"f() {{ local H=$1; {RUN}; }}\nf .3\nf .4", "$1"),
        (f"f() {{ {RUN}; }}\nH=.3\nf\nH=.4\nf", "$H"),
        (f"H=.2\nf() {{ {RUN}; }}\nH=.3 f\nH=.4 f", "$H"),
        (f"f() {{ {RUN}; H=.4; }}\nH=.3\nfor s in 1 2; do f; done", ".3 or .4 (line 4, in a loop)"),
        (f"f() {{ local H=.4; }}\nH=.3\nf\n{RUN}", "0.3"),
        (f"f() {{ H=.4; }}\nH=.3\nif gpu; then f; fi\n{RUN}", ".3 or .4 (line 4, if gpu)"),
    ],
)
def test_what_differs_between_calls_is_not(script, high):
    assert _high(script) == high
