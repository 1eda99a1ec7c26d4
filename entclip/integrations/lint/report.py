"""`entclip lint` and `entclip convert`: what a trainer's configuration does to its clip, before any run.

    >>> from entclip.integrations.lint import lint, read_config
    >>> lint(read_config("epsilon: 0.2\\nnum_generations: 8")).liveness.alive
    'no'

Reading is in `reading.py`; `libraries/` has a folder for each library with its keys, defaults, what they mean and its own traps;
traps that hold for every library are in `traps_*.py` (each is explained in docs/lint.md); conversion is in `notation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from pathlib import Path
from typing import Any

# The rules register themselves when their files are imported.
from entclip.integrations.lint import traps_clip, traps_metrics  # noqa: F401
from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.facts import Fact, TrainerConfig
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.liveness import Bias, Liveness, expected_bias, liveness, side_off
from entclip.integrations.lint.notation import comments, convert
from entclip.integrations.lint.rules import Finding, findings
from entclip.integrations.lint.values import Unresolved, is_number, shown
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.support.sentences import fitting, sentences, wrapped

__all__ = ["Report", "convert", "convert_command", "lint", "lint_command", "read_config"]

_TOY = (
    "Only the clip is converted. A file without [policy], [reward], [advantage] and [update] takes the shipped toy's: 64 "
    "actions, 2,048 samples a minibatch, natural steps of 0.1, which say nothing of this configuration.",
    "What its clip does at a measured noise:",
    "entclip predict --from CONFIG --noise kl:NATS",
)
MOST, LINES = 3, 10  # findings and lines of a short answer


@dataclass(frozen=True)
class Report:
    """The answer to one configuration: is the clip alive, which epsilon is where, what to look out for, and the expected sign."""

    config: TrainerConfig
    liveness: Liveness
    bias: Bias
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return one plain object; an infinite width is written "inf", and a value that is not in the configuration as its
        text."""
        config = self.config
        return {
            "library": config.library.name,
            "version": config.library.version,
            "evidence": config.evidence,
            "clip_alive": self.liveness.alive,
            "reason": self.liveness.reason,
            "updates_per_rollout": config.updates.count if config.counted else None,
            "updates_at_most": config.updates.most,
            "objective": config.kind,
            "space": config.space,
            "level": _plain(config.level.value),
            "bounds": {side: _bound_json(config, side) for side in ("low", "high")} | {"cap": _fact_json(config.cap)},
            "facts": {name: _fact_json(fact) for name, fact in _facts(config).items()},
            "findings": [{"id": f.id, "severity": f.severity, "message": f.message, "link": f.link} for f in self.findings],
            "unresolved": {key: str(value) for key, value in config.values.items() if isinstance(value, Unresolved)},
            "shell_defaults": list(config.shell_defaults),
            "passes_arguments_on": config.passes_on or config.asks,
            "unknown_keys": [{"key": key, "closest": closest} for key, closest in config.unknown_keys],
            "bias": {"clip_low": self.bias.low, "clip_high": self.bias.high, "net": self.bias.net, "text": self.bias.text},
        }

    @property
    def amiss(self) -> bool:
        """Tell whether something is wrong as set: a finding that is an error, or a clip that cannot act."""
        return self.liveness.alive == "no" or any(finding.severity == "error" for finding in self.findings)

    def to_text(self, width: int = 80, *, everything: bool = False) -> str:
        """Write the same for people, in lines of at most `width` characters (longer only where one word is).

        everything: all findings in full, every setting that matters and all keys that are not known; else the answer, and the
        three findings that matter most of those that are not true of nearly every file.
        """
        lines = [_wrapped(line, width) for line in self._everything()] if everything else self._answer(width)
        return "\n".join(lines)

    def _answer(self, width: int) -> list[str]:
        """Ten lines, none of them cut off: what has no room is left out whole, and is in --all."""
        config = self.config
        evidence = f"({config.evidence})"
        if len(f"{config.library.release} {evidence}") > width:
            evidence = f"({config.evidence.partition(', e.g. ')[0]})"
        unknown, telling = self._unknown_in_short(width), [each for each in self.findings if not each.common][:MOST]
        head: list[str] = []
        # What matters most is told if it takes a shorter word on the rest.
        for alive, bias in ((2, 2), (2, 1), (1, 1)):
            head = [
                *wrapped(f"{config.library.release} {evidence}", width),
                *_fitted(f"Clip alive: {self._alive}. ", self.liveness.reason, width, alive),
                *wrapped(_bounds_in_short(config), width),
                *_fitted("On entropy: ", sentences(self.bias.text)[0], width, bias),
            ]
            if len(head) + len(unknown) + 1 + (2 if telling else 0) <= LINES:
                break
        told: list[list[str]] = []
        for finding in telling:
            room = min(LINES - 1 - len(head) - len(unknown) - sum(map(len, told)), 2)
            label = f"{finding.severity}: {finding.id}: "
            lines = fitting(label, finding.message, width, room) or wrapped(f"{label}in full with --all.", width)
            if len(lines) > room:
                break
            told.append(lines)
        left = len(self.findings) - len(told)
        more = f"{left} more finding{'s' if left != 1 else ''}, " if left else ""
        last = wrapped(f"{more}each in full, every setting and how to read the signs: --all", width)
        return [*head, *(line for lines in told for line in lines), *unknown, *last]

    def _unknown_in_short(self, width: int) -> list[str]:
        """One line with as many of the keys that could matter as it has room for."""
        config = self.config
        keys = [f"{key} (did you mean {closest}?)" for key, closest in config.unknown_keys if closest]
        keys += [key for key in config.doubtful if not any(known.startswith(f"{key} ") for known in keys)]
        for count in range(len(keys), 0, -1):
            rest = f" and {len(keys) - count} more" if count < len(keys) else ""
            lines = wrapped(f"Unknown keys that could matter: {', '.join(keys[:count])}{rest}", width)
            if len(lines) == 1:
                return lines
        names = [key.partition(" ")[0] for key in keys]
        rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return wrapped(f"Unknown keys that could matter: {names[0]}{rest}", width) if names else []

    @property
    def _alive(self) -> str:
        """The answer, and what it takes for granted."""
        return self.liveness.alive + (f", if {self.config.nothing}" if self.config.passes_on or self.config.asks else "")

    def _everything(self) -> list[str]:
        config = self.config
        lines = [
            f"{config.library.release} ({config.evidence})",
            "",
            f"Clip alive: {self._alive}",
            f"  {self.liveness.reason}",
            "",
            f"Bounds, if {config.library.title}'s own loss runs" if config.doubtful else "Bounds",
            *(f"  {line}" for line in _bound_lines(config)),
            "",
            "Settings that matter here (* the library's default)",
            *(f"  {name}: {_fact_text(fact)}" for name, fact in _facts(config).items() if fact.key),
            "",
            "Expected entropy bias of the clip (first order, random reward)",
            f"  {self.bias.text}",
            "",
            f"Findings: {len(self.findings)}",
        ]
        for finding in self.findings:
            lines += [f"  {finding.severity}: {finding.id}", f"    {finding.message}", f"    see {finding.link}"]
        if config.shell_defaults:
            lines += ["", "Shell defaults taken (the environment may override them)", f"  {', '.join(config.shell_defaults)}"]
        missing = [f"{key} = {value}" for key, value in config.values.items() if isinstance(value, Unresolved)]
        if missing:
            lines += ["", "Values that are not in the configuration", *(f"  {line}" for line in missing)]
        if config.unknown_keys:
            lines += ["", f"Unknown keys (not in {config.library.release}, not used here): {len(config.unknown_keys)}"]
            lines += [f"  {key}{f' (nearest known: {closest})' if closest else ''}" for key, closest in config.unknown_keys]
        return lines


