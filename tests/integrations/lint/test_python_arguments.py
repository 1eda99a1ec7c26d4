"""Defaults of a script's own command line: read on the condition that nothing is given, and never taken for a name."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config

TRL = "from trl import GRPOConfig, GRPOTrainer\n"
PARSER = "import argparse\np = argparse.ArgumentParser()\n"
EPS = 'p.add_argument("--eps", type=float, default=0.1)\n'
MAKE = "c = GRPOConfig(num_iterations=2, epsilon=a.eps)\n"
TYRO = "import tyro\nfrom dataclasses import dataclass, field\n@dataclass\nclass Args:\n    n: int\n"


def _low(script):
    config = read_config(TRL + script)
    return config.low.value if isinstance(config.low.value, float) else str(config.low.value), config.passes_on


@pytest.mark.parametrize(
    "script",
    [
        f"{PARSER}{EPS}a = p.parse_args()\n{MAKE}",
        f"{PARSER}{EPS}a, rest = p.parse_known_args()\n{MAKE}",
        f"{PARSER}g = p.add_argument_group()\ng.add_argument('-e', '--my-eps', dest='eps', default='0.1', type=float)\n"
        f"a = p.parse_args()\n{MAKE}",
        f"{PARSER}p.add_argument('--eps')\np.set_defaults(eps=0.1)\na = p.parse_args()\n{MAKE}",
        f"{PARSER}p.add_argument('--eps')\na = p.parse_args()\n{MAKE}".replace("a.eps", "a.eps if a.eps is not None else 0.1"),
        f"{PARSER}p.add_argument('--eps')\na = p.parse_args()\n{MAKE}".replace("a.eps", "a.eps or 0.1"),
        f"{PARSER}{EPS}def run(a):\n    {MAKE}a = p.parse_args()\nrun(a)",
        f"{PARSER}{EPS}def run(a):\n    {MAKE}def main():\n    b = p.parse_args()\n    print(b)\n    run(a=b)\nmain()",
        f"{PARSER}{EPS}def get():\n    b = p.parse_args()\n    return b\na = get()\nload(a)\n{MAKE}",
        f"{TYRO}    eps: float = 0.1\na = tyro.cli(Args)\n{MAKE}",
        f"{TYRO}    eps: float = field(default=0.1)\ndef main(a: Args):\n    {MAKE}main(tyro.cli(Args))",
    ],
)
def test_a_default_of_the_command_line_is_read_and_the_condition_said(script):
    assert _low(script) == (0.1, True)


@pytest.mark.parametrize(
    ("script", "low"),
    [
        (f"{PARSER}{EPS}a = p.parse_args()\na.eps = 0.3\n{MAKE}", (0.3, True)),
        (f"{PARSER}{EPS}a = p.parse_args([])\n{MAKE}", (0.1, False)),
        (f"{PARSER}{EPS}a = p.parse_args(['--eps', '0.3'])\n{MAKE}", ("a.eps", False)),
        (f"{PARSER}{EPS.replace('default=0.1', 'required=True')}a = p.parse_args()\n{MAKE}", ("--eps of its command line", True)),
        (f"{PARSER}{EPS}a = p.parse_args()\nif big:\n    a.eps = 0.3\n{MAKE}", ("a later eps = ...", True)),
        (f"{PARSER}{EPS}def f(x):\n    x.eps = 0.3\na = p.parse_args()\nf(a)\n{MAKE}", ("a.eps", False)),
        (f"{PARSER}{EPS}q = argparse.ArgumentParser()\na = p.parse_args()\n{MAKE}", ("a.eps", False)),
        (f"{TYRO}a = tyro.cli(Args)\n{MAKE.replace('a.eps', 'a.n')}", ("n", True)),
        (f"{PARSER}{EPS}a = p.parse_args()\nc = GRPOConfig(epsilon=0.1)", (0.1, False)),
    ],
)
def test_what_may_be_another_is_not_the_default(script, low):
    assert _low(script) == low


@pytest.mark.parametrize("read", ['os.environ.get("E", "0.1")', 'os.getenv("E", 0.1)'])
def test_a_default_of_the_environment_is_read_and_named(read):
    config = read_config(f"{TRL}import os\nc = GRPOConfig(epsilon=float({read}))")
    assert (config.low.value, config.shell_defaults) == (0.1, ("E=0.1",))


@pytest.mark.parametrize("loss", ["a.loss", "pick()", "LOSSES[0]"])
def test_a_loss_that_is_not_in_the_script_is_no_name_of_a_loss(loss):
    text = lint(read_config(f"{TRL}c = GRPOConfig(num_iterations=2, loss_type={loss})")).to_text()
    assert f"Clip alive: unknown. loss_type = {loss} is not in the configuration." in text
    assert f"Bounds: unknown, as loss_type = {loss} is not in the configuration" in text
