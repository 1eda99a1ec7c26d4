"""What a script hands on, as "$@": its own arguments may change everything, those of a function stand in the script."""

import pytest

from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.notation import convert
from entclip.integrations.lint.report import lint

_VERL = """python3 -m verl.trainer.main_ppo algorithm.adv_estimator=grpo data.train_batch_size=1024 \\
  actor_rollout_ref.actor.ppo_mini_batch_size=256 actor_rollout_ref.rollout.n=4 """


@pytest.mark.parametrize("word", ['"$@"', "$@", "$*", '"${@:2}"'])
def test_a_script_is_read_as_it_stands_and_the_answer_says_so(word):
    found = lint(read_config(_VERL + word))
    assert found.liveness.alive == "yes"
    assert 'Clip alive: yes, if nothing is given for "$@". 4 updates' in found.to_text()
    assert 'Clip alive: yes, if nothing is given for "$@"' in found.to_text(everything=True)
    assert found.to_json()["passes_arguments_on"] is True
    assert '# Read without what the script hands on as "$@", which can change all of it.' in convert(
        read_config(_VERL + word), "trl"
    )


def test_without_them_nothing_is_said():
    found = lint(read_config(_VERL))
    assert "Clip alive: yes. 4 updates" in found.to_text()
    assert found.to_json()["passes_arguments_on"] is False
    assert "hands on" not in convert(read_config(_VERL), "trl")


def test_arguments_of_a_function_are_read_at_its_one_call_and_not_at_several():
    script = f'run() {{\n  {_VERL} "$@"\n}}\nrun actor_rollout_ref.actor.clip_ratio_high=0.3\n'
    assert read_config(script).high.value == 0.3
    script += "run actor_rollout_ref.actor.clip_ratio_high=0.4\n"
    found = lint(read_config(script))
    assert found.liveness.alive == "unknown"
    assert "$@ may hold settings" in found.to_text().replace("\n", " ")
    with pytest.raises(ValueError, match=r"cannot convert: \$@ may hold settings"):
        convert(read_config(script), "trl")
