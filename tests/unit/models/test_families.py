"""What every family promises, whatever is inside it."""

from dataclasses import replace
from typing import get_args

import lightgbm
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from nightmill.config import UseCase
from nightmill.config.models import ARRAYS, UNUSUAL, Model
from nightmill.models import FAMILIES, build
from nightmill.models.ensemble import Ensemble
from nightmill.models.shape import Fitted, Shape
from nightmill.models.trees import Trees

SMALL = {"hidden": 8, "dropout": 0.0}
OPTIONS = {
    "stid": {"blocks": 1, "embedding": 4, "slots": 24, **SMALL},
    "lstm": {"layers": 1, **SMALL},
    "gru": {"layers": 1, **SMALL},
    "cnn1d": {"layers": 2, "kernel": 3, **SMALL},
    "wdcnn": {"kernel": 8, "layers": 2, **SMALL},
    "efficientnet": {"dropout": 0.0},
    "tcn": {"blocks": 2, **SMALL},
    "nlinear": {},
    "patchtst": {"patch": 5, "stride": 3, "heads": 2, "layers": 1, **SMALL},
    "mlp": {"recent": 3, **SMALL},
    "trees": {},
    "seasonal_naive": {"season": 1},
    "ets": {"season": 0},
    "ensemble": {},
}
ELSEWHERE = (*ARRAYS, *UNUSUAL)
"""Families whose tests are files of their own: they see arrays, or say what is unusual."""
FORECASTERS = sorted(set(FAMILIES) - {"mlp", *ELSEWHERE})
REGRESSORS = sorted(set(FAMILIES) - {*ELSEWHERE, "stid", "nlinear", "seasonal_naive", "ets"})
LOOKBACK, STEPS = 12, 3
FITTED = Fitted(np.array([50, 9], np.float32), np.array([10, 2], np.float32), 50.0, 10.0)


def model(family, **shape):
    torch.manual_seed(0)
    shape = {"lookback": LOOKBACK, "horizon": STEPS, "pad": False, "entities": 4, "past": "speed", "every": 60} | shape
    asked = {"family": family, "window": shape["lookback"], **OPTIONS[family]}
    if family == "ensemble":
        windows_of = {"gru": shape["lookback"], "trees": max(1, shape["lookback"] - 3)}
        members = [{"model": {"family": name, "window": size, **OPTIONS[name]}} for name, size in windows_of.items()]
        asked = {"family": family, "members": members}
    options = TypeAdapter(Model).validate_python(asked)
    return build(options, Shape(("speed", "rain"), **shape), FITTED).eval()


def windows(count=16, lookback=LOOKBACK, seed=0):
    torch.manual_seed(seed)
    return torch.randn(count, lookback, 2) * torch.tensor([10.0, 2.0]) + torch.tensor([50.0, 9.0])


def stirred(made):
    """The same with a head, or a forest, that says something."""
    if isinstance(made, Ensemble):
        for member in made.each:
            stirred(member)
        return made
    if not isinstance(made, Trees):
        torch.nn.init.normal_(made.head.linear.weight)
        return made
    rng, x = np.random.default_rng(0), windows(300, made.shape.lookback, seed=1)
    data = lightgbm.Dataset(made.columns(x, torch.zeros(300)), rng.normal(size=300))
    booster = lightgbm.train({"verbosity": -1, "num_leaves": 4}, data, 5)
    made.plant([booster.model_to_string()] * made.boosters)
    return made


def values(made, x):
    return made.head.value(made(x, torch.zeros(len(x), dtype=torch.int64)))


def test_every_family_has_options_and_a_place_here():
    members = get_args(get_args(Model)[0])
    assert (
        {get_args(member.model_fields["family"].annotation)[0] for member in members}
        == set(FAMILIES)
        == {*OPTIONS, *UNUSUAL}
    )


