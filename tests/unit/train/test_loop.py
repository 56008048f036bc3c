"""The loop on one process and on two, over tables held in memory."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import distributed as dist

from nightmill.config.models import Lstm
from nightmill.config.usecase import Train
from nightmill.errors import ConfigError, DataRefused, WorkFailed
from nightmill.models import build
from nightmill.models.shape import Fitted, Shape
from nightmill.train.checkpoint import Checkpoint, Identity
from nightmill.train.loop import Feed, Loop, Setup

ENTITIES = ["pump-1", "pump-2", "pump-3"]
STEPS, SIZE, LOOKBACK = 5, 12, 4


class Batch(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor
    entity: torch.Tensor
    ts: torch.Tensor
    weight: torch.Tensor


@dataclass
class Memory:
    """Every epoch the same STEPS global batches; a rank has every world-th sample, padded to one size."""

    seed: int
    rank: int = 0
    world: int = 1
    spoil: tuple[int, float] | None = None
    fail_at: int | None = None

    def epoch(self, epoch, start_step=0):
        rng = np.random.default_rng(self.seed)
        for step in range(STEPS):
            x = rng.normal(size=(SIZE, LOOKBACK, 2)).astype(np.float32)
            y = (x.sum(axis=(1, 2)) + rng.normal(0, 0.1, SIZE)).astype(np.float32)[:, None]
            y[rng.random(SIZE) < 0.2] = np.nan
            if self.spoil and step == self.spoil[0]:
                y[4] = self.spoil[1]
            if self.fail_at == step:
                raise DataRefused("a row group cannot be read", where="part-3.parquet", fix="restore it")
            if step < start_step:
                continue
            # unequal shares: the last rank has fewer samples, and padding that must not count
            mine = np.arange(self.rank, SIZE if self.world == 1 else SIZE - 2, self.world)
            mine = np.append(mine, [SIZE - 2, SIZE - 1]) if self.world > 1 and self.rank == 0 else mine
            pad = (SIZE if self.world == 1 else SIZE // 2 + 1) - len(mine)
            weight = np.append(np.ones(len(mine)), np.zeros(pad)).astype(np.float32)
            rows = np.append(mine, np.zeros(pad, int)).astype(int)
            yield Batch(*(torch.from_numpy(a) for a in (x[rows], y[rows], rows % 3, rows, weight)))


def setup(options=None, checkpoint=None, rank=0, world=1, training=None, validation=None, dropout=0.0, epochs=4):
    torch.manual_seed(5)
    shape = Shape(("a", "b"), LOOKBACK, 0, True, entities=3, past=None, every=1)
    fitted = Fitted(np.zeros(2, np.float32), np.ones(2, np.float32), 0.0, 2.0)
    network = build(Lstm(family="lstm", window=LOOKBACK, hidden=8, layers=1, dropout=dropout), shape, fitted)
    options = options or Train(epochs=epochs, learning_rate=0.01, clip=1.0, schedule="one_cycle")
    return Setup(
        network=network,
        training=Feed(training or Memory(1, rank, world), STEPS, STEPS * SIZE),
        validation=Feed(validation or Memory(2, rank, world), STEPS, STEPS * SIZE),
        entities=ENTITIES,
        codes=np.array([1, 2, 3]),
        options=options,
        seed=11,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
    )


def weights(made):
    return {name: tensor.clone() for name, tensor in made.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def train(**changes):
    made = setup(**changes)
    loop = Loop(made)
    state = loop.run()
    return weights(made), state, loop


def test_the_same_seed_gives_the_same_digits_even_with_dropout():
    one, first, _ = train(dropout=0.3)
    other, second, _ = train(dropout=0.3)
    assert same(one, other)
    assert [h["loss"] for h in first.history] == [h["loss"] for h in second.history]


def test_training_lowers_the_validation_loss():
    _, state, _ = train(epochs=30)
    assert state.history[-1]["validation_loss"] < 0.5 * state.history[0]["validation_loss"]


def test_every_epoch_is_told_once():
    told = []
    made = replace(setup(), on_epoch=told.append)
    Loop(made).run()
    assert [(line["epoch"], line["of"]) for line in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def _rank(rank, world, port, folder):
    """One process of the pair: runs every case and leaves what it found in a file."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    found = {name: case(rank, world) for name, case in CASES.items()}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _plain(rank, world):
    got, state, _ = train(rank=rank, world=world)
    return got, [(h["loss"], h["validation_loss"]) for h in state.history]


def _patient(rank, world):
    options = Train(epochs=200, patience=2, learning_rate=0.05)
    got, state, _ = train(options=options, rank=rank, world=world)
    return got, state.epoch, state.best_epoch


def _one_fails(rank, world):
    try:
        train(rank=rank, world=world, training=Memory(1, rank, world, fail_at=3 if rank == 1 else None))
    except DataRefused as error:
        return error.what, error.where, error.fix
    return None


def _no_number(rank, world):
    try:
        train(rank=rank, world=world, training=Memory(1, rank, world, spoil=(2, float("inf"))))
    except WorkFailed as error:
        return error.what
    return None


