"""Cases out of output folders: files in the way, other runs in place, damaged checkpoints."""

from __future__ import annotations

import random
from typing import Any

from tests.robustness.fuzz.pools import BASE_FILE, pick
from tests.robustness.sandbox import Case

_NAMES = (
    "summary.json",
    "ledger.parquet",
    "rollouts.parquet",
    "contexts.parquet",
    "experiment.toml",
    "figure.png",
    "report.html",
    "report.md",
    "causes.png",
    "manifest.json",
)


def folders(rng: random.Random) -> Case:
    """An output folder in which something stands."""
    files: list[tuple[str, str, dict[str, Any]]] = [*BASE_FILE]
    if rng.random() < 0.5:
        files.append(("out", "copy", {"of": pick(rng, ("plain", "other", "contexts", "gridded", "unfinished"))}))
    standing = len(files) > len(BASE_FILE)
    name = pick(rng, _NAMES)
    choice = rng.randrange(8)
    if choice < 3:
        files += [(f"out/{name}", pick(rng, ("folder", "blocked")), {})]
    elif choice == 3:
        files += [(f"out/{name}x", "text", {"value": "mine"})]
    elif choice == 4:
        files += [("elsewhere", "folder", {}), ("out2", "link", {"target": "elsewhere"})]
    elif choice == 5 and standing:
        files += [("out/summary.json", pick(rng, ("remove", "folder")), {})] if files[-1][2].get("of") != "unfinished" else []
    elif choice == 6 and standing:
        files += [("out", "mode", {"bits": 0o500})]
    limits = {"fsize": pick(rng, (0, 1, 100, 1000, 5000, 10000, 20000))} if rng.random() < 0.25 else {}
    argv = pick(
        rng,
        (
            ("run", "base.toml", "--out", "out"),
            ("run", "base.toml", "--out", "out", "--set", "seed=8"),
            ("report", "out"),
            ("ledger", "out"),
            ("run", "base.toml", "--out", "out", "--json"),
            ("check", "base.toml", "--out", "out"),
            ("run", "base.toml", "--out", "out2"),
            ("run", "base.toml", "--out", "out", "--engine", "reduced"),
            ("compare", "out", "out"),
            ("noise", "wide.toml", "--out", f"out/{name}"),
            ("predict", "base.toml", "--out", "out"),
            ("run", "base.toml", "--out", f"out/{name}"),
            ("run", "grid.toml", "--out", "out"),
        ),
    )
    grid = (("grid.toml", "copy", {"of": "grid.toml"}),) if "grid.toml" in argv else ()
    out = next((w for w in argv if w in ("out", "out2")), None) if argv[0] in ("run", "check", "report", "ledger") else None
    return Case("folders", argv, (*files, *grid), limits=limits, out=out)


def checkpoints(rng: random.Random) -> Case:
    """Resume from a damaged checkpoint, or from one that belongs elsewhere."""
    files: list[tuple[str, str, dict[str, Any]]] = [
        ("long.toml", "copy", {"of": "long.toml"}),
        ("out", "copy", {"of": "unfinished"}),
    ]
    where = "out/*checkpoint*/*"
    choice = rng.randrange(8)
    if choice < 4:
        files += [(where, "flip", {"at": rng.random(), "bit": rng.randrange(8)}) for _ in range(rng.choice((1, 1, 3)))]
    elif choice == 4:
        files.append((where, "cut", {"at": rng.random()}))
    elif choice == 5:
        files.append((where, pick(rng, ("folder", "remove")), {}))
    elif choice == 6:
        files.append((where, "append", {"value": "x" * 100}))
    else:
        files += [("out/*checkpoint*", "remove", {}), ("out/.checkpoint-x", "text", {"value": "x"})]
    return Case(
        "checkpoints", ("run", "long.toml", "--out", "out", *(("--json",) if rng.random() < 0.5 else ())), tuple(files), out="out"
    )
