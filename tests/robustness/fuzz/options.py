"""Cases out of the words on the command line: options, overrides, paths, markup."""

from __future__ import annotations

import random
from typing import Any

from tests.robustness.fuzz.pools import (
    BASE_FILE,
    ENGINES,
    FLOAT_KEYS,
    FLOATS,
    INTEGER_KEYS,
    INTEGERS,
    MARKUP,
    SECTIONS,
    SEEDS,
    WORDS,
    argument,
    pick,
    sometimes_out,
    value,
)
from tests.robustness.sandbox import Case

_DRIFT = {
    "--vocab": INTEGERS,
    "--contexts": INTEGERS,
    "--eps-low": FLOATS,
    "--eps-high": FLOATS,
    "--group-size": INTEGERS,
    "--learning-rate": FLOATS,
    "--batch": INTEGERS,
    "--minibatches": INTEGERS,
    "--rollouts": INTEGERS,
    "--replicas": INTEGERS,
    "--seed": SEEDS,
    "--arm": WORDS,
    "--engine": (*ENGINES, *WORDS),
    "--device": ("cpu", "cuda", "cpu:9", "meta", *WORDS[:6]),
    "--dtype": ("float64", "float32", "float16", *WORDS[:6]),
    "--geometry": ("natural", "euclidean", "hyperbolic", *WORDS[:6]),
}
_SMALL = {"--vocab": "5", "--contexts": "2", "--batch": "8", "--minibatches": "2", "--rollouts": "1", "--arm": "both"}
_POLICIES = (
    "uniform",
    "zipf:{}",
    "dirichlet:{}",
    "peaked:{}",
    "zipf",
    "uniform:{}",
    "snapshot:{}",
    "{}.npy",
    "file:{}",
    "{}",
    ":{}",
    "zipf:{}:{}",
)
_REWARDS = ("bernoulli:{}", "gaussian:{}", "rademacher", "rademacher:{}", "table:{}", "{}", "gaussian")
_OTHERS = {
    "neutral": (("--eps-high", FLOATS), ("--target", FLOATS)),
    "noise": (("--per-decade", FLOATS),),
    "convert": (
        ("--eps-low", FLOATS),
        ("--eps-high", FLOATS),
        ("--cap", FLOATS),
        ("--to", ("trl", "verl", "entclip", *WORDS[:8])),
    ),
    "map": (
        ("--points", ("2", "-1", "0", "1", *INTEGERS[7:15])),
        ("--verify", ("-1", "0", *INTEGERS[7:12])),
        ("--geometry", WORDS),
    ),
}


def options(rng: random.Random) -> Case:
    """Numbers and words out of range in the options of every command."""
    if rng.random() < 0.35:
        return _other(rng)
    given = dict(_SMALL)
    for _ in range(rng.choice((1, 1, 2, 3))):
        option = pick(rng, tuple(_DRIFT))
        given[option] = argument(pick(rng, _DRIFT[option]))
    if rng.random() < 0.3:
        given["--policy"] = argument(pick(rng, _POLICIES).replace("{}", pick(rng, (*FLOATS, *WORDS))))
    if rng.random() < 0.3:
        given["--reward"] = argument(pick(rng, _REWARDS).replace("{}", pick(rng, (*FLOATS, *WORDS))))
    out, folder = sometimes_out(rng)
    flags = tuple(f for f in ("--check", "--json") if rng.random() < 0.3)
    joined = rng.random() < 0.7  # "--seed=-1"; a separate "-1" is an option to the parser
    words = tuple(w for k, v in given.items() for w in ((f"{k}={v}",) if joined else (k, v)))
    return Case("options", ("drift", *words, *flags, *out), out=folder)


def _other(rng: random.Random) -> Case:
    command = pick(rng, tuple(_OTHERS))
    option, values = pick(rng, _OTHERS[command])
    words = [command]
    if command in ("neutral", "noise"):
        words.append("wide.toml" if command == "noise" else "base.toml")
    if command == "map":
        words += [pick(rng, ("concentration", "batch", "widths", "volume"))]
        if option != "--points":
            words += ["--points=2"]
    words.append(f"{option}={argument(pick(rng, values))}")
    if command == "convert" and rng.random() < 0.7:
        words += ["--eps-low=.2", "--eps-high=.28"]
    if rng.random() < 0.3 and command != "convert":
        words.append("--json")
    return Case("options", tuple(words), BASE_FILE)


