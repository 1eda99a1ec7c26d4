"""Cases out of arrays: .npy of a policy or of log-probabilities, .npz of snapshots and hidden states."""

from __future__ import annotations

import random
from typing import Any

from tests.robustness.fuzz.pools import BASE_FILE, argument, pick, sometimes_out
from tests.robustness.sandbox import Case

_BAD = ("nan", "inf", "-inf", 1e308, -1e308, 5e-324)
_TYPES = (
    "float64",
    "float32",
    "float16",
    "longdouble",
    "int8",
    "int64",
    "uint64",
    "bool",
    "complex128",
    ">f8",
    "datetime64[s]",
    "U3",
)
_SHAPES: tuple[list[int], ...] = ([0], [1], [2], [6], [0, 6], [3, 0], [3, 1], [1, 6], [3, 6], [3, 6, 1], [1, 1, 1, 6], [])
_CLAIMS = ([10**8], [10**10], [10**12], [2**62], [10**6, 10**6], [2**40, 2**40], [3, 10**9], [10**9, 3])


def _array(rng: random.Random, path: str) -> tuple[tuple[str, str, dict[str, Any]], ...]:
    choice = rng.randrange(10)
    if choice < 2:
        values: list[Any] = [rng.choice((-3, -1.5, 0, 0.5, 2)) for _ in range(6)]
        values[rng.randrange(6)] = pick(rng, _BAD)
        return ((path, "npy", {"values": values}),)
    if choice == 2:
        kind = pick(rng, _TYPES)
        return ((path, "filled", {"shape": [2, 3], "value": 1, "dtype": kind}),)
    if choice == 3:
        return ((path, "filled", {"shape": pick(rng, _SHAPES), "value": pick(rng, (0.0, -1.0, 700.0))}),)
    if choice == 4:
        return ((path, "claims", {"shape": pick(rng, _CLAIMS), "dtype": pick(rng, ("<f8", "<f4", "|u1", "<c16", "|O", "|V8"))}),)
    if choice == 5:
        return ((path, "sparse_npy", {"shape": pick(rng, ([2**29], [3, 2**28], [2**20, 512], [2**33]))}),)
    if choice == 6:
        return ((path, "objects", {}),)
    if choice == 7:
        return ((path, "filled", {"shape": [3, 6]}), (path, pick(rng, ("cut",)), {"at": rng.random()}))
    if choice == 8:
        return ((path, "filled", {"shape": [3, 6]}), (path, "flip", {"at": rng.random() * 0.5, "bit": rng.randrange(8)}))
    return (
        ((path, pick(rng, ("text", "folder")), {"value": "x"}),)
        if rng.random() < 0.5
        else ((path, "npz", {"members": {"a": [0.0, 1.0]}}),)
    )


def npy(rng: random.Random) -> Case:
    """A .npy file of every wrong kind where one is read."""
    name = argument("x.npy")
    files = tuple((p, o, {} if o == "folder" else a) for p, o, a in _array(rng, name))
    out, folder = sometimes_out(rng, 0.2)
    size = ("--batch=8", "--minibatches=2", "--rollouts=1", "--arm=both")
    choice = rng.randrange(4)
    if choice == 0:
        return Case("npy", ("drift", "--policy", name, *size, *out), files, out=folder)
    if choice == 1:
        argv = (
            "run",
            "base.toml",
            "--set",
            f'policy={{kind="file",path="{name}"}}',
            "--engine",
            pick(rng, ("sampled", "reduced", "exact")),
            *out,
        )
        return Case("npy", argv, (*BASE_FILE, *files), out=folder)
    if choice == 2:
        return Case(
            "npy",
            (pick(rng, ("predict", "neutral")), "base.toml", "--set", f'policy={{kind="file",path="{name}"}}'),
            (*BASE_FILE, *files),
        )
    good = ("good.npy", "npy", {"values": [-1.0, -2.0, -0.5, -3.0, -1.0, -2.0]})
    return Case(
        "npy",
        ("noise", "--old", *pick(rng, ((name, "--new", name), (name, "--new", "good.npy"), ("good.npy", "--new", name)))),
        (*files, good),
    )


_HIDDEN = {
    "hidden": {"shape": [3, 2], "value": 0.5},
    "head": {"shape": [6, 2], "value": 0.25},
    "base": {"shape": [6], "value": 0.0},
}
_MEMBERS = (
    "top_ids.npy",
    "top_log_probs.npy",
    "tail_counts.npy",
    "tail_log_probs.npy",
    "dense_entropy.npy",
    "prompt.npy",
    "position.npy",
    "response_index.npy",
    "shape.npy",
    "about.npy",
)
_ACTIONS = ("lzma", "text", "empty", "missing", "twice", "claiming", "unknown", "encrypted")


def _hidden_members(rng: random.Random) -> dict[str, Any]:
    members = {k: dict(v) for k, v in _HIDDEN.items()}
    name = pick(rng, tuple(members))
    choice = rng.randrange(4)
    if choice == 0:
        del members[name]
    elif choice == 1:
        members[name]["shape"] = pick(rng, ([0], [0, 2], [6, 0], [6], [2, 6], [1, 1, 1], []))
    elif choice == 2:
        members[name]["value"] = pick(rng, (float("nan"), float("inf"), 1e308, 1e200))
    else:
        members[name]["dtype"] = pick(rng, ("int8", "bool", "complex128", "float16", "U3"))
    return members


def archives(rng: random.Random) -> Case:
    """Archives: damaged, bombs, strange methods, wrong members."""
    snapshot = rng.random() < 0.6
    if snapshot:
        files: list[tuple[str, str, dict[str, Any]]] = [("x.npz", "copy", {"of": "snapshot.npz"})]
        member = pick(rng, _MEMBERS)
    else:
        whole = rng.random() < 0.6
        files = [("x.npz", "npz", {"members": _HIDDEN if whole else _hidden_members(rng)})]
        member = pick(rng, ("hidden.npy", "head.npy", "base.npy"))
    if snapshot or rng.random() < 0.6:
        choice = rng.randrange(10)
        if choice < 4:
            files += [("x.npz", "flip", {"at": rng.random() ** 3, "bit": rng.randrange(8)}) for _ in range(rng.choice((1, 1, 5)))]
        elif choice == 4:
            files.append(("x.npz", "cut", {"at": rng.random()}))
        elif choice == 5 and rng.random() < 0.3:
            files.append(("x.npz", "zip_member", {"member": member, "action": "bomb"}))
        else:
            files.append(("x.npz", "zip_member", {"member": member, "action": pick(rng, _ACTIONS)}))
    if snapshot:
        size = ("--contexts=4", "--batch=4", "--minibatches=1", "--rollouts=1", "--arm=both")
        return Case("archives", ("drift", "--policy", "snapshot:x.npz", *size), tuple(files))
    policy = 'policy={kind="hidden",path="x.npz"}'
    argv = ("run", "base.toml", "--engine", "head", "--set", policy, "--set", 'update.geometry="euclidean"')
    return Case("archives", argv, (*BASE_FILE, *files), torch=True)
