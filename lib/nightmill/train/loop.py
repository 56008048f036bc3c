"""The training loop: batch -> loss -> backward -> clip -> step, on one process or as one of several."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nightmill.config.usecase import Train
from nightmill.errors import DataRefused, WorkFailed
from nightmill.models.augment import augmented
from nightmill.models.detector import Detector
from nightmill.models.network import Network
from nightmill.models.patchcore import Patchcore
from nightmill.train import ranks
from nightmill.train.begun import Begun
from nightmill.train.checkpoint import Checkpoint, State, group, pack, unpack
from nightmill.train.loss import per_value, sums
from nightmill.train.normal import learn_normal, leave_out_wandering, remember_good
from nightmill.train.schedule import learning_rate

AT_RISK = 1.0
"""Seconds of training from which on an epoch's end is worth a checkpoint."""
MOMENTUM = 0.9
FAR = 100
"""Standard deviations from which on a feature is named where the loss is not a number."""


class Source(Protocol):
    """Where batches come from; `nightmill.handoff.Batches` is one."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Feed:
    """This rank's batches and how many there are; the number is the same on all ranks."""

    source: Source
    steps: int
    samples: int
    """Samples of an epoch over all ranks."""


@dataclass(frozen=True)
class Setup:
    """All that the loop needs. Every rank has the same but for its share of the feeds."""

    network: Network
    training: Feed
    validation: Feed
    entities: list[str]
    """Names by the positions that batches carry."""
    codes: NDArray[np.int64]
    """The model's code of each of them."""
    options: Train
    seed: int
    device: torch.device
    memory: int | None = None
    """Bytes that may be taken by what the network's constant beginning made of samples; as many as it takes without."""
    classes: Tensor | None = None
    """[classes] how much a target of each class counts; all alike without it."""
    whole: Callable[[], tuple[Feed, Feed]] | None = None
    """Reads training and validation samples of all ranks; for those that train on the first rank alone."""
    checkpoint: Checkpoint | None = None
    on_epoch: Callable[[dict[str, float]], None] = lambda _: None
    """Called on rank 0 with the epoch's line of the history."""
    give_up: Callable[[list[dict[str, float]]], bool] = lambda _: False
    """Called on rank 0 with the history after each epoch; whether the training ends here, as a hopeless one."""


