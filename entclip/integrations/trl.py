"""EntropyLedger for TRL's GRPOTrainer: three lines beside the trainer's own.

    from entclip.integrations.trl import EntropyLedger

    ledger = EntropyLedger(out="results/grpo")
    ledger.attach(trainer)
    trainer.train()

TRL's callbacks see logs and never tensors, so `attach` wraps methods of the trainer: those that compute the loss and the one that
generates. Every `report_to` backend gets `entclip/...`; the folder is read by entclip ledger and entclip report.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entclip.support.extras import not_installed

try:  # before what needs them, too, and would say less
    import torch
    import trl
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(not_installed("the ledger inside TRL", "trl", "trl")) from error

from entclip.integrations.recording.history import History
from entclip.integrations.torch import EntropyLedger as TorchLedger
from entclip.objectives.base import Objective
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.sapo import Sapo
from entclip.support.errors import SpecError

__all__ = ["EntropyLedger"]

_KNOWN = ("1.16",)
_FILE = "entclip_ledger.pt"
_CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")


class EntropyLedger(TrainerCallback):
    """The entropy ledger of a GRPOTrainer's run: what every accounted update did to entropy, by cause, on fixed contexts.

    The probe set is the first generation's completions. Causes, curvature and the rest are those of entclip.integrations.torch;
    the loss type, its normalisation, accumulation, KL penalty and entropy bonus are read off the trainer, and checked once
    against the gradient of its loss. It works with LoRA, several inner steps and iterations, and several processes, over which
    sums and counts are reduced. A checkpoint of the trainer holds the ledger's state.

    Args:
        out: folder that entclip ledger and entclip report read; None keeps rows in memory.
        every: account for one optimiser step in this many.
        probes: completions of the first generation that make the probe set. positions: how many of its tokens to keep at random.
        probe: a probe set of your own instead: blocks of prompt_ids, prompt_mask, completion_ids, completion_mask, as TRL holds
            them, each as large as memory allows at a time.
        name: of the run.
        history: takes the books of the run, too, for whoever makes one ledger of several runs.
    """

    def __init__(
        self,
        out: str | Path | None = None,
        *,
        every: int = 17,
        probes: int = 8,
        positions: int | None = None,
        probe: Sequence[Mapping[str, Any]] | None = None,
        name: str = "trl",
        history: History | None = None,
    ) -> None:
        self._out, self._every, self._probes, self._positions, self._name = out, every, probes, positions, name
        self._probe, self._history = probe, history
        self._trainer: Any = None
        self._core: TorchLedger | None = None
        self._seen: tuple[Any, Any] | None = None
        self._resumed: Path | None = None  # the checkpoint that training was told to go on from

    def attach(self, trainer: Any) -> EntropyLedger:
        """Put the ledger into a trainer, before trainer.train().

        Raises: SpecError for a version of TRL or a configuration that it cannot account for, and for a trainer whose loss is
        computed elsewhere, as Unsloth's is.
        """
        _refuse_unknown(trainer)
        if self._trainer is not None or isinstance(getattr(trainer._compute_loss, "__self__", None), EntropyLedger):
            raise SpecError("attach() was called before, for this ledger or this trainer: make one ledger for each trainer.")
        self._trainer = trainer
        self._loss, self._generate, self._train = trainer._compute_loss, trainer._generate_and_score_completions, trainer.train
        self._log_probs = trainer._get_per_token_logps_and_entropies
        trainer._compute_loss = self._compute_loss
        trainer._generate_and_score_completions = self._generated
        trainer.train = self._trained
        trainer._get_per_token_logps_and_entropies = self._scored
        trainer.add_callback(self)
        return self

    @property
    def ledger(self) -> TorchLedger:
        """Return the books: rows, to_frame(), notes; they exist once training has begun."""
        if self._core is None:
            raise SpecError("the ledger is empty: attach it to a trainer and call trainer.train().")
        return self._core

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Make the books, or go on with those of the checkpoint that training resumes from."""
        t = self._trainer
        if t is None:
            raise SpecError(
                "this ledger was never attached: call ledger.attach(trainer) instead of trainer.add_callback(ledger)."
            )
        self._core = TorchLedger(
            t.model,
            more["optimizer"],
            clip=_objective(t),
            logits=_logits,
            probe=self._probe,
            temperature=t.temperature,
            every=self._every,
            positions=self._positions,
            bonus=bool(t.beta or t._entropy_bonus_enabled or t.aux_loss_enabled),
            scaler=t.accelerator.scaler,
            out=self._out,
            log=self._report,
            name=self._name,
            seed=int(args.seed),
            program=f"TRL {importlib.metadata.version('trl')}",
            packages=("torch", "transformers", "trl", "accelerate"),
            history=self._history,
        )
        if t.importance_sampling_level == "sequence":
            self._core.remark("The clip acts on ratios of sequences; pi, gap and ratio max are those of tokens.")
        if not state.global_step:
            return
        path = (self._resumed or Path(args.output_dir) / f"checkpoint-{state.global_step}") / _FILE
        if path.exists():
            self._core.load_state_dict(torch.load(path, weights_only=True))
        else:
            self._core.remark(f"The books begin at step {state.global_step}: the checkpoint that training went on from has none.")

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Put the books into the checkpoint that was just written."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            torch.save(self.ledger.state_dict(), folder / _FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Close the books."""
        self.ledger.close()

    def _trained(self, *arguments: Any, **options: Any) -> Any:
        checkpoint = arguments[0] if arguments else options.get("resume_from_checkpoint")
        if self._core is not None and self._core.rows and not checkpoint:
            raise SpecError(
                f"trainer.train() was called before, and this ledger has {len(self._core.rows)} updates of that training in its "
                "books: a second training begins anew. Go on with it by trainer.train(resume_from_checkpoint=True), or make "
                "another trainer with a ledger of its own and another out=."
            )
        self._resumed = Path(checkpoint) if isinstance(checkpoint, str | Path) else None
        try:
            return self._train(*arguments, **options)
        except BaseException:
            if self._core is not None:  # the next trainer of this process may want the folder
                self._core.release()
            raise

    def _generated(self, inputs: Any) -> Any:
        output = self._generate(inputs)
        if self._trainer.model.training:
            self.ledger.rollout(self._contexts(output), **self._observed(output))
        return output

    def _contexts(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """The first completions of a generation, as many as the probe set takes."""
        names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        return {name: output[name][: self._probes].detach().clone() for name in names}

    def _observed(self, output: Mapping[str, Any]) -> dict[str, float]:
        """What TRL has just logged about the generation, reduced over processes as TRL does; pass_at_K where a reward logs it."""
        logged = self._trainer._metrics["train"]
        names = {"reward": "reward", "flat_groups": "frac_reward_zero_std", "response_tokens": "completions/mean_length"}
        names |= {name: name for name in logged if name.startswith("pass_at_")}
        found = {ours: float(logged[theirs][-1]) for ours, theirs in names.items() if logged.get(theirs)}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _scored(self, *arguments: Any, **options: Any) -> Any:
        made = self._log_probs(*arguments, **options)
        self._seen = made[:2]
        return made

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        loss = self._loss(model, inputs)
        if self._trainer.model.training and self._seen is not None and self.ledger.due:
            log_probs, entropies = self._seen
            self._tell(inputs, log_probs, entropies)
        self._seen = None
        return loss

    def _tell(self, inputs: Any, log_probs: Any, entropies: Any) -> None:
        t = self._trainer
        mask = inputs["completion_mask"] * inputs["tool_mask"] if "tool_mask" in inputs else inputs["completion_mask"]
        advantages = inputs["advantages"]
        old = inputs.get("old_per_token_logps")
        old = log_probs.detach() if old is None else old
        weights = _token_weights(t, inputs, mask.to(log_probs.dtype), log_probs, old, entropies, advantages)
        log_ratios = None
        if t.importance_sampling_level == "sequence":
            ratio = (log_probs.detach() - old) * mask
            log_ratios = (ratio.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)).expand_as(ratio)
            if t.loss_type != "cispo":  # whose weight is on each token's own log-prob
                each = mask / mask.sum(-1, keepdim=True).clamp(min=1)
                weights = (weights * mask).sum(-1, keepdim=True) * each
        self.ledger.minibatch(log_probs, old, advantages, mask, weights=weights, log_ratios=log_ratios)

    def _report(self, row: dict[str, float], update: int) -> None:
        logged = self._trainer._metrics["train"]
        for name, value in row.items():
            logged[name].append(value)