SGD = Train(epochs=10, optimiser="sgd", learning_rate=0.05)


def _sgd(rank, world):
    """Fifty steps."""
    got, state, _ = train(options=SGD, rank=rank, world=world)
    return got, [(h["loss"], h["validation_loss"]) for h in state.history]


def _in_parts(rank, world):
    got, _, _ = train(options=SGD.model_copy(update={"accumulate": 3}), rank=rank, world=world)
    return got


CASES = {
    "sgd": _sgd,
    "in_parts": _in_parts,
    "plain": _plain,
    "patient": _patient,
    "one_fails": _one_fails,
    "no_number": _no_number,
}


RUN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("loop_pair", sys.argv[1])
pair = sys.modules["loop_pair"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pair)
pair._rank(int(sys.argv[2]), 2, int(sys.argv[3]), sys.argv[4])
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What two real processes found, per case (rank 0's, rank 1's)."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", RUN, __file__]
    processes = [subprocess.Popen([*command, str(rank), str(port), str(folder)]) for rank in (0, 1)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1))
    return {name: (first[name], second[name]) for name in CASES}


def test_two_processes_train_the_model_that_one_trains(pair):
    first, second = pair["plain"]
    alone, state, _ = train()
    ours = [(h["loss"], h["validation_loss"]) for h in state.history]  # four epochs of five steps
    assert same(first[0], second[0])
    assert first[1] == second[1]
    assert np.allclose(first[1], ours, rtol=1e-5)
    assert all(torch.allclose(alone[name], first[0][name], atol=1e-4) for name in alone)


def test_fifty_steps_of_sgd_lose_the_same_on_one_process_and_on_two(pair):
    first, second = pair["sgd"]
    alone, state, _ = train(options=SGD)
    ours = [(h["loss"], h["validation_loss"]) for h in state.history]
    assert first[1] == second[1] and np.allclose(first[1], ours, rtol=1e-5)
    assert all(torch.allclose(alone[name], first[0][name], rtol=1e-3, atol=1e-5) for name in alone)


def test_a_step_in_parts_is_the_step_as_a_whole(pair):
    whole, _, _ = train(options=SGD)
    for parts in (2, 5, 100):
        got, _, _ = train(options=SGD.model_copy(update={"accumulate": parts}))
        assert all(torch.allclose(whole[name], got[name], rtol=1e-4, atol=1e-6) for name in whole)
    first, second = pair["in_parts"]
    assert same(first, second)
    assert all(torch.allclose(whole[name], first[name], rtol=1e-4, atol=1e-5) for name in whole)


def test_bfloat16_trains_to_about_the_same_loss_with_weights_of_float32():
    _, whole, _ = train(epochs=20)
    got, half, _ = train(
        options=Train(epochs=20, learning_rate=0.01, clip=1.0, schedule="one_cycle", precision="bfloat16")
    )
    assert {tensor.dtype for tensor in got.values()} == {torch.float32}
    assert half.history[-1]["loss"] != whole.history[-1]["loss"]
    assert half.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=0.1)


@pytest.mark.slow
def test_a_compiled_network_trains_to_the_same_weights():
    plain, _, _ = train(options=SGD)
    compiled, _, _ = train(options=SGD.model_copy(update={"compile": True}))
    assert all(torch.allclose(plain[name], compiled[name], rtol=1e-3, atol=1e-5) for name in plain)


def test_patience_ends_all_ranks_after_the_same_epoch_with_the_best_weights(pair):
    first, second = pair["patient"]
    assert first[1] == second[1] < 200
    assert first[2] == first[1] - 3
    assert same(first[0], second[0])


def test_an_error_on_one_rank_is_raised_on_all(pair):
    first, second = pair["one_fails"]
    assert first == second == ("a row group cannot be read", "part-3.parquet", "restore it")


def test_a_loss_that_is_no_number_stops_all_ranks_naming_step_and_entities(pair):
    first, second = pair["no_number"]
    assert first == second
    assert first.startswith("the loss of epoch 1, step 3 is not a number; entities: pump-2; columns more than 100")


def test_a_loss_that_is_no_number_names_step_and_entities():
    with pytest.raises(WorkFailed, match="epoch 1, step 2 is not a number; entities: pump-2") as found:
        train(training=Memory(1, spoil=(1, float("inf"))))
    assert "learning_rate" in found.value.fix


def test_a_loss_that_is_no_number_names_the_columns_that_are_far_out():
    class Far(Memory):
        def epoch(self, epoch, start_step=0):
            for step, batch in enumerate(super().epoch(epoch, start_step)):
                if step == 3:
                    batch.x[5, 2, 1], batch.y[5] = 3e38, 1e20
                yield batch

    with pytest.raises(
        WorkFailed, match="step 4 is not a number; entities: pump-3; columns more than 100 .* mean: b\n"
    ):
        train(training=Far(1), options=Train(loss="mse", epochs=1))


def test_with_patience_the_best_epochs_weights_are_kept():
    options = Train(epochs=60, patience=3, learning_rate=0.2)
    _, state, _ = train(options=options)
    assert state.stopped and state.best_epoch == state.epoch - 4
    shorter, _, _ = train(options=Train(epochs=state.best_epoch + 1, learning_rate=0.2))
    got, _, _ = train(options=options)
    assert same(got, shorter)


