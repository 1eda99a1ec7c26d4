"""Notebooks from their scripts: `python -m notebooks.build` runs every NN_name.py and writes NN_name.ipynb with its outputs.

`python -m notebooks.build 03` builds the ones whose names start so. A notebook that fails is not written. What would differ
between two builds of the same code (cell ids, times, the state of widgets) is left out, so a rebuild changes only what changed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory
from typing import Any

import jupytext
import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient
from nbformat import NotebookNode

__all__ = ["FOLDER", "cleaned", "execute", "names", "script"]

FOLDER = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
SLIDERS = "(sliders: they appear where this notebook runs)"
_WIDGET = "application/vnd.jupyter.widget-view+json"


class _Channel(AsyncZMQSocketChannel):
    """A channel that looks again every second: a wait that misses its wake-up ends at its timeout only, here ten minutes."""

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return await super().get_msg(max(0.0, min(1.0, deadline - time.monotonic())))
            except Empty:
                if time.monotonic() >= deadline:
                    raise


class _Client(AsyncKernelClient):
    shell_channel_class = iopub_channel_class = control_channel_class = _Channel


def names() -> list[str]:
    """The notebooks in order, without an ending."""
    return sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py"))


def script(name: str) -> NotebookNode:
    """The script as a notebook without outputs."""
    notebook = jupytext.read(FOLDER / f"{name}.py")
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{index}", NotebookNode()
    return notebook


def execute(notebook: NotebookNode, folder: Path = FOLDER, env: Mapping[str, str] | None = None) -> None:
    """Run all cells in place, in a fresh kernel started in `folder`; CellExecutionError where one fails."""
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    manager = client.create_kernel_manager()
    manager.client_factory = _Client
    with TemporaryDirectory() as sockets:
        if os.name == "posix":  # sockets in files: nothing listens on the network, and the kernel does not warn that it does
            manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        client.execute(**({} if env is None else {"env": dict(env)}))


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """The notebook as it is committed: a widget is nothing without its kernel, so a line of text stands in its place."""
    notebook.metadata.language_info = {"name": "python"}  # without the version of Python
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if _WIDGET in output.get("data", {}):
                output.data = NotebookNode({"text/plain": SLIDERS})
    return notebook


def main(arguments: list[str] | None = None) -> None:
    """Build the notebooks that are named, or all."""
    from entclip.support.files import write_atomic

    parser = argparse.ArgumentParser(prog="python -m notebooks.build", description="Run the notebooks and keep their outputs.")
    parser.add_argument("names", nargs="*", help="starts of names, such as 03 (default: all)")
    chosen = tuple(parser.parse_args(arguments).names) or ("",)
    for name in (n for n in names() if n.startswith(chosen)):
        started, notebook = time.perf_counter(), script(name)
        execute(notebook)
        text = nbformat.writes(cleaned(notebook)) + "\n"
        write_atomic(FOLDER / f"{name}.ipynb", text.encode())
        print(f"{name}.ipynb  {time.perf_counter() - started:.0f} s  {len(text) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
