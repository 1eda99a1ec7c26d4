"""An experiment in the words of TRL's configuration: the keys of each objective, and what TRL has no word for."""

from __future__ import annotations

import numpy as np
import pytest

from entclip import load
from entclip.integrations.trl_backend.settings import AS_TRL, settings
from entclip.support.errors import SpecError


def spec(*overrides):
    small = ["update.batch=8", "update.minibatches=3"]
    return load("llm", [f"{key}={value}" for key, value in AS_TRL.items()] + [*small, *overrides])


ARM = "arm=[{{name='a', objective={{kind='{}'{}}}}}]"


@pytest.mark.parametrize(
    ("kind", "more", "aggregation", "keys"),
    [
        ("none", "", "token", {"loss_type": "dapo", "epsilon": 1.0, "epsilon_high": np.inf}),
        ("clip", ", low=0.1, high=0.3", "sequence", {"loss_type": "grpo", "epsilon": 0.1, "epsilon_high": 0.3}),
        ("dual_clip", ", cap=4.0", "token", {"loss_type": "dapo", "delta": 4.0}),
        ("cispo_trl", ", high=4.0", "token", {"loss_type": "cispo", "epsilon_high": 4.0}),
        ("gspo", "", "sequence", {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4}),
        ("sapo", "", "sequence", {"loss_type": "sapo", "sapo_temperature_neg": 1.05}),
    ],
)
def test_objectives_have_their_keys(kind, more, aggregation, keys):
    experiment = spec(
        ARM.format(kind, more),
        f"rollout.aggregation={aggregation}",
        "rollout.micro_batch=4",
        "update.batch=16",
        "update.epochs=2",
    )
    found = settings(experiment, experiment.arm[0], 2)
    assert keys.items() <= found.items()
    assert found["per_device_train_batch_size"] * found["gradient_accumulation_steps"] * 2 == 16
    assert (found["steps_per_generation"], found["num_iterations"], found["max_steps"]) == (6, 2, 18)


@pytest.mark.parametrize(
    ("overrides", "processes", "message"),
    [
        (["update.minibatch=groups"], 1, r"update\.minibatch = 'groups': TRL shuffles responses"),
        (["ledger.momentum=cause"], 1, r"ledger\.momentum = 'cause': under TRL the ledger has one line"),
        (["rollout.staleness=1"], 1, r"rollout\.staleness = 1: TRL samples from the policy as it is"),
        (["advantage={kind='independent'}"], 1, r"advantage\.kind = 'independent': TRL's advantages are relative to a group"),
        (["advantage.scale=std"], 1, r"advantage\.eps = 0: TRL divides by the standard deviation with ddof 1 plus 0\.0001"),
        ([ARM.format("cispo", "")], 1, "TRL has no objective 'cispo'. Choose among cispo_trl, clip, dual_clip"),
        ([ARM.format("sapo", "")], 1, r"TRL has sapo with rollout\.aggregation = 'sequence' only"),
        ([], 3, r"update\.batch = 8 on 3 processes"),
        (["rollout.micro_batch=3"], 1, r"rollout\.micro_batch = 3: TRL's passes are of one size"),
        (["grid={seed=[0, 1]}"], 1, r"\[grid\]: TRL runs one experiment at a time"),
        (["arm=[{name='a'}, {name='b', control={kind='drop', like='a'}}]"], 1, "arm b: TRL has no control of that kind"),
        (
            ["arm=[{name='a', low=0.2, high=0.2, controller={kind='thermostat', target=0.5}}]"],
            1,
            "arm a: TRL has no controller of that kind",
        ),
    ],
)
def test_what_trl_cannot_express_is_refused_in_one_sentence(overrides, processes, message):
    experiment = spec(*overrides)
    with pytest.raises(SpecError, match=message):
        settings(experiment, experiment.arm[-1], processes)


def test_std_scaled_advantages_are_trls():
    experiment = spec("advantage.scale=std", "advantage.eps=1e-4")
    assert settings(experiment, experiment.arm[0])["scale_rewards"] == "group"
