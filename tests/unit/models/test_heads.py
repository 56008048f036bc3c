"""The last layer: what an untrained model predicts, what its parameters promise."""

import numpy as np
import pytest
import torch
from scipy import stats

from nightmill.models.heads import HEADS, counts, dispersion
from nightmill.models.shape import Shape

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
MEAN, STD = torch.tensor(4.0), torch.tensor(2.0)


def head(name, steps=3, zero=False):
    torch.manual_seed(0)
    shape = Shape(("a",), 1, steps, False, 0, None, 60, head=name, levels=LEVELS, classes=("a", "b", "c", "d"))
    return HEADS[name](5, shape, zero)


def parameters(made, base=7.0, rows=200):
    return made(10 * torch.randn(rows, 5), torch.full((rows, 1), base), MEAN, STD)


# a detector works out its own parameters: tests/unit/models/test_detector.py


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"anomaly"}))
def test_every_head_predicts_a_number_per_step(name):
    made = head(name)
    found = parameters(made)
    assert found.shape == (200, 3, made.width) and found.dtype == torch.float32
    assert made.value(found).shape == (200, 3) and made.value(found).isfinite().all()
    lower, upper = made.ends(found, 0.8)
    assert (lower <= upper).all() and lower.shape == upper.shape == (200, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("point", 7.0), ("quantiles", 7.0), ("poisson", 4.0), ("negative_binomial", 4.0)],
)
def test_a_head_that_begins_at_zero_predicts_the_first_guess_or_the_mean(name, expected):
    made = head(name, zero=True)
    assert made.value(parameters(made)).unique().tolist() == pytest.approx([expected])


def test_a_probability_begins_at_the_share_of_the_training_rows():
    made = head("probability", zero=True)
    found = made.value(made(torch.randn(4, 5), torch.zeros(4, 1), torch.tensor(0.03), STD))
    assert found.unique().tolist() == pytest.approx([0.03], rel=1e-4)


def test_quantiles_never_cross():
    found = parameters(head("quantiles"))
    assert (found.diff(dim=2) >= 0).all()


def test_the_ends_of_quantiles_are_those_of_the_share():
    made = head("quantiles")
    found = parameters(made)
    lower, upper = made.ends(found, 0.5)
    assert torch.equal(lower, found[..., 1]) and torch.equal(upper, found[..., 3])


def test_the_ends_of_counts_are_those_of_their_distribution():
    made = head("poisson")
    found = parameters(made)
    lower, upper = made.ends(found, 0.8)
    rate = found[..., 0].detach().double().numpy()
    assert np.array_equal(lower.numpy(), stats.poisson.ppf(0.1, rate).astype(np.float32))
    assert np.array_equal(upper.numpy(), stats.poisson.ppf(0.9, rate).astype(np.float32))


def test_a_negative_binomial_is_wider_than_a_poisson():
    made = head("negative_binomial")
    lower, upper = made.ends(torch.tensor([[[9.0, 0.5]]]), 0.8)
    assert (lower.item(), upper.item()) == tuple(stats.nbinom.ppf([0.1, 0.9], 2, 1 / 5.5))


def test_a_point_expects_nothing_of_its_own():
    made = head("point")
    found = parameters(made)
    assert all(torch.equal(end, made.value(found)) for end in made.ends(found, 0.8))


def test_the_likeliest_dispersion_is_the_one_that_counts_were_drawn_with():
    mean = np.random.default_rng(1).gamma(2.0, 2.0, 40_000)
    truth = np.random.default_rng(0).negative_binomial(1 / 0.8, 1 / (1 + 0.8 * mean)).astype(float)
    truth[::5] = np.nan
    assert dispersion(truth, mean) == pytest.approx(0.8, rel=0.05)
    known = ~np.isnan(truth)
    for level, of in zip((0.5, 0.9), counts(mean, 0.8, (0.5, 0.9)).T, strict=True):
        assert level <= (truth[known] <= of[known]).mean() < level + 0.1  # counts step over the level
    assert dispersion(np.full(3, np.nan), np.ones(3)) == 1.0
