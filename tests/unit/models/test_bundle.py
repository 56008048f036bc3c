"""A model as two files: what comes back is what went in, and what does not fit is refused."""

import json
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from nightmill.config.models import Lstm, Stid
from nightmill.errors import ConfigError, DataRefused
from nightmill.models import build
from nightmill.models.bundle import DESCRIPTION, WEIGHTS, Bundle
from nightmill.models.interval import Interval, Offsets
from nightmill.models.shape import Fitted, Shape

ENTITIES = ["bridge", "tunnel"]


class Batch(NamedTuple):
    x: torch.Tensor
    entity: torch.Tensor


def offsets(low, high, count):
    none, *ends = (np.array(values, np.float32) for values in ([], [low], [high]))
    return Offsets(none, *ends, (count,))


def bundle(options=None, **changes):
    options = options or Stid(family="stid", window=3, hidden=8, blocks=1, embedding=4, slots=24)
    shape = Shape(("speed", "minute_of_week"), 3, 2, False, entities=2, past="speed", every=60)
    profile = np.random.default_rng(0).normal(50, 9, (3, 2, 24)).astype(np.float32)
    torch.manual_seed(1)
    network = build(options, shape, Fitted(np.array([50, 5e3], np.float32), np.ones(2, np.float32), 50.0, 9.0, profile))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    known = {
        "entities": ENTITIES,
        "interval": Interval(0.8, (offsets(-3, 4, 20), offsets(-5, np.inf, 0))),
        "use_case": "city/traffic",
        "target": "speed",
        "config": "abc",
        "gold": {"version": 3, "files": [["a.parquet", 10, [5]]]},
        "seed": 7,
        "metrics": {"mae": 2.5},
    }
    return Bundle(network, options, **(known | changes))


def batch():
    torch.manual_seed(2)
    return Batch(torch.randn(5, 3, 2) * 9 + 50, torch.tensor([0, 1, 2, 1, 0]))


def test_a_model_predicts_the_same_digits_after_its_files_were_read_back():
    first = bundle()
    second = Bundle.from_files(first.to_files())
    codes = first.codes(["tunnel", "bridge", "ferry"])
    for before, after in zip(first.predict(batch(), codes), second.predict(batch(), codes), strict=True):
        assert np.array_equal(before, after)


def test_everything_known_of_a_model_comes_back():
    first = bundle()
    second = Bundle.from_files(first.to_files())
    for name in ("options", "shape", "entities", "use_case", "target", "config", "gold", "seed", "metrics"):
        assert getattr(second, name) == getattr(first, name), name
    assert second.interval.to_json() == first.interval.to_json()


def test_predictions_and_intervals_keep_to_what_the_target_can_be():
    free = bundle()
    free.network.shape = replace(free.shape, low=None, high=None)
    value, lo, hi, _ = free.predict(batch(), free.codes(["tunnel", "bridge", "ferry"]))
    low, high = float(np.median(value)), float(np.median(hi[np.isfinite(hi)]))
    kept = bundle()
    kept.network.shape = replace(kept.shape, low=low, high=high)
    kept = Bundle.from_files(kept.to_files())
    found = kept.predict(batch(), kept.codes(["tunnel", "bridge", "ferry"]))
    inside = np.clip(value, low, high)  # what intervals are calibrated on
    wanted = inside, *(np.clip(end, low, high) for end in kept.interval.round(inside, inside))
    for before, after, right in zip((value, lo, hi), found, wanted):
        assert np.array_equal(after, right) and not np.array_equal(after, before)


def test_the_same_model_gives_the_same_bytes():
    assert bundle().to_files() == bundle().to_files()


def test_codes_follow_the_models_vocabulary_not_the_tables_order():
    assert bundle().codes(["tunnel", "ferry", "bridge"]).tolist() == [2, 0, 1]


def test_a_prediction_follows_the_entity_whatever_its_position_in_the_table():
    model, x = bundle(), batch().x[:1]
    one, *_ = model.predict(Batch(x, torch.tensor([0])), model.codes(["tunnel"]))
    two, *_ = model.predict(Batch(x, torch.tensor([1])), model.codes(["bridge", "tunnel"]))
    assert np.array_equal(one, two)


