"""Reading logs: every form that trainers write, what is no log, and files that mean harm."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entclip.integrations.diagnose import diagnose
from entclip.integrations.logs import read_log, read_rows
from entclip.integrations.logs.libraries import KNOWN, LIBRARIES, library_of
from entclip.integrations.logs.names import CAVEATS, QUANTITIES, plain_name
from entclip.support.errors import SpecError
from entclip.support.files import to_json
from tests.robustness.scope import NIGHTLY

HERE = Path(__file__).parent
ROWS = [{"step": 1, "actor/entropy": 0.5, "actor/pg_clipfrac": 0.0}, {"step": 2, "actor/entropy": 0.4, "actor/pg_clipfrac": 0.01}]


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def values(path: Path, name: str = "actor/entropy", **options: str) -> list[float]:
    return read_log(path, **options).columns[name].tolist()


# Every form holds the same two rows.
FORMS = {
    "file.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "nested.jsonl": "".join(
        json.dumps({"step": r["step"], "data": {k: v for k, v in r.items() if k != "step"}}) + "\n" for r in ROWS
    ),
    "cut.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS) + '{"step": 3, "actor/ent',
    "list.json": json.dumps(ROWS),
    "indented.json": json.dumps(ROWS, indent=2),
    "columns.json": json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}),
    "state.json": json.dumps(
        {"best_metric": None, "epoch": 1.0, "log_history": ROWS, "max_steps": 2, "stateful": [{"a": 1}]}, indent=1
    ),
    "table.csv": "step,actor/entropy,actor/pg_clipfrac\n1,0.5,0.0\n2,0.4,0.01\n",
    "table.tsv": "step\tactor/entropy\n1\t0.5\n2\t0.4\n",
    "export.csv": '"Step","mild-sun-1 - actor/entropy","mild-sun-1 - actor/entropy__MIN","mild-sun-1 - actor/entropy__MAX"\n'
    '"1","0.5","0.5","0.5"\n"2","0.4","0.4","0.4"\n',
    "console.log": "loading weights\n(Worker pid=9) step:0 - val-core/acc/mean@1:0.3\n"
    "\x1b[36m(TaskRunner pid=9)\x1b[0m step:1 - actor/entropy:np.float64(0.5) - actor/pg_clipfrac:0.0\n"
    "Training:  3%|x | 1/30\rstep:2 - actor/entropy:0.4 - perf/time:1.0s - actor/pg_clipfrac:0.01\n",
    "printed.log": "{'actor/entropy': 0.5, 'actor/pg_clipfrac': '0'}\nnoise\n{'actor/entropy': '4e-1'}\n",
    "named.log": "step=1 lr=1e-6 metrics={'actor/entropy': 0.5}\nstep=2 lr=1e-6 metrics={'actor/entropy': 0.4}\n",
    "global.log": "INFO Global step 1: {'actor/entropy': 0.5}\nINFO Global step 2: {'actor/entropy': 0.4}\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_numbers(tmp_path, name):
    assert values(written(tmp_path, name, FORMS[name])) == [0.5, 0.4]


def test_rows_of_a_callback():
    log = read_rows([{"entropy": np.float32(0.5), "note": "x"}, {"entropy": 0.25, "clip_ratio/low_mean": True}])
    assert log.columns["entropy"].tolist() == [0.5, 0.25]
    assert list(log.columns) == ["entropy"]
    with pytest.raises(SpecError, match="row 1 is str"):
        read_rows(["entropy"])


def test_parquet_history(tmp_path):
    table = pa.table(
        {"actor/entropy": [0.5, None, 0.4], "_step": [1, 2, 3], "_runtime": [1.0, 2.0, 3.0], "note": ["a", "b", "c"]}
    )
    pq.write_table(table, tmp_path / "history.parquet")
    log = read_log(tmp_path / "history.parquet")
    assert log.columns["actor/entropy"].tolist() == [0.5, 0.4]
    assert log.lines.tolist() == [1, 3]
    assert set(log.columns) == {"actor/entropy", "_step"}


def test_event_files_of_tensorboard(tmp_path):
    """Two files that TensorBoard 2.21's own writer made: one of simple values, one of tensors as TensorFlow 2 writes them."""
    for name in ("simple.tfevents", "tensor.tfevents"):
        log = read_log(HERE / "fixtures" / name)
        assert log.form == "TensorBoard events"
        entropy = log.columns["losses/entropy"]
        assert entropy[np.isfinite(entropy)] == pytest.approx([0.5, 0.4])
    data = (HERE / "fixtures" / "simple.tfevents").read_bytes()
    cut = read_log(written(tmp_path, "cut.tfevents", data[:-7]))
    assert cut.skipped == 1
    assert np.isfinite(cut.columns["losses/entropy"]).sum() == 1 or np.isfinite(cut.columns["losses/clipfrac"]).sum() == 1


