"""A run in words: what was run, what came out in each arm, where its theory stops."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from entclip.report.grid import PARTS, accounted, arms_of, has_theory
from entclip.report.numbers import half_width, plain, value_of, with_error
from entclip.report.style import CAUSES

if TYPE_CHECKING:
    from entclip.engines.facts import EngineFacts
    from entclip.experiments.experiment import Experiment

__all__ = ["arm_sentence", "command", "limits", "over_units", "what_was_run"]

_ROUNDING = 1e-12  # nats
_BY_CAUSE = ", or with its cause, as ledger.momentum says."


def _facts(engine: object) -> EngineFacts | None:
    """Return the facts of the engine that a summary names; None for one of another version."""
    from entclip.engines.registry import described  # loads numpy, which a report of plain JSON can do without

    return described(engine)


def _policy(e: Experiment) -> str:
    p = e.policy
    if p.kind == "language_model":
        task = e.rollout.task if e.rollout else "-"
        return f"the language model {p.model}, trained by GRPO on the task {task}"
    if p.kind == "recorded":
        return f"the model {p.model or '-'}, trained with {p.optimizer or '-'} by {p.program}"
    named = {
        "snapshot": "next-token distributions of a language model",
        "file": "policies read from a file",
        "hidden": "policies that share the parameters of one output layer",
        "autoregressive": "policies over sequences of actions",
    }
    vocab, contexts = (getattr(p, name, None) for name in ("vocab", "contexts"))
    size = f" over {vocab:,} actions" if vocab else ""
    return f"{named.get(p.kind, f'softmax policies ({p.kind})')}{size}" + (
        f" in {_count(contexts, 'context')}" if contexts else ""
    )


def _reward(e: Experiment) -> str:
    judged = e.rollout is not None and e.rollout.reward != "random"
    if judged and e.rollout is not None:
        return f"a reward that judges the response ({e.rollout.reward})"
    if e.reward.kind == "table":
        return "rewards that depend on the action"
    return f"random rewards ({e.reward.kind}), which say nothing about the action"


def what_was_run(experiment: Experiment, summary: Mapping[str, Any]) -> str:
    """Return the policy, the reward, the size of the run, and how it was computed."""
    if experiment.policy.kind == "recorded":
        return _recorded(experiment, summary)
    cases = [case for _, case in experiment.cases()]
    policies, rewards = ({say(case) for case in cases} for say in (_policy, _reward))
    policy = policies.pop() if len(policies) == 1 else "policies that differ by case"
    reward = rewards.pop() if len(rewards) == 1 else "rewards that differ by case"
    updates = {case.update.epochs * case.update.minibatches for case in cases}
    each = _count(updates.pop(), "update") if len(updates) == 1 else "updates that differ in number by case"
    arms = arms_of(summary)
    units = {int(n) for arm in arms.values() if (n := value_of(arm, "units")) is not None}
    rollouts = int(summary.get("rollouts") or 0)
    cells = f", in {len(cases)} cases" if len(cases) > 1 else ""
    independent = f", in {_count(max(units), 'independent unit')}" if units else ""
    settings, facts = _count(len(experiment.arm), "setting"), _facts(summary.get("engine"))
    how = facts.words if facts else f"by the engine {summary.get('engine')}"
    return (
        f"This run puts {settings} of the clip of PPO/GRPO (arms) on {policy}{cells}, under {reward}. Each arm makes "
        f"{_count(rollouts, 'rollout')} of {each}{independent}, {how}."
    )


def _recorded(experiment: Experiment, summary: Mapping[str, Any]) -> str:
    made = int(sum(arm["updates"] + arm["skipped"] for arm in arms_of(summary).values()))
    size = f"{_count(made, 'update')} in {_count(int(summary.get('rollouts') or 0), 'rollout')}"
    return f"This run was recorded while it happened: {_policy(experiment)}, {size}."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def arm_sentence(arm: Mapping[str, Any]) -> str:
    """Say what entropy did, which parts moved it most, and how the theory fared."""
    value, half = value_of(arm, "measured"), half_width(arm, "measured")
    start, end = (value_of(arm, f"entropy_{when}") for when in ("start", "end"))
    if value is None:
        return "Nothing was measured."
    size = f"{with_error(value, value_of(arm, 'measured_se'))} nats{over_units((arm,))}"
    if half is not None and abs(value) <= half:
        ends = " to ".join(plain(end, True) for end in (value - half, value + half))
        said = [f"no entropy change that can be told from zero: {size}, 95 % interval {ends}"]
    elif value == 0:
        said = ["entropy did not change"]
    else:
        said = [f"entropy {'rose' if value > 0 else 'fell'}: {size}"]
    if start is not None and end is not None:
        # Visiting other prefixes moved it, too, which the books keep frozen.
        more = ", with other prefixes visited" if value_of(arm, "visitation") else ""
        said[0] += f" (from {start:.4f} to {end:.4f}{more})"
    # Neither noise around zero nor rounding has a place among the largest parts.
    known = (p for p in PARTS if p != "unaccounted")
    parts = {p: v for p in known if (v := value_of(arm, p)) is not None and abs(v) > (half_width(arm, p) or _ROUNDING)}
    largest = sorted(parts, key=lambda p: -abs(parts[p]))[:3]
    share = accounted(arm)
    if share:
        rest = with_error(value_of(arm, "unaccounted"), value_of(arm, "unaccounted_se"))
        said.append(f"{share} accounted, the others changed entropy by {rest}")
    if largest:
        shown = (f"{CAUSES[p][0]} {with_error(parts[p], value_of(arm, f'{p}_se'))}" for p in largest)
        said.append(f"largest parts{' of the accounted ones' if share else ''}: " + ", ".join(shown))
    said.append(_theory(arm))
    return "; ".join(said) + "."


def over_units(arms: Iterable[Mapping[str, Any]]) -> str:
    """Say what the standard errors and verdicts of some arms stand on; empty for an exact engine, which needs none."""
    units = [n for arm in arms if (n := value_of(arm, "units")) is not None]
    if not units:
        return ""
    if max(units) == 1:
        return " in one independent unit (no standard error)"
    least, most = (f"{n:,.0f}" for n in (min(units), max(units)))
    return f" over {most if least == most else f'{least} to {most}'} independent units"


def _theory(arm: Mapping[str, Any]) -> str:
    found: dict[str, list[str]] = {"agree": [], "reject": [], "inconclusive": []}
    for part in PARTS:
        verdict, expected = str(arm.get(f"verdict_{part}") or ""), value_of(arm, f"expected_{part}")
        # Noise of expectation 0 is nothing to tell the theory by, unless it rejects it.
        if verdict in found and (verdict == "reject" or expected):
            found[verdict].append(CAUSES[part][0])
    if not any(found.values()):
        return "no part has a theory to be judged by here"
    said = []
    if found["reject"]:
        said.append(f"theory is REJECTED for {', '.join(found['reject'])}")
    if found["agree"]:
        said.append(f"theory agrees with what was measured for {', '.join(found['agree'])}")
    if found["inconclusive"]:
        said.append(f"too little data to judge {', '.join(found['inconclusive'])}")
    reasons = (f"{CAUSES[part][0]}: {arm[f'why_{part}']}".rstrip(".") for part in PARTS if arm.get(f"why_{part}"))
    return "; ".join((", ".join(said), *reasons))


def limits(experiment: Experiment, summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where the numbers of this run stop to mean what they seem to."""
    arms, facts = arms_of(summary).values(), _facts(summary.get("engine"))
    out = [
        "The parts add up to the measured change by construction (checked at every update); what first and second order leave "
        f"unexplained is the remainder: at most {_remainder(summary)} of the other parts here."
    ]
    if has_theory(arms):
        out.append(
            "Theory along the path is an expectation given the policies that this run visited, before each update. It is no "
            "forecast: entclip predict makes one from the configuration alone."
        )
    elif facts and facts.trains_models:
        out.append(
            "A language model has no expectation to check its parts against. They are first-order parts of the steps that were "
            "taken, and entropy is that of the fixed probe contexts: other contexts may differ."
        )
    else:
        out.append("Here the parts have no expectation to be checked against.")
    recorded = experiment.policy.kind == "recorded"
    if recorded or any(case.update.optimizer != "sgd" for _, case in experiment.cases()):
        out.append(
            "Adam's steps are not linear in the causes: how they are split is a convention, and what earlier minibatches left "
            "in its first moment is booked as momentum" + (", of whatever cause." if recorded else _BY_CAUSE)
        )
    if not (facts and facts.shares_parameters):
        from entclip.engines.registry import ENGINES

        shared = " and ".join(f.name for f in ENGINES.values() if f.shares_parameters)
        out.append(
            "Every context is a table of its own. A network moves all contexts through shared parameters: signs may carry over, "
            f"sizes need not (engines {shared})."
        )
    out.append(
        "The signs of the clips are not universal. They depend on the policy, through gap_low and gap_high in the second table."
    )
    if any(value_of(arm, "units") == 1 for arm in arms):
        out.append(
            "One independent unit has no standard error: nothing here is confirmed. Use replicas"
            + (", which for a recorded run are runs with other seeds." if recorded else ".")
        )
    return tuple(out)


def _remainder(summary: Mapping[str, Any]) -> str:
    shares = []
    for arm in arms_of(summary).values():
        size = math.fsum(abs(value_of(arm, part) or 0.0) for part in PARTS if part != "unaccounted")
        if size > 0:
            shares.append(abs(value_of(arm, "remainder") or 0.0) / size)
    largest = max(shares, default=0.0)
    return "0.1 %" if largest < 1e-3 else f"{100 * largest:.1f} %"


def command(experiment: Experiment, made: Mapping[str, str]) -> str:
    """Return the command that runs the experiment file again."""
    from entclip.engines.registry import BACKENDS

    engine, device, dtype = (made.get(key, "") for key in ("engine", "device", "dtype"))
    facts = _facts(engine)
    words = ["entclip", "llm", "experiment.toml"] if facts and facts.trains_models else ["entclip", "run", "experiment.toml"]
    if not (facts and facts.trains_models):
        words += ["--engine", engine]
    elif engine in BACKENDS:
        words += ["--backend", engine]
    if (device, dtype) != ("cpu", "float64"):
        words += ["--device", device, "--dtype", dtype]
    return " ".join([*words, "--out", f"results/{experiment.name}"])
