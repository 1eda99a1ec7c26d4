"""Cases out of TOML files: numbers, sizes, broken text, wrong structure."""

from __future__ import annotations

import random
from typing import Any

import tomli_w

from tests.robustness.fuzz.pools import ENGINES, SECTIONS, WORDS, any_value, argument, pick, sometimes_out
from tests.robustness.sandbox import Case
from tests.robustness.templates import BASE

_READERS = ("run", "run", "run", "check", "predict", "neutral", "noise")


def _experiment(kind: str, rng: random.Random, text: str, out_share: float = 0.3) -> Case:
    command = pick(rng, _READERS)
    engine = ("--engine", pick(rng, ("sampled", "sampled", *ENGINES))) if command in ("run", "check") else ()
    out, folder = sometimes_out(rng, out_share) if command in ("run", "check") else ((), None)
    as_json = ("--json",) if rng.random() < 0.3 else ()
    return Case(kind, (command, "x.toml", *engine, *out, *as_json), (("x.toml", "text", {"value": text}),), out=folder)


# Templates by section: {s} is the one strange number of a case, {c} stands for calm ones.
_POLICIES = (
    'kind = "uniform"\nvocab = 6',
    'kind = "zipf"\nvocab = 6\ncontexts = 2\nexponent = {s}',
    'kind = "peaked"\nvocab = 6\nlogit = {s}',
    'kind = "dirichlet"\nvocab = 6\ncontexts = 2\nalpha = {s}\nfloor = 0.0',
    'kind = "dirichlet"\nvocab = 6\ncontexts = 2\nfloor = {s}',
    'kind = "normal_logits"\nvocab = 6\ncontexts = 2\nsd = {s}',
    'kind = "autoregressive"\nvocab = 3\nlength = 2\ncontexts = 2\nalpha = {s}',
    'kind = "zipf"\nvocab = 2\ncontexts = 2',
)
_REWARDS = (
    'kind = "bernoulli"\np = {s}',
    'kind = "gaussian"\nmean = {s}',
    'kind = "gaussian"\nstd = {s}',
    'kind = "rademacher"',
    'kind = "table"\nvalues = [{s}, 0, 1, 0, 1, 0]',
    'kind = "table"\nvalues = [{s}, {s}, 1, 0, 1, 0]',
)
_ADVANTAGES = (
    'kind = "independent"',
    'kind = "group"\nsize = 4',
    'kind = "group"\nsize = 4\nscale = "std"\nddof = 0\neps = {s}',
    'kind = "group"\nsize = 2\nscale = "std"',
)
_ARMS = (
    "low = {s}\nhigh = 0.2",
    "low = 0.2\nhigh = {s}",
    "low = 0.0\nhigh = 0.0",
    'objective = {{kind = "dual_clip", cap = {s}}}',
    'objective = {{kind = "cispo", low = {s}, high = {s}}}',
    'objective = {{kind = "sapo", tau_pos = {s}, tau_neg = {s}}}',
    'objective = {{kind = "ce_gppo", low = 0.2, high = 0.2, beta_low = {s}, beta_high = {s}}}',
    'objective = {{kind = "dppo_tv", delta = {s}}}',
    'objective = "none"',
)
_EXTRAS = (
    '[perturbation]\nlaw = "flat"\nrms = {s}',
    '[perturbation]\nlaw = "array"\nvalues = [{s}, 0, 0, 0, 0, 0]',
    '[perturbation]\nlaw = "inv_sqrt"\nrms = {s}',
)
_UPDATES = (
    "learning_rate = {s}",
    'learning_rate = {s}\ngeometry = "euclidean"',
    'learning_rate = 0.1\ngeometry = "euclidean"',
    'learning_rate = 0.1\ngeometry = "euclidean"\noptimizer = "adamw"\neps = {s}',
    "learning_rate = 0.1",
    'learning_rate = 0.1\ngeometry = "euclidean"\noptimizer = "adamw"\nweight_decay = {s}',
    'learning_rate = {s}\ngeometry = "euclidean"\noptimizer = "adam"',
)
_STRANGE = (
    "5e-324",
    "1e-320",
    "1e-300",
    "1e-150",
    "1e-30",
    "1e-9",
    "0.999999999999",
    "1",
    "2",
    "30",
    "700",
    "1000",
    "1e8",
    "1e30",
    "1e154",
    "1e200",
    "1e300",
    "1.7976931348623157e308",
    "0",
    "-0.0",
    "-1",
    "-1e308",
    "nan",
    "inf",
    "-inf",
)
_CALM = "0.5"


