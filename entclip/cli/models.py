"""Commands about language models: llm, ledger, snapshot."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entclip.cli.options import AsJson, Csv, Device, Out, Quiet, Set, choose_arms, reward_section, usual
from entclip.cli.output import Output
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    from entclip.experiments.experiment import Experiment
    from entclip.report.grid import Grid
    from entclip.runs.result import Ledger

__all__ = ["ledger", "llm", "llm_experiment", "rollout_grid", "snapshot", "write_metrics"]


def llm_experiment(
    name: str,
    keys: Mapping[str, Any],
    reward: str | None,
    eps: tuple[float | None, float | None],
    arms: Sequence[str] | None,
    overrides: Sequence[str],
    backend: Mapping[str, Any] | None = None,
) -> Experiment:
    """Build the experiment of `entclip llm`: a named one or a file, what a backend does anyway, options, then --set."""
    from entclip.experiments.experiment import parse_experiment
    from entclip.experiments.load import load
    from entclip.experiments.overrides import apply_overrides, assign

    data = load(name).model_dump(exclude_none=True)
    kind = data["policy"]["kind"]
    if kind != "language_model":
        raise SpecError(f"{name} has policy.kind = {kind!r}: entclip llm trains a language model; use entclip run {name}.")
    keys = {**(backend or {}), **keys}
    for key, value in keys.items():
        if value is not None:
            assign(data, key, value)
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


def rollout_grid(ledger: Ledger) -> Grid:
    """Tabulate first and last rollout of each arm: reward, pass rates, response length, entropy."""
    from entclip.report.grid import text_grid

    frame = ledger.to_frame("rollouts")
    seen = [c for c in frame.columns if c in ("reward", "response_tokens", "flat_groups") or c.startswith("pass_at_")]
    shown = []
    for arm, rows in frame.groupby("arm", sort=False):
        for _, row in rows.iloc[[0, -1] if len(rows) > 1 else [0]].iterrows():
            entropy = f"{row['entropy_before']:.4f} -> {row['entropy']:.4f}"
            shown.append((str(arm), str(row["rollout"]), entropy, *(f"{row[c]:.3f}" for c in seen)))
    title = "Rollouts: mean reward, share of prompts solved, tokens per response (means over replicas)"
    columns = ("arm", "rollout", "entropy", *(c.replace("pass_at_", "pass@").replace("_", " ") for c in seen))
    return text_grid(title, columns, shown)


def _llm(key: str, otherwise: str = "") -> str:
    return usual("llm", key, otherwise)


def llm(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment about language models, or a TOML file.")] = "llm",
    model: Annotated[
        str | None,
        typer.Option(help="tiny, smollm2-135m, a hub id, a folder or a .gguf file.", show_default=_llm("policy.model")),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="digits, sums, small_sums or reasoning_gym:NAME.", show_default=_llm("rollout.task"))
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            help="bernoulli:.5, gaussian:1 or rademacher (random); correct or format (judged).",
            show_default=f"{_llm('reward.kind')}:{_llm('reward.p')}",
        ),
    ] = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).", show_default="the widths of the arms")] = None,
    eps_high: Annotated[
        float | None, typer.Option(help="Width above 1 (inf: off).", show_default="the widths of the arms")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the optimiser.", show_default=_llm("update.learning_rate"))
    ] = None,
    rollouts: Annotated[int | None, typer.Option(help="Rollouts.", show_default=_llm("update.rollouts"))] = None,
    replicas: Annotated[
        int | None, typer.Option(help="Independent repetitions (pairs count twice).", show_default=_llm("replicas"))
    ] = None,
    every: Annotated[
        int | None, typer.Option(help="Account for one update in this many.", show_default=_llm("ledger.every", "1"))
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.", show_default=_llm("seed", "0"))] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms.", show_default="all")] = None,
    backend: Annotated[
        str, typer.Option(help="entclip, or trl: TRL's GRPOTrainer, which accelerate launch takes to several devices.")
    ] = "entclip",
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, float64 or bfloat16 (autocast over float32).")] = "float32",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Train a language model by GRPO with the entropy ledger inside. Without options: the tiny model, random rewards."""
    from entclip.cli.execute import execute, simulate
    from entclip.engines.registry import BACKENDS, usual_engine
    from entclip.support.files import prepare_folder

    if backend != "entclip" and backend not in BACKENDS:
        raise SpecError(f"--backend {backend!r}: choose entclip or {', '.join(BACKENDS)}.")
    fixed: dict[str, str] = {}
    if backend in BACKENDS:
        from entclip.integrations.trl_backend.settings import AS_TRL

        fixed = AS_TRL
    output = Output(as_json, csv, quiet)
    keys = {
        "policy.model": model,
        "rollout.task": task,
        "update.learning_rate": learning_rate,
        "update.rollouts": rollouts,
        "replicas": replicas,
        "ledger.every": every,
        "seed": seed,
    }
    spec = llm_experiment(experiment, keys, reward, (eps_low, eps_high), arm, set_ or [], fixed)
    if fixed:
        if int(os.environ.get("RANK", "0")):  # the first of several processes prints and writes
            simulate(spec, (backend, device, dtype), None, Output(quiet=True))
            return
        output.say(f"Under TRL {' and '.join(f'{key} = {value}' for key, value in fixed.items())}, whatever the file says.")
    if out is not None:
        prepare_folder(out, ("metrics.jsonl",))
    engine = backend if backend in BACKENDS else usual_engine(spec.policy.kind).name
    made = execute(spec, (engine, device, dtype), out, output, judged=False)
    if out is not None:
        write_metrics(made, out)
    if output.tables:
        output.show(rollout_grid(made))


