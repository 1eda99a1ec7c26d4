"""The same clip in another library's notation, with what that library cannot express said in comments.

>>> print(convert(DualClip(0.2, 0.28, cap=3.0), "openrlhf"))
# OpenRLHF 0.11.2
--actor.policy_loss_type ppo
--actor.eps_clip_low_high 0.2 0.28
--actor.dual_clip 3
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.liveness import cap_cuts, in_percent, liveness
from entclip.integrations.lint.setting import BELOW_ONE, OFF, Setting, Text, plain
from entclip.integrations.lint.values import is_number, shown
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from entclip.support.sentences import wrapped

__all__ = ["TARGETS", "comments", "convert"]

TARGETS = (*LIBRARIES, "entclip")
_WIDTH = 80
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
Widths = Clip | DualClip | Cispo | Sapo | DppoTv | NoClip


def convert(clip: TrainerConfig | Widths, to: str) -> str:
    """Return the settings that give this clip in `to` (one of TARGETS), as text that the library reads.

    Lines that start with # say what is lost or not expressible. Raises ValueError for an unknown target or an unresolved width.
    """
    if to not in TARGETS:
        raise ValueError(f"unknown target {to!r}: choose one of {', '.join(TARGETS)}.")
    setting = _from_config(clip) if isinstance(clip, TrainerConfig) else _from_widths(clip)
    lines, notes = ([], [_NO_CLIP[setting.kind]]) if setting.kind in _NO_CLIP else _written(setting, to)
    title = LIBRARIES[to].release if to in LIBRARIES else "entclip"
    if not lines:
        notes = [f"Not expressible in {title}: {notes[0]}", *notes[1:]]
    return "\n".join([f"# {title}", *comments(*setting.notes, *notes), *lines])


def comments(*notes: str) -> list[str]:
    """Return sentences as comment lines that fit a terminal and a file alike."""
    return [line for note in notes for line in wrapped(note, _WIDTH, "# ")]


def _from_widths(clip: Widths) -> Setting:
    match clip:
        case NoClip():
            return Setting("clip", 1.0, inf)
        case DualClip():
            return Setting("clip", clip.low, clip.high, clip.cap)
        case Sapo():
            return Setting("sapo", clip.tau_pos, clip.tau_neg)
        case DppoTv():
            return Setting("dppo_tv", clip.delta, clip.delta)
        case Cispo():
            return Setting("cispo", clip.low, clip.high)
        case _:
            return Setting("clip", clip.low, clip.high)


def _from_config(config: TrainerConfig) -> Setting:
    kind = {"dual_clip": "clip", "clip_cov": "clip"}.get(config.kind, config.kind)
    low, high, cap = config.low, config.high, config.cap
    if kind == "sapo":
        low, high = (config.get(key) for key in config.library.sapo_keys or ())
    for fact in (low, high, cap):
        if fact.unknown:
            raise ValueError(f"cannot convert: {fact.key} = {fact.value} is not in the configuration. Put its number there.")
    resting = [fact.key for fact in (low, high) if fact.key and not fact.explicit]
    if config.elsewhere:
        resting = [*config.resting.values(), *([cap.key] if cap.value is not None and not cap.explicit else [])]
    if config.hidden and resting:
        raise ValueError(
            f"cannot convert: {', '.join(config.hidden)} may hold settings and cannot be read here, and "
            f"{' and '.join(dict.fromkeys(resting))} would be the library's default. Put the numbers there."
        )
    if config.doubtful:
        raise ValueError(f"cannot convert: {liveness(config).reason} Remove it, or name its library with --library.")
    if in_percent(config):
        raise ValueError(f"cannot convert: {liveness(config).reason} Put the widths there as parts of 1.")
    notes = []
    if config.passes_on or config.asks:
        notes.append(
            f"Read without what the script {config.handed_on}, which can change {'all' if config.passes_on else 'some'} of it."
        )
    if config.kind == "clip_cov":
        notes.append("Clip-Cov's covariance rule is not converted, only the ratio clip beside it.")
    if config.updates.engine and kind in ("clip", "dppo_tv"):
        notes.append(
            "The source takes its ratio to the sampling engine's probabilities; the target may take it to the trainer's."
        )
    if config.library.kl_to_sampler and kind == "dppo_tv" and config.kl_coef.value:
        notes.append(f"The squared log-ratio penalty {config.kl_coef.key} = {config.kl_coef.value:g} is not converted.")
    if kind == "dppo_tv" and cap.value is not None:
        notes.append(f"The truncation of the ratio at {cap.key.rpartition('.')[2]} = {cap.value:g} is not converted.")
        cap = replace(cap, value=None)
    widths = [float(fact.value) if is_number(fact.value) else inf for fact in (low, high)]
    if cap_cuts(config) and config.caps_both:
        if cap.value <= 1:
            raise ValueError(f"cannot convert: {cap.key} = {shown(cap.value)} caps the ratio of both signs at or below 1.")
        widths[1] = round(cap.value - 1, 10)
        notes.append(
            f"{cap.key} = {shown(cap.value)} caps the ratio of both signs, below 1 + {high.key} = {shown(1 + high.value)}: the "
            f"high width is {shown(widths[1])}."
        )
    bound = float(cap.value) if is_number(cap.value) and cap.value < OFF / 10 else None
    wide = inf if kind in ("clip", "cispo") and widths[1] >= OFF / 10 else widths[1]
    return Setting(kind, widths[0], wide, bound, config.level.value == "sequence", tuple(notes))


def _to_entclip(setting: Setting) -> Text:
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
        return [], [BELOW_ONE]
    widths = [f"low = {low:.10g}", f"high = {high}"]
    if setting.cap is not None:
        return [*head, "[arm.objective]", 'kind = "dual_clip"', *widths, f"cap = {setting.cap:.10g}"], []
    return [*head, f'objective = "{setting.kind}"', *widths], []


def _written(setting: Setting, to: str) -> Text:
    """The target's lines and notes. Without GMPO, its bounds become those of a token's ratio, and the note says so."""
    write = _to_entclip if to == "entclip" else LIBRARIES[to].write
    known = to in LIBRARIES and setting.kind in LIBRARIES[to].losses
    given = setting if known else plain(setting)
    lines, notes = write(given)
    return lines, [*given.notes[len(setting.notes) :], *notes]
