"""EntropyLedger: the books of a training loop of your own in torch, update by update.

    ledger = EntropyLedger(model, optimizer, clip=(0.2, 0.28), logits=next_token_logits, out="results/mine")
    for _ in range(rollouts):
        batch = sample(model)
        ledger.rollout(batch["ids"])  # the first one's contexts are the probe set
        for part in minibatches(batch):
            log_probs = log_probs_of(model, part)
            ledger.minibatch(log_probs, part["old_log_probs"], part["advantages"], part["mask"])
            loss_of(log_probs, part).backward()
            optimizer.step()
            optimizer.zero_grad()
    ledger.close()

entclip ledger and entclip report read the folder. What it costs and what it cannot see: docs/trainers.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entclip.support.extras import not_installed

try:
    import torch
except ImportError as error:
    raise ImportError(not_installed("a ledger inside a training loop", "torch", "torch")) from error

from entclip.engines.llm.probe import probe_entropy
from entclip.integrations.recording.history import History
from entclip.integrations.recording.life import Life
from entclip.integrations.recording.minibatch import read_minibatch
from entclip.integrations.recording.probe import UserProbe
from entclip.integrations.recording.processes import agreed, first_process, shared
from entclip.integrations.recording.record import LOGGED, About, Record
from entclip.integrations.recording.step import CLOSURE, Watch, unwrapped
from entclip.integrations.recording.told import Told
from entclip.integrations.recording.turns import Turns
from entclip.ledger.cancelling import MARK, cancelling_words
from entclip.objectives.base import Objective
from entclip.objectives.given import objective_of
from entclip.objectives.needs import refuse_unserved
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

    from entclip.runs.result import Ledger

__all__ = ["EntropyLedger"]


class EntropyLedger:
    """The entropy ledger of a training loop in torch: what every update did to entropy, by cause, on fixed contexts.

    Of an update it needs the minibatch (`minibatch`, before `loss.backward()`); the step it sees by itself, through hooks of the
    optimiser. Entropy is that of the same states before and after. First-order parts by cause go through the preconditioner of
    the step that was taken: unclipped, clip_low, clip_high, other; momentum and weight_decay of the optimiser; norm_clip, what
    limiting the gradient's norm changed; bonus, what further terms of the loss added. SGD, Adam and AdamW are split exactly; of
    any other optimiser the step has one line, whole_step. Rounding of weights in half precision is in that line, too.

    Args:
        model, optimizer: what the loop trains with. DistributedDataParallel is unwrapped; sharded parameters are refused.
        clip: the two widths (low, high) or an objective of entclip: what the loss does to a token's weight.
        logits: (model, contexts) to logits (..., V) of the probe set's contexts; called in evaluation mode.
        probe: a list of such contexts, each as many as memory holds at a time; None takes those of the first `rollout`.
        temperature: of the policy: softmax(logits / temperature).
        every: account for one update in this many; a number coprime with the updates of a rollout visits all of them in turn.
        positions: keep this many contexts of the probe set, drawn at random: unbiased, with a standard error (position_se).
        bonus: the loss has terms beside the surrogate. If not, its gradient is compared with the surrogate's, at the first
            accounted update and at a few more until each bound has acted in one of them.
        scaler: the loss scaler of the loop, torch.amp.GradScaler or None. Call `unscale_` or `step` of it as ever.
        out: folder that entclip ledger and entclip report read, written whole when a rollout ends; None keeps rows in memory.
        log: called with ({"entclip/NAME": value}, update) after every accounted update, in the first process:
            `lambda values, step: wandb.log(values)`, or a loop over SummaryWriter.add_scalar.
        name, seed: of the run; the seed draws the positions.
        history: takes the books of the run, too, for whoever makes one ledger of several runs.
    Raises: SpecError for what cannot be accounted: a frozen model, sharded parameters, a folder that holds another run.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        *,
        clip: Objective | tuple[float, float] = (0.2, 0.2),
        logits: Callable[[Any, Any], Any],
        probe: Sequence[Any] | None = None,
        temperature: float = 1.0,
        every: int = 17,
        positions: int | None = None,
        bonus: bool = False,
        scaler: Any = None,
        out: str | Path | None = None,
        log: Callable[[dict[str, float], int], object] | None = None,
        name: str = "recorded",
        seed: int = 0,
        program: str = "torch",
        packages: tuple[str, ...] = ("torch",),
        history: History | None = None,
    ) -> None:
        self._objective: Objective = objective_of(clip)
        refuse_unserved(self._objective, frozenset(), "a ledger inside a training loop")
        for key, value in (("every", every), ("positions", positions)):
            if value is not None and value < 1:
                raise SpecError(f"{key} = {value!r}: it is a number of {'updates' if key == 'every' else 'contexts'}, 1 or more.")
        if not temperature > 0:
            raise SpecError(f"temperature = {temperature!r}: it must be above 0.")
        self._every, self._log = every, log
        self._life = Life(unwrapped(optimizer), out, self.release)
        self._probe = UserProbe(logits, [], temperature, positions, seed)
        if probe is not None:
            self._probe.given = list(probe)
        self._watch = Watch(model, optimizer, self._probe, self._objective, bonus=bonus, scaler=scaler)
        first = self._watch.trained[0]
        self._record = Record(
            About(
                name,
                program,
                type(self._watch.model).__name__,
                type(self._watch.optimizer).__name__,
                self._objective,
                seed,
                first.device.type,
                str(first.dtype).removeprefix("torch."),
                packages,
            ),
            out if first_process() else None,
            history,
        )
        if self._life.others is not None:
            self._record.remarks.append(self._life.others)
        if not self._watch.split:
            self._record.remarks.append(
                f"The steps of {type(self._watch.optimizer).__name__} are not split by cause: all is in the line `step`."
            )
        self._update, self._inner, self._start = 0, 0, 0.0
        self._old: list[Any] | None = None  # log pi_old on the probe set, between rollout() and close()
        self._told, self._turns = Told(self._watch, self._objective), Turns(every)
        self._reason: str | None = None  # why this update cannot be accounted
        self._observed: dict[str, float] = {}
        target = unwrapped(optimizer)
        self._hooks = [
            target.register_step_pre_hook(lambda _, given, named: self._before_step((*given[1:2], *named.values()))),
            target.register_step_post_hook(lambda *_: self._after_step()),
        ]
        self._life.begin()

    def rollout(self, contexts: Any = None, **observed: float) -> None:
        """Begin a rollout: the policy as it is now becomes pi_old. Call it before the rollout's first update.

        Args:
            contexts: those of this rollout, for `logits`; the first rollout's become the probe set if none was given.
            observed: numbers of the rollout that the ledger has a column for: reward, response_tokens, flat_groups.
        """
        self._life.check()
        if not self._probe.seen and not self._probe.given:
            if contexts is None:
                raise SpecError("the ledger has no probe set: give probe= when making it, or contexts to the first rollout.")
            self._probe.given = [shared(contexts)]
        with self._life.released_by_errors():
            if not self._probe.seen:
                self._begin_probe()
            self._probe.check()
            old = self._watch.look()
        now = probe_entropy(old)
        if self._old is None or self._inner > 0:
            self._end_rollout(now)
            self._record.begin_rollout()
            self._start = now
        self._old, self._inner, self._observed = old, 0, dict(observed)
        self._told.settle(rollout=True)
        if not self._told:  # otherwise this rollout begins amid minibatches whose gradients are accumulated
            self._arm()

    def minibatch(
        self,
        log_probs: Any,
        old_log_probs: Any,
        advantages: Any,
        mask: Any = None,
        *,
        weights: Any = "token",
        scale: float = 1.0,
        logits: Any = None,
        actions: Any = None,
        log_ratios: Any = None,
    ) -> None:
        """Tell the ledger of a minibatch, before `loss.backward()`; several times where gradients are accumulated.

        A minibatch that is refused leaves the ledger as it was before the call: the loop may go on, and the update whose part it
        is gets no row.

        Args:
            log_probs: log pi of the tokens that were taken, (N, T), with their graph; None with `logits` (N, T, V) and `actions`.
            old_log_probs: the same under pi_old. advantages: (N,), (N, 1) or (N, T). mask: which tokens count, (N, T), 0 or 1.
                These may be tensors, arrays or lists.
            weights: what each token counts in the loss: "token", a mean over tokens; "sequence", a mean over responses of their
                means; or (N, T), of a loss that is the sum of weights times the surrogate. scale: a factor on them, such as
                1 / accumulation steps.
            log_ratios: (N, T), of an objective that takes other ratios than those of the tokens, such as a sequence's mean.
        Raises: ValueError if shapes disagree, a log-probability is positive, a mask is none, logits are probabilities, or there
            is no graph to take gradients from, or the same tokens were told of before in this update.
        """
        self._life.check()
        if not self.due:
            return
        if self._old is None:
            raise SpecError("minibatch() came before the first rollout(): the ledger does not know pi_old yet.")
        if self._told and self._watch.skipped:
            self._record.remarks.append(f"The loss scaler left out a step before update {self._update}.")
            self._arm()
        self._told.settle()
        if not self._told and self._watch.begin():
            self._record.remarks.append(f"From update {self._update} on, other parameters train than before it.")
        with self._life.refusing():
            batch = read_minibatch(
                log_probs,
                old_log_probs,
                advantages,
                mask,
                weights=weights,
                scale=scale,
                logits=logits,
                actions=actions,
                log_ratios=log_ratios,
                temperature=self._probe.temperature,
            )
            self._told.add(batch, batch.log_probs if logits is None else logits, self._inner)

    def discard(self) -> None:
        """Forget the minibatches since the last step, where the loop leaves a step out after backward().

        Minibatches without a backward(), and those whose gradients were cleared before the next minibatch or replaced by new
        ones, are left out by themselves. Not seen, and to be told by this, is zero_grad(set_to_none=False) that comes between
        the next minibatch and its backward().
        """
        self._arm()

    def to_frame(self, kind: str = "updates") -> pd.DataFrame:
        """Return rows as a DataFrame: "updates", one per accounted update, or "rollouts"."""
        return self.ledger().to_frame(kind)

    def ledger(self) -> Ledger:
        """Return the run so far as entclip.Ledger."""
        return self._record.ledger()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary per accounted update."""
        return self._record.rows

    @property
    def notes(self) -> list[str]:
        """Return what a reader should know of the run, and why updates whose turn it was could not be accounted."""
        cancelling = cancelling_words([row["step"] for row in self._record.rows if row.get(MARK)])
        return [*self._record.remarks, *self._found(), *([cancelling] if cancelling else []), *self._record.notes]

    def remark(self, said: str) -> None:
        """Add a sentence to what the folder says of the run."""
        self._record.remarks.append(said)

    @property
    def due(self) -> bool:
        """Tell whether the next update is to be accounted: of others `minibatch` looks at nothing."""
        return self._update % self._every == 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: the books, and the probe set itself. Save it with the model, between rollouts."""
        probe = {"given": self._probe.given, "chosen": self._probe.chosen, "contexts": self._probe.contexts}
        return {"format": 1, "update": self._update, "record": self._record.state(), "probe": probe | {"seen": self._probe.seen}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the books and the probe set of `state_dict`, in the folder that holds them."""
        if state.get("format") != 1:
            raise SpecError(f"this state of a ledger has format {state.get('format')!r}, and this entclip reads 1.")
        if self._probe.given and self._probe.differs(state["probe"]):
            raise SpecError(
                "the probe set given to this ledger is not that of the run it resumes: leave probe= out, the state holds it."
            )
        self._life.check()
        for name, value in state["probe"].items():
            setattr(self._probe, name, value)
        self._update = state["update"]
        self._record.restore(state["record"])
        self._old = None

    def close(self) -> None:
        """End the last rollout, save, and leave the optimiser and the folder alone."""
        try:
            if self._old is not None:
                self._end_rollout(probe_entropy(self._watch.look()))
        finally:
            self.release()

    def release(self) -> None:
        """Leave the optimiser and the folder alone, without ending the rollout, as after an error in the loop."""
        self._life.end()
        for hook in self._hooks:
            hook.remove()
        self._watch.arm(False)
        self._watch.close()
        self._old = None
        self._record.close()

    def __enter__(self) -> EntropyLedger:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.release()

    def _arm(self) -> None:
        self._told.forget()
        self._reason = self._life.refusal = None
        self._watch.arm(self.due and self._old is not None)

    def _begin_probe(self) -> None:
        from entclip.integrations.recording.probe import evaluating

        with torch.no_grad(), evaluating(self._watch.model):
            self._probe.begin(self._watch.model)

    def _before_step(self, given: tuple[Any, ...]) -> None:
        if not self.due or self._old is None:
            return
        with self._life.released_by_errors():
            self._told.settle(step=True)
            reason = CLOSURE if any(map(callable, given)) else self._life.refusal or self._told.gathered.reason
            reason = agreed(reason, self._told.gathered.tokens, self._watch.trained[0].device)
            self._reason = reason or self._watch.before()

    def _after_step(self) -> None:
        with self._life.released_by_errors():
            self._book()

    def _book(self) -> None:
        if self._old is None:  # rollout() has not been called, so pi_old is not known
            self._record.skip("it came before rollout()" if self.due else None)
        elif not self.due:
            self._record.skip(None)
        elif self._reason is not None:
            self._skip(self._reason)
        else:
            made = self._watch.after(self._told.gathered, self._old, keep=self._every == 1)
            bad = [name for name, value in made.columns.items() if value != value or abs(value) == float("inf")]
            if bad:
                self._skip(f"{bad[0]} of the model after the step is NaN or infinite")
            else:
                self._turns.row(self._inner)
                row = self._record.append(made.columns, self._inner, made.samples, made.precision)
                if self._log is not None and first_process():
                    self._log({f"entclip/{k}": row[k] for k in LOGGED if row.get(k) is not None}, self._update)
        self._update += 1
        self._inner += 1
        self._arm()

    def _found(self) -> list[str]:
        """Return what the run has shown so far of itself, in sentences."""
        watch = self._watch
        said = (watch.unseen(), watch.note(), self._told.note(), self._turns.note())
        return [each for each in said if each is not None]

    def _skip(self, reason: str) -> None:
        self._record.skip(reason)
        warnings.warn(f"entclip: update {self._update} has no row in the ledger: {reason}.", RuntimeWarning, stacklevel=5)

    def _end_rollout(self, entropy: float) -> None:
        if self._old is None:
            return
        if entropy != entropy:
            self._record.notes.append("the last rollout ended in a model whose entropy is NaN: it is not in the books")
            return
        self._turns.rollout(self._inner)
        self._record.unseen = " ".join(self._found()) or None
        self._record.end_rollout(self._start, entropy, self._observed)
