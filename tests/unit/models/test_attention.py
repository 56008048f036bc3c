"""The encoder layer against torch's own, and what low-rank updates reach of it."""

import pytest
import torch
from torch import nn

from nightmill.config.usecase import Lora
from nightmill.models import attention
from nightmill.models.attention import Encoder
from nightmill.train.start import add_updates


def layer(seed=0):
    torch.manual_seed(seed)
    made = Encoder(hidden=8, heads=2, dropout=0.5)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.eval()


@pytest.mark.parametrize("short", [0, 128], ids=["fused", "all weights at once"])
def test_it_gives_what_torchs_own_layer_gives(short, monkeypatch):
    monkeypatch.setattr(attention, "SHORT", short)
    ours, x = layer(), torch.randn(4, 11, 8)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True).eval()
    pairs = {
        "norm1": ours.before_attention,
        "norm2": ours.before_each,
        "self_attn.out_proj": ours.answered,
        "linear1": ours.widen,
        "linear2": ours.narrow,
    }
    state = {f"{name}.{key}": value for name, part in pairs.items() for key, value in part.state_dict().items()}
    state |= {f"self_attn.in_proj_{key}": value for key, value in ours.asked.state_dict().items()}
    theirs.load_state_dict(state)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_low_rank_updates_of_every_linear_layer_change_what_it_gives():
    x = torch.randn(4, 11, 8)
    for name in ("asked", "answered", "widen", "narrow"):
        made = layer()
        before = made(x)
        add_updates(made, Lora(rank=2, layers=(name,)), "here")
        assert torch.equal(made(x), before)
        nn.init.normal_(getattr(made, name).lora_B["default"].weight)
        assert (made(x) - before).abs().max() > 0.01, name


def test_units_are_dropped_in_training_alone():
    made, x = layer(), torch.randn(4, 11, 8)
    assert torch.equal(made(x), made(x))
    made.train()
    assert not torch.equal(made(x), made(x))
