"""Dictionaries that a trainer prints, with anything before them on their line: progress bars, times, who printed them."""

import json

import pytest

from entclip.integrations.logs import console
from entclip.integrations.logs.reading import NoMetricError, read_log

BAR = "{percent:3d}%|\u2588\u258f        | {step}/80 [05:56<1:52:58, 356.80s/it]"
BEFORE = {
    "nothing": "",
    "bar": BAR,
    "bar, carriage return": "\r" + BAR,
    "bar and space": "\r" + BAR + " ",
    "bar without percent": " {step}/80 [00:00<10:00,  7.5s/it]",
    "named bar": "Train:  {percent:2d}%|x   | {step}/80 [00:42<41:47, 42.51s/it]",
    "torchrun": "[default0]:",
    "rank": "[rank0]: ",
    "srun": "0: ",
    "kubectl": "2026-05-01T10:00:0{step}.123456789Z stdout F ",
    "kubectl and rank": "2026-05-01T10:00:0{step}Z [rank0]: ",
    "docker": "trainer-1  | ",
    "logging": "2026-05-01 10:00:0{step},123 - INFO - train: ",
    "root": "INFO:root:step {step} ",
    "ray": "\x1b[36m(Worker pid=9)\x1b[0m ",
}
ROWS = ({"loss": 0.01, "entropy": 0.5, "clip_ratio/low_mean": 0.0}, {"loss": -0.02, "entropy": 0.4, "clip_ratio/low_mean": 0.01})


def column(tmp_path, text, name="entropy"):
    path = tmp_path / "out.txt"
    path.write_text(text, newline="")
    log = read_log(path)
    assert log.form in ("console", "JSON lines")
    return log.columns[name].tolist()


@pytest.mark.parametrize("write", [repr, json.dumps, lambda row: repr({name: str(value) for name, value in row.items()})])
@pytest.mark.parametrize("before", BEFORE)
def test_a_row_is_found_after_anything(tmp_path, before, write):
    lines = ["loading weights, 8 shards\n"] if before != "nothing" else []
    lines += [BEFORE[before].format(step=i, percent=i) + write(row) + "\n" for i, row in enumerate(ROWS, 1)]
    assert column(tmp_path, "".join(lines)) == [0.5, 0.4]
    assert column(tmp_path, "".join(lines), "clip_ratio/low_mean") == [0.0, 0.01]


@pytest.mark.parametrize("between", ["", " ", " 3%|x| 1/80 [00:01<10:00]", "\r 3%|x| 1/80 [00:01<10:00]", " INFO: step 2 "])
@pytest.mark.parametrize("write", [repr, json.dumps])
def test_two_dictionaries_of_a_line_are_two_rows(tmp_path, between, write):
    assert column(tmp_path, between.join(map(write, ROWS)) + "\n") == [0.5, 0.4]


def test_a_row_is_whole_with_dictionaries_and_lists_in_it(tmp_path):
    row = {"loss": 0.1, "each": [{"a": 1}, {"b": 2}], "inner": {"x": 1.0}, "entropy": 0.5}
    assert column(tmp_path, f"[rank0]: {row}\n") == [0.5]


def test_a_bar_after_a_row_does_not_hide_it(tmp_path):
    assert column(tmp_path, "".join(f"{row}\r{BAR.format(step=1, percent=1)}\n" for row in ROWS)) == [0.5, 0.4]


def test_rows_of_another_process_are_no_updates(tmp_path):
    lines = [f"[default{rank}]:{row}\n" for row in ROWS for rank in (0, 1)]
    assert column(tmp_path, "".join(lines)) == [0.5, 0.4]


@pytest.mark.parametrize(
    "word", ["config:", "GRPOConfig(", "args = ", "training_args=", "eval:", "validation: ", "f(x, ", "[", "params "]
)
@pytest.mark.parametrize("write", [repr, json.dumps])
def test_settings_and_evaluations_are_no_rows(tmp_path, word, write):
    path = tmp_path / "out.txt"
    path.write_text(f"start\n{word}{write({'entropy': 0.9, 'entropy_coef': 0.1})}\n")
    with pytest.raises(NoMetricError):
        read_log(path)


def test_a_percentage_in_a_dictionary_is_a_share(tmp_path):
    assert column(tmp_path, "x {'clip_ratio/low_mean': '2.5 %'}\n", "clip_ratio/low_mean") == [0.025]


@pytest.mark.parametrize("piece", ["{'", "}{'", '{"', "} ", "{'a':", "}{'a': 1", '{"a":[', "[rank0]: "])
def test_a_long_line_of_marks_is_read_in_one_pass(monkeypatch, piece):
    """The places that are tried do not grow faster than the line: JSON is given up at the first object that is none."""
    tries = []
    decode = console.numbers_in
    monkeypatch.setattr(console, "numbers_in", lambda line, at: tries.append(at) or decode(line, at))
    found = [len(list(console._rows_of(piece * count))) for count in (1_000, 2_000)]
    assert len(tries) <= 2
    assert found[1] <= 2 * found[0] + 1