def test_boxes_of_stable_baselines(tmp_path):
    box = (
        "-" * 30
        + "\n| time/ | |\n|    total_timesteps | {} |\n| train/ | |\n|    clip_fraction | {} |\n|    entropy_loss | -0.5 |\n"
    )
    text = "".join(box.format(2048 * k, 0.1 * k) + "-" * 30 + "\n" for k in (1, 2))
    log = read_log(written(tmp_path, "out.txt", text))
    assert log.columns["train/clip_fraction"].tolist() == [0.1, 0.2]
    assert log.columns["time/total_timesteps"].tolist() == [2048, 4096]


def test_prime_rl_console_of_today(tmp_path):
    text = (
        "12:00:01 SUCCESS Step 3 |   21.3s | Loss 0.0120 | Entropy 0.5031 | Mismatch KL 0.0010 | Grad. Norm 0.1000 | "
        "LR 1.00e-06 | Throughput 81200 tokens/s | MFU 30.1% | Peak Mem. 61.2 GiB\n"
    )
    log = read_log(written(tmp_path, "trainer.log", text))
    found = {name: column[0] for name, column in log.columns.items()}
    assert found == {"step": 3, "Loss": 0.012, "Entropy": 0.5031, "Mismatch KL": 0.001, "Grad. Norm": 0.1, "LR": 1e-6}


def test_prime_rl_console(tmp_path):
    text = "12:00:01 SUCCESS Step 3 | Time: 9.1s | Loss: 0.1 | Entropy: 0.5 | Mismatch KL: 0.001 | MFU: 30.1%\n"
    log = read_log(written(tmp_path, "trainer.log", text))
    found = {name: column[0] for name, column in log.columns.items()}
    assert found == {"step": 3, "Loss": 0.1, "Entropy": 0.5, "Mismatch KL": 0.001}


def test_infinite_numbers_are_missing_and_counted(tmp_path):
    log = read_log(
        written(tmp_path, "a.jsonl", '{"entropy": NaN, "kl": 1}\n{"entropy": Infinity, "kl": 1e999}\n{"entropy": 0.5}\n')
    )
    assert {name: list(lines) for name, lines in log.infinite.items()} == {"entropy": [1, 2], "kl": [2]}
    assert np.isnan(log.columns["entropy"][:2]).all()


def test_a_table_of_several_runs_asks_which(tmp_path):
    path = written(tmp_path, "two.csv", "Step,a - entropy,b - entropy\n1,.5,.7\n")
    with pytest.raises(SpecError, match=r"2 runs \(a, b\): choose one with --run"):
        read_log(path)
    assert values(path, "entropy", run="b") == [0.7]
    with pytest.raises(SpecError, match="no run 'c'"):
        read_log(path, run="c")


