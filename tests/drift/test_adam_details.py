"""Adam's step taken apart (T13): it is torch's, its parts add up to it, and what one unit of gradient is worth is exact."""

from __future__ import annotations

import numpy as np
import pytest

from entclip.drift.adam import Adam, adam_price, adam_step
from tests.tolerances import assert_identity

torch = pytest.importorskip("torch")
RATE, BETAS, EPS = 0.02, (0.8, 0.9), 1e-3
cases = pytest.mark.parametrize(("decay", "coupled"), [(0.0, True), (0.0, False), (0.3, True), (0.3, False)])


def numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 5))


@cases
def test_three_steps_are_those_of_torch(decay: float, coupled: bool) -> None:
    """torch descends: it is given the gradient with its sign turned."""
    value = numbers(0)
    parameter = torch.nn.Parameter(torch.tensor(value))
    kind = torch.optim.Adam if coupled else torch.optim.AdamW
    optimizer = kind([parameter], lr=RATE, betas=BETAS, eps=EPS, weight_decay=decay)
    first = second = np.zeros_like(value)
    for update in (1, 2, 3):
        gradient = numbers(update)
        made = adam_step(Adam(RATE, *BETAS, EPS, decay, coupled, update), gradient, value, first, second)
        value, first, second = value + made.step, made.first, made.second
        parameter.grad = torch.tensor(-gradient)
        optimizer.step()
        assert_identity(value, parameter.detach().numpy(), np.full(value.shape, 10.0))


@cases
def test_parts_add_up_to_the_step(decay: float, coupled: bool) -> None:
    adam = Adam(RATE, *BETAS, EPS, decay, coupled, 4)
    gradient, value, first, second = numbers(1), numbers(2), numbers(3), numbers(4) ** 2
    made = adam_step(adam, gradient, value, first, second)
    assert (made.decay is None) == (decay == 0)
    whole = made.scale * gradient + made.momentum + (0 if made.decay is None else made.decay)
    assert_identity(whole, made.step, np.full(whole.shape, 1.0))
    held = RATE / (np.sqrt(made.second / (1 - BETAS[1] ** 4)) + EPS) / (1 - BETAS[0] ** 4)  # P, of T13
    assert_identity(made.precondition, held, np.full(held.shape, 10.0))
    parts = [made.scale * gradient, made.momentum, *([] if made.decay is None else [made.decay])]
    assert all(np.max(np.abs(part)) > 1e-5 for part in parts), "falsifier: a part left out would be seen"


@cases
def test_parts_are_worth_their_product_with_the_slope(decay: float, coupled: bool) -> None:
    """Priced after the step, from the averages that it left: as much as the parts that made it."""
    adam = Adam(RATE, *BETAS, EPS, decay, coupled, 4)
    slope, gradient, value, first, second = numbers(0), numbers(1), numbers(2), numbers(3), numbers(4) ** 2
    made = adam_step(adam, gradient, value, first, second)
    priced = adam_price(adam, slope, made.second)
    worth = [(priced.own * priced.price, gradient, made.scale * gradient), (priced.past * priced.price, first, made.momentum)]
    if made.decay is not None:
        worth.append((priced.decay * priced.decay_price, value, made.decay))
    for price, thing, part in worth:
        assert_identity(price * thing, slope * part, np.full(part.shape, 1.0))
        assert np.max(np.abs(slope * part)) > 1e-5, "falsifier: a part left out would be seen"
    assert (priced.decay == 0) == (decay == 0)


def test_rates_may_differ_by_row() -> None:
    """A rate of each row gives each row the step of a run with that rate."""
    rates = np.array([[0.02], [0.5]])
    tables = (numbers(1), numbers(2), numbers(3), numbers(4) ** 2)
    together = adam_step(Adam(rates, *BETAS, EPS, 0.3, False, 2), *tables)
    for row, rate in enumerate((0.02, 0.5)):
        alone = adam_step(Adam(rate, *BETAS, EPS, 0.3, False, 2), *(x[row] for x in tables))
        np.testing.assert_array_equal(together.step[row], alone.step)
        np.testing.assert_array_equal(together.scale[row], alone.scale)