def overrides(rng: random.Random) -> Case:
    """--set: keys and values of every shape."""
    words = []
    for _ in range(rng.choice((1, 1, 2))):
        key = pick(rng, (*FLOAT_KEYS, *INTEGER_KEYS))
        shape = rng.randrange(12)
        if shape < 5:
            words.append(f"{key}={value(rng, key)}")
        elif shape == 5:
            words.append(
                f"{pick(rng, SECTIONS)}={pick(rng, ('1', '[]', '{}', '[[]]', '[{}]', 'nan', 'text', '{kind=1}', '[1,2]'))}"
            )
        elif shape == 6:
            depth = pick(rng, (50, 300, 2000, 20000))
            words.append(
                pick(rng, (f"{key}={'[' * depth}{']' * depth}", f"{'a.' * depth}b=1", f"grid={'{a=' * depth}1{'}' * depth}"))
            )
        elif shape == 7:
            words.append(argument(pick(rng, WORDS)) + "=" + argument(pick(rng, WORDS)))
        elif shape == 8:
            seeds = ",".join(pick(rng, ("0", "1", "-1", "1e3", "nan", "[]", "{}")) for _ in range(rng.randrange(4)))
            words.append(f"grid={{seed=[{seeds}]}}")
        elif shape == 9:
            words.append(f"arm.{argument(pick(rng, WORDS))[:200]}.low=0.1")
        elif shape == 10:
            words.append(f"weights=[{','.join(pick(rng, FLOATS[:18]) for _ in range(3))}]")
        else:
            words.append(key + pick(rng, (".=1", "..x=1", "=", "==1", "=1 2", "=1\n2", "= # x", ".0=1", "[0]=1")))
    argv = tuple(w for word in words for w in ("--set", word))
    command = pick(rng, ("run", "run", "check", "predict", "neutral", "noise"))
    out, folder = sometimes_out(rng) if command in ("run", "check") else ((), None)
    engine = ("--engine", pick(rng, ENGINES)) if command in ("run", "check") else ()
    return Case(
        "overrides", (command, "wide.toml" if command == "noise" else "base.toml", *argv, *engine, *out), BASE_FILE, out=folder
    )


def paths(rng: random.Random) -> Case:
    """Paths that lead nowhere, to devices, to folders, or are no paths, wherever a path is taken."""
    made = pick(
        rng,
        (
            ("x", "folder", {}),
            ("x", "fifo", {}),
            ("x", "link", {"target": "x"}),
            ("x", "link", {"target": "nowhere"}),
            ("x", "link", {"target": "/dev/zero"}),
            ("x", "sparse", {"size": 1 << 32}),
            ("x", "text", {"value": ""}),
            ("x", "raw", {"hex": "fffe00"}),
            ("x", "raw", {"hex": "00" * 64}),
            ("x", "mode", {}),
        ),
    )
    files = () if made[1] == "mode" else (made,)
    suffix = pick(rng, ("", "", ".toml", ".npy", ".npz", ".csv", ".parquet"))
    files = tuple((f"{p}{suffix}", o, {k: v if v != "x" else f"x{suffix}" for k, v in a.items()}) for p, o, a in files)
    inside = ("", ".", "a" * 300, "a/" * 2500, "a" * 5000, "x" + suffix + "/y", "\udcff.toml", "[/x]", "a\nb", "-", "~")
    path = pick(rng, (f"x{suffix}",) * 8 + inside + ("..", "/", "/dev/null", "/dev/zero", "/proc/self/mem", "/proc/\x1b[2J"))
    reads = (
        ("run", path),
        ("check", path),
        ("predict", path),
        ("neutral", path),
        ("noise", path),
        ("report", path, "--out", "pages"),
        ("ledger", path, "--out", "figures"),
        ("compare", path, path),
        ("drift", "--policy", path),
        ("drift", "--policy", f"snapshot:{path}"),
        ("noise", "--old", path, "--new", path),
        ("run", "base.toml", "--set", f'policy={{kind="file",path="{path}"}}'),
        ("convert", path),
        ("lint", path),
    )
    # What is written stays inside the case's folder: whoever runs the suite may be allowed to write anywhere.
    out = path if path in inside or path.startswith("x") else "x"
    writes = (
        ("run", "base.toml", "--out", out),
        ("drift", "--vocab", "5", "--contexts", "2", "--batch", "8", "--minibatches", "1", "--out", out),
        ("report", "run", "--out", out),
        ("ledger", "run", "--out", out),
        ("noise", "wide.toml", "--out", out),
        ("predict", "base.toml", "--out", out),
        ("list", "--csv", out),
    )
    argv = pick(rng, reads + writes)
    copies = (("run", "copy", {"of": "plain"}),) if "run" in argv[1:2] else ()
    return Case("paths", argv, (*BASE_FILE, *copies, *files))


