"""What is asked of a training, what it rests on once prepared, and what it returns."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any

import numpy as np

from nightmill.config.load import digest
from nightmill.config.models import DETECTORS, Ensemble
from nightmill.config.search import Search
from nightmill.config.usecase import UseCase
from nightmill.errors import ConfigError, DataRefused
from nightmill.handoff import Cache, Index, Parts, Pinned, Plan, Window, build_index, pin, split_samples
from nightmill.models.bundle import Bundle
from nightmill.models.naive import Fallback
from nightmill.models.shape import Fitted, Shape
from nightmill.train.fallback import fit_fallback
from nightmill.train.fit import fit, refuse_unfit, vocabulary
from nightmill.train.loss import HEAD_OF, LIMITS
from nightmill.train.start import model_at, refuse_other


@dataclass(frozen=True)
class TrainJob:
    """One model to train."""

    use_case: UseCase
    gold: str
    """Path or URI of the gold table."""
    version: int | None
    """Its version; the newest without it."""
    features: tuple[str, ...]
    """Feature columns of the gold table, in the order in which the model sees them."""
    every: timedelta
    """Step between rows of one entity."""
    seed: int
    checkpoint: str
    """Path or URI of the checkpoint file; one that is there and fits is taken up."""
    result: str
    """Folder or URI that receives the model's files."""
    storage_options: dict[str, str] = field(default_factory=dict)
    zone: str = "UTC"
    """Time zone of local days."""
    array: tuple[str, tuple[int, ...]] | None = None
    """Number type in gold and size along each axis of the only feature, where that is one of arrays."""
    fold: int = 0
    """The fold that is tested, where `evaluate.split` has folds."""
    since: int | None = None
    """Train on rows from this time on, µs UTC; on all without it."""
    start: str | None = None
    """Folder or URI of a model's files whose weights the training begins with; new ones without it."""
    memory: int | None = None
    """Bytes of rows that a worker holds; beyond that they come from the cache. All of them without it."""
    cache: Cache | None = None
    """The cache; without it one in the system's folder for temporary files."""

    def asked(self, workers: int) -> dict[str, Any]:
        """What the weights follow from beside the table and the seed, as plain values."""
        return {
            "use_case": self.use_case.model_dump(mode="json", by_alias=True),
            "features": list(self.features),
            "every": self.every.total_seconds(),
            "zone": self.zone,
            "since": self.since,
            "fold": self.fold,
            "start": self.start,
            "workers": workers,
        }

    @classmethod
    def from_bundle(cls, bundle: Bundle, gold: str, storage_options: dict[str, str]) -> TrainJob:
        """The job that trained a model, on its version of a table; its places are still to be named."""
        asked = bundle.training
        return cls(
            use_case=UseCase.model_validate(asked["use_case"]),
            gold=gold,
            version=int(bundle.gold["version"]),
            features=tuple(asked["features"]),
            every=timedelta(seconds=asked["every"]),
            seed=bundle.seed,
            checkpoint="",
            result="",
            storage_options=storage_options,
            zone=asked.get("zone", "UTC"),
            since=asked["since"],
            fold=asked.get("fold", 0),
            start=asked["start"],
            array=(bundle.shape.array_type, bundle.shape.array) if bundle.shape.array else None,
        )

    @property
    def knows_something(self) -> bool:
        """Whether the training begins with weights that mean something."""
        return self.start is not None or self.use_case.is_pretrained

    @property
    def window(self) -> Window:
        """What the model sees and predicts; only a value of now may rest on a padded history."""
        return Window.of(self.use_case)

    @property
    def checkpoints(self) -> list[str]:
        """Paths or URIs of all checkpoints: the members of an ensemble have one each."""
        model = self.use_case.model
        if isinstance(model, Ensemble):
            return [f"{self.checkpoint}.{number}" for number in range(len(model.members))]
        return [self.checkpoint]

    @property
    def digest(self) -> str:
        """Short hash of all options that shape the weights; workers and checkpoints do not."""
        case = self.use_case
        shaping = case.train.model_copy(
            update={"workers": 0, "min_workers": None, "checkpoint_steps": 1, "due": "weekly", "seed": 0}
        )
        options = digest(case.model, case.target, case.evaluate.split, shaping)
        text = json.dumps([options, self.features, self.every.total_seconds(), self.since, self.start, self.fold])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SearchJob(TrainJob):
    """Several trainings of one use case, each with other options out of `use_case.search`.

    Its window is the longest of them, and all have the same origins: their losses are of the same values.
    `checkpoint` is the file of the trials, which a search that was interrupted goes on from, or one of more trials.
    """

    @property
    def search(self) -> Search:
        """What is searched."""
        assert self.use_case.search is not None
        return self.use_case.search

    @property
    def window(self) -> Window:
        return replace(super().window, lookback=max([self.use_case.model.window, *self.search.ends("model.window")]))

    @property
    def digest(self) -> str:
        """Short hash of all options that shape the trials; how many they are does not."""
        space = self.search.model_dump(mode="json", include={"space", "prune"})
        text = json.dumps([super().digest, space, self.seed, self.use_case.score.interval])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def trial(self, number: int, options: dict[str, Any]) -> TrainJob:
        """The training of one trial."""
        plain = {item.name: getattr(self, item.name) for item in fields(TrainJob)}
        case = self.use_case.having(options)
        return TrainJob(**plain | {"use_case": case, "checkpoint": f"{self.checkpoint}.{number}"})


