"""python -m tests.mutants: mutation testing of the formula files, and an account of every mutant that no test sees.

mutmut changes one operator, number, argument or name at a time and runs the tests that reach the changed function, fastest
first; [tool.mutmut] in pyproject.toml names the files and the tests. It does not touch decorated functions (properties), class
attributes (defaults) and module constants, so those get the same changes here, each in a forked process of its own.

Not counted, killed or not: the text of error messages (what is inside the parentheses of `raise X(...)`). Never mutated:
annotations, type aliases, docstrings, decorators and `__all__`.

A survivor must be listed in mutants_equivalent.toml with the reason why no test can or should see it. The command fails if one
is not, or if a formula file kills fewer than 95 % of its mutants, explained survivors counted as survivors. An interrupted run
goes on where it stopped; a change of entclip or of the tests starts afresh (`--survivors`: runs only what is not killed yet).
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "mutants"  # mutmut's own name
EXPLAINED = Path(__file__).with_name("mutants_equivalent.toml")
SCORE = 0.95
TIMEOUT = 300  # seconds for one mutant of a constant; the tests that may kill it take about 20
# Names for types: what they stand for is checked by mypy and by the tests of experiment files, not by arithmetic.
ALIASES = {"__all__", "Array", "Geometry", "Advantage"}
DETECTED = {"killed", "timeout", "segfault"}


@dataclass(frozen=True)
class Mutant:
    """One change: the lines it removes and adds, without indentation."""

    file: str
    where: str  # function, Class.method, Class or "module"
    was: str
    now: str
    name: str  # mutmut's name, or a digest for those made here

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.where, self.was, self.now


def settings() -> dict[str, Any]:
    config: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    return config


def formula_files() -> list[str]:
    chosen = {str(p.relative_to(ROOT)) for pattern in settings()["only_mutate"] for p in ROOT.glob(pattern)}
    return sorted(chosen - set(settings()["do_not_mutate"]))


def group_of(file: str) -> str:
    """policies, rewards, objectives or drift."""
    return Path(file).parts[1]


def tests_of(file: str) -> list[str]:
    """The tests of a constant: those of its folder, and of the theory; a parameter of an objective is no part of a claim."""
    folders = (group_of(file),) if group_of(file) == "objectives" else (group_of(file), "theory")
    return [t for f in folders for t in settings()["pytest_add_cli_args_test_selection"] if t.startswith(f"tests/{f}/")]


def changed_lines(before: str, after: str) -> tuple[str, str]:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
    return tuple("\n".join(x[1:].strip() for x in lines if x[0] == sign) for sign in "-+")  # type: ignore[return-value]


class _WithoutMessages(ast.NodeTransformer):
    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node


def only_in_a_message(before: str, after: str) -> bool:
    """True if the two sources differ in the arguments of a raised exception only."""
    trees = (ast.dump(_WithoutMessages().visit(ast.parse(source))) for source in (before, after))
    return next(trees) == next(trees)


# ---- mutmut: undecorated functions and methods ------------------------------------------------------------------------------


def mutmut_results() -> Iterator[tuple[Mutant, str, bool]]:
    """Each mutant of mutmut with its status, and whether it changes an error message only."""
    import libcst as cst
    from mutmut.mutation.diff_apply import read_functions_from_index
    from mutmut.stats import status_by_exit_code

    for file in formula_files():
        meta = WORK / f"{file}.meta"
        if not meta.exists():  # a file without functions, such as __init__.py
            continue
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            functions = read_functions_from_index(name, file)
            assert functions is not None, f"no index of {file}: was it written by another version of mutmut?"
            before, after = (cst.Module([f]).code.strip() for f in functions)
            where = name.rpartition(".")[2].partition("__mutmut_")[0].removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
            mutant = Mutant(file, where, *changed_lines(before, after), name)
            yield mutant, status_by_exit_code[code], only_in_a_message(before, after)


def run_mutmut(jobs: int, names: Sequence[str] = ()) -> None:
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit("mutmut stopped: do the tests pass without a mutant?")


# ---- constants, defaults and decorated functions ----------------------------------------------------------------------------


def constants(file: str) -> Iterator[tuple[Mutant, str]]:
    """Mutants of what mutmut leaves alone, with the whole mutated source: its own changes, applied to other places."""
    import libcst as cst
    from mutmut.mutation.mutators import mutation_operators

    source = (ROOT / file).read_text()
    module = cst.parse_module(source)

    def nodes(root: cst.CSTNode) -> Iterator[cst.CSTNode]:
        if isinstance(root, (cst.Annotation, cst.Decorator)):
            return
        yield root
        for child in root.children:
            yield from nodes(child)

    def roots(body: Sequence[cst.CSTNode], where: str) -> Iterator[tuple[str, cst.CSTNode]]:
        for statement in body:
            inside = statement.name.value if isinstance(statement, (cst.ClassDef, cst.FunctionDef)) else ""
            if isinstance(statement, cst.ClassDef) and isinstance(statement.body, cst.IndentedBlock):
                yield from roots(statement.body.body, inside)
            elif isinstance(statement, cst.FunctionDef):
                kinds = [d.decorator.value for d in statement.decorators if isinstance(d.decorator, cst.Name)]
                if statement.decorators and kinds not in (["classmethod"], ["staticmethod"]):
                    yield f"{where}.{inside}", statement.body
            elif isinstance(statement, cst.SimpleStatementLine):
                for small in statement.body:
                    target = small.targets[0].target if isinstance(small, cst.Assign) else getattr(small, "target", None)
                    if isinstance(small, (cst.Assign, cst.AnnAssign)) and getattr(target, "value", "") not in ALIASES:
                        yield where, small

    seen: Counter[str] = Counter()
    for where, root in roots(module.body, "module"):
        for node in nodes(root):
            for kind, operator in mutation_operators:
                for changed in operator(node) if isinstance(node, kind) else ():
                    after = module.deep_replace(node, changed).code
                    lines = changed_lines(source, after)
                    name = hashlib.sha256(f"{file} {where} {lines}".encode()).hexdigest()[:16]
                    seen[name] += 1
                    yield Mutant(file, where, *lines, f"{name}-{seen[name]}"), after


class _Swapped(importlib.machinery.SourceFileLoader, importlib.abc.MetaPathFinder):
    """Gives one module another source; every other module is found as usual."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self.source = source

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def get_code(self, fullname: str) -> Any:
        return compile(self.source, self.path, "exec", dont_inherit=True)


