"""python -m tests.bare PROGRAM: the commands of README and docs/api/commands.md where only the core is installed (make bare).

A command must end well, or with exit code 2 and one line that names what to install. One that still works after two minutes is
taken for working, since a missing package shows at once.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["commands", "fault", "main"]

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "my_grpo_config.yaml": "epsilon: 0.2\nepsilon_high: 0.28\nnum_generations: 16\nnum_iterations: 2\n",
    "trainer_state.json": json.dumps(
        {
            "log_history": [
                {"step": k, "entropy": 1 - k / 100, "clip_ratio/low_mean": 0.001, "clip_ratio/high_mean": 0.002}
                for k in range(1, 9)
            ]
        }
    ),
    "my_experiment.toml": (ROOT / "entclip" / "experiments" / "theorem1.toml").read_text("utf-8"),
}
PAGES = ("README.md", "docs/api/commands.md")
SECONDS = 120


def commands(page: str) -> list[list[str]]:
    """The entclip commands in a page's shell blocks as lists of words, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = (shlex.split(line, comments=True) for block in blocks for line in block.splitlines())
    return [words for words in lines if words[:1] == ["entclip"]]


def fault(code: int, errors: str) -> str | None:
    """What is wrong with a command that ended with this exit code and wrote this to stderr, or None."""
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    if "Traceback" in errors or (code == 2 and not (len(said) == 1 and "pip install" in said[0])) or code not in (0, 1, 2, 3):
        return f"exit code {code}: {errors.strip()}"
    return None  # 1 and 3 are verdicts of `entclip check`


def main(arguments: list[str]) -> int:
    """Run them one after another, each page's in a folder of its own: 0 if none is at fault, else 1."""
    program = str(Path(arguments[0]).absolute())
    return min(sum(_run_page(program, (ROOT / page).read_text("utf-8")) for page in PAGES), 1)


def _run_page(program: str, page: str) -> int:
    """Run one page's commands and return how many are at fault; two pages may write to folders of one name."""
    faults, unfinished = 0, set()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (Path(folder) / name).write_text(text, "utf-8")
        for command in commands(page):
            if unfinished & set(command):  # it reads what another one did not write
                continue
            try:
                done = subprocess.run([program, *command[1:]], cwd=folder, capture_output=True, text=True, timeout=SECONDS)
                wrong, whole = fault(done.returncode, done.stderr), done.returncode != 2
                said = wrong or ("" if whole else done.stderr.strip().splitlines()[-1])
            except subprocess.TimeoutExpired:
                wrong, whole, said = None, False, f"works for over {SECONDS} s"
            if not whole and "--out" in command:
                unfinished.add(command[command.index("--out") + 1])
            faults += wrong is not None
            print(f"{'FAULT' if wrong else 'ok':5} {shlex.join(command)}" + f"\n      {said}" * bool(said), flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
