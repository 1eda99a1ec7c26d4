"""Running the tests that reach a mutant, in a process of its own that ends at the first failure.

The mutant of a function's body takes the place of the code of that function in a process that was forked after pytest had
collected all tests: nothing is imported or collected again, and the tests that call the function, known from one run of all of
them under a profiler, start at once. What is run at import (defaults, fields of classes, constants) needs an import of its own:
those processes are forked before anything of the package is imported, and collect the files of tests that reach the file, one
after the other. Tests that ended earlier mutants of the same place go first: that changes no verdict, only how soon it is known.
"""

from __future__ import annotations

import bisect
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from tests.mutants.sources import ROOT, Mutant, settings

_STATUS = {0: "survived", 5: "no tests", -signal.SIGXCPU: "timeout", -signal.SIGKILL: "timeout"}
_SLOWER, _GRACE = 10, 20  # a mutant may take ten times the seconds of its tests, and twenty more


class Reach:
    """Which tests call which function, and how long each test takes.

    Attributes:
        seconds: by test.
        tests: by file and place, the tests that call it.
    """

    def __init__(self, seconds: dict[str, float], tests: dict[str, list[str]]) -> None:
        self.seconds, self.tests = seconds, tests

    @classmethod
    def read(cls, path: Path) -> Reach:
        return cls(**json.loads(path.read_text()))

    def of(self, mutant: Mutant, most: float) -> list[str]:
        """Return the tests that reach a mutant, fastest first, until they take `most` seconds; at least one."""
        if mutant.in_body:
            found = set(self.tests.get(mutant.place, ()))
        else:
            found = {t for place, tests in self.tests.items() if place.startswith(f"{mutant.file}:") for t in tests}
        fastest = sorted(found, key=lambda t: self.seconds[t])
        taken = list(itertools.accumulate(self.seconds[t] for t in fastest))
        return fastest[: max(1, bisect.bisect(taken, most))]


class Killers:
    """The tests that ended mutants, by place: forked processes tell them through a pipe."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.hear, self.say = os.pipe()
        os.set_blocking(self.hear, False)

    def tell(self, place: str, test: str) -> None:
        """Keep a test that failed at a mutant of a place; called in the forked process."""
        os.write(self.say, f"{json.dumps([place, test])}\n".encode())  # one line at once: shorter than what a pipe keeps whole

    def first(self, place: str, tests: Sequence[str]) -> list[str]:
        """Return tests with those that ended most mutants of the place in front, then those of the same file, then the others."""
        try:
            while text := os.read(self.hear, 1 << 16).decode():
                for line in text.splitlines():
                    at, test = json.loads(line)
                    for key in (at, at.partition(":")[0]):
                        self.counts.setdefault(key, Counter())[test] += 1
        except BlockingIOError:
            pass
        here, near = (self.counts.get(key, Counter()) for key in (place, place.partition(":")[0]))
        return sorted(tests, key=lambda test: (-here[test], -near[test]))


def forked(work: Callable[[], int]) -> int:
    """Run something in a forked process that writes nowhere; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        if "MUTANTS_DEBUG" not in os.environ:
            os.dup2(null, 1)
            os.dup2(null, 2)
        os._exit(work())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(99)


def in_turn(jobs: int, works: Iterator[tuple[str, Callable[[], int]]], done: Callable[[str, str], None]) -> None:
    """Run works in forked processes, `jobs` at a time, and hand each name with its status on."""
    running: dict[int, str] = {}

    def wait() -> None:
        child, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        done(running.pop(child), _STATUS.get(code, "killed" if code > 0 else f"signal {-code}"))

    for name, work in works:
        while len(running) >= jobs:
            wait()
        running[forked(work)] = name
    while running:
        wait()


def import_heavy() -> None:
    """Import once what every forked process would import for itself (but for hypothesis: pytest must import that)."""
    for heavy in ("pytest", "numpy", "scipy.stats", "scipy.integrate", "pandas", "pyarrow", "pydantic.dataclasses", "torch"):
        importlib.import_module(heavy)
    importlib.import_module("array_api_compat.torch")


def session(tests: Sequence[str], loop: Callable[[Any], None]) -> int:
    """Collect tests and hand pytest's session to `loop` in the place of running them."""
    import_heavy()
    import pytest

    class Loop:
        @pytest.hookimpl(tryfirst=True)  # type: ignore[misc, unused-ignore]
        def pytest_runtestloop(self, session: Any) -> bool:
            loop(session)
            return True

    return int(pytest.main([*_quiet(), *settings()["pytest"], *tests], plugins=[Loop()]))


def _quiet() -> list[str]:
    """pytest's options: that a test failed is all that counts, so nothing is written about why."""
    return ["-q", "--tb=short"] if "MUTANTS_DEBUG" in os.environ else ["-q", "--tb=no", "--assert=plain"]


def codes(files: Sequence[str]) -> dict[str, list[FunctionType]]:
    """Return the functions of files that have been imported, by file and place."""
    wanted = {str(ROOT / file): file for file in files}
    found: dict[str, list[FunctionType]] = {}
    gc.unfreeze()  # tests/conftest.py freezes what collection made, and what is frozen is not listed
    for thing in gc.get_objects():  # by type: isinstance asks lazy modules for attributes that they deprecate
        if type(thing) is FunctionType and thing.__code__.co_filename in wanted:
            found.setdefault(f"{wanted[thing.__code__.co_filename]}:{thing.__code__.co_qualname}", []).append(thing)
    return found


