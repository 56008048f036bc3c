"""PatchCore: what is unlike good images is found, and where."""

from __future__ import annotations

import pytest
import torch

from nightmill.config.models import Patchcore
from nightmill.models import build
from nightmill.models.bundle import differences
from nightmill.models.shape import Fitted, Shape

SIZE = 64
SHAPE = Shape(("pixels",), 1, 0, False, 9, None, 1, low=0.0, head="anomaly", array=(SIZE, SIZE), array_type="uint8")


def network(**options):
    fitted = Fitted(torch.zeros(1).numpy(), torch.ones(1).numpy(), 0.0, 1.0)
    return build(Patchcore(family="patchcore", memory=200, **options), SHAPE, fitted).eval()


def images(count, seed, scratched=False):
    """Fine noise on grey, and of the scratched a bright line across the lower right quarter."""
    drawn = torch.randn(count, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 6 + 120
    if scratched:
        for n in range(20):
            drawn[:, 36 + n, 36 + n : 40 + n] = 230
    return drawn.clamp(0, 255).to(torch.uint8).flatten(1).unsqueeze(1), torch.zeros(count, dtype=torch.int64)


@pytest.fixture(scope="module")
def taught():
    made = network()
    made.remember(made.patches(images(20, 0)[0]).flatten(0, 2), seed=0)
    made.judge_by(made.strangeness(made.patches(images(20, 1)[0])).flatten(1).amax(1))
    return made


def test_a_scratch_is_an_alarm_and_good_images_are_none(taught):
    good, bad = (taught(*images(20, 2, scratched))[:, 0, 0] for scratched in (False, True))
    assert (bad > 1).all() and (good > 1).float().mean() < 0.3 and bad.min() > good.max()


def test_the_heat_is_where_the_scratch_is(taught):
    heat = taught.heat(images(3, 3, scratched=True)[0])
    assert heat.shape == (3, SIZE, SIZE) and heat.amin() == 0 and heat.amax() == 1
    rows, columns = torch.unravel_index(heat.flatten(1).argmax(dim=1), (SIZE, SIZE))
    assert ((rows > 28) & (columns > 28)).all()


def test_what_is_remembered_covers_the_rest(taught):
    made, patches = network(), taught.patches(images(20, 0)[0]).flatten(0, 2)
    made.remember(patches, seed=0)
    assert made.memory.shape == (200, made.channels) and torch.equal(made.memory, taught.memory)
    drawn = patches[torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:200]]
    assert made.strangeness(patches).max() < torch.cdist(patches, drawn).amin(dim=1).max()


def test_while_nothing_is_remembered_nothing_is_strange():
    assert network()(*images(2, 0))[:, 0].tolist() == [[0, 0], [0, 0]]


def test_its_files_hold_what_it_remembers(taught):
    other = network()
    weights = taught.state_dict()
    other.make_room(weights)
    assert not differences(other, weights)
    other.load_state_dict(weights)
    assert torch.equal(other(*images(2, 4, scratched=True)), taught(*images(2, 4, scratched=True)))
