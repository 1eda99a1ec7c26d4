"""A log of a one-sided clip has no size of the noise that `predict --from --log` could take: it says so, and what to give."""

import json

import pytest
from typer.testing import CliRunner

from entclip.cli.app import app
from entclip.support.errors import SpecError

BASE = "num_iterations: 4\nnum_generations: 8\nbeta: 0.0\n"


@pytest.mark.parametrize(
    "widths", ["epsilon: 0.2\nepsilon_high: 1.0e+9", "epsilon: 1.0\nepsilon_high: 0.2", "epsilon: 0.15\nepsilon_high: 1e12"]
)
def test_a_one_sided_clip_is_refused_in_plain_words(tmp_path, widths):
    (tmp_path / "c.yaml").write_text(f"{BASE}{widths}\n")
    low = "epsilon: 1.0" not in widths
    rows = [{"clip_ratio/low_mean": 0.02 * low, "clip_ratio/high_mean": 0.02 * (not low), "entropy": 0.5} for _ in range(8)]
    rows = [row if i % 4 else dict.fromkeys(row, 0.0) | {"entropy": 0.5} for i, row in enumerate(rows)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = CliRunner().invoke(app, ["predict", "--from", str(tmp_path / "c.yaml"), "--log", str(tmp_path / "log.jsonl")])
    assert isinstance(found.exception, SpecError)
    said = str(found.exception)
    assert "a one-sided clip is not supported" in said
    assert "--noise kl:NATS" in said
    assert "--noise shares" not in said
