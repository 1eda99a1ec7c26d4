"""entclip llm and entclip ledger as a user runs them, and the training of the tiny model."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from entclip import SpecError
from entclip.cli.app import app
from entclip.cli.models import llm_experiment
from entclip.engines.llm import tiny
from entclip.engines.llm.language import load_language
from entclip.engines.llm.sampling import generate, pad_prompts
from entclip.engines.llm.task import Digits
from entclip.ledger.folder import read_ledger
from entclip.report.explain import explain
from entclip.support.errors import DamagedFileError
from entclip.support.files import to_json
from entclip.support.random import stream
from tests.robustness.scope import NIGHTLY

SMALL = ["--model", "untrained", "--rollouts", "2", "--replicas", "4", "--every", "3", "--set", "update.minibatches=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("llm")
    result = CliRunner().invoke(app, ["llm", *SMALL, "--arm", "both", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Entropy change by cause" in result.output
    assert "pass@8" in result.output
    return out


def test_a_run_leaves_its_ledger_metrics_and_figure(folder):
    names = {p.name for p in folder.iterdir()}
    assert {"experiment.toml", "ledger.parquet", "rollouts.parquet", "summary.json", "figure.png", "metrics.jsonl"} <= names
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["rollout"] for line in lines] == [0, 1]
    assert all(line["arm"] == "both" and line["entropy"] > 0 and line["pass_at_1"] == 0 for line in lines)
    rows = pd.read_parquet(folder / "ledger.parquet")
    assert rows["step"].tolist() == [0, 3, 6]


def test_ledger_explains_a_run(folder, tmp_path):
    result = CliRunner().invoke(app, ["ledger", str(folder), "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Where entropy went" in result.output
    assert "x first order over its updates" not in result.output  # three updates are too few for a line
    assert (tmp_path / "causes.png").stat().st_size > 10_000
    parsed = json.loads(CliRunner().invoke(app, ["ledger", str(folder / "ledger.parquet"), "--json"]).output)
    (story,) = parsed[str(folder / "ledger.parquet")]
    summary = json.loads((folder / "summary.json").read_text())["arms"]["both"]
    assert story["measured"] == [summary["measured"], summary["measured_se"]]


def test_figures_of_runs_with_one_file_name_do_not_overwrite_each_other(folder, tmp_path):
    file = str(folder / "ledger.parquet")
    result = CliRunner().invoke(app, ["ledger", file, file, "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["causes-1.png", "causes-2.png"]


def row(step, **values):
    base = dict.fromkeys(
        (
            "unclipped",
            "clip_low",
            "clip_high",
            "other",
            "curvature",
            "remainder",
            "mass_low",
            "mass_high",
            "pi_low",
            "pi_high",
            "clip_fraction_low",
            "clip_fraction_high",
        ),
        0.0,
    )
    base |= {"count_plus": 8.0, "count_minus": 8.0, "samples": 16.0}
    out = base | {"arm": "a", "rollout": 0, "step": step, "inner_step": step % 4, "entropy_before": 1.0, "entropy": 1.1}
    out |= values
    return out | {"measured": sum(out[k] for k in ("unclipped", "clip_low", "clip_high", "other", "curvature", "remainder"))}


def test_the_line_of_measured_against_first_order():
    rows = [row(k, unclipped=x, curvature=0.1 * x + e) for k, (x, e) in enumerate([(1, 0.1), (2, -0.1), (3, -0.1), (4, 0.1)])]
    (story,) = explain(pd.DataFrame(rows), {})
    slope, error, square, low, high = story.fit
    # By hand: Sxx = 5, residual sum of squares .04 over 2 degrees of freedom; Syy = 1.21 * 5 + .04.
    assert slope == pytest.approx(1.1, rel=1e-12)
    assert error == pytest.approx((0.02 / 5) ** 0.5, rel=1e-9)
    assert square == pytest.approx(1 - 0.04 / (1.21 * 5 + 0.04), rel=1e-9)
    assert 0 < low < square < high < 1
    assert explain(pd.DataFrame(rows[:3]), {})[0].fit is None
    assert explain(pd.DataFrame([row(k) for k in range(5)]), {})[0].fit is None


def test_errors_of_a_lone_file_add_in_quadrature():
    parts = ("measured", "unclipped", "clip_low", "clip_high", "other", "curvature", "remainder")
    rows = [row(k, unclipped=0.1, **{f"{p}_se": 0.3 for p in parts}) for k in range(4)]
    (story,) = explain(pd.DataFrame(rows), {})
    assert story.parts[0] == ("unclipped", pytest.approx(0.4), pytest.approx(0.6))
    assert to_json(story.__dict__)


@pytest.mark.parametrize("name", ["missing.parquet", "broken.parquet", "other.parquet"])
def test_what_is_no_ledger(tmp_path, name):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    pd.DataFrame({"arm": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises((SpecError, DamagedFileError), match=r"does not exist|not a whole Parquet file|it has no column"):
        read_ledger(tmp_path / name)


def test_options_become_the_experiment(tmp_path):
    spec = llm_experiment("llm", {"seed": 5, "replicas": None}, "gaussian:2", (None, 0.3), None, ["update.rollouts=3"])
    assert (spec.seed, spec.replicas, spec.update.rollouts, spec.reward.std) == (5, 12, 3, 2)
    assert [(a.name, a.high) for a in spec.arm] == [("custom", 0.3)]
    assert (spec.ledger.every, spec.ledger.momentum) == (1, "cause")
    sparse = llm_experiment("llm", {"ledger.every": 5}, None, (None, None), None, [])
    assert (sparse.ledger.every, sparse.ledger.momentum) == (5, "line")
    judged = llm_experiment("llm", {}, "correct", (None, None), ["both"], [])
    assert (judged.rollout.reward, judged.antithetic, [a.name for a in judged.arm]) == ("correct", False, ["both"])
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "own"\nclaims = ["T5"]\n[policy]\nkind = "language_model"\n[advantage]\nkind = "group"\nsize = 8\n'
        '[reward]\nkind = "bernoulli"\n[update]\nbatch = 16\n[[arm]]\nname = "a"\n'
    )
    assert llm_experiment("llm", {"policy.model": "nan"}, None, (None, None), None, []).policy.model == "nan", (
        "a folder of that name"
    )
    assert llm_experiment(str(own), {}, "format", (None, None), None, []).rollout.reward == "format"
    assert llm_experiment(str(own), {}, "gaussian:1", (None, None), None, []).rollout.reward == "random"
    with pytest.raises(SpecError, match="use entclip run headline"):
        llm_experiment("headline", {}, None, (None, None), None, [])
    with pytest.raises(SpecError, match="the arms are none, both, low_only"):
        llm_experiment("llm", {}, None, (None, None), ["hihg"], [])


def answers(model=None):
    """Shares of right and of well-formed answers of the tiny model with its shipped weights, or with others."""
    with pytest.MonkeyPatch.context() as patch:
        if model is not None:
            patch.setattr("entclip.engines.llm.language.tiny_model", lambda *, trained: model.eval())
        language, task = load_language("tiny", "cpu", "float32"), Digits()
    questions = task.ask(stream(1, "tasks"), 500)
    prompts = pad_prompts(language, [q.text for q in questions], 6)
    made = generate(language, prompts, new_tokens=6, temperature=1.0, seed=2)
    texts = [language.decode(row) for row in made.ids[:, -made.length :].tolist()]
    both = [*zip(questions, texts, strict=True)]
    return sum(task.correct(*x) for x in both) / 500, sum(task.well_formed(*x) for x in both) / 500


def trained(*steps):
    model = tiny.tiny_model(trained=False)
    tiny.train(model, *steps)
    return model


# Training to the end takes half a minute: every run has its first steps, the nightly run all of them.
@pytest.mark.slow
@pytest.mark.parametrize("weights", ["shipped", "trained anew"] if NIGHTLY else ["shipped"])
def test_the_tiny_model_knows_its_task(weights):
    right, formed = answers(None if weights == "shipped" else trained())
    # A digit is replaced with probability 1/4, by itself one time in ten: a model that learnt the labels' law is right with
    # probability (1 - .25 * .9)^4 = .36; five standard errors of 500 answers, and as much again for what it has not learnt.
    expected = (1 - 0.25 * 0.9) ** 4
    error = (expected * (1 - expected) / 500) ** 0.5
    assert expected - 10 * error < right < expected + 5 * error
    assert formed > 0.95


def test_training_begins_with_the_form_of_an_answer():
    """Untrained, the chance of a semicolon, four digits and an end is (1/64)^2 (10/64)^4; after 120 updates most have it."""
    assert answers(tiny.tiny_model(trained=False))[1] == 0
    assert answers(trained(120))[1] > 0.9
