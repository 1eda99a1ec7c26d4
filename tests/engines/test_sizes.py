"""Runs that cannot end are refused with their numbers before anything is made; what is possible is not."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from entclip.engines.registry import ENGINES, usual_engine
from entclip.engines.tabular.exact import _branches
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.load import experiment_names, load
from entclip.runs.foresight import foresee
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from entclip.support.foresight import Size, duration, refuse_oversize

GIB = 2**30
FACTOR = 5  # that an estimate may be off, either way


def small(engine: str = "sampled", **changes: Any) -> dict[str, Any]:
    policy = {
        "sampled": {"kind": "zipf", "vocab": 64, "contexts": 4},
        "head": {"kind": "hidden"},
        "llm": {"kind": "language_model"},
    }
    data = {
        "policy": policy.get(engine, policy["sampled"]),
        "update": {"batch": 64, "minibatches": 4, "rollouts": 2, "geometry": "euclidean"},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            data[section] = {**data.get(section, {}), name: value}  # type: ignore[dict-item]
        else:
            data[section] = value
    return data


@pytest.fixture(autouse=True)
def _usual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("entclip.runs.foresight", "entclip.engines.facts", "entclip.engines.free_memory", "entclip.experiments.start"):
        monkeypatch.setattr(f"{place}.available_bytes", lambda: 16 * GIB)


AUTOREGRESSIVE = {"kind": "autoregressive", "vocab": 16, "length": 4, "contexts": 5888}  # 25.7 million rows
GROUPS = {"kind": "group", "size": 8}


@pytest.mark.parametrize(
    ("engine", "changes", "message"),
    [
        ("sampled", {"policy": AUTOREGRESSIVE}, r"for the policies of 5,888 contexts x 69,904 actions, but 16\.0 GiB"),
        ("sampled", {"replicas": 10**8}, r"3 tables of 400,000,000 units x 64 actions"),
        ("sampled", {"update__batch": 10**9, "advantage": GROUPS}, r"4 units x 1,000,000,000 samples of a minibatch"),
        ("sampled", {"update__minibatches": 10**12}, r"2,000,000,000,000 rows of the ledger"),
        ("sampled", {"update__rollouts": 10**7}, r"40,000,000 rows of the ledger"),
        ("sampled", {"policy__contexts": 10**6, "ledger": {"detail": "context"}}, r"8,000,000 rows of the ledger"),
        ("tokens", {"policy__vocab": 10**7, "update__rollouts": 10**5}, r"about 200 days \(400,000 updates of 4 units x 10"),
        ("reduced", {"replicas": 10**8}, r"400,000,000 units x up to 64 actions followed one by one"),
        ("reduced", {"update__batch": 10**9}, r"4 units x 1,000,000,000 samples of a minibatch"),
        ("tokens", {"policy__contexts": 10**6, "policy__vocab": 4096}, r"2 tables of 1,000,000 x 4,096 float64"),
        ("tokens", {"update__batch": 10**9}, r"4 units x 1,000,000,000 samples"),
        ("head", {"update__batch": 10**9}, r"1 replicas x 32 contexts x 1,000,000,000 samples"),
        ("head", {"replicas": 10**6}, r"3,000,001 heads of 512 x 16 float64"),
        ("llm", {"replicas": 10**5}, r"100,000 replicas x 1 copies of 140,000 weights"),
        ("llm", {"rollout": {"probes": 10**7}}, r"1 replicas x 60,000,000 probe contexts x 64 tokens"),
        ("llm", {"update__batch": 10**7}, r"10,000,000 responses x 6 tokens x 64"),
    ],
)
def test_runs_without_an_end_are_refused_at_once(engine: str, changes: dict[str, Any], message: str) -> None:
    spec = parse_experiment(small(engine, **changes))
    tracemalloc.start()
    with pytest.raises(SpecError, match=message) as caught:
        run(spec, engine, dtype=ENGINES[engine].dtypes[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26
    assert "use fewer" in str(caught.value)


@pytest.mark.parametrize("name", experiment_names())
def test_what_ships_is_possible(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its own engine, in 4 GiB and within an hour."""
    spec = load(name)
    kinds = {case.policy.kind for _, case in spec.cases()}
    engine = "reduced" if name in ("headline_152k", "headline_llm", "vocab_scale") else usual_engine(kinds.pop()).name
    size = foresee(spec, engine, dtype=ENGINES[engine].dtypes[0])
    assert size.memory < 4 * GIB
    assert size.seconds < 3600


@pytest.mark.parametrize(
    ("engine", "changes"),
    [
        ("sampled", {"policy__contexts": 4000, "policy__vocab": 512}),
        ("sampled", {"update__batch": 200_000, "policy__contexts": 100, "advantage": GROUPS}),
        ("sampled", {"policy": {"kind": "autoregressive", "vocab": 8, "length": 4, "contexts": 400}}),
        ("sampled", {"update__minibatch": "shuffled", "update__batch": 10_000, "policy__contexts": 100}),
        ("reduced", {"policy__contexts": 2000, "policy__vocab": 20_000, "update__batch": 16}),
        ("reduced", {"policy": {"kind": "zipf", "vocab": 10**6, "contexts": 60, "exponent": 0.5}, "update__batch": 2000}),
    ],
)
def test_estimates_are_of_the_size_of_what_happens(engine: str, changes: dict[str, Any]) -> None:
    spec = parse_experiment(small(engine, **{"update__minibatches": 1, "update__rollouts": 1, **changes}))
    tracemalloc.start()
    run(spec, engine)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 10 * 2**20
    assert peak / FACTOR < foresee(spec, engine).memory < FACTOR * peak