def numbers(rng: random.Random) -> Case:
    """One number at the edge of what its key allows, in calm surroundings, on every engine."""
    strange = pick(rng, _STRANGE[:18]) if rng.random() < 0.8 else pick(rng, _STRANGE)
    sections = {"policy": _POLICIES, "reward": _REWARDS, "advantage": _ADVANTAGES, "update": _UPDATES, "arm": _ARMS}
    where = pick(rng, (*sections, "perturbation", "weights"))
    text = {}
    for name, templates in sections.items():
        fit = templates if name != where else [t for t in templates if "{s}" in t]
        text[name] = pick(rng, fit).format(s=strange if name == where else _CALM)
    text["arm"] = text["arm"].replace("cap = 0.5", "cap = 3.0")
    if "length" in text["policy"] or "vocab = 2" in text["policy"]:
        text["reward"] = 'kind = "rademacher"'
    top = f'name = "x"\nreplicas = {pick(rng, ("1", "2", "3"))}\n'
    if where == "weights":
        text["policy"] = _POLICIES[1].format(s="1")
        top += f"weights = [{strange}, {pick(rng, (strange, '1'))}]\n"
    parts = [
        top,
        "[policy]",
        text["policy"],
        "[reward]",
        text["reward"],
        "[advantage]",
        text["advantage"],
        "[update]",
        text["update"],
    ]
    parts += [
        f"batch = {pick(rng, ('8', '4', '2' if 'size = 4' not in text['advantage'] else '8'))}\nminibatches = 3\nrollouts = 1"
    ]
    if where == "perturbation":
        parts.append(pick(rng, _EXTRAS).format(s=strange))
    parts += ["[[arm]]", 'name = "a"', text["arm"]]
    if rng.random() < 0.2:
        parts += [
            "[[arm]]",
            'name = "b"\nobjective = "none"',
            f'control = {{kind = "{pick(rng, ("drop", "match_kl"))}", like = "a"}}',
        ]
    return _experiment("numbers", rng, "\n".join(parts))


_HUGE = ("1000000000", "1000000000000", "1000000000000000000", "9223372036854775807")


def sizes(rng: random.Random) -> Case:
    """Sizes that no machine can hold: foreseen and refused, before any work."""
    huge = pick(rng, _HUGE)
    policy = 'kind = "zipf"\nvocab = 6\ncontexts = 3'
    update = {"batch": "8", "minibatches": "2", "rollouts": "1", "epochs": "1"}
    top, extra = {"replicas": "2"}, ""
    choice = rng.randrange(9)
    if choice == 0:
        update[pick(rng, ("batch", "minibatches"))] = huge
    elif choice == 1:
        top["replicas"] = huge
    elif choice == 2:
        policy = f'kind = "{pick(rng, ("zipf", "uniform", "dirichlet", "normal_logits"))}"\nvocab = 6\ncontexts = {huge}'
    elif choice == 3:
        policy = f'kind = "{pick(rng, ("dirichlet", "normal_logits"))}"\ncontexts = 4\nvocab = {huge}'
    elif choice == 4:
        policy = f'kind = "hidden"\nvocab = {pick(rng, ("6", huge))}\ncontexts = {pick(rng, ("3", huge))}\ndim = {huge}'
    elif choice == 5:
        extra = f'[advantage]\nkind = "group"\nsize = {pick(rng, ("1048576", *_HUGE))}\nscale = "std"\n'
        update["batch"] = huge
    elif choice == 6:
        values = ", ".join(map(str, range(rng.choice((100, 1000)))))
        extra = (
            "[grid]\n"
            + "\n".join(
                f'"{k}" = [{values}]' for k in ("seed", "replicas", "update.batch", "policy.vocab")[: rng.choice((2, 3, 4))]
            )
            + "\n"
        )
        if rng.random() < 0.5:
            extra = extra.replace("[grid]\n", '[grid]\n"update.rollouts" = [1, 2, 3]\n')
    elif choice == 7:
        vocab, length, contexts = (pick(rng, (*few, huge)) for few in (("2", "4", "256"), ("2", "8", "40"), ("1000",)))
        policy = f'kind = "autoregressive"\nvocab = {vocab}\nlength = {length}\ncontexts = {contexts}'
    else:
        update |= {"rollouts": huge, "epochs": pick(rng, ("1", huge))}
    head = "\n".join(f"{k} = {v}" for k, v in top.items())
    steps = "\n".join(f"{k} = {v}" for k, v in update.items())
    geometry = pick(rng, ("natural", "euclidean"))
    text = f'name = "x"\n{head}\n[policy]\n{policy}\n{extra}[update]\ngeometry = "{geometry}"\n{steps}\n[[arm]]\nname = "a"\n'
    case = _experiment("sizes", rng, text, 0.2)
    if "hidden" in policy and rng.random() < 0.7:
        return Case("sizes", ("run", "x.toml", "--engine", "head"), case.files, torch=True)
    return case


