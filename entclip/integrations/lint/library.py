"""What entclip knows of one library: its keys and defaults at a version, and what its settings mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any, Literal

from entclip.integrations.lint.nearest import closest
from entclip.integrations.lint.setting import Setting, Text
from entclip.integrations.lint.values import Unresolved

__all__ = ["Library"]

MISSPELT = 0.9  # likeness from which an unknown key is a known one with a slip: epsilon_hi, num_iteration


def _no_files(values: Mapping[str, Any]) -> list[str]:
    return []


@dataclass(frozen=True)
class Library:
    """A library as entclip knows it. Each has a folder of its own in `libraries/`; nothing else asks for a library by name.

    A key that is not listed is reported, never guessed. Defaults are those of `version`.

    Attributes:
        entry: how its training command is named in a script, as a regular expression; what follows it are its options. Empty
            where no name is its own.
        package: the folder with `keys.txt`, the list of all its keys.
        deciding: keys, or beginnings of keys that end in a dot, which only a training with this library has.
        other_work: its commands that do not train, as a regular expression.
        other_trainers: words of a command, or keys, of trainers of the library that are not read, and what they are.
        python_classes: classes whose keyword arguments are its configuration; python_modules: what a script imports that has
            them; python_calls: other calls, and which of their keyword arguments are settings.
        build: from a `facts.Reader` and the evidence for the library to a `facts.TrainerConfig`.
        write: from a clip without a notation to the library's settings.
        losses: names of its losses.
        more_updates: which settings give a rollout more than one update.
        std_offset: how a group's standard deviation is taken.
        truncation: keys of truncated sampling, each with the values that truncate nothing.
        wrong_for_sequences, right_for_sequences: aggregations that weigh a sequence by its length, and the setting that does not.
        sapo_keys: keys of SAPO's steepness for A > 0 and for A < 0.
        precise: how to get log-probabilities that are not rounded to bfloat16.
        clip_metric: the name of its clip metric, and what is wrong with it: "merged" sides, or "ungated" by the sign of A.
        one_width: the key of its only width, which stands for both sides; empty where each side can have its own.
        kl_to_sampler: whether its KL term penalises the log-ratio to the policy that sampled, not to a reference.
        cap_note: what to know about switching its third bound off.
        open_groups: groups that users extend with keys of their own.
        free_prefixes: beginnings of keys that belong to its launcher.
        other_files: keys of a configuration that name another configuration, which is not read.
        renamed: keys of older versions and what they are called now; older_keys: all keys of that version.
        passes_on: the library whose keys it takes beside its own; builds_on: the one that has the defaults of what it passes on.
        veiled: whether something that is not read may set what is not set, so that no default is a fact: all are open, or
            switches are the other way round and the rest is open.
    """

    name: str
    title: str
    version: str
    defaults: Mapping[str, Any]
    package: str
    build: Callable[..., Any]
    write: Callable[[Setting], Text]
    losses: tuple[str, ...]
    deciding: tuple[str, ...]
    entry: str = ""
    other_work: str = ""
    other_trainers: Mapping[str, str] = field(default_factory=dict)
    python_classes: tuple[str, ...] = ()
    python_modules: tuple[str, ...] = ()
    python_calls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    more_updates: str = ""
    std_offset: str = ""
    truncation: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    wrong_for_sequences: tuple[str, ...] = ()
    right_for_sequences: str = ""
    sapo_keys: tuple[str, str] | None = None
    precise: str = ""
    clip_metric: tuple[str, str] | None = None
    one_width: str = ""
    kl_to_sampler: bool = False
    cap_note: str = ""
    open_groups: frozenset[str] = frozenset()
    free_prefixes: tuple[str, ...] = ()
    other_files: Callable[[Mapping[str, Any]], list[str]] = _no_files
    renamed: Mapping[str, str] = field(default_factory=dict)
    older_list: str | None = None
    passes_on: Library | None = None
    builds_on: Library | None = None
    veiled: Literal["", "open", "flipped"] = ""

    def default(self, key: str) -> Any:
        """Return what a key is where it is not set; unresolved where something that is not read may set it."""
        value = self.defaults[key]
        if self.veiled == "flipped" and isinstance(value, bool):
            return not value
        return Unresolved("what is not read here") if self.veiled else value

    @property
    def release(self) -> str:
        """Name and version."""
        return f"{self.title} {self.version}"

    def _listed(self, file: str) -> frozenset[str]:
        """Keys of a list: `group: name name ...`, `-` for keys without a group, indented lines go on."""
        text = resources.files(self.package).joinpath(file).read_text("utf-8")
        keys, group = set(), ""
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            words = line.split()
            if not line.startswith(" "):
                group, words = words[0].removesuffix(":"), words[1:]
            keys |= {word if group == "-" else f"{group}.{word}" for word in words}
        return frozenset(keys)

    @cached_property
    def keys(self) -> frozenset[str]:
        """Return every key of its configuration, dotted; `group.*` where anything below a group is accepted."""
        return self._listed("keys.txt") | (frozenset() if self.passes_on is None else self.passes_on.keys)

    @cached_property
    def older_keys(self) -> frozenset[str]:
        """Return keys of the version before its keys were renamed."""
        own = frozenset() if self.older_list is None else self._listed(self.older_list)
        return own if self.passes_on is None else own | self.passes_on.older_keys

    @cached_property
    def _groups(self) -> tuple[frozenset[str], frozenset[str]]:
        opened = frozenset(key.removesuffix(".*") for key in self.keys if key.endswith(".*"))
        return opened, frozenset(".".join(key.split(".")[:n]) for key in self.keys for n in range(1, key.count(".") + 1))

    def knows(self, key: str) -> bool:
        """Tell whether the list has the key, a group of that name, or an open group above it."""
        opened, groups = self._groups
        parts = key.split(".")
        if not self.open_groups.isdisjoint(parts):
            return True
        return key in self.keys or key in groups or any(".".join(parts[:n]) in opened for n in range(1, len(parts)))

    def owns(self, key: str) -> bool:
        """Tell whether a key is the library's, today or in the version before, in a group that only it has, or misspelt."""
        if (
            self.knows(key)
            or key in self.older_keys
            or key.startswith(self.free_prefixes)
            or any(d.endswith(".") and key.startswith(d) for d in self.deciding)
        ):
            return True
        return closest(key, self.keys, MISSPELT) is not None

    def decides(self, key: str) -> bool:
        """Tell whether a key alone says that the configuration is this library's."""
        return key in self.deciding or key.startswith(tuple(d for d in self.deciding if d.endswith(".")))

    def other_trainer(self, keys: Iterable[str], command: str) -> str | None:
        """Return what a configuration of another trainer of the library is, None where it is the one that is read."""
        words = {*keys, *re.findall(r"[A-Za-z]+", command)}
        return next((text for word, text in self.other_trainers.items() if word in words), None)

    def closest(self, key: str) -> str | None:
        """Return the known key most like an unknown one, or None if nothing is near."""
        return closest(key, self.keys, 0.75)