def fork_tests(file: str, source: str) -> int:
    """Start the tests with this source of the file in a forked process; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        import pytest

        signal.alarm(TIMEOUT)
        os.chdir(ROOT)
        module = file.removesuffix(".py").replace("/", ".")
        sys.meta_path.insert(0, _Swapped(module, str(ROOT / file), source))
        sys.path.insert(0, str(ROOT))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(int(pytest.main(["-x", "-q", *settings()["pytest_add_cli_args"], *tests_of(file)])))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(99)


def run_constants(jobs: int, again: bool) -> dict[str, str]:
    """Status by mutant name; kept in mutants/ as it grows."""
    for heavy in ("pytest", "numpy", "scipy.stats", "scipy.integrate", "pydantic.dataclasses", "torch"):
        if importlib.util.find_spec(heavy.partition(".")[0]):
            importlib.import_module(heavy)  # once here, not in every child (but for hypothesis: pytest must import that itself)
    assert not any(name.partition(".")[0] == "entclip" for name in sys.modules), "a child must import its own entclip"
    kept = WORK / "constants.json"
    status: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
    if again:
        status = {name: s for name, s in status.items() if s in DETECTED}
    waiting = [(m, source) for file in formula_files() for m, source in constants(file) if m.name not in status]
    for file in {group_of(mutant.file): mutant.file for mutant, _ in waiting}.values():
        _, code = os.waitpid(fork_tests(file, (ROOT / file).read_text()), 0)
        if code:
            sys.exit(f"the tests of {file} do not pass without a mutant (exit {os.waitstatus_to_exitcode(code)})")
    running: dict[int, str] = {}
    for k, (mutant, source) in enumerate(waiting):
        running[fork_tests(mutant.file, source)] = mutant.name
        while len(running) >= (jobs if k + 1 < len(waiting) else 1):
            child, code = os.wait()
            name = running.pop(child)
            exit_code = os.waitstatus_to_exitcode(code)
            known = {0: "survived", 1: "killed", 2: "killed", -signal.SIGALRM: "timeout"}  # 2: the module cannot be imported
            status[name] = known.get(exit_code, f"exit {exit_code}")
            kept.write_text(json.dumps(status))
            print(f"\rconstants: {k + 1 - len(running)}/{len(waiting)}", end="", flush=True)
    print()
    return status


# ---- the account ------------------------------------------------------------------------------------------------------------


def digests() -> dict[str, str]:
    """Of the package and of the tests: what a result depends on."""
    chosen = [ROOT / t for t in settings()["pytest_add_cli_args_test_selection"]]
    tests = {f for t in chosen for f in (t.rglob("*.py") if t.is_dir() else [t])}
    tests |= {f for f in (ROOT / "tests/tolerances.py", ROOT / "tests/conftest.py") if f.exists()}
    found = {}
    for kind, files in (("package", {*(ROOT / "entclip").rglob("*.py")}), ("tests", tests)):
        total = hashlib.sha256(json.dumps(settings(), sort_keys=True).encode())
        for file in sorted(files):
            total.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
        found[kind] = total.hexdigest()
    return found


def explanations() -> dict[tuple[str, str, str, str], str]:
    found: dict[tuple[str, str, str, str], str] = {}
    for entry in tomllib.loads(EXPLAINED.read_text())["mutant"] if EXPLAINED.exists() else []:
        for now in entry["now"]:
            key = (entry["file"], entry["where"], entry["was"].strip(), now.strip())
            if key in found:
                sys.exit(f"{EXPLAINED.name} explains this twice: {key}")
            found[key] = entry["why"]
    return found


def account(results: list[tuple[Mutant, str]], messages: int, markdown: bool) -> bool:
    """Print the score by file and every survivor; True if all is well."""
    why, good = explanations(), True
    totals: dict[str, Counter[str]] = {}
    survivors = [m for m, status in results if status not in DETECTED]
    for mutant, status in results:
        kind = "killed" if status in DETECTED else "explained" if mutant.key in why else "unexplained"
        for row in (mutant.file, group_of(mutant.file), "all"):
            totals.setdefault(row, Counter())[kind] += 1
    files, groups = (sorted(r for r in totals if r != "all" and r.endswith(".py") == f) for f in (True, False))
    bar = " | " if markdown else "  "
    edge = "| " if markdown else ""
    print(f"\n{edge}{'':32}{bar}mutants{bar}killed{bar}explained{bar}unexplained{bar} score{' |' if markdown else ''}")
    if markdown:
        print("|---|--:|--:|--:|--:|--:|")
    for row in (*files, *groups, "all"):
        t = totals[row]
        score = t["killed"] / t.total()
        good &= row in files or score >= SCORE
        print(
            f"{edge}{row:32}{bar}{t.total():7}{bar}{t['killed']:6}{bar}{t['explained']:9}{bar}{t['unexplained']:11}{bar}"
            f"{100 * score:5.1f}{' |' if markdown else ''}"
        )
    print(f"\nNot counted: {messages} mutants of error-message text.")
    if markdown:
        for mutant in survivors:
            was, now = (x.replace("\n", " ") for x in (mutant.was, mutant.now))
            print(f"\n- `{mutant.file}`, `{mutant.where}`: `{was}` → `{now}`. {why.get(mutant.key, '**Not explained.**')}")
    for mutant in survivors:
        if mutant.key not in why:
            good = False
            if not markdown:
                entry = [f"file = {mutant.file!r}", f"where = {mutant.where!r}", f"was = '''{mutant.was}'''"]
                print("\n[[mutant]]", *entry, f"now = ['''{mutant.now}''']", 'why = ""', sep="\n")
    unused = set(why) - {m.key for m in survivors}
    for key in sorted(unused):
        print(f"\nexplained, but not a survivor: {key}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested at the same time")
    parser.add_argument("--survivors", action="store_true", help="after a change of the tests: run only what is not killed yet")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is known")
    parser.add_argument("--markdown", action="store_true", help="report as tables and lists for docs/trust.md")
    options = parser.parse_args()
    os.chdir(ROOT)
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[threads] = "1"
    start, stamp, current, again = time.monotonic(), WORK / "digests.json", digests(), False
    if not options.report:
        before = json.loads(stamp.read_text()) if stamp.exists() else None
        if before != current:
            again = options.survivors and before is not None and before["package"] == current["package"]
            if WORK.exists() and not again:
                shutil.rmtree(WORK)
        WORK.mkdir(exist_ok=True)
        if not again:  # now, so that an interrupted run goes on
            stamp.write_text(json.dumps(current))
        left = [m.name for m, status, message in mutmut_results() if status not in DETECTED and not message] if again else []
        run_mutmut(options.jobs, left)
    constant_status = json.loads((WORK / "constants.json").read_text()) if options.report else run_constants(options.jobs, again)
    if again:  # only now: what an interrupted run has not reached still holds the verdict of the earlier tests
        stamp.write_text(json.dumps(current))
    results, messages = [], 0
    for mutant, status, is_message in mutmut_results():
        messages += is_message
        if not is_message:
            results.append((mutant, status))
    for file in formula_files():
        results += [(m, constant_status.get(m.name, "not checked")) for m, _ in constants(file)]
    good = account(results, messages, options.markdown)
    print(f"\n{len(results) + messages} mutants in {(time.monotonic() - start) / 60:.1f} min.")
    if any(status == "not checked" for _, status in results):
        sys.exit("some mutants were not run")
    sys.exit(0 if good else "a survivor is not explained, or a score is below 95 %")


if __name__ == "__main__":
    main()