def test_the_interval_lies_around_the_value_step_by_step():
    value, lo, hi, _ = bundle().predict(batch(), bundle().codes(["tunnel", "bridge", "ferry"]))
    assert np.allclose(lo - value, [[-3, -5]] * 5, atol=1e-4)
    assert np.allclose((hi - value)[:, 0], 4, atol=1e-4) and np.isinf(hi[:, 1]).all()


def test_predicting_drops_no_units():
    model, codes = bundle(), bundle().codes(["tunnel", "bridge", "ferry"])
    model.network.train()
    assert np.array_equal(model.predict(batch(), codes)[0], model.predict(batch(), codes)[0])


def test_weights_of_another_family_are_refused_by_name():
    files = bundle().to_files()
    files[WEIGHTS] = bundle(Lstm(family="lstm", window=3, hidden=8, layers=1)).to_files()[WEIGHTS]
    with pytest.raises(ConfigError, match=r"city/traffic: .*history.weight is missing"):
        Bundle.from_files(files)


def test_weights_of_another_size_are_refused_with_both_sizes():
    files = bundle().to_files()
    wider = Stid(family="stid", window=3, hidden=16, blocks=1, embedding=4, slots=24)
    files[WEIGHTS] = bundle(wider).to_files()[WEIGHTS]
    with pytest.raises(ConfigError, match=r"widen.weight is \[16, 16\] instead of \[8, 16\]"):
        Bundle.from_files(files)


def test_a_vocabulary_of_another_length_is_refused():
    with pytest.raises(ConfigError, match="3 entities are named instead of 2"):
        Bundle.from_files(bundle(entities=["a", "b", "c"]).to_files())


def test_a_missing_file_is_named():
    with pytest.raises(DataRefused, match="model.safetensors is missing"):
        Bundle.from_files({DESCRIPTION: b"{}"})


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_a_truncated_file_is_refused(name):
    files = bundle().to_files()
    files[name] = files[name][: len(files[name]) // 2]
    with pytest.raises(DataRefused, match="cannot be read"):
        Bundle.from_files(files, "version 3")


def test_an_incomplete_description_is_refused():
    files = bundle().to_files()
    data = json.loads(files[DESCRIPTION])
    del data["shape"]
    with pytest.raises(ConfigError, match="incomplete"):
        Bundle.from_files(files | {DESCRIPTION: json.dumps(data).encode()})


def test_a_family_that_does_not_exist_is_refused():
    files = bundle().to_files()
    data = json.loads(files[DESCRIPTION])
    data["options"]["family"] = "oracle"
    with pytest.raises(ConfigError, match="family 'oracle'"):
        Bundle.from_files(files | {DESCRIPTION: json.dumps(data).encode()})


def test_all_that_was_fitted_is_in_the_weights_file():
    weights = load(bundle().to_files()[WEIGHTS])
    assert {"mean", "std", "target_mean", "target_std", "profile"} <= set(weights)
    assert save(weights) == bundle().to_files()[WEIGHTS]


def test_a_description_alone_says_what_a_model_needs_and_takes_no_memory_for_entities():
    whole = bundle()
    sketch = Bundle.described(whole.to_files()[DESCRIPTION])
    assert sketch.shape == whole.shape
    assert sketch.network.tells_apart == whole.network.tells_apart
    assert (sketch.codes(["tunnel", "else"]) == whole.codes(["tunnel", "else"])).all()
    sizes = [sum(weight.numel() for weight in one.network.state_dict().values()) for one in (sketch, whole)]
    assert sizes[0] == sizes[1] - 2 * 2 * 24 - 2 * 4  # two entities' profiles and embeddings
    with pytest.raises(ConfigError, match="not of format"):
        Bundle.described(b"{}")
    with pytest.raises(DataRefused, match="cannot be read"):
        Bundle.described(b"{")
