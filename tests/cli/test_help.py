"""What a newcomer types first: --version, -h, completion, init; and what --help says of the defaults."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest
import typer
from typer.testing import CliRunner

import entclip
from entclip import load
from entclip.cli.app import app
from entclip.engines.recorded import RECORDED
from entclip.experiments.load import experiment_names
from entclip.support.errors import SpecError

COMMANDS = dict(typer.main.get_command(app).commands)
_HEAVY = ("matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "scipy", "sympy", "torch", "transformers", "triton")


def told(*words, **env):
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"} | env, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_version_is_that_of_the_package():
    assert told("--version") == f"entclip {entclip.__version__}\n"


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_h_is_help_everywhere_and_nothing_in_it_is_cut_or_any(name):
    words = [] if name is None else [name]
    short = told(*words, "-h", COLUMNS="80")
    assert short == told(*words, "--help", COLUMNS="80")
    assert "…" not in short
    assert max(map(len, short.splitlines())) <= 80
    assert not re.search(r"\bAny\b", short)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_with_a_value_says_its_default(name):
    for parameter in COMMANDS[name].params:
        takes_value = not getattr(parameter, "is_flag", False)
        if takes_value and not parameter.required:
            assert parameter.show_default, parameter.name
            assert parameter.default is not None or isinstance(parameter.show_default, str), parameter.name


@pytest.mark.parametrize(("command", "experiment"), [("drift", "headline"), ("llm", "llm")])
def test_the_defaults_are_those_of_the_experiment(command, experiment):
    spec = load(experiment)
    options = {p.name: p for p in COMMANDS[command].params}
    keys = {
        "vocab": "policy.vocab",
        "contexts": "policy.contexts",
        "geometry": "update.geometry",
        "batch": "update.batch",
        "learning_rate": "update.learning_rate",
        "minibatches": "update.minibatches",
        "rollouts": "update.rollouts",
        "replicas": "replicas",
        "seed": "seed",
        "every": "ledger.every",
        "model": "policy.model",
        "task": "rollout.task",
    }
    shown = {name: options[name].show_default for name in keys if name in options}
    assert len(shown) >= 7
    for name, text in shown.items():
        value = spec
        for part in keys[name].split("."):
            value = getattr(value, part)
        assert text == (f"{value:g}" if isinstance(value, float) else str(value)), name
    kind = {"drift": "rademacher", "llm": f"bernoulli:{getattr(spec.reward, 'p', '')}"}
    assert options["reward"].show_default == kind[command]
    assert spec.reward.kind == kind[command].partition(":")[0]


def test_help_and_completion_load_nothing_heavy():
    code = f"import sys, entclip.cli.app; print([m for m in {_HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("words", "found"), [("entclip he", []), ("entclip ne", ["neutral"]), ("entclip run headline_", None)])
def test_a_shell_completes_commands_and_experiments(words, found):
    env = os.environ | {"_ENTCLIP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([sys.executable, "-m", "entclip"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    wanted = [name for name in experiment_names() if name.startswith("headline_")] if found is None else found
    assert done.stdout.split() == wanted


def test_init_writes_an_experiment_that_runs_and_never_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "experiment.toml is written" in told("init")
    written = (tmp_path / "experiment.toml").read_bytes()
    spec = load("experiment.toml")
    assert spec.name == "mine"
    assert len(spec.arm) == 3
    done = CliRunner().invoke(app, ["check", "experiment.toml", "--quiet"], catch_exceptions=False)
    assert done.exit_code in (0, 3), done.output
    for there in ("experiment.toml", "link.toml"):
        if there == "link.toml":
            (tmp_path / there).symlink_to("nowhere.toml")
        with pytest.raises(SpecError, match="exists and is left alone"):
            told("init", there)
    assert (tmp_path / "experiment.toml").read_bytes() == written
    assert told("init", "new/mine.toml", "--quiet") == ""
    assert (tmp_path / "new" / "mine.toml").read_bytes() == written.replace(b"experiment.toml", b"new/mine.toml")
    assert "entclip run 'my own.toml'" in told("init", "my own.toml")
    told("init", "two\nlines.toml", "--quiet")
    assert (tmp_path / "two\nlines.toml").read_bytes() == written


def test_what_init_leaves_in_comments_is_valid_too(tmp_path):
    """Each commented key and value, put in by itself; and the values named as choices are those of the models."""
    told("init", str(tmp_path / "mine.toml"))
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    grid = re.sub(r"^# (\[grid\]|\"update.*)", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "grid.toml").write_text(grid, encoding="utf-8")
    assert len(load(tmp_path / "grid.toml").cases()) == 3
    (tmp_path / "pairs.toml").write_text(
        text.replace("# antithetic", "antithetic").replace("replicas = 1", "replicas = 2"), encoding="utf-8"
    )
    assert load(tmp_path / "pairs.toml").antithetic
    schema = entclip.Experiment.model_json_schema()["$defs"]
    for key, end in (("policy", "PolicySpec"), ("reward", "RewardLaw")):
        line = re.search(rf"(?s)\[{key}\].*?\n(kind = [^\n]*)", text)[1]
        kinds = {d["properties"]["kind"]["const"] for d in _options(schema, key)}
        # a recorded run can be read, and no engine runs one
        assert kinds - set(RECORDED.policies) <= set(re.findall(r"\w+", line)), end
    assert tomllib.loads(text)["update"]["geometry"] == "natural"


def _options(schema, section):
    node = entclip.Experiment.model_json_schema()["properties"][section]
    refs = [o["$ref"] for o in node.get("oneOf", node.get("anyOf", []))]
    return [schema[ref.rsplit("/", 1)[-1]] for ref in refs]