@pytest.mark.parametrize("column", ["Name", "Run ID", "trial_id", "run_id"])
def test_a_table_with_a_row_for_each_run_is_no_history(tmp_path, column):
    """A tracker's table of runs was read as one run whose entropy collapsed, from the first run to the last."""
    rows = "\n".join(f"{name},finished,{0.9 - 0.1 * i},0.02" for i, name in enumerate(("calm", "dry", "wet", "old")))
    path = written(tmp_path, "runs.csv", f"{column},State,entropy,clip_fraction_low\n{rows}\n")
    with pytest.raises(SpecError, match="If each row is a run of its own"):
        read_log(path)


def test_rows_of_other_processes_are_left_out(tmp_path):
    """Each process wrote its share of a step: four rows of one update were four updates of a rollout."""
    rows = [{"rank": rank, "step": step, "entropy": step + rank / 10} for step in (1, 2) for rank in (2, 0, 1)]
    log = read_log(written(tmp_path, "ranks.jsonl", "\n".join(map(json.dumps, rows))))
    assert log.columns["entropy"].tolist() == [1.2, 2.2]
    assert log.other_ranks == 4
    alone = read_log(written(tmp_path, "lora.jsonl", '{"rank": 16, "entropy": 0.5}\n{"rank": 16, "entropy": 0.4}\n'))
    assert (alone.rows, alone.other_ranks) == (2, 0)


def test_a_decimal_comma_is_a_point_between_semicolons(tmp_path):
    path = written(tmp_path, "de.csv", "step;entropy;clip_fraction_low\n1,0;0,5;1,5e-3\n2,0;-0,25;2,5%\n")
    log = read_log(path)
    assert log.columns["entropy"].tolist() == [0.5, -0.25]
    assert log.columns["clip_fraction_low"].tolist() == pytest.approx([0.0015, 0.025])
    # Beside a point the comma groups thousands: no number here.
    grouped = read_log(written(tmp_path, "en.csv", "step;entropy;clip_fraction_low\n1;1,234;0.5\n2;0.3;0.4\n"))
    assert np.isnan(grouped.columns["entropy"][0])


@pytest.mark.parametrize(
    "line",
    [
        "2026-05-01 10:00:00 INFO [step 3] entropy=0.5 clip_fraction_low=2e-3 lr=1e-06",
        "step=3 entropy = 0.5, clip_fraction_low = 0.002",
        "(Worker pid=7) Step: 3 | entropy=0.5 | clip_fraction_low=.002",
    ],
)
def test_assignments_of_a_step_are_a_row(tmp_path, line):
    log = read_log(written(tmp_path, "a.log", f"Namespace(entropy=0.1, seed=4)\nloading\n{line}\nstep 4 took time=3\n"))
    assert [log.columns[name].tolist() for name in ("step", "entropy", "clip_fraction_low")] == [[3.0], [0.5], [0.002]]


def test_metrics_may_stand_in_a_table_of_their_own(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"step": 1, "metrics": {"entropy": 0.5}}\n{"step": 2, "metrics": {"entropy": 0.4}}\n')
    assert library_of(list(read_log(path).columns)) is not None
    assert values(path, "metrics/entropy") == [0.5, 0.4]


# What is no log


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "it is empty"),
        ("a.log", b"hello\nworld\n", "has no metric that is known here"),
        ("a.jsonl", b'{"loss": 1}\n{"loss": 2}\n', "It names loss"),
        ("a.parquet", b"PAR1 and nothing else", "no whole Parquet file"),
        ("a.bin", bytes(range(256)) * 40, "binary"),
        ("a.json", b'{"entropy": ', "no whole JSON object"),
    ],
)
def test_what_is_no_log_is_refused_in_one_sentence(tmp_path, name, content, message):
    if name == "a.bin":
        content = b"\0" * 5000
    with pytest.raises(SpecError, match=message):
        read_log(written(tmp_path, name, content))


def test_pipes_devices_and_missing_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(str(tmp_path / "socket"))
        for name, message in (("pipe", "a pipe"), ("socket", "a device or socket"), ("none", "No such file")):
            with pytest.raises(SpecError, match=message):
                read_log(tmp_path / name)
    (tmp_path / "pipe").unlink()
    with pytest.raises(SpecError, match="has no log"):
        read_log(tmp_path)