def text(rng: random.Random) -> Case:
    """TOML that is broken, deep, long, or in another encoding."""
    depth = pick(rng, (20, 200, 1000, 5000, 50000))
    key, word = pick(rng, SECTIONS), argument(pick(rng, WORDS)).replace("\n", " ")
    body = pick(
        rng,
        (
            BASE[: rng.randrange(len(BASE))],
            BASE + BASE,
            "",
            "\ufeff" + BASE,
            BASE.replace("\n", "\r\n"),
            BASE.replace("\n", "\r"),
            BASE + "\x00",
            BASE + "\udcff",
            f"{key} = {'[' * depth}{']' * depth}\n",
            f"{key} = {'{a = ' * depth}1{'}' * depth}\n",
            f"{'a.' * depth}b = 1\n",
            f"[{'a.' * depth}b]\n",
            f"seed = {'9' * depth}\n",
            f"seed = 0x{'f' * depth}\n",
            f'name = "{"x" * depth}"\n',
            f"{'k' * depth} = 1\n",
            "\n".join(f"k{i} = 1" for i in range(depth)),
            "\n".join(f'[[arm]]\nname = "a{i}"' for i in range(min(depth, 1000))),
            f"# {'x' * depth}\n" + BASE,
            f'"{word}" = 1\n' + BASE,
            f"{word} = 1\n" + BASE,
            f"[{word}]\n" + BASE,
            BASE + f"\n{word}\n",
            "seed = 1\nseed = 2\n",
            "[policy]\n[policy]\n",
            "seed = 1979-05-27T07:32:00Z\n",
            "name = '''x\ny'''\n",
            BASE.replace("both", "b" * pick(rng, (100, 240, 300, 5000))),
            BASE.replace('"base"', f'"{"n" * depth}"'),
            "replicas = 1e400\n" + BASE.replace("replicas = 2\n", ""),
            "replicas = -0\n" + BASE.replace("replicas = 2\n", ""),
        ),
    )
    if rng.random() < 0.3 and body:
        at = rng.randrange(len(body))
        body = (
            body[:at]
            + pick(rng, ("\x00", '"', "[", "]", "=", "\n", "\ud7ff", "#", "1", "\t", "'''"))
            + body[at + rng.randrange(3) :]
        )
    return _experiment("toml", rng, body)


