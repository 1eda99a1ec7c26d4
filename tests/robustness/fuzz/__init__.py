"""Generators of cases by kind: `KINDS[kind](random)` gives one case; the same seed gives the same case."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.robustness.fuzz import arrays, experiments, folders, options, published, readers, terminal
from tests.robustness.sandbox import Case

Generator = Callable[[random.Random], Case]
KINDS: dict[str, Generator] = {
    "options": options.options,
    "overrides": options.overrides,
    "paths": options.paths,
    "markup": options.markup,
    "numbers": experiments.numbers,
    "sizes": experiments.sizes,
    "toml": experiments.text,
    "structure": experiments.structure,
    "npy": arrays.npy,
    "archives": arrays.archives,
    "folders": folders.folders,
    "checkpoints": folders.checkpoints,
    "summary": readers.summary,
    "ledger": readers.ledger,
    "bytes": readers.damage,
    "terminal": terminal.terminal,
    "language": options.language,
    "published": published.published,
}


def case_of(kind: str, seed: int, index: int) -> Case:
    """Case `index` of a kind under a seed."""
    return KINDS[kind](random.Random(f"{seed}/{kind}/{index}"))
