"""Controllers beside each other on five experiments: the numbers of docs/controllers.md.

`python -m entclip.findings.controllers` makes all runs again, in minutes, and writes docs/data/controllers.json and the figure;
with a name, that experiment alone is run and the others keep their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat, RootModel, model_validator

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.load import load
from entclip.runs.runner import run
from entclip.support.schema import Part, read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CASES", "FILE", "PICTURE", "RULES", "SEEDS", "controllers_figure", "controllers_table", "experiment_of", "measured"]

FILE, PICTURE = Path("docs/data/controllers.json"), Path("docs/figures/controllers.png")
RULES: dict[str, dict[str, Any] | None] = {
    "fixed": None,
    "thermostat": {"kind": "thermostat"},
    "pi": {"kind": "pi"},
    "predictive-low": {"kind": "predictive"},
    "predictive": {"kind": "predictive", "sides": "both"},
}
SEEDS = (1, 2)
_RANDOM = {"kind": "rademacher"}
_TRUE = {"kind": "table", "values": [float(a % 4 == 0) for a in range(64)]}
CASES: dict[str, dict[str, Any]] = {
    "natural, random": {
        "policy": {"contexts": 32},
        "reward": _RANDOM,
        "update": {"geometry": "natural", "learning_rate": 0.1, "batch": 2048, "minibatches": 32, "rollouts": 12},
    },
    "euclidean, random": {
        "policy": {"contexts": 64},
        "reward": _RANDOM,
        "update": {"geometry": "euclidean", "learning_rate": 4.0, "batch": 256, "minibatches": 16, "rollouts": 12},
    },
    "natural, true": {
        "policy": {"contexts": 16},
        "reward": _TRUE,
        "update": {"geometry": "natural", "learning_rate": 0.006, "batch": 16, "minibatches": 48, "rollouts": 9},
    },
    "euclidean, true": {
        "policy": {"contexts": 16},
        "reward": _TRUE,
        "update": {"geometry": "euclidean", "learning_rate": 0.2, "batch": 16, "minibatches": 48, "rollouts": 9},
    },
    "language model": {},
}


class _Rule(Part):
    """What is kept of a rule in one experiment."""

    target: Annotated[FiniteFloat, Field(gt=0)]
    entropy: Annotated[list[FiniteFloat], Field(min_length=1)]
    can_hold: list[FiniteFloat] = Field(default=[])
    policy_reward: list[FiniteFloat] = Field(default=[])

    @model_validator(mode="after")
    def _of_the_same_rollouts(self) -> _Rule:
        if any(len(getattr(self, name)) != len(self.entropy) for name in self.model_fields_set - {"target"}):
            raise ValueError("it has not one value for each rollout.")
        return self


class _Kept(RootModel[dict[str, dict[str, _Rule]]]):
    """The whole file, by experiment and rule."""

    model_config = Part.model_config

    @model_validator(mode="after")
    def _beside_fixed(self) -> _Kept:
        for case, rules in self.root.items():
            if "fixed" not in rules or "predictive" not in rules or not rules["predictive"].can_hold:
                raise ValueError(f"{case!r} has not both the rules fixed and predictive, the latter with can_hold.")
        return self


def experiment_of(case: str, rules: Iterable[str] | None = None) -> Experiment:
    """Return the experiment of a case, with an arm for each rule, or for some: all from .2/.2 and on the same random numbers."""
    arms = [{"name": n, "low": 0.2, "high": 0.2} | ({"controller": rule} if (rule := RULES[n]) else {}) for n in rules or RULES]
    if case == "language model":
        data = load("llm").model_dump(exclude_none=True)
        data |= {"arm": arms}
        data["update"] |= {"rollouts": 9}
        return parse_experiment(data)  # momentum by cause: most of what a clip does under Adam comes later, through momentum
    given = CASES[case]
    policy = {"kind": "dirichlet", "vocab": 64, "alpha": 2.0, "floor": 0.1} | given["policy"]
    return parse_experiment({"name": "controllers", "arm": arms} | given | {"policy": policy})


def measured(case: str) -> dict[str, Any]:
    """Return for each rule H after each rollout, and can_hold and the reward where they are known, and the target.

    In the language model, where twelve runs are few, `predictive` has further seeds: "predictive, seed 1" and so on.
    """
    out = _measured(case, experiment_of(case))
    if case == "language model":
        for seed in SEEDS:
            found = _measured(case, experiment_of(case, ["predictive"]).model_copy(update={"seed": seed}))
            out[f"predictive, seed {seed}"] = found["predictive"]
    return out


def _measured(case: str, experiment: Experiment) -> dict[str, Any]:
    engine, dtype = ("llm", "float32") if case == "language model" else ("sampled", "float64")
    out: dict[str, Any] = {}
    for name, books in run(experiment, engine, dtype=dtype, jobs=1).arms.items():
        rows = books.summaries
        out[name] = {"target": rows[0]["entropy_before"], "entropy": [row["entropy"] for row in rows]}
        for key in ("can_hold", "policy_reward"):
            if rows[0].get(key) is not None:
                out[name][key] = [row[key] for row in rows]
    return out


def errors(found: dict[str, Any]) -> tuple[float, float]:
    """Return mean of |H - target| in nats after the first third of the run, and its largest value as a share of the target."""
    entropy = found["entropy"]
    late = [abs(h - found["target"]) for h in entropy[len(entropy) // 3 :]]
    return math.fsum(late) / len(late), max(late) / found["target"]


def controllers_table(data: dict[str, dict[str, Any]]) -> str:
    """Return the table of the page, as markdown."""
    head = ("experiment", *RULES, "largest", "`can_hold` 0", "reward")
    rows: list[Sequence[str]] = [head, ["---"] * len(head)]
    for case, arms in data.items():
        both = arms["predictive"]
        means = [_nats(errors(arms[rule])[0]) if rule in arms else "" for rule in RULES]
        unheld = sum(value == 0 for value in both["can_hold"])
        reward = [f"{_plain(arms[rule]['policy_reward'][-1], 2)}" for rule in RULES if "policy_reward" in arms.get(rule, {})]
        rows.append(
            [case, *means, f"{100 * errors(both)[1]:.2f} %", f"{unheld} of {len(both['can_hold'])}", " / ".join(reward) or "-"]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _plain(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".removeprefix("0")


def _nats(value: float) -> str:
    return _plain(value, 4)


def controllers_figure(data: dict[str, dict[str, Any]]) -> Figure:
    """Draw H - target after each rollout: a panel for each experiment, a line for each rule."""
    from entclip.report.style import LINES, new_figure

    shown = [rule for rule in RULES if rule != "predictive-low"]
    fig = new_figure(4.0, 1.55 * len(data) + 0.7)
    every = fig.subplots(len(data), 1, squeeze=False)[:, 0]
    for axes, (case, arms) in zip(every, data.items(), strict=True):
        for line, rule in zip(LINES, shown, strict=False):
            if rule not in arms:
                continue
            change = np.array([0.0, *(h - arms[rule]["target"] for h in arms[rule]["entropy"])])
            axes.plot(
                change, color=line.colour, linestyle=line.dash, marker=line.marker, markersize=3.5, linewidth=1.3, label=rule
            )
        axes.axhspan(*(sign * 0.02 * arms["fixed"]["target"] for sign in (-1, 1)), color="0.92", zorder=0)
        axes.set_title(case, fontsize=9, loc="left")
        axes.tick_params(labelsize=8.5)
        axes.locator_params(axis="y", nbins=4)
        axes.locator_params(axis="x", integer=True)
    every[0].legend(fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.2), frameon=False)
    every[-1].set_xlabel("rollout", fontsize=9)
    fig.supylabel("entropy minus target (nats)", fontsize=9)
    fig.tight_layout(rect=(0, 0, 1, 1))
    return fig


def _main(names: Sequence[str]) -> None:
    from entclip.report.style import write_figure
    from entclip.support.files import prepare_file, to_json, write_atomic

    for path in (FILE, PICTURE):  # the runs take minutes
        prepare_file(path)
    fix = "Delete it and run all experiments again."
    known = read_json(FILE, _Kept, "data of docs/controllers.md", fix) if FILE.is_file() and names else {}
    made = {case: measured(case) for case in (names or CASES)}
    every = known | made
    data: dict[str, dict[str, Any]] = {case: every[case] for case in CASES if case in every}
    write_atomic(FILE, to_json(data).encode())
    write_figure(controllers_figure(data), PICTURE)
    print(controllers_table(data))


if __name__ == "__main__":
    import sys

    _main(sys.argv[1:])
