"""python -m benchmarks [NAME...] [--device cuda]: all benchmarks or those named, one after another; `entclip bench` is the same.

    sampled    the numpy engine with its ledger against plain numpy without one
    kernels    dense steps against a copy of the same bytes, autograd, eager torch, torch.compile
    reduced    the engine whose cost does not grow with the vocabulary against the dense one
    head       shared parameters against autograd and the matrix-product peak
    logs       diagnose on logs of 1 MB and 100 MB: seconds and memory
    llm        a language model's updates and generation against TRL and transformers
    ledger     training with TRL with the ledger inside against training without it
    batches    the loss inside verl against verl's own, and the reading of saved batches

Each is a module with options of its own: python -m benchmarks.kernels --help.
"""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = ("sampled", "kernels", "reduced", "head", "logs", "llm", "ledger", "batches")
ON_DEVICE = ("kernels", "head")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--device", help=f"cpu or cuda, for {' and '.join(ON_DEVICE)}")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]!r}: choose from {', '.join(NAMES)}.")
    for name in chosen.names or NAMES:
        print(f"== {name}", flush=True)
        device = ["--device", chosen.device] if chosen.device and name in ON_DEVICE else []
        sys.argv = [f"benchmarks.{name}", *device]
        try:
            importlib.import_module(f"benchmarks.{name}").main()
        except ModuleNotFoundError as error:
            print(f"left out: {error.name} is not installed (pip install '.[test]').")


if __name__ == "__main__":
    main()
