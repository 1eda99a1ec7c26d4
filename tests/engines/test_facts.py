"""Facts of the engines: one place for each, no spelling of a name anywhere else, nothing heavy loaded to read them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entclip.cli.options import EngineName
from entclip.engines.named import engine_named
from entclip.engines.recorded import RECORDED
from entclip.engines.registry import ENGINES, facts_of, usual_engine
from entclip.experiments.experiment import Experiment
from entclip.support.errors import SpecError

PACKAGE = Path(__file__).resolve().parents[2] / "entclip"


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_carries_the_facts_that_are_listed(name: str) -> None:
    assert engine_named(name).facts is ENGINES[name] is facts_of(name)


def test_facts_load_nothing_heavy() -> None:
    code = (
        "import sys; from entclip.engines.registry import ENGINES;"
        "print([m for m in ('torch', 'transformers', 'pandas', 'pyarrow', 'matplotlib', 'numba') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_kind_of_policy_has_an_engine() -> None:
    schema = Experiment.model_json_schema()
    kinds = schema["properties"]["policy"]["discriminator"]["mapping"]
    kinds = set(kinds) - set(RECORDED.policies)  # which can only be read
    assert {usual_engine(kind).name for kind in kinds} == {"sampled", "head", "llm"}
    assert {kind for facts in ENGINES.values() for kind in facts.policies} == kinds
    with pytest.raises(SpecError, match="no engine runs it"):
        usual_engine("recorded")


def test_the_command_line_names_them_all() -> None:
    # Its help is plain text: `entclip --help` loads no experiment.
    shown = EngineName.__metadata__[0].help
    assert [word.split()[0] for word in shown.rstrip(".").split(", ")] == [
        name for name, facts in ENGINES.items() if not facts.trains_models
    ]


def _spelled(tree: ast.AST) -> Iterator[str]:
    """Names of engines that something is compared with, for equality or membership."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and all(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops):
            for part in (node.left, *node.comparators):
                members = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
                yield from (m.value for m in members if isinstance(m, ast.Constant) and m.value in ENGINES)
        elif isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant) and node.value.value in ENGINES:
            yield str(node.value.value)


def test_nobody_asks_for_an_engine_by_the_spelling_of_its_name() -> None:
    found = {str(path): names for path in PACKAGE.rglob("*.py") if (names := list(_spelled(ast.parse(path.read_text("utf-8")))))}
    assert found == {}
    assert list(_spelled(ast.parse("if engine in ('llm', 'head') or x != 'reduced': pass"))) == ["llm", "head", "reduced"]


@pytest.mark.parametrize(
    ("name", "device", "dtype", "message"),
    [
        ("smapled", "cpu", None, "unknown engine 'smapled': did you mean sampled?"),
        (
            "reduced",
            "cuda",
            None,
            "device = 'cuda': the reduced engine has cpu only; use that, or an engine that has it: tokens, ",
        ),
        ("head", "tpu", None, "device = 'tpu': the head engine has cpu or cuda only; use that, no engine has it"),
        (
            "sampled",
            "cpu",
            "float32",
            "dtype = 'float32': the sampled engine has float64 only; use that, or an engine that has it",
        ),
        ("head", "cpu", "bfloat16", "the head engine has float64 or float32 only; use that, or an engine that has it: llm"),
    ],
)
def test_what_an_engine_does_not_have(name: str, device: str, dtype: str | None, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        engine_named(name, device, dtype)
    assert message in str(caught.value)