def test_deep_long_and_huge_values_do_no_harm(tmp_path):
    deep = '{"entropy": 0.5, "x": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}\n"
    digits = '{"entropy": ' + "9" * 100_000 + "}\n"
    log = read_log(written(tmp_path, "a.jsonl", '{"entropy": 0.5}\n' + deep + digits))
    assert log.columns["entropy"][0] == 0.5
    assert {name: list(lines) for name, lines in log.infinite.items()} == {"entropy": [3]}
    one_line = written(tmp_path, "b.log", b"step:1 - actor/entropy:0.5 - actor/pg_clipfrac:0\n" + b"x" * 9_000_000 + b"\n")
    assert values(one_line) == [0.5]


def test_a_long_log_is_streamed(tmp_path):
    path = tmp_path / "long.jsonl"
    line = json.dumps({f"timing_s/part_{i}": i * 1.2345678 for i in range(60)} | {"actor/entropy": 0.5}) + "\n"
    path.write_text(line * (8_000_000 // len(line)))
    tracemalloc.start()
    log = read_log(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert log.rows == 8_000_000 // len(line)
    assert peak < 3_000_000  # a chunk, a row, and the numbers that are kept


def test_a_log_of_too_many_numbers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("entclip.integrations.logs.log.MOST_NUMBERS", 100)
    with pytest.raises(SpecError, match="over 100 numbers by line"):
        read_log(written(tmp_path, "a.csv", "entropy,kl\n" + "1,2\n" * 60))


def test_memory_grows_with_the_numbers_kept():
    """In a process of its own: 9 MB of CSV of which every number is kept take 8 MB, and as much again while they are read."""
    code = (
        "import resource, sys; from entclip.integrations.logs import read_log;"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = most();"
        "print(read_log(sys.argv[1]).rows, most() - before)"
    )
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"entclip-{os.getpid()}.csv"
    try:
        path.write_text("entropy,kl,reward,reward_std\n" + "0.512345,0.001234,0.500001,0.499999\n" * 250_000)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    finally:
        path.unlink(missing_ok=True)
    rows, kilobytes = map(int, done.stdout.split())
    assert rows == 250_000
    assert kilobytes < 60_000


# Names


def test_names_are_known_quantities_and_caveats():
    assert len({library.name for library in LIBRARIES}) == len(LIBRARIES)
    for library in LIBRARIES:
        names = [alias.name for alias in library.aliases]
        assert len(set(names)) == len(names), library.name
        assert {name for mark in library.marks for name in mark.split(" & ")} <= KNOWN
        for alias in library.aliases:
            assert alias.name == plain_name(alias.name)
            assert alias.quantity in QUANTITIES, alias
            assert set(alias.caveats) <= set(CAVEATS), alias
    used = {caveat for library in LIBRARIES for alias in library.aliases for caveat in alias.caveats}
    assert used == set(CAVEATS)


@pytest.mark.parametrize(
    ("names", "library"),
    [
        (["train/clip_ratio/low_mean", "entropy"], "trl"),
        (["actor/pg_clipfrac", "actor/entropy", "step"], "verl"),
        (["ppo_clip_ratio", "ppo_kl", "kl", "reward"], "openrlhf"),
        (["Entropy", "Mismatch KL", "step"], "prime-rl"),
        (["train/clip_fraction", "train/approx_kl", "train/entropy_loss"], "sb3"),
        (["losses/clipfrac", "losses/approx_kl"], "cleanrl"),
        (["clip_fraction", "kl_approx", "ESS"], "torchrl"),
        (["train/pg_clipfrac", "train/ppo_kl", "train/entropy_loss"], "slime"),
        (["actor/pg_clipfrac_higher", "actor/entropy_loss"], "easyr1"),
        (["actor/pg_clipfrac", "actor/entropy_loss", "actor/ppo_kl"], "verl"),
        (["clip_ratio/low_mean", "entropy/mean"], "ms-swift"),
        (["clip_ratio/low_mean", "entropy/entropy_mean"], "ms-swift"),
        (["entropy/mean", "is_masked/mean"], "prime-rl"),
        (["ppo_actor/update/clip_ratio/avg", "ppo_actor/update/entropy/avg"], "areal"),
        (["actor/ppo_ratio_clipfrac", "actor/policykl", "actor/approxkl", "actor/pg_loss", "critic/score/mean"], "roll"),
        (["policy/clipfrac_avg", "policy/entropy_avg", "val/ratio", "objective/kl1_avg"], "open-instruct"),
        (["policy/clipfrac_avg", "policy/entropy_avg", "val/ratio", "objective/kl"], "trl-ppo"),
        (["policy/policy_entropy", "policy/loss_metrics/clip_ratio"], "skyrl"),
        (["policy/policy_entropy", "policy/ppo_clip_ratio", "policy/policy_loss"], "skyrl"),
        (["ppo/policy/clipfrac", "objective/kl", "objective/entropy"], "trl-ppo"),
        (["policy/clipfrac_avg", "policy/entropy_avg", "loss/policy_avg"], "trl-ppo"),
        (["train/probs_ratio", "train/approx_entropy", "train/loss"], "nemo-rl"),
        (["entropy", "clip_fraction_low"], "plain"),
        # Names that several libraries have decide nothing.
        (["entropy", "clip_fraction", "approx_kl", "step"], "plain"),
        (["entropy", "kl", "reward", "loss"], "plain"),
    ],
)
def test_a_library_is_known_by_its_names(names, library):
    found = library_of(names)
    assert found is not None
    assert found.name == library


def test_nothing_known():
    assert library_of(["loss"]) is None
    assert library_of(["nonsense"]) is None


# Files that were damaged


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data with a few bytes changed, cut, repeated or put elsewhere."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not out:
            break
        at, kind = rng.randrange(len(out)), rng.randrange(5)
        length = rng.randint(1, 40)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            del out[at : at + length]
        elif kind == 2:
            out[at:at] = bytes(rng.choice(b'{}[]",:-\n\r\t\0|9e.') for _ in range(length))
        elif kind == 3:
            out[at:at] = out[at : at + length] * rng.randint(1, 30)
        else:
            out = out[:at]
    return bytes(out)


def fuzz(folder: Path, count: int, seed: int = 16) -> int:
    """Read `count` mutated files; how many were read. Anything but a SpecError is a fault."""
    rng = random.Random(seed)
    pq.write_table(pa.table({"entropy": [0.5, 0.4], "clip_fraction_low": [0.0, 0.1]}), folder / "seed.parquet")
    seeds = [(name, text.encode()) for name, text in FORMS.items()]
    seeds += [(p.name, p.read_bytes()) for p in (*sorted((HERE / "fixtures").glob("*.tfevents")), folder / "seed.parquet")]
    read, refusals = 0, []
    for _ in range(count):
        name, data = rng.choice(seeds)
        try:
            path = written(folder, f"x-{name}", mutated(data, rng))
            found = diagnose(path, run=rng.choice([None, None, "mild-sun-1"]))
        except SpecError as error:
            refusals.append(str(error))
            continue
        read += 1
        assert found.to_text(80)
        assert to_json(found.to_json())
        log = found.log
        assert all(len(column) == log.rows for column in log.columns.values())
        assert not any(np.isinf(column).any() for column in log.columns.values())
    assert not any("\n" in text for text in refusals)
    return read


def test_mutated_files_are_read_or_refused(tmp_path):
    """A share of what `python -m tests.integrations.logs.fuzz` reads, and the nightly run: 5,000 files."""
    count = 5000 if NIGHTLY else 400
    assert fuzz(tmp_path, count) > count / 4