def ledger(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of finished runs, ledger.parquet files, frames of ledger_from_arrays or ledger_from_samples, or token "
            "exports of prime-rl."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for causes.png.", show_default="beside the ledger")] = None,
    as_json: AsJson = False,
    csv: Annotated[
        str | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write the ledger, one row per arm and update, as CSV; - prints it instead of tables.",
            show_default="none written",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Explain where a run's entropy went: causes with errors, warnings, one figure."""
    import pandas as pd

    from entclip.ledger.contexts_file import read_contexts
    from entclip.ledger.folder import read_ledger
    from entclip.report.contexts import contexts_grid, contexts_means
    from entclip.report.explain import LEDGER_CAPTION, explain, ledger_figure, stories_grid
    from entclip.report.numbers import with_error
    from entclip.report.samples import samples_grid, samples_means, steps_grid
    from entclip.support.files import prepare_file

    output = Output(as_json, csv, quiet)
    batches = {str(file): frame for file in files if (frame := read_contexts(file)) is not None}
    samples = {str(file): steps for file in files if (steps := _samples(file))}
    found = [(file, *read_ledger(file)) for file in files if str(file) not in (*batches, *samples)]
    stories = {str(file): explain(frame, summaries) for file, frame, summaries in found}
    pictures = []
    for index, (file, frame, _) in enumerate(found, 1):
        target = out or (file if file.is_dir() else file.parent)
        # By number, in the order given: every run calls its file ledger.parquet, and two runs may have one name.
        picture = target / ("causes.png" if len(found) == 1 or out is None else f"causes-{index}.png")
        prepare_file(picture)
        ledger_figure(frame, picture)
        pictures.append(str(picture))
    if output.machine(
        lambda: (
            {name: [story.__dict__ for story in each] for name, each in stories.items()}
            | {name: contexts_means(frame) for name, frame in batches.items()}
            | {name: _by_step({k: samples_means(frame) for k, frame in steps.items()}) for name, steps in samples.items()}
        ),
        lambda: pd.concat(
            [frame.assign(file=str(file)) for file, frame in [*((f, x) for f, x, _ in found), *batches.items()]]
            + [
                frame.assign(file=name) if step is None else frame.assign(file=name, step=step)
                for name, steps in samples.items()
                for step, frame in steps.items()
            ],
            ignore_index=True,
        ),
    ):
        return
    for name, steps in samples.items():
        output.tell(name, style="bold")
        output.show(steps_grid(steps) if len(steps) > 1 else samples_grid(*steps.values()))
    for name, frame in batches.items():
        output.tell(name, style="bold")
        output.show(contexts_grid(frame))
    for name, each in stories.items():
        output.tell(name, style="bold")
        output.show(stories_grid(each))
        for story in each:
            if story.fit is not None:
                slope, error, square, low, high = story.fit
                output.tell(
                    f"{story.name}: measured = {with_error(slope, error)} x first order over its updates, "
                    f"R^2 = {square:.3f} ({low:.3f} to {high:.3f}, 95 %)"
                )
            if story.ceiling is not None:
                output.tell(f"{story.name}: {story.ceiling}")
        output.warn(f"{story.name}: {warning}" for story in each for warning in story.warnings)
    if pictures:
        output.say(f"{', '.join(pictures)}: the change by cause over updates. {LEDGER_CAPTION}")


def _samples(file: Path) -> Mapping[Any, Any]:
    """The frames of samples at a path by the step of their update, None for one that is of one update; none if it has others."""
    from entclip.integrations.prime_rl import read_token_export, token_export_files
    from entclip.ledger.samples_file import read_samples

    if token_export_files(file):
        return read_token_export(file)
    frame = read_samples(file)
    return {} if frame is None else {None: frame}


def _by_step(found: Mapping[int | None, Any]) -> Any:
    return found[None] if None in found else {f"step_{step}": means for step, means in found.items()}


def snapshot(
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write.")],
    model: Annotated[str, typer.Option(help="smollm2-135m, a .gguf file, a saved folder or a hub id.")] = "smollm2-135m",
    contexts: Annotated[int, typer.Option(help="Next-token distributions to keep.")] = 256,
    prompts: Annotated[Path | None, typer.Option(help="Text file, one prompt a line.", show_default="the shipped ones")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampled continuations.")] = 0,
    hidden: Annotated[
        bool, typer.Option("--hidden", help='Hidden states and output head instead, for policy.kind = "hidden" (engine head).')
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compress a language model's next-token distributions into a policy file (needs the llm extra)."""
    from entclip.engines.llm.facts import LLM
    from entclip.policies.from_model import read_prompts, snapshot_from_model
    from entclip.support.files import prepare_file

    output = Output(quiet=quiet)
    LLM.refuse_unloadable("a language model")
    prepare_file(out)
    lines = None if prompts is None else read_prompts(prompts)
    if hidden:
        from entclip.policies.hidden_from_model import hidden_from_model

        rows, vocab, dim = hidden_from_model(out, model, lines, contexts=contexts, seed=seed, progress=not quiet)
        output.say(f'{rows} hidden states and a head of {vocab} x {dim} are in {out}; use policy.kind = "hidden", path = {out}')
        return
    made = snapshot_from_model(model, lines, contexts=contexts, seed=seed, progress=not quiet)
    made.save(out)
    output.say(f"{made.contexts} contexts over V = {made.vocab} actions are in {out}; use it with --policy snapshot:{out}")