@pytest.mark.parametrize("family", sorted(set(FORECASTERS) - {"ets"}))
def test_an_untrained_forecaster_repeats_the_last_known_value(family):
    x = windows()
    x[3, -2:, 0] = float("nan")
    last = x[:, -1, 0].clone()
    last[3] = x[3, -3, 0]
    assert torch.allclose(values(model(family), x), last.unsqueeze(1).expand(-1, STEPS))


@pytest.mark.parametrize("family", FORECASTERS)
@pytest.mark.parametrize("lookback", [1, 2, 12, 17])
def test_a_forecaster_takes_any_window_and_any_missing_value(family, lookback):
    made, x = stirred(model(family, lookback=lookback)), windows(lookback=lookback)
    x[torch.rand_like(x) < 0.3] = float("nan")
    x[0] = float("nan")
    found = values(made, x)
    assert found.shape == (16, STEPS) and found.isfinite().all()


@pytest.mark.parametrize("family", REGRESSORS)
def test_a_regressor_gives_one_value_round_the_mean(family):
    found = values(model(family, horizon=0, past=None, pad=True), windows())
    assert found.shape == (16, 1) and (found - 50).abs().max() < 60


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {*ELSEWHERE}))
def test_a_sample_does_not_know_the_others_of_its_batch(family):
    made, x = model(family) if family != "mlp" else model(family, horizon=0, past=None), windows()
    stirred(made)
    assert torch.allclose(values(made, x)[5:7], values(made, x[5:7]), atol=1e-3)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {*ELSEWHERE, "trees", "seasonal_naive"}))
def test_every_weight_learns(family):
    made, x = model(family) if family != "mlp" else model(family, horizon=0, past=None), windows(64)
    made.train()
    y = x.mean(dim=1)[:, :1] + torch.arange(made.shape.steps)
    optimiser = torch.optim.Adam(made.parameters(), lr=0.01)
    before = {name: p.clone() for name, p in made.named_parameters()}
    losses = []
    for _ in range(60):
        loss = (values(made, x) - y).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert [name for name, p in made.named_parameters() if torch.equal(p, before[name])] == []


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {*ELSEWHERE}))
def test_every_family_carries_every_head(family):
    shape = {} if family != "mlp" else {"horizon": 0, "past": None}
    for head, more in (("quantiles", {"levels": (0.1, 0.5, 0.9)}), ("negative_binomial", {}), ("probability", {})):
        made = model(family, head=head, **more, **shape)
        assert values(made, windows()).shape == (16, made.shape.steps)


def test_a_convolution_finds_its_pattern_wherever_it_stands():
    made = model("cnn1d", lookback=40, horizon=0, past=None)
    x = torch.zeros(2, 40, 2) + torch.tensor([50.0, 9.0])
    x[0, 10:14, 0], x[1, 25:29, 0] = 90.0, 90.0
    assert torch.allclose(*values(made, x), atol=1e-4)


def smoothed(family, options, past, steps):
    """The forecast [steps] of one past, missing where it is NaN."""
    shape = Shape(("speed",), len(past), steps, False, 1, "speed", 60.0)
    fitted = Fitted(np.array([50], np.float32), np.array([10], np.float32), 50.0, 10.0)
    window = {"family": family, "window": len(past), **options}
    made = build(TypeAdapter(Model).validate_python(window), shape, fitted).eval()
    return values(made, torch.tensor(past, dtype=torch.float32)[None, :, None])[0].tolist(), made


def test_the_season_before_is_repeated_and_where_it_is_missing_the_one_before_that():
    gap = float("nan")
    found, _ = smoothed("seasonal_naive", {"season": 3}, [1, 2, 3, 4, gap, 6], 5)
    assert found == [4, 2, 6, 4, 2]
    assert smoothed("seasonal_naive", {"season": 2}, [gap, 7, gap, 8], 2)[0] == [8, 8], "else the last known value"


