"""Memory that is left: the least of the machine's, the container's and the process's own limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from entclip.support import memory
from entclip.support.memory import _containers, available_bytes, gib


@pytest.mark.parametrize(("kind", "pages"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
def test_a_limit_of_the_process_counts(kind: str, pages: int) -> None:
    code = (
        "import resource; from entclip.support.memory import available_bytes;"
        f"size = int(open('/proc/self/statm').read().split()[{pages}]) * resource.getpagesize();"
        f"resource.setrlimit(resource.{kind}, (size + 10**8,) * 2);"
        "print(available_bytes())"
    )
    found = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 10**8 - 2**22 < found <= 10**8
    assert found < available_bytes()


@pytest.mark.parametrize(
    ("line", "folder", "files", "left"),
    [
        ("0::/user/one", "user/one", {"max": "1000", "current": "700", "stat": "anon 5\ninactive_file 60\n"}, [360]),
        ("0::/user/one", "user", {"max": "1000", "current": "700", "stat": "inactive_file 0\n"}, [300]),
        ("0::/user/one", "user/one", {"max": "max", "current": "700", "stat": "inactive_file 60\n"}, []),
        ("0::/gone/elsewhere", ".", {"max": "1000", "current": "700", "stat": "inactive_file 0\n"}, [300]),
        (
            "4:memory:/job",
            "memory/job",
            {"limit_in_bytes": "1000", "usage_in_bytes": "900", "stat": "total_inactive_file 50\n"},
            [150],
        ),
        ("5:cpu,cpuacct:/job", "memory/job", {"limit_in_bytes": "1000", "usage_in_bytes": "900", "stat": ""}, []),
    ],
)
def test_control_groups(tmp_path: Path, line: str, folder: str, files: dict[str, str], left: list[int]) -> None:
    (tmp_path / "root" / folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (tmp_path / "root" / folder / f"memory.{name}").write_text(text)
    (tmp_path / "membership").write_text(line + "\n")
    assert list(_containers(tmp_path / "membership", tmp_path / "root")) == left
    assert list(_containers(tmp_path / "absent", tmp_path / "root")) == []


def test_measured_again_in_another_tenth_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([5 * 10**6, 3 * 10**6])
    monkeypatch.setattr(memory, "_machine", lambda: next(free))
    found = []
    for now in (10.01, 10.09, 10.11):
        monkeypatch.setattr(memory.time, "monotonic", lambda now=now: now)
        found.append(available_bytes())
    assert found == [5 * 10**6, 5 * 10**6, 3 * 10**6]


def test_sizes_as_a_reader_says_them() -> None:
    assert [gib(x) for x in (12, 3 * 2**20, 1.5 * 2**30, 7 * 2**40)] == ["12 bytes", "3.0 MiB", "1.5 GiB", "7.0 TiB"]
    assert gib(1e30) == "9.1e+17 TiB"
