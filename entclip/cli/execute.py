"""What `drift`, `run`, `check` and `llm` share: run an experiment, save it, print it, exit by its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from entclip.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from entclip.experiments.experiment import Experiment
    from entclip.runs.result import Ledger
    from entclip.runs.runner import Progress

__all__ = ["Machine", "arms_frame", "execute", "show_run", "simulate", "unheld"]

Machine = tuple[str, str, str]  # engine, device, dtype
_EXIT = {"agree": 0, "reject": 1, "inconclusive": 3}


def simulate(experiment: Experiment, machine: Machine, out: Path | None, output: Output) -> Ledger:
    """Make the ledger of a run, with progress and the warning that belongs before it."""
    from entclip.engines.facts import updates_of
    from entclip.engines.registry import BACKENDS, facts_of
    from entclip.runs.foresight import foresee, refuse_arms, refuse_too_large
    from entclip.runs.runner import run
    from entclip.support.foresight import announced

    engine, device, dtype = machine
    facts_of(engine).refuse_unloadable()
    refuse_too_large(experiment, engine, device, dtype)
    refuse_arms(experiment, engine)
    _warn_of_single_samples(experiment, engine)
    total = sum(updates_of(case) for _, case in experiment.cases())
    about, beginning = announced(foresee(experiment, engine, device, dtype)), facts_of(engine).beginning
    first = ", ".join(filter(None, (f"{total:,} updates", about))) + (f"; {beginning}" if beginning else "")
    with output.progress(f"{experiment.name} ({experiment.update.geometry})", total, first) as advance:
        each: Progress = lambda arm, done, of: advance()  # noqa: E731
        if engine in BACKENDS:
            from entclip.integrations.trl_backend.training import train_with_trl

            return train_with_trl(experiment, device=device, dtype=dtype, out=out, progress=each)
        return run(experiment, engine, device=device, dtype=dtype, out=out, progress=each)


def execute(experiment: Experiment, machine: Machine, out: Path | None, output: Output, judged: bool) -> Ledger:
    """Run, save, print, draw; exit by the verdict when judged."""
    from entclip.ledger.verdict import verdict_of
    from entclip.support.files import prepare_folder

    if out is not None:
        prepare_folder(out, ("figure.png",))
    ledger = simulate(experiment, machine, out, output)
    summary = ledger.summary()
    verdict = verdict_of(summary).verdict if judged else None
    silent = output.quiet and verdict == "agree"  # then the exit code has said it all
    tables = not (output.machine(lambda: summary, lambda: arms_frame(summary)) or silent)
    if tables:
        show_run(summary, output)
    if out is not None:
        from entclip.report import figure

        figure(summary, out / "figure.png")
        if tables:
            output.say(f"Ledger, summary and figure are in {out}")
    if verdict is not None:
        from entclip.report.story import over_units

        if tables:
            output.tell(f"Verdict: {verdict}{over_units(summary['arms'].values())}", style="bold")
        raise typer.Exit(_EXIT[verdict])
    return ledger


def arms_frame(summary: dict[str, Any]) -> pd.DataFrame:
    """Make one row per arm with every number of the summary, unrounded."""
    import pandas as pd

    def plain(value: Any) -> Any:
        return "; ".join(map(str, value)) if isinstance(value, list) else value

    return pd.DataFrame([{"arm": name} | {key: plain(v) for key, v in arm.items()} for name, arm in summary["arms"].items()])


def unheld(summary: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each arm whose controller found no width in some rollouts."""
    for name, arm in summary["arms"].items():
        if count := arm.get("unheld"):
            yield f"{name}: in {count} of {summary['rollouts']} rollouts no width had the drift that its controller wanted."


def show_run(summary: dict[str, Any], output: Output) -> None:
    """Print the tables of a run, what collapsed, and which parts could not be judged."""
    from entclip.report.grid import causes_grid, clips_grid

    output.show(causes_grid(summary), clips_grid(summary))
    output.warn(
        f"{name}: {arm['collapses']} contexts collapsed (lost over 1 nat and half their entropy) and carry "
        f"the mean; the median change is {arm['measured_median']:+.4f} nats."
        for name, arm in summary["arms"].items()
        if arm["collapses"]
    )
    output.warn(unheld(summary))
    output.warn(
        f"{name}: no verdict on {key.removeprefix('why_').replace('_', ' ')}: {why}"
        for name, arm in summary["arms"].items()
        for key, why in arm.items()
        if key.startswith("why_")
    )


def _warn_of_single_samples(experiment: Experiment, engine: str) -> None:
    from entclip.engines.registry import facts_of
    from entclip.experiments.start import single_push, takeover_ratio

    # Tables that no engine lists are too large to look at; shared parameters take no natural step.
    if not facts_of(engine).lists_actions:
        return
    ratios = {label: takeover_ratio(case) for label, case in experiment.cases()}
    worst = max(ratios, key=lambda label: ratios[label])
    if ratios[worst] > 1:
        typer.echo(
            f"warning: {worst or experiment.name}: a single sample can make a rare action take the policy over, eta/(B pi_min) "
            f"is {ratios[worst]:.2g} times log(1/pi_min): raise update.batch or policy.floor, or lower update.learning_rate.",
            err=True,
        )
        return
    pushes = {label: single_push(case) for label, case in experiment.cases()}
    worst = max(pushes, key=lambda label: pushes[label])
    if pushes[worst] > 1:
        typer.echo(
            f"warning: {worst or experiment.name}: a single sample of the rarest action moves its logit by eta/(B pi_min) = "
            f"{pushes[worst]:.2g}: curvature may be carried by samples that this run hardly draws. Raise update.batch or "
            "policy.floor, or lower update.learning_rate.",
            err=True,
        )
