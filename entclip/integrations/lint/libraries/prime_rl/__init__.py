"""prime-rl 0.8.0."""

from __future__ import annotations

from entclip.integrations.lint.libraries.prime_rl import traps
from entclip.integrations.lint.libraries.prime_rl.build import build
from entclip.integrations.lint.libraries.prime_rl.defaults import DEFAULTS
from entclip.integrations.lint.libraries.prime_rl.write import write
from entclip.integrations.lint.library import Library

__all__ = ["PRIME_RL", "traps"]

PRIME_RL = Library(
    name="prime-rl",
    title="prime-rl",
    version="0.8.0",
    defaults=DEFAULTS,
    entry=r"(uv run )?rl\s+@",
    package=__name__,
    build=build,
    write=write,
    losses=("default", "ipo", "custom"),
    deciding=("orchestrator.", "trainer.loss."),
    kl_to_sampler=True,
)
