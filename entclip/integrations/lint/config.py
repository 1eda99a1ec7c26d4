"""From a configuration's text to its facts: detect the library, read its keys, and ask the library's folder what they mean."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from entclip.integrations.lint.detection import detect_library, refuse_other_work
from entclip.integrations.lint.facts import Reader, TrainerConfig
from entclip.integrations.lint.libraries import LIBRARIES, library_named
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.source import Source, read_source

__all__ = ["config_from", "read_config"]

_VEILS: tuple[Literal["open", "flipped"], ...] = ("open", "flipped")
SLIP = 0.85  # likeness from which an unknown key is taken for a slip
# Parts of names by which a key that is not known here may decide what the clip does: a fork's own loss, another group size.
_DECIDES = re.compile(r"clip|loss|ratio(?!n)|samples|agent|adaptive")  # ratio, but no iteration and no generation
# Names that say of what else: a share of the training or of the data, a width for gradients, another model's loss.
_ELSE = re.compile(
    r"(warm_?up|decay|cooldown|split|mix(ing)?|dropout|memory|gpu|data|image|(?<!policy_)eval|test|val(id|idation)?)_?(ratio|samples)"
    r"|(max|train|eval|test|val)(_(train|eval|test|val|predict))?_samples"
    r"|(grad|grads|gradient|gradients|norm|value|vf|critic)_clip(ping|range)?(?![a-z])|clip_?(range_)?(grad|gradient|norm|value|vf)(?![a-z])"
    r"|(aux|router|balanc\w*|value|vf|critic|eval|val)_loss(?![a-z])"
)


def read_config(path_or_text: str | Path, library: str | None = None) -> TrainerConfig:
    """Read a trainer configuration from a file or text; the library is detected where it is not named.

    Raises: ValueError if it cannot be read, is no policy gradient, no library or more than one fits, or a value that decides has
        the wrong type.
    """
    source = _unwrapped(read_source(path_or_text))
    refuse_other_work(source)
    if library is None:
        return config_from(source, *detect_library(source))
    return config_from(source, library_named(library).name, "named by the caller")


def _unwrapped(source: Source) -> Source:
    """The settings of a file that has them under the name of what is trained, where none of them has the name of a group."""
    blocks = {key.partition(".")[0] for key in source.values}
    if source.entry is not None or len(blocks) != 1 or not all("." in key for key in source.values):
        return source
    inner = replace(source, values={key.partition(".")[2]: value for key, value in source.values.items()})
    return source if any(library.owns(key) for library in LIBRARIES.values() for key in source.values) else inner


def config_from(source: Source, name: str, evidence: str) -> TrainerConfig:
    """Return the facts of a source that belongs to a library."""
    library = library_named(name)
    if (what := library.other_trainer(source.values, source.command)) is not None:
        raise ValueError(f"this configures {what}: it is not read here.")
    renamed = tuple(key for key in source.values if key in library.older_keys and not library.knows(key))
    # What is passed on to another library is read under that library's names, and nothing else is.
    read = source.values if library.builds_on is None else {k: v for k, v in source.values.items() if library.knows(k)}
    values = {library.renamed.get(key, key): value for key, value in read.items()}
    unknown = tuple(
        (key, library.closest(key))
        for key in source.values
        if not library.knows(key) and key not in renamed and not key.startswith(library.free_prefixes)
    )
    doubtful = tuple(key for key, near in unknown if _DECIDES.search(_ELSE.sub("", key)) or _meant(library, key, near))
    files = tuple(f"{key} = {values[key]}" for key in library.other_files(values))
    evidence += f", with {' and '.join(source.files)} beside it" if source.files else ""

    def built(by: Library) -> TrainerConfig:
        config: TrainerConfig = by.build(Reader(by, values, source.command), evidence)
        return replace(
            config,
            values={key: source.values[key] for key, _ in unknown} | values,
            unknown_keys=unknown,
            doubtful=doubtful,
            renamed=renamed,
            elsewhere=(*files, *source.arguments),
            shell_defaults=source.shell_defaults,
            passes_on=source.passes_on,
            asks=source.asks,
            python=source.kind == "python",
        )

    config = built(library)
    if not config.unless:
        return config
    try:
        sure = tuple(built(replace(library, veiled=veil)) for veil in _VEILS)
    except ValueError:  # without its defaults it is no configuration of this library's trainer
        return config
    return replace(config, certain=sure)


def _meant(library: Library, key: str, near: str | None) -> bool:
    """Whether an unknown key is most likely a slip for one that decides: num_iteration for num_iterations."""
    if near is None or library.renamed.get(near, near) not in library.defaults:
        return False
    # Of keys in one group their own names are compared: what they share is no likeness.
    if key.rpartition(".")[0] == near.rpartition(".")[0]:
        key, near = key.rpartition(".")[2], near.rpartition(".")[2]
    return difflib.SequenceMatcher(None, key, near).ratio() >= SLIP
