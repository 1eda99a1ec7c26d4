"""Python scripts whose configuration a parser of arguments fills in: what they set themselves is read, the rest is not there."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config
from entclip.integrations.lint.notation import convert

IMPORT = "from trl import GRPOConfig, ModelConfig, TrlParser\nfrom transformers import HfArgumentParser\n"
PARSER = "parser = TrlParser((GRPOConfig,))\n"
BOTH = "parser = TrlParser((ModelConfig, GRPOConfig))\n"
CALL = "parser.parse_args_and_config()"


@pytest.mark.parametrize(
    ("script", "low", "count"),
    [
        (f"{PARSER}parser.set_defaults(epsilon=0.1, num_iterations=3)\n(c,) = {CALL}", 0.1, 3),
        (f"{PARSER}parser.set_defaults(epsilon=0.1)\nparser.set_defaults(num_iterations=3)\nc = {CALL}[0]", 0.1, 3),
        (f"{PARSER}s = dict(epsilon=0.1, num_iterations=3)\nparser.set_defaults(**s)\n(c,) = {CALL}", 0.1, 3),
        (f"{PARSER}(c,) = {CALL}\nc.epsilon = 0.1\nc.num_iterations = 3", 0.1, 3),
        (f"{PARSER}c = {CALL}[0]\nc.epsilon = 0.1\nc.num_iterations = 3", 0.1, 3),
        (f"{BOTH}m, c = {CALL}\nm.epsilon = 0.9\nc.num_iterations = 3\nsetattr(c, 'epsilon', 0.1)", 0.1, 3),
        (f"{BOTH}parser.set_defaults(epsilon=0.4, num_iterations=3)\nm, c = {CALL}\nc.epsilon = 0.1", 0.1, 3),
        (
            f"k = (ModelConfig, GRPOConfig)\nparser = HfArgumentParser(k)\nm, c = {CALL}\nc.epsilon = 0.1",
            0.1,
            1,
        ),
        (
            f"class A(GRPOConfig):\n    epsilon: float = 0.1\n    num_iterations: int = 3\nparser = TrlParser(A)\n(c,) = {CALL}",
            0.1,
            3,
        ),
        (f"def main():\n    {PARSER}    parser.set_defaults(epsilon=0.1, num_iterations=3)\n    return {CALL}\nmain()", 0.1, 3),
    ],
)
def test_what_the_script_sets_is_read_and_its_command_line_is_a_condition(script, low, count):
    got = lint(read_config(f"{IMPORT}{script}\n"))
    assert (got.config.low.value, got.config.updates.count) == (low, count)
    text = " ".join(got.to_text().split())
    assert f"Clip alive: {'yes' if count > 1 else 'no'}, if nothing is given on its command line." in text
    assert got.to_json()["passes_arguments_on"] is True
    if count > 1:
        note = "Read without what the script takes from its command line, which can change all of it."
        assert note in convert(got.config, "verl").replace("\n# ", " ")


@pytest.mark.parametrize(
    ("script", "alive", "loose"),
    [
        (
            f"{PARSER}if big:\n    parser.set_defaults(epsilon=0.1)\n(c,) = {CALL}",
            "unknown",
            "set_defaults(...) under a condition",
        ),
        (
            "parser = HfArgumentParser(GRPOConfig)\n(c,) = parser.parse_yaml_file('a.yaml')",
            "unknown",
            "parse_yaml_file('a.yaml')",
        ),
        (f"{PARSER}(c,) = parser.parse_args_and_config(args=words)", "unknown", "parse_args_and_config(words)"),
        ("parser = HfArgumentParser(GRPOConfig)\n(c,) = parser.parse_dict({'num_iterations': 3})", "yes", ""),
        (
            f"def own(p):\n    p.set_defaults(epsilon=0.1)\n{PARSER}own(parser)\n(c,) = {CALL}\nc.beta = 0",
            "unknown",
            "own(parser)",
        ),
        ("parser = HfArgumentParser(GRPOConfig)\n(c,) = parser.parse_dict(table)", "unknown", "parse_dict(table)"),
        (
            f"{PARSER}if one:\n    (c,) = parser.parse_json_file('a')\nelse:\n    (c,) = {CALL}\nc.num_iterations = 3",
            "unknown",
            "parse_json_file(...)",
        ),
    ],
)
def test_what_a_parser_gets_from_elsewhere_leaves_the_verdict_open(script, alive, loose):
    got = lint(read_config(f"{IMPORT}{script}\n"))
    assert got.liveness.alive == alive
    assert loose in " ".join(got.config.elsewhere)
    assert got.to_json()["passes_arguments_on"] is (CALL in script)


def test_a_script_whose_settings_are_all_on_its_command_line_is_refused_precisely():
    with pytest.raises(ValueError, match=r"from its command line \(line 3, TrlParser\) and sets none itself: give the command"):
        read_config(f"{IMPORT}{PARSER}(c,) = {CALL}\n")
    with pytest.raises(ValueError, match="builds no configuration known here"):
        read_config(f"{IMPORT}parser = TrlParser((ModelConfig,))\n(c,) = {CALL}\n")


def test_an_error_that_rests_on_a_default_is_none_beside_a_command_line():
    got = lint(read_config(f"{IMPORT}{PARSER}parser.set_defaults(loss_type='cispo', num_iterations=2)\n(c,) = {CALL}\n"))
    finding = next(f for f in got.findings if f.id == "trl-cispo-bound")
    assert (finding.severity, finding.message[:40]) == ("warn", "If nothing is given on its command line:")
