"""The population stability index."""

import numpy as np
import pytest

from nightmill.metrics import psi


def test_alike_is_zero_and_scale_does_not_matter() -> None:
    assert psi([1, 2, 3], [10, 20, 30]) == pytest.approx(0)


def test_a_shift_of_a_tenth_between_two_halves() -> None:
    assert psi([0.5, 0.5], [0.6, 0.4]) == pytest.approx(0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5))


def test_an_empty_part_is_far_and_not_infinite_and_nothing_is_unknown() -> None:
    assert 1 < psi([1, 1], [1, 0]) < 10
    assert np.isnan(psi([0, 0], [1, 1]))