def test_averaged_weights_are_what_is_kept():
    plain, _, _ = train(options=Train(epochs=3, learning_rate=0.01))
    averaged, _, loop = train(options=Train(epochs=3, learning_rate=0.01, ema=0.9))
    assert not same(plain, averaged)
    assert same(averaged, loop.judged.state_dict())


class Stop(Exception):
    """Stands for a kill: nothing after it runs."""


class Killed(Checkpoint):
    """A checkpoint whose process dies right after the n-th save."""

    saves = 0
    after = 0

    def save(self, state, tensors, world):
        super().save(state, tensors, world)
        type(self).saves += 1
        if type(self).saves == type(self).after:
            raise Stop


def identity(**changes):
    known = {"use_case": "plant/pumps", "configuration": "c", "gold": {"version": 1}, "samples": "s", "seed": 11}
    return Identity(**(known | changes))


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("more", [{}, {"ema": 0.9, "weight_decay": 0.01}, {"patience": 3, "schedule": "one_cycle"}])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, after, more):
    options = Train(epochs=3, learning_rate=0.01, checkpoint_steps=2, clip=1.0, **more)
    whole, first, _ = train(options=options, dropout=0.3)
    Killed.saves, Killed.after = 0, after
    with pytest.raises(Stop):
        train(options=options, dropout=0.3, checkpoint=Killed(str(tmp_path / "c"), identity()))
    resumed, second, loop = train(options=options, dropout=0.3, checkpoint=Checkpoint(str(tmp_path / "c"), identity()))
    assert loop.resumed_from == [0, 2, 4, 5, 7, 9, 10, 12][after]
    assert same(whole, resumed)
    assert [h["loss"] for h in first.history] == [h["loss"] for h in second.history]


@pytest.mark.parametrize(
    ("at_risk", "places"),
    [(0.0, [(0, 2), (0, 4), (1, 0), (1, 2), (1, 4), (2, 0)]), (1e9, [(0, 2), (0, 4), (1, 2), (1, 4)])],
)
def test_only_epochs_that_are_worth_it_end_with_a_checkpoint(tmp_path, monkeypatch, at_risk, places):
    written = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, state, *_: written.append((state.epoch, state.step)))
    monkeypatch.setattr("nightmill.train.loop.AT_RISK", at_risk)
    train(options=Train(epochs=2, checkpoint_steps=2), checkpoint=Checkpoint(str(tmp_path / "c"), identity()))
    assert written == places


def test_a_finished_training_is_not_repeated(tmp_path):
    place = Checkpoint(str(tmp_path / "c"), identity())
    first, _, _ = train(checkpoint=place)
    broken = Memory(1, fail_at=0)
    second, state, _ = train(checkpoint=place, training=broken)
    assert same(first, second) and state.epoch == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"use_case": "plant/fans"}, r"use case differ \(plant/pumps instead of plant/fans\)"),
        ({"configuration": "d"}, "configuration differ"),
        ({"gold": {"version": 2}}, "gold version and files differ"),
        ({"samples": "t"}, "training samples differ"),
        ({"seed": 12}, "seed differ"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_naming_what_differs(tmp_path, change, named):
    train(checkpoint=Checkpoint(str(tmp_path / "c"), identity()))
    with pytest.raises(ConfigError, match=named):
        train(checkpoint=Checkpoint(str(tmp_path / "c"), identity(**change)))


def test_a_checkpoint_of_another_model_is_refused_by_its_parameter(tmp_path):
    place = Checkpoint(str(tmp_path / "c"), identity())
    train(checkpoint=place)
    made = setup(checkpoint=place)
    shape = made.network.shape
    wider = build(Lstm(family="lstm", window=LOOKBACK, hidden=9, layers=1, dropout=0), shape)
    with pytest.raises(ConfigError, match=r"another model: layers.weight_ih_l0 is \[32, 2\] instead of \[36, 2\]"):
        Loop(replace(made, network=wider)).run()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "c").write_bytes(b"PAR1" * 10)
    with pytest.raises(ConfigError, match="no checkpoint of Nightmill"):
        train(checkpoint=Checkpoint(str(tmp_path / "c"), identity()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_trains_in_bfloat16_to_about_the_same_loss():
    class Moved(Memory):
        def epoch(self, epoch, start_step=0):
            for batch in super().epoch(epoch, start_step):
                yield Batch(*(item.pin_memory().to("cuda", non_blocking=True) for item in batch))

    _, on_cpu, _ = train(epochs=20)
    made = replace(
        setup(epochs=20),
        device=torch.device("cuda"),
        training=Feed(Moved(1), STEPS, STEPS * SIZE),
        validation=Feed(Moved(2), STEPS, STEPS * SIZE),
    )
    state = Loop(made).run()
    assert all(parameter.dtype == torch.float32 for parameter in made.network.parameters())
    assert state.history[-1]["loss"] == pytest.approx(on_cpu.history[-1]["loss"], rel=0.1)
