"""How much memory this process can still take."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["available_bytes", "gib"]


_VERSION_1 = ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("max", "current", "inactive_file")


def available_bytes() -> int:
    """Return bytes that can still be allocated: the least of what the machine has free, the container allows and `ulimit -v`
    and `ulimit -d` leave, measured at most ten times a second."""
    return _measured(int(10 * time.monotonic()))


@functools.lru_cache(maxsize=1)
def _measured(_tenth: int) -> int:
    """What is free in this tenth of a second: a run asks for each arm, and the kernel takes a millisecond to add up a group."""
    return max(0, min((_machine(), *_containers(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")), *_limits())))


def gib(size: float) -> str:
    """Write a number of bytes as a reader says it."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}" if size < 1e6 * unit else f"{size / unit:.1e} {name}"
    return f"{size:,.0f} bytes"


def _machine() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("MemAvailable")).split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        pass
    try:  # no Linux: what is built in has to do
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def _containers(membership: Path, root: Path) -> Iterator[int]:
    """Yield what each control group of this process, of either version, has left; its cache of files can be had back."""
    try:
        lines = membership.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        limit, used, cache = _VERSION_1 if controllers else _VERSION_2
        group = top / name.lstrip("/")
        # Inside a container the group's own path may not exist: its root is then mounted as the top.
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            try:
                most, now = (int((folder / f"memory.{n}").read_text("ascii")) for n in (limit, used))
                stat = dict(pair.split() for pair in (folder / "memory.stat").read_text("ascii").splitlines())
            except (OSError, ValueError):  # "max": no limit
                continue
            yield most - now + int(stat.get(cache, 0))


def _limits() -> Iterator[int]:
    """Yield what the process's own limits leave, of its address space and of what it can write there."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            pages = file.read().split()
    except (ImportError, OSError):  # not Linux
        return
    for kind, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            yield limit - int(used) * os.sysconf("SC_PAGE_SIZE")