def _token_weights(t: Any, inputs: Any, mask: Any, log_probs: Any, old: Any, entropies: Any, advantages: Any) -> Any:
    """What each token counts in the loss, (B, T), accumulation and corrections included."""
    if advantages.dim() == 1:
        advantages = advantages.unsqueeze(1)
    steps = t.current_gradient_accumulation_steps
    if t.loss_type in ("grpo", "sapo"):
        weights = mask / mask.sum(-1, keepdim=True).clamp(min=1.0) / len(mask) / steps
    elif t.loss_type == "bnpo":
        weights = mask / mask.sum().clamp(min=1.0) / steps
    elif t.loss_type == "dr_grpo":
        weights = mask / (len(mask) * t.max_completion_length) / steps
    elif t.loss_type == "luspo":
        weights = mask / len(mask) / steps
    else:  # cispo, dapo: a sum over the tokens of an accumulation window
        items = inputs["num_items_in_batch"].clamp(min=1.0) / t.accelerator.num_processes
        weights = mask / (items * steps / t.args.steps_per_generation)
    if t.off_policy_mask_threshold is not None:
        weights = weights * t.get_off_policy_mask(
            advantages=advantages,
            per_token_logps=log_probs.detach(),
            sampling_per_token_logps=inputs.get("sampling_per_token_logps", old),
            mask=mask,
            off_policy_threshold=t.off_policy_mask_threshold,
        )
    if t.top_entropy_quantile < 1.0:
        weights = weights * t.get_high_entropy_mask(entropies, mask, 1 - t.top_entropy_quantile)
    if t.use_vllm and t.vllm_importance_sampling_correction:
        weights = weights * inputs["importance_sampling_ratio"]
    return weights.expand_as(mask).detach()


