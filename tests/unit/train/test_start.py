"""Trainings that begin with the champion's weights: whole, with some frozen, or by low-rank updates."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from deltalake import write_deltalake

from nightmill.config import Environment, UseCase
from nightmill.errors import ConfigError
from nightmill.models.bundle import WEIGHTS, Bundle
from nightmill.train.job import Trained, prepare
from nightmill.train.ray_group import train_all

from .conftest import hourly

START = {"start": "champion", "epochs": 1, "learning_rate": 1e-9}


def only(outcomes):
    (found,) = outcomes
    assert isinstance(found, Trained), found
    return found.bundle


@pytest.fixture
def champion(gold, job):
    """(bundle, folder of its files), trained on three entities."""
    asked = job(gold(), "city/champion", epochs=8)
    return only(train_all([asked], 0, Environment())), asked.result


def weights(bundle):
    return dict(bundle.network.named_parameters())


def more(tmp_path, **changes):
    """A later gold: another entity, other speeds."""
    table = hourly(4, 300, seed=5)
    speed = pa.array(table["speed"].to_numpy() + np.float32(20))
    for name in ("speed", "target"):
        table = table.set_column(table.schema.get_field_index(name), name, speed)
    write_deltalake(str(tmp_path / "later"), table)
    return str(tmp_path / "later")


def test_a_start_takes_weights_scales_and_entities_over(champion, gold, job, tmp_path):
    theirs, place = champion
    found = only(train_all([replace(job(more(tmp_path), **START), start=place)], 0, Environment()))
    ours, known = weights(found), weights(theirs)
    assert found.entities == ["e0", "e1", "e2", "e3"]
    for name, values in known.items():
        kept = ours[name][1:4] if name == "entity.weight" else ours[name]
        assert torch.allclose(kept, values[1:] if name == "entity.weight" else values, atol=1e-6), name
    assert torch.allclose(ours["entity.weight"][4], known["entity.weight"][0], atol=1e-6), "a new one is the mean one"
    assert (
        torch.equal(found.network.mean, theirs.network.mean) and found.network.target_std == theirs.network.target_std
    )
    assert not torch.equal(found.network.profile[:4], theirs.network.profile), "what the days look like is of now"


def test_a_start_begins_where_the_champion_ended(champion, gold, job):
    _, place = champion
    uri = gold(name="again")
    new, warm = (
        train_all([replace(job(uri, f"city/{start}", epochs=1), start=start)], 0, Environment())[0].history[0]["loss"]
        for start in (None, place)
    )
    assert warm < 0.7 * new


def test_frozen_weights_stay(champion, job, tmp_path):
    theirs, place = champion
    options = START | {"learning_rate": 0.01, "epochs": 2, "freeze": ["blocks.*", "history.*"]}
    found = only(train_all([replace(job(more(tmp_path), **options), start=place)], 0, Environment()))
    ours, known = weights(found), weights(theirs)
    moved = {name for name in known if name != "entity.weight" and not torch.equal(ours[name], known[name])}
    frozen = {name for name in known if name.startswith(("blocks.", "history."))}
    assert moved and not moved & frozen and "widen.weight" in moved


def test_low_rank_updates_change_their_layers_by_that_rank_and_nothing_else(champion, job, tmp_path):
    theirs, place = champion
    options = START | {"learning_rate": 0.02, "epochs": 3, "lora": {"rank": 2, "layers": ["blocks.*", "widen"]}}
    asked = replace(job(more(tmp_path), **options), start=place)
    found = only(train_all([asked], 0, Environment()))
    ours, known = weights(found), weights(theirs)
    assert set(ours) == set(known), "the model has the form of one without updates"
    for name in set(known) - {"entity.weight"}:
        change = (ours[name] - known[name]).detach()
        if name in ("widen.weight", "blocks.0.into.weight", "blocks.0.out.weight"):
            assert change.abs().max() > 1e-3 and torch.linalg.matrix_rank(change, rtol=1e-3) <= 2, name
        else:
            assert torch.equal(ours[name], known[name]), name
    read = Bundle.from_files({name: Path(asked.result, name).read_bytes() for name in (WEIGHTS, "model.json")})
    assert all(torch.equal(a, b) for a, b in zip(read.network.parameters(), found.network.parameters(), strict=True))


def test_an_interrupted_training_of_updates_goes_on(champion, job, tmp_path, monkeypatch):
    from nightmill.train.checkpoint import Checkpoint

    _, place = champion
    options = START | {"learning_rate": 0.02, "epochs": 3, "lora": {"rank": 2}, "ema": 0.9}
    uri = more(tmp_path)
    whole = only(train_all([replace(job(uri, "city/whole", **options), start=place)], 0, Environment()))
    saves, save = [], Checkpoint.save

    def killed(self, *what):
        save(self, *what)
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    asked = replace(job(uri, "city/parts", **options), start=place)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Checkpoint, "save", killed)
        train_all([asked], 0, Environment())
    found = train_all([asked], 0, Environment())[0]
    assert found.resumed_from
    assert all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), found.bundle.network.parameters()))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"freeze": ["blocks.*", "tower.*"]}, "train.freeze: nothing is called 'tower.*'"),
        ({"freeze": ["*"]}, "leaves no weight to train"),
        ({"lora": {"layers": ["entity"]}}, "train.lora.layers: nothing is called 'entity'"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_those_that_there_are(champion, job, tmp_path, options, named):
    _, place = champion
    (found,) = train_all([replace(job(more(tmp_path), **START, **options), start=place)], 0, Environment())
    assert isinstance(found, ConfigError) and named in found.what


def test_a_champion_of_another_form_is_refused_before_training(champion, job, gold):
    _, place = champion
    asked = replace(job(gold(name="again"), **START, loss="quantile"), start=place)
    with pytest.raises(ConfigError, match="the champion is another model: head is quantiles, was point; levels is 0.1"):
        prepare(replace(asked))


def test_a_model_without_weights_goes_on_from_its_champion(gold, job, tmp_path):
    first = job(gold(hourly(3, 480)), **START)
    data = first.use_case.model_dump(mode="json", by_alias=True)
    naive = {"family": "seasonal_naive", "window": 48, "season": 24}
    first = replace(first, use_case=UseCase.model_validate(data | {"model": naive}))
    only(train_all([first], 0, Environment()))
    place = str(tmp_path / "champion")
    shutil.copytree(first.result, place)
    again = replace(first, start=place, checkpoint=f"{first.checkpoint}-again")
    assert only(train_all([again], 0, Environment())).metrics["mae"] < 1.5
