"""What is known about an engine without loading it: words for a reader, what it serves, how large a run of it becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from entclip.experiments.experiment import Experiment
from entclip.support.errors import SpecError
from entclip.support.extras import check_docstrings, not_installed
from entclip.support.foresight import Size, refuse_oversize
from entclip.support.memory import available_bytes

__all__ = ["TABLES", "EngineFacts"]

TABLES = ("uniform", "zipf", "peaked", "dirichlet", "normal_logits", "snapshot", "file")  # kinds of policies, of single tokens


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """Facts of one engine; every place that has to tell engines apart reads them, never a name.

    Attributes:
        name: what `--engine` takes.   short: a word or two for its help.   words: ends "This run is ...".
        measures: whose entropy its ledger has.   beginning: what comes before its first update, if it can take minutes.
        policies: kinds of policies that it runs.   optimizers: update.optimizer that it has.
        serves: what it offers objectives beside ratios and probabilities, by the names of objectives.needs.NEEDS.
        single_tokens: those of them that it offers for policies of single tokens alone, not for sequences.
        objectives: kinds of objectives that it has, None where it runs whatever needs no more than it serves.
        devices, dtypes: where it runs and in what; the first dtype is the usual one.
        extra: the optional dependencies that it needs, "" if none.   modules: those of them without which it cannot be loaded.
        packages: those whose versions, or absence, can change its numbers, besides numpy, scipy and entclip.
        needs_docstrings: a library that it uses reads them, so that python -OO breaks it.
        shares_parameters: contexts move each other, so that only replicas are independent.
        lists_actions: it holds every action of every context.
        has_expectations: its ledger has expected_* columns.
        trains_models: it is run by `entclip llm`, on responses.
        drawn: units are independent draws with standard errors; False: weights are exact probabilities.
        concurrent: arms may run at the same time in threads.
        size: memory and time of one case on a device in a dtype, arms one after the other.
    """

    name: str
    short: str
    words: str
    size: Callable[[Experiment, str, str], Size]
    policies: tuple[str, ...]
    serves: frozenset[str] = frozenset()
    single_tokens: frozenset[str] = frozenset()
    objectives: frozenset[str] | None = None
    measures: str = "all contexts of the experiment"
    beginning: str = ""
    optimizers: tuple[str, ...] = ("sgd",)
    devices: tuple[str, ...] = ("cpu",)
    dtypes: tuple[str, ...] = ("float64",)
    extra: str = ""
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    needs_docstrings: bool = False
    shares_parameters: bool = False
    lists_actions: bool = True
    has_expectations: bool = True
    trains_models: bool = False
    drawn: bool = True
    concurrent: bool = True

    def refuse_unloadable(self, what: str = "") -> None:
        """Raise SpecError if a module is not there that the engine needs, or docstrings are not; no module is loaded here.

        what: who needs them, if not the engine.
        """
        what = what or f"the {self.name} engine"
        if self.needs_docstrings:
            check_docstrings(what)
        for module in self.modules:
            if find_spec(module) is None:
                raise SpecError(not_installed(what, module, self.extra))

    def refuse_oversize(
        self, experiment: Experiment, device: str = "cpu", dtype: str = "float64", free: float | None = None
    ) -> None:
        """Raise SpecError, before anything is allocated, for a case that the memory cannot hold or that would take over a month.

        free: bytes on the device (default: what this process can still take).
        """
        if experiment.policy.kind in self.policies:
            size = self.size(experiment, device, dtype)
            free = available_bytes() if free is None else free
            refuse_oversize(
                size, free, f"{experiment.name} on the engine {self.name}", "use " + self._smaller(experiment), f" on {device}"
            )

    def _smaller(self, experiment: Experiment) -> str:
        u, words = experiment.update, []
        large = {"contexts": getattr(experiment.policy, "contexts", None), "actions": getattr(experiment.policy, "vocab", None)}
        large |= {
            "replicas": experiment.replicas,
            "samples (update.batch)": u.batch,
            "minibatches": u.minibatches,
            "rollouts": u.rollouts,
        }
        words = [name for name, number in sorted(large.items(), key=lambda item: -(item[1] or 0)) if (number or 0) > 1]
        return f"fewer {', '.join(words[:3])}" if words else "a smaller experiment"


def updates_of(experiment: Experiment) -> int:
    """Count the updates of one case, all arms together."""
    u = experiment.update
    return u.rollouts * u.epochs * u.minibatches * len(experiment.arm)
