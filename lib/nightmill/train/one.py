"""Trains one prepared job on this rank: batches, loop, interval, bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nightmill.handoff import Batches, Plan, Samples
from nightmill.metrics import METRICS, best_threshold, coverage
from nightmill.models import build
from nightmill.models.bundle import Bundle
from nightmill.models.ensemble import Ensemble
from nightmill.models.interval import Interval, calibrate
from nightmill.models.trees import Trees
from nightmill.train import ranks
from nightmill.train.boost import Boost
from nightmill.train.checkpoint import Checkpoint, Identity
from nightmill.train.job import Prepared, Trained, gold_facts
from nightmill.train.loop import Feed, Loop, Setup
from nightmill.train.start import add_updates, freeze, merge_updates, model_at, take_over
from nightmill.train.together import Together

CALIBRATION_VALUES = 20_000_000
"""Most validation values that are kept for the interval; above that evenly spaced samples stand for all."""


def train_one(prepared: Prepared, device: torch.device, on_epoch: Callable[[dict[str, float]], None]) -> Trained:
    """The trained model, the same on all ranks of torch.distributed (if it runs); `on_epoch` is called on rank 0.

    Raises what `Loop.run` raises, on all ranks together.
    """
    job = prepared.job
    setup, error = None, None
    try:
        setup = set_up(prepared, device, on_epoch)
    except Exception as raised:
        error = raised
    ranks.agree(error)
    assert setup is not None
    loop = trainer(setup)
    state = loop.run()
    state.chosen_loss(job.use_case.train)
    if job.knows_something and job.use_case.train.lora is not None:
        merge_updates(setup.network)
    truth, value, lower, upper = _predictions(setup, job.use_case.score.interval)
    head = setup.network.shape.head
    interval = Interval.absent(job.use_case.score.interval, setup.network.shape.steps)
    covered = {}
    if setup.network.shape.has_interval:
        interval = calibrate(truth, lower, upper, interval.share)
        covered["coverage"] = coverage(truth, *interval.round(lower, upper))
    threshold = best_threshold(truth, value) if head == "probability" else 1.0 if head == "anomaly" else None
    judged: dict[str, Any] = {
        "threshold": 0.5 if threshold is None else threshold,
        "budget": job.use_case.evaluate.budget,
    }
    bundle = Bundle(
        network=setup.network.to("cpu"),
        options=job.use_case.model,
        entities=prepared.entities,
        interval=interval,
        use_case=job.use_case.name,
        target=job.use_case.target.name,
        config=job.digest,
        gold=gold_facts(prepared),
        seed=job.seed,
        training=job.asked(ranks.world()),
        metrics={
            name: METRICS[name](truth, value, **judged)
            for name in job.use_case.evaluate.metrics
            if METRICS[name].takes != "levels"  # only values are kept here
        }
        | covered,
        deciles=np.quantile(value, np.linspace(0.1, 0.9, 9)).tolist() if value.size else [],
        fallback=prepared.fallback,
        threshold=threshold,
    )
    count = setup.training.samples
    return Trained(bundle, state.history, loop.resumed_from, state.seconds, count, ranks.world())


def trainer(setup: Setup) -> Loop | Boost | Together:
    """What trains a network of that kind."""
    if isinstance(setup.network, Ensemble):
        return Together(setup, trainer)
    return Boost(setup) if isinstance(setup.network, Trees) else Loop(setup)


def set_up(prepared: Prepared, device: torch.device, on_epoch: Callable[[dict[str, float]], None]) -> Setup:
    """All that the loop needs of a prepared job on this rank."""
    job, options = prepared.job, prepared.job.use_case.train
    torch.manual_seed(job.seed)
    network = build(job.use_case.model, prepared.shape, prepared.fitted)
    if job.start is not None:
        take_over(network, model_at(job.start, job.storage_options), prepared.entities)
    if job.knows_something:
        freeze(network, options.freeze, job.use_case.name)
        if options.lora is not None:
            add_updates(network, options.lora, job.use_case.name)
    parts = prepared.parts.train, prepared.parts.validation
    alone = isinstance(network, Trees)  # trees are grown by the first rank, from all samples
    (training, samples), (validation, _) = (_feed(prepared, part, device, alone) for part in parts)

    def whole() -> tuple[Feed, Feed]:
        if alone:
            return training, validation
        both = [_feed(prepared, part, device, True)[0] for part in parts]
        return both[0], both[1]

    known = {name: code for code, name in enumerate(prepared.entities, start=1)}
    identity = Identity(job.use_case.name, job.digest, gold_facts(prepared), samples, job.seed)
    return Setup(
        network=network,
        training=training,
        validation=validation,
        entities=prepared.index.entities,
        codes=np.array([known.get(name, 0) for name in prepared.index.entities], dtype=np.int64),
        options=options,
        seed=job.seed,
        device=device,
        memory=job.memory,
        classes=_class_weights(prepared) if options.balance else None,
        whole=whole,
        checkpoint=Checkpoint(job.checkpoint, identity, job.storage_options),
        on_epoch=on_epoch,
    )


def _feed(prepared: Prepared, samples: Samples, device: torch.device, alone: bool = False) -> tuple[Feed, str]:
    """The samples in batches; this rank's share, or with `alone` all of them for the first rank and none for others."""
    job = prepared.job
    plan = Plan(samples, job.use_case.train.batch, job.seed, 1 if alone else ranks.world(), shuffle=not alone)
    if alone and ranks.rank():
        return Feed(Nothing(), 0, plan.count), plan.hash
    both = prepared.parts.train.count + prepared.parts.validation.count
    batches = Batches(
        prepared.gold,
        prepared.index,
        plan,
        0 if alone else ranks.rank(),
        features=job.features,
        weight=job.use_case.train.weight,
        device=device,
        memory=None if job.memory is None else job.memory * samples.count // both,
        cache=job.cache,
    )
    return Feed(batches, plan.steps, plan.count), plan.hash


class Nothing:
    """A source of no batches."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]:
        return iter(())


def _class_weights(prepared: Prepared) -> torch.Tensor | None:
    """Such that the training rows of each class count alike, and all together as many as they are."""
    counts = prepared.fitted.classes
    if counts is None:
        return None
    return torch.from_numpy(counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))).float()


@torch.no_grad()
def _predictions(setup: Setup, share: float) -> list[NDArray[np.float32]]:
    """truth, value, lower, upper, each [n, steps], of the validation samples of all ranks, the same on all ranks."""
    setup.network.eval()
    codes = torch.from_numpy(setup.codes).to(setup.device)
    stride = max(1, setup.validation.samples * setup.network.shape.steps // CALIBRATION_VALUES)
    found: list[Any] = []
    error = None
    try:
        for batch in setup.validation.source.epoch(0):
            real = batch.weight > 0
            said = setup.network.expects(batch.x, codes[batch.entity], share)
            each = batch.y, said.value, said.lower, said.upper
            found.append([values[real][::stride].cpu().numpy() for values in each])
    except Exception as raised:
        error = raised
    ranks.agree(error)
    parts = [part for rank in ranks.gathered(found) for part in rank]
    return [np.concatenate(arrays) for arrays in zip(*parts)]