@dataclass(frozen=True)
class Prepared:
    """A job with all that is decided before the first step, in one process: workers only share out its samples."""

    job: TrainJob
    gold: Pinned
    index: Index
    parts: Parts
    entities: list[str]
    """The model's vocabulary."""
    shape: Shape
    fitted: Fitted
    fallback: Fallback | None
    """What predicts where the model cannot."""

    def trial(self, job: TrainJob) -> Prepared:
        """The same for one trial of a search, over the same origins. Raises what `fit` raises."""
        parts = Parts(*(replace(part, window=job.window) for part in self.parts))
        shape = replace(self.shape, lookback=job.window.lookback)
        fitted = self.fitted
        if _fit_options(job) != _fit_options(self.job):
            fitted = fit(self.gold, self.index, parts.train, shape, **_fit_options(job))
        return replace(self, job=job, parts=parts, shape=shape, fitted=fitted)


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    bundle: Bundle
    history: list[dict[str, float]]
    """Per epoch: epoch, of, loss, validation_loss (both in units of the target's standard deviation), learning_rate,
    seconds, samples_per_second."""
    resumed_from: int | None
    """Step, counted over all epochs, at which an earlier attempt was taken up."""
    seconds: float
    """Spent in the loop, over all attempts."""
    samples: int
    """Training samples of an epoch."""
    workers: int
    """Processes that trained together."""


def prepare(job: TrainJob, workers: int = 1) -> Prepared:
    """Pins the gold table, splits it, fits what models need to know of the training rows.

    Raises DataRefused for a table that cannot be trained on, naming what and where: before any worker starts.
    """
    case = job.use_case
    gold = pin(job.gold, job.version, job.storage_options or None)
    index = build_index(gold, job.every, job.zone)
    since = None if job.since is None else int(index.clock.even(job.since))
    parts = split_samples(index, job.window, case.evaluate.split, job.seed, since, gold, job.fold, job.zone)
    if parts.train.count < workers:
        what = f"there are {parts.train.count} training windows for {workers} workers"
        raise DataRefused(what, where=index.source, fix="set train.workers to a smaller number, or 0 for this process")
    Plan(parts.train, case.train.batch, job.seed, max(workers, 1))  # refuses more workers than it has lanes
    entities = vocabulary(index, parts.train)
    if case.train.weight is not None and case.train.weight not in job.features:
        what = f"train.weight: '{case.train.weight}' is none of the features"
        raise ConfigError(what, where=case.name, fix=f"choose one of: {', '.join(job.features)}")
    shape = _shape(job, len(entities))
    fitted = fit(gold, index, parts.train, shape, **_fit_options(job))
    if job.start is not None:
        champion = model_at(job.start, job.storage_options)
        refuse_other(champion, shape, case.model, case.name)
        fitted = champion.network.scales(fitted)
    refuse_unfit(gold, index, parts.validation, shape)
    fallback = fit_fallback(job, gold, index, parts, entities, shape)
    return Prepared(job, gold, index, parts, entities, shape, fitted, fallback)


def _fit_options(job: TrainJob) -> dict[str, Any]:
    """What the family wants to be fitted beside the scales."""
    model = job.use_case.model
    models = [member.model for member in model.members] if isinstance(model, Ensemble) else [model]
    smoothing = [m.profile_smoothing for m in models if hasattr(m, "profile_smoothing")]
    return {
        "smoothing": smoothing[0] if smoothing else None,
        "bins": max(getattr(m, "bins", 0) for m in models),
        "by_entity": any(m.family in DETECTORS for m in models),
    }


def _shape(job: TrainJob, entities: int) -> Shape:
    target, loss = job.use_case.target, job.use_case.train.loss
    head, (low, high), levels = HEAD_OF.get(loss, "point"), LIMITS.get(loss, (None, None)), tuple[float, ...]()
    if life := target.remaining_life:
        low, high = 0.0, float(life.cap) if life.cap else None
    if head == "quantiles":
        outside = round((1 - job.use_case.score.interval) / 2, 6)
        asked = job.use_case.evaluate.levels if "pinball" in job.use_case.evaluate.metrics else []
        each = {outside, 0.5, *asked}
        levels = tuple(sorted({round(level, 6) for one in each for level in (one, 1 - one)}))
    if head == "classes":
        high = len(target.classes) - 1.0
    return Shape(
        features=job.features,
        lookback=job.window.lookback,
        horizon=job.window.horizon,
        pad=job.window.pad,
        entities=entities,
        past=target.column if target.column in job.features else None,
        every=job.every.total_seconds() / 60,
        low=low,
        high=high,
        head=head,
        levels=levels,
        classes=tuple(target.classes),
        array=job.array[1] if job.array else (),
        array_type=job.array[0] if job.array else "",
    )


def describe(trained: Trained) -> dict[str, object]:
    """All of a finished training but the bundle, as plain values for JSON."""
    return {name: value for name, value in vars(trained).items() if name != "bundle"}


def gold_facts(prepared: Prepared) -> dict[str, object]:
    """The pinned table as plain values for JSON, without storage options (they may hold secrets).

    Beside version and files `until`, the time up to which weights and interval have seen rows, and `last`, the time of
    the table's last row, whose test part only judges; both in µs UTC.
    """
    index, until = prepared.index, 0
    for part in (prepared.parts.train, prepared.parts.validation):
        rows = np.minimum(part.last + part.window.horizon, part.seen_to) - index.runs.first[part.run] + 1
        until = max(until, int((index.runs.ts[part.run] + rows * index.every_us).max(initial=0)))
    last = int((index.runs.ts + (index.runs.length - 1) * index.every_us).max(initial=0))
    until, last = index.clock.real([until, last]).tolist()
    return {**json.loads(prepared.gold.to_json()), "until": until, "last": last}