def exact(vocab: int, contexts: int, batch: int, minibatches: int = 1, **changes: Any) -> dict[str, Any]:
    policy = {"kind": "zipf", "vocab": vocab, "contexts": contexts}
    return {"policy": policy, "update__batch": batch, "update__minibatches": minibatches, **changes}


VALUES = {"kind": "table", "values": [0, 1, 0.5, 0.25]}
PREVIOUS = {"arm": [{"name": "a", "objective": {"kind": "kl_cov", "source": "previous"}}]}


@pytest.mark.parametrize(
    "changes",
    [
        exact(6, 1, 5),  # the list of outcomes is the largest
        exact(5, 200, 2),
        exact(4, 2, 3, 3, reward=VALUES),  # branches of branches
        exact(4, 60, 3, reward=VALUES, advantage={"kind": "group", "size": 3, "scale": "std"}),
        exact(4, 6, 4, advantage={"kind": "group", "size": 4}),
        exact(2, 100, 2, policy={"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 100}),
        exact(3, 2, 2, **PREVIOUS),  # contexts branch together
    ],
)
def test_the_exact_engine_holds_no_more_than_is_foreseen(changes: dict[str, Any]) -> None:
    """Where no branches meet the bound is tight, too."""
    spec = parse_experiment(small("exact", **{"update__rollouts": 1, **changes}))
    run(spec, "exact")  # what the first run loads stays
    tracemalloc.start()
    run(spec, "exact")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    foreseen = foresee(spec, "exact").memory
    assert peak < foreseen < 2 * peak


def test_cases_arms_and_jobs_add_up() -> None:
    one = foresee(parse_experiment(small()), "sampled")
    two = foresee(parse_experiment(small(arm=[{"name": "a", "low": 0.1}, {"name": "b", "low": 0.2}])), "sampled")
    many = foresee(parse_experiment(small(grid={"seed": [1, 2, 3]})), "sampled")
    assert two.seconds == pytest.approx(2 * one.seconds)
    assert two.memory == pytest.approx(2 * one.memory)  # two arms at a time, twice as many rows
    assert foresee(parse_experiment(small(arm=[{"name": "a"}, {"name": "b"}])), "sampled", jobs=1).memory < two.memory
    assert many.seconds == pytest.approx(3 * one.seconds)
    assert many.work == "3 cases, 24 updates in all"


def test_an_engine_says_itself_what_it_does_not_run() -> None:
    assert foresee(parse_experiment(small("llm")), "sampled").seconds == 0
    with pytest.raises(SpecError, match="is for the llm engine"):
        run(parse_experiment(small("llm")), "sampled")


def test_the_exact_engine_counts_outcomes_before_it_lists_them() -> None:
    spec = parse_experiment(small("exact", update__batch=10_000, update__minibatches=1, update__rollouts=1))
    with pytest.raises(SpecError, match=r"would enumerate \d\.\de\+\d+ outcomes of one minibatch, over its limit of 1,000,000"):
        run(spec, "exact")


def test_the_exact_engine_is_sized_without_going_through_its_updates() -> None:
    spec = parse_experiment(small("exact", update__minibatches=10**6, update__rollouts=10**12))
    with pytest.raises(SpecError, match="rows of the ledger, but"):
        run(spec, "exact")


def test_the_exact_engine_counts_branches_before_it_follows_them() -> None:
    with pytest.raises(SpecError, match="would follow 1,000,000,000,000,000 branches, over its limit of 1,000,000"):
        _branches(np.ones((1, 10**6)), np.broadcast_to(0, 10**9), 1)


def test_a_month_is_the_limit() -> None:
    size = Size({"a table": 10.0, "another": 20.0}, 29 * 86_400, "7 updates")
    refuse_oversize(size, 30, "it", "use less")
    with pytest.raises(
        SpecError, match=r"^it would take about 30 bytes of memory, most of it for another, but 29 bytes are free"
    ):
        refuse_oversize(size, 29, "it", "use less")
    with pytest.raises(SpecError, match=r"^it would take about 70 days \(7 updates\), over the limit"):
        refuse_oversize(Size({"a": 0}, 69 * 86_400, "7 updates"), 30, "it", "use less")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "1 second"),
        (58, "1 minute"),
        (90, "2 minutes"),
        (3500, "1 hour"),
        (7000, "2 hours"),
        (86_000, "1 day"),
        (40 * 86_400, "40 days"),
        (4e7, "1 year"),
        (1e20, "3e+12 years"),
    ],
)
def test_times_as_a_reader_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
