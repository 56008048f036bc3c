"""Networks that see arrays, and ways to change these in training."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nightmill.config.models import Wdcnn
from nightmill.config.usecase import Flip, Noise, Roll, Scale
from nightmill.models import build
from nightmill.models.augment import augmented, noisy
from nightmill.models.shape import Shape

SIZE = 96


def network(**options):
    torch.manual_seed(0)
    shape = Shape(
        ("samples",), 1, 0, True, 3, None, 1, head="classes", classes=("a", "b"), array=(SIZE,), array_type="float32"
    )
    return build(Wdcnn(family="wdcnn", kernel=8, stride=2, hidden=8, layers=3, **options), shape).eval()


def waveforms(count=5, seed=0):
    return torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed))


def test_bytes_and_the_numbers_they_stand_for_are_one():
    x, entity = waveforms(), torch.zeros(5, dtype=torch.int64)
    held = torch.from_numpy(np.frombuffer(x.numpy().tobytes(), np.uint8).copy()).view(5, 1, 4 * SIZE)
    made = network()
    assert torch.equal(made(held, entity), made(x, entity))


def test_images_are_bytes_already():
    shape = Shape(("pixels",), 1, 0, True, 3, None, 1, array=(4, 6), array_type="uint8")
    made = build(Wdcnn(family="wdcnn", kernel=8, stride=2, hidden=8, layers=2), shape)
    held = torch.arange(48, dtype=torch.uint8).view(2, 1, 24)
    assert torch.equal(made.array(held), torch.arange(48.0).view(2, 4, 6))
    assert shape.row_bytes == 24


@given(st.floats(0.01, 1000), st.floats(-100, 100))
def test_strength_and_offset_of_a_waveform_do_not_count(strength, offset):
    x, entity, made = waveforms(), torch.zeros(5, dtype=torch.int64), network()
    assert torch.allclose(made(x * strength + offset * strength, entity), made(x, entity), atol=1e-3)


def test_a_flat_line_has_a_prediction():
    assert network()(torch.zeros(2, SIZE), torch.zeros(2, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize("decibel", [-5.0, 0.0, 20.0])
def test_noise_has_the_power_that_is_asked_for(decibel):
    x = torch.sin(torch.arange(200_000.0) / 7).view(2, -1) * torch.tensor([[1.0], [50.0]]) + 3
    added = noisy(x, torch.full((2,), decibel)) - x
    found = 10 * torch.log10(x.var(dim=1) / added.var(dim=1))
    assert found.tolist() == pytest.approx([decibel] * 2, abs=0.1)


def test_only_a_share_of_the_samples_is_changed_and_each_by_a_draw_of_its_own():
    torch.manual_seed(1)
    x = waveforms(2000)
    changed = augmented(x, [Noise(between=(0, 10), share=0.3)])
    some = (changed != x).any(dim=1)
    assert 0.25 < some.float().mean() < 0.35
    ratios = 10 * torch.log10(x[some].var(dim=1) / (changed - x)[some].var(dim=1))
    assert -2 < ratios.min() < 1 and 9 < ratios.max() < 12


def test_a_roll_keeps_all_values_in_their_round_order():
    torch.manual_seed(2)
    x = torch.arange(12.0).repeat(50, 1)
    rolled = augmented(x, [Roll()])
    assert len({int(row[0]) for row in rolled}) > 8
    assert all(((row[1:] - row[:-1]) % 12 == 1).all() for row in rolled)


def test_a_flip_mirrors_half_of_the_images():
    torch.manual_seed(3)
    x = torch.arange(6.0).view(1, 2, 3).repeat(400, 1, 1)
    flipped = augmented(x, [Flip(axes=["vertical"])])
    same, mirrored = (flipped == x).all(dim=(1, 2)), (flipped == x.flip(1)).all(dim=(1, 2))
    assert (same ^ mirrored).all()
    assert 0.4 < same.float().mean() < 0.6


def test_a_scale_changes_all_values_of_a_sample_alike():
    torch.manual_seed(4)
    x = torch.ones(300, 4)
    factors = augmented(x, [Scale(by=0.2)])
    assert (factors == factors[:, :1]).all()
    assert 0.8 <= factors.min() < 0.83 and 1.17 < factors.max() <= 1.2


def test_every_weight_learns():
    made = network().train()
    made(waveforms(), torch.zeros(5, dtype=torch.int64)).square().sum().backward()
    assert not [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.any()]
