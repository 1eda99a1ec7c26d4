"""Cases of what has parameters by name: noise laws, objectives, controllers; and of logs that a trainer wrote."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from typing import get_args

from entclip.controllers.catalogue import AnyController
from entclip.objectives.catalogue import PUBLISHED, parameters
from tests.robustness.fuzz.pools import BASE_FILE, FLOATS, INTEGERS, WORDS, argument, pick
from tests.robustness.sandbox import Case

_NOISE = (
    "flat:{}",
    "sqrt:{}",
    "inv_sqrt:{}",
    "kl:{}",
    "shares:{}:{}",
    "shares:{}",
    "flat:.05:t:{}",
    "flat:.05:mixture:{}:{}",
    "flat:{}:t:3",
    "{}",
    "{}:{}",
    "noise.csv",
    "run",
    "flat:run",
)
_CONTROLLERS = {cls.kind: tuple(f.name for f in fields(cls) if f.name != "kind") for cls in get_args(get_args(AnyController)[0])}
_DRIFT = ("drift", "--vocab=5", "--contexts=2", "--batch=8", "--minibatches=2", "--rollouts=1")
_METRICS = ("entropy", "kl", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "reward", "loss", "step")
_LOGGED = (0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), None, True, "", "nan", "0,5", [], {}, 10**400)


def published(rng: random.Random) -> Case:
    """One of them, with numbers out of range and words that mean nothing."""
    return rng.choice((_noise, _objective, _objective, _controller, _log, _log))(rng)


def _filled(rng: random.Random, text: str) -> str:
    while "{}" in text:
        text = text.replace("{}", argument(pick(rng, WORDS)) if rng.random() < 0.1 else pick(rng, FLOATS), 1)
    return text


def _noise(rng: random.Random) -> Case:
    rows = "\n".join(_filled(rng, "{},{},{}") for _ in range(rng.randrange(4)))
    table = ("noise.csv", "text", {"value": f"prob,rms,mean\n{rows}\n"})
    words = ["predict", "base.toml", f"--noise={_filled(rng, pick(rng, _NOISE))}"]
    if rng.random() < 0.2:
        words.append(f"--length={argument(pick(rng, INTEGERS))}")
    if rng.random() < 0.3:
        words.append("--json")
    return Case("published", tuple(words), (*BASE_FILE, table, ("run", "copy", {"of": "plain"})))


def _call(rng: random.Random, name: str, keys: tuple[str, ...]) -> str:
    """NAME(KEY=VALUE): of what is known, mostly."""
    chosen = [pick(rng, (*keys, "x"))] if keys and rng.random() < 0.9 else []
    given = ",".join(f"{key}={_filled(rng, '{}')}" for key in chosen)
    return pick(rng, (f"{name}({given})",) * 8 + (f"{name}(", f"{name}){given}", f"({given})", f"{name}({given})({given})"))


def _objective(rng: random.Random) -> Case:
    calls = ",".join(
        _call(rng, name, tuple(parameters(name))) for name in (pick(rng, PUBLISHED) for _ in range(rng.choice((1, 1, 2))))
    )
    if rng.random() < 0.3:
        return Case("published", ("compare", "base.toml", f"--objectives=clip,{calls}"), BASE_FILE)
    return Case("published", (*_DRIFT, f"--objective={calls}"), BASE_FILE)


def _controller(rng: random.Random) -> Case:
    name = pick(rng, tuple(_CONTROLLERS))
    return Case("published", (*_DRIFT, f"--controller={_call(rng, name, _CONTROLLERS[name])}"), BASE_FILE)


def _log(rng: random.Random) -> Case:
    """A log of steps whose metrics are numbers out of range, texts, lists or missing."""
    names = rng.sample(_METRICS, rng.randrange(1, len(_METRICS)))
    rows = [
        {"step": k} | {name: pick(rng, _LOGGED) if rng.random() < 0.2 else 0.01 * k + 0.1 for name in names}
        for k in range(rng.choice((0, 1, 2, 8, 40)))
    ]
    content = json.dumps({"log_history": rows})
    form = rng.randrange(4)
    if form == 0:
        content = "\n".join(json.dumps(row) for row in rows)
    elif form == 1:
        content = "\n".join(",".join(str(row.get(n, ""))[:300] for n in names) for row in ({n: n for n in names}, *rows))
    name = ("log.jsonl", "log.csv", "trainer_state.json", "trainer_state.json")[form]
    words = ["diagnose", name, *(flag for flag in ("--json", "--all") if rng.random() < 0.3)]
    if rng.random() < 0.3:
        words += ["--fail-on", pick(rng, ("info", "warn", "error", "x"))]
    return Case("published", tuple(words), ((name, "text", {"value": content}),))
