"""Rows are updates of one run, whatever the file makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entclip.integrations.diagnose.effect import side_shares
from entclip.integrations.diagnose.run import Run, mean_and_error
from entclip.integrations.logs import Log, read_log, read_rows
from entclip.integrations.logs.updates import of_updates
from entclip.support.errors import SpecError
from tests.integrations.logs.corpus.writers import events


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def values(path: Path, name: str, **options: str) -> list[float]:
    return read_log(path, **options).columns[name].tolist()


ARMS = "arm,step,entropy\nboth,1,.5\nnone,1,.7\nboth,2,.4\n"


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_rows_of_several_runs_are_never_mixed(tmp_path, form):
    rows = [{"arm": "both", "step": 1, "entropy": 0.5}, {"arm": "none", "step": 1, "entropy": 0.7}]
    rows.append({"arm": "both", "step": 2, "entropy": 0.4})
    path = tmp_path / f"arms.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        text = {"csv": ARMS, "json": json.dumps(rows), "jsonl": "".join(json.dumps(row) + "\n" for row in rows)}[form]
        path.write_text(text)
    with pytest.raises(SpecError, match=r"rows of several runs \(both, none, \.\.\.\): choose one with --run"):
        read_log(path)
    assert values(path, "entropy", run="both") == [0.5, 0.4]
    with pytest.raises(SpecError, match=r"no row is of run 'low'; it has both, none"):
        read_log(path, run="low")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_ledger_of_entclips_own_is_not_inferred_from(tmp_path, form):
    row = {
        "arm": "both",
        "step": 1,
        "unclipped": 0.0,
        "clip_low": 0.1,
        "clip_high": 0.0,
        "expected_clip_low": 0.1,
        "entropy": 0.5,
    }
    path = tmp_path / f"ledger.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        path.write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    with pytest.raises(SpecError, match="entclip ledger FOLDER reads it"):
        read_log(path)


def test_a_percentage_is_a_share(tmp_path):
    assert values(written(tmp_path, "a.csv", "entropy,clip_fraction\n.5,3.5%\n.5,2 %\n"), "clip_fraction") == [0.035, 0.02]


def test_scalars_of_one_step_are_one_row(tmp_path):
    """Writers of TensorBoard make a record of each scalar: four records, two rows, not four."""
    rows = [{"step": k, "losses/entropy": 0.5 - 0.1 * k, "losses/clipfrac": 0.25 * k} for k in (0, 1)]
    log = read_log(written(tmp_path, "x.tfevents", events(rows)))
    assert log.rows == 2
    assert log.columns["losses/clipfrac"].tolist() == [0.0, 0.25]
    twice = events([rows[0], rows[0]])
    assert read_log(written(tmp_path, "y.tfevents", twice)).rows == 2  # a name that comes again is another row


def table(**columns: list[float]) -> Log:
    arrays = {name: np.array(column, dtype=float) for name, column in columns.items()}
    return Log(arrays, np.arange(1, len(next(iter(arrays.values()))) + 1), "rows", "rows")


def test_of_a_run_that_was_started_again_the_last_start_counts():
    log = of_updates(table(step=[1, 2, 3, 4, 3, 4, 5], entropy=[1, 2, 3, 4, 5, 6, 7]), ["entropy"], "step")
    assert log.columns["entropy"].tolist() == [1, 2, 5, 6, 7]
    assert log.lines.tolist() == [1, 2, 5, 6, 7]
    assert log.superseded == 2
    cycles = table(step=[0, 1, 2, 3] * 5, entropy=list(range(20)))
    assert of_updates(cycles, ["entropy"], "step").rows == 20  # it numbers updates within rollouts
    assert of_updates(log, ["entropy"], None).rows == 5


def test_what_stands_between_updates_goes_to_the_next():
    nan = np.nan
    log = of_updates(table(entropy=[nan, nan, 1, nan, 2, nan], reward=[4, 6, nan, 8, 9, 5]), ["entropy"], None)
    assert log.columns["entropy"].tolist() == [1, 2]
    assert log.columns["reward"].tolist() == [5, 9]  # its own number is kept
    assert log.lines.tolist() == [3, 5]


def test_a_sawtooth_is_no_scatter():
    """Rollouts that are all alike leave no error, however shares go up and down within each; noise of rollouts does."""
    saw = (0.0, 0.01, 0.02, 0.03)
    rng = np.random.default_rng(9)
    size = 1 + 0.1 * rng.standard_normal(30)

    def log(sizes: np.ndarray) -> list[dict[str, float]]:
        rows = [(place, size * share) for size in sizes for place, share in enumerate(saw)]
        return [{"inner_step": k, "clip_fraction_low": x, "clip_fraction_high": x, "entropy": 0.7} for k, x in rows]

    alike, noisy = (Run.of(read_rows(log(sizes))) for sizes in (np.ones(30), size))
    assert alike is not None
    assert noisy is not None
    assert side_shares(alike).error == pytest.approx(0, abs=1e-15)
    assert alike.evidence("clip_low").error == pytest.approx(0, abs=1e-15)
    whole = np.array([np.mean(saw) * 2 * s for s in size])
    assert side_shares(noisy).total == pytest.approx(whole.mean())
    assert side_shares(noisy).error == pytest.approx(mean_and_error(whole)[1])
    # The rows themselves scatter far more.
    assert mean_and_error(noisy.shares)[1] > 2 * side_shares(noisy).error


def test_rows_are_taken_in_the_order_of_their_steps():
    """A table with its newest row first was a run that gained entropy where it had lost it."""
    backwards = of_updates(table(step=[4, 3, 2, 1], entropy=[0.1, 0.2, 0.3, 0.4]), ["entropy"], "step")
    assert backwards.columns["entropy"].tolist() == [0.4, 0.3, 0.2, 0.1]
    assert (backwards.lines.tolist(), backwards.superseded) == ([4, 3, 2, 1], 0)
    numbered = table(rollout=[1, 1, 0, 0], inner_step=[1, 0, 1, 0], entropy=[4, 3, 2, 1])
    assert of_updates(numbered, ["entropy"], None, ("rollout", "inner_step")).columns["entropy"].tolist() == [1, 2, 3, 4]
    # Nothing tells the order of rows that share a number.
    assert of_updates(table(rollout=[1, 1, 0, 0], entropy=[4, 3, 2, 1]), ["entropy"], None, ("rollout",)).lines.tolist() == [
        1,
        2,
        3,
        4,
    ]


def test_steps_that_every_epoch_counts_anew_are_no_restarts():
    step, entropy = [*range(30)] * 3, [*range(90)]
    assert of_updates(table(step=step, entropy=entropy), ["entropy"], "step").superseded == 0
    epoch = [k // 30 for k in range(90)]
    again = [*range(30), *range(30), *range(12, 42)]
    assert of_updates(table(step=again, entropy=entropy, epoch=epoch), ["entropy"], "step").superseded == 0
    # Of another length each, or without an epoch that grows: started again.
    assert of_updates(table(step=again, entropy=entropy), ["entropy"], "step").superseded > 0
    resumed = [0] * 60 + [0] * 30
    assert of_updates(table(step=again, entropy=entropy, epoch=resumed), ["entropy"], "step").superseded > 0
