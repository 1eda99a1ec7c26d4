"""Numbers as spreadsheets write them, and text in the place of a number: it is reported by its name, and no metric is denied."""

import json

import pytest

from entclip import diagnose
from entclip.integrations.logs.reading import NoMetricError, read_log

HEADER = "step;actor/entropy;actor/pg_clipfrac"


def written(tmp_path, text, name="log.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("space", ["", " ", "\u00a0", "\u202f"])
@pytest.mark.parametrize(("mark", "point"), [(";", ","), ("\t", ","), (";", "."), (",", ".")])
def test_percentages_with_a_space(tmp_path, space, mark, point):
    lines = [HEADER, *(f"{i};1{point}4{i};20{point}{i}{space}%" for i in range(1, 9))]
    log = read_log(written(tmp_path, "\n".join(lines).replace(";", mark)))
    assert log.columns["actor/pg_clipfrac"][:2] == pytest.approx([0.201, 0.202])
    assert log.columns["actor/entropy"][:2] == pytest.approx([1.41, 1.42])


def test_decimal_commas_beside_a_text_with_a_point(tmp_path):
    log = read_log(written(tmp_path, "note;actor/entropy\nv1.0;1,5\nv1.0;1,4\n"))
    assert log.columns["actor/entropy"].tolist() == [1.5, 1.4]


@pytest.mark.parametrize("text", ["abc", "20/6", "about .2", "20,6"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_metric_that_cannot_be_read_is_named(tmp_path, text, form):
    rows = [{"step": i, "actor/entropy": 0.5, "actor/pg_clipfrac": text} for i in range(8)]
    lines = [HEADER.replace(";", "\t" if "," not in text else ","), *(f'{i},0.5,"{text}"' for i in range(8))]
    table = "\n".join(lines if "," in text else [line.replace(",", "\t") for line in lines])
    path = written(tmp_path, table if form == "csv" else "".join(json.dumps(row) + "\n" for row in rows), f"log.{form}")
    found = diagnose(path)["clip"]
    assert found.labels == ("unknown",)
    assert f"actor/pg_clipfrac has no number that can be read ({text!r})" in found.answer
    assert diagnose(path)["entropy"].labels == ("steady",)


def test_an_entropy_that_cannot_be_read_is_named(tmp_path):
    found = diagnose([{"step": i, "actor/entropy": "high", "actor/pg_clipfrac": 0.1} for i in range(8)])["entropy"]
    assert found.answer == "actor/entropy has no number that can be read ('high')."


def test_only_texts(tmp_path):
    with pytest.raises(NoMetricError, match="actor/entropy has no number that can be read"):
        read_log(written(tmp_path, "step,actor/entropy\n1,high\n2,low\n"))


def test_what_is_missing_is_no_text(tmp_path):
    rows = [{"step": i, "actor/entropy": "n/a" if i % 2 else 0.5, "actor/pg_clipfrac": 0.1} for i in range(8)]
    assert not read_log(written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "log.jsonl")).unread
