"""What a change of a width would do: its sign, its size where the log bounds one, and both readings."""

from __future__ import annotations

from entclip.integrations.diagnose.bonus import bonus_of
from entclip.integrations.diagnose.bound import Most, course_per_token, most_of, moved
from entclip.integrations.diagnose.effect import Course, side_shares
from entclip.integrations.diagnose.finding import Confidence, Finding, claim, claims
from entclip.integrations.diagnose.noise_sizes import widths_doubted
from entclip.integrations.diagnose.run import Run
from entclip.integrations.lint.liveness import expected_bias

__all__: list[str] = []

_ENOUGH = 0.5  # of the change: less than it a width cannot undo


@claim("change")
def _change(run: Run) -> Finding | None:
    """What to do with the widths that the trainer has: one for each side, or one for both."""
    shares, found = side_shares(run), course_per_token(run)
    if shares is None or found is None or shares.total == 0 or run.ratio_to != "old":
        return None
    bias = None if run.config is None else expected_bias(run.config)
    if bias is not None and bias.low == bias.high == "either":
        return Finding("change", ("not-settled",), "info", bias.text, confidence="medium", reason="the configuration's ratio")
    label, most = moved(found), most_of(run)
    if label in ("unclear", "returns"):
        return None
    if label == "steady":
        asked = claims()
        warned = [name for name in ("inner-steps", "bias") if (each := asked[name](run)) is not None and each.level == "warn"]
        rest = f"no width has to change for it; mend what is warned of under {' and '.join(warned)}" if warned else ""
        text = f"Entropy is steady: {rest or 'nothing has to change'}."
        return Finding("change", ("nothing",), "info", text, confidence="medium", reason="no trend")
    if widths_doubted(run):
        assert run.widths is not None
        text = (
            f"No width can be named: at widths of {run.widths.low:g} these shares would be a noise that no run has, so the ratio "
            "is perhaps a sequence's, for which no sign is settled. Give --config."
        )
        return Finding("change", ("not-settled",), "info", text, confidence="low", reason="the widths are assumed")
    advice = _one_width(run, label) if run.one_width else _two_widths(most, found, label)
    labels, text, confidence, reason = advice
    bound = None if most is None else (most.low if label == "rises" else most.high)[1] / abs(found.change)
    if bound is not None and bound < _ENOUGH:
        labels = (*labels, "not-enough")
        text += " Widths alone cannot undo this change: it is mostly not the clip's."
    elif bound is None or bound >= 1:
        labels, confidence = (*labels, "not-settled"), "low"
        text = f"Not settled, as the cause is not. If the clip did it: {text[0].lower()}{text[1:]}"
        reason = f"the cause is not decided; {reason}"
    if label == "rises" and (bonus := bonus_of(run)) is not None:
        labels = ("lower-bonus", *labels)
        text = (
            f"First *lower* the entropy bonus ({bonus.name} = {bonus.weight:g}): it raises entropy whatever the clip does. {text}"
        )
    return Finding("change", labels, "info", text, confidence=confidence, reason=reason)


def _two_widths(most: Most | None, found: Course, label: str) -> tuple[tuple[str, ...], str, Confidence, str]:
    """Labels, text, confidence and reason where each side has a width of its own."""
    size = {side: _size(most, side, found.change) for side in ("low", "high")}
    reason = "signs hold where the clipped tokens have above-average entropy value (positive gaps, T6), which a log cannot show"
    if label == "rises":
        text = (
            "To hold entropy down, *lower* eps_high or *raise* eps_low. Clipping high lowers entropy, and a lower eps_high "
            f"clips more; clipping low raises it{size['low']}, and a higher eps_low clips less."
        )
        return ("lower-high", "raise-low"), text, "medium", reason
    text = (
        f"To hold entropy up, *raise* eps_high or *lower* eps_low. Do not widen the low bound. Clipping high lowers "
        f"entropy{size['high']}, and a higher eps_high clips less; clipping low raises it, and a lower eps_low clips more."
    )
    return ("raise-high", "lower-low"), text, "medium", reason


def _size(most: Most | None, side: str, change: float) -> str:
    """How much a side does in a rollout at most, where that excludes anything."""
    if most is None or most.rollouts is None or not most.tells(side, change) or not getattr(most, side)[1] > 0:
        return ""
    return f" (by up to {getattr(most, side)[1] / most.rollouts:.1g} nats a rollout)"


def _one_width(run: Run, label: str) -> tuple[tuple[str, ...], str, Confidence, str]:
    """The same where one width stands for both sides: neither can be moved alone."""
    key, whose = run.one_width, (run.config.library if run.config is not None else run.library).title
    first, second, way = ("*lower*", "*raise*", "down") if label == "rises" else ("*raise*", "*lower*", "up")
    text = (
        f"To hold entropy {way}, {first} {key}, {whose}'s one width for both sides. That holds where clipping high, which "
        f"lowers entropy, outweighs clipping low, which raises it, as at equal widths under random reward; where it does not, "
        f"{second} it."
    )
    reason = f"{key} moves both sides, whose effects are opposite, and the log does not tell them apart"
    return ("lower-width" if label == "rises" else "raise-width",), text, "low", reason
