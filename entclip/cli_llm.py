"""Behind two commands: `entclip llm` trains a language model with the ledger inside, `entclip ledger` explains a ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entclip.cli_options import choose_arms, reward_section
from entclip.explain import explain, ledger_figure, read_ledger, table
from entclip.report import with_error
from entclip.spec import Experiment, SpecError, apply_overrides, load, parse_experiment

if TYPE_CHECKING:
    from entclip.ledger import Ledger

__all__ = ["explain_command", "llm_experiment", "rollout_table", "write_metrics"]


def llm_experiment(
    name: str,
    keys: Mapping[str, Any],
    reward: str | None,
    eps: tuple[float | None, float | None],
    arms: Sequence[str] | None,
    overrides: Sequence[str],
) -> Experiment:
    """The experiment of `entclip llm`: a named one or a file, then the options that were given, then --set."""
    data = load(name).model_dump(exclude_none=True)
    kind = data["policy"]["kind"]
    if kind != "language_model":
        raise SpecError(f"{name} has policy.kind = {kind!r}: entclip llm trains a language model; use entclip run {name}.")
    apply_overrides(data, [f"{key}={value}" for key, value in keys.items() if value is not None])
    if reward in ("correct", "format"):
        data["antithetic"] = False  # a judged reward has no mirror image
        data.setdefault("rollout", {})["reward"] = reward
    elif reward is not None:
        data.setdefault("rollout", {})["reward"], data["reward"] = "random", reward_section(reward)
    choose_arms(data, *eps, arms)
    apply_overrides(data, overrides)
    return parse_experiment(data)


def write_metrics(ledger: Ledger, out: Path) -> None:
    """metrics.jsonl: one line per arm and rollout, with what the rollout saw (reward, pass@k, lengths) and its ledger."""
    from entclip.store import write_atomic

    lines = [json.dumps(row) for row in json.loads(ledger.to_frame("rollouts").to_json(orient="records", double_precision=15))]
    write_atomic(out / "metrics.jsonl", ("\n".join(lines) + "\n").encode())


def rollout_table(ledger: Ledger) -> Any:
    """First and last rollout of each arm: reward, pass rates, response length, entropy."""
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
    """Tables and warnings of each ledger, and its figure; the JSON text instead if asked for."""
    from entclip.store import prepare_folder, to_json

    found = [(file, *read_ledger(file)) for file in files]
    stories = {str(file): explain(frame, summaries) for file, frame, summaries in found}
    for index, (file, frame, _) in enumerate(found, 1):
        target = out or (file if file.is_dir() else file.parent)
        prepare_folder(target)
        # By number, in the order given: every run calls its file ledger.parquet, and two runs may have one name.
        ledger_figure(frame, target / ("causes.png" if len(found) == 1 or out is None else f"causes-{index}.png"))
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
