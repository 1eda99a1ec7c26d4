"""What the ledger of a torch loop holds in memory beside the model, counted by torch's allocator."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from entclip.engines.llm import probe
from entclip.integrations.torch import EntropyLedger

V, CONTEXTS, BLOCKS, WIDTH = 8192, 512, 8, 4
ROWS = 4 * CONTEXTS * V  # bytes of log pi of the whole probe set, float32
BLOCK = ROWS // BLOCKS
WEIGHTS = 4 * WIDTH * (V + CONTEXTS)
SOME = 8 * 2**16  # bytes of one array of the rows that are summed together, float64


def _peak(work):
    """The most bytes that were allocated at a time while work ran, beyond those from before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as made:
        work()
    events = [(e.start_ns(), e.nbytes()) for e in made.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = top = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        now += size
        top = max(top, now)
    return top


def _accounted_update():
    g = torch.Generator().manual_seed(0)
    weights = torch.nn.ParameterList(torch.randn(shape, generator=g) for shape in ((CONTEXTS, WIDTH), (WIDTH, V)))
    optimizer = torch.optim.SGD(weights, lr=0.1)

    def logits(model, contexts):
        return model[0][contexts] @ model[1]

    ledger = EntropyLedger(weights, optimizer, logits=logits, probe=list(torch.arange(CONTEXTS).split(CONTEXTS // BLOCKS)))
    ledger.rollout()
    log_probs = torch.log_softmax(logits(weights, torch.arange(8)), -1)[:, :2]
    ledger.minibatch(log_probs, log_probs.detach(), torch.ones(8))
    (-log_probs.mean()).backward()
    optimizer.step()
    assert len(ledger.rows) == 1


# Log pi of the probe set under pi_old, before and after the step; of one block at a time its logits, what they were made from,
# their slopes and two gradients; sums of float64 of a few rows; and copies of the weights.
BOUND = 3 * ROWS + 7 * BLOCK + 16 * SOME + 14 * WEIGHTS


def test_an_accounted_update_holds_three_looks_at_the_probe_set_and_a_few_rows(monkeypatch):
    found = _peak(_accounted_update)
    assert 3 * ROWS < found < BOUND
    monkeypatch.setitem(probe._ENTRIES, "cpu", 2**40)
    assert _peak(_accounted_update) > BOUND, "float64 copies of whole blocks"


def test_the_blocks_of_the_probe_set_bound_what_is_beside_it(monkeypatch):
    """The part beyond three looks goes with the size of a block."""
    monkeypatch.setitem(globals(), "BLOCKS", 1)
    assert 6 * ROWS < _peak(_accounted_update) < 3 * ROWS + 7 * ROWS + 16 * SOME + 14 * WEIGHTS
