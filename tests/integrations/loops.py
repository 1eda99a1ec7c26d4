"""A training loop in plain torch on tables of logits, with the ledger in it."""

from __future__ import annotations

import torch

__all__ = ["logits_of", "made", "sample", "train"]


V = 7


class Table(torch.nn.Module):
    """A small policy: a table of embeddings and a head, contexts are numbers."""

    def __init__(self, seed=0, dtype=torch.float64):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.embedding = torch.nn.Parameter(torch.randn(12, 5, generator=g, dtype=dtype))
        self.head = torch.nn.Parameter(0.7 * torch.randn(5, V, generator=g, dtype=dtype))
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, contexts):
        return self.drop(self.embedding[contexts]) @ self.head


def logits_of(model, contexts):
    return model(contexts)


def sample(model, seed, rows=8, length=4):
    g = torch.Generator().manual_seed(seed)
    contexts = torch.randint(12, (rows, length), generator=g)
    with torch.no_grad():
        log_probs = torch.log_softmax(model(contexts), -1)
    actions = torch.multinomial(log_probs.exp().reshape(-1, V), 1, generator=g).reshape(rows, length)
    mask = torch.arange(length) < torch.randint(1, length + 1, (rows, 1), generator=g)
    advantages = torch.randn(rows, generator=g, dtype=log_probs.dtype)
    return contexts, actions, log_probs.gather(-1, actions[..., None])[..., 0], advantages, mask


def train(ledger, model, optimizer, rollouts=2, updates=3, *, norm=None, penalty=0.0, first=0):
    """A training loop as a user has it: clipped surrogate, perhaps an entropy bonus and a limit on the gradient's norm."""
    for rollout in range(first, first + rollouts):
        contexts, actions, old, advantages, mask = sample(model, rollout)
        ledger.rollout(contexts)
        for _ in range(updates):
            every = torch.log_softmax(model(contexts).float() if old.dtype == torch.bfloat16 else model(contexts), -1)
            log_probs = every.gather(-1, actions[..., None])[..., 0]
            old = old.to(log_probs.dtype)
            ledger.minibatch(log_probs, old, advantages, mask)
            ratio, a = torch.exp(log_probs - old), advantages[:, None]
            loss = -(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()
            loss = loss + penalty * (every.exp() * every).sum(-1).mean()
            loss.backward()
            if norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), norm)
            optimizer.step()
            optimizer.zero_grad()
    return ledger


def made(kind=torch.optim.SGD, seed=0, dtype=torch.float64, **options):
    model = Table(seed, dtype).eval()
    optimizer = kind(model.parameters(), **({"lr": 1.0} | options))
    return model, optimizer