def _objective(t: Any) -> Objective:
    """The trainer's objective as one of ours."""
    low, high, delta = t.epsilon_low, t.epsilon_high, t.args.delta
    if t.loss_type == "sapo":
        return Sapo(t.args.sapo_temperature_pos, t.args.sapo_temperature_neg)
    if t.loss_type == "cispo":
        if high < 1:
            raise SpecError(
                f"epsilon_high = {high} with loss_type = 'cispo': there it is the largest weight itself, not a width above 1, "
                "and scales every token down to it. Set it to a number such as 5.0."
            )
        return Cispo(1.0, high - 1)
    if delta is None:
        return Clip(low, high)
    if delta <= 1 + high:
        raise SpecError(
            f"delta = {delta} is within the band, whose upper end is {1 + high:g}: it then bounds A > 0, too, which no objective "
            "of entclip does. Use a larger delta or none."
        )
    return DualClip(low, high, delta)


def _logits(model: Any, block: Mapping[str, Any]) -> Any:
    """Logits at the completion tokens of a probe block that count, (n, V); by the model's own head, not the fused one."""
    ids, attention = (torch.cat([block[f"prompt_{k}"], block[f"completion_{k}"]], 1) for k in ("ids", "mask"))
    kept = block["completion_ids"].shape[1]
    out = model(input_ids=ids, attention_mask=attention, logits_to_keep=kept + 1, use_cache=False)
    logits = getattr(out, "logits", None)
    if logits is None:
        raise SpecError(
            "the model gave no logits: a fused kernel (Liger's) hides them, and without them entropy cannot be taken apart. Set "
            "use_liger_kernel = False."
        )
    return logits[:, -(kept + 1) : -1][block["completion_mask"].bool()]


def _refuse_unknown(trainer: Any) -> None:
    """SpecError for what the ledger would not see, or would see wrongly."""
    from trl import GRPOTrainer

    version = trl.__version__
    if not any(version == known or version.startswith(f"{known}.") for known in _KNOWN):
        raise SpecError(
            f"TRL {version} is installed, and this ledger knows {' and '.join(_KNOWN)}: another version may compute its loss "
            f"otherwise. pip install 'trl=={_KNOWN[-1]}.*', or take a newer entclip."
        )
    if not isinstance(trainer, GRPOTrainer):
        raise SpecError(f"{type(trainer).__name__} is no GRPOTrainer: the ledger accounts for GRPO's loss.")
    for method in ("compute_loss", "_compute_loss", "_get_per_token_logps_and_entropies"):
        where = getattr(type(trainer), method)
        if where is not getattr(GRPOTrainer, method) or where.__module__.partition(".")[0] != "trl":
            raise SpecError(
                f"{method} of this trainer comes from {where.__module__}, not from TRL (Unsloth replaces it, and so do some "
                "trainers made from GRPOTrainer): the ledger would see nothing of its loss. Train with TRL's own GRPOTrainer."
            )
    if getattr(trainer.args, "use_liger_kernel", False):
        raise SpecError(
            "use_liger_kernel = True: its fused kernels hide the logits, without which entropy cannot be taken apart. Set it to "
            "False for runs with a ledger."
        )
    if trainer.loss_type not in (*_CLIPPED, "cispo", "sapo"):
        raise SpecError(
            f"loss_type = {trainer.loss_type!r} is not one that the ledger knows: {', '.join((*_CLIPPED, 'cispo', 'sapo'))}."
        )
    _objective(trainer)
