"""Cases out of damaged run folders, for every command that reads one."""

from __future__ import annotations

import random
from typing import Any

from tests.robustness.fuzz.pools import any_value, pick
from tests.robustness.sandbox import Case

_ARM = ("arms", "*")
_KEYS = (
    (),
    ("arms",),
    _ARM,
    (*_ARM, "measured"),
    (*_ARM, "measured_se"),
    (*_ARM, "clip_low"),
    (*_ARM, "verdict"),
    (*_ARM, "gap_low"),
    (*_ARM, "entropy_start"),
    (*_ARM, "units"),
    (*_ARM, "expected_clip_low"),
    (*_ARM, "*"),
    ("digest",),
    ("engine",),
    ("seed",),
    ("rollouts",),
    ("experiment",),
    ("*",),
    (*_ARM, "clip"),
    (*_ARM, "objective"),
)
_WHOLE = (
    "",
    "{}",
    "[]",
    "null",
    "1",
    '"x"',
    "NaN",
    "{",
    "[" * 5000 + "]" * 5000,
    '{"a":' * 5000 + "1" + "}" * 5000,
    "\ufeff{}",
    "\x00",
    '{"arms": {}}',
    '{"arms": []}',
    '{"arms": {"a": null}}',
    '{"arms": {"a": []}}',
    '{"arms": {"a": {}}}',
    '{"arms": {"[/x]": {}}}',
    '{"schema_version": 99}',
)
_COLUMNS = (
    "measured",
    "arm",
    "rollout",
    "step",
    "inner_step",
    "clip_low",
    "entropy",
    "entropy_before",
    "schema_version",
    "curvature",
    "seed",
    "mass_low",
    "clip_fraction_low",
    "weight",
    "case",
)
_METADATA = (
    "pandas",
    "entclip.experiment",
    "entclip.digest",
    "entclip.versions",
    "entclip.engine",
    "ARROW:schema",
    "entclip.dtype",
)
_VALUES = (
    "",
    "{}",
    "[]",
    "null",
    "x",
    "[1, 2]",
    '{"a": 1}',
    "[" * 5000,
    '{"columns": 1}',
    "x" * 100_000,
    '{"columns": [{"name": null}], "index_columns": ["x"]}',
    'name = "x"\n[grid]\nseed = [' + "1," * 50_000 + "]",
)
_TEMPLATES = ("plain", "plain", "contexts", "gridded", "reduced")


def _reader(kind: str, rng: random.Random, files: list[tuple[str, str, dict[str, Any]]]) -> Case:
    argv = pick(
        rng,
        (
            ("report", "run"),
            ("report", "run"),
            ("ledger", "run"),
            ("ledger", "run", "--json"),
            ("compare", "run", "run"),
            ("compare", "sound", "run"),
            ("compare", "run", "sound"),
            ("ledger", "run/ledger.parquet"),
            ("ledger", "sound", "run"),
            ("noise", "run/experiment.toml"),
            ("predict", "run/experiment.toml"),
            ("ledger", "run", "--out", "figures"),
            ("report", "run", "--out", "pages"),
        ),
    )
    sound = [("sound", "copy", {"of": "other"})] if "sound" in argv else []
    return Case(kind, argv, (*files, *sound))


def _start(rng: random.Random) -> list[tuple[str, str, dict[str, Any]]]:
    return [("run", "copy", {"of": pick(rng, _TEMPLATES)})]


def summary(rng: random.Random) -> Case:
    """summary.json: another value, a key less, another run's, a folder, nonsense."""
    files, path, choice = _start(rng), "run/summary.json", rng.randrange(8)
    if choice < 2:
        files.append((path, "text", {"value": pick(rng, _WHOLE)}))
    elif choice < 5:
        keys = pick(rng, _KEYS[1:])
        action = pick(rng, ("set", "set", "delete", "nest"))
        value = pick(rng, (any_value(rng), None, "x", [], {}, -1, 1e308, "nan", True))
        files.append((path, "json_edit", {"keys": list(keys), "value": value, "action": action}))
    elif choice == 5:
        files.append((path, "copy", {"of": pick(rng, ("other/summary.json", "gridded/summary.json", "reduced/summary.json"))}))
    else:
        operation, arguments = pick(
            rng,
            (
                ("remove", {}),
                ("folder", {}),
                ("cut", {"at": rng.random()}),
                ("append", {"value": "}"}),
                ("raw", {"hex": "fffe0000"}),
                ("flip", {"at": rng.random(), "bit": rng.randrange(7)}),
                ("repeat", {"value": " ", "times": 10_000_000, "after": "{}"}),
                ("sparse", {"size": 1 << 32}),
            ),
        )
        files.append((path, operation, arguments))
    return _reader("summary", rng, files)


def ledger(rng: random.Random) -> Case:
    """ledger.parquet and its neighbours: rows, columns, types and metadata that are not those of the run."""
    files, choice = _start(rng), rng.randrange(10)
    path = pick(rng, ("run/ledger.parquet",) * 4 + ("run/rollouts.parquet",))
    column = pick(rng, _COLUMNS[:6]) if "rollouts" not in path else pick(rng, ("arm", "rollout", "entropy"))
    if choice < 3:
        action = pick(rng, ("no rows", "no columns", "twice", "lose rows", "reverse", "column twice", "no metadata"))
        files.append((path, "parquet_edit", {"action": action, "column": column}))
    elif choice < 5:
        files.append((path, "parquet_edit", {"action": pick(rng, ("drop", "rename", "text", "null")), "column": column}))
    elif choice == 5:
        column = pick(rng, ("schema_version", "measured", "arm", "rollout"))
        column = column if "rollouts" not in path else "rollout"
        files.append(
            (path, "parquet_edit", {"action": "fill", "column": column, "value": pick(rng, (99, -1, 1e308, float("nan"), 2**62))})
        )
    elif choice < 8:
        files.append(
            (path, "parquet_edit", {"action": "metadata", "column": pick(rng, _METADATA[:5]), "value": pick(rng, _VALUES)})
        )
    elif choice == 8:
        name = path.removeprefix("run/")
        files.append((path, "copy", {"of": f"{pick(rng, ('other', 'gridded', 'reduced', 'contexts'))}/{name}"}))
    else:
        files.append((path, pick(rng, ("remove", "folder", "blocked")), {}))
    return _reader("ledger", rng, files)


def damage(rng: random.Random) -> Case:
    """Any file of a run with bytes flipped, cut or added."""
    files = _start(rng)
    path = "run/" + pick(rng, ("ledger.parquet", "ledger.parquet", "summary.json", "rollouts.parquet", "experiment.toml"))
    for _ in range(rng.choice((1, 1, 1, 4))):
        operation = pick(rng, ("flip", "flip", "flip", "flip", "cut", "append"))
        arguments: dict[str, Any] = (
            {"at": rng.random()} if operation == "cut" else {"value": "\x00x"} if operation == "append" else {}
        )
        if operation == "flip":
            # The head and the foot of a Parquet file decide most; its pages are compressed.
            arguments = {"at": pick(rng, (rng.random(), 0.999 - 0.3 * rng.random() ** 2)), "bit": rng.randrange(8)}
        files.append((path, operation, arguments))
        if operation == "cut":
            break
    return _reader("bytes", rng, files)
