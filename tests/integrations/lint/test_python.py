"""Python scripts: which settings a script ends with, and that what it may set without being read is never called a default."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config
from entclip.integrations.lint.values import Unresolved


@pytest.mark.parametrize(
    ("before", "call", "known"),
    [
        ("s = dict(num_iterations=3)", "**s", True),
        ("s = {'num_iterations': 3}", "epsilon=0.1, **s", True),
        ("", "**{'num_iterations': 3}", True),
        ("", "**dict(num_iterations=3)", True),
        ("s = {'num_iterations': 2}\ns['num_iterations'] = 3", "**s", True),
        ("s = {}\ns.update(num_iterations=3)", "**s", True),
        ("s = {}\ns.update({'num_iterations': 3})\nprint(s)", "**s", True),
        ("s = {'epsilon': 0.2}\ns |= {'num_iterations': 3}", "**s", True),
        ("b = dict(num_iterations=2)\ns = {**b, 'num_iterations': 3}", "**s", True),
        ("b = dict(num_iterations=2)", "**(b | dict(num_iterations=3))", True),
        ("b = dict(num_iterations=2)", "**dict(b, num_iterations=3)", True),
        ("s = {}\nt = s\nt['num_iterations'] = 3", "**s", True),
        ("s = {}\nt = s.copy()\nt['num_iterations'] = 9\ns.setdefault('num_iterations', 3)", "**s", True),
        ("s = dict(num_iterations=2)\nif True:\n    s['num_iterations'] += 1", "**s", True),
        ("s = read('x')", "**s", False),
        ("s = {**other}", "**s", False),
        ("s = dict(num_iterations=3)\nchange(s)", "**s", False),
        ("s = dict(num_iterations=3)\nif big:\n    s.update(more)", "**s", False),
        ("s = dict(num_iterations=3)\nfor k in more:\n    s[k] = more[k]", "**s", False),
        ("s = dict(num_iterations=3)\ndef f():\n    s.update(more)", "**s", False),
    ],
)
def test_a_table_of_settings_is_followed_to_the_call(before, call, known):
    got = lint(read_config(f"from trl import GRPOConfig\n{before}\nc = GRPOConfig({call})"))
    assert got.liveness.alive == ("yes" if known else "unknown")
    if known:
        assert got.config.updates.count == 3
        assert not got.config.elsewhere


@pytest.mark.parametrize(
    ("script", "count", "alive"),
    [
        ("c = GRPOConfig(num_iterations=2)\nc.num_iterations = 5", 5, "yes"),
        ("c = GRPOConfig(num_iterations=2)\nif big:\n    c.num_iterations = 5", None, "unknown"),
        ("c = GRPOConfig(num_iterations=2)\nc.num_iterations *= 2", 4, "yes"),
        ("c = GRPOConfig(num_iterations=2)\nsetattr(c, 'num_iterations', 5)", 5, "yes"),
        ("c = GRPOConfig(num_iterations=2)\nfor k, v in more:\n    setattr(c, k, v)", 2, "unknown"),
        ("c = GRPOConfig(num_iterations=2)\nc.__dict__.update(num_iterations=5)", 5, "yes"),
        ("c = GRPOConfig(num_iterations=2)\nd = c\nd.num_iterations = 5", 5, "yes"),
        ("c = GRPOConfig(num_iterations=2)\nc = replace(c, num_iterations=5)", 5, "yes"),
        ("c = GRPOConfig(num_iterations=2)\nd = replace(c, num_iterations=5)", 2, "unknown"),
        ("c = GRPOConfig(num_iterations=2)\nc = patched(c)", 2, "unknown"),
        ("def f(x):\n    x.num_iterations = 5\nc = GRPOConfig(num_iterations=2)\nf(c)", 2, "unknown"),
        ("c = GRPOConfig(num_iterations=2)\nTrainer(args=c).train()", 2, "yes"),
        ("c = GRPOConfig(num_iterations=2)\nc.my_own_note = 5\nd = other()\nd.num_iterations = 9", 2, "yes"),
        ("def make():\n    c = GRPOConfig(num_iterations=2)\n    c.num_iterations = 5\n    return c", 5, "yes"),
        ("class T:\n    n = 5\n    def f(self):\n        self.c = GRPOConfig(num_iterations=self.n)", 5, "yes"),
        (
            "class T:\n    def f(self):\n        self.c = GRPOConfig()\n    def g(self):\n        self.c.num_iterations = 5",
            None,
            "unknown",
        ),
        ("def make(n):\n    return GRPOConfig(num_iterations=n)\nmake(5)", None, "unknown"),
        ("N = 2\nc = GRPOConfig(num_iterations=N)", 2, "yes"),
        ("N = 24 // (2 * 4)\nc = GRPOConfig(num_iterations=N)", 3, "yes"),
        ("N = int(64 / 16)\nc = GRPOConfig(num_iterations=N)", 4, "yes"),
        ("N = 3 // 0\nc = GRPOConfig(num_iterations=N)", None, "unknown"),
        ("N = 2\nif big:\n    N = 5\nc = GRPOConfig(num_iterations=N)", None, "unknown"),
        ("N = 2\ntry:\n    N = int(x)\nexcept ValueError:\n    N = 5\nc = GRPOConfig(num_iterations=N)", None, "unknown"),
        ("N = 2\nN += 1\nc = GRPOConfig(num_iterations=N)", 3, "yes"),
        ("N = 2\ndef grow():\n    global N\n    N = 5\nc = GRPOConfig(num_iterations=N)", None, "unknown"),
        ("N = 2\ndef other():\n    N = 5\nc = GRPOConfig(num_iterations=N)", 2, "yes"),
        ("N = 2\nfor N in (1, 3):\n    c = GRPOConfig(num_iterations=N)", None, "unknown"),
        ("if run:\n    c = GRPOConfig(num_iterations=2)", 2, "yes"),
        ("c = GRPOConfig('out', False, True, num_iterations=2)", 2, "unknown"),
    ],
)
def test_a_setting_is_the_one_that_the_script_ends_with(script, count, alive):
    got = lint(read_config(f"from trl import GRPOConfig\n{script}"))
    assert (got.config.updates.count, got.liveness.alive) == (count, alive)


@pytest.mark.parametrize(
    ("script", "low", "high", "count"),
    [
        ("from trl import GRPOConfig as C\nC(epsilon=0.1, num_iterations=2)", 0.1, 0.1, 2),
        ("import trl\nC = trl.GRPOConfig\nC(epsilon=0.1, num_iterations=2)", 0.1, 0.1, 2),
        ("from trl import GRPOConfig\nC = partial(GRPOConfig, epsilon=0.1)\nC(num_iterations=2)", 0.1, 0.1, 2),
        (
            "from trl import GRPOConfig\nclass A(GRPOConfig):\n    epsilon: float = 0.3\n"
            "    epsilon_high: float = field(default=0.4)\nclass B(A):\n    num_iterations: int = 4\nB(epsilon=0.1)",
            0.1,
            0.4,
            4,
        ),
        (
            "from trl import GRPOConfig\nclass A(GRPOConfig):\n    epsilon: float = field(default_factory=width)\n"
            "A(num_iterations=2)",
            Unresolved("field(default_factory=width)"),
            Unresolved("field(default_factory=width)"),
            2,
        ),
    ],
)
def test_a_class_by_another_name_or_derived_is_the_library_s(script, low, high, count):
    config = read_config(script)
    assert (config.low.value, config.high.value, config.updates.count) == (low, high, count)


@pytest.mark.parametrize(
    "own",
    [
        "class A(GRPOConfig):\n    def __post_init__(self):\n        self.epsilon = 0.3\nc = A(num_iterations=2)",
        "class T(GRPOTrainer):\n    def _compute_loss(self, m, i):\n        return 0\nc = GRPOConfig(num_iterations=2)",
    ],
)
def test_methods_of_the_script_that_may_change_the_clip_leave_it_open(own):
    got = lint(read_config(f"from trl import GRPOConfig, GRPOTrainer\n{own}"))
    assert got.liveness.alive == "unknown"
    assert "._" in got.liveness.reason


def test_what_is_put_into_a_table_that_was_read_is_what_it_has():
    script = "from trl import GRPOConfig\ns = json.load(f)\ns.update(epsilon=0.1)\ns['num_iterations'] = 4\nc = GRPOConfig(**s)"
    got = lint(read_config(script))
    assert (got.config.low.value, got.config.updates.count, got.liveness.alive) == (0.1, 4, "unknown")
    assert "s = json.load(f)" in got.liveness.reason


def test_python_s_warnings_of_style_are_no_errors_and_are_not_shown(recwarn):
    """Here warnings are errors, and on a terminal they would be lines beside the one that lint says."""
    text = "from trl import GRPOConfig\npattern = '\\d+'\nx = 1if pattern else 2\nGRPOConfig(epsilon=0.1, num_iterations=2)\n"
    assert lint(read_config(text)).config.low.value == 0.1
    assert not recwarn.list


def test_a_default_is_no_answer_beside_settings_that_are_not_read():
    got = lint(read_config("from trl import GRPOConfig\nc = GRPOConfig(num_iterations=2, **options)"))
    assert (got.bias.net, got.bias.high) == ("unknown", "lowers")
    assert "default, if nothing else sets it" in " ".join(got.to_text().split())
    fixed = lint(read_config("from trl import GRPOConfig\nc = GRPOConfig(epsilon=0.2, epsilon_high=0.2, **options)"))
    assert fixed.bias.net == "down"
