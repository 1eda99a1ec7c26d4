"""axolotl 0.18.0: TRL's GRPO under a group of its own, with TRL's defaults where it sets none."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.libraries.axolotl import traps
from entclip.integrations.lint.libraries.axolotl.build import build
from entclip.integrations.lint.libraries.axolotl.defaults import DEFAULTS
from entclip.integrations.lint.libraries.axolotl.write import write
from entclip.integrations.lint.libraries.trl import TRL
from entclip.integrations.lint.library import Library

__all__ = ["AXOLOTL", "traps"]

_OWN = Library(
    name="axolotl",
    title="axolotl",
    version=f"0.18.0 on {TRL.release}",
    defaults=DEFAULTS,
    entry=r"axolotl\s+train",
    package=__name__,
    build=build,
    write=write,
    losses=TRL.losses,
    deciding=("trl.",),
    more_updates="raise num_iterations in the group trl",
    std_offset=TRL.std_offset,
    truncation=TRL.truncation,
    wrong_for_sequences=TRL.wrong_for_sequences,
    right_for_sequences=TRL.right_for_sequences,
    sapo_keys=TRL.sapo_keys,
    precise="set bf16: false",
    builds_on=TRL,
)
# A key of its group is TRL's without the group.
_RENAMED = {key: key.removeprefix("trl.") for key in _OWN.keys if key.startswith("trl.")} | {
    "micro_batch_size": "per_device_train_batch_size",
    "trl.use_liger_loss": "use_liger_kernel",
}
AXOLOTL = replace(_OWN, renamed=_RENAMED)