def test_smoothing_goes_on_with_level_trend_and_season():
    season = [0.0, 5.0, -5.0, 2.0]
    wave = [50 + season[n % 4] for n in range(24)]
    assert smoothed("ets", {"season": 4}, wave, 6)[0] == pytest.approx([50 + season[n % 4] for n in range(6)], abs=0.01)
    line = [float(n) for n in range(40)]
    found, made = smoothed("ets", {"season": 0}, line, 3)
    made.rates.data = torch.tensor([3.0, 0.0, 0.0, 9.0])
    found = values(made, torch.tensor(line)[None, :, None])[0].tolist()
    assert found == pytest.approx([40, 41, 42], abs=0.5)


def test_smoothing_equals_the_plain_recursion():
    rng = np.random.default_rng(0)
    past, alpha, beta, gamma, phi, m = rng.normal(50, 10, 30), 0.5, 0.018, 0.119, 0.881, 5
    _, made = smoothed("ets", {"season": m}, past, 4)
    made.rates.data = torch.logit(torch.tensor([alpha, beta, gamma, phi]))
    found = values(made, torch.tensor(past, dtype=torch.float32)[None, :, None])[0].tolist()
    level, trend, places = past[:m].mean(), 0.0, list(past[:m] - past[:m].mean())
    for t in range(m, 30):
        error = past[t] - (level + phi * trend + places[t % m])
        level, trend = level + phi * trend + alpha * error, phi * trend + beta * error
        places[t % m] += gamma * error
    ahead = [level + trend * sum(phi**k for k in range(1, h + 1)) + places[(29 + h) % m] for h in range(1, 5)]
    assert found == pytest.approx(ahead, abs=1e-3)


@pytest.mark.parametrize("family", ["seasonal_naive", "ets"])
def test_a_window_holds_the_seasons_that_are_needed(family):
    with pytest.raises(ValidationError, match="must hold"):
        TypeAdapter(Model).validate_python({"family": family, "window": 24, "season": 25})


def test_values_are_encoded_by_how_far_they_are_through_each_bin():
    options = TypeAdapter(Model).validate_python({"family": "mlp", "window": 1, "bins": 3, "recent": 1, **SMALL})
    shape = Shape(("speed", "kind"), 1, 0, True, 1, None, 60.0)
    fitted = replace(FITTED, edges=np.array([[0, 10, 20, 40], [1, 1, 2, 2]], np.float32))
    made = build(options, shape, fitted).eval()
    found = made.encoded(torch.tensor([[15.0, 2.0], [-5.0, 1.0], [60.0, float("nan")]]))
    assert found.tolist() == [[1, 0.5, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    again = build(options, shape)
    again.load_state_dict(made.state_dict())
    x = torch.tensor([[[15.0, 2.0]]])
    assert torch.equal(values(made, x), values(again, x))
    assert made.scales(FITTED).edges.tolist() == fitted.edges.tolist()


def test_heads_divide_the_width():
    with pytest.raises(ValidationError, match=r"hidden \(10\) must be a multiple of heads \(4\)"):
        TypeAdapter(Model).validate_python({"family": "patchtst", "hidden": 10})


STIDS = [{"model": {"family": "stid", "window": 4, "profile_smoothing": smoothing}} for smoothing in (0, 6)]
NAIVE = {"family": "seasonal_naive", "window": 4, "season": 1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"family": "ensemble", "members": STIDS}}, "members that know profiles need the same"),
        (
            {"model": {"family": "ensemble",
                       "members": [{"model": NAIVE}, {"model": {"family": "trees"}, "train": {"ema": 0.9}}]}},
            "leave train.ema of its member out",
        ),
        ({"score": {"interval": "100 %"}}, "less than 1"),
        ({"score": {"interval": 0}}, "greater than 0"),
    ],
)  # fmt: skip
def test_what_would_be_ignored_or_say_nothing_is_refused_in_the_configuration(changes, said):
    case = {
        "name": "city/traffic",
        "title": "t",
        "task": "forecast",
        "inputs": {"speed": "data/city/traffic"},
        "target": {"column": "speed", "horizon": 2},
        "features": [{"columns": ["speed"]}],
        "model": NAIVE,
    }
    UseCase.model_validate(case)
    with pytest.raises(ValidationError, match=said):
        UseCase.model_validate(case | changes)