def markup(rng: random.Random) -> Case:
    """What rich reads as markup, in everything a user names."""
    word = pick(rng, MARKUP)
    name = f"a{word}b".replace("/", rng.choice(("/", "")))
    argv, files, out = pick(
        rng,
        (
            (("run", "base.toml", "--out", name), (), name),
            (("run", f"{word}.toml"), (), None),
            (("report", word), (), None),
            (("run", "base.toml", "--set", f"grid.policy.exponent={word}"), (), None),
            (("run", "base.toml", "--set", f"name={word}"), (), None),
            (("run", "base.toml", "--set", f'grid={{"reward.kind"=["{word}"]}}'), (), None),
            (("drift", "--arm", word), (), None),
            (("run", "base.toml", "--set", f'grid={{"description"=["{word}","b"]}}'), (), None),
            (("drift", "--policy", word), (), None),
            (("noise", f"{name}.toml"), ((f"{name}.toml", "copy", {"of": "wide.toml"}),), None),
            (("report", name), ((name, "copy", {"of": "plain"}),), name),
            (("ledger", name), ((name, "copy", {"of": "plain"}),), name),
            (("compare", name, name), ((name, "copy", {"of": "plain"}),), name),
            (("predict", "base.toml", "--out", name), (), None),
            (("run", "base.toml", "--set", f'description="{word}"', "--out", "out"), (), "out"),
            (("compare", word, word), (), None),
            (("predict", "base.toml", "--set", f"description={word}"), (), None),
            (("noise", "--old", word, "--new", word), (), None),
        ),
    )
    return Case("markup", argv, (*BASE_FILE, *files), out=out)


_LANGUAGE = {
    "--learning-rate": FLOATS,
    "--rollouts": INTEGERS,
    "--replicas": INTEGERS,
    "--every": INTEGERS,
    "--seed": SEEDS,
    "--eps-low": FLOATS,
    "--eps-high": FLOATS,
    "--task": ("digits", "sums", "reasoning_gym:x", "reasoning_gym:", *WORDS[:10]),
    "--arm": WORDS,
    "--model": ("untrained", "nowhere", "folder", "x.gguf", *WORDS[:10]),
    "--reward": ("correct", "format", "bernoulli:nan", "gaussian:1e300", *WORDS[:6]),
    "--dtype": ("float32", "float64", "float16", "x"),
    "--device": ("cpu", "cuda", "cuda:7", "meta", ""),
    "--set": (
        "update.batch=1000000000",
        "update.batch=0",
        "rollout.temperature=1e-300",
        "rollout.temperature=1e300",
        "rollout.max_new_tokens=1000000000",
        "rollout.probes=10000000",
        "rollout.micro_batch=0",
        "rollout.staleness=99",
        "update.betas=[1,1]",
        "update.eps=1e-320",
        "update.eps=1e300",
        "policy.model=[/x]",
        "rollout.reward=x",
        "rollout.aggregation=x",
        "advantage.size=1048576",
        "update.weight_decay=1e308",
    ),
}


def language(rng: random.Random) -> Case:
    """The options of `entclip llm`, on the untrained tiny model."""
    given = {"--model": "untrained", "--rollouts": "1", "--replicas": "2", "--arm": "both"}
    for _ in range(rng.choice((1, 1, 2))):
        option = pick(rng, tuple(_LANGUAGE))
        given[option] = argument(pick(rng, _LANGUAGE[option]))
    words = tuple(f"{k}={v}" for k, v in given.items())
    files: tuple[tuple[str, str, dict[str, Any]], ...] = (("folder", "folder", {}), ("x.gguf", "text", {"value": "GGUF"}))
    out, folder = sometimes_out(rng, 0.3)
    return Case("language", ("llm", *words, "--set=update.minibatches=2", *out), files, out=folder, torch=True)
