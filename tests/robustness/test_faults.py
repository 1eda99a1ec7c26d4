"""Every fault of faults.toml is answered rightly."""

from __future__ import annotations

import pytest

from tests.robustness.sandbox import Sandbox
from tests.robustness.table import Fault, table, wrong


@pytest.mark.parametrize("fault", table(), ids=lambda fault: fault.id)
def test_answer(fault: Fault, sandbox: Sandbox) -> None:
    found = wrong(fault, sandbox)
    assert not found, f"{fault.entry['fault']}\n{fault.case.words()[:500]}\n" + "\n".join(found)