def _fitted(label: str, text: str, width: int, lines: int) -> list[str]:
    """As much of the text as fits; the whole where not even its first clause does."""
    return fitting(label, text, width, lines) or wrapped(label + text, width)


def _bounds_in_short(config: TrainerConfig) -> str:
    """The bounds without the keys that set them; a star marks the library's default."""
    if config.space == "unknown" and config.objective.unknown:
        return f"Bounds: unknown, as {config.objective.key} = {config.objective.value} is not in the configuration"
    if config.space not in _ACTS:
        return f"No bound on the ratio ({config.objective.key} = {config.objective.value})"
    if config.one_width:
        return f"Bounds: {shown(config.low.value)}{'' if config.low.explicit else ' *'} on both sides, by {config.one_width}" + (
            "" if config.low.explicit else " (* default)"
        )
    parts = [("eps_low", config.low, side_off(config, "low")), ("eps_high", config.high, side_off(config, "high"))]
    stars = ["" if fact.explicit and name[4:] not in config.resting else " *" for name, fact, _ in parts]
    texts = [f"{p[0]} = {shown(p[1].value)}{star}{' (off)' if p[2] else ''}" for p, star in zip(parts, stars, strict=True)]
    if is_number(config.cap.value):
        texts.append(f"cap = {shown(config.cap.value)}{'' if config.cap.explicit else ' *'}")
    unit = {"ratio": "", "log_ratio": " in the log-ratio", "probability": " in probability", "divergence": " in divergence"}
    default = "default, if nothing else sets it" if config.unless else "default"
    marked = f" (* {default})" if any(text.endswith("*") or " * " in text for text in texts) else ""
    whose = f", if {config.library.title}'s own loss runs" if config.doubtful else ""
    return f"Bounds{unit[config.space]}{whose}: {', '.join(texts)}{marked}"


