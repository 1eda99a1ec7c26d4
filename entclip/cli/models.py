"""Behind two commands: `entclip llm` trains a language model with the ledger inside, `entclip ledger` explains a ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entclip.cli.options import AsJson, Device, Out, Set, choose_arms, reward_section
from entclip.cli.output import console, execute
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.load import load
from entclip.experiments.overrides import apply_overrides
from entclip.ledger.folder import read_ledger
from entclip.report import with_error
from entclip.report.explain import explain, ledger_figure, table
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    from entclip.runs.result import Ledger


__all__ = ["explain_command", "llm_experiment", "rollout_table", "write_metrics"]


def llm_experiment(
    name: str,
    keys: Mapping[str, Any],
    reward: str | None,
    eps: tuple[float | None, float | None],
    arms: Sequence[str] | None,
    overrides: Sequence[str],
) -> Experiment:
    """Build the experiment of `entclip llm`: a named one or a file, then the options that were given, then --set."""
    data = load(name).model_dump(exclude_none=True)
    kind = data["policy"]["kind"]
    if kind != "language_model":
        raise SpecError(f"{name} has policy.kind = {kind!r}: entclip llm trains a language model; use entclip run {name}.")
    apply_overrides(data, [f"{key}={value}" for key, value in keys.items() if value is not None])
    if (keys.get("ledger.every") or 1) > 1:
        data["ledger"]["momentum"] = "line"  # a first moment by cause needs the gradients by cause of every update
    if reward in ("correct", "format"):
        data["antithetic"] = False  # a judged reward has no mirror image
        data.setdefault("rollout", {})["reward"] = reward
    elif reward is not None:
        data.setdefault("rollout", {})["reward"], data["reward"] = "random", reward_section(reward)
    choose_arms(data, *eps, arms)
    apply_overrides(data, overrides)
    return parse_experiment(data)


def write_metrics(ledger: Ledger, out: Path) -> None:
    """Write metrics.jsonl: one line per arm and rollout, with what the rollout saw (reward, pass@k, lengths) and its ledger."""
    from entclip.support.files import write_atomic

    lines = [json.dumps(row) for row in json.loads(ledger.to_frame("rollouts").to_json(orient="records", double_precision=15))]
    write_atomic(out / "metrics.jsonl", ("\n".join(lines) + "\n").encode())


def rollout_table(ledger: Ledger) -> Any:
    """Tabulate first and last rollout of each arm: reward, pass rates, response length, entropy."""
    from rich.table import Table

    frame = ledger.to_frame("rollouts")
    seen = [c for c in frame.columns if c in ("reward", "response_tokens", "flat_groups") or c.startswith("pass_at_")]
    out = Table("arm", "rollout", "entropy", *(c.replace("pass_at_", "pass@").replace("_", " ") for c in seen))
    out.title = "Rollouts: mean reward, share of prompts solved, tokens per response (means over replicas)"
    for arm, rows in frame.groupby("arm", sort=False):
        for _, row in rows.iloc[[0, -1] if len(rows) > 1 else [0]].iterrows():
            values = (f"{row[c]:.3f}" for c in seen)
            out.add_row(str(arm), str(row["rollout"]), f"{row['entropy_before']:.4f} -> {row['entropy']:.4f}", *values)
    return out


def explain_command(files: Sequence[Path], out: Path | None, as_json: bool, console: Any) -> str | None:
    """Print tables and warnings of each ledger, and its figure; the JSON text instead if asked for."""
    from entclip.support.files import prepare_file, to_json

    found = [(file, *read_ledger(file)) for file in files]
    stories = {str(file): explain(frame, summaries) for file, frame, summaries in found}
    for index, (file, frame, _) in enumerate(found, 1):
        target = out or (file if file.is_dir() else file.parent)
        # By number, in the order given: every run calls its file ledger.parquet, and two runs may have one name.
        picture = target / ("causes.png" if len(found) == 1 or out is None else f"causes-{index}.png")
        prepare_file(picture)
        ledger_figure(frame, picture)
    if as_json:
        return to_json({name: [story.__dict__ for story in each] for name, each in stories.items()})
    for name, each in stories.items():
        console.print(f"[bold]{name}[/bold]")
        console.print(table(each))
        for story in each:
            if story.fit is not None:
                slope, error, square, low, high = story.fit
                console.print(
                    f"{story.name}: measured = {with_error(slope, error)} x first order over its updates, "
                    f"R^2 = {square:.3f} ({low:.3f} to {high:.3f}, 95 %)"
                )
            for warning in story.warnings:
                console.print(f"[yellow]{story.name}: {warning}")
    return None


def llm(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment about language models, or a TOML file.")] = "llm",
    model: Annotated[str | None, typer.Option(help="tiny, smollm2-135m, a hub id, a folder or a .gguf file.")] = None,
    task: Annotated[str | None, typer.Option(help="digits, sums or reasoning_gym:NAME.")] = None,
    reward: Annotated[
        str | None, typer.Option(help="bernoulli:.5, gaussian:1 or rademacher (random); correct or format (judged).")
    ] = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).")] = None,
    eps_high: Annotated[float | None, typer.Option(help="Width above 1 (inf: off).")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the optimiser.")] = None,
    rollouts: Annotated[int | None, typer.Option(help="Rollouts.")] = None,
    replicas: Annotated[int | None, typer.Option(help="Independent repetitions (pairs count twice).")] = None,
    every: Annotated[int | None, typer.Option(help="Account every so manieth update.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms.")] = None,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, float64 or bfloat16 (autocast over float32).")] = "float32",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train a language model by GRPO with the entropy ledger inside. Without options: the tiny model, random rewards."""
    from entclip.cli.models import llm_experiment, rollout_table, write_metrics
    from entclip.support.files import prepare_folder

    keys = {
        "policy.model": model, "rollout.task": task, "update.learning_rate": learning_rate, "update.rollouts": rollouts,
        "replicas": replicas, "ledger.every": every, "seed": seed,
    }  # fmt: skip
    spec = llm_experiment(experiment, keys, reward, (eps_low, eps_high), arm, set_ or [])
    if out is not None:
        prepare_folder(out, ("metrics.jsonl",))
    ledger = execute(spec, ("llm", device, dtype), out, as_json, judged=False)
    if out is not None:
        write_metrics(ledger, out)
    if not as_json:
        console().print(rollout_table(ledger))


