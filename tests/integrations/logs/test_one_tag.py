"""Downloads of one tag of TensorBoard: a file is read by its name."""

import pytest

from entclip.integrations.logs.reading import read_log
from entclip.support.errors import SpecError

NAMES = {
    "run-a-tag-actor_entropy.csv": "actor/entropy",
    "run-x_y-tag-actor_pg_clipfrac.csv": "actor/pg_clipfrac",
    "PPO_1-tag-train_clip_fraction.csv": "clip_fraction",
    "PPO_1-tag-train_entropy_loss.csv": "entropy_loss",
    "run-b-tag-losses_old_approx_kl.csv": "losses/old_approx_kl",
    "my_actor_entropy.csv": "actor/entropy",
}


def written(folder, name, values=(0.5, 0.4)):
    rows = "".join(f"1760000002.0,{4096 * i},{value}\n" for i, value in enumerate(values, 1))
    (folder / name).write_text(f"Wall time,Step,Value\n{rows}")
    return folder / name


@pytest.mark.parametrize("name", NAMES)
def test_the_tag_is_in_the_name(tmp_path, name):
    log = read_log(written(tmp_path, name))
    assert log.columns[NAMES[name]].tolist() == [0.5, 0.4]
    assert log.columns["Step"].tolist() == [4096, 8192]


def test_a_folder_of_tags_is_one_run(tmp_path):
    written(tmp_path, "PPO_1-tag-train_clip_fraction.csv", (0.1, 0.2))
    written(tmp_path, "PPO_1-tag-train_entropy_loss.csv", (-0.5, -0.4))
    written(tmp_path, "PPO_1-tag-time_fps.csv")
    log = read_log(tmp_path)
    assert log.columns["clip_fraction"].tolist() == [0.1, 0.2]
    assert log.columns["entropy_loss"].tolist() == [-0.5, -0.4]


@pytest.mark.parametrize("name", ["scalars.csv", "run-a-tag-val_actor_entropy.csv", "entropyx.csv"])
def test_a_name_without_a_tag_is_refused(tmp_path, name):
    with pytest.raises(SpecError, match="the tag is in the file's name"):
        read_log(written(tmp_path, name))