def measure(files: Sequence[str], tests: Sequence[str], out: Path) -> int:
    """Run all tests once under a profiler and write what each of them reaches; 0 if all pass."""

    def loop(session: Any) -> None:
        places = {id(f.__code__): place for place, fs in codes(files).items() for f in fs}
        assert places, "no function of the formula files was found among what the tests imported"
        reach, seconds = {place: set() for place in places.values()}, {}  # type: ignore[var-annotated]
        called: set[str] = set()

        def profiler(frame: Any, event: str, argument: object) -> None:
            if event == "call" and (place := places.get(id(frame.f_code))) is not None:
                called.add(place)

        for item, after in zip(session.items, [*session.items[1:], None], strict=True):
            called.clear()
            start = time.process_time()
            sys.setprofile(profiler)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            sys.setprofile(None)
            seconds[item.nodeid] = time.process_time() - start
            for place in called:
                reach[place].add(item.nodeid)
        out.write_text(json.dumps({"seconds": seconds, "tests": {p: sorted(t) for p, t in reach.items()}}))

    return session(tests, loop)


@dataclass(frozen=True)
class Plan:
    """How mutants are run: what is known of the tests, how many mutants at a time, and the seconds of tests for each."""

    reach: Reach
    jobs: int
    seconds: float


def run_bodies(mutants: list[Mutant], plan: Plan, tests: Sequence[str], done: Callable[[str, str], None]) -> int:
    """Run the mutants of function bodies from one session that has collected all tests."""

    def loop(session: Any) -> None:
        items = {item.nodeid: item for item in session.items}
        functions, killers = codes(sorted({m.file for m in mutants})), Killers()
        gc.freeze()  # what has been imported is shared with the forked processes until something writes to it

        def works() -> Iterator[tuple[str, Callable[[], int]]]:
            for mutant in mutants:
                chosen = [items[t] for t in killers.first(mutant.place, plan.reach.of(mutant, plan.seconds))]
                found = functions.get(mutant.place, [])
                if chosen and found:
                    yield mutant.name, lambda m=mutant, f=found, c=chosen: _run_swapped(session, m, f, c, plan.reach, killers)  # type: ignore[misc]
                else:
                    done(mutant.name, "no tests")

        in_turn(plan.jobs, works(), done)

    return session(tests, loop)


def _run_swapped(
    session: Any, mutant: Mutant, functions: list[FunctionType], items: list[Any], reach: Reach, killers: Killers
) -> int:
    _limit(sum(reach.seconds[item.nodeid] for item in items))
    swapped = _code_at(compile(mutant.source, str(ROOT / mutant.file), "exec", dont_inherit=True), mutant.where)
    for function in functions:
        function.__code__ = swapped
    for item, after in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            killers.tell(mutant.place, item.nodeid)
            return 1
    return 0


def _code_at(code: CodeType, where: str) -> CodeType:
    """Return the code of a function in the code of its module."""
    for part in where.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


def _limit(seconds: float) -> None:
    most = int(_SLOWER * seconds) + _GRACE
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))


class _Swapped(importlib.machinery.SourceFileLoader, importlib.abc.MetaPathFinder):
    """Gives one module another source; every other module is found as usual."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self.source = source

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def get_code(self, fullname: str) -> Any:
        return compile(self.source, self.path, "exec", dont_inherit=True)


def run_imported(mutants: list[Mutant], plan: Plan, done: Callable[[str, str], None]) -> None:
    """Run the mutants of what is run at import, each in a process that imports the package anew."""
    import_heavy()
    assert not any(name.partition(".")[0] == "entclip" for name in sys.modules), "a child must import its own entclip"

    killers = Killers()
    gc.freeze()

    def works() -> Iterator[tuple[str, Callable[[], int]]]:
        for mutant in mutants:
            if chosen := killers.first(mutant.place, plan.reach.of(mutant, plan.seconds)):
                yield mutant.name, lambda m=mutant, c=chosen: _run_anew(m, c, plan.reach, killers)  # type: ignore[misc]
            else:
                done(mutant.name, "no tests")

    in_turn(plan.jobs, works(), done)


def _run_anew(mutant: Mutant, chosen: list[str], reach: Reach, killers: Killers) -> int:
    import pytest

    class Chosen:
        """Keeps the tests that were chosen, in their order; their parameters may be spelt otherwise in a mutant."""

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            rank = {test.partition("[")[0]: k for k, test in reversed([*enumerate(chosen)])}
            placed = [(rank[name], item) for item in items if (name := item.nodeid.partition("[")[0]) in rank]
            items[:] = [item for _, item in sorted(placed, key=lambda pair: pair[0])]

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.failed:
                killers.tell(mutant.place, report.nodeid)

    _limit(sum(reach.seconds[test] for test in chosen))
    module = mutant.file.removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, _Swapped(module, str(ROOT / mutant.file), mutant.source))
    for file in dict.fromkeys(test.partition("::")[0] for test in chosen):
        code = int(pytest.main(["-x", *_quiet(), *settings()["pytest"], file], plugins=[Chosen()]))
        if code not in (0, 5):  # 5: the mutant's file has none of the chosen tests
            return code
    return 0
