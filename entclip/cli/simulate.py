"""Commands that simulate: drift, list, run, check, report, compare, bench."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from entclip.cli.options import AsJson, Device, Dtype, EngineName, Out, Set, choose_arms, policy_section, reward_section
from entclip.cli.output import console, execute, progress, show
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.load import experiment_names, load
from entclip.experiments.overrides import apply_overrides
from entclip.support.errors import SpecError


def drift(
    policy: Annotated[
        str | None, typer.Option(help="zipf:1.2, dirichlet:2, peaked:5, uniform, snapshot:NAME or FILE.npy.")
    ] = None,
    vocab: Annotated[int | None, typer.Option(help="Actions V.")] = None,
    contexts: Annotated[int | None, typer.Option(help="Contexts.")] = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).")] = None,
    eps_high: Annotated[float | None, typer.Option(help="Width above 1 (inf: off).")] = None,
    reward: Annotated[str | None, typer.Option(help="bernoulli:.5, gaussian:1 or rademacher.")] = None,
    group_size: Annotated[int | None, typer.Option(help="Group-relative advantages of this size; 0: independent.")] = None,
    geometry: Annotated[str | None, typer.Option(help="natural or euclidean.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step eta.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per context and minibatch.")] = None,
    minibatches: Annotated[int | None, typer.Option(help="Updates per rollout.")] = None,
    rollouts: Annotated[int | None, typer.Option(help="Rollouts.")] = None,
    replicas: Annotated[int | None, typer.Option(help="Independent repetitions.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms.")] = None,
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
    judged: Annotated[bool, typer.Option("--check", help="Exit 1 if the theory is rejected, 3 if inconclusive.")] = False,
) -> None:
    """Simulate random-reward drift: six clip settings, theory beside simulation. Without options: the headline experiment."""
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
        "geometry": geometry, "learning_rate": learning_rate, "batch": batch, "minibatches": minibatches, "rollouts": rollouts,
    }  # fmt: skip
    data["update"] |= {k: v for k, v in direct.items() if v is not None}
    data |= {k: v for k, v in {"replicas": replicas, "seed": seed}.items() if v is not None}
    choose_arms(data, eps_low, eps_high, arm)
    apply_overrides(data, set_ or [])
    execute(parse_experiment(data), (engine, device, dtype), out, as_json, judged)


def list_experiments(as_json: AsJson = False) -> None:
    """List the experiments that ship with entclip."""
    from rich.table import Table

    from entclip.support.files import to_json

    found = [(name, load(name)) for name in experiment_names()]
    if as_json:
        typer.echo(to_json([{"name": n, "claims": e.claims, "description": e.description} for n, e in found]))
        return
    table = Table("experiment", "claims", "cases x arms", "what it shows")
    for name, e in found:
        table.add_row(name, " ".join(e.claims), f"{len(e.cases())} x {len(e.arm)}", e.description)
    console().print(table)


def run(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file.")],
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment; with --out an interrupted run resumes from its last whole rollout."""
    execute(load(experiment, set_ or []), (engine, device, dtype), out, as_json, judged=False)


def check(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file.")],
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    plan: Annotated[
        bool, typer.Option("--plan", help="From a pilot run: units needed to tell each part from 0 at 8 standard errors.")
    ] = False,
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Judge every cause against its expectation: exit 0 agree, 1 reject, 3 inconclusive."""
    spec = load(experiment, set_ or [])
    if not plan:
        execute(spec, (engine, device, dtype), out, as_json, judged=True)
        return
    from rich.table import Table

    from entclip.ledger.verdict import sample_plan
    from entclip.runs.runner import run as run_experiment
    from entclip.support.files import to_json

    with progress(spec, quiet=as_json) as advance:
        pilot = run_experiment(spec, engine, device=device, dtype=dtype, out=out, progress=advance)
        rows = sample_plan(pilot.summary())
    if as_json:
        typer.echo(to_json(rows))
        return
    table = Table(
        "arm",
        "part",
        "expected (nats)",
        "residual s.e.",
        "units now",
        "units needed",
        title="Units (contexts x replicas) for 8 standard errors",
    )
    for row in rows:
        table.add_row(
            row["arm"], row["part"], f"{row['expected']:+.3e}", f"{row['se']:.1e}", str(row["units"]), str(row["units_needed"])
        )
    console().print(table)


def report(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the files go (default: the run folder).")] = None,
) -> None:
    """Report of a finished run: tables here; report.html (one page, nothing else needed), report.md and figures as files."""
    from entclip.ledger.folder import read_summary
    from entclip.report import write_report

    summary, target = read_summary(run_folder), out or run_folder
    files = write_report(run_folder, target)
    show(summary)
    console().print(f"{', '.join(files)} are in {target}")


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another.")],
) -> None:
    """Set two runs side by side: differences with their standard errors."""
    from entclip.ledger.folder import read_summary
    from entclip.report import comparison

    console().print(comparison(read_summary(first), read_summary(second)))


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="sampled, kernels, reduced, head, llm (default: all).")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda, for kernels and head.")] = None,
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
