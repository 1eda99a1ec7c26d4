"""Reads 5,000 mutated logs: `python -m tests.integrations.logs.fuzz [COUNT [SEED]]`, half a minute."""

import sys
import tempfile
from pathlib import Path

from tests.integrations.logs.test_readers import fuzz

if __name__ == "__main__":
    count, seed = (int(word) for word in (*sys.argv[1:], *("5000", "17")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        print(f"{fuzz(Path(folder), count, seed)} of {count} mutated logs were read, the others refused in one sentence.")