_ACCEPTED: dict[str, tuple[Any, ...]] = {
    "seed": (0, 1, 2**32, 2**63 - 1),
    "replicas": (1, 2, 3, 50),
    "antithetic": (True, False),
    "weights": ([1.0, 2.0, 3.0], [1e-300, 1.0, 1e300]),
    "policy": (
        {"kind": "uniform"},
        {"kind": "uniform", "vocab": 2},
        {"kind": "snapshot", "contexts": 1},
        {"kind": "file", "path": "x.toml"},
        {"kind": "hidden", "vocab": 4, "contexts": 2, "dim": 1},
        {"kind": "language_model"},
        {"kind": "autoregressive", "vocab": 2, "length": 1},
        {"kind": "dirichlet", "vocab": 6, "contexts": 1, "alpha": 0.01, "floor": 0.0},
        {"kind": "peaked", "vocab": 6, "logit": 800.0},
    ),
    "reward": ({"kind": "bernoulli", "p": 1e-9}, {"kind": "gaussian"}, {"kind": "table", "values": [0, 0, 0, 0, 0, 1e-300]}),
    "advantage": (
        {"kind": "group", "size": 2},
        {"kind": "group", "size": 8, "scale": "std"},
        {"kind": "group", "size": 8, "scale": "std", "eps": 1e300},
    ),
    "update": (
        {"batch": 1, "minibatches": 1, "rollouts": 1},
        {"batch": 8, "minibatches": 2, "rollouts": 1, "epochs": 3},
        {"batch": 3, "minibatches": 8, "rollouts": 1, "minibatch": "shuffled"},
        {"batch": 8, "minibatches": 40, "rollouts": 2},
    ),
    "ledger": ({"detail": "context"}, {"every": 3}, {"momentum": "cause"}),
    "claims": (["T5"], ["T99"], []),
    "description": ("", "x" * 10_000, "[/x]"),
    "perturbation": ({"law": "flat", "rms": 0.5}, {"law": "array", "values": [0.0] * 6}, {"law": "array", "values": [0.0] * 3}),
    "rollout": ({}, {"task": "x"}),
    "name": ("x", "x" * 300, "..", "-x"),
    "arm": (
        [{"name": "a"}],
        [{"name": "a"}, {"name": "a"}],
        [],
        [{"name": "b", "control": {"kind": "drop", "like": "b"}}],
        [{"name": ".."}],
        [{"name": "a", "low": 0.2}, {"name": "b", "objective": "none", "control": {"kind": "match_kl", "like": "a"}}],
        [{"name": "x" * 250}],
    ),
    "grid": (
        {"seed": [1, 2]},
        {"seed": []},
        {},
        {"policy": [{"kind": "uniform"}, {"kind": "zipf"}]},
        {"seed": [1, 1]},
        {"arm.both.low": [0.0, 1.0]},
        {"arm.x.low": [0.1]},
        {"update.batch": [1, "x"]},
        {"description": ["a", "[/x]"]},
        {"grid": [{"seed": [1]}]},
        {"weights": [[1.0, 1.0, 1.0]]},
        {"description": ["a" * 300, "b" * 300]},
        {"replicas": [1, 2], "seed": [1, 2]},
        {"arm": [[{"name": "z"}]]},
    ),
}


def _base() -> dict[str, Any]:
    return {
        "name": "x",
        "seed": 1,
        "replicas": 2,
        "policy": {"kind": "zipf", "vocab": 6, "contexts": 3},
        "update": {"batch": 8, "minibatches": 2, "rollouts": 1},
        "reward": {"kind": "rademacher"},
        "advantage": {"kind": "independent"},
        "arm": [{"name": "none", "objective": "none"}, {"name": "both", "low": 0.2, "high": 0.2}],
    }


def structure(rng: random.Random) -> Case:
    """Valid TOML of the wrong structure: other types, other kinds, missing and unknown keys, grids of every shape."""
    data = _base()
    if rng.random() < 0.5:
        for key in rng.sample(sorted(_ACCEPTED), rng.choice((1, 2, 2, 3))):
            data[key] = pick(rng, _ACCEPTED[key])
        return _experiment("structure", rng, tomli_w.dumps(data), 0.5)
    for _ in range(rng.choice((1, 1, 2))):
        choice, section = rng.randrange(6), pick(rng, SECTIONS)
        if choice == 0:
            data[section] = any_value(rng)
        elif choice == 1 and isinstance(data.get(section), dict):
            data[section][pick(rng, (*data[section], "x", "kind", ""))] = any_value(rng)
        elif choice == 2 and isinstance(data.get(section), dict):
            data[section].pop(pick(rng, tuple(data[section]) or ("x",)), None)
        elif choice == 3 and data.get("arm") and isinstance(data["arm"], list):
            arm = data["arm"][-1]
            if isinstance(arm, dict):
                arm[pick(rng, ("name", "objective", "low", "high", "control", "x"))] = any_value(rng)
        elif choice == 4:
            data["grid"] = {
                argument(
                    pick(rng, (*SECTIONS, "update.batch", "policy.vocab", "arm.both.low", "x", "a.b.c", "grid", *WORDS[:6]))
                ): any_value(rng)
            }
        else:
            data["grid"] = {
                pick(rng, ("seed", "update.learning_rate", "arm.both.high", "policy", "grid.seed")): [
                    any_value(rng) for _ in range(rng.randrange(4))
                ]
            }
    return _experiment("structure", rng, tomli_w.dumps(data), 0.4)
