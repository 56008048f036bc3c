"""Boosted trees: trained on the plan that networks are trained on, kept and loaded as they are."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch

from nightmill.config import Environment, UseCase
from nightmill.config.models import Trees as Options
from nightmill.config.search import Search
from nightmill.config.usecase import Train
from nightmill.errors import ConfigError, WorkFailed
from nightmill.handoff import Batches, Plan
from nightmill.models import build
from nightmill.models.bundle import DESCRIPTION, WEIGHTS, Bundle
from nightmill.models.shape import Fitted, Shape
from nightmill.train.boost import Boost
from nightmill.train.job import SearchJob, prepare
from nightmill.train.loop import Feed, Loop, Setup
from nightmill.train.ray_group import search_all, train_all

from .conftest import hourly

SMALL = {"family": "trees", "window": 6, "lags": [1, 5], "rounds": 10, "least": 5, "leaves": 8}


@pytest.fixture
def trees(gold, job):
    """A job that grows trees; keyword arguments are options of its train section, `model` those of the family."""

    def make(table=None, model=None, **train):
        asked = job(gold(table), **{"learning_rate": 0.2, "epochs": 4} | train)
        data = asked.use_case.model_dump(mode="json", by_alias=True) | {"model": SMALL | (model or {})}
        return replace(asked, use_case=UseCase.model_validate(data))

    return make


def only(outcomes):
    (found,) = outcomes
    assert hasattr(found, "bundle"), found
    return found


def test_trees_predict_from_their_files_what_they_predicted_when_grown(trees):
    asked = trees(epochs=6)
    trained = only(train_all([asked], 0, Environment()))
    read = Bundle.from_files({name: Path(asked.result, name).read_bytes() for name in (WEIGHTS, DESCRIPTION)})
    prepared = prepare(asked)
    plan = Plan(prepared.parts.test, 500, seed=0, shuffle=False)
    (batch,) = Batches(prepared.gold, prepared.index, plan, features=asked.features).epoch(0)
    real, codes = (batch.weight > 0).numpy(), read.codes(prepared.index.entities)
    value, lo, hi = (array[real] for array in read.predict(batch, codes)[:3])
    for ours, theirs in zip((value, lo, hi), trained.bundle.predict(batch, codes)):
        assert np.array_equal(ours, theirs[real])
    truth, last = batch.y.numpy()[real], batch.x[:, -1, :1].numpy()[real]
    assert np.abs(value - truth).mean() < 0.8 * np.abs(last - truth).mean()
    assert 0.6 < ((lo <= truth) & (truth <= hi)).mean() < 0.95
    assert [line["epoch"] for line in trained.history] == list(range(1, 7))
    assert trained.history[-1]["loss"] < 0.7 * trained.history[0]["loss"]


def test_trees_grow_the_same_again(trees):
    asked = trees(model={"rows": 0.7, "columns": 0.5})
    files = [only(train_all([asked], 0, Environment())).bundle.to_files()[WEIGHTS] for _ in range(2)]
    assert files[0] == files[1]


@pytest.mark.parametrize("loss", ["mse", "huber", "quantile", "poisson", "negative_binomial"])
def test_every_loss_of_numbers_grows_trees(trees, loss):
    counted = hourly(3, 240)
    for name in ("speed", "target"):
        counts = pa.array(counted[name].to_numpy().round().clip(0))
        counted = counted.set_column(counted.schema.get_field_index(name), name, counts)
    trained = only(train_all([trees(counted, loss=loss, epochs=6)], 0, Environment()))
    assert trained.history[-1]["validation_loss"] < trained.history[0]["validation_loss"]
    assert trained.bundle.metrics["mae"] < 4 and 0.7 < trained.bundle.metrics["coverage"] < 0.95


@pytest.mark.parametrize("loss", ["mae", "quantile", "negative_binomial"])
def test_the_same_trees_may_predict_all_steps(trees, loss):
    apart, together = (
        only(train_all([trees(loss=loss, epochs=6, model={"together": on})], 0, Environment())) for on in (False, True)
    )
    networks = apart.bundle.network, together.bundle.network
    assert networks[0].boosters == networks[0].shape.steps * networks[1].boosters
    assert together.bundle.metrics["mae"] < 1.2 * apart.bundle.metrics["mae"]
    read = Bundle.from_files(together.bundle.to_files()).network
    x = torch.randn(4, 6, 2) + torch.tensor([50.0, 600.0])
    steps = [network.head.value(network(x, torch.ones(4, dtype=torch.int64))) for network in (networks[1], read)]
    assert torch.equal(*steps) and (steps[0].diff(dim=1) != 0).any()  # the step is seen


def test_the_dispersion_of_counts_is_found(trees):
    rng, table = np.random.default_rng(0), hourly(9, 480)
    counts = rng.negative_binomial(2.0, 2.0 / (2.0 + 3.0), table.num_rows)  # mean 3, dispersion 1 / 2
    for name in ("speed", "target"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(counts.astype(np.float32)))
    options = {"loss": "negative_binomial", "learning_rate": 0.05, "epochs": 2}
    trained = only(train_all([trees(table, **options, model={"least": 500})], 0, Environment()))
    assert float(trained.bundle.network.dispersion) == pytest.approx(0.5, abs=0.07)


def test_with_patience_the_trees_after_the_best_epoch_fall(trees):
    trained = only(train_all([trees(epochs=40, patience=2, model={"leaves": 31, "least": 2})], 0, Environment()))
    losses = [line["validation_loss"] for line in trained.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 40
    text = bytes(trained.bundle.network.forest.get_buffer("0").numpy()).decode()
    assert text.count("\nTree=") == 10 * (best + 1)


class Batch(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor
    entity: torch.Tensor
    ts: torch.Tensor
    weight: torch.Tensor


def grown(x, y, head, loss, weight=None, **shape):
    """(predictions, network) of trees over one batch; x [n, lookback, feature], y [n]."""
    shape = {"lookback": x.shape[1], "horizon": 0, "pad": True, "entities": 1, "past": None, "every": 60.0} | shape
    names = tuple(f"f{n}" for n in range(x.shape[2]))
    known = y[~np.isnan(y)]
    fitted = Fitted(np.zeros(len(names), np.float32), np.ones(len(names), np.float32), float(known.mean()),
                    float(known.std()) or 1.0)  # fmt: skip
    network = build(Options.model_validate(SMALL | {"window": x.shape[1]}), Shape(names, head=head, **shape), fitted)
    size = len(x)
    batch = Batch(
        torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))[:, None],
        torch.zeros(size, dtype=torch.int64), torch.zeros(size, dtype=torch.int64),
        torch.ones(size) if weight is None else torch.from_numpy(weight.astype(np.float32)),
    )  # fmt: skip

    class Once:
        def epoch(self, epoch, start_step=0):
            yield batch

    feed = Feed(Once(), 1, size)
    options = Train(epochs=10, learning_rate=0.2, loss=loss)
    setup = Setup(network, feed, feed, ["e"], np.ones(1, np.int64), options, 0, torch.device("cpu"))
    Boost(replace(setup, whole=lambda: (feed, feed))).run()
    return network.head.value(network(batch.x, batch.entity))[:, 0].numpy(), network


def test_a_probability_follows_the_shares():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 1, 2))
    y = (rng.random(4000) < np.where(x[:, 0, 0] > 0, 0.8, 0.1)).astype(float)
    found, _ = grown(x, y, "probability", "bce")
    right = x[:, 0, 0] > 0
    assert found[right].mean() == pytest.approx(0.8, abs=0.03) and found[~right].mean() == pytest.approx(0.1, abs=0.03)


def test_classes_are_told_apart():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3000, 1, 2))
    y = np.where(x[:, 0, 0] > 0.5, 2.0, np.where(x[:, 0, 1] > 0, 1.0, 0.0))
    found, network = grown(x, y, "classes", "cross_entropy", classes=("a", "b", "c"))
    assert (found == y).mean() > 0.97 and network.boosters == 1


def test_unknown_targets_and_weights_of_0_teach_nothing():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2000, 1, 1))
    y = 2.0 * x[:, 0, 0]
    y[:500], weight = np.nan, np.ones(2000)
    y[500:1000], weight[500:1000] = 1000.0, 0.0
    found, network = grown(x, y, "point", "mse", weight)
    truth = 2.0 * x[:, 0, 0]
    assert np.isfinite(found).all()
    scale = float(network.target_std)
    assert np.abs(found - truth)[np.abs(truth) < 3].mean() < 0.1 * scale


def test_a_missing_value_is_missing_to_the_trees():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2000, 4, 1))
    x[::2] = np.nan
    y = np.where(np.isnan(x[:, -1, 0]), 10.0, 0.0)
    found, network = grown(x, y, "point", "mse")
    assert np.abs(found - y).max() < 1.5
    columns = network.columns(torch.from_numpy(x[:2].astype(np.float32)), torch.zeros(2))
    assert len(network.names) == columns.shape[1] and np.isnan(columns[0, :-1]).all() and np.isfinite(columns[1]).all()


def test_columns_say_level_trend_spread_and_ends():
    x = torch.tensor([[[1.0], [3.0], [float("nan")], [7.0]]])
    _, network = grown(np.random.default_rng(0).normal(size=(50, 4, 1)), np.arange(50.0), "point", "mse")
    found = dict(zip(network.names, network.columns(x, torch.tensor([3]))[0].tolist()))
    time, value = np.array([0, 1, 3]), np.array([1.0, 3.0, 7.0])
    assert found["f0"] == 7 and np.isnan(found["f0, 1 back"]) and found["entity"] == 3
    assert found["f0, mean"] == pytest.approx(value.mean()) and found["f0, deviation"] == pytest.approx(value.std())
    assert found["f0, slope"] == pytest.approx(np.polyfit(time, value, 1)[0])
    assert (found["f0, least"], found["f0, most"]) == (1, 7)
    assert found["f0, recent"] == pytest.approx(value.mean())


def test_a_search_grows_trees_too(trees, tmp_path):
    asked = trees()
    search = Search.model_validate({"space": {"model.leaves": [4, 16], "model.window": [6, 12]}, "trials": 3})
    case = asked.use_case.model_copy(update={"search": search})
    one = SearchJob(**vars(asked) | {"use_case": case, "checkpoint": str(tmp_path / "trials")})
    (found,) = search_all([one], 0, Environment())
    assert [trial.state for trial in found.trials] == ["complete"] * 3


def test_a_search_over_an_ensemble_judges_the_mean_and_gives_up_none(ensemble, tmp_path):
    asked = ensemble(epochs=3)
    search = Search.model_validate({"space": {"train.learning_rate": {"low": 1e-9, "high": 0.1, "log": True}}})
    case = asked.use_case.model_copy(update={"search": search.model_copy(update={"trials": 8})})
    one = SearchJob(**vars(asked) | {"use_case": case, "checkpoint": str(tmp_path / "trials")})
    (found,) = search_all([one], 0, Environment())
    assert [trial.state for trial in found.trials] == ["complete"] * 8
    assert all(trial.loss == trial.losses[-1] and len(trial.losses) == 10 for trial in found.trials)
    assert [path.name for path in tmp_path.glob("trials*")] == ["trials"], "no checkpoint is left"


TOGETHER = {
    "family": "ensemble",
    "members": [
        {"model": SMALL, "train": {"learning_rate": 0.2, "epochs": 3}},
        {"model": {"family": "nlinear", "window": 24}},
        {"model": {"family": "stid", "window": 4, "hidden": 16, "blocks": 1, "embedding": 8, "slots": 24}},
    ],
}


@pytest.fixture
def ensemble(trees):
    """A job of trees and two networks."""

    def make(**train):
        asked = trees(**{"learning_rate": 0.01, "epochs": 5} | train)
        data = asked.use_case.model_dump(mode="json", by_alias=True) | {"model": TOGETHER}
        return replace(asked, use_case=UseCase.model_validate(data))

    return make


def test_an_ensemble_is_the_mean_of_its_members_each_trained_as_if_alone(ensemble, trees):
    asked, told = ensemble(), []
    trained = only(train_all([asked], 0, Environment(), told.append))
    assert [line["epoch"] for line in told] == list(range(1, 14)) and {line["of"] for line in told} == {14}
    assert [line["epoch"] for line in trained.history] == list(range(1, 15))
    read = Bundle.from_files({name: Path(asked.result, name).read_bytes() for name in (WEIGHTS, DESCRIPTION)})
    x, entity = torch.randn(20, 24, 2) * 10 + 50, torch.randint(0, 4, (20,))
    with torch.inference_mode():
        each = [member(x[:, -member.shape.lookback :], entity) for member in read.network.each]
        assert torch.equal(read.network(x, entity), torch.stack(each).mean(0))
    assert [member.shape.lookback for member in read.network.each] == [6, 24, 4]
    losses = [line["validation_loss"] for line in trained.history]
    assert losses[-1] < max(losses[2], losses[7], losses[12])
    assert 0.7 < trained.bundle.metrics["coverage"] < 0.9
    assert not [path for path in Path(asked.checkpoint).parent.glob("checkpoint*") if path.name.endswith(".0")]


def test_an_ensemble_that_is_killed_goes_on_with_the_member_that_was_under_way(ensemble, monkeypatch):
    asked = ensemble()
    whole = only(train_all([asked], 0, Environment()))
    for path in asked.checkpoints:
        Path(path).unlink(missing_ok=True)
    end_epoch, seen = Loop._end_epoch, []

    def killed(self, started, first):
        end_epoch(self, started, first)
        seen.append(self.state.epoch)
        if len(seen) == 7:  # in the second network
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_end_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_all([asked], 0, Environment())
    again = only(train_all([asked], 0, Environment()))
    assert again.resumed_from
    assert again.bundle.to_files()[WEIGHTS] == whole.bundle.to_files()[WEIGHTS]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([TOGETHER["members"][0]], "at least 2"),
        ([{"model": TOGETHER}, TOGETHER["members"][0]], "does not match any of the expected tags"),
        ([{"model": SMALL, "train": {"loss": "mse"}}, TOGETHER["members"][1]], "no train.loss of its own"),
        ([{"model": SMALL, "train": {"epochs": 0}}, TOGETHER["members"][1]], "greater than 0"),
        ([{"model": {"family": "moss"}}, TOGETHER["members"][1]], "does not match any of the expected tags"),
        ([{"model": {"family": "mlp", "bins": b}} for b in (4, 8)], "the same number of bins"),
    ],
)
def test_an_ensemble_that_does_not_fit_is_refused_when_the_file_is_read(trees, members, said):
    data = trees().use_case.model_dump(mode="json", by_alias=True)
    with pytest.raises(ValueError, match=said):
        UseCase.model_validate(data | {"model": {"family": "ensemble", "members": members}})


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"start": "champion"}, "grows anew"),
        ({"ema": 0.9}, "grows anew"),
        ({"loss": "focal"}, "choose bce"),
        ({"overestimate": 2.0}, "has no train.overestimate"),
    ],
)
def test_what_trees_cannot_do_is_refused_when_the_file_is_read(trees, train, said):
    with pytest.raises(ValueError, match=said):
        trees(**train)


def test_a_forest_that_was_cut_off_is_refused(trees):
    asked = trees(epochs=1)
    files = only(train_all([asked], 0, Environment())).bundle.to_files()
    other = only(train_all([trees(epochs=1, model={"window": 4})], 0, Environment())).bundle.to_files()
    with pytest.raises(ConfigError, match="forest.2 is unknown"):
        Bundle.from_files({**files, WEIGHTS: _with_third_booster(other[WEIGHTS])})


def _with_third_booster(content):
    from safetensors.torch import load, save

    weights = load(content)
    return save(weights | {"forest.2": weights["forest.1"].clone()})


def test_what_no_tree_can_be_grown_from_is_told(trees):
    table = hourly(3, 240)
    nothing = table.set_column(table.schema.get_field_index("target"), "target", pa.array(np.zeros(720)))
    (found,) = train_all([trees(nothing, loss="poisson")], 0, Environment())
    assert isinstance(found, WorkFailed) and "no trees can be grown" in found.what and found.fix


def test_trees_that_lose_their_numbers_say_when(trees):
    (found,) = train_all([trees(learning_rate=1e30)], 0, Environment())
    assert isinstance(found, WorkFailed) and "the loss of epoch" in found.what and "is not a number" in found.what


@pytest.mark.parametrize("option", ["rows", "columns"])
def test_a_tree_sees_something(option):
    with pytest.raises(ValueError, match="greater than 0"):
        Options.model_validate(SMALL | {option: 0})
