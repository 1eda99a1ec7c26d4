"""The same clip in another library's notation, with what that library cannot express said in comments.

>>> print(convert(DualClip(0.2, 0.28, cap=3.0), "openrlhf"))
# OpenRLHF 0.11.2
--actor.policy_loss_type ppo
--actor.eps_clip_low_high 0.2 0.28
--actor.dual_clip 3
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, inf

from entclip.integrations.lint.facts import TrainerConfig, is_number
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.liveness import sapo_keys
from entclip.objectives.family import Cispo, Clip, DppoTv, DualClip, NoClip, Sapo

__all__ = ["TARGETS", "convert"]

TARGETS = (*LIBRARIES, "entclip")
_A = "actor_rollout_ref.actor."
# Beyond the largest ratio that a log-ratio clamped to +-20 can have: a bound there never acts.
_OFF = 1e9
_NO_CLIP = {
    "kl_cov": "KL-Cov is a penalty, not a clip.",
    "gpg": "GPG has no clip.",
    "dro": "DRO has no clip.",
    "reinforce": "the reinforce loss has no clip.",
    "unused": "the algorithm does not use the rl loss.",
    "vespo": "VESPO is a soft weight on sequences, not a clip.",
    "ipo": "its mask ignores the sign of the advantage.",
    "dppo_kl": "its threshold is a divergence, which no width matches.",
    "custom": "a custom loss is not known here.",
    "unknown": "the loss is not known here.",
}
_BELOW_ONE = "the bound on the weight is below 1, and a width cannot be negative."
Widths = Clip | DualClip | Cispo | Sapo | DppoTv | NoClip


@dataclass(frozen=True)
class _Setting:
    """A clip without a notation. kind: clip, cispo, sapo, dppo_tv, geo_mean, or a name that has no counterpart.

    low, high: widths of the ratio (of its logarithm for geo_mean, of the probability for dppo_tv), or tau_pos, tau_neg (sapo).
    """

    kind: str
    low: float
    high: float
    cap: float | None = None
    sequence: bool = False
    notes: tuple[str, ...] = ()


_Text = tuple[list[str], list[str]]


def convert(clip: TrainerConfig | Widths, to: str) -> str:
    """The settings that give this clip in `to` (trl, verl, openrlhf, prime-rl, entclip), as text that the library reads.

    Lines that start with # say what is lost or not expressible. Raises ValueError for an unknown target or an unresolved width.
    """
    if to not in TARGETS:
        raise ValueError(f"unknown target {to!r}: choose one of {', '.join(TARGETS)}.")
    setting = _from_config(clip) if isinstance(clip, TrainerConfig) else _from_widths(clip)
    lines, notes = ([], [_NO_CLIP[setting.kind]]) if setting.kind in _NO_CLIP else _WRITERS[to](setting)
    title = LIBRARIES[to].release if to in LIBRARIES else "entclip"
    if not lines:
        notes = [f"Not expressible in {title}: {notes[0]}", *notes[1:]]
    return "\n".join([f"# {title}", *(f"# {note}" for note in (*setting.notes, *notes)), *lines])


def _from_widths(clip: Widths) -> _Setting:
    match clip:
        case NoClip():
            return _Setting("clip", 1.0, inf)
        case DualClip():
            return _Setting("clip", clip.low, clip.high, clip.cap)
        case Sapo():
            return _Setting("sapo", clip.tau_pos, clip.tau_neg)
        case DppoTv():
            return _Setting("dppo_tv", clip.delta, clip.delta)
        case Cispo():
            return _Setting("cispo", clip.low, clip.high)
        case _:
            return _Setting("clip", clip.low, clip.high)


def _from_config(config: TrainerConfig) -> _Setting:
    kind = {"dual_clip": "clip", "clip_cov": "clip"}.get(config.kind, config.kind)
    low, high, cap = config.low, config.high, config.cap
    if kind == "sapo":
        low, high = (config.get(key) for key in sapo_keys(config))
    for fact in (low, high, cap):
        if fact.unknown:
            raise ValueError(f"cannot convert: {fact.key} = {fact.value} is not in the configuration. Put its number there.")
    notes = []
    if config.kind == "clip_cov":
        notes.append("Clip-Cov's covariance rule is not converted, only the ratio clip beside it.")
    if config.updates.engine and kind in ("clip", "dppo_tv"):
        notes.append(
            "The source takes its ratio to the sampling engine's probabilities; the target may take it to the trainer's."
        )
    if config.library.name == "prime-rl" and kind == "dppo_tv" and config.kl_coef.value:
        notes.append(f"The squared log-ratio penalty {config.kl_coef.key} = {config.kl_coef.value:g} is not converted.")
    if config.library.name == "verl" and kind == "dppo_tv" and cap.value is not None:
        notes.append(f"The truncation of the ratio at clip_ratio_c = {cap.value:g} is not converted.")
        cap = replace(cap, value=None)
    widths = [float(fact.value) if is_number(fact.value) else inf for fact in (low, high)]
    bound = float(cap.value) if is_number(cap.value) and cap.value < _OFF / 10 else None
    wide = inf if kind in ("clip", "cispo") and widths[1] >= _OFF / 10 else widths[1]
    return _Setting(kind, widths[0], wide, bound, config.level.value == "sequence", tuple(notes))


def _number(value: float) -> str:
    return "1.0e+9" if value >= _OFF / 10 else f"{value:.10g}"


def _off_note(setting: _Setting) -> list[str]:
    return ["1.0e+9 stands for a side that is off."] if setting.high == inf else []


def _plain(setting: _Setting) -> _Setting:
    """GMPO's bounds as the interval of one token's ratio, for libraries without the geometric mean."""
    if setting.kind != "geo_mean":
        return setting
    note = "GMPO's geometric mean is not converted: these are its log-space bounds as widths of one token's ratio."
    return replace(setting, kind="clip", low=1 - exp(-setting.low), high=exp(setting.high) - 1, notes=(*setting.notes, note))


def _to_trl(setting: _Setting) -> _Text:
    if setting.kind == "sapo":
        lines = [
            "loss_type: sapo",
            f"sapo_temperature_pos: {_number(setting.low)}",
            f"sapo_temperature_neg: {_number(setting.high)}",
        ]
        return lines, []
    if setting.kind == "cispo":
        notes = ["TRL's CISPO has no lower bound."] if setting.low < 1 else []
        return ["loss_type: cispo", f"epsilon_high: {_number(1 + setting.high)}"], [
            *notes,
            "epsilon_high is absolute here: 1 + the width.",
        ]
    if setting.kind != "clip":
        return [], [f"it has no {setting.kind} loss."]
    lines = [f"epsilon: {_number(setting.low)}", f"epsilon_high: {_number(setting.high)}"]
    notes = _off_note(setting)
    if setting.sequence:
        lines = ["loss_type: grpo", "importance_sampling_level: sequence", *lines]
    if setting.cap is not None:
        lines.append(f"delta: {_number(setting.cap)}")
        if setting.cap <= 1 + setting.high:
            notes.append("delta caps the ratio for both signs of A: at or below 1 + epsilon_high it is tighter than a dual clip.")
    return lines, notes


def _to_verl(setting: _Setting) -> _Text:
    widths = [f"{_A}clip_ratio_low={_number(setting.low)}", f"{_A}clip_ratio_high={_number(setting.high)}"]
    mode = f"{_A}policy_loss.loss_mode="
    if setting.kind == "sapo":
        return [f"{mode}sapo", f"{_A}tau_pos={_number(setting.low)}", f"{_A}tau_neg={_number(setting.high)}"], []
    if setting.high < 0:
        return [], [_BELOW_ONE]
    if setting.kind in ("cispo", "geo_mean"):
        return [f"{mode}{setting.kind}", *widths], _off_note(setting)
    if setting.kind == "dppo_tv":
        return [f"{mode}dppo_tv", *widths, f"{_A}clip_ratio_c=1.0e+9"], [
            "verl truncates the ratio at clip_ratio_c: 1.0e+9 is off."
        ]
    if setting.sequence:
        notes = ["verl's gspo has no dual clip."] if setting.cap is not None else []
        return [f"{mode}gspo", f"{_A}loss_agg_mode=seq-mean-token-mean", *widths], [*notes, *_off_note(setting)]
    cap = _OFF if setting.cap is None else setting.cap
    notes = ["verl's dual clip cannot be switched off: 1.0e+9 is beyond any ratio."] if setting.cap is None else []
    return [f"{mode}vanilla", *widths, f"{_A}clip_ratio_c={_number(cap)}"], [*notes, *_off_note(setting)]


def _to_openrlhf(setting: _Setting) -> _Text:
    if setting.kind != "clip":
        return [], [f"it has no {setting.kind} loss, only ppo and gspo."]
    lines = [
        f"--actor.policy_loss_type {'gspo' if setting.sequence else 'ppo'}",
        f"--actor.eps_clip_low_high {_number(setting.low)} {_number(setting.high)}",
    ]
    if setting.cap is not None:
        lines.append(f"--actor.dual_clip {_number(setting.cap)}")
    return lines, _off_note(setting)


def _to_prime_rl(setting: _Setting) -> _Text:
    if setting.kind != "dppo_tv":
        near = (
            f" A ratio bound 1 + {setting.high:g} moves a token of probability p by {setting.high:g} p, so no threshold fits "
            "all p."
            if setting.kind == "clip" and setting.high < inf
            else ""
        )
        return [], [f'its mask bounds changes of probability, not ratios.{near} Use [trainer.loss] type = "custom".']
    lines = [
        "[trainer.loss]",
        'type = "default"',
        f"dppo_mask_low = {_number(setting.low)}",
        f"dppo_mask_high = {_number(setting.high)}",
    ]
    return lines, ["kl_tau is 1e-3 by default: set it to 0 for the mask alone."]


def _to_entclip(setting: _Setting) -> _Text:
    if setting.sequence:
        return [], ["its objectives act on token ratios."]
    head = ["[[arm]]", 'name = "converted"']
    high = "inf" if setting.high == inf else f"{setting.high:.10g}"
    low = min(setting.low, 1.0)
    if setting.kind == "sapo":
        return [*head, "[arm.objective]", 'kind = "sapo"', f"tau_pos = {setting.low:.10g}", f"tau_neg = {setting.high:.10g}"], []
    if setting.kind == "dppo_tv":
        if setting.low != setting.high:
            return [], [f"dppo_tv has one delta, not {setting.low:g} below and {setting.high:g} above."]
        return [*head, "[arm.objective]", 'kind = "dppo_tv"', f"delta = {setting.low:.10g}"], []
    if setting.high < 0:
        return [], [_BELOW_ONE]
    widths = [f"low = {low:.10g}", f"high = {high}"]
    if setting.cap is not None:
        return [*head, "[arm.objective]", 'kind = "dual_clip"', *widths, f"cap = {setting.cap:.10g}"], []
    return [*head, f'objective = "{setting.kind}"', *widths], []


def _spread(write: Callable[[_Setting], _Text]) -> Callable[[_Setting], _Text]:
    """A writer for libraries without GMPO: its bounds become those of a token's ratio, and the note says so."""

    def written(setting: _Setting) -> _Text:
        plain = _plain(setting)
        lines, notes = write(plain)
        return lines, [*plain.notes[len(setting.notes) :], *notes]

    return written


_WRITERS: dict[str, Callable[[_Setting], _Text]] = {
    "trl": _spread(_to_trl), "verl": _to_verl, "openrlhf": _spread(_to_openrlhf), "prime-rl": _to_prime_rl,
    "entclip": _spread(_to_entclip),
}  # fmt: skip