class Loop:
    """One training. `run()` leaves the chosen weights in `setup.network`, the same on all ranks.

    With `patience` these are the weights of the best epoch, without it those of the last; with `ema` their average.
    The same seed on the same machine with the same number of ranks gives the same digits, also over interruptions.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.options = setup, setup.options
        self.network = setup.network.to(setup.device)
        self.trains = any(parameter.requires_grad for parameter in self.network.parameters())
        """Whether there is anything to train; a network without weights is judged once, as it is."""
        self.optimiser = _optimiser(self.network, self.options)
        # what validation and scoring use: the network itself, or a copy that follows it slowly
        self.judged = copy.deepcopy(self.network) if self.options.ema else self.network
        self.best: dict[str, Tensor] = {}
        self.codes = torch.from_numpy(setup.codes).to(setup.device)
        self.classes = None if setup.classes is None else setup.classes.to(setup.device)
        self.state = State()
        self._begun = Begun(self.network, setup.memory)
        self._half = self.options.precision == "bfloat16" or (
            self.options.precision == "auto" and setup.device.type == "cuda"
        )
        self.resumed_from: int | None = None
        """Step, counted over all epochs, at which an earlier attempt was taken up; None for a fresh start."""
        self._kept = time.perf_counter()
        """When all was last kept in a checkpoint, or when there was nothing to keep."""

    def run(self) -> State:
        """Trains until the last epoch or until patience runs out.

        Raises WorkFailed naming step and entities when the loss is no number, ConfigError for a checkpoint of another
        training, DataRefused for bad rows; on all ranks together.
        """
        self._resume()
        if isinstance(self.network, Detector):
            leave_out_wandering(self.setup, self.network)
        wrapped = _distributed(self.network, self.setup.device) if self.trains else self.network
        if self.options.compile and self.trains:
            wrapped = torch.compile(wrapped)  # type: ignore[assignment]
        while self.state.epoch < self.epochs and not self.state.stopped:
            started, first = time.perf_counter(), self.state.step
            for batch in self._batches(self.setup.training, self.state.epoch, first) if self.trains else ():
                self._step(wrapped, batch)
                if self.state.step % self.options.checkpoint_steps == 0 and self.state.step < self.setup.training.steps:
                    self._save(time.perf_counter() - started)
            self._end_epoch(started, first)
        self._choose()
        if isinstance(self.network, Detector):
            learn_normal(self.setup, self.network)
        elif isinstance(self.network, Patchcore):
            remember_good(self.setup, self.network)
        return self.state

    def _step(self, wrapped: nn.Module, batch: Any) -> None:
        at = self.state.epoch * self.setup.training.steps + self.state.step
        rate = learning_rate(self.options.schedule, self.options.learning_rate, at, self._total)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate
        # dropout depends on seed, step and rank alone, so an interrupted training draws what the other would have
        self._seed(_seed(self.setup.seed, at, ranks.rank()))
        self.optimiser.zero_grad(set_to_none=True)
        wrapped.train()
        error: Exception | None = batch if isinstance(batch, Exception) else None
        total, local = torch.zeros(2, dtype=torch.float64, device=self.setup.device), None
        if error is None:
            try:
                local, total = self._forward(wrapped, batch)
            except Exception as raised:
                error = raised
        total = ranks.summed(total, error)
        loss_sum, weight_sum = total.tolist()
        self._refuse_no_number(loss_sum, batch, at)
        if weight_sum > 0 and local is not None:
            # DDP averages gradients over ranks: times world makes it the gradient of the global sum
            factor = ranks.world() / weight_sum
            if gathered := [p.grad for p in self.network.parameters() if p.grad is not None]:
                torch._foreach_mul_(gathered, factor)
            (local * factor).backward()
            if self.options.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip, foreach=True)
            self.optimiser.step()
            self._average(at)
        self.state.step += 1
        self.state.loss_sum += loss_sum
        self.state.loss_weight += weight_sum

    def _seed(self, seed: int) -> None:
        # torch.manual_seed writes a stack trace for each kind of accelerator that is not there: 0.3 ms a step
        torch.default_generator.manual_seed(seed)
        if self.setup.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _forward(self, wrapped: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """(loss sum of the batch's last part, [loss sum, weight sum] of all parts).

        The parts before the last go backward here, each rank for itself; with the last one gradients are shared.
        """
        parts = _parts(batch, self.options.accumulate)
        total = torch.zeros(2, dtype=torch.float64, device=self.setup.device)
        for number, part in enumerate(parts):
            before = number < len(parts) - 1
            with wrapped.no_sync() if before and ranks.world() > 1 else nullcontext():  # type: ignore[operator]
                local, weight = self._loss(wrapped, part)
                if before:
                    local.backward()
            total += torch.stack([local.detach(), weight]).double()
        return local, total

    def _loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.setup.device.type, torch.bfloat16, enabled=self._half):
            if self.options.augment and network.training:  # only what is trained on, not what judges
                x, begun = augmented(self.network.array(batch.x), self.options.augment), False
            else:
                begun = self.trains and self.network.constant > 0
                x = self._begun(batch) if begun else batch.x
            parameters = network(x, self.codes[batch.entity], batch.ts, begun)
        options = self.options
        return sums(options.loss, self.network, parameters, batch.y, batch.weight, self.classes, options.overestimate)

    def _batches(self, feed: Feed, epoch: int, start: int) -> Iterator[Any]:
        """The feed's batches; a rank whose reader fails yields the error once, so that all ranks hear of it."""
        done, batches = start, feed.source.epoch(epoch, start)
        try:
            for batch in batches:
                yield batch
                done += 1
        except Exception as error:
            yield error
            return
        if done != feed.steps:
            yield RuntimeError(f"the reader gave {done} batches instead of {feed.steps}")

    @torch.no_grad()
    def _average(self, at: int) -> None:
        if self.options.ema:
            # early on the average would remember the random start: Adam's kind of warm-up
            decay = min(self.options.ema, (1 + at) / (10 + at))
            torch._foreach_lerp_(list(self.judged.parameters()), list(self.network.parameters()), 1 - decay)

    def _end_epoch(self, started: float, first: int) -> None:
        loss, state = self.judge(), self.state
        if self.trains:
            refuse_nothing_known(state.loss_weight, "training")
        seconds = time.perf_counter() - started
        share = (self.setup.training.steps - first) / self.setup.training.steps
        line = {
            "epoch": state.epoch + 1,
            "of": self.epochs,
            "loss": state.loss_sum / state.loss_weight if self.trains else float("nan"),
            "validation_loss": loss,
            "learning_rate": float(self.optimiser.param_groups[0]["lr"]),
            "seconds": seconds,
            "samples_per_second": self.setup.training.samples * share / seconds,
        }
        if self.options.patience is not None and loss < state.best_loss:
            self.best = {name: p.detach().clone() for name, p in self.judged.named_parameters()}
        enough = state.judged(loss, self.options)
        state.history.append(line)
        state.epoch, state.step, state.loss_sum, state.loss_weight = state.epoch + 1, 0, 0.0, 0.0

        def decide() -> tuple[bool, bool]:
            state.given_up = self.setup.give_up(state.history)
            state.stopped = state.given_up or enough
            if time.perf_counter() - self._kept >= AT_RISK:
                self._write(seconds)
            return state.stopped, state.given_up

        state.stopped, state.given_up = ranks.asked_of_first(decide)  # once, and the same for all
        state.seconds += seconds
        if ranks.rank() == 0:
            self.setup.on_epoch(line)

    @torch.no_grad()
    def judge(self) -> float:
        """Mean loss over the validation samples of all ranks."""
        self.judged.eval()
        total, error = torch.zeros(2, dtype=torch.float64, device=self.setup.device), None
        for batch in self._batches(self.setup.validation, 0, 0):
            try:
                if isinstance(batch, Exception):
                    raise batch
                total += torch.stack(self._loss(self.judged, batch)).double()
            except Exception as raised:
                error = raised
                break
        loss_sum, weight = ranks.summed(total, error).tolist()
        refuse_nothing_known(weight, "validation")
        return float(loss_sum / weight)

    def _refuse_no_number(self, loss: float, batch: Any, at: int) -> None:
        if np.isfinite(loss):
            return
        with torch.inference_mode():
            parameters = self.network(batch.x, self.codes[batch.entity])
            each, _ = per_value(self.options.loss, self.network, parameters, batch.y, batch.weight, self.classes)
            bad = ~each.isfinite().all(dim=1)
            far = self.network.normalised(batch.x[bad]).abs().amax(dim=(0, 1)) if bad.any() else torch.zeros(0)
        names = {self.setup.entities[i] for i in batch.entity[bad].tolist()}
        columns = [name for name, z in zip(self.network.shape.features, far.tolist()) if not z <= FAR]
        found = ranks.gathered((sorted(names), columns))
        entities, features = (sorted({name for part in found for name in part[i]}) for i in (0, 1))
        epoch, step = divmod(at, self.setup.training.steps)
        raise WorkFailed(
            f"the loss of epoch {epoch + 1}, step {step + 1} is not a number; entities: {_named(entities)}; columns "
            f"more than {FAR} standard deviations from their mean: {_named(features)}",
            where="train",
            fix="look at them in gold; lower train.learning_rate or set train.clip",
        )

    @property
    def epochs(self) -> int:
        """Epochs at most."""
        return self.options.epochs if self.trains else 1

    @property
    def _total(self) -> int:
        return self.epochs * self.setup.training.steps

    def _save(self, seconds: float) -> None:
        ranks.asked_of_first(lambda: self._write(seconds))

    def _write(self, seconds: float) -> None:
        """The checkpoint, where there is to be one; `seconds` are those since the last that counts."""
        if self.setup.checkpoint is None:
            return
        groups = {"best": self.best}
        if self.options.ema:
            groups["average"] = dict(self.judged.named_parameters())
        state = replace(self.state, seconds=self.state.seconds + seconds)
        self.setup.checkpoint.save(state, pack(self.network, self.optimiser, groups), ranks.world())
        self._kept = time.perf_counter()

    def _resume(self) -> None:
        """Takes up an earlier attempt."""
        if (checkpoint := self.setup.checkpoint) is None:
            return
        found = ranks.asked_of_first(checkpoint.load)
        if found is None:
            return
        self.state, tensors = found
        unpack(tensors, self.network, self.optimiser, checkpoint.path)
        self.best = {name: tensor.to(self.setup.device) for name, tensor in group(tensors, "best").items()}
        if self.options.ema:
            self.judged.load_state_dict(group(tensors, "average"), strict=False)
        self.resumed_from = self.state.epoch * self.setup.training.steps + self.state.step

    def _choose(self) -> None:
        chosen = self.best or {name: p.detach() for name, p in self.judged.named_parameters()}
        self.network.load_state_dict(chosen, strict=False)
        self.network.settle()
        self.network.eval()


def refuse_nothing_known(weight: float, part: str) -> None:
    """Raises DataRefused where the known targets of a part weigh nothing."""
    if not weight:
        what = f"no {part} sample has a known target and a weight above 0"
        fix = "look at the target in gold and at train.weight; take more history or another split"
        raise DataRefused(what, where="train", fix=fix)


def _parts(batch: Any, count: int) -> list[Any]:
    """The batch in at most `count` parts of neighbouring samples."""
    if count == 1:
        return [batch]
    names = ("x", "y", "entity", "ts", "weight")
    chunks = zip(*(getattr(batch, name).chunk(count) for name in names))
    return [SimpleNamespace(**dict(zip(names, chunk))) for chunk in chunks]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more or "none"


def _optimiser(network: nn.Module, options: Train) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019) where weights decay, or SGD with Nesterov's momentum.

    One fused kernel per step.
    """
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    weights = weights or [nn.Parameter(torch.zeros(0))]  # an optimiser refuses none
    if options.optimiser == "sgd":
        return torch.optim.SGD(
            weights,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            momentum=MOMENTUM,
            nesterov=True,
            fused=True,
        )
    kind = torch.optim.AdamW if options.weight_decay else torch.optim.Adam
    return kind(weights, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)


def _distributed(network: nn.Module, device: torch.device) -> nn.Module:
    if ranks.world() == 1:
        return network
    devices = [device] if device.type == "cuda" else None
    # buffers hold what was fitted before training and never change: no need to send them every step
    return nn.parallel.DistributedDataParallel(
        network, device_ids=devices, forward_sync_buffers=False, gradient_as_bucket_view=True
    )


def _seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
