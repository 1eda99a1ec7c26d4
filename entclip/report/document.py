"""The report of a run folder as sections of plain text, tables and pictures, before it is rendered as HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from entclip.report.bars import causes_caption, causes_figure
from entclip.report.glossary import READING, glossary
from entclip.report.grid import SIGNS, Grid, arms_of, causes_grid, clips_grid
from entclip.report.rollouts import rollouts_caption, rollouts_figure
from entclip.report.story import arm_sentence, command, limits, what_was_run
from entclip.report.style import png

__all__ = ["Code", "Items", "Picture", "Section", "Terms", "document"]


@dataclass(frozen=True)
class Items:
    """A list, each line under a name of its own (which may be empty)."""

    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Terms:
    """Words and what they mean."""

    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    """Text to copy."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, the name of its file, what it shows for those who do not see it, and how to read it."""

    name: str
    image: bytes
    shows: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; text is str."""

    title: str
    blocks: tuple[str | Items | Terms | Code | Picture | Grid, ...]


def document(run_folder: Path) -> list[Section]:
    """Return the report of a finished run; the first section's title is the run's name. Raises what `open_run` raises."""
    from entclip.ledger.folder import open_run
    from entclip.report.explain import explain

    run = open_run(run_folder)
    summary, frame, rollouts, made = run.summary(), run.frame(), run.frame("rollouts"), run.manifest
    experiment, arms = run.experiment(), arms_of(summary)
    causes, clips = causes_grid(summary), clips_grid(summary)
    stories = explain(frame, dict(arms))
    warnings = tuple((story.name, text) for story in stories for text in story.warnings)
    ceilings = tuple((story.name, story.ceiling) for story in stories if story.ceiling is not None)
    recorded = experiment.policy.kind == "recorded"
    again = {} if recorded else {"command": command(experiment, made.name._asdict())}
    facts = again | {
        "digest": made.digest,
        "seed": str(experiment.seed),
        "engine": f"{made.engine}, {made.dtype} on {made.device}",
        "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
        "git commit": made.git_commit,
    }
    description = (experiment.description,) if experiment.description else ()
    return [
        Section(
            str(summary.get("experiment", "-")),
            (what_was_run(experiment, summary), *description, Items(tuple((n, arm_sentence(a)) for n, a in arms.items()))),
        ),
        Section(
            "Where entropy went, rollout by rollout",
            (
                Picture(
                    "rollouts.png",
                    png(rollouts_figure(rollouts, summary=summary)),
                    "Per arm and rollout: the causes of the entropy change, stacked, beside the measured change.",
                    rollouts_caption(rollouts, summary=summary),
                ),
                *READING,
            ),
        ),
        Section(
            "Over the whole run",
            (
                Picture(
                    "figure.png",
                    png(causes_figure(summary)),
                    "Per arm: the measured change and each cause, theory on top.",
                    causes_caption(summary),
                ),
                causes,
                clips,
                *((Items(ceilings),) if ceilings else ()),
            ),
        ),
        Section("How to read the signs", (SIGNS,)),
        Section("Warnings", (Items(warnings) if warnings else "None.",)),
        Section("Where this stops", (Items(tuple(("", text) for text in limits(experiment, summary))),)),
        Section("Words", (Terms(glossary(causes.columns)),)),
        Section(
            "Where it comes from" if recorded else "Run it again",
            (
                "Recorded in a training loop outside entclip, which alone can repeat it."
                if recorded
                else "Save the experiment below as experiment.toml; the command repeats the run from the same seed.",
                Items(tuple(facts.items())),
                Code(run.toml()),
            ),
        ),
    ]
