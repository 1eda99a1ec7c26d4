"""Commands that simulate: drift, run, check, bench."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entclip.cli.arms import named_arms
from entclip.cli.execute import Machine, execute, simulate
from entclip.cli.options import (
    AsJson,
    Csv,
    Device,
    Dtype,
    EngineName,
    Experiment,
    Out,
    Quiet,
    Set,
    choose_arms,
    policy_section,
    reward_section,
    usual,
)
from entclip.cli.output import Output
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    from entclip.experiments.experiment import Experiment as Spec


def _headline(key: str, otherwise: str = "") -> str:
    return usual("headline", key, otherwise)


def drift(
    policy: Annotated[
        str | None,
        typer.Option(
            help="zipf:1.2, dirichlet:2, peaked:5, uniform, snapshot:NAME or FILE.npy.",
            show_default=f"{_headline('policy.kind')}:{_headline('policy.alpha')}",
        ),
    ] = None,
    vocab: Annotated[int | None, typer.Option(help="Actions V.", show_default=_headline("policy.vocab"))] = None,
    contexts: Annotated[int | None, typer.Option(help="Contexts.", show_default=_headline("policy.contexts"))] = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).", show_default="the widths of six arms")] = None,
    eps_high: Annotated[
        float | None, typer.Option(help="Width above 1 (inf: off).", show_default="the widths of six arms")
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="NAME",
            help='Objectives in the place of the six clip settings: "sapo,clip(low=.1)"; `entclip objectives` lists them.',
            show_default="six clip settings",
        ),
    ] = None,
    controllers: Annotated[
        str | None,
        typer.Option(
            "--controller",
            metavar="NAME",
            help='Beside the clip, or the one --objective, the same with a controller: "predictive(sides=low)".',
            show_default="none",
        ),
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="bernoulli:.5, gaussian:1 or rademacher.", show_default=_headline("reward.kind"))
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option(
            help="Group-relative advantages of this size; 0: independent.", show_default=f"0, {_headline('advantage.kind')}"
        ),
    ] = None,
    geometry: Annotated[str | None, typer.Option(help="natural or euclidean.", show_default=_headline("update.geometry"))] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step eta.", show_default=_headline("update.learning_rate"))] = None,
    batch: Annotated[
        int | None, typer.Option(help="Samples per context and minibatch.", show_default=_headline("update.batch"))
    ] = None,
    minibatches: Annotated[
        int | None, typer.Option(help="Updates per rollout.", show_default=_headline("update.minibatches"))
    ] = None,
    rollouts: Annotated[int | None, typer.Option(help="Rollouts.", show_default=_headline("update.rollouts"))] = None,
    replicas: Annotated[
        int | None, typer.Option(help="Independent repetitions.", show_default=_headline("replicas", "1"))
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.", show_default=_headline("seed", "0"))] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms.", show_default="all")] = None,
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
    judged: Annotated[bool, typer.Option("--check", help="Exit 1 if the theory is rejected, 3 if inconclusive.")] = False,
) -> None:
    """Simulate random-reward drift: six clip settings, theory beside simulation. Without options: the headline experiment."""
    from entclip.experiments.experiment import parse_experiment
    from entclip.experiments.load import load
    from entclip.experiments.overrides import apply_overrides

    output = Output(as_json, csv, quiet)
    data = load("headline").model_dump(exclude_none=True)
    if policy is not None:
        data["policy"] = policy_section(policy, vocab, contexts)
    for key, value in (("policy.vocab", vocab), ("policy.contexts", contexts)):
        if value is not None and (policy is None or not policy.endswith(".npy")):
            apply_overrides(data, [f"{key}={value}"])
    if reward is not None:
        data["reward"] = reward_section(reward)
    if group_size is not None:
        data["advantage"] = {"kind": "group", "size": group_size} if group_size else {"kind": "independent"}
    direct = {
        "geometry": geometry,
        "learning_rate": learning_rate,
        "batch": batch,
        "minibatches": minibatches,
        "rollouts": rollouts,
    }
    data["update"] |= {k: v for k, v in direct.items() if v is not None}
    data |= {k: v for k, v in {"replicas": replicas, "seed": seed}.items() if v is not None}
    choose_arms(data, eps_low, eps_high, arm)
    if objectives is not None or controllers is not None:
        if eps_low is not None or eps_high is not None or arm:
            raise SpecError("--objective and --controller name the arms: leave --eps-low, --eps-high and --arm out.")
        data["arm"] = named_arms(objectives, controllers)
    apply_overrides(data, set_ or [])
    execute(parse_experiment(data), (engine, device, dtype), out, output, judged)


def run(
    experiment: Experiment,
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Run an experiment; with --out an interrupted run resumes from its last whole rollout."""
    from entclip.experiments.load import load

    output = Output(as_json, csv, quiet)
    execute(load(experiment, set_ or []), (engine, device, dtype), out, output, judged=False)


def check(
    experiment: Experiment,
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    plan: Annotated[
        bool, typer.Option("--plan", help="From a pilot run: units needed to tell each part from 0 at 8 standard errors.")
    ] = False,
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Judge every cause against its expectation: exit 0 agree, 1 reject, 3 inconclusive. With --quiet agreement is silent."""
    from entclip.experiments.load import load

    output, spec, machine = Output(as_json, csv, quiet), load(experiment, set_ or []), (engine, device, dtype)
    if plan:
        _plan(spec, machine, out, output)
    else:
        execute(spec, machine, out, output, judged=True)


def _plan(spec: Spec, machine: Machine, out: Path | None, output: Output) -> None:

    from entclip.ledger.verdict import sample_plan
    from entclip.report.grid import text_grid

    rows = sample_plan(simulate(spec, machine, out, output).summary())
    if output.machine(lambda: rows, lambda: rows):
        return
    columns = ("arm", "part", "expected (nats)", "residual s.e.", "units now", "units needed")
    shown = (
        (r["arm"], r["part"], f"{r['expected']:+.3e}", f"{r['se']:.1e}", str(r["units"]), str(r["units_needed"])) for r in rows
    )
    output.show(text_grid("Units (contexts x replicas) for 8 standard errors", columns, shown))


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="sampled, kernels, reduced, head, logs, llm, ledger.", show_default="all of them")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda, for kernels and head.", show_default="each its own")
    ] = None,
) -> None:
    """Measure speed as ratios measured in one run, from a source checkout: see docs/performance.md."""
    import subprocess

    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "__main__.py").is_file():
        raise SpecError(
            f"{root} has no benchmarks/: they are not part of an installed package. Clone the repository, install it with "
            "pip install -e '.[test]', and run entclip bench again."
        )
    options = [*(names or ()), *(("--device", device) if device else ())]
    raise typer.Exit(subprocess.run([sys.executable, "-m", "benchmarks", *options], cwd=root).returncode)
