"""What the numbers of a head mean."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloudseed.surrogate.prediction.debye import heat_capacity
from cloudseed.surrogate.prediction.links import Link, link_for

KINDS = ("linear", "log", "hurdle", "debye")


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.floats(-1e4, 1e4), min_size=6, max_size=6))
def test_loss_and_gradients_are_finite_whatever_a_head_says(kind, numbers):
    link = Link(kind, 0.5, 2.0)
    raw = torch.tensor(numbers[: 2 * link.outputs]).reshape(2, 1, link.outputs).requires_grad_()
    loss = link.loss(raw, torch.tensor([12.0]))
    assert loss.shape == (2, 1)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(raw.grad).all()
    value, sd = link.summarise(raw.detach().clamp(-20, 20))
    assert torch.isfinite(value).all()
    assert (sd >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_least_at_the_truth(kind):
    link = Link(kind, 1.0, 2.0)
    places = torch.linspace(-3, 3, 121)
    raw = torch.zeros(1, 121, link.outputs)
    raw[..., 0] = places
    raw[..., 1] = -3.0
    raw[..., 2:] = 12.0
    truth = {
        "linear": 1.0 + 2.0 * 0.5,
        "log": float(torch.tensor(1.0 + 2.0 * 0.5).exp()),
        "hurdle": 1.0 + 2.0 * 0.5,
        "debye": 20.0,
    }[kind]
    best = int(link.loss(raw, torch.tensor(truth))[0].argmin())
    value, _ = link.summarise(raw[:, best : best + 1])
    if kind == "debye":
        value = heat_capacity(value.exp(), torch.tensor(300.0))
    assert float(value) == pytest.approx(truth, rel=0.03)


def test_disagreement_of_the_members_widens_the_error():
    link = Link("linear", 0.0, 1.0)
    agreed, split = torch.zeros(2, 1, 2), torch.zeros(2, 1, 2)
    split[:, 0, 0] = torch.tensor([-1.0, 1.0])
    assert float(link.summarise(split)[1]) ** 2 == pytest.approx(
        float(link.summarise(agreed)[1]) ** 2 + 1
    )


@pytest.mark.parametrize(("logit", "place"), [(-1.0, 2.0), (0.5, 2.0), (3.0, 1.0)])
def test_hurdle_gives_the_median_and_spread_of_the_mixture(logit, place):
    link = Link("hurdle", 0.0, 1.0)
    raw = torch.tensor([[[place, -1.5, logit]]])
    value, sd = link.summarise(raw)
    torch.manual_seed(0)
    noise = torch.distributions.Laplace(place, float(torch.tensor(-1.5).exp())).sample((200_000,))
    above = torch.rand(200_000) < torch.sigmoid(torch.tensor(logit))
    mixed = torch.where(above, noise, 0.0)
    assert float(value) == pytest.approx(float(mixed.median()), abs=0.01)
    assert float(sd) == pytest.approx(float(mixed.std()), rel=0.02)


def test_hurdle_is_never_negative():
    raw = torch.randn(5, 100, 3) * 4
    value, _ = Link("hurdle", 0.1, 2.0).summarise(raw)
    assert (value >= 0).all()


def test_a_link_takes_its_units_from_the_values_that_it_models():
    assert link_for("hurdle", torch.tensor([0.0, 0.0, 0.0, 2.0, 4.0, 6.0])).shift == 4.0
    assert link_for("log", torch.tensor([1.0, 1.0])).scale > 0
    assert link_for("linear", torch.tensor([5.0, 7.0, 9.0])).shift == 7.0