def ledger(
    files: Annotated[list[Path], typer.Argument(help="Folders of finished runs, or ledger.parquet files.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where causes.png goes (default: beside the ledger).")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain where a run's entropy went: causes with errors, warnings, one figure."""
    from entclip.cli.models import explain_command

    text = explain_command(files, out, as_json, console())
    if text is not None:
        typer.echo(text)


def snapshot(
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write.")],
    model: Annotated[str, typer.Option(help="smollm2-135m, a .gguf file, a saved folder or a hub id.")] = "smollm2-135m",
    contexts: Annotated[int, typer.Option(help="Next-token distributions to keep.")] = 256,
    prompts: Annotated[Path | None, typer.Option(help="Text file, one prompt a line (default: the shipped ones).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampled continuations.")] = 0,
    hidden: Annotated[
        bool, typer.Option("--hidden", help='Hidden states and output head instead, for policy.kind = "hidden" (engine head).')
    ] = False,
) -> None:
    """Compress a language model's next-token distributions into a policy file (needs the llm extra)."""
    from entclip.policies.from_model import snapshot_from_model
    from entclip.support.files import prepare_file

    prepare_file(out)
    lines = None
    if prompts is not None:
        try:
            lines = [line.strip() for line in prompts.read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot read --prompts {prompts}: {error}.") from None
    if hidden:
        from entclip.policies.hidden_from_model import hidden_from_model

        rows, vocab, dim = hidden_from_model(out, model, lines, contexts=contexts, seed=seed)
        console().print(
            f'{rows} hidden states and a head of {vocab} x {dim} are in {out}; use policy.kind = "hidden", path = {out}'
        )
        return
    made = snapshot_from_model(model, lines, contexts=contexts, seed=seed)
    made.save(out)
    console().print(f"{made.contexts} contexts over V = {made.vocab} actions are in {out}; use it with --policy snapshot:{out}")
