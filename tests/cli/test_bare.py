"""What make bare calls a fault, and which commands it finds; running them needs an environment of its own."""

import pytest

from tests.bare import commands, fault

PAGE = """
```sh
pip install .      # core
entclip list       # all
entclip drift --set 'a=[1, 2]' --out "results/a b"   # it's one
```

```python
entclip = 1
```
"""


def test_commands_of_a_page():
    assert commands(PAGE) == [["entclip", "list"], ["entclip", "drift", "--set", "a=[1, 2]", "--out", "results/a b"]]


@pytest.mark.parametrize(
    ("code", "errors", "bad"),
    [
        (0, "", False),
        (3, "Verdict: inconclusive", False),
        (2, "error: the llm engine needs torch, which is not installed: in entclip's checkout, run pip install '.[llm]'.", False),
        (2, "error: no such file", True),
        (2, "error: one\nerror: pip install two", True),
        (1, "Traceback (most recent call last):\nModuleNotFoundError: No module named 'torch'", True),
        (70, "internal error", True),
        (-9, "", True),
    ],
)
def test_faults(code, errors, bad):
    assert (fault(code, errors) is not None) == bad
