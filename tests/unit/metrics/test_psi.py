"""The population stability index."""

import numpy as np
import pytest

from nightmill.metrics import psi, psi_by_chance


def test_alike_is_zero_and_scale_does_not_matter() -> None:
    assert psi([1, 2, 3], [10, 20, 30]) == pytest.approx(0)


def test_a_shift_of_a_tenth_between_two_halves() -> None:
    assert psi([0.5, 0.5], [0.6, 0.4]) == pytest.approx(0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5))


def test_an_empty_part_is_far_and_not_infinite_and_nothing_is_unknown() -> None:
    assert 1 < psi([1, 1], [1, 0]) < 10
    assert np.isnan(psi([0, 0], [1, 1]))


@pytest.mark.parametrize(("before", "now"), [(300, 100), (1000, 480), (5000, 5000)])
def test_two_samples_of_one_distribution_stay_below_what_chance_brings(before: int, now: int) -> None:
    draws, shares = np.random.default_rng(0), np.full(10, 0.1)
    found = [psi(draws.multinomial(before, shares), draws.multinomial(now, shares)) for _ in range(2000)]
    limit = psi_by_chance(before, now, 10)
    assert np.mean([one > limit for one in found]) < 0.005
    assert np.mean([one > limit / 3 for one in found]) > 0.1, "and it is no higher than that"