def lint(config: TrainerConfig) -> Report:
    """Say everything entclip can about a configuration without running it."""
    return Report(config, liveness(config), expected_bias(config), tuple(findings(config)))


def lint_command(file: Path, library: str | None) -> Report:
    """Do what `entclip lint FILE` does: read, then lint. ValueError for input that cannot be read."""
    return lint(read_config(file, library))


def convert_command(
    file: Path | None, to: str, library: str | None, low: float | None, high: float | None, cap: float | None
) -> str:
    """Do what `entclip convert` does, from a file or from widths; ValueError unless exactly one of them is given."""
    given = [option for option, value in (("--eps-low", low), ("--eps-high", high), ("--cap", cap)) if value is not None]
    if file is not None:
        if given:
            raise ValueError(f"give a configuration file or {given[0]}, not both.")
        config = read_config(file, library)
        lines = convert(config, to)
        # The clip alone would run on the shipped toy, whose answer looks like one about this configuration.
        return lines if to in LIBRARIES else "\n".join([lines, *comments(*_TOY)])
    if not given:
        raise ValueError("give a configuration file, or widths: entclip convert --eps-low .2 --eps-high .28 --to verl.")
    widths = (0.2 if low is None else low, 0.2 if high is None else high)
    return convert(Clip(*widths) if cap is None else DualClip(*widths, cap), to)


def _wrapped(line: str, width: int) -> str:
    """The line in several, as deep in as its first."""
    indent = line[: len(line) - len(line.lstrip())]
    return "\n".join(wrapped(line.lstrip(), width, indent))


def _facts(config: TrainerConfig) -> dict[str, Fact]:
    return {
        "objective": config.objective,
        "importance sampling": config.level,
        "advantage scale": config.advantage,
        "aggregation": config.aggregation,
        "group size": config.group_size,
        "temperature": config.temperature,
        "entropy coefficient": config.entropy_coef,
        "KL coefficient": config.kl_coef,
        "log-probability dtype": config.log_prob_dtype,
        "engine correction": config.engine_correction,
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if is_number(value):
        return "inf" if value == inf else value
    return str(value)


def _fact_json(fact: Fact) -> dict[str, Any]:
    return {"value": _plain(fact.value), "key": fact.key, "explicit": fact.explicit}


def _bound_json(config: TrainerConfig, side: str) -> dict[str, Any]:
    fact = config.low if side == "low" else config.high
    stated = {"explicit": fact.explicit and side not in config.resting}
    return (
        _fact_json(fact)
        | stated
        | {"off": side_off(config, "low" if side == "low" else "high"), "ratio": _plain(_ratio(config, side))}
    )


def _ratio(config: TrainerConfig, side: str) -> float | None:
    """The ratio at which a side starts to clip, where the bound is one on ratios."""
    value = (config.low if side == "low" else config.high).value
    if not is_number(value) or config.space not in ("ratio", "log_ratio"):
        return None
    if config.space == "log_ratio":
        return exp(-value) if side == "low" else exp(value)
    return max(1 - value, 0.0) if side == "low" else 1 + value


_ACTS = {
    "ratio": {"low": "A < 0 and ratio <", "high": "A > 0 and ratio >"},
    "log_ratio": {"low": "A < 0 and ratio <", "high": "A > 0 and ratio >"},
    "probability": {"low": "A < 0 and pi - pi_old < -", "high": "A > 0 and pi - pi_old > "},
    "divergence": {"low": "A < 0, pi falling, divergence >", "high": "A > 0, pi rising, divergence >"},
}


def _bound_lines(config: TrainerConfig) -> list[str]:
    if config.space not in _ACTS:
        return [f"none on the ratio: objective {config.kind} ({config.objective.key} = {config.objective.value})"]
    lines = []
    for side, fact in (("low", config.low), ("high", config.high)):
        ratio = _ratio(config, side)
        if config.kind == "cispo":
            acts = f"weight held at {shown(ratio)}"
        elif config.kind == "ipo":
            acts = f"any A and |pi - pi_old| > {shown(fact.value)}"
        else:
            separator = "" if config.space == "probability" else " "
            acts = f"no gradient where {_ACTS[config.space][side]}{separator}{shown(fact.value if ratio is None else ratio)}"
        off = "off" if side_off(config, "low" if side == "low" else "high") else acts
        lines.append(f"eps_{side} = {shown(fact.value)}: {off}; from {_source(fact)}")
    if is_number(config.cap.value):
        cap = shown(config.cap.value)
        acts = f"no gradient where A < 0 and ratio > {cap}" if config.space == "ratio" else f"ratio truncated at {cap}"
        lines.append(f"cap = {cap}: {acts}; from {_source(config.cap)}")
    return lines


def _source(fact: Fact) -> str:
    return f"{fact.key}{'' if fact.explicit else ' *'}"


def _fact_text(fact: Fact) -> str:
    return f"{shown(fact.value)} ({_source(fact)})"
